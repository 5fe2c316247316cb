/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The server's control state machine with any frames in any order. Input: one byte of which bit 0
 * is 'the key is known' and the others choose what the calls answer; then frames as on the wire,
 * with an approval in between where a header is PONG.
 */
#include "base/own.h"
#include "p2v/server/control.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz {
    uint8_t refusals; /* bit 1: the token, 2: waiting, 3: MACHINE, 4: FINISH */
    uint16_t disk_count;
    bool is_admitted, is_claimed, is_finished;
};

static int refuse(const struct fuzz *fuzz, int bit, int errnum, struct error *err)
{
    return fuzz->refusals >> bit & 1 ? error_set(err, errnum, "refused") : 0;
}

static int use_token(void *context, const char *token, struct error *err)
{
    struct fuzz *fuzz = context;
    assert(!fuzz->is_admitted && strlen(token) == WIRE_TOKEN_LENGTH);
    fuzz->is_admitted = !(fuzz->refusals >> 1 & 1);
    return refuse(fuzz, 1, EACCES, err);
}

static int wait_for_approval(void *context, char code[65], struct error *err)
{
    const struct fuzz *fuzz = context;
    assert(!fuzz->is_admitted);
    strcpy(code, "ABCD-EFGH"); /* NOLINT */
    return refuse(fuzz, 2, EBUSY, err);
}

static int claim(void *context, const struct wire_machine *machine, const json_t *inventory,
                 struct wire_session *session, struct error *err)
{
    struct fuzz *fuzz = context;
    assert(fuzz->is_admitted && !fuzz->is_claimed && json_is_object(inventory));
    assert(machine->disk_count >= 1 && machine->disk_count <= WIRE_MAX_DISKS);
    fuzz->is_claimed = !(fuzz->refusals >> 3 & 1);
    fuzz->disk_count = machine->disk_count;
    memset(session->session, 7, sizeof(session->session));
    memcpy(session->machine, machine->name, sizeof(session->machine));
    return refuse(fuzz, 3, ENOSPC, err);
}

static void take_status(void *context, const struct wire_status *status)
{
    const struct fuzz *fuzz = context;
    assert(fuzz->is_claimed);
    assert(status->disk < fuzz->disk_count || status->disk == WIRE_WHOLE_MACHINE);
}

static int finish(void *context, const struct wire_finish *message, json_t *report,
                  struct error *err)
{
    struct fuzz *fuzz = context;
    assert(fuzz->is_claimed && !fuzz->is_finished && json_is_object(report));
    assert(message->consistency <= WIRE_NOT_CONSISTENT);
    fuzz->is_finished = true;
    return refuse(fuzz, 4, EIO, err);
}

/* What is answered are whole frames of the server's. */
static void check_answers(const struct text *out)
{
    for (size_t at = 0; at < out->length;) {
        struct wire_header header;
        assert(out->length - at >= WIRE_HEADER_SIZE);
        assert(wire_header_decode((const uint8_t *)out->data + at, &header, NULL) == 0);
        assert(wire_type_is_from_server(header.type));
        at += WIRE_HEADER_SIZE + header.length;
        assert(at <= out->length);
    }
}

/* The next frame's length; 0: there is none. */
static size_t step(struct fuzz *fuzz, struct control *control, const uint8_t *data, size_t size)
{
    struct wire_header header;
    struct error err = {0};
    char words[WIRE_MAX_TEXT + 1];
    AUTO(text) out = {0};
    if (size < WIRE_HEADER_SIZE || wire_header_decode(data, &header, &err) != 0 ||
        size - WIRE_HEADER_SIZE < header.length)
        return 0;
    int result;
    if (header.type == WIRE_PONG) {
        fuzz->is_admitted = true;
        control_admit(control, &out);
        result = 0;
    } else if (header.type == WIRE_PING) {
        result = control_wait(control, &out, &err);
    } else {
        result =
            control_feed(control, header.type, data + WIRE_HEADER_SIZE, header.length, &out, &err);
    }
    check_answers(&out);
    assert(control_is_admitted(control) == fuzz->is_admitted || result != 0);
    if (result == 0)
        return WIRE_HEADER_SIZE + header.length;
    assert(err.text[0] != '\0' && control_refusal(&err, words) < WIRE_ERROR_END);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct fuzz fuzz = {.refusals = data[0], .is_admitted = data[0] & 1};
    const struct control_calls calls = {.use_token = use_token,
                                        .wait = wait_for_approval,
                                        .claim = claim,
                                        .status = take_status,
                                        .finish = finish,
                                        .context = &fuzz};
    AUTO_PTR(control) control = control_new(fuzz.is_admitted, &calls);
    size_t length;
    for (size_t at = 1; at < size; at += length) {
        length = step(&fuzz, control, data + at, size - at);
        if (length == 0)
            break;
    }
    return 0;
}
