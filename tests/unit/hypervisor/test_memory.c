/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Guest memory: an address becomes a pointer only when all of the range is in one region.
 */
#include "hypervisor/memory.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define LOW UINT64_C(0x1000)
#define HIGH UINT64_C(0x100000000)

static uint8_t low[4096], high[8192];

static void two_regions(struct guest_memory *memory)
{
    *memory = (struct guest_memory){.count = 0};
    assert_int_equal(guest_memory_add(memory, HIGH, sizeof(high), high, NULL), 0);
    assert_int_equal(guest_memory_add(memory, LOW, sizeof(low), low, NULL), 0);
}

static void a_range_inside_of_a_region_is_found(void **state)
{
    struct guest_memory memory;
    (void)state;
    two_regions(&memory);
    assert_ptr_equal(guest_memory_at(&memory, LOW, 1), low);
    assert_ptr_equal(guest_memory_at(&memory, LOW, sizeof(low)), low);
    assert_ptr_equal(guest_memory_at(&memory, LOW + 4095, 1), low + 4095);
    assert_ptr_equal(guest_memory_at(&memory, HIGH + 4096, 4096), high + 4096);
    assert_ptr_equal(guest_memory_at(&memory, HIGH + 5, 0), high + 5);
}

static void a_range_that_leaves_its_region_is_not(void **state)
{
    struct guest_memory memory;
    (void)state;
    two_regions(&memory);
    assert_null(guest_memory_at(&memory, LOW - 1, 1));
    assert_null(guest_memory_at(&memory, LOW - 1, 2));
    assert_null(guest_memory_at(&memory, LOW + 4096, 0));
    assert_null(guest_memory_at(&memory, LOW + 4095, 2));
    assert_null(guest_memory_at(&memory, LOW, 4097));
    assert_null(guest_memory_at(&memory, HIGH + 8192, 1));
    assert_null(guest_memory_at(&memory, 0, 0));
}

static void ranges_that_wrap_are_not_found(void **state)
{
    struct guest_memory memory;
    (void)state;
    two_regions(&memory);
    assert_null(guest_memory_at(&memory, LOW, UINT64_MAX));
    assert_null(guest_memory_at(&memory, LOW + 1, UINT64_MAX - LOW));
    assert_null(guest_memory_at(&memory, UINT64_MAX, 2));
    assert_null(guest_memory_at(&memory, UINT64_MAX - 1, LOW + 3));
    assert_null(guest_memory_at(&memory, HIGH, UINT64_C(1) << 32));
}

static void regions_may_not_overlap_wrap_or_be_empty(void **state)
{
    struct guest_memory memory;
    struct error err = {0};
    (void)state;
    two_regions(&memory);
    assert_int_equal(guest_memory_add(&memory, LOW + 4095, 1, low, &err), -1);
    assert_int_equal(err.errnum, EINVAL);
    assert_int_equal(guest_memory_add(&memory, 0, HIGH + 1, low, &err), -1);
    assert_int_equal(guest_memory_add(&memory, HIGH * 2, 0, low, &err), -1);
    assert_int_equal(guest_memory_add(&memory, UINT64_MAX, 1, low, &err), -1);
    assert_int_equal(err.errnum, EINVAL);
    assert_int_equal(memory.count, 2);
    assert_int_equal(guest_memory_add(&memory, LOW + 4096, 4096, high, NULL), 0); /* it touches */
}

static void there_are_at_most_four_regions(void **state)
{
    struct guest_memory memory = {.count = 0};
    struct error err = {0};
    (void)state;
    for (uint64_t i = 0; i < GUEST_MEMORY_MAX_REGIONS; i++)
        assert_int_equal(guest_memory_add(&memory, i * 4096, 4096, low, NULL), 0);
    assert_int_equal(guest_memory_add(&memory, HIGH, 4096, high, &err), -1);
    assert_int_equal(err.errnum, ENOSPC);
}

static void reading_and_writing_copy_all_or_nothing(void **state)
{
    struct guest_memory memory;
    char text[8] = "unread!";
    (void)state;
    two_regions(&memory);
    assert_true(guest_memory_write(&memory, LOW + 4088, "12345678", 8));
    assert_memory_equal(low + 4088, "12345678", 8);
    assert_false(guest_memory_write(&memory, LOW + 4089, "abcdefgh", 8));
    assert_memory_equal(low + 4088, "12345678", 8);
    assert_false(guest_memory_read(&memory, LOW + 4090, text, 7));
    assert_string_equal(text, "unread!");
    assert_true(guest_memory_read(&memory, LOW + 4089, text, 7));
    assert_memory_equal(text, "2345678", 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_range_inside_of_a_region_is_found),
        cmocka_unit_test(a_range_that_leaves_its_region_is_not),
        cmocka_unit_test(ranges_that_wrap_are_not_found),
        cmocka_unit_test(regions_may_not_overlap_wrap_or_be_empty),
        cmocka_unit_test(there_are_at_most_four_regions),
        cmocka_unit_test(reading_and_writing_copy_all_or_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
