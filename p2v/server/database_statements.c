/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The database's tables and all that is said to them, in one place.
 */
#include "p2v/server/database_private.h"

const char database_schema[] =
    "CREATE TABLE tokens ("
    " id TEXT PRIMARY KEY,"
    " hash BLOB NOT NULL UNIQUE," /* SHA-256 of the secret's 16 bytes */
    " created INTEGER NOT NULL,"
    " expires INTEGER NOT NULL,"
    " uses INTEGER NOT NULL,"
    " used INTEGER NOT NULL DEFAULT 0,"
    " is_revoked INTEGER NOT NULL DEFAULT 0,"
    " note TEXT NOT NULL,"
    " machine INTEGER REFERENCES machines(number)) STRICT;" /* whose new key it brings */

    "CREATE TABLE agents ("
    " identity BLOB PRIMARY KEY,"
    " token TEXT REFERENCES tokens(id) ON DELETE SET NULL," /* NULL: approved by a person */
    " admitted INTEGER NOT NULL,"
    " seen INTEGER NOT NULL,"
    " is_revoked INTEGER NOT NULL DEFAULT 0) STRICT;"

    "CREATE TABLE waiting ("
    " identity BLOB PRIMARY KEY,"
    " code TEXT NOT NULL,"
    " address TEXT NOT NULL,"
    " since INTEGER NOT NULL,"
    " mark TEXT NOT NULL DEFAULT '') STRICT;" /* which machine it says it is: machine_mark_make */

    /* A number is never given twice: the index of chunks remembers them. */
    "CREATE TABLE machines ("
    " number INTEGER PRIMARY KEY AUTOINCREMENT,"
    " identity BLOB NOT NULL UNIQUE,"
    " name TEXT NOT NULL UNIQUE COLLATE NOCASE,"
    " wanted TEXT NOT NULL COLLATE NOCASE,"
    " uuid TEXT NOT NULL DEFAULT '',"
    " serial TEXT NOT NULL DEFAULT '',"
    " state INTEGER NOT NULL,"
    " exit_code INTEGER NOT NULL DEFAULT 0,"
    " since INTEGER NOT NULL,"
    " updated INTEGER NOT NULL,"
    " bytes_per_second INTEGER NOT NULL DEFAULT 0,"
    " seconds_left INTEGER NOT NULL DEFAULT -1,"
    " text TEXT NOT NULL DEFAULT '',"
    " warnings INTEGER NOT NULL DEFAULT 0) STRICT;"

    "CREATE TABLE disks ("
    " machine INTEGER NOT NULL REFERENCES machines(number) ON DELETE CASCADE,"
    " position INTEGER NOT NULL,"
    " name TEXT NOT NULL,"
    " size_bytes INTEGER NOT NULL,"
    " total_bytes INTEGER NOT NULL,"
    " done_bytes INTEGER NOT NULL,"
    " safe_bytes INTEGER NOT NULL,"
    " sent_bytes INTEGER NOT NULL,"
    " wire_bytes INTEGER NOT NULL,"
    " unreadable_bytes INTEGER NOT NULL,"
    " pass INTEGER NOT NULL,"
    " PRIMARY KEY (machine, position)) STRICT, WITHOUT ROWID;"

    "PRAGMA user_version = 2;";

const char *const database_upgrades[DATABASE_VERSION] = {
    [1] = "ALTER TABLE waiting ADD COLUMN mark TEXT NOT NULL DEFAULT '';"
          "PRAGMA user_version = 2;",
};

/* Of the machine m: another one that has the same identifier, the surest kind first. */
#define TWIN_BY(column)                                                                            \
    "(SELECT o.name FROM machines o WHERE o.number != m.number AND m." column                      \
    " != '' AND o." column " = m." column " ORDER BY o.number LIMIT 1)"
#define TWIN_OF_M "coalesce(" TWIN_BY("uuid") ", " TWIN_BY("serial") ", " TWIN_BY("wanted") ")"

#define MACHINE_COLUMNS                                                                            \
    "SELECT m.number, m.name, m.identity, m.state, m.exit_code, m.since, m.updated,"               \
    " m.bytes_per_second, m.seconds_left, m.text, m.warnings, " TWIN_OF_M " FROM machines m "

