/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The table that people watch and the JSON that programs read, for the same machines.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "p2v/machine.h"
#include "p2v/status.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOW 1000000

static struct machine_disk_row disks[2];
static struct status_machine machine;
static struct status_waiting waiting;
static struct status status;

static int start(void **state)
{
    (void)state;
    disks[0] =
        (struct machine_disk_row){"sda", 931 * GIB, 1000 * MIB, 411 * MIB, 400 * MIB, 7, 8, 0, 0};
    disks[1] = (struct machine_disk_row){"sdb", 2 * TIB, 24 * MIB, 24 * MIB, 24 * MIB, 5, 6, 0, 2};
    machine = (struct status_machine){
        {.number = 1, .name = "web01", .code = "ABCD-EFGH", .state = MACHINE_RECEIVING}, disks, 2};
    machine.row.bytes_per_second = 612000000;
    machine.row.seconds_left = 192;
    machine.row.since = NOW - 60;
    machine.row.updated = NOW - 1;
    waiting = (struct status_waiting){"MZXW-6YTB", "10.0.0.7:5000", NOW - 200, ""};
    status = (struct status){&machine, 1, NULL, 0};
    return 0;
}

static char *table(void)
{
    struct text out = {0};
    status_format(&status, "/srv/rehost", NOW, &out);
    return text_take(&out);
}

static void assert_shown(const char *line)
{
    AUTO_FREE char *text = table();
    AUTO_FREE char *whole = text_format("%s\n", line);
    if (!strstr(text, whole))
        fail_msg("not shown: '%s' in\n%s", line, text);
}

static void test_status_of_an_empty_pool_says_what_to_do(void **state)
{
    (void)state;
    status = (struct status){0};
    AUTO_FREE char *text = table();
    assert_string_equal(text, "no machines yet (rehost token create lets one in)\n");
}

static void test_status_table_shows_a_machine_and_its_disks(void **state)
{
    (void)state;
    AUTO_FREE char *text = table();
    assert_string_equal(
        text, "MACHINE           STATE             USED       SIZE DONE SAFE      RATE     LEFT\n"
              "web01             receiving      1.0 GiB    2.9 TiB  42%  41%  612 MB/s     3:12\n"
              "  sda                           1000 MiB  931.0 GiB  41%  40%\n"
              "  sdb             pass 3        24.0 MiB    2.0 TiB 100% 100%\n");
}

static void test_status_table_shows_no_rate_of_what_does_not_move(void **state)
{
    (void)state;
    machine.row.state = MACHINE_INTERRUPTED;
    machine.row.since = NOW - 7300;
    assert_shown("web01             interrupted    1.0 GiB    2.9 TiB  42%  41%");
    assert_shown("  the agent is away for 2 h; the transfer goes on when it is back");
    machine.row.state = MACHINE_PAUSED;
    snprintf(machine.row.text, sizeof(machine.row.text), "1 GiB free");
    assert_shown("  for 2 h; it goes on when there is room: 1 GiB free");
}

static void test_status_table_shows_a_result_in_one_line_and_a_reason(void **state)
{
    (void)state;
    machine.row.state = MACHINE_FAILED;
    machine.row.exit_code = 4;
    machine.row.since = NOW - 300;
    snprintf(machine.row.text, sizeof(machine.row.text), "no network");
    assert_shown("  5 min ago, exit code 4: no network");
    AUTO_FREE char *text = table();
    assert_null(strstr(text, "  sda"));
    /* What was lost is told for good. */
    disks[0].unreadable_bytes = 12288;
    assert_shown("  sda: 12.0 KiB could not be read");
    machine.row.state = MACHINE_DONE;
    assert_shown("  5 min ago: no network");
}

static void test_status_table_tells_warnings_and_twins(void **state)
{
    (void)state;
    machine.row.warnings = 2;
    snprintf(machine.row.twin, sizeof(machine.row.twin), "web02");
    assert_shown("  2 warnings");
    assert_shown("  has the host name, DMI UUID or serial number of web02");
    machine.row.warnings = 1;
    assert_shown("  1 warning");
}

static void test_status_table_shows_who_waits_and_how_to_let_it_in(void **state)
{
    (void)state;
    status = (struct status){.waiting = &waiting, .waiting_count = 1};
    AUTO_FREE char *text = table();
    assert_string_equal(text, "Waiting for an approval; compare the code with the agent's screen:\n"
                              "  MZXW-6YTB  from 10.0.0.7:5000, for 3 min\n"
                              "    rehost approve --pool /srv/rehost MZXW-6YTB\n");
}

