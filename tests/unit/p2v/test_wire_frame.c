/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The wire's frames: the smallest and the largest of each type come back as they were and have the
 * sizes of docs/wire.md; a byte more, a byte less and each field that may not be are refused.
 */
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

static void fill(char *text, size_t length)
{
    memset(text, 'x', length);
    text[length] = '\0';
}

static void build_hello(struct text *out, bool is_large)
{
    struct wire_hello hello = {.version = WIRE_VERSION};

    if (is_large) {
        hello.role = WIRE_DISK_DATA;
        memset(hello.session, 7, sizeof(hello.session));
        fill(hello.program, sizeof(hello.program) - 1);
    }
    wire_hello_encode(&hello, out);
}

static void build_welcome(struct text *out, bool is_large)
{
    struct wire_welcome welcome = {.version = WIRE_VERSION, .chunk_size = CHUNK_SIZE};

    welcome.needs_admission = is_large;
    welcome.window_bytes = is_large ? UINT64_MAX : CHUNK_SIZE;
    welcome.time_seconds = is_large ? UINT64_MAX : 0;
    wire_welcome_encode(&welcome, out);
}

static void build_token(struct text *out, bool is_large)
{
    struct wire_token token;

    (void)is_large;
    snprintf(token.token, sizeof(token.token), "ABCDEFGHIJKLMNOPQRSTUVWX27");
    wire_token_encode(&token, out);
}

static void build_admitted(struct text *out, bool is_large)
{
    struct wire_admitted admitted = {.is_waiting = is_large};

    fill(admitted.code, is_large ? sizeof(admitted.code) - 1 : 0);
    wire_admitted_encode(&admitted, out);
}

static void build_machine(struct text *out, bool is_large)
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

static void build_session(struct text *out, bool is_large)
{
    struct wire_session session = {.session = {1, 2, 3}};

    fill(session.machine, is_large ? 63 : 1);
    wire_session_encode(&session, out);
}

static void build_disk(struct text *out, bool is_large)
{
    struct wire_disk disk = {.disk = is_large ? WIRE_MAX_DISKS - 1 : 0,
                             .pass = is_large ? UINT32_MAX : 0};

    wire_disk_encode(&disk, out);
}

static void build_ready(struct text *out, bool is_large)
{
    wire_ready_encode(&(struct wire_ready){.checkpoint_bytes = is_large ? UINT64_MAX : 0}, out);
}

static void build_run(struct text *out, bool is_large)
{
    struct wire_run run = {.sequence = is_large ? UINT64_MAX : 0, .count = 1};

    run.first = is_large ? UINT64_MAX - 1 : 0;
    run.state = is_large ? CHUNK_UNREADABLE : CHUNK_SKIPPED;
    wire_run_encode(&run, out);
}

static void build_offer(struct text *out, bool is_large)
{
    static struct wire_offer offer;

    offer.count = is_large ? WIRE_MAX_OFFER : 1;
    for (unsigned i = 0; i < offer.count; i++)
        memset(offer.names[i].bytes, (int)(i + 1), CHUNK_NAME_SIZE);
    wire_offer_encode(&offer, out);
}

static void build_want(struct text *out, bool is_large)
{
    struct wire_want want = {.count = is_large ? WIRE_MAX_OFFER : 1};

    memset(want.bits, is_large ? 0xff : 0, sizeof(want.bits));
    want.bits[0] |= 1;
    wire_want_encode(&want, out);
}

static void build_data(struct text *out, bool is_large)
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

static void build_safe(struct text *out, bool is_large)
{
    wire_safe_encode(&(struct wire_safe){.sequence = is_large ? UINT64_MAX : 0}, out);
}

static void build_pass(struct text *out, bool is_large)
{
    wire_pass_encode(&(struct wire_pass){.pass = 3, .is_last = is_large, .digest = {9, 8}}, out);
}

