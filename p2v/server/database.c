/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Opening the database, and the plain parts of talking to SQLite: statements, transactions, errors.
 * What is asked of it stands in database_tokens.c, database_agents.c and database_machines.c.
 */
#include "p2v/server/database.h"

#include "base/text.h"
#include "p2v/server/database_private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Another process (`rehost token`) holds the write lock for milliseconds. */
#define DATABASE_BUSY_MS 5000

/* Of the write-ahead log. A checkpoint comes well before it is used up, at 4 KiB a page. */
#define LOG_RESERVE ((off_t)2 << 20)
#define LOG_CHECKPOINT_PAGES 200

#define BLOB_SIZE 32

/* --- errors --- */

static int errnum_of(sqlite3 *connection)
{
    int system = sqlite3_system_errno(connection);
    switch (sqlite3_errcode(connection) & 0xff) {
    case SQLITE_FULL:
        return ENOSPC;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return EBUSY;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return EACCES;
    case SQLITE_NOMEM:
        return ENOMEM;
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
        return system ? system : EIO;
    default:
        return EIO;
    }
}

static int database_error(const struct database *database, struct error *err)
{
    int errnum = errnum_of(database->connection);
    error_set(err, 0, "%s: %s", database->path, sqlite3_errmsg(database->connection));
    if (err)
        err->errnum = errnum;
    return -1;
}

/* --- the lock and the clock --- */

struct database *database_lock(struct database *database)
{
    pthread_mutex_lock(&database->lock);
    return database;
}

void database_unlock(struct database **database)
{
    pthread_mutex_unlock(&(*database)->lock);
}

static int64_t wall_clock(void *context)
{
    (void)context;
    return time(NULL);
}

void database_set_clock(struct database *database, int64_t (*now)(void *context), void *context)
{
    DATABASE_LOCKED(database);
    database->now = now ? now : wall_clock;
    database->now_context = context;
}

/* --- statements --- */

static int bind_all(sqlite3_stmt *statement, const char *types, va_list arguments)
{
    int result = SQLITE_OK;
    for (int i = 0; types[i] && result == SQLITE_OK; i++) {
        if (types[i] == 'i')
            result = sqlite3_bind_int64(statement, i + 1, va_arg(arguments, int64_t));
        else if (types[i] == 't')
            result = sqlite3_bind_text(statement, i + 1, va_arg(arguments, const char *), -1,
                                       SQLITE_STATIC);
        else
            result = sqlite3_bind_blob(statement, i + 1, va_arg(arguments, const void *), BLOB_SIZE,
                                       SQLITE_STATIC);
    }
    return result;
}

static sqlite3_stmt *start_with(struct database *database, enum statement which, struct error *err,
                                const char *types, va_list arguments)
{
    sqlite3_stmt **statement = &database->statements[which];
    if (!*statement &&
        sqlite3_prepare_v3(database->connection, statement_sql[which], -1,
                           SQLITE_PREPARE_PERSISTENT, statement, NULL) != SQLITE_OK) {
        database_error(database, err);
        return NULL;
    }
    sqlite3_reset(*statement);
    if (bind_all(*statement, types, arguments) != SQLITE_OK) {
        database_error(database, err);
        return NULL;
    }
    return *statement;
}

sqlite3_stmt *statement_start(struct database *database, enum statement which, struct error *err,
                              const char *types, ...)
{
    va_list arguments;
    va_start(arguments, types);
    sqlite3_stmt *statement = start_with(database, which, err, types, arguments);
    va_end(arguments);
    return statement;
}

int statement_step(struct database *database, sqlite3_stmt *statement, struct error *err)
{
    int result = sqlite3_step(statement);
    if (result == SQLITE_ROW)
        return 1;
    return result == SQLITE_DONE ? 0 : database_error(database, err);
}

int statement_run(struct database *database, enum statement which, struct error *err,
                  const char *types, ...)
{
    va_list arguments;
    va_start(arguments, types);
    AUTO_STATEMENT statement = start_with(database, which, err, types, arguments);
    va_end(arguments);
    return statement ? statement_step(database, statement, err) : -1;
}

void statement_text(sqlite3_stmt *statement, int column, char *text, size_t size)
{
    const unsigned char *value = sqlite3_column_text(statement, column);
    snprintf(text, size, "%s", value ? (const char *)value : "");
}

/* --- transactions --- */

static int set_durable(struct database *database, bool is_durable, struct error *err)
{
    if (database->is_durable == is_durable)
        return 0;
    const char *sql = is_durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL";
    if (sqlite3_exec(database->connection, sql, NULL, NULL, NULL) != SQLITE_OK)
        return database_error(database, err);
    database->is_durable = is_durable;
    return 0;
}

int transaction_begin(struct database *database, bool is_durable, struct error *err)
{
    if (set_durable(database, is_durable, err) != 0)
        return -1;
    return statement_run(database, STATEMENT_BEGIN, err, "");
}

int snapshot_begin(struct database *database, struct error *err)
{
    return statement_run(database, STATEMENT_BEGIN_READ, err, "");
}

int transaction_end(struct database *database, int result, struct error *err)
{
    if (result == 0 && statement_run(database, STATEMENT_COMMIT, err, "") == 0)
        return 0;
    /* A full disk may have rolled it back already. */
    if (!sqlite3_get_autocommit(database->connection))
        statement_run(database, STATEMENT_ROLLBACK, NULL, "");
    return -1;
}

/* --- opening --- */

