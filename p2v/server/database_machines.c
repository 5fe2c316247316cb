/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Machines: whose name is whose, and how far each is.
 */
#include "base/own.h"
#include "p2v/server/database.h"
#include "p2v/server/database_private.h"
#include "p2v/server/machine_name.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* So many machines of one name are a mistake or an attack. */
#define NAME_TRIES 10000

static const char *const state_names[MACHINE_STATE_END] = {
    [MACHINE_RECEIVING] = "receiving",     [MACHINE_PAUSED] = "paused",
    [MACHINE_INTERRUPTED] = "interrupted", [MACHINE_RECEIVED] = "received",
    [MACHINE_FIXING] = "fixing",           [MACHINE_DESCRIBING] = "describing",
    [MACHINE_TESTING] = "testing",         [MACHINE_DONE] = "done",
    [MACHINE_WARNED] = "warned",           [MACHINE_FAILED] = "failed",
};

const char *machine_state_name(enum machine_state state)
{
    return (unsigned)state < MACHINE_STATE_END ? state_names[state] : "?";
}

static int not_found(struct error *err, const char *format, const char *name)
{
    error_set(err, 0, "%s: %s", name, format);
    if (err)
        err->errnum = ENOENT;
    return -1;
}

int machine_find(struct database *database, const char *name, uint32_t *number, struct error *err)
{
    AUTO_STATEMENT row = statement_start(database, STATEMENT_MACHINE_NUMBER, err, "t", name);
    int found = row ? statement_step(database, row, err) : -1;
    if (found > 0)
        *number = (uint32_t)sqlite3_column_int64(row, 0);
    if (found == 0)
        return not_found(err, "there is no such machine", name);
    return found < 0 ? -1 : 0;
}

int machine_rekey(struct database *database, uint32_t number,
                  const uint8_t identity[WIRE_IDENTITY_SIZE], struct error *err)
{
    if (statement_run(database, STATEMENT_AGENT_REPLACED, err, "i", (int64_t)number) != 0)
        return -1;
    return statement_run(database, STATEMENT_MACHINE_REKEY, err, "ib", (int64_t)number, identity);
}

/* --- claiming a name --- */

struct claim {
    const uint8_t *identity;
    char wanted[MACHINE_NAME_SIZE]; /* made valid */
    const char *host;               /* the same for telling twins; "" when it tells nothing */
    bool (*is_taken)(void *context, const char *name);
    void *context;
    uint32_t number;
    char *name; /* of MACHINE_NAME_SIZE */
    bool is_new;
};

/* 1: this key has a machine, its name stays whatever it wants now. */
static int find_claimed(struct database *database, struct claim *claim, struct error *err)
{
    AUTO_STATEMENT row =
        statement_start(database, STATEMENT_MACHINE_BY_IDENTITY, err, "b", claim->identity);
    int found = row ? statement_step(database, row, err) : -1;
    if (found != 1)
        return found;
    char known[MACHINE_NAME_SIZE];
    claim->number = (uint32_t)sqlite3_column_int64(row, 0);
    statement_text(row, 1, claim->name, MACHINE_NAME_SIZE);
    statement_text(row, 2, known, sizeof(known));
    if (strcmp(known, claim->host) != 0 &&
        statement_run(database, STATEMENT_MACHINE_WANTED, err, "ti", claim->host,
                      (int64_t)claim->number) != 0)
        return -1;
    return 1;
}

static int is_name_free(struct database *database, const struct claim *claim, struct error *err)
{
    AUTO_STATEMENT row =
        statement_start(database, STATEMENT_MACHINE_HAS_NAME, err, "t", claim->name);
    int found = row ? statement_step(database, row, err) : -1;
    if (found != 0)
        return found < 0 ? -1 : 0;
    return !claim->is_taken || !claim->is_taken(claim->context, claim->name);
}

static int pick_name(struct database *database, struct claim *claim, struct error *err)
{
    for (unsigned number = 1; number <= NAME_TRIES; number++) {
        machine_name_number(claim->wanted, number, claim->name);
        int is_free = is_name_free(database, claim, err);
        if (is_free != 0)
            return is_free < 0 ? -1 : 0;
    }
    return error_set(err, EEXIST, "a name for one more machine %s", claim->wanted);
}

