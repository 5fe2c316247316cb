/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The server's database: machines, their names, their keys, and who may be the same.
 */
#include "tests/unit/p2v/database_place.h"

static void set_state(struct place *place, uint32_t number, enum machine_state machine_state)
{
    struct machine_row row = {.number = number, .state = machine_state, .seconds_left = -1};
    assert_int_equal(machine_set(place->database, &row, NULL), 0);
}

/* --- machines --- */

static void test_machine_keeps_its_name_and_number(void **state)
{
    struct place *place = *state;
    char first[64], second[64], again[64];
    uint32_t number = claim(place, 1, "web01", first);
    assert_string_equal(first, "web01");
    assert_int_not_equal(claim(place, 2, "web01", second), number);
    assert_string_equal(second, "web01-2");
    assert_int_equal(claim(place, 1, "renamed", again), number);
    assert_string_equal(again, "web01");
    reopen(place);
    assert_int_equal(claim(place, 1, "web01", again), number);
    assert_string_equal(again, "web01");
    assert_int_equal(machine_name_of(place->database, number, again, NULL), 0);
    assert_string_equal(again, "web01");
    struct error err = {0};
    assert_int_equal(machine_name_of(place->database, 999, again, &err), -1);
    assert_int_equal(err.errnum, ENOENT);
}

static bool is_taken(void *context, const char *name)
{
    ++*(int *)context;
    return strcmp(name, "web01") == 0 || strcmp(name, "web01-3") == 0;
}

static void test_machine_takes_no_name_of_a_folder_that_is_there(void **state)
{
    struct place *place = *state;
    char name[64];
    uint32_t number;
    bool is_new;
    int asked = 0;
    assert_int_equal(machine_claim(place->database, identity_of(1), "web01", is_taken, &asked,
                                   &number, name, &is_new, NULL),
                     0);
    assert_string_equal(name, "web01-2");
    assert_true(is_new);
    assert_int_equal(machine_claim(place->database, identity_of(2), "web01", is_taken, &asked,
                                   &number, name, &is_new, NULL),
                     0);
    assert_string_equal(name, "web01-4");
    asked = 0;
    assert_int_equal(machine_claim(place->database, identity_of(1), "web01", is_taken, &asked,
                                   &number, name, &is_new, NULL),
                     0);
    assert_false(is_new);
    assert_int_equal(asked, 0);
}

static void test_machine_name_can_be_no_path(void **state)
{
    struct place *place = *state;
    char name[64];
    claim(place, 1, "../../etc/passwd", name);
    assert_string_equal(name, "etc-passwd");
    claim(place, 2, "web01.partial", name);
    assert_string_equal(name, "web01-partial");
    claim(place, 3, ".rehost", name);
    assert_string_equal(name, "rehost");
    claim(place, 4, "", name);
    assert_string_equal(name, "machine");
    /* Where the file system does not know upper case, two names are one folder. */
    claim(place, 5, "Rehost", name);
    assert_string_equal(name, "Rehost-2");
}

static void test_machine_row_comes_back_as_set(void **state)
{
    struct place *place = *state;
    char name[64];
    struct machine_row row = {.number = claim(place, 3, "db1", name),
                              .state = MACHINE_RECEIVING,
                              .bytes_per_second = 612000000,
                              .seconds_left = 192,
                              .text = "sda: 2 unreadable ranges",
                              .warnings = 2};
    struct machine_row got;
    place->now = 2000000;
    assert_int_equal(machine_set(place->database, &row, NULL), 0);
    place->now = 2000010;
    assert_int_equal(machine_set(place->database, &row, NULL), 0);
    assert_int_equal(machine_get(place->database, "db1", &got, NULL), 0);
    assert_int_equal(got.number, row.number);
    assert_int_equal(got.state, MACHINE_RECEIVING);
    assert_int_equal(got.since, 2000000);
    assert_int_equal(got.updated, 2000010);
    assert_int_equal(got.bytes_per_second, 612000000);
    assert_int_equal(got.seconds_left, 192);
    assert_string_equal(got.text, "sda: 2 unreadable ranges");
    assert_int_equal(got.warnings, 2);
    assert_string_equal(got.code, "AMAA-AAAA");
    assert_string_equal(got.twin, "");
    row.state = MACHINE_WARNED;
    row.exit_code = 3;
    assert_int_equal(machine_set(place->database, &row, NULL), 0);
    assert_int_equal(machine_get(place->database, "db1", &got, NULL), 0);
    assert_int_equal(got.since, 2000010);
    assert_int_equal(got.exit_code, 3);
    struct error err = {0};
    assert_int_equal(machine_get(place->database, "db2", &got, &err), -1);
    assert_int_equal(err.errnum, ENOENT);
    row.number = 99;
    assert_int_equal(machine_set(place->database, &row, &err), -1);
    assert_int_equal(err.errnum, ENOENT);
}

