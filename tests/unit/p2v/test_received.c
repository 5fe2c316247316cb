/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * received.json says again what was written, and nothing that cannot be is believed.
 */
#include "base/io.h"
#include "base/text.h"
#include "p2v/machine.h"
#include "p2v/server/pool.h"
#include "p2v/server/received.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
    char folder[64];
    int fd;
};

static int start(void **state)
{
    struct place *place = memory_new(1, sizeof(*place));
    snprintf(place->folder, sizeof(place->folder), "/tmp/rehost-test.XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    place->fd = open(place->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *state = place;
    return 0;
}

static int stop(void **state)
{
    struct place *place = *state;
    close(place->fd);
    int result = folder_remove(AT_FDCWD, place->folder, NULL);
    free(place);
    return result;
}

/* A machine of two disks. */
static void fill(struct received *received)
{
    *received = (struct received){.machine = "web01",
                                  .disk_count = 2,
                                  .consistency = WIRE_FROZEN,
                                  .has_warnings = true,
                                  .wire_bytes = 123456789,
                                  .seconds = 12.5};
    received->disks[0] = (struct received_disk){.name = "sda",
                                                .serial = "S\\3 \"x\"",
                                                .format = "qcow2",
                                                .size_bytes = 1 << 30,
                                                .sector_size = 512,
                                                .sent_bytes = 1000,
                                                .had_bytes = 2000,
                                                .copied_bytes = 3000,
                                                .unreadable_bytes = 4096,
                                                .digest = {0x01, 0xff, [31] = 0xa5}};
    received->disks[1] = (struct received_disk){
        .name = "sdb", .format = "raw", .size_bytes = MANIFEST_MAX_SIZE, .sector_size = 4096};
}

static void test_what_was_written_is_read_again(void **state)
{
    struct place *place = *state;
    struct received one, other;
    struct error err = {0};
    fill(&one);
    one.agent_report = json_pack("{s:[s]}", "warnings", "sdb is slow");
    assert_int_equal(received_write(&one, place->fd, &err), 0);
    assert_int_equal(received_read(&other, place->fd, &err), 1);
    assert_true(json_equal(one.agent_report, other.agent_report));
    assert_memory_equal(one.disks, other.disks, sizeof(one.disks));
    assert_string_equal(other.machine, "web01");
    assert_int_equal(other.disk_count, 2);
    assert_int_equal(other.consistency, WIRE_FROZEN);
    assert_true(other.has_warnings);
    assert_int_equal(other.wire_bytes, 123456789);
    assert_true(other.seconds > 12.4 && other.seconds < 12.6);
    received_fini(&one);
    received_fini(&other);
}

static void test_an_agent_without_a_report_has_an_empty_one(void **state)
{
    struct place *place = *state;
    struct received one;
    struct error err = {0};
    fill(&one);
    assert_int_equal(received_write(&one, place->fd, &err), 0);
    assert_int_equal(received_read(&one, place->fd, &err), 1);
    assert_true(json_is_object(one.agent_report));
    received_fini(&one);
}

static void test_a_folder_without_the_file_is_not_complete(void **state)
{
    struct place *place = *state;
    struct received received;
    assert_int_equal(received_read(&received, place->fd, NULL), 0);
}

/* Writes a good one with one text replaced, and reads it. */
static void expect_refused(struct place *place, const char *from, const char *to,
                           const char *complaint)
{
    struct received received;
    struct error err = {0};
    AUTO_FREE char *json = NULL;
    size_t length;
    fill(&received);
    assert_int_equal(received_write(&received, place->fd, &err), 0);
    assert_int_equal(io_read_file(place->fd, POOL_RECEIVED, 1 << 20, &json, &length, &err), 0);
    char *found = strstr(json, from);
    assert_non_null(found);
    AUTO_FREE char *changed =
        text_format("%.*s%s%s", (int)(found - json), json, to, found + strlen(from));
    assert_int_equal(
        io_replace_file(place->fd, POOL_RECEIVED, changed, strlen(changed), 0644, &err), 0);
    assert_int_equal(received_read(&received, place->fd, &err), -1);
    assert_non_null(strstr(err.text, complaint));
    assert_null(received.agent_report);
}

static void test_what_cannot_be_is_refused_by_its_field(void **state)
{
    struct place *place = *state;
    expect_refused(place, "\"rehost_received\": 1", "\"rehost_received\": 2", "rehost_received");
    expect_refused(place, "\"web01\"", "\"../web01\"", "machine");
    expect_refused(place, "\"qcow2\"", "\"vmdk\"", "disks[0]: format");
    expect_refused(place, "\"raw\"", "\"../../../x\"", "disks[1]: format");
    expect_refused(place, "\"size_bytes\": 1073741824", "\"size_bytes\": 0", "disks[0]: size");
    expect_refused(place, "\"sector_size\": 512", "\"sector_size\": 511", "disks[0]: sector");
    expect_refused(place, "\"sent_bytes\": 1000", "\"sent_bytes\": -1", "disks[0]: sent_bytes");
    expect_refused(place, "\"frozen\"", "\"thawed\"", "consistency");
    expect_refused(place, "01ff00", "01fg00", "disks[0]: digest");
    expect_refused(place, "01ff00", "01ff", "disks[0]: digest");
    expect_refused(place, "\"agent_report\": {}", "\"agent_report\": []", "agent_report");
    expect_refused(place, "\"disks\": [", "\"disks\": [], \"others\": [", "disks");
    expect_refused(place, "{\n", "{{\n", "line 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_was_written_is_read_again, start, stop),
        cmocka_unit_test_setup_teardown(test_an_agent_without_a_report_has_an_empty_one, start,
                                        stop),
        cmocka_unit_test_setup_teardown(test_a_folder_without_the_file_is_not_complete, start,
                                        stop),
        cmocka_unit_test_setup_teardown(test_what_cannot_be_is_refused_by_its_field, start, stop),
    };
    return cmocka_run_group_tests_name("received", tests, NULL, NULL);
}
