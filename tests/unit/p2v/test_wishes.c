/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a sender wants of the guest: what is taken of it, from people and from agents that lie; and
 * what the definition makes of it.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "p2v/finish_wishes.h"
#include "tests/lib/json_fixture.h"

#include <string.h>

struct lines {
    struct log log;
    unsigned warnings;
};

static void count_line(struct log *log, enum log_level level, const char *line)
{
    assert_null(strchr(line, '\x1b'));
    ((struct lines *)log)->warnings += level == LOG_LEVEL_WARNING;
}

/* --- from people --- */

static void test_wishes_travel_as_json(void **state)
{
    (void)state;
    struct wishes wishes = {.memory_bytes = 0}, read;
    struct error err = {0};
    assert_int_equal(wishes_set_name(&wishes, "web01", &err), 0);
    assert_int_equal(wishes_set_memory(&wishes, 4 * GIB, &err), 0);
    assert_int_equal(wishes_set_vcpus(&wishes, 6, &err), 0);
    assert_int_equal(wishes_add_network(&wishes, "eth0:wired", &err), 0);
    assert_int_equal(wishes_add_network(&wishes, "lab-2", &err), 0);
    AUTO_JSON json = wishes_to_json(&wishes);
    AUTO_FREE char *text = json_dumps(json, JSON_COMPACT);
    assert_string_equal(text,
                        "{\"name\":\"web01\",\"memory_bytes\":4294967296,\"vcpus\":6,\"networks\":"
                        "[{\"nic\":\"eth0\",\"network\":\"wired\"},"
                        "{\"nic\":null,\"network\":\"lab-2\"}]}");
    assert_true(wishes_from_json(json, &read, NULL));
    assert_memory_equal(&read, &wishes, sizeof(read));
}

static void test_no_wish_is_no_json(void **state)
{
    (void)state;
    struct wishes wishes = {.memory_bytes = 0};
    assert_null(wishes_to_json(&wishes));
}

static void test_what_cannot_be_asked_for_is_named(void **state)
{
    static const char *const wrong[] = {
        "",      ":wired", "eth0:",     "eth0:a b", "eth0:../x",    "eth0:-x", "a/b:lan",
        "lan\n", "eth0:.", "eth 0:lan", "x,y",      "eth0:\x1b[2J", "eth0:a:b"};
    (void)state;
    struct wishes wishes = {.memory_bytes = 0};
    struct error err = {0};
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        err = (struct error){0};
        assert_int_equal(wishes_add_network(&wishes, wrong[i], &err), -1);
        assert_true(err.text[0]);
        assert_null(strchr(err.text, '\x1b'));
    }
    char name[WISHES_MAX_NETWORK + 2];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(wishes_add_network(&wishes, name, &err), -1);
    assert_int_equal(wishes.network_count, 0);
    assert_int_equal(wishes_add_network(&wishes, name + 1, &err), 0);
    assert_int_equal(wishes_add_network(&wishes, "other", &err), -1);
    assert_int_equal(wishes_set_name(&wishes, "../web", &err), -1);
    assert_int_equal(wishes_set_name(&wishes, "", &err), -1);
    assert_string_equal(wishes.name, "");
    assert_int_equal(wishes_set_memory(&wishes, 15 * MIB, &err), -1);
    assert_int_equal(wishes_set_memory(&wishes, GUEST_MAX_MEMORY + 1, &err), -1);
    assert_int_equal(wishes_set_vcpus(&wishes, 0, &err), -1);
    assert_int_equal(wishes_set_vcpus(&wishes, WISHES_MAX_VCPUS + 1, &err), -1);
    assert_int_equal(wishes.memory_bytes, 0);
    assert_int_equal(wishes.vcpus, 0);
}

/* Else the machine would be received, and then not be described. */
static void test_the_most_that_can_be_asked_for_is_a_valid_guest(void **state)
{
    (void)state;
    struct wishes wishes = {.memory_bytes = 0};
    struct error err = {0};
    struct guest *guest = guest_new("web");
    assert_int_equal(wishes_set_memory(&wishes, GUEST_MAX_MEMORY, &err), 0);
    assert_int_equal(wishes_set_vcpus(&wishes, WISHES_MAX_VCPUS, &err), 0);
    guest->memory_bytes = wishes.memory_bytes;
    guest->cores = wishes.vcpus;
    if (guest_validate(guest, false, &err) != 0)
        fail_msg("%s", err.text);
    guest_free(guest);
}

