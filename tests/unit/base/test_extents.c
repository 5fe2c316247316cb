/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Extents against the simplest model there is: one flag per byte of a small space.
 */
#include "base/extents.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SPACE 200

static void assert_same(const struct extents *set, const bool *model)
{
    bool shown[SPACE] = {false};
    uint64_t total = 0, behind = 0;
    for (size_t i = 0; i < set->count; i++) {
        assert_true(set->items[i].length > 0);
        /* sorted, disjoint and not touching: something free lies between any two */
        assert_true(i == 0 || set->items[i].offset > behind);
        behind = set->items[i].offset + set->items[i].length;
        assert_true(behind <= SPACE);
        memset(shown + set->items[i].offset, 1, set->items[i].length);
        total += set->items[i].length;
    }
    assert_memory_equal(shown, model, sizeof(shown));
    assert_int_equal(extents_total(set), total);
}

static void assert_queries(const struct extents *set, const bool *model, size_t start,
                           size_t length)
{
    bool all = true, any = false;
    for (size_t i = start; i < start + length; i++) {
        all &= model[i];
        any |= model[i];
    }
    assert_int_equal(extents_contain(set, start, length), all);
    assert_int_equal(extents_touch(set, start, length), any);
}

static void test_extents_random_operations_equal_the_model(void **state)
{
    (void)state;
    struct error err = {0};
    for (unsigned seed = 1; seed <= 50; seed++) {
        struct extents set = {0};
        bool model[SPACE] = {false};
        srandom(seed);
        for (int step = 0; step < 200; step++) {
            size_t start = (size_t)random() % SPACE;
            size_t length = (size_t)random() % (SPACE - start < 20 ? SPACE - start : 20);
            bool is_adding = random() % 3 != 0;
            if (is_adding)
                assert_int_equal(extents_add(&set, start, length, &err), 0);
            else
                assert_int_equal(extents_remove(&set, start, length, &err), 0);
            memset(model + start, is_adding, length);
            assert_same(&set, model);
            assert_queries(&set, model, start, length + 1 <= SPACE - start ? length + 1 : 1);
        }
        extents_fini(&set);
    }
}

static void test_extents_align_widens_and_cuts(void **state)
{
    (void)state;
    struct error err = {0};
    struct extents set = {0};
    extents_add(&set, 5, 2, &err);
    extents_add(&set, 17, 1, &err);
    extents_add(&set, 90, 9, &err);
    assert_int_equal(extents_align(&set, 8, 97, &err), 0);
    assert_int_equal(set.count, 3);
    assert_int_equal(set.items[0].offset, 0);
    assert_int_equal(set.items[0].length, 8);
    assert_int_equal(set.items[1].offset, 16);
    assert_int_equal(set.items[2].offset, 88);
    assert_int_equal(set.items[2].length, 9);
    extents_fini(&set);
}

static void test_extents_at_the_end_of_64_bits(void **state)
{
    (void)state;
    struct error err = {0};
    struct extents set = {0};
    assert_int_equal(extents_add(&set, UINT64_MAX - 4, 5, &err), -1);
    assert_int_equal(extents_add(&set, UINT64_MAX - 5, 5, &err), 0);
    assert_int_equal(extents_align(&set, 4096, UINT64_MAX - 1, &err), 0);
    assert_int_equal(set.count, 1);
    assert_int_equal(extents_remove(&set, 10, UINT64_MAX, &err), 0);
    assert_int_equal(set.count, 0);
    extents_fini(&set);
}

static void test_extents_add_all_shifts(void **state)
{
    (void)state;
    struct error err = {0};
    struct extents from = {0}, to = {0};
    extents_add(&from, 1, 2, &err);
    extents_add(&from, 10, 2, &err);
    assert_int_equal(extents_add_all(&to, &from, 100, &err), 0);
    assert_true(extents_contain(&to, 101, 2) && extents_contain(&to, 110, 2));
    assert_int_equal(extents_total(&to), 4);
    assert_int_equal(extents_add_all(&to, &from, UINT64_MAX - 5, &err), -1);
    extents_fini(&from);
    extents_fini(&to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_extents_random_operations_equal_the_model),
        cmocka_unit_test(test_extents_align_widens_and_cuts),
        cmocka_unit_test(test_extents_at_the_end_of_64_bits),
        cmocka_unit_test(test_extents_add_all_shifts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
