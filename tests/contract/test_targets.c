/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What every target of guest_targets[] must do, whatever it writes: take every value that a
 * definition may have, say what identifies the machine, add to the text that it is given and not
 * touch it when it fails.
 */
#include "formats/guest.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FOLDER "/srv/guests/web01"

static void add_disk(struct guest *guest, enum guest_bus bus)
{
    struct guest_disk *disk = &guest->disks[guest->disk_count];

    disk->path = text_format("disk%zu.qcow2", guest->disk_count);
    disk->format = text_copy("qcow2");
    disk->size_bytes = 1 << 20;
    disk->bus = bus;
    guest->disk_count++;
}

static void add_nic(struct guest *guest, enum guest_nic_model model)
{
    struct guest_nic *nic = &guest->nics[guest->nic_count++];

    nic->mac = text_format("52:54:00:12:34:%02zx", guest->nic_count);
    nic->model = model;
    nic->addresses[nic->address_count++] = text_copy("dhcp");
}

static struct guest *small_guest(void)
{
    struct guest *guest = guest_new("web01");

    add_disk(guest, GUEST_BUS_VIRTIO_BLK);
    add_nic(guest, GUEST_NIC_VIRTIO);
    return guest;
}

static char *rendered(const struct guest_target *target, const struct guest *guest)
{
    struct error err = {0};
    AUTO(text) out = {0};

    if (target->render(guest, FOLDER, &out, &err) < 0)
        fail_msg("%s: %s", target->name, err.text);
    return text_take(&out);
}

static void assert_contains(const struct guest_target *target, const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("%s: no \"%s\" in:\n%s", target->name, part, text);
}

typedef void check(const struct guest_target *target);

static void for_each_target(check *run)
{
    assert_non_null(guest_targets[0]);
    for (size_t i = 0; guest_targets[i] != NULL; i++)
        run(guest_targets[i]);
}

static void check_description(const struct guest_target *target)
{
    assert_ptr_equal(guest_target_find(target->name), target);
    assert_true(strlen(target->description) > 0 && strlen(target->description) < 80);
    assert_null(strchr(target->file_name, '/'));
    for (const char *at = target->name; *at != 0; at++)
        assert_true(islower((unsigned char)*at) || isdigit((unsigned char)*at) || *at == '-');
}

static void test_target_is_found_and_described(void **state)
{
    (void)state;
    for_each_target(check_description);
}

static void check_identity(const struct guest_target *target)
{
    AUTO_PTR(guest) guest = small_guest();
    AUTO_FREE char *text = rendered(target, guest);

    assert_contains(target, text, guest->name);
    assert_contains(target, text, guest->uuid);
    assert_contains(target, text, guest->nics[0].mac);
    assert_contains(target, text, guest->disks[0].path);
    assert_true(text_ends_with(text, "\n"));
}

static void test_target_says_what_identifies_the_machine(void **state)
{
    (void)state;
    for_each_target(check_identity);
}

static void check_repeat(const struct guest_target *target)
{
    AUTO_PTR(guest) guest = small_guest();
    AUTO_FREE char *once = rendered(target, guest);
    AUTO_FREE char *twice = rendered(target, guest);

    assert_string_equal(once, twice);
}

static void test_target_writes_the_same_twice(void **state)
{
    (void)state;
    for_each_target(check_repeat);
}

static void check_adding(const struct guest_target *target)
{
    AUTO_PTR(guest) guest = small_guest();
    AUTO_FREE char *alone = rendered(target, guest);
    AUTO(text) out = {0};

    text_add(&out, "before");
    assert_int_equal(target->render(guest, FOLDER, &out, NULL), 0);
    assert_memory_equal(text_string(&out), "before", 6);
    assert_string_equal(text_string(&out) + 6, alone);
}

static void test_target_adds_to_what_is_there(void **state)
{
    (void)state;
    for_each_target(check_adding);
}

static void check_refusal(const struct guest_target *target)
{
    AUTO_PTR(guest) guest = small_guest();
    struct error err = {0};
    AUTO(text) out = {0};

    text_add(&out, "before");
    guest->memory_bytes = 1;
    assert_int_equal(target->render(guest, FOLDER, &out, &err), -1);
    assert_contains(target, err.text, "memory_bytes");
    assert_string_equal(text_string(&out), "before");
}

