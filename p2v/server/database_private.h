/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the files of the database share: the connection, its statements, locking and transactions.
 *
 * Every public call takes the lock first and gives it back last; nothing here takes it. A statement
 * is reset when its variable goes: one left running would hold an old snapshot, and the log could
 * never be folded back into the database.
 */
#ifndef P2V_SERVER_DATABASE_PRIVATE_H
#define P2V_SERVER_DATABASE_PRIVATE_H

#include "base/error.h"
#include "p2v/server/database.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

/* In the order of the texts in database_statements.c. */
enum statement {
    STATEMENT_BEGIN,
    STATEMENT_BEGIN_READ,
    STATEMENT_COMMIT,
    STATEMENT_ROLLBACK,
    STATEMENT_TOKEN_ADD,
    STATEMENT_TOKEN_LIST,
    STATEMENT_TOKEN_REVOKE,
    STATEMENT_TOKEN_FIND,
    STATEMENT_TOKEN_USE,
    STATEMENT_AGENT_FIND,
    STATEMENT_AGENT_SEEN,
    STATEMENT_AGENT_ADMIT,
    STATEMENT_AGENT_REVOKE,
    STATEMENT_AGENT_REPLACED,
    STATEMENT_WAITING_COUNT,
    STATEMENT_WAITING_ADD,
    STATEMENT_WAITING_REMOVE,
    STATEMENT_WAITING_CLEAR,
    STATEMENT_WAITING_BY_CODE,
    STATEMENT_WAITING_MARK,
    STATEMENT_WAITING_LIST,
    STATEMENT_MACHINE_BY_IDENTITY,
    STATEMENT_MACHINE_HAS_NAME,
    STATEMENT_MACHINE_ADD,
    STATEMENT_MACHINE_NUMBER,
    STATEMENT_MACHINE_REKEY,
    STATEMENT_MACHINE_WANTED,
    STATEMENT_MACHINE_NAME,
    STATEMENT_MACHINE_STATE,
    STATEMENT_MACHINE_SET,
    STATEMENT_MACHINE_BY_NAME,
    STATEMENT_MACHINE_LIST,
    STATEMENT_MACHINE_IDS,
    STATEMENT_MACHINE_TWIN,
    STATEMENT_MACHINE_BEGUN,
    STATEMENT_MACHINE_INTERRUPT,
    STATEMENT_MACHINE_WAIT_AGAIN,
    STATEMENT_DISK_SET,
    STATEMENT_DISK_TRIM,
    STATEMENT_DISK_LIST,
    STATEMENT_END,
};
extern const char *const statement_sql[STATEMENT_END];

/* What a new database is made with, its version included. */
#define DATABASE_VERSION 2
extern const char database_schema[];

/* [n] makes version n + 1 of version n; [0] is not used. */
extern const char *const database_upgrades[DATABASE_VERSION];

struct database {
    sqlite3 *connection;
    sqlite3_stmt *statements[STATEMENT_END]; /* prepared when first needed */
    pthread_mutex_t lock;                    /* guards everything here */
    char *path;
    bool is_durable; /* how the connection stands: a commit waits for the disk */
    int64_t (*now)(void *context);
    void *now_context;
};

struct database *database_lock(struct database *database);
void database_unlock(struct database **database);
#define DATABASE_LOCKED(database)                                                                  \
    struct database *database_guard __attribute__((cleanup(database_unlock))) =                    \
        database_lock(database);                                                                   \
    (void)database_guard

static inline int64_t database_now(const struct database *database)
{
    return database->now(database->now_context);
}

static inline void statement_done(sqlite3_stmt **statement)
{
    if (*statement)
        sqlite3_reset(*statement);
}
#define AUTO_STATEMENT __attribute__((cleanup(statement_done))) sqlite3_stmt *

/*
 * Ready to be stepped, with its parameters from the arguments. One letter of `types` each: 'i'
 * int64_t, 't' const char *, 'b' 32 bytes (an identity, a hash; NULL: NULL). The bytes are borrowed
 * until it is done.
 */
sqlite3_stmt *statement_start(struct database *database, enum statement which, struct error *err,
                              const char *types, ...);

/* 1: a row, 0: no more, -1. */
int statement_step(struct database *database, sqlite3_stmt *statement, struct error *err);

/* Starts, runs and resets one without rows. */
int statement_run(struct database *database, enum statement which, struct error *err,
                  const char *types, ...);

/* Cut at the end where it does not fit, "" for NULL. */
void statement_text(sqlite3_stmt *statement, int column, char *text, size_t size);

/*
 * A transaction that writes. Durable ones are on stable storage when they have ended; the others
 * are whole or not there after a loss of power. `transaction_end` commits when `result` is 0, else
 * rolls back, and returns -1 when either went wrong.
 */
int transaction_begin(struct database *database, bool is_durable, struct error *err);
int transaction_end(struct database *database, int result, struct error *err);

/* Inside a transaction. `token_id` "": approved by a person. */
int agent_look_up(struct database *database, const uint8_t identity[WIRE_IDENTITY_SIZE],
                  enum admission *admission, struct error *err);
int agent_admit(struct database *database, const uint8_t identity[WIRE_IDENTITY_SIZE],
                const char *token_id, struct error *err);

/* Inside a transaction. ENOENT: there is none of this name. */
int machine_find(struct database *database, const char *name, uint32_t *number, struct error *err);

/* Inside a transaction: the one with this mark of which a part was received; "" when there is none.
 */
int machine_find_begun(struct database *database, const char *mark, char name[64],
                       struct error *err);

/* Inside a transaction: the machine is this key's from now on; the one it had is let in no more. */
int machine_rekey(struct database *database, uint32_t number,
                  const uint8_t identity[WIRE_IDENTITY_SIZE], struct error *err);

/* Several reads that see one state. */
int snapshot_begin(struct database *database, struct error *err);

#endif
