/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The wire's frames: the smallest and the largest of each type come back as they were and have the
 * sizes of docs/wire.md; a byte more, a byte less and headers that may not be are refused.
 */
#include "tests/lib/wire_messages.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_smallest_messages_come_back_and_a_byte_more_or_less_is_refused),
        cmocka_unit_test(test_largest_messages_come_back_and_a_byte_more_or_less_is_refused),
        cmocka_unit_test(test_headers_of_unknown_types_bad_lengths_or_not_zero_are_refused),
        cmocka_unit_test(test_header_lengths_are_bounded_by_the_type),
        cmocka_unit_test(test_ping_pong_and_resume_are_headers_alone),
        cmocka_unit_test(test_types_have_names_and_sides),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
