/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The messages that begin a connection and that end a machine: HELLO, WELCOME, TOKEN, ADMITTED,
 * MACHINE, SESSION, FINISH (docs/wire.md, "A connection begins", "The control connection").
 */
#include "base/bytes.h"
#include "p2v/wire/cursor.h"
#include "p2v/wire/frame.h"

#include <string.h>

static const uint8_t hello_magic[4] = {'R', 'H', 'S', 'T'};

static bool is_printable_ascii(const char *string)
{
    for (; *string; string++) {
        if (*string < 0x20 || *string > 0x7e)
            return false;
    }
    return true;
}

void wire_hello_encode(const struct wire_hello *message, struct text *out)
{
    size_t frame = writer_begin(out, WIRE_HELLO);

    text_add_bytes(out, hello_magic, sizeof(hello_magic));
    writer_u16(out, message->version);
    writer_u8(out, (uint8_t)message->role);
    writer_zero(out, 6);
    text_add_bytes(out, message->session, sizeof(message->session));
    writer_rest(out, is_printable_ascii(message->program) ? message->program : "?",
                sizeof(message->program) - 1);
    writer_end(out, frame);
}

/* Of another version only the version is known: it is told so, whatever else its HELLO holds. */
int wire_hello_decode(const uint8_t *payload, size_t length, struct wire_hello *message,
                      struct error *err)
{
    struct reader reader = reader_of(WIRE_HELLO, payload, length, err);
    uint8_t magic[sizeof(hello_magic)];

    *message = (struct wire_hello){0};
    reader_bytes(&reader, magic, sizeof(magic), "magic");
    reader_check(&reader, memcmp(magic, hello_magic, sizeof(magic)) == 0, "magic",
                 load_le32(magic));
    message->version = reader_u16(&reader, "version");
    if (!reader.has_failed && message->version != WIRE_VERSION)
        return 0;
    message->role = reader_choice(&reader, WIRE_DISK_DATA + 1, "purpose");
    reader_zero(&reader, 6);
    reader_bytes(&reader, message->session, sizeof(message->session), "session");
    reader_check(&reader,
                 message->role == WIRE_DISK_DATA ||
                     bytes_are_zero(message->session, sizeof(message->session)),
                 "session on a control connection,", message->session[0]);
    reader_rest(&reader, message->program, sizeof(message->program) - 1, "program");
    reader_check(&reader, is_printable_ascii(message->program), "program beyond ASCII,",
                 (uint8_t)message->program[0]);
    return reader_finish(&reader);
}

void wire_welcome_encode(const struct wire_welcome *message, struct text *out)
{
    size_t frame = writer_begin(out, WIRE_WELCOME);

    writer_u16(out, message->version);
    writer_u8(out, message->needs_admission);
    writer_zero(out, 1);
    writer_u32(out, message->chunk_size);
    writer_u64(out, message->window_bytes);
    writer_u64(out, message->time_seconds);
    writer_zero(out, 8);
    writer_end(out, frame);
}

int wire_welcome_decode(const uint8_t *payload, size_t length, struct wire_welcome *message,
                        struct error *err)
{
    struct reader reader = reader_of(WIRE_WELCOME, payload, length, err);

    *message = (struct wire_welcome){0};
    message->version = reader_u16(&reader, "version");
    reader_check(&reader, message->version == WIRE_VERSION, "version", message->version);
    message->needs_admission = reader_choice(&reader, 2, "state");
    reader_zero(&reader, 1);
    message->chunk_size = reader_u32(&reader, "chunk size");
    reader_check(&reader, message->chunk_size == CHUNK_SIZE, "chunk size", message->chunk_size);
    message->window_bytes = reader_u64(&reader, "window");
    reader_check(&reader, message->window_bytes >= CHUNK_SIZE, "window", message->window_bytes);
    message->time_seconds = reader_u64(&reader, "time");
    reader_zero(&reader, 8);
    return reader_finish(&reader);
}

void wire_token_encode(const struct wire_token *message, struct text *out)
{
    size_t frame = writer_begin(out, WIRE_TOKEN);

    text_add_bytes(out, message->token, WIRE_TOKEN_LENGTH);
    writer_end(out, frame);
}

/* Upper case of a base32 digit, 0 for what is none (RFC 4648, section 6). */
static char base32_digit(char character)
{
    if (character >= 'a' && character <= 'z')
        character = (char)(character - 'a' + 'A');
    bool is_digit =
        (character >= 'A' && character <= 'Z') || (character >= '2' && character <= '7');
    return is_digit ? character : 0;
}

/* The error never holds a character of the token: errors are written into logs. */
int wire_token_decode(const uint8_t *payload, size_t length, struct wire_token *message,
                      struct error *err)
{
    struct reader reader = reader_of(WIRE_TOKEN, payload, length, err);

    reader_bytes(&reader, message->token, WIRE_TOKEN_LENGTH, "token");
    message->token[WIRE_TOKEN_LENGTH] = '\0';
    for (unsigned i = 0; i < WIRE_TOKEN_LENGTH && !reader.has_failed; i++) {
        message->token[i] = base32_digit(message->token[i]);
        reader_check(&reader, message->token[i] != 0, "token's character", i);
    }
    return reader_finish(&reader);
}

void wire_admitted_encode(const struct wire_admitted *message, struct text *out)
{
    size_t frame = writer_begin(out, WIRE_ADMITTED);

    writer_u8(out, message->is_waiting);
    writer_text(out, message->is_waiting ? message->code : "", sizeof(message->code) - 1);
    writer_end(out, frame);
}

