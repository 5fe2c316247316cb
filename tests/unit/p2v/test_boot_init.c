/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * PID 1, as the first process of a PID namespace: what it does when its session ends well, badly,
 * or not at all. Switching off and restarting end the namespace, with SIGINT and SIGHUP, as
 * pid_namespaces(7) says. And which terminals there are.
 */
#include "base/clock.h"
#include "fake_root.h"
#include "p2v/boot/init_consoles.h"
#include "p2v/boot/init_private.h"
#include "p2v/boot/session.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define SWITCHED_OFF SIGINT
#define RESTARTED SIGHUP

/* What the processes of a test tell each other. */
struct shared {
    int set_ups, sessions, besides;
    int sessions_before_set_up, orphans_reaped;
    int64_t last_start_ms, pauses_ms[4];
};
static struct shared *shared;

static int set_up(void)
{
    shared->sessions_before_set_up = shared->sessions;
    shared->set_ups++;
    return 0;
}

/* Runs the work as PID 1; how it ended. Skips where no namespace is to be had. */
static int run_init(const struct init_work *work)
{
    int status;
    memset(shared, 0, sizeof(*shared));
    pid_t outer = fork();
    if (outer == 0) {
        if (unshare(CLONE_NEWPID) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0)
            _exit(77);
        pid_t first = fork();
        if (first == 0) {
            if (getpid() == 1)
                init_run(work);
            _exit(1);
        }
        waitpid(first, &status, 0);
        _exit(WIFSIGNALED(status) ? WTERMSIG(status) : 100);
    }
    waitpid(outer, &status, 0);
    if (WEXITSTATUS(status) == 77) {
        print_message("no PID namespace here: %s\n", strerror(errno));
        skip();
    }
    return WEXITSTATUS(status);
}

static struct init_work work_of(int (*session)(void))
{
    return (struct init_work){.set_up = set_up,
                              .session = session,
                              .first_pause_ms = 20,
                              .last_pause_ms = 60,
                              .patience_ms = 300};
}

/* --- sessions --- */

static int switches_off(void)
{
    shared->sessions++;
    return BOOT_EXIT_POWER_OFF;
}

static int restarts(void)
{
    return BOOT_EXIT_REBOOT;
}

static void test_a_session_that_is_through_switches_off(void **state)
{
    (void)state;
    struct init_work work = work_of(switches_off);
    assert_int_equal(run_init(&work), SWITCHED_OFF);
    assert_int_equal(shared->set_ups, 1);
    assert_int_equal(shared->sessions, 1);
    assert_int_equal(shared->sessions_before_set_up, 0);
}

static void test_a_session_may_ask_for_a_restart(void **state)
{
    (void)state;
    struct init_work work = work_of(restarts);
    assert_int_equal(run_init(&work), RESTARTED);
}

/* Dies, fails, ends as if all were well; then does its work. */
static int stumbles(void)
{
    int number = shared->sessions++;
    if (number > 0 && number <= 4)
        shared->pauses_ms[number - 1] = clock_ms() - shared->last_start_ms;
    shared->last_start_ms = clock_ms();
    if (number == 0)
        raise(SIGKILL);
    return number < 4 ? number - 1 : BOOT_EXIT_POWER_OFF;
}

static void test_a_session_that_ends_badly_is_started_again_after_a_growing_pause(void **state)
{
    (void)state;
    struct init_work work = work_of(stumbles);
    assert_int_equal(run_init(&work), SWITCHED_OFF);
    assert_int_equal(shared->sessions, 5);
    assert_int_equal(shared->set_ups, 1);
    assert_in_range(shared->pauses_ms[0], 20, 1000);
    assert_in_range(shared->pauses_ms[1], 40, 1000);
    assert_in_range(shared->pauses_ms[2], 60, 1000);
    assert_in_range(shared->pauses_ms[3], 60, 1000);
}