static void test_machine_disks_come_back_as_set(void **state)
{
    struct place *place = *state;
    char name[64];
    uint32_t number = claim(place, 1, "db1", name);
    struct machine_disk_row disks[2] = {
        {"sda", (uint64_t)931 << 30, 1000, 400, 390, 200, 210, 512, 3},
        {"nvme0n1", UINT64_MAX, 5, 4, 3, 2, 1, 0, 0}};
    struct machine_disk_row got[WIRE_MAX_DISKS];
    size_t count;
    assert_int_equal(machine_set_disks(place->database, number, disks, 2, NULL), 0);
    assert_int_equal(machine_get_disks(place->database, number, got, &count, NULL), 0);
    assert_int_equal(count, 2);
    assert_string_equal(got[0].name, "sda");
    assert_int_equal(got[0].size_bytes, (uint64_t)931 << 30);
    assert_int_equal(got[0].unreadable_bytes, 512);
    assert_int_equal(got[0].wire_bytes, 210);
    assert_int_equal(got[0].pass, 3);
    assert_int_equal(got[1].size_bytes, INT64_MAX);
    assert_int_equal(machine_set_disks(place->database, number, disks, 1, NULL), 0);
    assert_int_equal(machine_get_disks(place->database, number, got, &count, NULL), 0);
    assert_int_equal(count, 1);
    assert_int_equal(machine_set_disks(place->database, 77, disks, 1, NULL), -1);
    assert_int_equal(machine_set_disks(place->database, number, got, 65, NULL), -1);
}

static void add_line(void *context, const struct machine_row *row)
{
    text_addf(context, "%s %s\n", row->name, machine_state_name(row->state));
}

static void add_disk(void *context, const struct machine_disk_row *disk)
{
    text_addf(context, "  %s\n", disk->name);
}

static void test_machine_visit_gives_each_with_its_disks(void **state)
{
    struct place *place = *state;
    char name[64];
    AUTO(text) seen = {0};
    struct machine_disk_row disks[2] = {{.name = "sda"}, {.name = "sdb"}};
    uint32_t web = claim(place, 1, "web", name), db = claim(place, 2, "db", name);
    set_state(place, web, MACHINE_DONE);
    assert_int_equal(machine_set_disks(place->database, web, disks, 2, NULL), 0);
    assert_int_equal(machine_set_disks(place->database, db, disks, 1, NULL), 0);
    struct machine_visitor visitor = {.machine = add_line, .disk = add_disk, .context = &seen};
    assert_int_equal(machine_visit(place->database, &visitor, NULL), 0);
    assert_string_equal(text_string(&seen), "db interrupted\n  sda\nweb done\n  sda\n  sdb\n");
}

