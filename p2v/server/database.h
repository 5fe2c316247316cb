/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The server's memory beside the machines themselves: tokens, agents' keys, who waits for an
 * approval, and how far each machine is. SQLite in WAL mode, so that `rehost token`, `status` and
 * `approve` work on the same file while the server runs. Secrets are not in it: of a token only the
 * SHA-256. Thread-safe (one connection, one lock). All times are the server's, seconds since 1970.
 */
#ifndef P2V_SERVER_DATABASE_H
#define P2V_SERVER_DATABASE_H

#include "base/error.h"
#include "base/own.h"
#include "p2v/server/pool.h"
#include "p2v/wire/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct database;

/*
 * With POOL_SERVE makes the tables and forgets who was waiting for an approval (their connections
 * were the last server's). A newer schema than ours is refused by its number.
 */
struct database *database_open(const struct pool *pool, enum pool_access access, struct error *err);
void database_close(struct database *database);
OWN_DEFINE_PTR(database, database_close)

/* For tests: where the time comes from; NULL: the system's clock. */
void database_set_clock(struct database *database, int64_t (*now)(void *context), void *context);

/* --- tokens --- */

#define TOKEN_MAX_LIFETIME ((uint64_t)3650 * 86400)
#define TOKEN_MAX_USES 1000000u
#define TOKEN_MAX_NOTE 255

struct token_options {
    uint64_t lifetime_seconds; /* 0: 24 h */
    unsigned uses;             /* 0: 1 */
    const char *note;          /* NULL: none */
    /*
     * NULL: for a new machine. Else the name of one that is there: the key that uses the token
     * takes that machine over (an agent that was booted anew has lost its key), and the key that
     * it had is refused. Once only.
     */
    const char *machine;
};

/* 128 bits from the kernel; 26 base32 characters. The id is short and public ("t3kq7"). */
int token_create(struct database *database, const struct token_options *options,
                 char token[WIRE_TOKEN_LENGTH + 1], char id[16], struct error *err);

struct token_row {
    char id[16];
    int64_t created, expires;
    unsigned uses, used;
    bool is_revoked;
    const char *note;    /* "" when none; borrowed during the visit */
    const char *machine; /* that it is for, "" for a new one; borrowed */
};
int token_list(struct database *database, void (*visit)(void *context, const struct token_row *row),
               void *context, struct error *err);
int token_revoke(struct database *database, const char *id, struct error *err); /* ENOENT */

/*
 * The token and every key that it has let in: their next connection is refused. Gives how many keys
 * that were.
 */
int token_revoke_agents(struct database *database, const char *id, unsigned *agents,
                        struct error *err);

/* --- agents --- */

enum admission { ADMISSION_GRANTED, ADMISSION_NEEDED, ADMISSION_REFUSED };

/*
 * Is this key known (admitted before, not revoked)? Updates when it was last seen, if that can be
 * written; a stranger causes no writing.
 */
int agent_is_known(struct database *database, const uint8_t identity[WIRE_IDENTITY_SIZE],
                   enum admission *admission, struct error *err);

/*
 * Uses a token up for this key: GRANTED, or REFUSED whatever the reason (unknown, used, expired,
 * revoked; `reason` gets it for the server's own log). In one transaction; a key that is known
 * already uses nothing.
 */
int agent_use_token(struct database *database, const uint8_t identity[WIRE_IDENTITY_SIZE],
                    const char *token, enum admission *admission, char reason[32],
                    struct error *err);

/* "ABCD-EFGH" from the first 40 bits of the identity. */
#define AGENT_CODE_SIZE 10
void agent_code(const uint8_t identity[WIRE_IDENTITY_SIZE], char code[AGENT_CODE_SIZE]);

/*
 * Lists the key as waiting (at most 256 at once; ENOSPC beyond). `mark` is the agent's word for
 * which machine it is on (machine_mark_find), or "".
 */
int agent_wait(struct database *database, const uint8_t identity[WIRE_IDENTITY_SIZE],
               const char *address, const char *mark, struct error *err);
int agent_stop_waiting(struct database *database, const uint8_t identity[WIRE_IDENTITY_SIZE],
                       struct error *err);
/*
 * By `rehost approve`. ENOENT: nobody waits with that code (case and '-' do not matter); EEXIST:
 * two keys wait with it, which does not happen by chance.
 */
