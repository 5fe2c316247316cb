/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Children are given what they are told, are bounded, and do not outlive their parent.
 */
#include "base/child.h"
#include "base/own.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void test_child_run_moves_input_and_output(void **state)
{
    (void)state;
    struct error err = {0};
    AUTO(text) input = {0}, out = {0}, errors = {0};
    for (int i = 0; i < 200000; i++)
        text_add(&input, "line of input\n"); /* more than the pipes hold */
    const char *const argv[] = {"sh", "-c", "cat; echo done >&2; exit 3", NULL};
    assert_int_equal(child_run(argv, &input, &out, &errors, NULL, &err), 3);
    assert_int_equal(out.length, input.length);
    assert_memory_equal(out.data, input.data, out.length);
    assert_string_equal(text_string(&errors), "done\n");
}

static void test_child_run_survives_a_child_that_reads_nothing(void **state)
{
    (void)state;
    struct error err = {0};
    AUTO(text) input = {0};
    for (int i = 0; i < 100000; i++)
        text_add(&input, "unread\n");
    const char *const argv[] = {"true", NULL};
    assert_int_equal(child_run(argv, &input, NULL, NULL, NULL, &err), 0);
}

static void test_child_run_names_a_program_that_is_not_there(void **state)
{
    (void)state;
    struct error err = {0};
    const char *const argv[] = {"no-such-program-here", NULL};
    assert_int_equal(child_run(argv, NULL, NULL, NULL, NULL, &err), -1);
    assert_int_equal(err.errnum, ENOENT);
    assert_non_null(strstr(err.text, "no-such-program-here"));
}

static void test_child_run_stops_at_its_limits(void **state)
{
    (void)state;
    struct error err = {0};
    AUTO(text) out = {0};
    const char *const slow[] = {"sleep", "60", NULL};
    assert_int_equal(child_run(slow, NULL, NULL, NULL, &(struct child_limits){50, 0}, &err), -1);
    assert_int_equal(err.errnum, ETIMEDOUT);
    const char *const loud[] = {"yes", NULL};
    assert_int_equal(child_run(loud, NULL, &out, NULL, &(struct child_limits){-1, 100000}, &err),
                     -1);
    assert_int_equal(err.errnum, EFBIG);
    assert_true(out.length <= 100000);
}

static void test_child_run_tells_a_signal_from_an_exit(void **state)
{
    (void)state;
    struct error err = {0};
    const char *const argv[] = {"sh", "-c", "kill -9 $$", NULL};
    assert_int_equal(child_run(argv, NULL, NULL, NULL, NULL, &err), -1);
    assert_non_null(strstr(err.text, "was killed by signal 9"));
}

static void test_child_is_stopped_even_when_it_ignores_sigterm(void **state)
{
    (void)state;
    struct error err = {0};
    struct child child = {0};
    int status;
    const char *const argv[] = {"sh", "-c", "trap '' TERM; while :; do sleep 1; done", NULL};
    assert_int_equal(child_start(&child, argv, &CHILD_STDIO_NONE, &err), 0);
    pid_t pid = child.pid;
    assert_int_equal(child_wait(&child, 50, &status, &err), 0);
    child_stop(&child);
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(errno, ESRCH);
}

static void test_child_dies_with_its_parent(void **state)
{
    (void)state;
    int report[2];
    assert_int_equal(pipe(report), 0);
    pid_t parent = fork();
    if (parent == 0) {
        struct child child = {0};
        const char *const argv[] = {"sleep", "60", NULL};
        child_start(&child, argv, &CHILD_STDIO_NONE, NULL);
        ssize_t ignored = write(report[1], &child.pid, sizeof(child.pid));
        (void)ignored;
        pause();
    }
    pid_t grandchild = 0;
    assert_int_equal(read(report[0], &grandchild, sizeof(grandchild)), sizeof(grandchild));
    kill(parent, SIGKILL);
    waitpid(parent, NULL, 0);
    int tries = 0;
    while (kill(grandchild, 0) == 0 && tries++ < 500)
        usleep(10000);
    /* Whoever reaps orphans here may be slow: a zombie is dead as well. */
    char path[64], line[256] = "";
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)grandchild);
    FILE *stat = fopen(path, "r");
    if (stat) {
        assert_non_null(fgets(line, sizeof(line), stat));
        fclose(stat);
        assert_non_null(strstr(line, ") Z "));
    }
    close(report[0]);
    close(report[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_child_run_moves_input_and_output),
        cmocka_unit_test(test_child_run_survives_a_child_that_reads_nothing),
        cmocka_unit_test(test_child_run_names_a_program_that_is_not_there),
        cmocka_unit_test(test_child_run_stops_at_its_limits),
        cmocka_unit_test(test_child_run_tells_a_signal_from_an_exit),
        cmocka_unit_test(test_child_is_stopped_even_when_it_ignores_sigterm),
        cmocka_unit_test(test_child_dies_with_its_parent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