static void build_passed(struct text *out, bool is_large)
{
    wire_passed_encode(&(struct wire_passed){.pass = 3, .is_different = is_large, .digest = {9, 8}},
                       out);
}

static void build_finish(struct text *out, bool is_large)
{
    struct wire_finish finish = {.has_warnings = is_large, .report = (const char *)bytes};

    finish.consistency = is_large ? WIRE_NOT_CONSISTENT : WIRE_AT_REST;
    finish.report_length = is_large ? WIRE_MAX_REPORT : 0;
    wire_finish_encode(&finish, out);
}

static void build_stage(struct text *out, bool is_large)
{
    struct wire_stage_text stage = {.stage = is_large ? WIRE_STAGE_TESTING : WIRE_STAGE_RECEIVED};

    fill(stage.text, is_large ? WIRE_MAX_TEXT : 0);
    wire_stage_text_encode(&stage, out);
}

static void build_result(struct text *out, bool is_large)
{
    struct wire_result result = {.exit_code = is_large ? 255 : 0};

    fill(result.text, is_large ? WIRE_MAX_TEXT : 0);
    wire_result_encode(&result, out);
}

static void build_pause(struct text *out, bool is_large)
{
    struct wire_pause pause;

    fill(pause.text, is_large ? WIRE_MAX_TEXT : 0);
    wire_pause_encode(&pause, out);
}

static void build_error(struct text *out, bool is_large)
{
    struct wire_error error = {.code = is_large ? WIRE_ERROR_SHUTTING_DOWN : WIRE_ERROR_INTERNAL};

    fill(error.text, is_large ? WIRE_MAX_TEXT : 0);
    wire_error_encode(&error, out);
}

static void build_status(struct text *out, bool is_large)
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
static int decode(enum wire_type type, const void *payload, size_t length, struct text *again,
                  struct error *err)
{
    uint8_t *copy = malloc(length ? length : 1);

    assert_non_null(copy);
    if (length)
        memcpy(copy, payload, length);
    int status = wire_again(type)(copy, length, again, err);
    free(copy);
    return status;
}

static void refused(enum wire_type type, const void *payload, size_t length, const char *says)
{
    struct error err = {0};
    AUTO(text) again = {0};

    if (decode(type, payload, length, &again, &err) == 0)
        fail_msg("%s with a bad %s was taken", wire_type_name(type), says);
    assert_int_equal(err.errnum, EPROTO);
    if (!strstr(err.text, says) || !strstr(err.text, wire_type_name(type)))
        fail_msg("'%s' does not name %s", err.text, says);
}

static void check_message(const struct message *message, bool is_large)
{
    AUTO(text) frame = {0};
    AUTO(text) again = {0};
    struct wire_header header;

    message->build(&frame, is_large);
    assert_int_equal(wire_header_decode((uint8_t *)frame.data, &header, NULL), 0);
    assert_int_equal(header.type, message->type);
    assert_int_equal(header.length, is_large ? message->most : message->least);
    assert_int_equal(frame.length, WIRE_HEADER_SIZE + header.length);

    const char *payload = frame.data + WIRE_HEADER_SIZE;
    assert_int_equal(decode(message->type, payload, header.length, &again, NULL), 0);
    assert_int_equal(again.length, frame.length);
    assert_memory_equal(again.data, frame.data, frame.length);

    if (!message->ends_with_text || !is_large)
        refused(message->type, payload, header.length - 1, "");
    text_add_bytes(&frame, "x", 1);
    if (!message->ends_with_text || is_large)
        refused(message->type, frame.data + WIRE_HEADER_SIZE, header.length + 1, "");
    refused(message->type, NULL, 0, "");
}

static void test_smallest_messages_come_back_and_a_byte_more_or_less_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(messages); i++)
        check_message(&messages[i], false);
}

static void test_largest_messages_come_back_and_a_byte_more_or_less_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(messages); i++)
        check_message(&messages[i], true);
}

