/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Progress of sending: the line of each disk, JSON, and the lines' coming and going.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "p2v/json.h"
#include "p2v/send_progress.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct sender_progress some_progress(void)
{
    return (struct sender_progress){.phase = SENDER_SENDING,
                                    .size_bytes = 10 * GIB,
                                    .total_bytes = 400 * MIB,
                                    .done_bytes = 100 * MIB,
                                    .safe_bytes = 80 * MIB,
                                    .sent_bytes = 90 * MIB,
                                    .wire_bytes = 45 * MIB};
}

static char *line_of(const struct send_row *row)
{
    AUTO(text) out = {0};
    send_progress_format_bar(row, &out);
    return text_take(&out);
}

static void test_send_progress_line_tells_used_rate_compression_and_what_is_safe(void **state)
{
    (void)state;
    struct send_row row = {
        .name = "sda", .is_known = true, .now = some_progress(), .rate = 50 * (double)MIB};
    AUTO_FREE char *line = line_of(&row);
    assert_string_equal(line, "sda  400.0 MiB used of 10.0 GiB  [======>                 ] 25%  "
                              "52 MB/s  2.0x compressed  eta 0:06   safe to 20%");
}

static void test_send_progress_line_tells_the_pass_and_what_is_unreadable(void **state)
{
    (void)state;
    struct send_row row = {.name = "sdb", .is_known = true, .now = some_progress()};
    row.now.pass = 2;
    row.now.is_last_pass = true;
    row.now.unreadable_bytes = 8192;
    row.now.wire_bytes = row.now.sent_bytes;
    AUTO_FREE char *line = line_of(&row);
    assert_non_null(strstr(line, "sdb pass 3, last  400.0 MiB"));
    assert_non_null(strstr(line, "eta -:--"));
    assert_non_null(strstr(line, "  8.0 KiB unreadable"));
    assert_null(strstr(line, "compressed"));
}

static void test_send_progress_line_tells_why_nothing_moves(void **state)
{
    (void)state;
    struct send_row row = {.name = "sda", .is_known = true, .now = some_progress()};
    row.now.phase = SENDER_PAUSED;
    snprintf(row.now.text, sizeof(row.now.text), "no space\033[31m");
    AUTO_FREE char *paused = line_of(&row);
    assert_string_equal(paused, "sda  paused: no space\\x1b[31m   safe to 20%");
    row.now = (struct sender_progress){.phase = SENDER_WAITING, .text = "ABCD-EFGH"};
    AUTO_FREE char *waiting = line_of(&row);
    assert_string_equal(waiting, "sda  waiting for approval: ABCD-EFGH");
    row.is_known = false;
    row.now = (struct sender_progress){0};
    AUTO_FREE char *nothing = line_of(&row);
    assert_string_equal(nothing, "sda  connecting");
}

static void test_send_progress_json_is_json_with_every_figure(void **state)
{
    (void)state;
    struct send_row row = {
        .name = "sd\"a", .is_known = true, .now = some_progress(), .rate = 50 * (double)MIB};
    AUTO(text) out = {0};
    send_progress_format_json(&row, &out);
    assert_null(strchr(text_string(&out), '\n'));
    AUTO_JSON json = json_loads(text_string(&out), 0, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "disk")), "sd\"a");
    assert_string_equal(json_string_value(json_object_get(json, "phase")), "sending");
    assert_int_equal(json_integer_value(json_object_get(json, "safe_bytes")), 80 * MIB);
    assert_int_equal(json_integer_value(json_object_get(json, "seconds_left")), 6);
}

