/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The wire's frames (docs/wire.md): each message as a struct, its encoder and its decoder. Pure:
 * looks only at buffers. A decoder checks everything that the frame alone can tell (lengths,
 * counts, enumerations, text); what needs the session's state is the state machines' to check.
 */
#ifndef P2V_WIRE_FRAME_H
#define P2V_WIRE_FRAME_H

#include "base/error.h"
#include "base/text.h"
#include "formats/manifest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_PORT "7443"
#define WIRE_ALPN "rehost/1"
#define WIRE_VERSION 1

#define WIRE_HEADER_SIZE 8
#define WIRE_MAX_PAYLOAD 1048660u
#define WIRE_MAX_EARLY_PAYLOAD 128u /* before a connection is admitted */

#define WIRE_MAX_DISKS 64
#define WIRE_MAX_OFFER 256u /* chunks */
#define WIRE_MAX_DATA 16u   /* chunks */
/* Chunks in one RUN: unlike zeroes each costs a record on the server's disk (2 MiB for so many). */
#define WIRE_MAX_UNREADABLE 65536u
#define WIRE_MAX_TEXT 1023
#define WIRE_MAX_INVENTORY (1000u << 10)
#define WIRE_MAX_REPORT 65530u
#define WIRE_SESSION_SIZE 16
#define WIRE_TOKEN_LENGTH 26
#define WIRE_IDENTITY_SIZE 32
#define WIRE_DIGEST_SIZE 32

#define WIRE_MAX_OFFERED ((uint64_t)64 << 20) /* bytes of chunks offered and not answered */

/* Times of docs/wire.md, "Silence, cuts, ends". */
#define WIRE_PING_MS 10000
#define WIRE_SILENCE_MS 60000
#define WIRE_HANDSHAKE_MS 10000
#define WIRE_ADMISSION_MS 30000

enum wire_type {
    WIRE_HELLO = 1,
    WIRE_WELCOME,
    WIRE_TOKEN,
    WIRE_ADMITTED,
    WIRE_MACHINE,
    WIRE_SESSION,
    WIRE_DISK,
    WIRE_READY,
    WIRE_RUN,
    WIRE_OFFER,
    WIRE_WANT,
    WIRE_DATA,
    WIRE_SAFE,
    WIRE_PASS,
    WIRE_PASSED,
    WIRE_FINISH,
    WIRE_STAGE,
    WIRE_RESULT,
    WIRE_PAUSE,
    WIRE_RESUME,
    WIRE_PING,
    WIRE_PONG,
    WIRE_ERROR,
    WIRE_STATUS,
    WIRE_TYPE_END,
};

enum wire_role { WIRE_CONTROL = 0, WIRE_DISK_DATA = 1 };
enum wire_encoding { WIRE_PLAIN = 0, WIRE_ZSTD = 1, WIRE_ZSTD_JOINED = 2 };
enum wire_consistency { WIRE_AT_REST = 0, WIRE_FROZEN = 1, WIRE_NOT_CONSISTENT = 2 };
enum wire_stage {
    WIRE_STAGE_RECEIVED,
    WIRE_STAGE_WAITING,
    WIRE_STAGE_FIXING,
    WIRE_STAGE_DESCRIBING,
    WIRE_STAGE_TESTING,
    WIRE_STAGE_END,
};
enum wire_error_code {
    WIRE_ERROR_INTERNAL = 1,
    WIRE_ERROR_VERSION,
    WIRE_ERROR_PROTOCOL,
    WIRE_ERROR_NOT_AUTHORISED,
    WIRE_ERROR_NO_SPACE,
    WIRE_ERROR_REPLACED,
    WIRE_ERROR_UNKNOWN_SESSION,
    WIRE_ERROR_BUSY,
    WIRE_ERROR_SHUTTING_DOWN,
    WIRE_ERROR_END,
};

struct wire_header {
    uint32_t length; /* of the payload */
    enum wire_type type;
};

/* Refuses unknown types, lengths outside the type's bounds, and bytes that are not zero. */
int wire_header_decode(const uint8_t bytes[WIRE_HEADER_SIZE], struct wire_header *header,
                       struct error *err);
void wire_header_encode(const struct wire_header *header, uint8_t bytes[WIRE_HEADER_SIZE]);
const char *wire_type_name(enum wire_type type); /* "OFFER"; "?" for what is none */
const char *wire_consistency_name(enum wire_consistency consistency); /* "at rest"; "?" as well */
bool wire_type_is_from_agent(enum wire_type type);
bool wire_type_is_from_server(enum wire_type type); /* PING, PONG and ERROR are from both */

