/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The frames' header, and the table of what each type may be (docs/wire.md, "Frames"). The messages
 * are in frame_session.c, frame_disk.c and frame_notice.c.
 */
#include "p2v/wire/frame.h"

#include "base/bytes.h"
#include "p2v/wire/cursor.h"

#include <errno.h>

enum sender { AGENT = 1, SERVER = 2, BOTH = AGENT | SERVER };

static const struct frame_type {
    const char *name;
    enum sender from;
    uint32_t least, most; /* payload, bytes */
} frame_types[WIRE_TYPE_END] = {
    [WIRE_HELLO] = {"HELLO", AGENT, 29, 93},
    [WIRE_WELCOME] = {"WELCOME", SERVER, 32, 32},
    [WIRE_TOKEN] = {"TOKEN", AGENT, 26, 26},
    [WIRE_ADMITTED] = {"ADMITTED", SERVER, 3, 67},
    [WIRE_MACHINE] = {"MACHINE", AGENT, 33, 1048576},
    [WIRE_SESSION] = {"SESSION", SERVER, 19, 81},
    [WIRE_DISK] = {"DISK", AGENT, 6, 6},
    [WIRE_READY] = {"READY", SERVER, 12, 12},
    [WIRE_RUN] = {"RUN", AGENT, 25, 25},
    [WIRE_OFFER] = {"OFFER", AGENT, 50, 8210},
    [WIRE_WANT] = {"WANT", SERVER, 11, 42},
    [WIRE_DATA] = {"DATA", AGENT, 25, WIRE_MAX_PAYLOAD},
    [WIRE_SAFE] = {"SAFE", SERVER, 12, 12},
    [WIRE_PASS] = {"PASS", AGENT, 37, 37},
    [WIRE_PASSED] = {"PASSED", SERVER, 37, 37},
    [WIRE_FINISH] = {"FINISH", AGENT, 6, 65536},
    [WIRE_STAGE] = {"STAGE", SERVER, 3, 1026},
    [WIRE_RESULT] = {"RESULT", SERVER, 3, 1026},
    [WIRE_PAUSE] = {"PAUSE", SERVER, 2, 1025},
    [WIRE_RESUME] = {"RESUME", SERVER, 0, 0},
    [WIRE_PING] = {"PING", BOTH, 0, 0},
    [WIRE_PONG] = {"PONG", BOTH, 0, 0},
    [WIRE_ERROR] = {"ERROR", BOTH, 4, 1027},
    [WIRE_STATUS] = {"STATUS", AGENT, 18, 1041},
};

/* NULL for what is no type; 0 has no name either. */
static const struct frame_type *find_type(unsigned type)
{
    return type < WIRE_TYPE_END && frame_types[type].name ? &frame_types[type] : NULL;
}

const char *wire_type_name(enum wire_type type)
{
    const struct frame_type *found = find_type(type);

    return found ? found->name : "?";
}

const char *wire_consistency_name(enum wire_consistency consistency)
{
    switch (consistency) {
    case WIRE_AT_REST:
        return "at rest";
    case WIRE_FROZEN:
        return "frozen";
    case WIRE_NOT_CONSISTENT:
        return "not consistent";
    }
    return "?";
}

bool wire_type_is_from_agent(enum wire_type type)
{
    const struct frame_type *found = find_type(type);

    return found && (found->from & AGENT);
}

bool wire_type_is_from_server(enum wire_type type)
{
    const struct frame_type *found = find_type(type);

    return found && (found->from & SERVER);
}

static int refuse(struct error *err)
{
    if (err)
        err->errnum = EPROTO;
    return -1;
}

int wire_header_decode(const uint8_t bytes[WIRE_HEADER_SIZE], struct wire_header *header,
                       struct error *err)
{
    const struct frame_type *type = find_type(bytes[4]);
    uint32_t length = load_le32(bytes);

    if (!type) {
        error_set(err, 0, "frame of unknown type %u", bytes[4]);
        return refuse(err);
    }
    if (!bytes_are_zero(bytes + 5, 3)) {
        error_set(err, 0, "%s: not zero in the header's reserved field", type->name);
        return refuse(err);
    }
    if (length < type->least || length > type->most) {
        error_set(err, 0, "%s: length %u is not within %u to %u", type->name, length, type->least,
                  type->most);
        return refuse(err);
    }
    *header = (struct wire_header){.length = length, .type = bytes[4]};
    return 0;
}

void wire_header_encode(const struct wire_header *header, uint8_t bytes[WIRE_HEADER_SIZE])
{
    store_le32(bytes, header->length);
    store_le32(bytes + 4, header->type);
}

void wire_empty_encode(enum wire_type type, struct text *out)
{
    writer_end(out, writer_begin(out, type));
}
