/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For the tests of the wire: decodes a payload of any type and encodes what was understood again.
 * Whatever a decoder accepts must come back as it was.
 */
#ifndef TESTS_WIRE_AGAIN_H
#define TESTS_WIRE_AGAIN_H

#include "p2v/wire/frame.h"

#define WIRE_AGAIN(name)                                                                           \
    static inline int again_##name(const uint8_t *payload, size_t length, struct text *out,        \
                                   struct error *err)                                              \
    {                                                                                              \
        static struct wire_##name message;                                                         \
        if (wire_##name##_decode(payload, length, &message, err) != 0)                             \
            return -1;                                                                             \
        wire_##name##_encode(&message, out);                                                       \
        return 0;                                                                                  \
    }
WIRE_AGAIN(hello)
WIRE_AGAIN(welcome)
WIRE_AGAIN(token)
WIRE_AGAIN(admitted)
WIRE_AGAIN(machine)
WIRE_AGAIN(session)
WIRE_AGAIN(disk)
WIRE_AGAIN(ready)
WIRE_AGAIN(run)
WIRE_AGAIN(offer)
WIRE_AGAIN(want)
WIRE_AGAIN(safe)
WIRE_AGAIN(pass)
WIRE_AGAIN(passed)
WIRE_AGAIN(finish)
WIRE_AGAIN(stage_text)
WIRE_AGAIN(result)
WIRE_AGAIN(pause)
WIRE_AGAIN(error)
WIRE_AGAIN(status)
#undef WIRE_AGAIN

static inline int again_data(const uint8_t *payload, size_t length, struct text *out,
                             struct error *err)
{
    struct wire_data message;
    uint8_t head[WIRE_DATA_HEAD_SIZE];

    if (wire_data_decode(payload, length, &message, err) != 0)
        return -1;
    text_add_bytes(out, head, wire_data_encode_head(&message, head));
    for (unsigned i = 0; i < message.count; i++)
        text_add_bytes(out, message.parts[i].data, message.parts[i].length);
    return 0;
}

typedef int wire_again_fn(const uint8_t *payload, size_t length, struct text *out,
                          struct error *err);

/* NULL for types without a payload. */
static inline wire_again_fn *wire_again(unsigned type)
{
    static wire_again_fn *const functions[WIRE_TYPE_END] = {
        [WIRE_HELLO] = again_hello,      [WIRE_WELCOME] = again_welcome,
        [WIRE_TOKEN] = again_token,      [WIRE_ADMITTED] = again_admitted,
        [WIRE_MACHINE] = again_machine,  [WIRE_SESSION] = again_session,
        [WIRE_DISK] = again_disk,        [WIRE_READY] = again_ready,
        [WIRE_RUN] = again_run,          [WIRE_OFFER] = again_offer,
        [WIRE_WANT] = again_want,        [WIRE_DATA] = again_data,
        [WIRE_SAFE] = again_safe,        [WIRE_PASS] = again_pass,
        [WIRE_PASSED] = again_passed,    [WIRE_FINISH] = again_finish,
        [WIRE_STAGE] = again_stage_text, [WIRE_RESULT] = again_result,
        [WIRE_PAUSE] = again_pause,      [WIRE_ERROR] = again_error,
        [WIRE_STATUS] = again_status,
    };
    return type < WIRE_TYPE_END ? functions[type] : NULL;
}

#endif