static const struct patch {
    enum wire_type type;
    bool is_large; /* which message it spoils */
    size_t offset;
    uint8_t value;
    const char *says;
} patches[] = {
    {WIRE_HELLO, false, 0, 'X', "magic"},
    {WIRE_HELLO, false, 6, 2, "purpose"},
    {WIRE_HELLO, false, 7, 1, "reserved"},
    {WIRE_HELLO, false, 12, 1, "reserved"},
    {WIRE_HELLO, false, 13, 1, "session"},
    {WIRE_HELLO, true, 29, '\n', "program"},
    {WIRE_WELCOME, false, 0, 2, "version"},
    {WIRE_WELCOME, false, 2, 2, "state"},
    {WIRE_WELCOME, false, 3, 1, "reserved"},
    {WIRE_WELCOME, false, 4, 1, "chunk size"},
    {WIRE_WELCOME, false, 10, 0, "window"},
    {WIRE_WELCOME, false, 24, 1, "reserved"},
    {WIRE_TOKEN, false, 0, '1', "token"},
    {WIRE_TOKEN, false, 25, '8', "token"},
    {WIRE_TOKEN, false, 3, '=', "token"},
    {WIRE_TOKEN, false, 3, 0, "token"},
    {WIRE_ADMITTED, false, 0, 2, "result"},
    {WIRE_ADMITTED, true, 0, 0, "code"},
    {WIRE_ADMITTED, true, 1, 65, "code"},
    {WIRE_ADMITTED, true, 3, 0x7f, "code"},
    {WIRE_MACHINE, false, 0, 0, "number of disks"},
    {WIRE_MACHINE, false, 0, 65, "number of disks"},
    {WIRE_MACHINE, false, 2, 0, "disk's size"},
    {WIRE_MACHINE, true, 2, 1, "disk's size"},
    {WIRE_MACHINE, false, 10, 1, "sector size"},
    {WIRE_MACHINE, false, 11, 4, "sector size"},
    {WIRE_MACHINE, false, 14, 2, "bytes in use"},
    {WIRE_MACHINE, false, 22, 0, "disk's name"},
    {WIRE_MACHINE, false, 22, 65, "disk's name"},
    {WIRE_MACHINE, false, 24, '\n', "disk's name"},
    {WIRE_MACHINE, false, 24, 0, "disk's name"},
    {WIRE_MACHINE, false, 24, 0xff, "disk's name"},
    {WIRE_MACHINE, false, 25, 65, "disk's serial"},
    {WIRE_MACHINE, false, 27, 64, "machine's name"},
    {WIRE_MACHINE, false, 29, 1, "inventory"},
    {WIRE_MACHINE, false, 31, 0x10, "inventory's length"},
    {WIRE_SESSION, false, 16, 0, "machine's name"},
    {WIRE_SESSION, true, 16, 64, "machine's name"},
    {WIRE_SESSION, true, 20, '/', "machine's name"},
    {WIRE_SESSION, true, 18, '-', "machine's name"},
    {WIRE_SESSION, true, 18, '.', "machine's name"},
    {WIRE_DISK, false, 0, 64, "disk"},
    {WIRE_READY, false, 11, 1, "reserved"},
    {WIRE_RUN, false, 16, 0, "count"},
    {WIRE_RUN, true, 16, 2, "first chunk"},
    {WIRE_RUN, false, 24, CHUNK_DATA, "state"},
    {WIRE_RUN, false, 24, 4, "state"},
    {WIRE_OFFER, false, 16, 0, "count"},
    {WIRE_OFFER, false, 16, 2, "names"},
    {WIRE_OFFER, true, 16, 1, "count"},
    {WIRE_WANT, false, 8, 0, "count"},
    {WIRE_WANT, true, 8, 1, "count"},
    {WIRE_WANT, false, 10, 2, "unused bits"},
    {WIRE_DATA, false, 16, 0, "count"},
    {WIRE_DATA, true, 16, 17, "count"},
    {WIRE_DATA, false, 18, 3, "encoding"},
    {WIRE_DATA, false, 19, 1, "reserved"},
    {WIRE_DATA, false, 20, 0, "chunk's length"},
    {WIRE_DATA, true, 20, 1, "chunk's length"},
    {WIRE_DATA, true, 18, 2, "chunk's length"}, /* joined, but each has a length */
    {WIRE_DATA, false, 20, 2, "chunk"},
    {WIRE_SAFE, false, 8, 1, "reserved"},
    {WIRE_PASS, false, 4, 2, "last"},
    {WIRE_PASSED, false, 4, 2, "result"},
    {WIRE_FINISH, false, 0, 3, "consistency"},
    {WIRE_FINISH, false, 1, 2, "warnings"},
    {WIRE_FINISH, false, 2, 1, "report"},
    {WIRE_FINISH, false, 5, 1, "report's length"},
    {WIRE_STAGE, false, 0, WIRE_STAGE_END, "stage"},
    {WIRE_STAGE, false, 2, 4, "text"},
    {WIRE_RESULT, true, 3, '\t', "text"},
    {WIRE_PAUSE, true, 2, 0x80, "text"},
    {WIRE_ERROR, false, 0, 0, "code"},
    {WIRE_ERROR, false, 0, WIRE_ERROR_END, "code"},
    {WIRE_ERROR, true, 4, 0x1b, "text"},
    {WIRE_STATUS, false, 0, 64, "disk"},
    {WIRE_STATUS, true, 18, 0xc3, "text"},
};

