/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Opens the pool and its database for a command that works beside the server.
 */
#include "p2v/pool_use.h"

#include "p2v/cli.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

int pool_use_open(struct pool_use *use, const char *path, struct error *err)
{
    *use = (struct pool_use){.pool = {.fd = -1, .state_fd = -1, .lock_fd = -1}};
    if (!path && access(POOL_DEFAULT, F_OK) != 0)
        return cli_usage(err, "--pool DIR is needed (there is no " POOL_DEFAULT ")");
    if (pool_open(&use->pool, path ? path : POOL_DEFAULT, POOL_USE, err) != 0)
        return -1;
    use->database = database_open(&use->pool, POOL_USE, err);
    if (use->database)
        return CLI_DONE;
    pool_use_fini(use);
    return -1;
}

void pool_use_fini(struct pool_use *use)
{
    database_close(use->database);
    use->database = NULL;
    pool_fini(&use->pool);
}

char *pool_format_time(int64_t time, char *buffer, size_t size)
{
    struct tm broken;
    time_t seconds = time;
    if (!localtime_r(&seconds, &broken) || strftime(buffer, size, "%F %H:%M", &broken) == 0)
        snprintf(buffer, size, "?");
    return buffer;
}
