/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A disk's digest as a sum: in any order, taken back, and equal to what docs/wire.md defines.
 */
#include "base/bytes.h"
#include "formats/digest.h"
#include "p2v/wire/disksum.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct chunk_name name_of(uint8_t fill)
{
    struct chunk_name name;

    memset(name.bytes, fill, sizeof(name.bytes));
    return name;
}

/* SHA-256(chunk number (8), state (1), name (32)), put together here by hand. */
static void expected_summand(uint64_t index, uint8_t state, const struct chunk_name *name,
                             uint8_t result[32])
{
    uint8_t input[41] = {0};

    for (unsigned i = 0; i < 8; i++)
        input[i] = (uint8_t)(index >> (8 * i));
    input[8] = state;
    if (name)
        memcpy(input + 9, name->bytes, 32);
    digest_compute(input, sizeof(input), result);
}

static void test_one_chunk_is_the_digest_of_its_number_state_and_name(void **state)
{
    struct disksum sum = {{0}};
    struct chunk_name name = name_of(0xab);
    uint8_t expected[32];

    (void)state;
    disksum_add(&sum, 0x0102030405ull, CHUNK_DATA, &name);
    expected_summand(0x0102030405ull, 2, &name, expected);
    assert_memory_equal(sum.bytes, expected, 32);
}

static void test_an_unreadable_chunk_counts_with_a_name_of_zeroes(void **state)
{
    struct disksum sum = {{0}};
    struct chunk_name name = name_of(0xab);
    uint8_t expected[32];

    (void)state;
    disksum_add(&sum, 7, CHUNK_UNREADABLE, &name);
    expected_summand(7, 3, NULL, expected);
    assert_memory_equal(sum.bytes, expected, 32);
}

static void test_skipped_and_zero_chunks_count_nothing(void **state)
{
    struct disksum sum = {{0}}, nothing = {{0}};

    (void)state;
    disksum_add(&sum, 1, CHUNK_SKIPPED, NULL);
    disksum_add(&sum, 2, CHUNK_ZERO, NULL);
    disksum_remove(&sum, 3, CHUNK_ZERO, NULL);
    assert_true(disksum_is_equal(&sum, &nothing));
}

/* The sum, byte by byte as in school. */
static void test_two_chunks_are_a_little_endian_sum_with_carries(void **state)
{
    (void)state;
    for (uint8_t fill = 1; fill < 200; fill++) {
        struct disksum sum = {{0}};
        struct chunk_name name = name_of(fill);
        uint8_t a[32], b[32];
        unsigned carry = 0;
        disksum_add(&sum, 0, CHUNK_DATA, &name);
        disksum_add(&sum, 1, CHUNK_DATA, &name);
        expected_summand(0, 2, &name, a);
        expected_summand(1, 2, &name, b);
        for (unsigned i = 0; i < 32; i++) {
            unsigned total = a[i] + b[i] + carry;
            assert_int_equal(sum.bytes[i], total & 0xff);
            carry = total >> 8;
        }
    }
}

static void test_order_does_not_matter_and_what_is_removed_never_was(void **state)
{
    struct disksum up = {{0}}, down = {{0}}, nothing = {{0}};

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        struct chunk_name name = name_of((uint8_t)i), last = name_of((uint8_t)(99 - i));
        disksum_add(&up, i, CHUNK_DATA, &name);
        disksum_add(&down, 99 - i, CHUNK_DATA, &last);
    }
    assert_true(disksum_is_equal(&up, &down));
    struct chunk_name old = name_of(50), new = name_of(200);
    disksum_remove(&up, 50, CHUNK_DATA, &old);
    disksum_add(&up, 50, CHUNK_DATA, &new);
    assert_false(disksum_is_equal(&up, &down));
    disksum_remove(&up, 50, CHUNK_DATA, &new);
    disksum_add(&up, 50, CHUNK_DATA, &old);
    assert_true(disksum_is_equal(&up, &down));
    for (unsigned i = 0; i < 100; i++) {
        struct chunk_name name = name_of((uint8_t)i);
        disksum_remove(&up, i, CHUNK_DATA, &name); /* borrows across all words */
    }
    assert_true(disksum_is_equal(&up, &nothing));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_chunk_is_the_digest_of_its_number_state_and_name),
        cmocka_unit_test(test_an_unreadable_chunk_counts_with_a_name_of_zeroes),
        cmocka_unit_test(test_skipped_and_zero_chunks_count_nothing),
        cmocka_unit_test(test_two_chunks_are_a_little_endian_sum_with_carries),
        cmocka_unit_test(test_order_does_not_matter_and_what_is_removed_never_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
