/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The fields of the wire's messages: each that may not be is refused by its name, and texts are
 * made printable.
 */
#include "tests/lib/wire_messages.h"

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
        build(patch->type, &frame, patch->is_large);
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
        cmocka_unit_test(test_each_field_that_may_not_be_is_refused_by_name),
        cmocka_unit_test(test_offers_and_data_beyond_64_bits_are_refused),
        cmocka_unit_test(test_another_versions_hello_tells_its_version_whatever_else_it_holds),
        cmocka_unit_test(test_a_token_is_upper_case_after_decoding_and_never_in_an_error),
        cmocka_unit_test(test_a_program_beyond_ascii_is_refused),
        cmocka_unit_test(test_texts_are_cut_at_a_character_and_made_printable),
        cmocka_unit_test(test_a_want_tells_its_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
