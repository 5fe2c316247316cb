/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What runs beside the session: the log on the second terminal, and, only when rehost.shell asks
 * for it, a shell on the third. And where the session itself begins.
 */
#include "base/child.h"
#include "base/own.h"
#include "p2v/agent/inventory_file.h"
#include "p2v/boot/init_private.h"
#include "p2v/boot/session.h"
#include "p2v/boot/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOG_TERMINAL "/dev/tty2"
#define SHELL_TERMINAL "/dev/tty3"
#define PAUSE_SECONDS 1 /* before what ended is started again */

/* A terminal of its own, with its signals. */
static int open_terminal(const char *path)
{
    setsid();
    int fd = open(path, O_RDWR);
    for (int i = 0; fd >= 0 && i < 3; i++)
        dup2(fd, i);
    if (fd > 2)
        close(fd);
    return fd < 0 ? -1 : ioctl(0, TIOCSCTTY, 0);
}

static pid_t start_on(const char *terminal, const char *const argv[])
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    open_terminal(terminal);
    setenv("TERM", "linux", 1);
    execv("/bin/busybox", (char *const *)(uintptr_t)argv);
    _exit(127);
}

/* The kernel command line may have been wrong for the session; a shell was asked for all the same.
 */
static bool is_shell_wanted(void)
{
    struct boot_settings settings;
    AUTO_FREE char *line = inventory_text("", "/proc/cmdline");
    boot_settings_parse(line, &settings, NULL);
    bool is_wanted = settings.has_shell;
    boot_settings_fini(&settings);
    return is_wanted;
}

/* Does not return while it can fork. */
static int run_beside(void)
{
    static const char *const log[] = {"tail", "-n", "1000", "-F", INIT_LOG, NULL};
    static const char *const shell[] = {"sh", "-i", NULL};
    bool is_wanted = is_shell_wanted();
    pid_t log_pid = 0, shell_pid = 0;
    for (;;) {
        if (log_pid <= 0)
            log_pid = start_on(LOG_TERMINAL, log);
        if (is_wanted && shell_pid <= 0)
            shell_pid = start_on(SHELL_TERMINAL, shell);
        pid_t ended = waitpid(-1, NULL, 0);
        if (ended < 0 && errno != EINTR)
            return EXIT_FAILURE;
        log_pid = ended == log_pid ? 0 : log_pid;
        shell_pid = ended == shell_pid ? 0 : shell_pid;
        sleep(PAUSE_SECONDS);
    }
}

/* --- the session --- */

/* A program of its own: nothing of PID 1 is in it. */
static int exec_session(void)
{
    const char *const argv[] = {"rehost-agent", BOOT_SESSION_ARGUMENT, NULL};
    int input = open("/dev/null", O_RDONLY);
    int output = open(INIT_LOG, O_WRONLY | O_CREAT | O_APPEND | O_NOCTTY, 0644);
    if (input >= 0)
        dup2(input, 0);
    if (output >= 0) {
        dup2(output, 1);
        dup2(output, 2);
    }
    execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
    execv("/init", (char *const *)(uintptr_t)argv);
    return 127;
}

void boot_init(void)
{
    static const struct init_work work = {.set_up = init_set_up,
                                          .beside = run_beside,
                                          .session = exec_session,
                                          .first_pause_ms = 1000,
                                          .last_pause_ms = 30000,
                                          .patience_ms = 10000};
    clearenv();
    setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
    setenv("HOME", "/root", 1);
    setenv("TERM", "linux", 1);
    init_run(&work);
}
