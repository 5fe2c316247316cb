/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The thread that starts the writing of dirty pages (sync_file_range).
 */
#include "p2v/write_behind.h"

#include "base/bytes.h"

#include <fcntl.h>
#include <unistd.h>

/* One step: enough for a disk to write in large pieces, little beside its speed in a second. */
#define WRITE_BEHIND_STEP (64 * MIB)

static void *run(void *argument)
{
    struct write_behind *behind = argument;
    pthread_mutex_lock(&behind->lock);
    while (!behind->is_stopping) {
        if (behind->dirty_bytes < WRITE_BEHIND_STEP) {
            pthread_cond_wait(&behind->is_changed, &behind->lock);
            continue;
        }
        behind->dirty_bytes = 0;
        pthread_mutex_unlock(&behind->lock);
        /* May wait for the disk's queue: that is why this is a thread. */
        sync_file_range(behind->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
        pthread_mutex_lock(&behind->lock);
    }
    pthread_mutex_unlock(&behind->lock);
    return NULL;
}

void write_behind_start(struct write_behind *behind, const char *path)
{
    *behind = (struct write_behind){.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    pthread_mutex_init(&behind->lock, NULL);
    pthread_cond_init(&behind->is_changed, NULL);
    behind->is_running = behind->fd >= 0 && pthread_create(&behind->thread, NULL, run, behind) == 0;
}

void write_behind_add(struct write_behind *behind, uint64_t bytes)
{
    pthread_mutex_lock(&behind->lock);
    behind->dirty_bytes += bytes;
    if (behind->dirty_bytes >= WRITE_BEHIND_STEP)
        pthread_cond_signal(&behind->is_changed);
    pthread_mutex_unlock(&behind->lock);
}

void write_behind_stop(struct write_behind *behind)
{
    if (behind->is_running) {
        pthread_mutex_lock(&behind->lock);
        behind->is_stopping = true;
        pthread_cond_signal(&behind->is_changed);
        pthread_mutex_unlock(&behind->lock);
        pthread_join(behind->thread, NULL);
    }
    pthread_cond_destroy(&behind->is_changed);
    pthread_mutex_destroy(&behind->lock);
    if (behind->fd >= 0)
        close(behind->fd);
}