/* SQLite gives its log and shared memory the mode of the file, so it is made here. */
static int make_file(const struct pool *pool, struct error *err)
{
    AUTO_CLOSE int fd =
        openat(pool->state_fd, POOL_DATABASE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || fsync(pool->state_fd) != 0 || fsync(pool->fd) != 0)
        return error_set(err, errno, "make %s/%s/%s", pool->path, POOL_STATE, POOL_DATABASE);
    return 0;
}

static int connect_file(struct database *database, struct error *err)
{
    static const char settings[] = "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;"
                                   "PRAGMA synchronous = FULL; PRAGMA cell_size_check = ON;";
    int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_EXRESCODE;
    int result = sqlite3_open_v2(database->path, &database->connection, flags, NULL);
    if (!database->connection)
        return error_set(err, ENOMEM, "open %s", database->path);
    if (result != SQLITE_OK)
        return database_error(database, err);
    sqlite3_busy_timeout(database->connection, DATABASE_BUSY_MS);
    sqlite3_db_config(database->connection, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (sqlite3_exec(database->connection, settings, NULL, NULL, NULL) != SQLITE_OK)
        return database_error(database, err);
    database->is_durable = true;
    return 0;
}

static int read_version(struct database *database, int *version, struct error *err)
{
    sqlite3_stmt *statement = NULL;
    *version = 0;
    int result =
        sqlite3_prepare_v2(database->connection, "PRAGMA user_version", -1, &statement, NULL);
    if (result == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW)
        *version = sqlite3_column_int(statement, 0);
    return sqlite3_finalize(statement) == SQLITE_OK && result == SQLITE_OK
               ? 0
               : database_error(database, err);
}

/* The schema and its version come in one transaction: a killed server leaves both or neither. */
static int make_tables(struct database *database, struct error *err)
{
    if (sqlite3_exec(database->connection, "PRAGMA journal_mode = WAL", NULL, NULL, NULL) !=
        SQLITE_OK)
        return database_error(database, err);
    if (transaction_begin(database, true, err) != 0)
        return -1;
    int result = 0;
    if (sqlite3_exec(database->connection, database_schema, NULL, NULL, NULL) != SQLITE_OK)
        result = database_error(database, err);
    if (transaction_end(database, result, err) != 0)
        return -1;
    /* Out of the log: a copy of the file alone is a database from the start. */
    sqlite3_wal_checkpoint_v2(database->connection, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    return 0;
}

/* Each step is whole or not there, so that a killed server's successor goes on. */
static int upgrade(struct database *database, int version, struct error *err)
{
    for (; version < DATABASE_VERSION; version++) {
        if (transaction_begin(database, true, err) != 0)
            return -1;
        int result = 0;
        if (sqlite3_exec(database->connection, database_upgrades[version], NULL, NULL, NULL) !=
            SQLITE_OK)
            result = database_error(database, err);
        if (transaction_end(database, result, err) != 0)
            return -1;
    }
    return 0;
}

static int check_tables(struct database *database, enum pool_access access, struct error *err)
{
    int version;
    if (read_version(database, &version, err) != 0)
        return -1;
    if (version > DATABASE_VERSION || version < 0)
        return error_set(err, 0, "%s: it is of version %d, this rehost knows %d", database->path,
                         version, DATABASE_VERSION);
    if (version == DATABASE_VERSION)
        return 0;
    if (access == POOL_SERVE)
        return version == 0 ? make_tables(database, err) : upgrade(database, version, err);
    if (version > 0)
        return error_set(err, 0,
                         "%s: it is of version %d, this rehost knows %d: restart its "
                         "rehost serve",
                         database->path, version, DATABASE_VERSION);
    error_set(err, 0, "%s: there is nothing in it yet, rehost serve has not been run",
              database->path);
    if (err)
        err->errnum = ENOENT;
    return -1;
}

/* Who waited for an approval did so on a connection of the server before this one. */
static int forget_waiting(struct database *database, struct error *err)
{
    if (transaction_begin(database, false, err) != 0)
        return -1;
    int result = statement_run(database, STATEMENT_WAITING_CLEAR, err, "");
    return transaction_end(database, result, err);
}

/*
 * A server whose disk is full has still to record that it waits: the log's blocks are there before
 * they are needed, and it begins again at its start before they are used up. A file system that
 * cannot do that is as before.
 */
static void reserve_log(const struct pool *pool, struct database *database)
{
    AUTO_CLOSE int fd = openat(pool->state_fd, POOL_DATABASE "-wal", O_RDWR | O_CLOEXEC);
    if (fd < 0 || fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, LOG_RESERVE) != 0)
        return;
    sqlite3_wal_autocheckpoint(database->connection, LOG_CHECKPOINT_PAGES);
}

struct database *database_open(const struct pool *pool, enum pool_access access, struct error *err)
{
    AUTO_PTR(database) database = memory_new(1, sizeof(*database));
    pthread_mutex_init(&database->lock, NULL);
    database->now = wall_clock;
    database->path = text_format("%s/%s/%s", pool->path, POOL_STATE, POOL_DATABASE);
    if (access == POOL_SERVE && make_file(pool, err) != 0)
        return NULL;
    if (connect_file(database, err) != 0 || check_tables(database, access, err) != 0)
        return NULL;
    if (access == POOL_SERVE && forget_waiting(database, err) != 0)
        return NULL;
    if (access == POOL_SERVE)
        reserve_log(pool, database);
    return take_ptr(&database);
}

void database_close(struct database *database)
{
    if (!database)
        return;
    for (size_t i = 0; i < STATEMENT_END; i++)
        sqlite3_finalize(database->statements[i]);
    sqlite3_close(database->connection);
    pthread_mutex_destroy(&database->lock);
    free(database->path);
    free(database);
}