static void test_status_table_says_which_machine_somebody_who_waits_may_be(void **state)
{
    (void)state;
    status = (struct status){.waiting = &waiting, .waiting_count = 1};
    snprintf(waiting.machine, sizeof(waiting.machine), "web01");
    assert_shown("    says it is web01,");
    assert_shown("    rehost approve --pool /srv/rehost --for web01 MZXW-6YTB");
    AUTO_JSON json = status_to_json(&status);
    const json_t *agent = json_array_get(json_object_get(json, "waiting"), 0);
    assert_string_equal(json_string_value(json_object_get(agent, "machine")), "web01");
}

static void assert_narrow(const char *text)
{
    while (*text) {
        size_t length = strcspn(text, "\n");
        if (length > 80)
            fail_msg("%zu columns: %.*s", length, (int)length, text);
        text += length + 1;
    }
}

static void test_status_table_stays_within_eighty_columns(void **state)
{
    (void)state;
    memset(machine.row.name, 'n', 63);
    memset(disks[0].name, 'd', 64);
    disks[1].size_bytes = disks[1].total_bytes = INT64_MAX;
    machine.row.bytes_per_second = 99999000000;
    machine.row.seconds_left = 86399;
    for (size_t i = 0; i + 10 < sizeof(machine.row.text); i += 9)
        snprintf(machine.row.text + i, 10, "%s", "a word 17");
    status.waiting = &waiting;
    status.waiting_count = 1;
    for (int i = 0; i < MACHINE_STATE_END; i++) {
        machine.row.state = (enum machine_state)i;
        AUTO_FREE char *text = table();
        assert_narrow(text);
    }
}

/* Terminals obey escape sequences; an agent chooses these texts. */
static void test_status_escapes_what_an_agent_said(void **state)
{
    (void)state;
    snprintf(disks[0].name, sizeof(disks[0].name), "\033]0;x\007");
    snprintf(machine.row.text, sizeof(machine.row.text), "\033[2J\r\nrehost: all is well\x9b");
    snprintf(waiting.address, sizeof(waiting.address), "\033[31m");
    status.waiting = &waiting;
    status.waiting_count = 1;
    AUTO_FREE char *text = table();
    AUTO_JSON json = status_to_json(&status);
    assert_non_null(json);
    AUTO_FREE char *document = json_format(json);
    assert_non_null(strstr(text, "\\x1b[2J\\x0d\\x0arehost: all is well\\x9b"));
    for (const char *character = text; *character; character++)
        assert_true(*character == '\n' || (*character >= ' ' && *character < 127));
    for (const char *character = document; *character; character++)
        assert_true(*character == '\n' || (*character >= ' ' && *character < 127));
}

static void test_status_json_has_the_documented_names(void **state)
{
    (void)state;
    status.waiting = &waiting;
    status.waiting_count = 1;
    AUTO_JSON json = status_to_json(&status);
    AUTO_FREE char *text = json_dumps(json, JSON_COMPACT);
    assert_string_equal(
        text,
        "{\"machines\":[{\"name\":\"web01\",\"state\":\"receiving\",\"exit_code\":null,"
        "\"since\":999940,\"updated\":999999,\"bytes_per_second\":612000000,\"seconds_left\":192,"
        "\"text\":\"\",\"warnings\":0,\"twin\":null,\"code\":\"ABCD-EFGH\",\"disks\":["
        "{\"name\":\"sda\",\"size_bytes\":999653638144,\"total_bytes\":1048576000,"
        "\"done_bytes\":430964736,\"safe_bytes\":419430400,\"sent_bytes\":7,\"wire_bytes\":8,"
        "\"unreadable_bytes\":0,\"pass\":0},"
        "{\"name\":\"sdb\",\"size_bytes\":2199023255552,\"total_bytes\":25165824,"
        "\"done_bytes\":25165824,\"safe_bytes\":25165824,\"sent_bytes\":5,\"wire_bytes\":6,"
        "\"unreadable_bytes\":0,\"pass\":2}]}],"
        "\"waiting\":[{\"code\":\"MZXW-6YTB\",\"address\":\"10.0.0.7:5000\",\"since\":999800,"
        "\"machine\":null}]}");
}