static void test_machines_are_interrupted_when_the_server_starts(void **state)
{
    struct place *place = *state;
    static const enum machine_state states[][2] = {{MACHINE_RECEIVING, MACHINE_INTERRUPTED},
                                                   {MACHINE_PAUSED, MACHINE_INTERRUPTED},
                                                   {MACHINE_RECEIVED, MACHINE_RECEIVED},
                                                   {MACHINE_TESTING, MACHINE_RECEIVED},
                                                   {MACHINE_DONE, MACHINE_DONE},
                                                   {MACHINE_FAILED, MACHINE_FAILED}};
    char names[6][64];
    for (unsigned i = 0; i < 6; i++)
        set_state(place, claim(place, i, "m", names[i]), states[i][0]);
    assert_int_equal(machine_interrupt_all(place->database, NULL), 0);
    for (unsigned i = 0; i < 6; i++) {
        struct machine_row row;
        assert_int_equal(machine_get(place->database, names[i], &row, NULL), 0);
        assert_int_equal(row.state, states[i][1]);
    }
}

/* --- a new key for an old machine --- */

static void test_token_made_for_a_machine_hands_it_to_a_new_key(void **state)
{
    struct place *place = *state;
    char first[WIRE_TOKEN_LENGTH + 1], again[WIRE_TOKEN_LENGTH + 1], id[16], name[64];
    struct listing listing = {0};
    struct error err = {0};
    create(place, NULL, first, id);
    assert_int_equal(use(place, 1, first), ADMISSION_GRANTED);
    uint32_t number = claim(place, 1, "web01", name);
    create(place, &(struct token_options){.machine = "web01"}, again, id);
    assert_int_equal(token_list(place->database, keep_token, &listing, NULL), 0);
    assert_int_equal(listing.count, 2);
    assert_int_equal(use(place, 2, again), ADMISSION_GRANTED);
    assert_int_equal(claim(place, 2, "web01", name), number);
    assert_string_equal(name, "web01");
    assert_int_equal(known(place, 1), ADMISSION_REFUSED);
    assert_refused(place, 3, again, "used up");
    assert_int_equal(
        token_create(place->database, &(struct token_options){.machine = "web02"}, again, id, &err),
        -1);
    assert_int_equal(err.errnum, ENOENT);
    assert_int_equal(token_create(place->database,
                                  &(struct token_options){.machine = "web01", .uses = 2}, again, id,
                                  &err),
                     -1);
}

static void test_approval_can_hand_a_machine_to_a_new_key(void **state)
{
    struct place *place = *state;
    char name[64], code[AGENT_CODE_SIZE];
    struct error err = {0};
    uint32_t number = claim(place, 1, "web01", name);
    agent_code(identity_of(2), code);
    assert_int_equal(agent_wait(place->database, identity_of(2), "10.0.0.2:1", "", NULL), 0);
    assert_int_equal(agent_approve_as(place->database, code, "web02", &err), -1);
    assert_int_equal(err.errnum, ENOENT);
    assert_int_equal(known(place, 2), ADMISSION_NEEDED);
    assert_int_equal(agent_approve_as(place->database, code, "web01", &err), 0);
    assert_int_equal(known(place, 2), ADMISSION_GRANTED);
    assert_int_equal(claim(place, 2, "other", name), number);
}

/* --- twins --- */

static void set_ids(struct place *place, uint32_t number, const char *uuid, const char *serial,
                    const char *expected)
{
    char twin[64];
    assert_int_equal(machine_set_ids(place->database, number, uuid, serial, twin, NULL), 0);
    assert_string_equal(twin, expected);
}

static void test_machine_twins_are_told(void **state)
{
    struct place *place = *state;
    char name[64];
    struct machine_row row;
    uint32_t a = claim(place, 1, "a", name), b = claim(place, 2, "b", name),
             c = claim(place, 3, "c", name), d = claim(place, 4, "A", name);
    assert_string_equal(name, "A-2");
    set_ids(place, a, "4C4C4544-0042-3510-8051-B4C04F4E3358", "B5BQN3X", "A-2");
    set_ids(place, b, "4c4c4544-0042-3510-8051-b4c04f4e3358", "", "a");
    set_ids(place, c, "", " b5bqn3x ", "a");
    set_ids(place, d, "", "", "a");
    set_ids(place, c, "", "other", "");
    assert_int_equal(machine_get(place->database, "b", &row, NULL), 0);
    assert_string_equal(row.twin, "a");
    assert_int_equal(machine_get(place->database, "c", &row, NULL), 0);
    assert_string_equal(row.twin, "");
}

