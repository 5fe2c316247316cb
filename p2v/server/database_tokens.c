/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Tokens: made, listed, revoked, used up.
 *
 * Of a token the table has the SHA-256 of its 16 random bytes. A token is looked up by that hash,
 * and the time that takes tells nothing: what a comparison could leak is the beginning of a hash,
 * and nobody can make a secret from it, nor choose secrets whose hashes begin as they like without
 * trying about as many as there are secrets.
 */
#include "base/own.h"
#include "p2v/server/database.h"
#include "p2v/server/database_private.h"
#include "p2v/server/token_text.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define TOKEN_DEFAULT_LIFETIME 86400
#define TOKEN_ID_BYTES 3 /* 5 characters, of which the last has only 4 bits */
#define TOKEN_ID_TRIES 64

static int random_bytes(void *bytes, size_t length, struct error *err)
{
    if (getrandom(bytes, length, 0) != (ssize_t)length)
        return error_set(err, errno, "read random numbers");
    return 0;
}

static void lower(char *text)
{
    for (; *text; text++)
        *text = (char)tolower((unsigned char)*text);
}

/* --- making --- */

static int insert_token(struct database *database, const struct token_options *options,
                        const uint8_t hash[SHA256_DIGEST_LENGTH], char id[16], struct error *err)
{
    uint32_t machine = 0; /* none */
    if (options->machine && machine_find(database, options->machine, &machine, err) != 0)
        return -1;
    int64_t now = database_now(database);
    uint64_t lifetime =
        options->lifetime_seconds ? options->lifetime_seconds : TOKEN_DEFAULT_LIFETIME;
    for (int i = 0; i < TOKEN_ID_TRIES; i++) {
        uint8_t bytes[TOKEN_ID_BYTES];
        if (random_bytes(bytes, sizeof(bytes), err) != 0)
            return -1;
        base32_encode(bytes, sizeof(bytes), id);
        lower(id);
        if (statement_run(database, STATEMENT_TOKEN_ADD, err, "tbiiiti", id, hash, now,
                          now + (int64_t)lifetime, (int64_t)(options->uses ? options->uses : 1),
                          options->note ? options->note : "", (int64_t)machine) != 0)
            return -1;
        if (sqlite3_changes(database->connection) == 1)
            return 0;
    }
    return error_set(err, 0, "%s: no free id for a token", database->path);
}

static int check_options(const struct token_options *options, struct error *err)
{
    if (options->lifetime_seconds > TOKEN_MAX_LIFETIME)
        return error_set(err, EINVAL, "a token's lifetime");
    if (options->uses > TOKEN_MAX_USES)
        return error_set(err, EINVAL, "a token of %u uses", options->uses);
    if (options->machine && options->uses > 1)
        return error_set(err, EINVAL, "a machine's token of %u uses", options->uses);
    if (options->note && strlen(options->note) > TOKEN_MAX_NOTE)
        return error_set(err, EINVAL, "a token's note of %zu characters", strlen(options->note));
    return 0;
}

int token_create(struct database *database, const struct token_options *options,
                 char token[WIRE_TOKEN_LENGTH + 1], char id[16], struct error *err)
{
    static const struct token_options defaults = {0};
    uint8_t secret[TOKEN_SECRET_SIZE], hash[SHA256_DIGEST_LENGTH];
    if (!options)
        options = &defaults;
    if (check_options(options, err) != 0 || random_bytes(secret, sizeof(secret), err) != 0)
        return -1;
    SHA256(secret, sizeof(secret), hash);
    DATABASE_LOCKED(database);
    int result = transaction_begin(database, true, err);
    if (result == 0)
        result = transaction_end(database, insert_token(database, options, hash, id, err), err);
    if (result == 0)
        token_text_encode(secret, token);
    OPENSSL_cleanse(secret, sizeof(secret));
    return result;
}

/* --- listing, revoking --- */

int token_list(struct database *database, void (*visit)(void *context, const struct token_row *row),
               void *context, struct error *err)
{
    DATABASE_LOCKED(database);
    AUTO_STATEMENT list = statement_start(database, STATEMENT_TOKEN_LIST, err, "");
    int found = -1;
    while (list && (found = statement_step(database, list, err)) > 0) {
        struct token_row row = {
            .created = sqlite3_column_int64(list, 1),
            .expires = sqlite3_column_int64(list, 2),
            .uses = (unsigned)sqlite3_column_int64(list, 3),
            .used = (unsigned)sqlite3_column_int64(list, 4),
            .is_revoked = sqlite3_column_int(list, 5) != 0,
            .note = (const char *)sqlite3_column_text(list, 6),
            .machine = (const char *)sqlite3_column_text(list, 7),
        };
        statement_text(list, 0, row.id, sizeof(row.id));
        row.note = row.note ? row.note : "";
        row.machine = row.machine ? row.machine : "";
        visit(context, &row);
    }
    return found;
}

