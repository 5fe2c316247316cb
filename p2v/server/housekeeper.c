/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What has to be done once a second: connections past their deadline are shut, approvals are told,
 * rows are written, transfers that nobody uses are forgotten.
 */
#include "base/clock.h"
#include "p2v/server/serving.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define HOUSEKEEPER_MS 1000

static void shut_overdue(struct server *server)
{
    int64_t now = clock_ms();
    pthread_mutex_lock(&server->lock);
    for (struct connection *one = server->connections; one; one = one->next) {
        if (!one->is_over && one->deadline_ms != 0 && now > one->deadline_ms)
            connection_kill(one);
    }
    pthread_mutex_unlock(&server->lock);
}

/* The keys that wait; the database is asked without the lock. */
static size_t list_waiting(struct server *server, uint8_t (**keys)[WIRE_IDENTITY_SIZE])
{
    size_t count = 0;
    pthread_mutex_lock(&server->lock);
    for (struct connection *one = server->connections; one; one = one->next) {
        if (!one->is_waiting || one->wake != WAKE_NONE)
            continue;
        *keys = memory_grow(*keys, count + 1, sizeof(**keys));
        memcpy((*keys)[count++], one->identity, sizeof(one->identity));
    }
    pthread_mutex_unlock(&server->lock);
    return count;
}

static void wake_approved(struct server *server, const uint8_t key[WIRE_IDENTITY_SIZE])
{
    pthread_mutex_lock(&server->lock);
    for (struct connection *one = server->connections; one; one = one->next) {
        if (one->is_waiting && one->wake == WAKE_NONE &&
            memcmp(one->identity, key, sizeof(one->identity)) == 0)
            connection_wake(one, WAKE_APPROVED);
    }
    pthread_mutex_unlock(&server->lock);
}

static void tell_approved(struct server *server)
{
    uint8_t(*keys)[WIRE_IDENTITY_SIZE] = NULL;
    size_t count = list_waiting(server, &keys);
    for (size_t i = 0; i < count; i++) {
        enum admission admission;
        if (agent_is_known(server->database, keys[i], &admission, NULL) == 0 &&
            admission == ADMISSION_GRANTED)
            wake_approved(server, keys[i]);
    }
    free(keys);
}

/* Until the next round, or the end. */
static bool sleep_a_round(struct server *server)
{
    struct timespec until = clock_deadline(HOUSEKEEPER_MS);
    pthread_mutex_lock(&server->lock);
    while (!server->is_housekeeper_ending &&
           pthread_cond_timedwait(&server->changed, &server->lock, &until) == 0)
        continue;
    bool is_ending = server->is_housekeeper_ending;
    pthread_mutex_unlock(&server->lock);
    return !is_ending;
}

static void *run(void *argument)
{
    struct server *server = argument;
    while (sleep_a_round(server)) {
        shut_overdue(server);
        connections_join(server);
        tell_approved(server);
        transfers_store_rows(server);
        transfers_drop(server, false);
    }
    return NULL;
}

int housekeeper_start(struct server *server, struct error *err)
{
    int result = pthread_create(&server->housekeeper, NULL, run, server);
    if (result != 0)
        return error_set(err, result, "start a thread");
    server->has_housekeeper = true;
    return 0;
}

void housekeeper_stop(struct server *server)
{
    if (!server->has_housekeeper)
        return;
    pthread_mutex_lock(&server->lock);
    server->is_housekeeper_ending = true;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
    pthread_join(server->housekeeper, NULL);
    server->has_housekeeper = false;
}
