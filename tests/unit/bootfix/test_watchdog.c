/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "bootfix/watchdog.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static pid_t start_sleeper(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        for (;;)
            pause();
    }
    assert_true(pid > 0);
    return pid;
}

static void stop_sleeper(pid_t pid)
{
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
}

static void test_watchdog_kills_what_was_started_since_and_nothing_older(void **state)
{
    (void)state;
    struct watchdog watchdog = {0};
    struct error err = {0};
    int status;
    pid_t older = start_sleeper();
    assert_int_equal(watchdog_start(&watchdog, &err), 0);
    pid_t younger = start_sleeper();
    watchdog_arm(&watchdog, 0);
    assert_int_equal(waitpid(younger, &status, 0), younger);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(waitpid(older, &status, WNOHANG), 0);
    assert_true(watchdog_has_fired(&watchdog));
    watchdog_stop(&watchdog);
    stop_sleeper(older);
}

static void test_watchdog_lets_work_in_time_alone(void **state)
{
    (void)state;
    struct watchdog watchdog = {0};
    struct error err = {0};
    int status;
    assert_int_equal(watchdog_start(&watchdog, &err), 0);
    pid_t child = start_sleeper();
    watchdog_arm(&watchdog, 1);
    watchdog_disarm(&watchdog);
    watchdog_arm(&watchdog, 3600);
    usleep(1100000);
    assert_int_equal(waitpid(child, &status, WNOHANG), 0);
    assert_false(watchdog_has_fired(&watchdog));
    watchdog_stop(&watchdog);
    watchdog_stop(&watchdog);
    watchdog_stop(NULL);
    stop_sleeper(child);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_watchdog_kills_what_was_started_since_and_nothing_older),
        cmocka_unit_test(test_watchdog_lets_work_in_time_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