/* `agents` NULL: they stay. */
static int revoke(struct database *database, const char *id, unsigned *agents, struct error *err)
{
    if (statement_run(database, STATEMENT_TOKEN_REVOKE, err, "t", id) != 0)
        return -1;
    if (sqlite3_changes(database->connection) != 1) {
        error_set(err, 0, "there is no token %s", id);
        if (err)
            err->errnum = ENOENT;
        return -1;
    }
    if (!agents)
        return 0;
    if (statement_run(database, STATEMENT_AGENT_REVOKE, err, "t", id) != 0)
        return -1;
    *agents = (unsigned)sqlite3_changes(database->connection);
    return 0;
}

static int revoke_durably(struct database *database, const char *id, unsigned *agents,
                          struct error *err)
{
    char lowered[16];
    snprintf(lowered, sizeof(lowered), "%s", id);
    lower(lowered);
    DATABASE_LOCKED(database);
    if (transaction_begin(database, true, err) != 0)
        return -1;
    const char *stored = strlen(id) < sizeof(lowered) ? lowered : id;
    return transaction_end(database, revoke(database, stored, agents, err), err);
}

int token_revoke(struct database *database, const char *id, struct error *err)
{
    return revoke_durably(database, id, NULL, err);
}

int token_revoke_agents(struct database *database, const char *id, unsigned *agents,
                        struct error *err)
{
    return revoke_durably(database, id, agents, err);
}

/* --- using up --- */

struct found_token {
    char id[16];
    const char *fault; /* NULL: good */
    uint32_t machine;  /* 0: none */
};

/* When it was made does not count: a clock set back since must not lock everybody out. */
static const char *fault_of(sqlite3_stmt *row, int64_t now)
{
    if (sqlite3_column_int(row, 4) != 0)
        return "revoked";
    if (sqlite3_column_int64(row, 3) >= sqlite3_column_int64(row, 2))
        return "used up";
    return now >= sqlite3_column_int64(row, 1) ? "expired" : NULL;
}

/* What cannot be a token is looked up too (and not found), so that it takes no less time. */
static int find_token(struct database *database, const char *token, struct found_token *found,
                      struct error *err)
{
    uint8_t secret[TOKEN_SECRET_SIZE] = {0}, hash[SHA256_DIGEST_LENGTH];
    bool is_token = token_text_decode(token, secret);
    SHA256(secret, sizeof(secret), hash);
    OPENSSL_cleanse(secret, sizeof(secret));
    AUTO_STATEMENT row = statement_start(database, STATEMENT_TOKEN_FIND, err, "b", hash);
    int result = row ? statement_step(database, row, err) : -1;
    if (result < 0)
        return -1;
    *found = (struct found_token){.fault = is_token ? "unknown" : "malformed"};
    if (result == 1 && is_token) {
        statement_text(row, 0, found->id, sizeof(found->id));
        found->fault = fault_of(row, database_now(database));
        found->machine = (uint32_t)sqlite3_column_int64(row, 5);
    }
    return 0;
}

static int use_token(struct database *database, const uint8_t identity[WIRE_IDENTITY_SIZE],
                     const char *token, enum admission *admission, char reason[32],
                     struct error *err)
{
    struct found_token found;
    if (agent_look_up(database, identity, admission, err) != 0 ||
        find_token(database, token, &found, err) != 0)
        return -1;
    if (*admission == ADMISSION_GRANTED)
        return 0;
    if (*admission == ADMISSION_REFUSED || found.fault) {
        snprintf(reason, 32, "%s",
                 *admission == ADMISSION_REFUSED ? "the agent's key is revoked" : found.fault);
        *admission = ADMISSION_REFUSED;
        return 0;
    }
    *admission = ADMISSION_GRANTED;
    if (statement_run(database, STATEMENT_TOKEN_USE, err, "t", found.id) != 0)
        return -1;
    if (found.machine && machine_rekey(database, found.machine, identity, err) != 0)
        return -1;
    return agent_admit(database, identity, found.id, err);
}

int agent_use_token(struct database *database, const uint8_t identity[WIRE_IDENTITY_SIZE],
                    const char *token, enum admission *admission, char reason[32],
                    struct error *err)
{
    *admission = ADMISSION_REFUSED;
    reason[0] = '\0';
    DATABASE_LOCKED(database);
    if (transaction_begin(database, true, err) != 0)
        return -1;
    int result = use_token(database, identity, token, admission, reason, err);
    if (transaction_end(database, result, err) == 0)
        return 0;
    *admission = ADMISSION_REFUSED;
    return -1;
}
