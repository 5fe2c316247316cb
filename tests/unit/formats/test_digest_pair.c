/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Two digests at a time beside one at a time (OpenSSL's), and a published one.
 */
#include "formats/digest_pair.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CHUNK 65536u

static void assert_same(const uint8_t *a, const uint8_t *b, size_t length)
{
    uint8_t pair[2][DIGEST_SIZE], alone[DIGEST_SIZE];

    digest_compute_pair((const void *const[]){a, b}, length, pair);
    digest_compute(a, length, alone);
    assert_memory_equal(pair[0], alone, DIGEST_SIZE);
    digest_compute(b, length, alone);
    assert_memory_equal(pair[1], alone, DIGEST_SIZE);
}

static uint8_t *random_bytes(size_t length)
{
    uint8_t *data = malloc(length);

    assert_non_null(data);
    for (size_t i = 0; i < length; i++)
        data[i] = (uint8_t)(rand() >> 7);
    return data;
}

static void test_every_length_around_the_blocks_gives_what_one_alone_gives(void **state)
{
    uint8_t *data = random_bytes(2 * CHUNK);

    (void)state;
    for (size_t length = 0; length < 300; length++)
        assert_same(data, data + 1000, length);
    for (size_t length = CHUNK - 65; length <= CHUNK; length++)
        assert_same(data, data + CHUNK, length);
    free(data);
}

static void test_data_may_lie_anywhere_and_twice(void **state)
{
    uint8_t *data = random_bytes(2 * CHUNK);

    (void)state;
    for (size_t i = 0; i < 64; i++)
        assert_same(data + i, data + CHUNK - 3 * i, 4096 + 17 * i);
    assert_same(data, data, CHUNK);
    free(data);
}

/* FIPS 180-4's example: "abc". */
static void test_abc_has_its_published_digest(void **state)
{
    static const uint8_t expected[DIGEST_SIZE] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea,
                                                  0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23,
                                                  0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c,
                                                  0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
    uint8_t pair[2][DIGEST_SIZE];

    (void)state;
    digest_compute_pair((const void *const[]){"abc", "abd"}, 3, pair);
    assert_memory_equal(pair[0], expected, DIGEST_SIZE);
    assert_memory_not_equal(pair[1], expected, DIGEST_SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_length_around_the_blocks_gives_what_one_alone_gives),
        cmocka_unit_test(test_data_may_lie_anywhere_and_twice),
        cmocka_unit_test(test_abc_has_its_published_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