const char *const statement_sql[STATEMENT_END] = {
    [STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
    [STATEMENT_BEGIN_READ] = "BEGIN",
    [STATEMENT_COMMIT] = "COMMIT",
    [STATEMENT_ROLLBACK] = "ROLLBACK",

    [STATEMENT_TOKEN_ADD] = "INSERT INTO tokens (id, hash, created, expires, uses, note, machine)"
                            " VALUES (?, ?, ?, ?, ?, ?, nullif(?, 0)) ON CONFLICT DO NOTHING",
    [STATEMENT_TOKEN_LIST] = "SELECT id, created, expires, uses, used, is_revoked, note,"
                             " (SELECT name FROM machines WHERE number = machine) FROM tokens"
                             " ORDER BY created, id",
    [STATEMENT_TOKEN_REVOKE] = "UPDATE tokens SET is_revoked = 1 WHERE id = ?",
    [STATEMENT_TOKEN_FIND] = "SELECT id, expires, uses, used, is_revoked, machine FROM tokens"
                             " WHERE hash = ?",
    [STATEMENT_TOKEN_USE] = "UPDATE tokens SET used = used + 1 WHERE id = ?",

    [STATEMENT_AGENT_FIND] = "SELECT is_revoked FROM agents WHERE identity = ?",
    [STATEMENT_AGENT_SEEN] = "UPDATE agents SET seen = ? WHERE identity = ?",
    [STATEMENT_AGENT_ADMIT] = "INSERT INTO agents (identity, token, admitted, seen)"
                              " VALUES (?1, nullif(?2, ''), ?3, ?3)"
                              " ON CONFLICT (identity) DO UPDATE SET is_revoked = 0",
    [STATEMENT_AGENT_REVOKE] = "UPDATE agents SET is_revoked = 1"
                               " WHERE token = ? AND is_revoked = 0",

    [STATEMENT_AGENT_REPLACED] = "UPDATE agents SET is_revoked = 1 WHERE identity ="
                                 " (SELECT identity FROM machines WHERE number = ?)",

    [STATEMENT_WAITING_COUNT] = "SELECT count(*) FROM waiting WHERE identity != ?",
    [STATEMENT_WAITING_ADD] = "INSERT INTO waiting (identity, code, address, since, mark)"
                              " VALUES (?, ?, ?, ?, ?)"
                              " ON CONFLICT (identity) DO UPDATE SET address = excluded.address,"
                              " mark = excluded.mark",
    [STATEMENT_WAITING_REMOVE] = "DELETE FROM waiting WHERE identity = ?",
    [STATEMENT_WAITING_CLEAR] = "DELETE FROM waiting",
    [STATEMENT_WAITING_BY_CODE] = "SELECT identity FROM waiting WHERE code = ?",
    [STATEMENT_WAITING_MARK] = "SELECT mark FROM waiting WHERE code = ?",
    [STATEMENT_WAITING_LIST] =
        "SELECT code, address, since, mark FROM waiting ORDER BY since, code",

    [STATEMENT_MACHINE_BY_IDENTITY] = "SELECT number, name, wanted FROM machines"
                                      " WHERE identity = ?",
    [STATEMENT_MACHINE_HAS_NAME] = "SELECT 1 FROM machines WHERE name = ?",
    [STATEMENT_MACHINE_ADD] = "INSERT INTO machines (identity, name, wanted, state, since, updated)"
                              " VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
    [STATEMENT_MACHINE_NUMBER] = "SELECT number FROM machines WHERE name = ?",
    [STATEMENT_MACHINE_REKEY] = "UPDATE machines SET identity = ?2 WHERE number = ?1",
    [STATEMENT_MACHINE_WANTED] = "UPDATE machines SET wanted = ? WHERE number = ?",
    [STATEMENT_MACHINE_NAME] = "SELECT name FROM machines WHERE number = ?",
    [STATEMENT_MACHINE_STATE] = "SELECT state FROM machines WHERE number = ?",
    [STATEMENT_MACHINE_SET] = "UPDATE machines SET"
                              " since = CASE WHEN state = ?2 THEN since ELSE ?8 END,"
                              " state = ?2, exit_code = ?3, bytes_per_second = ?4,"
                              " seconds_left = ?5, text = ?6, warnings = ?7, updated = ?8"
                              " WHERE number = ?1",
    [STATEMENT_MACHINE_BY_NAME] = MACHINE_COLUMNS "WHERE m.name = ?",
    [STATEMENT_MACHINE_LIST] = MACHINE_COLUMNS "ORDER BY m.name",
    [STATEMENT_MACHINE_IDS] = "UPDATE machines SET uuid = ?2, serial = ?3 WHERE number = ?1",
    [STATEMENT_MACHINE_TWIN] = "SELECT " TWIN_OF_M " FROM machines m WHERE m.number = ?",
    [STATEMENT_MACHINE_BEGUN] = "SELECT name, uuid, serial FROM machines"
                                " WHERE state IN (?, ?, ?) AND (uuid != '' OR serial != '')"
                                " ORDER BY updated DESC, number DESC",
    [STATEMENT_MACHINE_INTERRUPT] = "UPDATE machines SET state = ?1, since = ?2, updated = ?2,"
                                    " bytes_per_second = 0, seconds_left = -1"
                                    " WHERE state IN (?3, ?4)",
    [STATEMENT_MACHINE_WAIT_AGAIN] = "UPDATE machines SET state = ?1, since = ?2, updated = ?2"
                                     " WHERE state IN (?3, ?4, ?5)",

    [STATEMENT_DISK_SET] = "INSERT OR REPLACE INTO disks (machine, position, name, size_bytes,"
                           " total_bytes, done_bytes, safe_bytes, sent_bytes, wire_bytes,"
                           " unreadable_bytes, pass) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [STATEMENT_DISK_TRIM] = "DELETE FROM disks WHERE machine = ? AND position >= ?",
    [STATEMENT_DISK_LIST] = "SELECT name, size_bytes, total_bytes, done_bytes, safe_bytes,"
                            " sent_bytes, wire_bytes, unreadable_bytes, pass FROM disks"
                            " WHERE machine = ? ORDER BY position",
};
