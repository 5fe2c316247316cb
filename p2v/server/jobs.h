/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What happens to machines when their disks are there: fixed, described, boot-tested, a few at a
 * time. Each job is a process of its own (`rehost finish`), so that what looks into a guest's disks
 * is apart from what holds the tokens, and dies with the server. A job that was interrupted is
 * simply added again.
 */
#ifndef P2V_SERVER_JOBS_H
#define P2V_SERVER_JOBS_H

#include "base/error.h"
#include "base/own.h"
#include "p2v/wire/frame.h"

#include <stddef.h>

struct jobs;

struct jobs_options {
    const char *pool;         /* path */
    unsigned parallel;        /* --jobs: at least 1 */
    const char *const *extra; /* further arguments for `rehost finish`, NULL-terminated; or NULL */
    const char *program;      /* NULL: this very program; another for tests */
    int log_folder_fd;        /* what the child says is appended to NAME.log there; borrowed */
    /* From the jobs' own threads. The texts are for people and are borrowed. */
    void (*stage)(void *context, const char *machine, enum wire_stage stage, const char *text);
    void (*result)(void *context, const char *machine, int exit_code, const char *text);
    void *context;
};

struct jobs *jobs_start(const struct jobs_options *options, struct error *err);

/*
 * Queues the machine (its name in the pool). One that is queued or running already is left alone;
 * it may be added again when its result is told, also from `result` itself.
 */
int jobs_add(struct jobs *jobs, const char *machine, struct error *err);

/* Ends running children; what did not end has no result and is added again by the next server. */
void jobs_stop(struct jobs *jobs);
OWN_DEFINE_PTR(jobs, jobs_stop)

#endif