/* --- from agents --- */

static void expect_nothing(const char *text, unsigned warnings)
{
    struct wishes wishes, nothing = {.memory_bytes = 0};
    struct lines lines = {.log = {count_line}};
    AUTO_JSON json = parse(text);
    assert_int_equal(wishes_from_json(json, &wishes, &lines.log), warnings == 0);
    assert_memory_equal(&wishes, &nothing, sizeof(wishes));
    assert_int_equal(lines.warnings, warnings);
}

static void test_wishes_that_make_no_sense_are_left_out(void **state)
{
    (void)state;
    expect_nothing("{}", 0);
    expect_nothing("[]", 0);
    expect_nothing("{\"memory_bytes\": \"4G\", \"vcpus\": [], \"networks\": {}}", 0);
    expect_nothing("{\"memory_bytes\": 1.5, \"vcpus\": null, \"networks\": [1, \"lan\", {}]}", 0);
    expect_nothing("{\"networks\": [{\"nic\": 1, \"network\": \"lan\"}, {\"nic\": \"eth0\"}]}", 0);
    expect_nothing("{\"name\": 5}", 0);
    expect_nothing("{\"name\": \"a b\"}", 1);
    expect_nothing("{\"memory_bytes\": -1}", 1);
    expect_nothing("{\"memory_bytes\": 0}", 1);
    expect_nothing("{\"memory_bytes\": 9223372036854775807, \"vcpus\": 9223372036854775807}", 2);
    expect_nothing("{\"vcpus\": 4294967297}", 1);
    expect_nothing("{\"networks\": [{\"network\": \"<x/>\"}, {\"network\": \"\\u001b[2J\"}]}", 2);
    expect_nothing("{\"networks\": [{\"nic\": \"../../etc\", \"network\": \"lan\"}]}", 1);
    wishes_from_json(NULL, &(struct wishes){.memory_bytes = 0}, NULL);
}

/* Nor does it fill the log. */
static void test_more_wishes_than_a_guest_has_interfaces_are_not_looked_at(void **state)
{
    (void)state;
    struct wishes wishes;
    struct lines lines = {.log = {count_line}};
    AUTO_JSON json = json_object();
    json_t *networks = json_array();
    for (size_t i = 0; i < 5000; i++)
        json_array_append_new(networks, json_pack("{ss}", "network", i ? "/" : "lan"));
    json_object_set_new(json, "networks", networks);
    assert_false(wishes_from_json(json, &wishes, &lines.log));
    assert_int_equal(wishes.network_count, 1);
    assert_true(lines.warnings <= GUEST_MAX_NICS + 2);
}

/* --- in the definition --- */

#define MAC0 "52:54:00:00:00:00"
#define MAC1 "52:54:00:00:00:01"

/* eth0 and eth1 of the boot medium are eth1 and eth0 of the system. */
static struct guest *crossed_guest(void)
{
    struct guest *guest = guest_new("web");
    guest->nic_count = 2;
    guest->nics[0] = (struct guest_nic){.mac = text_copy(MAC1), .name = text_copy("eth0")};
    guest->nics[1] = (struct guest_nic){.mac = text_copy(MAC0), .name = text_copy("eth1")};
    return guest;
}

static json_t *crossed_inventory(const char *wanted)
{
    json_t *json = parse("{\"nics\": [{\"name\": \"eth0\", \"mac\": \"" MAC0 "\"},"
                         " {\"name\": \"eth1\", \"mac\": \"" MAC1 "\"}, {\"name\": \"eth2\"}]}");
    json_object_set_new(json, "wanted", parse(wanted));
    return json;
}

static bool apply(const char *wanted, struct guest *guest, json_t *report, struct log *log)
{
    struct finish_wishes wishes;
    struct definition_hints hints = {.sockets = 2, .cores = 8, .threads = 2};
    AUTO_JSON inventory = crossed_inventory(wanted);
    finish_wishes_read(inventory, &wishes, &hints, log);
    return finish_wishes_apply(&wishes, true, guest, report, log);
}

