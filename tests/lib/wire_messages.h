/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For the tests of the wire's frames: the smallest and the largest message of each type with the
 * sizes of docs/wire.md, and what a decoder says to a payload.
 */
#ifndef TESTS_WIRE_MESSAGES_H
#define TESTS_WIRE_MESSAGES_H

#include "base/bytes.h"
#include "tests/lib/wire_again.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t bytes[1 << 20];

static inline void fill(char *text, size_t length)
{
    memset(text, 'x', length);
    text[length] = '\0';
}

static inline void build_hello(struct text *out, bool is_large)
{
    struct wire_hello hello = {.version = WIRE_VERSION};

    if (is_large) {
        hello.role = WIRE_DISK_DATA;
        memset(hello.session, 7, sizeof(hello.session));
        fill(hello.program, sizeof(hello.program) - 1);
    }
    wire_hello_encode(&hello, out);
}

static inline void build_welcome(struct text *out, bool is_large)
{
    struct wire_welcome welcome = {.version = WIRE_VERSION, .chunk_size = CHUNK_SIZE};

    welcome.needs_admission = is_large;
    welcome.window_bytes = is_large ? UINT64_MAX : CHUNK_SIZE;
    welcome.time_seconds = is_large ? UINT64_MAX : 0;
    wire_welcome_encode(&welcome, out);
}

static inline void build_token(struct text *out, bool is_large)
{
    struct wire_token token;

    (void)is_large;
    snprintf(token.token, sizeof(token.token), "ABCDEFGHIJKLMNOPQRSTUVWX27");
    wire_token_encode(&token, out);
}

static inline void build_admitted(struct text *out, bool is_large)
{
    struct wire_admitted admitted = {.is_waiting = is_large};

    fill(admitted.code, is_large ? sizeof(admitted.code) - 1 : 0);
    wire_admitted_encode(&admitted, out);
}

static inline void build_machine(struct text *out, bool is_large)
{
    static struct wire_machine machine;

    machine = (struct wire_machine){.disk_count = is_large ? WIRE_MAX_DISKS : 1};
    for (unsigned i = 0; i < machine.disk_count; i++) {
        struct wire_disk_info *disk = &machine.disks[i];
        disk->size_bytes = is_large ? MANIFEST_MAX_SIZE : 1;
        disk->used_bytes = is_large ? MANIFEST_MAX_SIZE : 0;
        disk->sector_size = is_large ? 4096 : 0;
        fill(disk->name, is_large ? 64 : 1);
        fill(disk->serial, is_large ? 64 : 0);
    }
    fill(machine.name, is_large ? 63 : 0);
    machine.inventory = (const char *)bytes;
    machine.inventory_length = is_large ? WIRE_MAX_INVENTORY : 0;
    wire_machine_encode(&machine, out);
}

static inline void build_session(struct text *out, bool is_large)
{
    struct wire_session session = {.session = {1, 2, 3}};

    fill(session.machine, is_large ? 63 : 1);
    wire_session_encode(&session, out);
}

static inline void build_disk(struct text *out, bool is_large)
{
    struct wire_disk disk = {.disk = is_large ? WIRE_MAX_DISKS - 1 : 0,
                             .pass = is_large ? UINT32_MAX : 0};

    wire_disk_encode(&disk, out);
}

static inline void build_ready(struct text *out, bool is_large)
{
    wire_ready_encode(&(struct wire_ready){.checkpoint_bytes = is_large ? UINT64_MAX : 0}, out);
}

static inline void build_run(struct text *out, bool is_large)
{
    struct wire_run run = {.sequence = is_large ? UINT64_MAX : 0, .count = 1};

    run.first = is_large ? UINT64_MAX - 1 : 0;
    run.state = is_large ? CHUNK_UNREADABLE : CHUNK_SKIPPED;
    wire_run_encode(&run, out);
}

static inline void build_offer(struct text *out, bool is_large)
{
    static struct wire_offer offer;

    offer.count = is_large ? WIRE_MAX_OFFER : 1;
    for (unsigned i = 0; i < offer.count; i++)
        memset(offer.names[i].bytes, (int)(i + 1), CHUNK_NAME_SIZE);
    wire_offer_encode(&offer, out);
}

static inline void build_want(struct text *out, bool is_large)
{
    struct wire_want want = {.count = is_large ? WIRE_MAX_OFFER : 1};

    memset(want.bits, is_large ? 0xff : 0, sizeof(want.bits));
    want.bits[0] |= 1;
    wire_want_encode(&want, out);
}

static inline void build_data(struct text *out, bool is_large)
{
    struct wire_data data = {.encoding = is_large ? WIRE_PLAIN : WIRE_ZSTD};
    uint8_t head[WIRE_DATA_HEAD_SIZE];

    data.count = is_large ? WIRE_MAX_DATA : 1;
    for (unsigned i = 0; i < data.count; i++)
        data.parts[i].length = is_large ? CHUNK_SIZE : 1;
    text_add_bytes(out, head, wire_data_encode_head(&data, head));
    for (unsigned i = 0; i < data.count; i++)
        text_add_bytes(out, bytes, data.parts[i].length);
}

