/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The messages that are for people: STAGE, RESULT, PAUSE, ERROR, STATUS.
 */
#include "p2v/wire/cursor.h"
#include "p2v/wire/frame.h"

void wire_stage_text_encode(const struct wire_stage_text *message, struct text *out)
{
    size_t frame = writer_begin(out, WIRE_STAGE);

    writer_u8(out, (uint8_t)message->stage);
    writer_text(out, message->text, WIRE_MAX_TEXT);
    writer_end(out, frame);
}

int wire_stage_text_decode(const uint8_t *payload, size_t length, struct wire_stage_text *message,
                           struct error *err)
{
    struct reader reader = reader_of(WIRE_STAGE, payload, length, err);

    message->stage = reader_choice(&reader, WIRE_STAGE_END, "stage");
    reader_text(&reader, message->text, 0, WIRE_MAX_TEXT, "text");
    return reader_finish(&reader);
}

void wire_result_encode(const struct wire_result *message, struct text *out)
{
    size_t frame = writer_begin(out, WIRE_RESULT);

    writer_u8(out, message->exit_code);
    writer_text(out, message->text, WIRE_MAX_TEXT);
    writer_end(out, frame);
}

int wire_result_decode(const uint8_t *payload, size_t length, struct wire_result *message,
                       struct error *err)
{
    struct reader reader = reader_of(WIRE_RESULT, payload, length, err);

    message->exit_code = reader_u8(&reader, "exit code");
    reader_text(&reader, message->text, 0, WIRE_MAX_TEXT, "text");
    return reader_finish(&reader);
}

void wire_pause_encode(const struct wire_pause *message, struct text *out)
{
    size_t frame = writer_begin(out, WIRE_PAUSE);

    writer_text(out, message->text, WIRE_MAX_TEXT);
    writer_end(out, frame);
}

int wire_pause_decode(const uint8_t *payload, size_t length, struct wire_pause *message,
                      struct error *err)
{
    struct reader reader = reader_of(WIRE_PAUSE, payload, length, err);

    reader_text(&reader, message->text, 0, WIRE_MAX_TEXT, "text");
    return reader_finish(&reader);
}

void wire_error_encode(const struct wire_error *message, struct text *out)
{
    size_t frame = writer_begin(out, WIRE_ERROR);

    writer_u16(out, (uint16_t)message->code);
    writer_text(out, message->text, WIRE_MAX_TEXT);
    writer_end(out, frame);
}

int wire_error_decode(const uint8_t *payload, size_t length, struct wire_error *message,
                      struct error *err)
{
    struct reader reader = reader_of(WIRE_ERROR, payload, length, err);
    uint16_t code = reader_u16(&reader, "code");

    reader_check(&reader, code >= WIRE_ERROR_INTERNAL && code < WIRE_ERROR_END, "code", code);
    message->code = code;
    reader_text(&reader, message->text, 0, WIRE_MAX_TEXT, "text");
    return reader_finish(&reader);
}

void wire_status_encode(const struct wire_status *message, struct text *out)
{
    size_t frame = writer_begin(out, WIRE_STATUS);

    writer_u16(out, message->disk);
    writer_u64(out, message->done_bytes);
    writer_u64(out, message->total_bytes);
    writer_rest(out, message->text, WIRE_MAX_TEXT);
    writer_end(out, frame);
}

int wire_status_decode(const uint8_t *payload, size_t length, struct wire_status *message,
                       struct error *err)
{
    struct reader reader = reader_of(WIRE_STATUS, payload, length, err);

    message->disk = reader_u16(&reader, "disk");
    reader_check(&reader, message->disk < WIRE_MAX_DISKS || message->disk == WIRE_WHOLE_MACHINE,
                 "disk", message->disk);
    message->done_bytes = reader_u64(&reader, "bytes done");
    message->total_bytes = reader_u64(&reader, "bytes to do");
    reader_rest(&reader, message->text, WIRE_MAX_TEXT, "text");
    return reader_finish(&reader);
}