int agent_approve(struct database *database, const char *code, struct error *err);

/*
 * The machine of which a part was received and which the one that waits with this code says it is:
 * it may have lost its key. A suggestion to a person, nothing more: anybody can say so. "": none.
 */
int agent_waiting_machine(struct database *database, const char *code, char name[64],
                          struct error *err);

/* The same, and it takes over that machine, as with a token made for it. ENOENT. */
int agent_approve_as(struct database *database, const char *code, const char *machine,
                     struct error *err);

/* --- machines --- */

/*
 * The number and the name of this key's machine; makes one at the first time: `wanted` (made valid
 * by machine_name_make, whatever it is), or `wanted-2` and so on when another key has it or
 * `is_taken` says so (a folder that is there without being in the database). *is_new tells.
 */
int machine_claim(struct database *database, const uint8_t identity[WIRE_IDENTITY_SIZE],
                  const char *wanted, bool (*is_taken)(void *context, const char *name),
                  void *context, uint32_t *number, char name[64], bool *is_new, struct error *err);
int machine_name_of(struct database *database, uint32_t number, char name[64], struct error *err);

enum machine_state {
    MACHINE_RECEIVING,
    MACHINE_PAUSED,      /* no space */
    MACHINE_INTERRUPTED, /* the agent is gone, the transfer is not complete */
    MACHINE_RECEIVED,    /* waits for its job */
    MACHINE_FIXING,
    MACHINE_DESCRIBING,
    MACHINE_TESTING,
    MACHINE_DONE,   /* exit_code 0 */
    MACHINE_WARNED, /* done, exit_code 3 */
    MACHINE_FAILED, /* anything else */
    MACHINE_STATE_END,
};
const char *machine_state_name(enum machine_state state); /* "receiving", … */

struct machine_row {
    uint32_t number;
    char name[64];
    char code[AGENT_CODE_SIZE];
    enum machine_state state;
    int exit_code;
    int64_t since, updated;    /* the state; anything */
    uint64_t bytes_per_second; /* over the last seconds, of the disks' content */
    int64_t seconds_left;      /* -1: not known */
    char text[512];            /* last stage, result or warning */
    unsigned warnings;
    char twin[64]; /* another machine with the same host name, DMI UUID or serial; "". Found when
                    * it is read, not set */
};

struct machine_disk_row {
    char name[65];
    uint64_t size_bytes, total_bytes, done_bytes, safe_bytes, sent_bytes, wire_bytes,
        unreadable_bytes;
    uint32_t pass;
};

/*
 * All rewrite what is given. machine_set keeps `since` when the state stays the same, finds the
 * machine by its number, and leaves name, code and twin alone; ENOENT. A new state is on stable
 * storage when it returns; figures and disks need not be.
 */
int machine_set(struct database *database, const struct machine_row *row, struct error *err);
int machine_set_disks(struct database *database, uint32_t number,
                      const struct machine_disk_row *disks, size_t count, struct error *err);
int machine_get(struct database *database, const char *name, struct machine_row *row,
                struct error *err); /* ENOENT */

/* Sizes of the disks as last set, for 'is it the same machine?'. Returns how many. */
int machine_get_disks(struct database *database, uint32_t number,
                      struct machine_disk_row disks[WIRE_MAX_DISKS], size_t *count,
                      struct error *err);

/* All machines by name, each followed by its disks; then who waits. Any of the calls may be NULL;
 * they must not use the database. */
struct machine_visitor {
    void (*machine)(void *context, const struct machine_row *row);
    void (*disk)(void *context, const struct machine_disk_row *disk);
    /* `machine` as of agent_waiting_machine */
    void (*waiting)(void *context, const char *code, const char *address, int64_t since,
                    const char *machine);
    void *context;
};
int machine_visit(struct database *database, const struct machine_visitor *visitor,
                  struct error *err);

/* At the server's start: who was receiving is interrupted now, whose job ran waits for it again. */
int machine_interrupt_all(struct database *database, struct error *err);

/* DMI UUID and serial as found, for telling twins apart; "" when not known; placeholders ("To Be
 * Filled By O.E.M.", zeroes) are told here. Gives the name of another machine that has the same
 * ("": none). */
int machine_set_ids(struct database *database, uint32_t number, const char *uuid,
                    const char *serial, char twin[64], struct error *err);

#endif
