/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Opens the pool's folder and its private part, and holds the lock that makes a server its only
 * one. The lock is the kernel's: it goes with the process, however that ends.
 */
#include "p2v/server/pool.h"

#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define POOL_LOCK "lock"

/* A sentence that says it better than strerror would, with the cause for who looks at it. */
static int refuse(struct error *err, int errnum, const char *path, const char *why)
{
    error_set(err, 0, "pool %s: %s", path, why);
    if (err)
        err->errnum = errnum;
    return -1;
}

static int open_folder(struct pool *pool, const char *path, enum pool_access access,
                       struct error *err)
{
    if (path[0] == '\0')
        return refuse(err, ENOENT, "''", "a folder is needed");
    if (access == POOL_SERVE && mkdir(path, 0755) != 0 && errno != EEXIST)
        return error_set(err, errno, "make the pool %s", path);
    pool->path = realpath(path, NULL);
    if (pool->path)
        pool->fd = open(pool->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (pool->fd < 0)
        return error_set(err, errno, "pool %s", path);
    return 0;
}

/* Tokens and keys are in it: nobody else may have made it or look into it. */
static int check_state(const struct pool *pool, struct error *err)
{
    struct stat stat;
    if (fstat(pool->state_fd, &stat) != 0)
        return error_set(err, errno, "look at %s/%s", pool->path, POOL_STATE);
    if (stat.st_uid != geteuid() && geteuid() != 0)
        return refuse(err, EACCES, pool->path, "its " POOL_STATE " belongs to somebody else");
    if (stat.st_mode & (S_IRWXG | S_IRWXO))
        return refuse(err, EACCES, pool->path,
                      "its " POOL_STATE " is open to others than its owner (chmod 700)");
    return 0;
}

static int open_state(struct pool *pool, enum pool_access access, struct error *err)
{
    if (access == POOL_SERVE && mkdirat(pool->fd, POOL_STATE, 0700) != 0 && errno != EEXIST)
        return error_set(err, errno, "make %s/%s", pool->path, POOL_STATE);
    pool->state_fd = openat(pool->fd, POOL_STATE, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (pool->state_fd < 0 && errno == ENOENT)
        return refuse(err, ENOENT, pool->path,
                      "it is no pool, rehost serve has not been run in it");
    if (pool->state_fd < 0)
        return error_set(err, errno, "open %s/%s", pool->path, POOL_STATE);
    return check_state(pool, err);
}

static int lock_pool(struct pool *pool, struct error *err)
{
    pool->lock_fd =
        openat(pool->state_fd, POOL_LOCK, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (pool->lock_fd < 0)
        return error_set(err, errno, "open %s/%s/%s", pool->path, POOL_STATE, POOL_LOCK);
    if (flock(pool->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return 0;
    if (errno == EWOULDBLOCK)
        return refuse(err, EBUSY, pool->path, "another server works on it");
    return error_set(err, errno, "lock %s/%s/%s", pool->path, POOL_STATE, POOL_LOCK);
}

int pool_open(struct pool *pool, const char *path, enum pool_access access, struct error *err)
{
    *pool = (struct pool){.fd = -1, .state_fd = -1, .lock_fd = -1};
    if (open_folder(pool, path, access, err) != 0 || open_state(pool, access, err) != 0 ||
        (access == POOL_SERVE && lock_pool(pool, err) != 0)) {
        pool_fini(pool);
        return -1;
    }
    return 0;
}

void pool_fini(struct pool *pool)
{
    own_close(&pool->lock_fd);
    own_close(&pool->state_fd);
    own_close(&pool->fd);
    free(pool->path);
    *pool = (struct pool){.fd = -1, .state_fd = -1, .lock_fd = -1};
}

char *pool_ledger_name(size_t disk_index)
{
    return text_format("disk%zu.ledger", disk_index);
}
