/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Reading machines, their disks and who waits, for the server and for `rehost status`.
 */
#include "base/own.h"
#include "base/text.h"
#include "p2v/server/database.h"
#include "p2v/server/database_private.h"
#include "p2v/server/machine_name.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t column_size(sqlite3_stmt *row, int column)
{
    int64_t value = sqlite3_column_int64(row, column);
    return value < 0 ? 0 : (uint64_t)value;
}

static void decode_machine(sqlite3_stmt *from, struct machine_row *row)
{
    *row = (struct machine_row){
        .number = (uint32_t)sqlite3_column_int64(from, 0),
        .exit_code = sqlite3_column_int(from, 4),
        .since = sqlite3_column_int64(from, 5),
        .updated = sqlite3_column_int64(from, 6),
        .bytes_per_second = column_size(from, 7),
        .seconds_left = sqlite3_column_int64(from, 8),
        .warnings = (unsigned)sqlite3_column_int64(from, 10),
    };
    int state = sqlite3_column_int(from, 3);
    row->state =
        state >= 0 && state < MACHINE_STATE_END ? (enum machine_state)state : MACHINE_FAILED;
    statement_text(from, 1, row->name, sizeof(row->name));
    statement_text(from, 9, row->text, sizeof(row->text));
    statement_text(from, 11, row->twin, sizeof(row->twin));
    if (sqlite3_column_bytes(from, 2) == WIRE_IDENTITY_SIZE)
        agent_code(sqlite3_column_blob(from, 2), row->code);
}

static void decode_disk(sqlite3_stmt *from, struct machine_disk_row *disk)
{
    *disk = (struct machine_disk_row){
        .size_bytes = column_size(from, 1),
        .total_bytes = column_size(from, 2),
        .done_bytes = column_size(from, 3),
        .safe_bytes = column_size(from, 4),
        .sent_bytes = column_size(from, 5),
        .wire_bytes = column_size(from, 6),
        .unreadable_bytes = column_size(from, 7),
        .pass = (uint32_t)sqlite3_column_int64(from, 8),
    };
    statement_text(from, 0, disk->name, sizeof(disk->name));
}

int machine_get(struct database *database, const char *name, struct machine_row *row,
                struct error *err)
{
    DATABASE_LOCKED(database);
    AUTO_STATEMENT found = statement_start(database, STATEMENT_MACHINE_BY_NAME, err, "t", name);
    int result = found ? statement_step(database, found, err) : -1;
    if (result > 0)
        decode_machine(found, row);
    if (result != 0)
        return result < 0 ? -1 : 0;
    error_set(err, 0, "%s: there is no such machine", name);
    if (err)
        err->errnum = ENOENT;
    return -1;
}

static int read_disks(struct database *database, uint32_t number,
                      struct machine_disk_row disks[WIRE_MAX_DISKS], size_t *count,
                      struct error *err)
{
    AUTO_STATEMENT row = statement_start(database, STATEMENT_DISK_LIST, err, "i", (int64_t)number);
    int found = row ? 1 : -1;
    *count = 0;
    while (found > 0 && *count < WIRE_MAX_DISKS) {
        found = statement_step(database, row, err);
        if (found > 0)
            decode_disk(row, &disks[(*count)++]);
    }
    return found < 0 ? -1 : 0;
}

int machine_get_disks(struct database *database, uint32_t number,
                      struct machine_disk_row disks[WIRE_MAX_DISKS], size_t *count,
                      struct error *err)
{
    DATABASE_LOCKED(database);
    return read_disks(database, number, disks, count, err);
}

/* --- everything --- */

static int visit_machine(struct database *database, sqlite3_stmt *from,
                         const struct machine_visitor *visitor, struct machine_disk_row *disks,
                         struct error *err)
{
    struct machine_row row;
    size_t count;
    decode_machine(from, &row);
    visitor->machine(visitor->context, &row);
    if (!visitor->disk)
        return 0;
    if (read_disks(database, row.number, disks, &count, err) != 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        visitor->disk(visitor->context, &disks[i]);
    return 0;
}

static int visit_machines(struct database *database, const struct machine_visitor *visitor,
                          struct error *err)
{
    AUTO_FREE struct machine_disk_row *disks = memory_new(WIRE_MAX_DISKS, sizeof(*disks));
    AUTO_STATEMENT row = statement_start(database, STATEMENT_MACHINE_LIST, err, "");
    int found = -1;
    while (row && (found = statement_step(database, row, err)) > 0) {
        if (visit_machine(database, row, visitor, disks, err) != 0)
            return -1;
    }
    return found;
}

static int visit_waiting(struct database *database, const struct machine_visitor *visitor,
                         struct error *err)
{
    AUTO_STATEMENT row = statement_start(database, STATEMENT_WAITING_LIST, err, "");
    int found = -1;
    while (row && (found = statement_step(database, row, err)) > 0) {
        const char *code = (const char *)sqlite3_column_text(row, 0);
        const char *address = (const char *)sqlite3_column_text(row, 1);
        char mark[MACHINE_MARK_SIZE], machine[MACHINE_NAME_SIZE];
        statement_text(row, 3, mark, sizeof(mark));
        if (machine_find_begun(database, mark, machine, err) != 0)
            return -1;
        visitor->waiting(visitor->context, code ? code : "", address ? address : "",
                         sqlite3_column_int64(row, 2), machine);
    }
    return found;
}

int machine_visit(struct database *database, const struct machine_visitor *visitor,
                  struct error *err)
{
    DATABASE_LOCKED(database);
    if (snapshot_begin(database, err) != 0)
        return -1;
    int result = visitor->machine ? visit_machines(database, visitor, err) : 0;
    if (result == 0 && visitor->waiting)
        result = visit_waiting(database, visitor, err);
    return transaction_end(database, result, err);
}