/* A process whose parent is gone; it ends too, and somebody has to take note of that. */
static int leaves_an_orphan(void)
{
    int pipe_fds[2];
    pid_t orphan = 0;
    if (pipe(pipe_fds) != 0)
        return 1;
    pid_t child = fork();
    if (child == 0) {
        orphan = fork();
        if (orphan > 0 && write(pipe_fds[1], &orphan, sizeof(orphan)) != sizeof(orphan))
            _exit(1);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    if (read(pipe_fds[0], &orphan, sizeof(orphan)) != sizeof(orphan))
        return 1;
    for (int i = 0; i < 200 && kill(orphan, 0) == 0; i++)
        usleep(10000);
    shared->orphans_reaped += kill(orphan, 0) != 0;
    return BOOT_EXIT_POWER_OFF;
}

static void test_orphans_are_reaped(void **state)
{
    (void)state;
    struct init_work work = work_of(leaves_an_orphan);
    assert_int_equal(run_init(&work), SWITCHED_OFF);
    assert_int_equal(shared->orphans_reaped, 1);
}

/* --- beside it --- */

static int beside(void)
{
    return ++shared->besides < 3 ? 0 : 1;
}

static int waits_for_three(void)
{
    for (int i = 0; i < 300 && shared->besides < 3; i++)
        usleep(10000);
    usleep(100000);
    return BOOT_EXIT_POWER_OFF;
}

static void test_what_runs_beside_is_started_again_until_it_fails(void **state)
{
    (void)state;
    struct init_work work = work_of(waits_for_three);
    work.beside = beside;
    assert_int_equal(run_init(&work), SWITCHED_OFF);
    assert_int_equal(shared->besides, 3);
}

/* --- Ctrl-Alt-Del --- */

static volatile sig_atomic_t is_asked;

static void note(int number)
{
    (void)number;
    is_asked = 1;
}

static int ends_when_asked(void)
{
    signal(SIGTERM, note);
    kill(1, SIGINT); /* as the kernel does for the three keys */
    for (int i = 0; i < 300 && !is_asked; i++)
        usleep(10000);
    shared->sessions += is_asked;
    return BOOT_EXIT_POWER_OFF;
}

static void test_ctrl_alt_del_asks_the_session_to_end_and_restarts(void **state)
{
    (void)state;
    struct init_work work = work_of(ends_when_asked);
    assert_int_equal(run_init(&work), RESTARTED);
    assert_int_equal(shared->sessions, 1);
}

static int ignores_all(void)
{
    signal(SIGTERM, SIG_IGN);
    kill(1, SIGINT);
    sleep(60);
    return BOOT_EXIT_POWER_OFF;
}

static void test_a_session_that_does_not_end_when_asked_is_killed(void **state)
{
    (void)state;
    struct init_work work = work_of(ignores_all);
    int64_t start_ms = clock_ms();
    assert_int_equal(run_init(&work), RESTARTED);
    assert_in_range(clock_ms() - start_ms, 300, 5000);
}

static int takes_long(void)
{
    kill(1, SIGINT);
    sleep(60);
    return 0;
}

static void test_ctrl_alt_del_before_the_first_session_restarts_at_once(void **state)
{
    (void)state;
    struct init_work work = work_of(switches_off);
    work.set_up = takes_long;
    work.patience_ms = 10000;
    int64_t start_ms = clock_ms();
    assert_int_equal(run_init(&work), RESTARTED);
    assert_in_range(clock_ms() - start_ms, 0, 5000);
    assert_int_equal(shared->sessions, 0);
}

/* --- terminals --- */

static void check_consoles(const struct fake_machine *machine, const char *active,
                           const char *expected)
{
    char paths[4][64], joined[300] = "";
    fake_file(machine, "sys/class/tty/console/active", active);
    size_t count = boot_consoles_list(machine->root, paths, 4);
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(joined);
        fake_format(joined + length, sizeof(joined) - length, "%s ", paths[i]);
    }
    assert_string_equal(joined, expected);
}

static void test_consoles_are_those_of_the_kernel(void **state)
{
    struct fake_machine *machine = *state;
    check_consoles(machine, "tty0 ttyS0\n", "/dev/tty1 /dev/ttyS0 ");
    check_consoles(machine, "ttyS1\n", "/dev/ttyS1 ");
    check_consoles(machine, "tty0 tty1 hvc0\n", "/dev/tty1 /dev/hvc0 ");
    check_consoles(machine, "", "/dev/tty1 ");
    check_consoles(machine, "../mem /dev/x\n", "/dev/tty1 ");
    check_consoles(machine, "ttyS0 ttyS1 ttyS2 ttyS3 ttyS4",
                   "/dev/ttyS0 /dev/ttyS1 /dev/ttyS2 /dev/ttyS3 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_session_that_is_through_switches_off),
        cmocka_unit_test(test_a_session_may_ask_for_a_restart),
        cmocka_unit_test(test_a_session_that_ends_badly_is_started_again_after_a_growing_pause),
        cmocka_unit_test(test_orphans_are_reaped),
        cmocka_unit_test(test_what_runs_beside_is_started_again_until_it_fails),
        cmocka_unit_test(test_ctrl_alt_del_asks_the_session_to_end_and_restarts),
        cmocka_unit_test(test_a_session_that_does_not_end_when_asked_is_killed),
        cmocka_unit_test(test_ctrl_alt_del_before_the_first_session_restarts_at_once),
        cmocka_unit_test_setup_teardown(test_consoles_are_those_of_the_kernel, fake_machine_new,
                                        fake_machine_free),
    };
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return shared == MAP_FAILED ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
