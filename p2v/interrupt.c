/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Signals become a flag and one byte in a pipe. A thread reads the pipe and ends the process when
 * the main thread does not do so itself in time. Handlers, unlike blocked signals, are not
 * inherited by the programs that are started.
 */
#include "p2v/interrupt.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

/* How long the main thread may take to end by itself. */
#define INTERRUPT_GRACE_SECONDS 3

static atomic_bool is_requested;
static int wake_pipe[2] = {-1, -1};

static pthread_mutex_t cleanup_lock = PTHREAD_MUTEX_INITIALIZER;
static void (*cleanup_call)(void *context);
static void *cleanup_context;

bool interrupt_is_requested(void)
{
    return atomic_load(&is_requested);
}

const atomic_bool *interrupt_flag(void)
{
    return &is_requested;
}

void interrupt_set_cleanup(void (*cleanup)(void *context), void *context)
{
    pthread_mutex_lock(&cleanup_lock);
    cleanup_call = cleanup;
    cleanup_context = context;
    pthread_mutex_unlock(&cleanup_lock);
}

static void on_signal(int number)
{
    (void)number;
    int saved = errno;
    atomic_store(&is_requested, true);
    ssize_t ignored = write(wake_pipe[1], "", 1);
    (void)ignored;
    errno = saved;
}

static void *watch(void *unused)
{
    (void)unused;
    char byte;
    while (read(wake_pipe[0], &byte, 1) < 0 && errno == EINTR)
        continue;
    sleep(INTERRUPT_GRACE_SECONDS);
    /* The lock stays held: a main thread that comes back now waits here until the end. */
    pthread_mutex_lock(&cleanup_lock);
    if (cleanup_call)
        cleanup_call(cleanup_context);
    static const char message[] = "rehost: interrupted\n";
    ssize_t ignored = write(STDERR_FILENO, message, sizeof(message) - 1);
    (void)ignored;
    _exit(INTERRUPT_EXIT_CODE);
}

int interrupt_start(struct error *err)
{
    if (pipe2(wake_pipe, O_CLOEXEC) != 0)
        return error_set(err, errno, "pipe");
    pthread_t thread;
    int result = pthread_create(&thread, NULL, watch, NULL);
    if (result != 0)
        return error_set(err, result, "start a thread");
    pthread_detach(thread);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        struct sigaction before;
        /* nohup and shells' background jobs ignore some; that is to stay so. */
        if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(signals[i], &action, NULL);
    }
    return 0;
}
