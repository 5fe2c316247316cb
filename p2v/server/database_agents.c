/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Agents: whose key is known, who waits to be approved.
 */
#include "base/own.h"
#include "p2v/server/database.h"
#include "p2v/server/database_private.h"
#include "p2v/server/machine_name.h"
#include "p2v/server/token_text.h"

#include <errno.h>
#include <string.h>

/* A stranger can make as many keys as it likes. */
#define WAITING_MAX 256

int agent_look_up(struct database *database, const uint8_t identity[WIRE_IDENTITY_SIZE],
                  enum admission *admission, struct error *err)
{
    AUTO_STATEMENT row = statement_start(database, STATEMENT_AGENT_FIND, err, "b", identity);
    int found = row ? statement_step(database, row, err) : -1;
    if (found < 0)
        return -1;
    *admission = found == 0                        ? ADMISSION_NEEDED
                 : sqlite3_column_int(row, 0) != 0 ? ADMISSION_REFUSED
                                                   : ADMISSION_GRANTED;
    return 0;
}

int agent_admit(struct database *database, const uint8_t identity[WIRE_IDENTITY_SIZE],
                const char *token_id, struct error *err)
{
    if (statement_run(database, STATEMENT_AGENT_ADMIT, err, "bti", identity, token_id,
                      database_now(database)) != 0)
        return -1;
    return statement_run(database, STATEMENT_WAITING_REMOVE, err, "b", identity);
}

int agent_is_known(struct database *database, const uint8_t identity[WIRE_IDENTITY_SIZE],
                   enum admission *admission, struct error *err)
{
    *admission = ADMISSION_REFUSED;
    DATABASE_LOCKED(database);
    if (agent_look_up(database, identity, admission, err) != 0)
        return -1;
    /* Strangers cause no writing. Who is known gets in even when there is no room to note it. */
    if (*admission == ADMISSION_GRANTED && transaction_begin(database, false, NULL) == 0)
        transaction_end(database,
                        statement_run(database, STATEMENT_AGENT_SEEN, NULL, "ib",
                                      database_now(database), identity),
                        NULL);
    return 0;
}

/* --- waiting --- */

static int add_waiting(struct database *database, const uint8_t identity[WIRE_IDENTITY_SIZE],
                       const char *address, const char *mark, struct error *err)
{
    char code[AGENT_CODE_SIZE];
    agent_code(identity, code);
    AUTO_STATEMENT row = statement_start(database, STATEMENT_WAITING_COUNT, err, "b", identity);
    if (!row || statement_step(database, row, err) < 0)
        return -1;
    if (sqlite3_column_int64(row, 0) >= WAITING_MAX) {
        error_set(err, 0, "%d agents wait for an approval already", WAITING_MAX);
        if (err)
            err->errnum = ENOSPC;
        return -1;
    }
    return statement_run(database, STATEMENT_WAITING_ADD, err, "bttit", identity, code, address,
                         database_now(database), mark);
}

int agent_wait(struct database *database, const uint8_t identity[WIRE_IDENTITY_SIZE],
               const char *address, const char *mark, struct error *err)
{
    DATABASE_LOCKED(database);
    if (transaction_begin(database, false, err) != 0)
        return -1;
    return transaction_end(database, add_waiting(database, identity, address, mark, err), err);
}

int agent_stop_waiting(struct database *database, const uint8_t identity[WIRE_IDENTITY_SIZE],
                       struct error *err)
{
    DATABASE_LOCKED(database);
    if (transaction_begin(database, false, err) != 0)
        return -1;
    int result = statement_run(database, STATEMENT_WAITING_REMOVE, err, "b", identity);
    return transaction_end(database, result, err);
}

/* --- approving --- */

static int refuse_code(struct error *err, int errnum, const char *code, const char *why)
{
    error_set(err, 0, "%s: %s", code, why);
    if (err)
        err->errnum = errnum;
    return -1;
}

/*
 * A code has 40 bits: somebody with a great many keys could make one with another's code. Two at
 * once are therefore an attack, and neither is let in.
 */
static int find_waiting(struct database *database, const char *code,
                        uint8_t identity[WIRE_IDENTITY_SIZE], struct error *err)
{
    AUTO_STATEMENT row = statement_start(database, STATEMENT_WAITING_BY_CODE, err, "t", code);
    int found = row ? statement_step(database, row, err) : -1;
    if (found < 0)
        return -1;
    if (found == 0)
        return refuse_code(err, ENOENT, code, "no agent waits with this code");
    if (sqlite3_column_bytes(row, 0) != WIRE_IDENTITY_SIZE)
        return refuse_code(err, EIO, code, "its key is broken in the database");
    memcpy(identity, sqlite3_column_blob(row, 0), WIRE_IDENTITY_SIZE);
    found = statement_step(database, row, err);
    if (found > 0)
        return refuse_code(
            err, EEXIST, code,
            "two agents wait with this code, one of them is false; none is approved");
    return found;
}

/* `machine` NULL: a new one. */
static int approve(struct database *database, const char *code, const char *machine,
                   struct error *err)
{
    uint8_t identity[WIRE_IDENTITY_SIZE];
    uint32_t number;
    if (find_waiting(database, code, identity, err) != 0)
        return -1;
    if (machine && (machine_find(database, machine, &number, err) != 0 ||
                    machine_rekey(database, number, identity, err) != 0))
        return -1;
    return agent_admit(database, identity, "", err);
}

int agent_approve_as(struct database *database, const char *code, const char *machine,
                     struct error *err)
{
    char parsed[AGENT_CODE_SIZE];
    if (!agent_code_parse(code, parsed))
        return refuse_code(err, ENOENT, code, "this is no code (as ABCD-EFGH)");
    DATABASE_LOCKED(database);
    if (transaction_begin(database, true, err) != 0)
        return -1;
    return transaction_end(database, approve(database, parsed, machine, err), err);
}

int agent_approve(struct database *database, const char *code, struct error *err)
{
    return agent_approve_as(database, code, NULL, err);
}

static int read_waiting_machine(struct database *database, const char *code, char name[64],
                                struct error *err)
{
    char mark[MACHINE_MARK_SIZE] = "";
    AUTO_STATEMENT row = statement_start(database, STATEMENT_WAITING_MARK, err, "t", code);
    int found = row ? statement_step(database, row, err) : -1;
    if (found < 0)
        return -1;
    if (found > 0)
        statement_text(row, 0, mark, sizeof(mark));
    return machine_find_begun(database, mark, name, err);
}

int agent_waiting_machine(struct database *database, const char *code, char name[64],
                          struct error *err)
{
    char parsed[AGENT_CODE_SIZE];
    name[0] = '\0';
    if (!agent_code_parse(code, parsed))
        return 0;
    DATABASE_LOCKED(database);
    if (snapshot_begin(database, err) != 0)
        return -1;
    return transaction_end(database, read_waiting_machine(database, parsed, name, err), err);
}
