/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The watchdog's thread, and finding the children to kill in /proc/self/task/TID/children. The list
 * is taken when the deadline has passed, while the owner waits inside libguestfs: its children
 * cannot be reaped, and their numbers not be used again, by anybody else meanwhile.
 */
#include "bootfix/watchdog.h"

#include "base/clock.h"
#include "base/io.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static size_t list_children(pid_t owner, pid_t children[WATCHDOG_MAX_CHILDREN])
{
    char path[64], text[4096];
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)owner);
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    ssize_t length = read(fd, text, sizeof(text) - 1);
    text[length < 0 ? 0 : length] = '\0';

    size_t count = 0;
    char *next = text, *end;
    while (count < WATCHDOG_MAX_CHILDREN) {
        long pid = strtol(next, &end, 10);
        if (end == next) {
            break;
        }
        children[count++] = (pid_t)pid;
        next = end;
    }
    return count;
}

static bool is_known(const struct watchdog *watchdog, pid_t pid)
{
    for (size_t i = 0; i < watchdog->known_count; i++) {
        if (watchdog->known[i] == pid) {
            return true;
        }
    }
    return false;
}

static void kill_children(struct watchdog *watchdog)
{
    pid_t children[WATCHDOG_MAX_CHILDREN];
    size_t count = list_children(watchdog->owner, children);
    for (size_t i = 0; i < count; i++) {
        if (!is_known(watchdog, children[i])) {
            kill(children[i], SIGKILL);
        }
    }
}

static bool is_late(const struct watchdog *watchdog)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec > watchdog->deadline.tv_sec ||
           (now.tv_sec == watchdog->deadline.tv_sec && now.tv_nsec >= watchdog->deadline.tv_nsec);
}

static void *watch(void *opaque)
{
    struct watchdog *watchdog = opaque;
    pthread_mutex_lock(&watchdog->lock);
    while (!watchdog->is_stopping) {
        if (!watchdog->is_armed) {
            pthread_cond_wait(&watchdog->wake, &watchdog->lock);
        } else if (is_late(watchdog)) {
            watchdog->is_armed = false;
            watchdog->has_fired = true;
            kill_children(watchdog);
        } else {
            pthread_cond_timedwait(&watchdog->wake, &watchdog->lock, &watchdog->deadline);
        }
    }
    pthread_mutex_unlock(&watchdog->lock);
    return NULL;
}

int watchdog_start(struct watchdog *watchdog, struct error *err)
{
    pthread_mutex_init(&watchdog->lock, NULL);
    clock_condition_init(&watchdog->wake);
    watchdog->known_count = list_children(gettid(), watchdog->known);

    int errnum = pthread_create(&watchdog->thread, NULL, watch, watchdog);
    if (errnum != 0) {
        return error_set(err, errnum, "start the watchdog's thread");
    }
    watchdog->is_running = true;
    return 0;
}

void watchdog_stop(struct watchdog *watchdog)
{
    if (!watchdog || !watchdog->is_running) {
        return;
    }
    pthread_mutex_lock(&watchdog->lock);
    watchdog->is_stopping = true;
    pthread_cond_signal(&watchdog->wake);
    pthread_mutex_unlock(&watchdog->lock);
    pthread_join(watchdog->thread, NULL);
    pthread_cond_destroy(&watchdog->wake);
    pthread_mutex_destroy(&watchdog->lock);
    watchdog->is_running = false;
}

void watchdog_arm(struct watchdog *watchdog, unsigned seconds)
{
    pthread_mutex_lock(&watchdog->lock);
    clock_gettime(CLOCK_MONOTONIC, &watchdog->deadline);
    watchdog->deadline.tv_sec += seconds;
    watchdog->owner = gettid();
    watchdog->is_armed = true;
    watchdog->has_fired = false;
    pthread_cond_signal(&watchdog->wake);
    pthread_mutex_unlock(&watchdog->lock);
}

void watchdog_disarm(struct watchdog *watchdog)
{
    pthread_mutex_lock(&watchdog->lock);
    watchdog->is_armed = false;
    pthread_mutex_unlock(&watchdog->lock);
}

bool watchdog_has_fired(struct watchdog *watchdog)
{
    pthread_mutex_lock(&watchdog->lock);
    bool has_fired = watchdog->has_fired;
    pthread_mutex_unlock(&watchdog->lock);
    return has_fired;
}
