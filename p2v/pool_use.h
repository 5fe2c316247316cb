/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The pool as the commands beside the server use it: token, status, approve.
 */
#ifndef P2V_POOL_USE_H
#define P2V_POOL_USE_H

#include "base/error.h"
#include "p2v/server/database.h"
#include "p2v/server/pool.h"

#include <stdint.h>

#define POOL_DEFAULT "/srv/rehost"

struct pool_use {
    struct pool pool;
    struct database *database;
};

/*
 * `path` is --pool's; NULL: POOL_DEFAULT when that is there. Returns CLI_DONE, CLI_USAGE (--pool is
 * needed) or -1.
 */
int pool_use_open(struct pool_use *use, const char *path, struct error *err);
void pool_use_fini(struct pool_use *use);

/* "2026-11-22 13:44", local time. Caller's buffer. */
char *pool_format_time(int64_t time, char *buffer, size_t size);

#define CLI_OPTION_POOL(type)                                                                      \
    {                                                                                              \
        "pool", 0, OPTION_TEXT, "DIR", NULL, offsetof(type, pool),                                 \
            "the server's pool (" POOL_DEFAULT ")"                                                 \
    }

#endif