static inline void build_safe(struct text *out, bool is_large)
{
    wire_safe_encode(&(struct wire_safe){.sequence = is_large ? UINT64_MAX : 0}, out);
}

static inline void build_pass(struct text *out, bool is_large)
{
    wire_pass_encode(&(struct wire_pass){.pass = 3, .is_last = is_large, .digest = {9, 8}}, out);
}

static inline void build_passed(struct text *out, bool is_large)
{
    wire_passed_encode(&(struct wire_passed){.pass = 3, .is_different = is_large, .digest = {9, 8}},
                       out);
}

static inline void build_finish(struct text *out, bool is_large)
{
    struct wire_finish finish = {.has_warnings = is_large, .report = (const char *)bytes};

    finish.consistency = is_large ? WIRE_NOT_CONSISTENT : WIRE_AT_REST;
    finish.report_length = is_large ? WIRE_MAX_REPORT : 0;
    wire_finish_encode(&finish, out);
}

static inline void build_stage(struct text *out, bool is_large)
{
    struct wire_stage_text stage = {.stage = is_large ? WIRE_STAGE_TESTING : WIRE_STAGE_RECEIVED};

    fill(stage.text, is_large ? WIRE_MAX_TEXT : 0);
    wire_stage_text_encode(&stage, out);
}

static inline void build_result(struct text *out, bool is_large)
{
    struct wire_result result = {.exit_code = is_large ? 255 : 0};

    fill(result.text, is_large ? WIRE_MAX_TEXT : 0);
    wire_result_encode(&result, out);
}

static inline void build_pause(struct text *out, bool is_large)
{
    struct wire_pause pause;

    fill(pause.text, is_large ? WIRE_MAX_TEXT : 0);
    wire_pause_encode(&pause, out);
}

static inline void build_error(struct text *out, bool is_large)
{
    struct wire_error error = {.code = is_large ? WIRE_ERROR_SHUTTING_DOWN : WIRE_ERROR_INTERNAL};

    fill(error.text, is_large ? WIRE_MAX_TEXT : 0);
    wire_error_encode(&error, out);
}

static inline void build_status(struct text *out, bool is_large)
{
    struct wire_status status = {.disk = is_large ? WIRE_WHOLE_MACHINE : 0, .done_bytes = 5};

    fill(status.text, is_large ? WIRE_MAX_TEXT : 0);
    wire_status_encode(&status, out);
}

/* The sizes as docs/wire.md gives them. */
static const struct message {
    enum wire_type type;
    void (*build)(struct text *out, bool is_large);
    size_t least, most;
    bool ends_with_text; /* not counted: a byte more or less is still a message */
} messages[] = {
    {WIRE_HELLO, build_hello, 29, 93, true},
    {WIRE_WELCOME, build_welcome, 32, 32, false},
    {WIRE_TOKEN, build_token, 26, 26, false},
    {WIRE_ADMITTED, build_admitted, 3, 67, false},
    {WIRE_MACHINE, build_machine, 33, 1033799, false},
    {WIRE_SESSION, build_session, 19, 81, false},
    {WIRE_DISK, build_disk, 6, 6, false},
    {WIRE_READY, build_ready, 12, 12, false},
    {WIRE_RUN, build_run, 25, 25, false},
    {WIRE_OFFER, build_offer, 50, 8210, false},
    {WIRE_WANT, build_want, 11, 42, false},
    {WIRE_DATA, build_data, 25, 1048660, false},
    {WIRE_SAFE, build_safe, 12, 12, false},
    {WIRE_PASS, build_pass, 37, 37, false},
    {WIRE_PASSED, build_passed, 37, 37, false},
    {WIRE_FINISH, build_finish, 6, 65536, false},
    {WIRE_STAGE, build_stage, 3, 1026, false},
    {WIRE_RESULT, build_result, 3, 1026, false},
    {WIRE_PAUSE, build_pause, 2, 1025, false},
    {WIRE_ERROR, build_error, 4, 1027, false},
    {WIRE_STATUS, build_status, 18, 1041, true},
};

/* In memory of its own size, so that a sanitizer sees a read behind it. */
static inline int decode(enum wire_type type, const void *payload, size_t length,
                         struct text *again, struct error *err)
{
    uint8_t *copy = malloc(length ? length : 1);

    assert_non_null(copy);
    if (length)
        memcpy(copy, payload, length);
    int status = wire_again(type)(copy, length, again, err);
    free(copy);
    return status;
}

static inline void refused(enum wire_type type, const void *payload, size_t length,
                           const char *says)
{
    struct error err = {0};
    AUTO(text) again = {0};

    if (decode(type, payload, length, &again, &err) == 0)
        fail_msg("%s with a bad %s was taken", wire_type_name(type), says);
    assert_int_equal(err.errnum, EPROTO);
    if (!strstr(err.text, says) || !strstr(err.text, wire_type_name(type)))
        fail_msg("'%s' does not name %s", err.text, says);
}

/* Its smallest or largest message. */
static inline void build(enum wire_type type, struct text *frame, bool is_large)
{
    for (size_t i = 0; i < ARRAY_LENGTH(messages); i++) {
        if (messages[i].type == type)
            messages[i].build(frame, is_large);
    }
}

#endif
