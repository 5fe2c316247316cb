/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The server (`rehost serve`): takes machines in over the network into a pool, many side by side,
 * and hands each to its job when it is complete. docs/wire.md says what it speaks; everything it
 * knows survives kill -9.
 */
#ifndef P2V_SERVER_SERVER_H
#define P2V_SERVER_SERVER_H

#include "base/error.h"
#include "base/log.h"
#include "base/own.h"
#include "p2v/server/database.h"
#include "p2v/wire/frame.h"
#include "p2v/wire/tls.h"

#include <stdint.h>

#define SERVER_CHECKPOINT ((uint64_t)64 << 20)
#define SERVER_MIN_CHECKPOINT ((uint64_t)1 << 20)
#define SERVER_MAX_CHECKPOINT ((uint64_t)4 << 30)

struct server;

struct server_options {
    const char *pool;
    const char *listen;        /* "ADDR:PORT", "[v6]:PORT", ":PORT"; NULL: everywhere, WIRE_PORT */
    const char *format;        /* of new images; NULL: qcow2 */
    uint64_t checkpoint_bytes; /* 0: SERVER_CHECKPOINT */
    unsigned jobs;             /* how many at a time; 0: 1 */
    const char *const *finish_arguments; /* for `rehost finish`, NULL-terminated; or NULL */
    /* Tests: called instead of starting jobs; they then call server_job_stage and _result. */
    int (*add_job)(void *context, const char *machine, struct error *err);
    void *context;
    struct log *log;
};

/* Opens the pool (EBUSY: another server has it) and listens; everything else in its own threads. */
struct server *server_start(const struct server_options *options, struct error *err);

/* Says goodbye to the agents, commits what has arrived, ends the jobs. NULL-safe. */
void server_stop(struct server *server);
OWN_DEFINE_PTR(server, server_stop)

unsigned server_port(const struct server *server);
const char *server_host(const struct server *server); /* "0.0.0.0", or the address asked for */
void server_pin(const struct server *server, char pin[TLS_PIN_SIZE]);
struct database *server_database(struct server *server); /* borrowed */

/* What the jobs say; from any thread. */
void server_job_stage(struct server *server, const char *machine, enum wire_stage stage,
                      const char *text);
void server_job_result(struct server *server, const char *machine, int exit_code, const char *text);

#endif