static void test_each_field_that_may_not_be_is_refused_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(patches); i++) {
        const struct patch *patch = &patches[i];
        AUTO(text) frame = {0};
        for (size_t k = 0; k < ARRAY_LENGTH(messages); k++) {
            if (messages[k].type == patch->type)
                messages[k].build(&frame, patch->is_large);
        }
        frame.data[WIRE_HEADER_SIZE + patch->offset] = (char)patch->value;
        refused(patch->type, frame.data + WIRE_HEADER_SIZE, frame.length - WIRE_HEADER_SIZE,
                patch->says);
    }
}

static void test_offers_and_data_beyond_64_bits_are_refused(void **state)
{
    AUTO(text) offer = {0};
    AUTO(text) data = {0};

    (void)state;
    build_offer(&offer, true);
    memset(offer.data + WIRE_HEADER_SIZE + 8, 0xff, 8);
    refused(WIRE_OFFER, offer.data + WIRE_HEADER_SIZE, 8210, "first chunk");
    build_data(&data, true);
    memset(data.data + WIRE_HEADER_SIZE + 8, 0xff, 8);
    refused(WIRE_DATA, data.data + WIRE_HEADER_SIZE, WIRE_MAX_PAYLOAD, "first chunk");
}

static void test_another_versions_hello_tells_its_version_whatever_else_it_holds(void **state)
{
    uint8_t payload[40] = {'R', 'H', 'S', 'T', 2, 0, 99, 99, 99};
    struct wire_hello hello;

    (void)state;
    assert_int_equal(wire_hello_decode(payload, sizeof(payload), &hello, NULL), 0);
    assert_int_equal(hello.version, 2);
}

static void test_a_token_is_upper_case_after_decoding_and_never_in_an_error(void **state)
{
    struct wire_token token;
    struct error err = {0};

    (void)state;
    assert_int_equal(
        wire_token_decode((const uint8_t *)"abcdefghijklmnopqrstuvwx27", 26, &token, NULL), 0);
    assert_string_equal(token.token, "ABCDEFGHIJKLMNOPQRSTUVWX27");
    assert_int_equal(
        wire_token_decode((const uint8_t *)"SECRETSECRETSECRETSECRET!!", 26, &token, &err), -1);
    assert_null(strstr(err.text, "SECRET"));
}

