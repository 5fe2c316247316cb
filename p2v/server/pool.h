/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The pool's folder on the server, and what stands where in it.
 *
 *     POOL/NAME/            a converted machine (DESIGN: "A converted machine on disk")
 *     POOL/NAME.partial/    one being received or converted for the first time
 *     POOL/NAME.update/     a newer state of POOL/NAME being received: overlays over its disks
 *     POOL/.rehost/         server.pem, rehost.db, chunks.index, lock, log/NAME.log
 *
 * In a folder being received: .rehost-draft, inventory.json, diskN.qcow2 (written in place),
 * diskN.ledger; once everything is there and on stable storage: diskN.manifest and, last of all,
 * received.json. That file's presence means 'the transfer is complete', its absence that it is not.
 */
#ifndef P2V_SERVER_POOL_H
#define P2V_SERVER_POOL_H

#include "base/error.h"
#include "base/own.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POOL_STATE ".rehost"
#define POOL_KEY "server.pem"
#define POOL_DATABASE "rehost.db"
#define POOL_INDEX "chunks.index"
#define POOL_RECEIVED "received.json"
#define POOL_INVENTORY "inventory.json"
#define POOL_UPDATE_SUFFIX ".update"
#define POOL_PARTIAL_SUFFIX ".partial"

struct pool {
    char *path;   /* absolute, owned */
    int fd;       /* of POOL */
    int state_fd; /* of POOL/.rehost, 0700 */
    int lock_fd;  /* -1 unless opened with POOL_SERVE */
};

enum pool_access {
    POOL_SERVE, /* makes what is missing; one server a pool (EBUSY) */
    POOL_USE,   /* for status, token, approve: the pool must exist */
};

int pool_open(struct pool *pool, const char *path, enum pool_access access, struct error *err);
void pool_fini(struct pool *pool);

/* "disk0.ledger"; caller frees. */
char *pool_ledger_name(size_t disk_index);

#endif