static void test_send_progress_rate_follows_the_last_seconds(void **state)
{
    (void)state;
    struct send_progress progress = {.mode = PROGRESS_NONE, .count = 1};
    struct sender_progress now = some_progress();
    double time = 100;
    now.done_bytes = 0;
    send_progress_update(&progress, 0, &now, time);
    for (int i = 0; i < 40; i++) {
        now.done_bytes += 50 * MIB;
        send_progress_update(&progress, 0, &now, time += 1);
    }
    assert_in_range((uint64_t)progress.rows[0].rate, 50 * MIB - MIB, 50 * MIB + MIB);
    for (int i = 0; i < 60; i++)
        send_progress_update(&progress, 0, &now, time += 1);
    assert_true(progress.rows[0].rate < (double)MIB);
    now.pass = 1; /* begins at 0 again */
    now.done_bytes = 0;
    send_progress_update(&progress, 0, &now, time += 1);
    assert_true(progress.rows[0].rate >= 0);
}

/* What is written to the descriptor since the last call. */
static char *take_output(int fd)
{
    static char buffer[65536];
    ssize_t length = pread(fd, buffer, sizeof(buffer) - 1, 0);
    assert_true(length >= 0);
    buffer[length] = '\0';
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return buffer;
}

static void test_send_progress_redraws_all_disks_in_place(void **state)
{
    (void)state;
    char path[] = "/tmp/rehost-progress.XXXXXX";
    int fd = mkstemp(path);
    unlink(path);
    struct send_progress progress = {.mode = PROGRESS_BAR, .fd = fd, .count = 2};
    struct sender_progress now = some_progress();
    snprintf(progress.rows[0].name, sizeof(progress.rows[0].name), "sda");
    snprintf(progress.rows[1].name, sizeof(progress.rows[1].name), "sdb");
    send_progress_update(&progress, 0, &now, 100);
    const char *first = take_output(fd);
    assert_non_null(strstr(first, "sda  400.0 MiB"));
    assert_non_null(strstr(first, "sdb  connecting"));
    assert_null(strstr(first, "\033[2A"));
    send_progress_update(&progress, 1, &now, 100.05); /* too soon */
    assert_string_equal(take_output(fd), "");
    send_progress_update(&progress, 1, &now, 100.2);
    const char *second = take_output(fd);
    assert_non_null(strstr(second, "\r\033[2A"));
    assert_non_null(strstr(second, "sdb  400.0 MiB"));
    send_progress_clear(&progress);
    assert_string_equal(take_output(fd), "\r\033[2A\033[J");
    send_progress_clear(&progress);
    assert_string_equal(take_output(fd), "");
    close(fd);
}

static void test_send_progress_json_lines_come_once_a_second_and_at_every_change(void **state)
{
    (void)state;
    char path[] = "/tmp/rehost-progress.XXXXXX";
    int fd = mkstemp(path);
    unlink(path);
    struct send_progress progress = {.mode = PROGRESS_JSON, .fd = fd, .count = 1};
    struct sender_progress now = some_progress();
    send_progress_update(&progress, 0, &now, 100);
    assert_non_null(strstr(take_output(fd), "\"sending\""));
    send_progress_update(&progress, 0, &now, 100.5);
    assert_string_equal(take_output(fd), "");
    send_progress_update(&progress, 0, &now, 101.2);
    assert_non_null(strstr(take_output(fd), "\"sending\""));
    now.phase = SENDER_DISK_DONE;
    send_progress_update(&progress, 0, &now, 101.3);
    assert_non_null(strstr(take_output(fd), "\"done\""));
    send_progress_update(&progress, 0, &now, 109);
    assert_string_equal(take_output(fd), ""); /* nothing more is to come */
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_send_progress_line_tells_used_rate_compression_and_what_is_safe),
        cmocka_unit_test(test_send_progress_line_tells_the_pass_and_what_is_unreadable),
        cmocka_unit_test(test_send_progress_line_tells_why_nothing_moves),
        cmocka_unit_test(test_send_progress_json_is_json_with_every_figure),
        cmocka_unit_test(test_send_progress_rate_follows_the_last_seconds),
        cmocka_unit_test(test_send_progress_redraws_all_disks_in_place),
        cmocka_unit_test(test_send_progress_json_lines_come_once_a_second_and_at_every_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
