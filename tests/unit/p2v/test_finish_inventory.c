/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What an agent says of its machine is used where it makes sense, and passed over where not.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "p2v/finish_inventory.h"
#include "tests/lib/json_fixture.h"

#include <string.h>

static struct definition_hints hints_of(const char *text)
{
    struct definition_hints hints;
    AUTO_JSON json = parse(text);
    finish_inventory_hints(json, &hints);
    return hints;
}

static void test_a_machine_is_what_the_agent_saw(void **state)
{
    (void)state;
    struct definition_hints hints = hints_of(
        "{\"made_from\": \"machine\", \"memory_bytes\": 68719476735,"
        " \"cpu\": {\"sockets\": 2, \"cores\": 16, \"threads\": 2, \"model\": \"X\"},"
        " \"firmware\": {\"type\": \"uefi\", \"secure_boot\": true}, \"clock\": \"localtime\","
        " \"dmi\": {\"uuid\": \"4C4C4544-0051-3810-8052-B4C04F4B3132\", \"serial\": \"X1\"}}");
    assert_int_equal(hints.memory_bytes, 64 * GIB);
    assert_int_equal(hints.sockets, 2);
    assert_int_equal(hints.cores, 16);
    assert_int_equal(hints.threads, 2);
    assert_true(hints.is_firmware_known && hints.is_uefi && hints.is_secure_boot);
    assert_true(hints.is_clock_known && hints.is_localtime);
    assert_string_equal(hints.uuid, "4c4c4544-0051-3810-8052-b4c04f4b3132");
}

static void expect_nothing(const char *text)
{
    struct definition_hints hints = hints_of(text), nothing = {.sockets = 0};
    assert_memory_equal(&hints, &nothing, sizeof(hints));
}

static void test_what_makes_no_sense_is_passed_over(void **state)
{
    (void)state;
    expect_nothing("{}");
    expect_nothing("[]");
    expect_nothing("{\"made_from\": \"disks\", \"memory_bytes\": 1048576}");
    expect_nothing("{\"memory_bytes\": -1, \"cpu\": 4, \"firmware\": [], \"clock\": null}");
    expect_nothing("{\"memory_bytes\": 17592186044417}");
    expect_nothing("{\"memory_bytes\": \"8G\", \"firmware\": {\"type\": \"openfirmware\"}}");
    expect_nothing("{\"cpu\": {\"sockets\": 512, \"cores\": 512, \"threads\": 512}}");
    expect_nothing("{\"dmi\": {\"uuid\": \"00000000-0000-0000-0000-000000000000\"}}");
    expect_nothing("{\"dmi\": {\"uuid\": \"03000200-0400-0500-0006-000700080009\"}}");
    expect_nothing("{\"dmi\": {\"uuid\": \"FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF\"}}");
    expect_nothing("{\"dmi\": {\"uuid\": \"4C4C4544-0051-3810-8052-B4C04F4B313\"}}");
    expect_nothing("{\"dmi\": {\"uuid\": \"4C4C4544-0051-3810-8052xB4C04F4B3132\"}}");
}

static void test_the_hardware_among_the_interfaces_is_taken(void **state)
{
    (void)state;
    AUTO(nics) nics = {.count = 0};
    AUTO_JSON json = parse(
        "{\"nics\": [{\"name\": \"eno1\", \"mac\": \"00:25:90:AA:BB:01\", \"driver\": \"igb\"},"
        " {\"name\": \"eno2\", \"mac\": \"00:25:90:aa:bb:01\"},"
        " {\"name\": \"eno1\", \"mac\": \"00:25:90:aa:bb:02\"},"
        " {\"name\": \"../x\", \"mac\": \"00:25:90:aa:bb:03\"},"
        " {\"name\": \"bond0\", \"mac\": \"00:25:90:aa:bb:04\"},"
        " {\"name\": \"eno3\", \"mac\": \"ff:ff:ff:ff:ff:ff\"},"
        " {\"name\": \"eno4\"}, {}, 5, \"eno5\","
        " {\"name\": \"eno6v0\", \"mac\": \"00:25:90:aa:bb:06\", \"is_virtual_function\": true},"
        " {\"name\": \"eno7\", \"mac\": \"00:25:90:aa:bb:07\"}]}");
    finish_inventory_nics(json, &nics, NULL);
    assert_int_equal(nics.count, 2);
    assert_true(nics.is_complete);
    assert_string_equal(nics.items[0].name, "eno1");
    assert_string_equal(nics.items[0].mac, "00:25:90:aa:bb:01");
    assert_string_equal(nics.items[1].name, "eno7");
}

static void test_a_machine_without_hardware_that_was_seen_is_not_complete(void **state)
{
    (void)state;
    AUTO(nics) nics = {.count = 0};
    AUTO_JSON json = parse("{\"nics\": [], \"made_from\": \"disks\"}");
    finish_inventory_nics(json, &nics, NULL);
    assert_int_equal(nics.count, 0);
    assert_false(nics.is_complete);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_machine_is_what_the_agent_saw),
        cmocka_unit_test(test_what_makes_no_sense_is_passed_over),
        cmocka_unit_test(test_the_hardware_among_the_interfaces_is_taken),
        cmocka_unit_test(test_a_machine_without_hardware_that_was_seen_is_not_complete),
    };
    return cmocka_run_group_tests_name("finish_inventory", tests, NULL, NULL);
}