static int add_claim(struct database *database, struct claim *claim, struct error *err)
{
    if (pick_name(database, claim, err) != 0)
        return -1;
    if (statement_run(database, STATEMENT_MACHINE_ADD, err, "bttii", claim->identity, claim->name,
                      claim->host, (int64_t)MACHINE_INTERRUPTED, database_now(database)) != 0)
        return -1;
    int64_t number = sqlite3_last_insert_rowid(database->connection);
    if (number < 1 || number > UINT32_MAX)
        return error_set(err, ERANGE, "number of machine %s", claim->name);
    claim->number = (uint32_t)number;
    claim->is_new = true;
    return 0;
}

int machine_claim(struct database *database, const uint8_t identity[WIRE_IDENTITY_SIZE],
                  const char *wanted, bool (*is_taken)(void *context, const char *name),
                  void *context, uint32_t *number, char name[64], bool *is_new, struct error *err)
{
    struct claim claim = {
        .identity = identity, .is_taken = is_taken, .context = context, .name = name};
    machine_name_make(wanted, claim.wanted);
    claim.host = machine_name_tells(claim.wanted) ? claim.wanted : "";
    DATABASE_LOCKED(database);
    if (transaction_begin(database, true, err) != 0)
        return -1;
    int found = find_claimed(database, &claim, err);
    int result = found < 0 ? -1 : 0;
    if (found == 0)
        result = add_claim(database, &claim, err);
    if (transaction_end(database, result, err) != 0)
        return -1;
    *number = claim.number;
    *is_new = claim.is_new;
    return 0;
}

int machine_name_of(struct database *database, uint32_t number, char name[64], struct error *err)
{
    DATABASE_LOCKED(database);
    AUTO_STATEMENT row =
        statement_start(database, STATEMENT_MACHINE_NAME, err, "i", (int64_t)number);
    int found = row ? statement_step(database, row, err) : -1;
    if (found < 0)
        return -1;
    char text[16];
    snprintf(text, sizeof(text), "%u", number);
    if (found == 0)
        return not_found(err, "there is no machine of this number", text);
    statement_text(row, 0, name, MACHINE_NAME_SIZE);
    return 0;
}

/* --- twins --- */

static int read_twin(struct database *database, uint32_t number, char twin[64], struct error *err)
{
    AUTO_STATEMENT row =
        statement_start(database, STATEMENT_MACHINE_TWIN, err, "i", (int64_t)number);
    int found = row ? statement_step(database, row, err) : -1;
    if (found > 0)
        statement_text(row, 0, twin, MACHINE_NAME_SIZE);
    return found < 0 ? -1 : 0;
}

int machine_set_ids(struct database *database, uint32_t number, const char *uuid,
                    const char *serial, char twin[64], struct error *err)
{
    char known_uuid[MACHINE_ID_SIZE], known_serial[MACHINE_ID_SIZE];
    machine_uuid_make(uuid, known_uuid);
    machine_serial_make(serial, known_serial);
    twin[0] = '\0';
    DATABASE_LOCKED(database);
    if (transaction_begin(database, false, err) != 0)
        return -1;
    int result = statement_run(database, STATEMENT_MACHINE_IDS, err, "itt", (int64_t)number,
                               known_uuid, known_serial);
    if (result == 0)
        result = read_twin(database, number, twin, err);
    return transaction_end(database, result, err);
}