static void test_machine_placeholders_make_no_twins(void **state)
{
    struct place *place = *state;
    char name[64];
    static const char *const ids[][2] = {
        {"00000000-0000-0000-0000-000000000000", "To Be Filled By O.E.M."},
        {"FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "Default string"},
        {"03000200-0400-0500-0006-000700080009", "0123456789"},
        {"Not Settable", "System Serial Number"},
        {"", "None"},
        {"not-present", "............"}};
    uint32_t a = claim(place, 1, "localhost", name), b = claim(place, 2, "localhost", name);
    for (size_t i = 0; i < 6; i++) {
        set_ids(place, a, ids[i][0], ids[i][1], "");
        set_ids(place, b, ids[i][0], ids[i][1], "");
    }
}

/* --- which machine somebody who waits is on --- */

static void keep_machine(void *context, const char *code, const char *address, int64_t since,
                         const char *machine)
{
    (void)code, (void)address, (void)since;
    snprintf(context, 64, "%s", machine);
}

static void expect_suggestion(struct place *place, const char *code, const char *expected)
{
    char name[64], visited[64] = "nobody waits";
    struct machine_visitor visitor = {.waiting = keep_machine, .context = visited};
    assert_int_equal(agent_waiting_machine(place->database, code, name, NULL), 0);
    assert_string_equal(name, expected);
    assert_int_equal(machine_visit(place->database, &visitor, NULL), 0);
    assert_string_equal(visited, expected);
}

static void test_agent_that_waits_is_told_from_a_stranger_by_the_machine_it_is_on(void **state)
{
    struct place *place = *state;
    static const char uuid[] = "4C4C4544-0042-3510-8052-B4C04F4B3132";
    char name[64], code[AGENT_CODE_SIZE], mark[MACHINE_MARK_SIZE], other[MACHINE_MARK_SIZE];
    uint32_t number = claim(place, 1, "web01", name);
    set_ids(place, number, uuid, "B5", "");
    set_ids(place, claim(place, 3, "db1", name), uuid + 1, "", "");
    machine_mark_make("4c4c4544 0042 3510 8052 b4c04f4b3132", "b5", mark);
    machine_mark_make(uuid, "B6", other);
    agent_code(identity_of(2), code);
    assert_int_equal(agent_wait(place->database, identity_of(2), "10.0.0.2:1", mark, NULL), 0);
    expect_suggestion(place, code, "web01");
    set_state(place, number, MACHINE_DONE);
    expect_suggestion(place, code, "");
    set_state(place, number, MACHINE_PAUSED);
    expect_suggestion(place, code, "web01");
    assert_int_equal(agent_wait(place->database, identity_of(2), "10.0.0.2:1", other, NULL), 0);
    expect_suggestion(place, code, "");
    assert_int_equal(agent_wait(place->database, identity_of(2), "10.0.0.2:1", "", NULL), 0);
    expect_suggestion(place, code, "");
    assert_int_equal(agent_waiting_machine(place->database, "nonsense", name, NULL), 0);
    assert_string_equal(name, "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)
    const struct CMUnitTest tests[] = {
        TEST(test_machine_keeps_its_name_and_number),
        TEST(test_machine_takes_no_name_of_a_folder_that_is_there),
        TEST(test_machine_name_can_be_no_path),
        TEST(test_machine_row_comes_back_as_set),
        TEST(test_machine_disks_come_back_as_set),
        TEST(test_machine_visit_gives_each_with_its_disks),
        TEST(test_machines_are_interrupted_when_the_server_starts),
        TEST(test_token_made_for_a_machine_hands_it_to_a_new_key),
        TEST(test_approval_can_hand_a_machine_to_a_new_key),
        TEST(test_agent_that_waits_is_told_from_a_stranger_by_the_machine_it_is_on),
        TEST(test_machine_twins_are_told),
        TEST(test_machine_placeholders_make_no_twins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