static void test_wished_network_goes_to_the_interface_that_the_agent_meant(void **state)
{
    (void)state;
    struct guest *guest = crossed_guest();
    struct lines lines = {.log = {count_line}};
    AUTO_JSON report = json_object();
    assert_true(apply("{\"networks\": [{\"nic\": null, \"network\": \"lan\"},"
                      " {\"nic\": \"eth0\", \"network\": \"wired\"}]}",
                      guest, report, &lines.log));
    assert_string_equal(guest->nics[1].network, "wired");
    assert_string_equal(guest->nics[0].network, "lan");
    assert_int_equal(lines.warnings, 0);
    const json_t *networks = json_object_get(json_object_get(report, "wanted"), "networks");
    assert_int_equal(json_array_size(networks), 2);
    for (size_t i = 0; i < 2; i++)
        assert_true(json_is_true(json_object_get(json_array_get(networks, i), "is_applied")));
    guest_free(guest);
}

static void test_wished_network_of_an_interface_that_is_not_there_is_a_warning(void **state)
{
    (void)state;
    struct guest *guest = crossed_guest();
    struct lines lines = {.log = {count_line}};
    AUTO_JSON report = json_object();
    assert_false(apply("{\"networks\": [{\"nic\": \"eth7\", \"network\": \"wired\"}]}", guest,
                       report, &lines.log));
    assert_null(guest->nics[0].network);
    assert_null(guest->nics[1].network);
    assert_int_equal(lines.warnings, 1);
    guest_free(guest);
}

static void test_network_that_was_there_before_stays(void **state)
{
    (void)state;
    struct guest *guest = crossed_guest();
    AUTO_JSON report = json_object();
    guest->nics[0].network = text_copy("dmz");
    assert_true(apply("{\"networks\": [{\"network\": \"lan\"}]}", guest, report, NULL));
    assert_string_equal(guest->nics[0].network, "dmz");
    assert_string_equal(guest->nics[1].network, "lan");
    guest_free(guest);
}

static void test_wished_name_is_the_guests_unless_it_has_been_there(void **state)
{
    (void)state;
    struct finish_wishes wishes;
    struct definition_hints hints = {.sockets = 0};
    AUTO_JSON inventory = crossed_inventory("{\"name\": \"shop\"}");
    AUTO_JSON report = json_object();
    finish_wishes_read(inventory, &wishes, &hints, NULL);
    for (int is_new = 0; is_new < 2; is_new++) {
        struct guest *guest = crossed_guest();
        assert_true(finish_wishes_apply(&wishes, is_new, guest, report, NULL));
        assert_string_equal(guest->name, is_new ? "shop" : "web");
        guest_free(guest);
    }
}

static void test_wished_memory_and_cpus_stand_in_for_the_machines(void **state)
{
    (void)state;
    struct finish_wishes wishes;
    struct definition_hints hints = {.sockets = 2, .cores = 8, .threads = 2, .memory_bytes = GIB};
    AUTO_JSON nothing = parse("{}");
    finish_wishes_read(nothing, &wishes, &hints, NULL);
    assert_int_equal(hints.memory_bytes, GIB);
    assert_int_equal(hints.sockets * hints.cores * hints.threads, 32);
    AUTO_JSON inventory = crossed_inventory("{\"memory_bytes\": 3221225473, \"vcpus\": 6}");
    finish_wishes_read(inventory, &wishes, &hints, NULL);
    assert_int_equal(hints.memory_bytes, 3 * GIB + MIB);
    assert_int_equal(hints.sockets * hints.cores * hints.threads, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wishes_travel_as_json),
        cmocka_unit_test(test_no_wish_is_no_json),
        cmocka_unit_test(test_what_cannot_be_asked_for_is_named),
        cmocka_unit_test(test_the_most_that_can_be_asked_for_is_a_valid_guest),
        cmocka_unit_test(test_wishes_that_make_no_sense_are_left_out),
        cmocka_unit_test(test_more_wishes_than_a_guest_has_interfaces_are_not_looked_at),
        cmocka_unit_test(test_wished_network_goes_to_the_interface_that_the_agent_meant),
        cmocka_unit_test(test_wished_network_of_an_interface_that_is_not_there_is_a_warning),
        cmocka_unit_test(test_network_that_was_there_before_stays),
        cmocka_unit_test(test_wished_name_is_the_guests_unless_it_has_been_there),
        cmocka_unit_test(test_wished_memory_and_cpus_stand_in_for_the_machines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