static void test_a_program_beyond_ascii_is_refused(void **state)
{
    AUTO(text) frame = {0};

    (void)state;
    build_hello(&frame, false);
    text_add(&frame, "rehost \xc3\xa9");
    refused(WIRE_HELLO, frame.data + WIRE_HEADER_SIZE, frame.length - WIRE_HEADER_SIZE, "program");
}

static void test_texts_are_cut_at_a_character_and_made_printable(void **state)
{
    struct wire_pause pause, decoded;
    AUTO(text) frame = {0};

    (void)state;
    fill(pause.text, WIRE_MAX_TEXT - 1);
    memcpy(pause.text, "a\nb\x1b\xff\xc2\x85", 7);
    memcpy(pause.text + WIRE_MAX_TEXT - 3, "\xe2\x82\xac", 4); /* just fits */
    wire_pause_encode(&pause, &frame);
    assert_int_equal(wire_pause_decode((uint8_t *)frame.data + WIRE_HEADER_SIZE,
                                       frame.length - WIRE_HEADER_SIZE, &decoded, NULL),
                     0);
    assert_memory_equal(decoded.text, "a?b????x", 8);
    assert_string_equal(decoded.text + WIRE_MAX_TEXT - 3, "\xe2\x82\xac");

    struct wire_admitted admitted = {.is_waiting = true}, waiting;
    AUTO(text) second = {0};
    fill(admitted.code, 63);
    memcpy(admitted.code + 62, "\xe2\x82", 3); /* half a character is two bad bytes */
    wire_admitted_encode(&admitted, &second);
    assert_int_equal(wire_admitted_decode((uint8_t *)second.data + WIRE_HEADER_SIZE,
                                          second.length - WIRE_HEADER_SIZE, &waiting, NULL),
                     0);
    assert_string_equal(waiting.code + 62, "??");
}

static void test_headers_of_unknown_types_bad_lengths_or_not_zero_are_refused(void **state)
{
    uint8_t header[WIRE_HEADER_SIZE] = {12, 0, 0, 0, WIRE_SAFE, 0, 0, 0};
    struct wire_header decoded;
    struct error err = {0};

    (void)state;
    assert_int_equal(wire_header_decode(header, &decoded, NULL), 0);
    for (unsigned type = 0; type < 256; type++) {
        header[4] = (uint8_t)type;
        bool is_taken = wire_header_decode(header, &decoded, &err) == 0;
        assert_int_equal(is_taken,
                         type == WIRE_SAFE || type == WIRE_READY || type == WIRE_ADMITTED ||
                             type == WIRE_FINISH || type == WIRE_STAGE || type == WIRE_RESULT ||
                             type == WIRE_PAUSE || type == WIRE_ERROR || type == WIRE_WANT);
    }
    assert_int_equal(err.errnum, EPROTO);
    header[4] = WIRE_SAFE;
    for (unsigned i = 5; i < WIRE_HEADER_SIZE; i++) {
        header[i] = 1;
        assert_int_equal(wire_header_decode(header, &decoded, &err), -1);
        assert_non_null(strstr(err.text, "SAFE"));
        header[i] = 0;
    }
}

static void test_header_lengths_are_bounded_by_the_type(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(messages); i++) {
        const struct message *message = &messages[i];
        size_t most = message->type == WIRE_MACHINE ? 1048576 : message->most;
        struct wire_header header = {.type = message->type}, decoded;
        uint8_t encoded[WIRE_HEADER_SIZE];
        const size_t lengths[] = {message->least - 1, message->least, most, most + 1};
        for (unsigned k = 0; k < ARRAY_LENGTH(lengths); k++) {
            header.length = (uint32_t)lengths[k];
            wire_header_encode(&header, encoded);
            int expected = k == 0 || k == 3 ? -1 : 0;
            assert_int_equal(wire_header_decode(encoded, &decoded, NULL), expected);
        }
    }
}

