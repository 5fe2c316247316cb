/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * HELLO and WELCOME, verdicts, and waiting before the next try.
 */
#include "p2v/agent/agent_link.h"

#include "base/clock.h"
#include "base/own.h"
#include "base/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define FIRST_WAIT_MS 1000u
#define MOST_WAITS 30u
#define SLICE_MS 50u

/* Less than one DATA frame would never let anything through. */
#define MIN_WINDOW ((uint64_t)WIRE_MAX_DATA * CHUNK_SIZE)

/* --- verdicts --- */

enum agent_verdict agent_judge(enum wire_error_code code, const char *text, struct error *err)
{
    static const struct {
        enum agent_verdict verdict;
        int errnum;
    } meanings[WIRE_ERROR_END] = {
        [WIRE_ERROR_INTERNAL] = {AGENT_AGAIN, 0},
        [WIRE_ERROR_VERSION] = {AGENT_GIVE_UP, EPROTO},
        [WIRE_ERROR_PROTOCOL] = {AGENT_GIVE_UP, EPROTO},
        [WIRE_ERROR_NOT_AUTHORISED] = {AGENT_GIVE_UP, EACCES},
        [WIRE_ERROR_NO_SPACE] = {AGENT_GIVE_UP, ENOSPC},
        [WIRE_ERROR_REPLACED] = {AGENT_GIVE_UP, EBUSY},
        [WIRE_ERROR_UNKNOWN_SESSION] = {AGENT_NEW_SESSION, 0},
        [WIRE_ERROR_BUSY] = {AGENT_AGAIN, 0},
        [WIRE_ERROR_SHUTTING_DOWN] = {AGENT_AGAIN, 0},
    };
    error_set(err, 0, "the server says: %s", text);
    if (code >= WIRE_ERROR_END || meanings[code].verdict == AGENT_READY)
        return AGENT_AGAIN;
    if (err)
        err->errnum = meanings[code].errnum;
    return meanings[code].verdict;
}

static enum agent_verdict broke_rules(struct error *err)
{
    if (err)
        err->errnum = EPROTO;
    return AGENT_GIVE_UP;
}

enum agent_verdict agent_expect(struct link *link, enum wire_type type, int silence_ms,
                                const atomic_bool *stop, struct link_frame *frame,
                                struct error *err)
{
    struct error local = {0};
    struct wire_error refusal;
    int received = link_receive(link, frame, silence_ms, stop, &local);
    if (received == 0)
        error_set(&local, 0, "the server closed the connection");
    if (received <= 0) {
        if (err)
            *err = local;
        return local.errnum == ECANCELED ? AGENT_GIVE_UP : AGENT_AGAIN;
    }
    if (frame->type == type)
        return AGENT_READY;
    if (frame->type != WIRE_ERROR) {
        error_set(err, 0, "%s came, where %s was due", wire_type_name(frame->type),
                  wire_type_name(type));
        return broke_rules(err);
    }
    if (wire_error_decode(frame->payload, frame->length, &refusal, err) != 0)
        return broke_rules(err);
    return agent_judge(refusal.code, refusal.text, err);
}

/* --- beginning --- */

/* `mark` tells a server that waits for an approval which machine this is. */
static int send_hello(struct link *link, enum wire_role role, const uint8_t *session,
                      const char *mark, struct error *err)
{
    struct wire_hello hello = {.version = WIRE_VERSION, .role = role};
    AUTO(text) frame = {0};
    if (session)
        memcpy(hello.session, session, sizeof(hello.session));
    bool is_marked = role == WIRE_CONTROL && mark && mark[0];
    snprintf(hello.program, sizeof(hello.program), "rehost %s%s%s", REHOST_VERSION,
             is_marked ? " id=" : "", is_marked ? mark : "");
    wire_hello_encode(&hello, &frame);
    return link_send(link, frame.data, frame.length, err);
}

