/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Other programs, started by argv and never through a shell. Every child is killed when this
 * process dies (PR_SET_PDEATHSIG), however it dies.
 */
#ifndef BASE_CHILD_H
#define BASE_CHILD_H

#include "base/error.h"
#include "base/text.h"

#include <stdbool.h>
#include <sys/types.h>

struct child {
    pid_t pid; /* 0 when not running */
};

/* What the child sees. {0} with the fds at -1 (CHILD_STDIO_NONE) means /dev/null everywhere. */
struct child_stdio {
    int in, out, err;    /* descriptors to give it (borrowed), -1: /dev/null */
    const int *keep_fds; /* further descriptors it inherits under their own numbers, borrowed */
    size_t keep_count;
};
#define CHILD_STDIO_NONE ((struct child_stdio){.in = -1, .out = -1, .err = -1})

/* argv[0] is searched in PATH; the array ends with NULL. A program that is not there: ENOENT. */
int child_start(struct child *child, const char *const argv[], const struct child_stdio *stdio,
                struct error *err);

/*
 * Waits at most timeout_ms (negative: for ever). Returns 1 when it ended (*status as waitpid's),
 * 0 on time-out, -1 on error.
 */
int child_wait(struct child *child, int timeout_ms, int *status, struct error *err);

/* SIGTERM, up to one second of grace, SIGKILL, reaped. NULL-safe, does nothing when not running. */
void child_stop(struct child *child);

/* "exited with status 3", "was killed by signal 9": for error texts. Caller's buffer. */
const char *child_status_text(int status, char *buffer, size_t size);

/*
 * Runs a program to its end. `input` (or NULL) goes to its stdin; stdout is added to *out and
 * stderr to *errors (each or both NULL: dropped), each at most limit_bytes, beyond which the child
 * is stopped and the call fails. A time-out fails it too. Returns its exit status (0 to 255), or
 * -1 with err when it could not be run, was killed, or broke a limit.
 */
struct child_limits {
    int timeout_ms;      /* negative: none */
    size_t output_bytes; /* 0: 16 MiB */
};
int child_run(const char *const argv[], const struct text *input, struct text *out,
              struct text *errors, const struct child_limits *limits, struct error *err);

#endif
