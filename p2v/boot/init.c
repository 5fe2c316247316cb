/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * PID 1. The kernel panics when it ends, so nothing is done in it that could fail: all work is in
 * children, and this waits, reaps, starts again, and switches off at the end. It allocates nothing.
 */
#include "base/clock.h"
#include "p2v/boot/init_private.h"
#include "p2v/boot/session.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define GOOD_RUN_MS 60000 /* a session that lived so long starts again at once */
#define TICK_MS 500

struct init {
    const struct init_work *work;
    sigset_t signals;
    pid_t session, beside; /* 0: does not run */
    bool is_restart_asked; /* Ctrl-Alt-Del */
    int64_t asked_ms;
};

/* --- children --- */

void init_say(const char *format, ...)
{
    static const char *const places[] = {"/dev/console", INIT_LOG};
    char line[256] = "rehost: ";
    size_t length = strlen(line);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line + length, sizeof(line) - length - 2, format, arguments);
    va_end(arguments);
    memcpy(line + strlen(line), "\r\n", 3);
    for (size_t i = 0; i < 2; i++) {
        int fd = open(places[i], O_WRONLY | O_APPEND | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
        ssize_t ignored = fd < 0 ? 0 : write(fd, line, strlen(line));
        (void)ignored;
        if (fd >= 0)
            close(fd);
    }
}

/* 0 when there is no process to be had. */
static pid_t start(struct init *init, int (*work)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        setsid();
        sigprocmask(SIG_UNBLOCK, &init->signals, NULL);
        _exit(work());
    }
    return pid > 0 ? pid : 0;
}

/* Takes what has ended; false when none has. */
static bool reap(pid_t *pid, int *status)
{
    *pid = waitpid(-1, status, WNOHANG);
    return *pid > 0;
}

static void wait_for_signal(struct init *init, int timeout_ms)
{
    struct timespec time = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
    if (sigtimedwait(&init->signals, NULL, &time) != SIGINT || init->is_restart_asked)
        return;
    init->is_restart_asked = true;
    init->asked_ms = clock_ms();
    init_say("restarting, as asked by Ctrl-Alt-Del");
    if (init->session > 0)
        kill(init->session, SIGTERM);
}

static void keep_beside(struct init *init, pid_t ended, int status)
{
    if (ended != init->beside)
        return;
    bool is_again = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    init->beside = is_again ? start(init, init->work->beside) : 0;
}

/* Until that child has ended; all others are reaped meanwhile. */
static int await(struct init *init, pid_t wanted)
{
    pid_t pid;
    int status;
    for (;;) {
        while (reap(&pid, &status)) {
            if (pid == wanted)
                return status;
            keep_beside(init, pid, status);
        }
        if (kill(wanted, 0) != 0 && errno == ESRCH)
            return 0;
        wait_for_signal(init, TICK_MS);
        bool is_patient =
            wanted == init->session && clock_ms() - init->asked_ms <= init->work->patience_ms;
        if (init->is_restart_asked && !is_patient)
            kill(wanted, SIGKILL);
    }
}

static void pause_ms(struct init *init, int timeout_ms)
{
    int64_t end_ms = clock_ms() + timeout_ms;
    pid_t pid;
    int status;
    while (clock_ms() < end_ms && !init->is_restart_asked) {
        wait_for_signal(init, TICK_MS < timeout_ms ? TICK_MS : timeout_ms);
        while (reap(&pid, &status))
            keep_beside(init, pid, status);
    }
}

/* --- the end --- */

static void end_all(struct init *init)
{
    int64_t end_ms = clock_ms() + init->work->patience_ms;
    pid_t pid;
    int status;
    init->beside = 0;
    kill(-1, SIGTERM);
    kill(-1, SIGCONT);
    do {
        while (reap(&pid, &status))
            ;
        if (pid < 0 && errno == ECHILD)
            return;
        wait_for_signal(init, TICK_MS / 5);
    } while (clock_ms() < end_ms);
    kill(-1, SIGKILL);
}

/* Nothing is written out before: no disk was ever mounted. */
static void end_machine(struct init *init, bool is_restart)
{
    end_all(init);
    init_say(is_restart ? "restarting" : "switching off");
    reboot(is_restart ? RB_AUTOBOOT : RB_POWER_OFF);
    init_say("the machine cannot do that by itself: switch it off");
    reboot(RB_HALT_SYSTEM);
    for (;;)
        pause();
}

/* --- the session --- */

static const char *status_words(int status, char words[64])
{
    if (WIFSIGNALED(status))
        snprintf(words, 64, "was killed by signal %d", WTERMSIG(status));
    else
        snprintf(words, 64, "ended with status %d", WEXITSTATUS(status));
    return words;
}

/* Runs one; ends the machine when that is what it says. */
static void run_session(struct init *init)
{
    char words[64];
    init->session = start(init, init->work->session);
    int status = init->session > 0 ? await(init, init->session) : 0;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (init->session > 0)
        kill(-init->session, SIGKILL); /* what it left behind */
    init->session = 0;
    if (init->is_restart_asked || code == BOOT_EXIT_REBOOT)
        end_machine(init, true);
    if (code == BOOT_EXIT_POWER_OFF)
        end_machine(init, false);
    init_say("the session %s; it is started again and goes on from the last safe point",
             status_words(status, words));
}

void init_run(const struct init_work *work)
{
    struct init init = {.work = work};
    if (getpid() != 1)
        abort(); /* it would end every process that it may, and then the machine */
    sigemptyset(&init.signals);
    sigaddset(&init.signals, SIGCHLD);
    sigaddset(&init.signals, SIGINT);
    sigprocmask(SIG_BLOCK, &init.signals, NULL);
    reboot(RB_DISABLE_CAD); /* Ctrl-Alt-Del becomes SIGINT */
    pid_t set_up = start(&init, work->set_up);
    if (set_up > 0)
        await(&init, set_up);
    if (work->beside)
        init.beside = start(&init, work->beside);
    for (int pause = work->first_pause_ms;;) {
        int64_t start_ms = clock_ms();
        if (init.is_restart_asked)
            end_machine(&init, true);
        run_session(&init);
        if (clock_ms() - start_ms >= GOOD_RUN_MS)
            pause = work->first_pause_ms;
        pause_ms(&init, pause);
        pause = 2 * pause < work->last_pause_ms ? 2 * pause : work->last_pause_ms;
    }
}