static enum agent_verdict check_welcome(const struct link_frame *frame, enum wire_role role,
                                        struct wire_welcome *welcome, struct error *err)
{
    if (wire_welcome_decode(frame->payload, frame->length, welcome, err) != 0)
        return broke_rules(err);
    if (welcome->version != WIRE_VERSION || welcome->chunk_size != CHUNK_SIZE ||
        welcome->window_bytes < MIN_WINDOW ||
        (role == WIRE_DISK_DATA && welcome->needs_admission)) {
        error_set(err, 0, "WELCOME of version %u, chunks of %u, window %llu", welcome->version,
                  welcome->chunk_size, (unsigned long long)welcome->window_bytes);
        return broke_rules(err);
    }
    return AGENT_READY;
}

static enum agent_verdict connect_to(const struct sender_options *options, bool is_known,
                                     struct link **link, struct error *err)
{
    struct error local = {0};
    *link =
        link_connect(&options->server, options->identity, options->pin, WIRE_HANDSHAKE_MS, &local);
    if (*link)
        return AGENT_READY;
    if (err)
        *err = local;
    bool is_no_server = local.errnum == EPROTO && !is_known; /* speaks something else */
    return local.errnum == TLS_WRONG_PIN || is_no_server ? AGENT_GIVE_UP : AGENT_AGAIN;
}

enum agent_verdict agent_open(const struct sender_options *options, enum wire_role role,
                              const uint8_t session[WIRE_SESSION_SIZE], bool is_known,
                              struct link **link, struct wire_welcome *welcome, struct error *err)
{
    struct link_frame frame;
    enum agent_verdict verdict = connect_to(options, is_known, link, err);
    if (verdict != AGENT_READY)
        return verdict;
    /* Whether writing failed shows in reading, with the reason if there is one. */
    send_hello(*link, role, session, options->mark, NULL);
    verdict = agent_expect(*link, WIRE_WELCOME, WIRE_ADMISSION_MS, options->stop, &frame, err);
    if (verdict == AGENT_READY)
        verdict = check_welcome(&frame, role, welcome, err);
    if (verdict != AGENT_READY)
        link_close(take_ptr(link));
    return verdict;
}

/* --- again --- */

void retry_start(struct retry *retry, unsigned first_ms)
{
    *retry = (struct retry){.first_ms = first_ms ? first_ms : FIRST_WAIT_MS};
}

unsigned retry_next_ms(struct retry *retry, uint32_t chance, int64_t now_ms)
{
    unsigned waits = retry->count < 5 ? 1u << retry->count : MOST_WAITS;
    if (retry->count == 0)
        retry->failing_ms = now_ms;
    retry->count++;
    unsigned wait_ms = retry->first_ms * waits;
    return wait_ms + (unsigned)((uint64_t)wait_ms / 4 * chance / UINT32_MAX);
}

static bool is_set(const atomic_bool *flag)
{
    return flag && atomic_load(flag);
}

enum agent_verdict retry_wait(struct retry *retry, const struct sender_options *options,
                              const atomic_bool *is_ended, struct error *err)
{
    uint32_t chance = 0;
    if (getrandom(&chance, sizeof(chance), GRND_NONBLOCK) < 0)
        chance = 0;
    unsigned wait_ms = retry_next_ms(retry, chance, clock_ms());
    int64_t until_ms = clock_ms() + wait_ms;
    int64_t give_up_ms = retry->failing_ms + (int64_t)options->give_up_seconds * 1000;
    log_detail(options->log, "%s; trying again in %u.%u s", err->text, wait_ms / 1000,
               wait_ms % 1000 / 100);
    while (clock_ms() < until_ms) {
        struct timespec slice = {.tv_nsec = SLICE_MS * 1000000L};
        if (is_set(options->stop) || is_set(is_ended)) {
            error_set(err, ECANCELED, "stopped");
            return AGENT_GIVE_UP;
        }
        if (options->give_up_seconds > 0 && clock_ms() >= give_up_ms) {
            error_wrap(err, "no connection for %d s", options->give_up_seconds);
            err->errnum = ETIMEDOUT;
            return AGENT_GIVE_UP;
        }
        int64_t left_ms = until_ms - clock_ms();
        if (left_ms < SLICE_MS)
            slice.tv_nsec = (left_ms > 0 ? left_ms : 1) * 1000000L;
        nanosleep(&slice, NULL);
    }
    return AGENT_AGAIN;
}
