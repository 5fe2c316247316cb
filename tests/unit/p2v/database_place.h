/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For the tests of the server's database: one in a pool of its own, with a clock that they set.
 */
#ifndef TESTS_DATABASE_PLACE_H
#define TESTS_DATABASE_PLACE_H

#include "base/own.h"
#include "base/text.h"
#include "p2v/machine.h"
#include "p2v/server/database.h"
#include "p2v/server/machine_name.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
    char folder[64];
    struct pool pool;
    struct database *database;
    int64_t now; /* of the injected clock */
};

static inline int64_t tell_time(void *context)
{
    return *(int64_t *)context;
}

static inline void reopen(struct place *place)
{
    struct error err = {0};
    database_close(place->database);
    place->database = database_open(&place->pool, POOL_SERVE, &err);
    if (!place->database)
        fail_msg("%s", err.text);
    database_set_clock(place->database, tell_time, &place->now);
}

static inline int start(void **state)
{
    struct place *place = memory_new(1, sizeof(*place));
    snprintf(place->folder, sizeof(place->folder), "/tmp/rehost-test.XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    assert_int_equal(pool_open(&place->pool, place->folder, POOL_SERVE, NULL), 0);
    place->now = 1000000;
    reopen(place);
    *state = place;
    return 0;
}

static inline int end(void **state)
{
    struct place *place = *state;
    database_close(place->database);
    pool_fini(&place->pool);
    folder_remove(AT_FDCWD, place->folder, NULL);
    free(place);
    return 0;
}

/* An agent's identity; the first five bytes make the code. */
static inline const uint8_t *identity_of(unsigned agent)
{
    static uint8_t identities[4][WIRE_IDENTITY_SIZE];
    static unsigned next;
    uint8_t *identity = identities[next++ % 4];
    memset(identity, 0, WIRE_IDENTITY_SIZE);
    identity[0] = (uint8_t)agent;
    identity[1] = (uint8_t)(agent >> 8);
    identity[31] = 1;
    return identity;
}

static inline void create(struct place *place, const struct token_options *options, char *token,
                          char *id)
{
    struct error err = {0};
    if (token_create(place->database, options, token, id, &err) != 0)
        fail_msg("%s", err.text);
}

static inline enum admission use(struct place *place, unsigned agent, const char *token)
{
    enum admission admission;
    char reason[32];
    struct error err = {0};
    if (agent_use_token(place->database, identity_of(agent), token, &admission, reason, &err) != 0)
        fail_msg("%s", err.text);
    return admission;
}

/* The admission must be REFUSED; why, for the server's log. */
static inline void assert_refused(struct place *place, unsigned agent, const char *token,
                                  const char *why)
{
    enum admission admission = ADMISSION_GRANTED;
    char reason[32];
    assert_int_equal(
        agent_use_token(place->database, identity_of(agent), token, &admission, reason, NULL), 0);
    assert_int_equal(admission, ADMISSION_REFUSED);
    assert_string_equal(reason, why);
}

static inline enum admission known(struct place *place, unsigned agent)
{
    enum admission admission;
    assert_int_equal(agent_is_known(place->database, identity_of(agent), &admission, NULL), 0);
    return admission;
}

static inline uint32_t claim(struct place *place, unsigned agent, const char *wanted, char name[64])
{
    uint32_t number;
    bool is_new;
    struct error err = {0};
    if (machine_claim(place->database, identity_of(agent), wanted, NULL, NULL, &number, name,
                      &is_new, &err) != 0)
        fail_msg("%s", err.text);
    return number;
}

struct listing {
    struct token_row rows[8];
    char notes[8][64];
    size_t count;
};

static inline void keep_token(void *context, const struct token_row *row)
{
    struct listing *listing = context;
    assert_true(listing->count < 8);
    snprintf(listing->notes[listing->count], 64, "%s", row->note);
    listing->rows[listing->count++] = *row;
}

#endif
