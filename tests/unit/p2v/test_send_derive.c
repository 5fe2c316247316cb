/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A key made of the token: the same for the same machine, token and server, another for any other.
 */
#include "base/own.h"
#include "p2v/send_private.h"
#include "tests/unit/p2v/fake_root.h"

#include <string.h>

#define TOKEN "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

static void derive(const char *token, uint8_t pin_byte, const char *marks,
                   uint8_t hash[TLS_IDENTITY_SIZE])
{
    struct error err = {0};
    uint8_t pin[TLS_IDENTITY_SIZE];
    memset(pin, pin_byte, sizeof(pin));
    AUTO_PTR(tls_identity) identity = send_derive_identity(token, pin, marks, &err);
    if (!identity)
        fail_msg("%s", err.text);
    tls_identity_hash(identity, hash);
}

/* Computed by docs/wire.md with other programs: Python's hmac, openssl pkey. */
static void test_derived_key_is_the_one_that_the_recipe_gives(void **state)
{
    static const uint8_t expected[] = {0x78, 0xb3, 0x28, 0x05, 0x81, 0x73, 0x8e, 0xe7,
                                       0x4c, 0x62, 0xdf, 0x32, 0x32, 0x06, 0xcc, 0x97,
                                       0x7c, 0x45, 0xd6, 0x69, 0x9b, 0xa0, 0x87, 0xed,
                                       0x60, 0xaf, 0x0e, 0x7a, 0x5a, 0xd6, 0xe4, 0x58};
    uint8_t hash[TLS_IDENTITY_SIZE];
    (void)state;
    derive(TOKEN, 0x11, "one machine\n", hash);
    assert_memory_equal(hash, expected, sizeof(hash));
}

static void test_derived_key_is_another_for_another_token_server_or_machine(void **state)
{
    uint8_t first[TLS_IDENTITY_SIZE], other[3][TLS_IDENTITY_SIZE];
    (void)state;
    derive(TOKEN, 0x11, "one machine\n", first);
    derive("BBCDEFGHIJKLMNOPQRSTUVWXYZ", 0x11, "one machine\n", other[0]);
    derive(TOKEN, 0x12, "one machine\n", other[1]);
    derive(TOKEN, 0x11, "one machine", other[2]);
    for (size_t i = 0; i < 3; i++)
        assert_memory_not_equal(first, other[i], sizeof(first));
}

/* --- what the machine is --- */

static json_t *nic(const char *mac, const char *origin, const char *bus)
{
    return json_pack("{ss ss ss}", "mac", mac, "mac_origin", origin, "bus", bus);
}

static void be_a_server(const struct fake_machine *machine, const char *uuid)
{
    fake_file(machine, "sys/class/dmi/id/sys_vendor", "Dell Inc.\n");
    fake_file(machine, "sys/class/dmi/id/product_name", "PowerEdge R720\n");
    fake_file(machine, "sys/class/dmi/id/product_uuid", uuid);
}

static void test_marks_do_not_depend_on_the_order_of_nics_nor_on_what_is_plugged_in(void **state)
{
    const struct fake_machine *machine = *state;
    be_a_server(machine, "4c4c4544-0044-4b10-8033-b4c04f4a354a\n");
    AUTO_JSON nics = json_array();
    json_array_append_new(nics, nic("52:54:00:00:00:02", "permanent", "pci"));
    json_array_append_new(nics, nic("52:54:00:00:00:01", "permanent", "pci"));
    AUTO_JSON others = json_array();
    json_array_append_new(others, nic("02:00:00:00:00:09", "permanent", "usb"));
    json_array_append_new(others, nic("52:54:00:00:00:01", "permanent", "pci"));
    json_array_append_new(others, nic("02:00:00:00:00:08", "current", "pci"));
    json_array_append_new(others, nic("52:54:00:00:00:02", "permanent", "pci"));
    json_t *function = nic("52:54:00:00:00:03", "permanent", "pci");
    json_object_set_new(function, "is_virtual_function", json_true());
    json_array_append_new(others, function);
    AUTO_FREE char *marks = send_machine_marks(machine->root, nics);
    AUTO_FREE char *again = send_machine_marks(machine->root, others);
    assert_non_null(marks);
    assert_string_equal(marks, again);
    AUTO_FREE char *without = send_machine_marks(machine->root, NULL);
    assert_non_null(without);
    assert_string_not_equal(marks, without);
}

/* Two such boards of one maker would be one agent. */
static void test_marks_are_refused_where_every_board_of_the_maker_has_them(void **state)
{
    const struct fake_machine *machine = *state;
    be_a_server(machine, "03000200-0400-0500-0006-000700080009\n");
    fake_file(machine, "sys/class/dmi/id/product_serial", "To Be Filled By O.E.M.\n");
    assert_null(send_machine_marks(machine->root, NULL));
    AUTO_JSON nics = json_array();
    json_array_append_new(nics, nic("52:54:00:00:00:01", "permanent", "pci"));
    AUTO_FREE char *marks = send_machine_marks(machine->root, nics);
    assert_non_null(marks);
    fake_file(machine, "sys/class/dmi/id/product_serial", "4XK2J5J\n");
    AUTO_FREE char *by_serial = send_machine_marks(machine->root, NULL);
    assert_non_null(by_serial);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_derived_key_is_the_one_that_the_recipe_gives),
        cmocka_unit_test(test_derived_key_is_another_for_another_token_server_or_machine),
        cmocka_unit_test_setup_teardown(
            test_marks_do_not_depend_on_the_order_of_nics_nor_on_what_is_plugged_in,
            fake_machine_new, fake_machine_free),
        cmocka_unit_test_setup_teardown(
            test_marks_are_refused_where_every_board_of_the_maker_has_them, fake_machine_new,
            fake_machine_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