static void test_target_refuses_an_invalid_guest_and_writes_nothing(void **state)
{
    (void)state;
    for_each_target(check_refusal);
}

/* Two renderings must differ when the definitions do: no value is silently the same as another. */
static void assert_all_differ(const struct guest_target *target, char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(texts[i], texts[j]) == 0)
                fail_msg("%s: variants %zu and %zu are the same", target->name, i, j);
        }
    }
}

static void free_all(char **texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(texts[i]);
}

static void check_buses_and_models(const struct guest_target *target)
{
    char *texts[16];
    size_t count = 0;

    for (unsigned bus = 0; bus <= GUEST_BUS_IDE; bus++) {
        for (unsigned model = 0; model <= GUEST_NIC_RTL8139; model++) {
            AUTO_PTR(guest) guest = small_guest();

            guest->disks[0].bus = (enum guest_bus)bus;
            guest->nics[0].model = (enum guest_nic_model)model;
            texts[count++] = rendered(target, guest);
        }
    }
    assert_all_differ(target, texts, count);
    free_all(texts, count);
}

static void test_target_tells_every_bus_and_nic_model_apart(void **state)
{
    (void)state;
    for_each_target(check_buses_and_models);
}

static void set_firmware(struct guest *guest, unsigned kind)
{
    guest->firmware = kind == 0 ? GUEST_FIRMWARE_BIOS : GUEST_FIRMWARE_UEFI;
    guest->secure_boot = kind == 2;
}

static void check_machine(const struct guest_target *target)
{
    static const char *const consoles[] = {"serial", "vga", "both"};
    char *texts[3 * 2 * 3];
    size_t count = 0;

    for (unsigned variant = 0; variant < 3 * 2 * 3; variant++) {
        AUTO_PTR(guest) guest = small_guest();

        set_firmware(guest, variant % 3);
        guest->clock = variant / 3 % 2 == 0 ? GUEST_CLOCK_UTC : GUEST_CLOCK_LOCALTIME;
        free(guest->console);
        guest->console = text_copy(consoles[variant / 6]);
        texts[count++] = rendered(target, guest);
    }
    assert_all_differ(target, texts, count);
    free_all(texts, count);
}

static void test_target_tells_every_firmware_clock_and_console_apart(void **state)
{
    (void)state;
    for_each_target(check_machine);
}

static void check_fullest(const struct guest_target *target)
{
    AUTO_PTR(guest) guest = guest_new("web01");

    for (unsigned i = 0; i < GUEST_MAX_DISKS; i++)
        add_disk(guest, (enum guest_bus)(i % GUEST_BUS_IDE));
    for (unsigned i = 0; i < GUEST_MAX_NICS; i++)
        add_nic(guest, (enum guest_nic_model)(i % 4));
    AUTO_FREE char *text = rendered(target, guest);
    assert_contains(target, text, "disk63.qcow2");
    assert_contains(target, text, "52:54:00:12:34:40");
}

static void test_target_takes_as_many_devices_as_a_definition_may_have(void **state)
{
    (void)state;
    for_each_target(check_fullest);
}

static void check_empty(const struct guest_target *target)
{
    AUTO_PTR(guest) guest = guest_new("web01");
    AUTO_FREE char *text = rendered(target, guest);

    assert_contains(target, text, "web01");
}

static void test_target_takes_a_guest_without_disks_and_nics(void **state)
{
    (void)state;
    for_each_target(check_empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_target_is_found_and_described),
        cmocka_unit_test(test_target_says_what_identifies_the_machine),
        cmocka_unit_test(test_target_writes_the_same_twice),
        cmocka_unit_test(test_target_adds_to_what_is_there),
        cmocka_unit_test(test_target_refuses_an_invalid_guest_and_writes_nothing),
        cmocka_unit_test(test_target_tells_every_bus_and_nic_model_apart),
        cmocka_unit_test(test_target_tells_every_firmware_clock_and_console_apart),
        cmocka_unit_test(test_target_takes_as_many_devices_as_a_definition_may_have),
        cmocka_unit_test(test_target_takes_a_guest_without_disks_and_nics),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
