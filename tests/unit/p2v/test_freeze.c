/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The freezing process without a file system to freeze: what it promises about time and death. What
 * it does to file systems is tests/integration/freeze.sh's.
 */
#include "p2v/agent/freeze.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct lines {
    struct log log;
    char last[256];
};

static void keep_line(struct log *log, enum log_level level, const char *line)
{
    struct lines *lines = (struct lines *)log;
    (void)level;
    snprintf(lines->last, sizeof(lines->last), "%s", line);
}

static struct freezer *start(struct lines *lines, unsigned limit_seconds)
{
    static const struct live_mounts none;
    struct error err = {0};
    *lines = (struct lines){.log = {keep_line}};
    struct freezer *freezer = freezer_start(&none, &err);
    assert_non_null(freezer);
    assert_int_equal(freezer_freeze(freezer, limit_seconds, &lines->log, &err), 1);
    return freezer;
}

static void test_freeze_holds_until_it_is_thawed(void **state)
{
    (void)state;
    struct lines lines;
    struct freezer *freezer = start(&lines, 60);
    assert_true(freezer_thaw(freezer, &lines.log));
    assert_string_equal(lines.last, "");
    assert_false(freezer_thaw(freezer, &lines.log)); /* it was not frozen any more */
    assert_int_equal(freezer_freeze(freezer, 60, &lines.log, NULL), 1);
    assert_true(freezer_thaw(freezer, &lines.log));
    freezer_stop(freezer);
}

static void test_freeze_says_that_its_time_was_over(void **state)
{
    (void)state;
    struct lines lines;
    struct freezer *freezer = start(&lines, 0);
    usleep(100 * 1000);
    assert_false(freezer_thaw(freezer, &lines.log));
    assert_non_null(strstr(lines.last, "not consistent"));
    freezer_stop(freezer);
}

/* The child of this process; there is one. */
static pid_t find_child(void)
{
    char path[64];
    int pid = 0;
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%d", &pid) != 1)
        pid = 0;
    if (file)
        fclose(file);
    return pid;
}

static void test_freeze_survives_the_death_of_its_process(void **state)
{
    (void)state;
    struct lines lines;
    struct error err = {0};
    struct freezer *freezer = start(&lines, 60);
    pid_t child = find_child();
    if (child == 0) { /* a kernel without that file */
        freezer_stop(freezer);
        skip();
    }
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_false(freezer_thaw(freezer, &lines.log));
    assert_int_equal(freezer_freeze(freezer, 60, &lines.log, &err), -1);
    assert_non_null(strstr(err.text, "the freezing process"));
    freezer_stop(freezer);
}

/* Ctrl-C reaches a whole process group; who thaws is to stay until the end. */
static void test_freeze_process_is_out_of_reach_of_the_terminal(void **state)
{
    (void)state;
    struct lines lines;
    struct freezer *freezer = start(&lines, 60);
    pid_t child = find_child();
    if (child > 0) {
        assert_int_not_equal(getsid(child), getsid(0));
        assert_int_equal(kill(child, SIGTERM), 0);
        assert_int_equal(kill(child, SIGINT), 0);
    }
    assert_true(freezer_thaw(freezer, &lines.log));
    freezer_stop(freezer);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* it is gone */
}

static void test_freeze_refuses_a_mount_point_that_is_not_there(void **state)
{
    (void)state;
    struct error err = {0};
    char path[] = "/nonexistent/mount", type[] = "ext4";
    struct live_mount mount = {path, type, 8, 1};
    const struct live_mounts mounts = {&mount, 1};
    assert_null(freezer_start(&mounts, &err));
    assert_non_null(strstr(err.text, "/nonexistent/mount"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_freeze_holds_until_it_is_thawed),
        cmocka_unit_test(test_freeze_says_that_its_time_was_over),
        cmocka_unit_test(test_freeze_survives_the_death_of_its_process),
        cmocka_unit_test(test_freeze_process_is_out_of_reach_of_the_terminal),
        cmocka_unit_test(test_freeze_refuses_a_mount_point_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