struct wire_hello {
    uint16_t version;
    enum wire_role role;
    uint8_t session[WIRE_SESSION_SIZE];
    char program[65];
};
struct wire_welcome {
    uint16_t version;
    bool needs_admission;
    uint32_t chunk_size;
    uint64_t window_bytes;
    uint64_t time_seconds;
};
struct wire_token {
    char token[WIRE_TOKEN_LENGTH + 1]; /* upper case after decoding */
};
struct wire_admitted {
    bool is_waiting;
    char code[65];
};
struct wire_disk_info {
    uint64_t size_bytes;  /* 1 to MANIFEST_MAX_SIZE */
    uint32_t sector_size; /* 512 or 4096; 0: not known */
    uint64_t used_bytes;  /* at most size_bytes */
    char name[65];
    char serial[65];
};
/* `inventory` is borrowed from the payload (decoding) or the caller (encoding); not terminated. */
struct wire_machine {
    uint16_t disk_count;
    struct wire_disk_info disks[WIRE_MAX_DISKS];
    char name[64];
    const char *inventory;
    size_t inventory_length;
};
struct wire_session {
    uint8_t session[WIRE_SESSION_SIZE];
    char machine[64];
};
struct wire_disk {
    uint16_t disk;
    uint32_t pass;
};
struct wire_ready {
    uint64_t checkpoint_bytes;
};
struct wire_run {
    uint64_t sequence, first, count; /* count is not 0, first + count does not overflow */
    enum chunk_state state;          /* not CHUNK_DATA */
};
struct wire_offer {
    uint64_t sequence, first;
    uint16_t count;
    struct chunk_name names[WIRE_MAX_OFFER];
};
struct wire_want {
    uint64_t sequence;
    uint16_t count;
    uint8_t bits[WIRE_MAX_OFFER / 8];
};
/*
 * The parts point into the payload; their lengths are 1 to CHUNK_SIZE. With WIRE_ZSTD_JOINED the
 * first part is the one frame of all the chunks, and the lengths of the others are 0.
 */
struct wire_data {
    uint64_t sequence, first;
    uint16_t count;
    enum wire_encoding encoding;
    struct wire_part {
        const uint8_t *data;
        uint32_t length;
    } parts[WIRE_MAX_DATA];
};
struct wire_safe {
    uint64_t sequence;
};
struct wire_pass {
    uint32_t pass;
    bool is_last;
    uint8_t digest[WIRE_DIGEST_SIZE];
};
struct wire_passed {
    uint32_t pass;
    bool is_different;
    uint8_t digest[WIRE_DIGEST_SIZE];
};
struct wire_finish {
    enum wire_consistency consistency;
    bool has_warnings;
    const char *report; /* borrowed, not terminated */
    size_t report_length;
};
struct wire_stage_text {
    enum wire_stage stage;
    char text[WIRE_MAX_TEXT + 1];
};
struct wire_result {
    uint8_t exit_code;
    char text[WIRE_MAX_TEXT + 1];
};
struct wire_pause {
    char text[WIRE_MAX_TEXT + 1];
};
struct wire_error {
    enum wire_error_code code;
    char text[WIRE_MAX_TEXT + 1];
};
#define WIRE_WHOLE_MACHINE 0xffffu
struct wire_status {
    uint16_t disk;
    uint64_t done_bytes, total_bytes;
    char text[WIRE_MAX_TEXT + 1];
};

/*
 * Encoders append a whole frame, header included, to `out`. Texts that are too long are cut at a
 * character, control characters in them become '?': they are for people. Counts and enumerations
 * are the caller's to keep right.
 *
 * Decoders take the payload alone and return -1 with the field's name in err.
 */
#define WIRE_MESSAGE(name)                                                                         \
    void wire_##name##_encode(const struct wire_##name *message, struct text *out);                \
    int wire_##name##_decode(const uint8_t *payload, size_t length, struct wire_##name *message,   \
                             struct error *err);
WIRE_MESSAGE(hello)
WIRE_MESSAGE(welcome)
WIRE_MESSAGE(token)
WIRE_MESSAGE(admitted)
WIRE_MESSAGE(machine)
WIRE_MESSAGE(session)
WIRE_MESSAGE(disk)
WIRE_MESSAGE(ready)
WIRE_MESSAGE(run)
WIRE_MESSAGE(offer)
WIRE_MESSAGE(want)
WIRE_MESSAGE(safe)
WIRE_MESSAGE(pass)
WIRE_MESSAGE(passed)
WIRE_MESSAGE(finish)
WIRE_MESSAGE(stage_text)
WIRE_MESSAGE(result)
WIRE_MESSAGE(pause)
WIRE_MESSAGE(error)
WIRE_MESSAGE(status)
#undef WIRE_MESSAGE

int wire_data_decode(const uint8_t *payload, size_t length, struct wire_data *message,
                     struct error *err);

/*
 * The header and the fixed part of a DATA frame; the parts' bytes follow it on the wire, in order
 * (link_send_parts), so that they need not be copied. Returns the length written to `head`.
 */
#define WIRE_DATA_HEAD_SIZE (WIRE_HEADER_SIZE + 20 + 4 * WIRE_MAX_DATA)
size_t wire_data_encode_head(const struct wire_data *message, uint8_t head[WIRE_DATA_HEAD_SIZE]);

/* Where the chunks' bytes begin in a DATA payload of so many bytes, if they are as they are and all
 * but the last are whole. */
size_t wire_data_content_offset(size_t length);

/* RESUME, PING, PONG: no payload. */
void wire_empty_encode(enum wire_type type, struct text *out);

static inline bool wire_want_has(const struct wire_want *want, unsigned index)
{
    return want->bits[index / 8] >> (index % 8) & 1;
}

#endif
