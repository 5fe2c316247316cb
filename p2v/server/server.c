/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Brings the server up and down: pool, key, database, index, jobs, listener; and the end, at which
 * everything that has arrived is committed.
 */
#include "p2v/server/server.h"

#include "base/clock.h"
#include "p2v/machine.h"
#include "p2v/server/serving.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SERVER_LOG_FOLDER "log"

/* The table that finds a content in the pool: a slot (32 bytes of a sparse file) for each chunk
 * that the pool's file system can hold, within these. */
#define SERVER_MIN_SLOTS ((uint64_t)1 << 20)
#define SERVER_MAX_SLOTS ((uint64_t)1 << 28)

/* --- other machines' images --- */

/* Only machines under their final name are complete. */
static bool find_image(void *context, uint32_t machine, uint16_t disk, char *path, size_t size)
{
    static const char *const formats[] = {"qcow2", "raw"};
    const struct server *server = context;
    char name[64];
    if (machine_name_of(server->database, machine, name, NULL) != 0)
        return false;
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        int length =
            snprintf(path, size, "%s/%s/disk%u.%s", server->pool.path, name, disk, formats[i]);
        if (length > 0 && (size_t)length < size && access(path, R_OK) == 0)
            return true;
    }
    return false;
}

/* --- jobs --- */

static int queue_job(void *context, const char *machine, struct error *err)
{
    struct server *server = context;
    return jobs_add(server->jobs, machine, err);
}

static void on_stage(void *context, const char *machine, enum wire_stage stage, const char *text)
{
    server_job_stage(context, machine, stage, text);
}

static void on_result(void *context, const char *machine, int exit_code, const char *text)
{
    server_job_result(context, machine, exit_code, text);
}

static int start_jobs(struct server *server, const struct server_options *options,
                      struct error *err)
{
    struct jobs_options jobs = {.pool = server->pool.path,
                                .parallel = options->jobs ? options->jobs : 1,
                                .extra = options->finish_arguments,
                                .log_folder_fd = server->log_folder_fd,
                                .stage = on_stage,
                                .result = on_result,
                                .context = server};
    server->add_job = options->add_job;
    server->job_context = options->context;
    if (options->add_job)
        return 0;
    server->add_job = queue_job;
    server->job_context = server;
    server->jobs = jobs_start(&jobs, err);
    return server->jobs ? 0 : -1;
}

/* Received before the last end of the server, and not finished. */
static void add_complete(void *context, const char *name)
{
    struct server *server = context;
    struct error err = {0};
    log_info(server->log, "%s: received earlier, goes on", name);
    if (server->add_job(server->job_context, name, &err) != 0)
        log_warning(server->log, "%s: %s", name, err.text);
}

/* --- start --- */

static int open_logs(struct server *server, struct error *err)
{
    if (mkdirat(server->pool.state_fd, SERVER_LOG_FOLDER, 0700) != 0 && errno != EEXIST)
        return error_set(err, errno, "create the folder of the logs");
    server->log_folder_fd = openat(server->pool.state_fd, SERVER_LOG_FOLDER,
                                   O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (server->log_folder_fd < 0)
        return error_set(err, errno, "open the folder of the logs");
    return 0;
}

/* A power of two, so that a file system that grows a little keeps its table. */
static uint64_t index_slots(const struct server *server)
{
    struct statvfs space;
    uint64_t slots = SERVER_MIN_SLOTS, chunks = 0;
    if (fstatvfs(server->pool.fd, &space) == 0)
        chunks = (uint64_t)space.f_blocks * space.f_frsize / CHUNK_SIZE;
    while (slots < chunks && slots < SERVER_MAX_SLOTS)
        slots *= 2;
    return slots;
}

static int open_state(struct server *server, const struct server_options *options,
                      struct error *err)
{
    if (pool_open(&server->pool, options->pool, POOL_SERVE, err) != 0 ||
        open_logs(server, err) != 0)
        return -1;
    server->identity = tls_identity_load(server->pool.state_fd, POOL_KEY, err);
    if (!server->identity)
        return -1;
    server->database = database_open(&server->pool, POOL_SERVE, err);
    if (!server->database || machine_interrupt_all(server->database, err) != 0)
        return -1;
    server->index = chunk_index_open(server->pool.state_fd, POOL_INDEX, index_slots(server), err);
    server->receiver_pool = (struct receiver_pool){find_image, server};
    return server->index ? 0 : -1;
}

static int start(struct server *server, const struct server_options *options, struct error *err)
{
    server->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->wake_fd < 0)
        return error_set(err, errno, "eventfd");
    if (open_state(server, options, err) != 0 || listener_open(server, options->listen, err) != 0 ||
        start_jobs(server, options, err) != 0 ||
        intake_list_complete(&server->pool, add_complete, server, err) != 0)
        return -1;
    return housekeeper_start(server, err) != 0 ? -1 : listener_start(server, err);
}