int machine_find_begun(struct database *database, const char *mark, char name[64],
                       struct error *err)
{
    int found = -1;
    name[0] = '\0';
    if (!mark[0])
        return 0;
    AUTO_STATEMENT row =
        statement_start(database, STATEMENT_MACHINE_BEGUN, err, "iii", (int64_t)MACHINE_INTERRUPTED,
                        (int64_t)MACHINE_RECEIVING, (int64_t)MACHINE_PAUSED);
    while (row && (found = statement_step(database, row, err)) > 0) {
        char uuid[MACHINE_ID_SIZE], serial[MACHINE_ID_SIZE], other[MACHINE_MARK_SIZE];
        statement_text(row, 1, uuid, sizeof(uuid));
        statement_text(row, 2, serial, sizeof(serial));
        machine_mark_make(uuid, serial, other);
        if (strcmp(other, mark) != 0)
            continue;
        statement_text(row, 0, name, MACHINE_NAME_SIZE);
        return 0;
    }
    return found;
}

/* --- how far it is --- */

/* SQLite's integers are signed; nothing real is that large. */
static int64_t column_value(uint64_t value)
{
    return value > INT64_MAX ? INT64_MAX : (int64_t)value;
}

static bool is_state_other(struct database *database, const struct machine_row *row)
{
    AUTO_STATEMENT stored =
        statement_start(database, STATEMENT_MACHINE_STATE, NULL, "i", (int64_t)row->number);
    return !stored || statement_step(database, stored, NULL) != 1 ||
           sqlite3_column_int(stored, 0) != (int)row->state;
}

static int set_row(struct database *database, const struct machine_row *row, struct error *err)
{
    if (statement_run(database, STATEMENT_MACHINE_SET, err, "iiiiitii", (int64_t)row->number,
                      (int64_t)row->state, (int64_t)row->exit_code,
                      column_value(row->bytes_per_second), row->seconds_left, row->text,
                      (int64_t)row->warnings, database_now(database)) != 0)
        return -1;
    if (sqlite3_changes(database->connection) == 1)
        return 0;
    return not_found(err, "there is no such machine", row->name);
}

/* A new state is to survive a loss of power; a second's figures need not. */
int machine_set(struct database *database, const struct machine_row *row, struct error *err)
{
    DATABASE_LOCKED(database);
    if (transaction_begin(database, is_state_other(database, row), err) != 0)
        return -1;
    return transaction_end(database, set_row(database, row, err), err);
}

static int set_disks(struct database *database, uint32_t number,
                     const struct machine_disk_row *disks, size_t count, struct error *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct machine_disk_row *disk = &disks[i];
        if (statement_run(database, STATEMENT_DISK_SET, err, "iitiiiiiiii", (int64_t)number,
                          (int64_t)i, disk->name, column_value(disk->size_bytes),
                          column_value(disk->total_bytes), column_value(disk->done_bytes),
                          column_value(disk->safe_bytes), column_value(disk->sent_bytes),
                          column_value(disk->wire_bytes), column_value(disk->unreadable_bytes),
                          (int64_t)disk->pass) != 0)
            return -1;
    }
    return statement_run(database, STATEMENT_DISK_TRIM, err, "ii", (int64_t)number, (int64_t)count);
}

int machine_set_disks(struct database *database, uint32_t number,
                      const struct machine_disk_row *disks, size_t count, struct error *err)
{
    if (count > WIRE_MAX_DISKS)
        return error_set(err, EINVAL, "%zu disks of one machine", count);
    DATABASE_LOCKED(database);
    if (transaction_begin(database, false, err) != 0)
        return -1;
    return transaction_end(database, set_disks(database, number, disks, count, err), err);
}

int machine_interrupt_all(struct database *database, struct error *err)
{
    DATABASE_LOCKED(database);
    int64_t now = database_now(database);
    if (transaction_begin(database, true, err) != 0)
        return -1;
    int result = statement_run(database, STATEMENT_MACHINE_INTERRUPT, err, "iiii",
                               (int64_t)MACHINE_INTERRUPTED, now, (int64_t)MACHINE_RECEIVING,
                               (int64_t)MACHINE_PAUSED);
    if (result == 0)
        result = statement_run(database, STATEMENT_MACHINE_WAIT_AGAIN, err, "iiiii",
                               (int64_t)MACHINE_RECEIVED, now, (int64_t)MACHINE_FIXING,
                               (int64_t)MACHINE_DESCRIBING, (int64_t)MACHINE_TESTING);
    return transaction_end(database, result, err);
}
