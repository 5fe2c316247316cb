/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Children: started by argv, bounded in time and output, never left behind.
 */
#include "base/child.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_OUTPUT_LIMIT ((size_t)16 << 20)

/* Copies a descriptor out of the way of 0 to 2, so that the dup2 calls below cannot collide. */
static int lifted(int fd)
{
    if (fd < 0)
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

/* In the child: only async-signal-safe calls. Reports errno through the pipe and never returns. */
static void exec_child(const char *const argv[], const struct child_stdio *stdio, pid_t parent,
                       int report)
{
    int fds[3] = {lifted(stdio->in), lifted(stdio->out), lifted(stdio->err)};
    bool ok = prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent;
    for (int i = 0; ok && i < 3; i++)
        ok = fds[i] >= 0 && dup2(fds[i], i) == i;
    for (size_t i = 0; ok && i < stdio->keep_count; i++)
        ok = fcntl(stdio->keep_fds[i], F_SETFD, 0) == 0;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    if (ok)
        execvp(argv[0], (char *const *)(uintptr_t)argv);
    int errnum = errno;
    ssize_t ignored = write(report, &errnum, sizeof(errnum));
    (void)ignored;
    _exit(127);
}

int child_start(struct child *child, const char *const argv[], const struct child_stdio *stdio,
                struct error *err)
{
    int report[2];
    child->pid = 0;
    if (pipe2(report, O_CLOEXEC) != 0)
        return error_set(err, errno, "pipe");
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        exec_child(argv, stdio, parent, report[1]);
    int errnum = pid < 0 ? errno : 0;
    close(report[1]);
    if (pid > 0 && read(report[0], &errnum, sizeof(errnum)) == sizeof(errnum))
        waitpid(pid, NULL, 0);
    else if (pid > 0)
        errnum = 0;
    close(report[0]);
    if (errnum)
        return error_set(err, errnum, "start %s", argv[0]);
    child->pid = pid;
    return 0;
}

/* A pidfd becomes readable when the process ends: waiting with a time-out, without polling. */
static int wait_readable(pid_t pid, int timeout_ms)
{
    AUTO_CLOSE int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return -1;
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    int64_t end = clock_ms() + timeout_ms;
    for (;;) {
        int64_t left = end - clock_ms();
        int ready = poll(&pollfd, 1, timeout_ms < 0 ? -1 : left > 0 ? (int)left : 0);
        if (ready >= 0 || errno != EINTR)
            return ready;
    }
}

int child_wait(struct child *child, int timeout_ms, int *status, struct error *err)
{
    if (child->pid <= 0)
        return error_set(err, ECHILD, "wait");
    int ready = wait_readable(child->pid, timeout_ms);
    if (ready == 0)
        return 0;
    while (waitpid(child->pid, status, 0) < 0)
        if (errno != EINTR)
            return error_set(err, errno, "wait for process %d", (int)child->pid);
    child->pid = 0;
    return 1;
}

void child_stop(struct child *child)
{
    int status;
    if (!child || child->pid <= 0)
        return;
    kill(child->pid, SIGTERM);
    if (child_wait(child, 1000, &status, NULL) != 0)
        return;
    kill(child->pid, SIGKILL);
    child_wait(child, -1, &status, NULL);
}

const char *child_status_text(int status, char *buffer, size_t size)
{
    if (WIFEXITED(status))
        snprintf(buffer, size, "exited with status %d", WEXITSTATUS(status));
    else if (WIFSIGNALED(status))
        snprintf(buffer, size, "was killed by signal %d", WTERMSIG(status));
    else
        snprintf(buffer, size, "ended with wait status 0x%x", (unsigned)status);
    return buffer;
}

/* --- child_run: three pipes and a deadline ------------------------------------------------------
 */

struct stream {
    int fd;            /* -1 once done */
    struct text *into; /* NULL: dropped */
};

struct run {
    struct stream out, errors;
    int in;
    const char *input;
    size_t input_left, output_limit;
    int64_t deadline_ms; /* negative: none */
};

static int read_stream(struct stream *stream, size_t limit, struct error *err)
{
    char buffer[65536];
    ssize_t got = read(stream->fd, buffer, sizeof(buffer));
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (got < 0)
        return error_set(err, errno, "read its output");
    if (got == 0) {
        close(take_fd(&stream->fd));
        return 0;
    }
    if (!stream->into)
        return 0;
    if (stream->into->length + (size_t)got > limit)
        return error_set(err, EFBIG, "it printed more than %zu bytes", limit);
    text_add_bytes(stream->into, buffer, (size_t)got);
    return 0;
}

/* A child that does not want its input closes it: that is its own affair. */
static void write_input(struct run *run)
{
    ssize_t put = run->input_left ? write(run->in, run->input, run->input_left) : 0;
    if (put < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (put > 0) {
        run->input += put;
        run->input_left -= (size_t)put;
    }
    if (put < 0 || run->input_left == 0)
        close(take_fd(&run->in));
}

static int left_ms(const struct run *run)
{
    if (run->deadline_ms < 0)
        return -1;
    int64_t left = run->deadline_ms - clock_ms();
    return left > 0 ? (int)left : 0;
}

static int exchange(struct run *run, struct error *err)
{
    while (run->out.fd >= 0 || run->errors.fd >= 0 || run->in >= 0) {
        struct pollfd fds[] = {
            {run->out.fd, POLLIN, 0}, {run->errors.fd, POLLIN, 0}, {run->in, POLLOUT, 0}};
        int ready = poll(fds, ARRAY_LENGTH(fds), left_ms(run));
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready < 0)
            return error_set(err, errno, "poll");
        if (ready == 0)
            return error_set(err, ETIMEDOUT, "it did not end in time");
        if (fds[0].revents && read_stream(&run->out, run->output_limit, err) != 0)
            return -1;
        if (fds[1].revents && read_stream(&run->errors, run->output_limit, err) != 0)
            return -1;
        if (fds[2].revents)
            write_input(run);
    }
    return 0;
}

static int finish(struct child *child, const struct run *run, struct error *err)
{
    int status;
    char text[64];
    int ended = child_wait(child, left_ms(run), &status, err);
    if (ended == 0)
        return error_set(err, ETIMEDOUT, "it did not end in time");
    if (ended < 0)
        return -1;
    if (!WIFEXITED(status))
        return error_set(err, 0, "it %s", child_status_text(status, text, sizeof(text)));
    return WEXITSTATUS(status);
}

static int run_pipes(const char *const argv[], struct run *run, int (*pipes)[2], struct error *err)
{
    struct child child = {0};
    struct child_stdio stdio = {.in = pipes[0][0], .out = pipes[1][1], .err = pipes[2][1]};
    int result = child_start(&child, argv, &stdio, err);
    for (int i = 0; i < 3; i++)
        close(take_fd(&pipes[i][i == 0 ? 0 : 1]));
    run->in = take_fd(&pipes[0][1]);
    run->out.fd = take_fd(&pipes[1][0]);
    run->errors.fd = take_fd(&pipes[2][0]);
    if (result == 0)
        fcntl(run->in, F_SETFL, O_NONBLOCK);
    if (result == 0)
        result = exchange(run, err);
    if (result == 0)
        result = finish(&child, run, err);
    child_stop(&child);
    own_close(&run->in);
    own_close(&run->out.fd);
    own_close(&run->errors.fd);
    return result;
}

/* Writing to a child that closed its stdin must not kill us: SIGPIPE is blocked meanwhile. */
static int run_without_sigpipe(const char *const argv[], struct run *run, struct error *err)
{
    int pipes[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}};
    sigset_t sigpipe, before;
    sigemptyset(&sigpipe);
    sigaddset(&sigpipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &sigpipe, &before);
    int result = 0;
    for (int i = 0; result == 0 && i < 3; i++)
        if (pipe2(pipes[i], O_CLOEXEC) != 0)
            result = error_set(err, errno, "pipe");
    if (result == 0)
        result = run_pipes(argv, run, pipes, err);
    for (int i = 0; i < 3; i++) {
        own_close(&pipes[i][0]);
        own_close(&pipes[i][1]);
    }
    struct timespec zero = {0};
    while (sigtimedwait(&sigpipe, NULL, &zero) > 0)
        ;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return result;
}

int child_run(const char *const argv[], const struct text *input, struct text *out,
              struct text *errors, const struct child_limits *limits, struct error *err)
{
    int timeout_ms = limits ? limits->timeout_ms : -1;
    struct run run = {
        .out = {-1, out},
        .errors = {-1, errors},
        .in = -1,
        .input = input ? text_string(input) : "",
        .input_left = input ? input->length : 0,
        .output_limit =
            limits && limits->output_bytes ? limits->output_bytes : DEFAULT_OUTPUT_LIMIT,
        .deadline_ms = timeout_ms < 0 ? -1 : clock_ms() + timeout_ms,
    };
    int result = run_without_sigpipe(argv, &run, err);
    if (result < 0)
        error_wrap(err, "run %s", argv[0]);
    return result;
}