int wire_admitted_decode(const uint8_t *payload, size_t length, struct wire_admitted *message,
                         struct error *err)
{
    struct reader reader = reader_of(WIRE_ADMITTED, payload, length, err);

    message->is_waiting = reader_choice(&reader, 2, "result");
    reader_text(&reader, message->code, 0, message->is_waiting ? sizeof(message->code) - 1 : 0,
                "code");
    return reader_finish(&reader);
}

static void encode_disk_info(const struct wire_disk_info *disk, struct text *out)
{
    writer_u64(out, disk->size_bytes);
    writer_u32(out, disk->sector_size);
    writer_u64(out, disk->used_bytes);
    writer_text(out, disk->name, sizeof(disk->name) - 1);
    writer_text(out, disk->serial, sizeof(disk->serial) - 1);
}

void wire_machine_encode(const struct wire_machine *message, struct text *out)
{
    size_t frame = writer_begin(out, WIRE_MACHINE);

    writer_u16(out, message->disk_count);
    for (unsigned i = 0; i < message->disk_count; i++)
        encode_disk_info(&message->disks[i], out);
    writer_text(out, message->name, sizeof(message->name) - 1);
    writer_u32(out, (uint32_t)message->inventory_length);
    text_add_bytes(out, message->inventory, message->inventory_length);
    writer_end(out, frame);
}

static void decode_disk_info(struct reader *reader, struct wire_disk_info *disk)
{
    disk->size_bytes = reader_u64(reader, "disk's size");
    reader_check(reader, disk->size_bytes >= 1 && disk->size_bytes <= MANIFEST_MAX_SIZE,
                 "disk's size", disk->size_bytes);
    disk->sector_size = reader_u32(reader, "sector size");
    reader_check(reader,
                 disk->sector_size == 0 || disk->sector_size == 512 || disk->sector_size == 4096,
                 "sector size", disk->sector_size);
    disk->used_bytes = reader_u64(reader, "bytes in use");
    reader_check(reader, disk->used_bytes <= disk->size_bytes, "bytes in use", disk->used_bytes);
    reader_text(reader, disk->name, 1, sizeof(disk->name) - 1, "disk's name");
    reader_text(reader, disk->serial, 0, sizeof(disk->serial) - 1, "disk's serial");
}

int wire_machine_decode(const uint8_t *payload, size_t length, struct wire_machine *message,
                        struct error *err)
{
    struct reader reader = reader_of(WIRE_MACHINE, payload, length, err);

    *message = (struct wire_machine){0};
    message->disk_count = reader_u16(&reader, "number of disks");
    reader_check(&reader, message->disk_count >= 1 && message->disk_count <= WIRE_MAX_DISKS,
                 "number of disks", message->disk_count);
    for (unsigned i = 0; i < message->disk_count && !reader.has_failed; i++)
        decode_disk_info(&reader, &message->disks[i]);
    reader_text(&reader, message->name, 0, sizeof(message->name) - 1, "machine's name");
    message->inventory_length = reader_u32(&reader, "inventory's length");
    reader_check(&reader, message->inventory_length <= WIRE_MAX_INVENTORY, "inventory's length",
                 message->inventory_length);
    message->inventory = (const char *)reader_take(&reader, message->inventory_length, "inventory");
    return reader_finish(&reader);
}

#define LETTERS_AND_DIGITS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

/* Of [A-Za-z0-9._-], and begins with a letter or digit: the agent shows it to people. */
static bool is_machine_name(const char *name)
{
    return strspn(name, LETTERS_AND_DIGITS) > 0 &&
           name[strspn(name, LETTERS_AND_DIGITS "._-")] == '\0';
}

void wire_session_encode(const struct wire_session *message, struct text *out)
{
    size_t frame = writer_begin(out, WIRE_SESSION);

    text_add_bytes(out, message->session, sizeof(message->session));
    writer_text(out, message->machine, sizeof(message->machine) - 1);
    writer_end(out, frame);
}

int wire_session_decode(const uint8_t *payload, size_t length, struct wire_session *message,
                        struct error *err)
{
    struct reader reader = reader_of(WIRE_SESSION, payload, length, err);

    reader_bytes(&reader, message->session, sizeof(message->session), "session");
    reader_text(&reader, message->machine, 1, sizeof(message->machine) - 1, "machine's name");
    reader_check(&reader, is_machine_name(message->machine), "machine's name, character",
                 (uint8_t)message->machine[0]);
    return reader_finish(&reader);
}

void wire_finish_encode(const struct wire_finish *message, struct text *out)
{
    size_t frame = writer_begin(out, WIRE_FINISH);

    writer_u8(out, (uint8_t)message->consistency);
    writer_u8(out, message->has_warnings);
    writer_u32(out, (uint32_t)message->report_length);
    text_add_bytes(out, message->report, message->report_length);
    writer_end(out, frame);
}

int wire_finish_decode(const uint8_t *payload, size_t length, struct wire_finish *message,
                       struct error *err)
{
    struct reader reader = reader_of(WIRE_FINISH, payload, length, err);

    message->consistency = reader_choice(&reader, WIRE_NOT_CONSISTENT + 1, "consistency");
    message->has_warnings = reader_choice(&reader, 2, "warnings");
    message->report_length = reader_u32(&reader, "report's length");
    reader_check(&reader, message->report_length <= WIRE_MAX_REPORT, "report's length",
                 message->report_length);
    message->report = (const char *)reader_take(&reader, message->report_length, "report");
    return reader_finish(&reader);
}