static void test_ping_pong_and_resume_are_headers_alone(void **state)
{
    static const enum wire_type types[] = {WIRE_PING, WIRE_PONG, WIRE_RESUME};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(types); i++) {
        AUTO(text) frame = {0};
        struct wire_header header;
        wire_empty_encode(types[i], &frame);
        assert_int_equal(frame.length, WIRE_HEADER_SIZE);
        assert_int_equal(wire_header_decode((uint8_t *)frame.data, &header, NULL), 0);
        assert_int_equal(header.type, types[i]);
        frame.data[0] = 1;
        assert_int_equal(wire_header_decode((uint8_t *)frame.data, &header, NULL), -1);
    }
}

static void test_types_have_names_and_sides(void **state)
{
    (void)state;
    assert_string_equal(wire_type_name(WIRE_OFFER), "OFFER");
    assert_string_equal(wire_type_name(0), "?");
    assert_string_equal(wire_type_name(WIRE_TYPE_END), "?");
    assert_true(wire_type_is_from_agent(WIRE_DATA) && !wire_type_is_from_server(WIRE_DATA));
    assert_true(wire_type_is_from_server(WIRE_WANT) && !wire_type_is_from_agent(WIRE_WANT));
    assert_true(wire_type_is_from_server(WIRE_ERROR) && wire_type_is_from_agent(WIRE_ERROR));
    assert_false(wire_type_is_from_agent(0) || wire_type_is_from_server(WIRE_TYPE_END));
}

static void test_a_want_tells_its_chunks(void **state)
{
    struct wire_want want = {.count = 10, .bits = {0x81, 0x02}};

    (void)state;
    assert_true(wire_want_has(&want, 0) && wire_want_has(&want, 7) && wire_want_has(&want, 9));
    assert_false(wire_want_has(&want, 1) || wire_want_has(&want, 8));
}

static int decode_run(uint64_t count, enum chunk_state state)
{
    AUTO(text) out = {0};
    struct wire_run run = {.count = count, .state = state};
    wire_run_encode(&run, &out);
    return wire_run_decode((const uint8_t *)out.data + WIRE_HEADER_SIZE,
                           out.length - WIRE_HEADER_SIZE, &run, NULL);
}

static void test_run_of_unreadable_chunks_is_bounded_and_others_are_not(void **state)
{
    (void)state;
    assert_int_equal(decode_run(65536, CHUNK_UNREADABLE), 0);
    assert_int_equal(decode_run(65537, CHUNK_UNREADABLE), -1);
    assert_int_equal(decode_run((uint64_t)1 << 30, CHUNK_ZERO), 0);
    assert_int_equal(decode_run((uint64_t)1 << 30, CHUNK_SKIPPED), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_of_unreadable_chunks_is_bounded_and_others_are_not),
        cmocka_unit_test(test_smallest_messages_come_back_and_a_byte_more_or_less_is_refused),
        cmocka_unit_test(test_largest_messages_come_back_and_a_byte_more_or_less_is_refused),
        cmocka_unit_test(test_each_field_that_may_not_be_is_refused_by_name),
        cmocka_unit_test(test_offers_and_data_beyond_64_bits_are_refused),
        cmocka_unit_test(test_another_versions_hello_tells_its_version_whatever_else_it_holds),
        cmocka_unit_test(test_a_token_is_upper_case_after_decoding_and_never_in_an_error),
        cmocka_unit_test(test_a_program_beyond_ascii_is_refused),
        cmocka_unit_test(test_texts_are_cut_at_a_character_and_made_printable),
        cmocka_unit_test(test_headers_of_unknown_types_bad_lengths_or_not_zero_are_refused),
        cmocka_unit_test(test_header_lengths_are_bounded_by_the_type),
        cmocka_unit_test(test_ping_pong_and_resume_are_headers_alone),
        cmocka_unit_test(test_types_have_names_and_sides),
        cmocka_unit_test(test_a_want_tells_its_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