static void test_status_json_has_a_result_only_at_the_end(void **state)
{
    (void)state;
    machine.row.state = MACHINE_WARNED;
    machine.row.exit_code = 3;
    AUTO_JSON json = status_to_json(&status);
    const json_t *row = json_array_get(json_object_get(json, "machines"), 0);
    assert_int_equal(json_integer_value(json_object_get(row, "exit_code")), 3);
    assert_true(json_is_null(json_object_get(row, "seconds_left")));
    assert_string_equal(json_string_value(json_object_get(row, "state")), "warned");
}

/* The last second's figures stay in the database; that all is there is told by the state. */
static void test_status_of_a_received_machine_is_all_of_it(void **state)
{
    (void)state;
    static const uint8_t identity[WIRE_IDENTITY_SIZE] = {1};
    char folder[] = "/tmp/rehost-test.XXXXXX", name[64];
    struct pool pool;
    uint32_t number;
    bool is_new;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(pool_open(&pool, folder, POOL_SERVE, NULL), 0);
    struct database *database = database_open(&pool, POOL_SERVE, NULL);
    assert_int_equal(
        machine_claim(database, identity, "web01", NULL, NULL, &number, name, &is_new, NULL), 0);
    machine.row.number = number;
    assert_int_equal(machine_set_disks(database, number, disks, 2, NULL), 0);
    for (int i = 0; i < MACHINE_STATE_END; i++) {
        AUTO(status) read;
        machine.row.state = (enum machine_state)i;
        assert_int_equal(machine_set(database, &machine.row, NULL), 0);
        assert_int_equal(status_read(&read, database, NULL), 0);
        assert_int_equal(read.machine_count, 1);
        assert_int_equal(read.machines[0].disk_count, 2);
        assert_int_equal(read.machines[0].disks[0].safe_bytes,
                         i >= MACHINE_RECEIVED ? 1000 * MIB : 400 * MIB);
    }
    database_close(database);
    pool_fini(&pool);
    folder_remove(AT_FDCWD, folder, NULL);
}

static void test_status_percent_is_hundred_only_when_all_is_there(void **state)
{
    (void)state;
    char text[8];
    assert_string_equal(status_format_percent(0, 0, text, sizeof(text)), "-");
    assert_string_equal(status_format_percent(0, 5, text, sizeof(text)), "0%");
    assert_string_equal(status_format_percent(150, 199, text, sizeof(text)), "75%");
    assert_string_equal(status_format_percent(999999, 1000000, text, sizeof(text)), "99%");
    assert_string_equal(status_format_percent(5, 5, text, sizeof(text)), "100%");
    assert_string_equal(status_format_percent(6, 5, text, sizeof(text)), "100%");
    /* Where a double cannot tell the two apart. */
    assert_string_equal(
        status_format_percent(((uint64_t)1 << 62) - 1, (uint64_t)1 << 62, text, sizeof(text)),
        "99%");
}

static void test_status_age_has_one_unit(void **state)
{
    (void)state;
    static const struct {
        int64_t seconds;
        const char *text;
    } ages[] = {{-5, "0 s"},       {0, "0 s"},    {119, "119 s"},   {120, "2 min"},
                {7199, "119 min"}, {7200, "2 h"}, {172799, "47 h"}, {172800, "2 days"}};
    char text[32];
    for (size_t i = 0; i < sizeof(ages) / sizeof(ages[0]); i++)
        assert_string_equal(status_format_age(ages[i].seconds, text, sizeof(text)), ages[i].text);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, start)
    const struct CMUnitTest tests[] = {
        TEST(test_status_of_an_empty_pool_says_what_to_do),
        TEST(test_status_table_shows_a_machine_and_its_disks),
        TEST(test_status_table_shows_no_rate_of_what_does_not_move),
        TEST(test_status_table_shows_a_result_in_one_line_and_a_reason),
        TEST(test_status_table_tells_warnings_and_twins),
        TEST(test_status_table_shows_who_waits_and_how_to_let_it_in),
        TEST(test_status_table_says_which_machine_somebody_who_waits_may_be),
        TEST(test_status_table_stays_within_eighty_columns),
        TEST(test_status_escapes_what_an_agent_said),
        TEST(test_status_json_has_the_documented_names),
        TEST(test_status_json_has_a_result_only_at_the_end),
        TEST(test_status_of_a_received_machine_is_all_of_it),
        TEST(test_status_percent_is_hundred_only_when_all_is_there),
        TEST(test_status_age_has_one_unit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