static struct server *server_new(const struct server_options *options)
{
    struct server *server = memory_new(1, sizeof(*server));
    server->format = text_copy(options->format ? options->format : "qcow2");
    server->checkpoint_bytes =
        options->checkpoint_bytes ? options->checkpoint_bytes : SERVER_CHECKPOINT;
    server->log = options->log;
    server->listen_fd = server->wake_fd = server->log_folder_fd = -1;
    server->pool = (struct pool){.fd = -1, .state_fd = -1, .lock_fd = -1};
    pthread_mutex_init(&server->rows_lock, NULL);
    pthread_mutex_init(&server->lock, NULL);
    clock_condition_init(&server->changed);
    return server;
}

struct server *server_start(const struct server_options *options, struct error *err)
{
    struct server *server = server_new(options);
    if (start(server, options, err) == 0)
        return server;
    server_stop(server);
    return NULL;
}

/* --- stop --- */

static void end_connections(struct server *server)
{
    pthread_mutex_lock(&server->lock);
    for (struct connection *one = server->connections; one; one = one->next)
        connection_wake(one, WAKE_SHUTTING_DOWN);
    pthread_mutex_unlock(&server->lock);
    for (;;) {
        connections_join(server);
        pthread_mutex_lock(&server->lock);
        bool is_empty = !server->connections;
        struct timespec until = clock_deadline(1000);
        /* The housekeeper shuts those that take too long. */
        if (!is_empty)
            pthread_cond_timedwait(&server->changed, &server->lock, &until);
        pthread_mutex_unlock(&server->lock);
        if (is_empty)
            return;
    }
}

static void free_server(struct server *server)
{
    chunk_index_close(server->index);
    database_close(server->database);
    tls_identity_free(server->identity);
    if (server->log_folder_fd >= 0)
        close(server->log_folder_fd);
    if (server->wake_fd >= 0)
        close(server->wake_fd);
    pool_fini(&server->pool);
    pthread_cond_destroy(&server->changed);
    pthread_mutex_destroy(&server->lock);
    pthread_mutex_destroy(&server->rows_lock);
    free(server->format);
    free(server);
}

void server_stop(struct server *server)
{
    if (!server)
        return;
    atomic_store(&server->is_stopping, true);
    if (server->wake_fd >= 0)
        eventfd_write(server->wake_fd, 1);
    listener_stop(server);
    end_connections(server);
    housekeeper_stop(server);
    transfers_drop(server, true);
    jobs_stop(server->jobs);
    free_server(server);
}

/* --- what it is --- */

unsigned server_port(const struct server *server)
{
    return server->port;
}

const char *server_host(const struct server *server)
{
    return server->host;
}

void server_pin(const struct server *server, char pin[TLS_PIN_SIZE])
{
    uint8_t hash[TLS_IDENTITY_SIZE];
    tls_identity_hash(server->identity, hash);
    tls_pin_format(hash, pin);
}

struct database *server_database(struct server *server)
{
    return server->database;
}
