/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Sends what was written to a file to the disk in steps while more is being written, in a thread of
 * its own, so that the flush at the end has little left to wait for. A help, not a guarantee: what
 * has to be on stable storage is still flushed by its writer.
 */
#ifndef P2V_WRITE_BEHIND_H
#define P2V_WRITE_BEHIND_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct write_behind {
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t is_changed;
    uint64_t dirty_bytes; /* written since the last step */
    bool is_stopping;
    bool is_running;
    int fd;
};

/* Opens the file beside its writer. Where that does not work, nothing is done for it. */
void write_behind_start(struct write_behind *behind, const char *path);

/* So much more was written; any thread. */
void write_behind_add(struct write_behind *behind, uint64_t bytes);

void write_behind_stop(struct write_behind *behind);

#endif
