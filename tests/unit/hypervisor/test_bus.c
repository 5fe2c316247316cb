/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The bus: who answers an access, ranges that come and go, also while other threads access them.
 */
#include "hypervisor/bus.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* Answers with its name, and remembers the last access. */
struct register_block {
    uint64_t name, offset, value;
    unsigned size, writes;
};

static uint64_t block_read(void *device, uint64_t offset, unsigned size)
{
    struct register_block *block = device;
    block->offset = offset;
    block->size = size;
    return block->name;
}

static void block_write(void *device, uint64_t offset, unsigned size, uint64_t value)
{
    struct register_block *block = device;
    *block = (struct register_block){block->name, offset, value, size, block->writes + 1};
}

static const struct bus_ops block_ops = {.read = block_read, .write = block_write};
static const struct bus_ops silent_ops = {.read = NULL, .write = NULL};

static int add(struct bus *bus, uint64_t start, uint64_t length, struct register_block *block)
{
    return bus_add(bus, &(struct bus_range){start, length, &block_ops, block}, NULL);
}

static void an_access_reaches_the_range_that_it_is_in(void **state)
{
    struct bus bus;
    struct register_block a = {.name = 0xa}, b = {.name = 0xb}, c = {.name = 0xc};
    (void)state;
    bus_init(&bus);
    assert_int_equal(add(&bus, 0x60, 1, &b), 0);
    assert_int_equal(add(&bus, 0x3f8, 8, &c), 0);
    assert_int_equal(add(&bus, 0x20, 2, &a), 0);
    assert_int_equal(bus_read(&bus, 0x21, 1), 0xa);
    assert_int_equal(a.offset, 1);
    assert_int_equal(bus_read(&bus, 0x60, 1), 0xb);
    assert_int_equal(bus_read(&bus, 0x3fc, 4), 0xc);
    assert_int_equal(c.offset, 4);
    assert_int_equal(c.size, 4);
    bus_write(&bus, 0x3ff, 1, 0x55);
    assert_int_equal(c.offset, 7);
    assert_int_equal(c.value, 0x55);
    bus_fini(&bus);
}

static void where_nobody_answers_all_bits_are_one(void **state)
{
    struct bus bus;
    struct register_block a = {.name = 0xa};
    (void)state;
    bus_init(&bus);
    assert_int_equal(bus_read(&bus, 0, 1), 0xff);
    assert_int_equal(add(&bus, 0x100, 4, &a), 0);
    assert_int_equal(bus_read(&bus, 0xff, 1), 0xff);
    assert_int_equal(bus_read(&bus, 0x104, 2), 0xffff);
    assert_int_equal(bus_read(&bus, 0x200, 4), 0xffffffff);
    assert_true(bus_read(&bus, UINT64_MAX, 8) == UINT64_MAX);
    bus_fini(&bus);
}

static void an_access_across_an_end_is_nobodys(void **state)
{
    struct bus bus;
    struct register_block a = {.name = 0xa}, b = {.name = 0xb};
    (void)state;
    bus_init(&bus);
    assert_int_equal(add(&bus, 0x100, 4, &a), 0);
    assert_int_equal(add(&bus, 0x104, 4, &b), 0);
    assert_int_equal(bus_read(&bus, 0x102, 4), 0xffffffff);
    assert_int_equal(bus_read(&bus, 0xfe, 4), 0xffffffff);
    bus_write(&bus, 0x103, 2, 1);
    assert_int_equal(a.writes + b.writes, 0);
    bus_fini(&bus);
}

static void a_value_has_no_more_bits_than_the_access(void **state)
{
    struct bus bus;
    struct register_block a = {.name = UINT64_C(0x1122334455667788)};
    (void)state;
    bus_init(&bus);
    assert_int_equal(add(&bus, 0, 8, &a), 0);
    assert_int_equal(bus_read(&bus, 0, 1), 0x88);
    assert_int_equal(bus_read(&bus, 0, 2), 0x7788);
    assert_int_equal(bus_read(&bus, 0, 4), 0x55667788);
    assert_true(bus_read(&bus, 0, 8) == a.name);
    bus_fini(&bus);
}

static void a_range_may_answer_nothing(void **state)
{
    struct bus bus;
    (void)state;
    bus_init(&bus);
    assert_int_equal(bus_add(&bus, &(struct bus_range){0x80, 1, &silent_ops, NULL}, NULL), 0);
    assert_int_equal(bus_read(&bus, 0x80, 1), 0xff);
    bus_write(&bus, 0x80, 1, 3);
    bus_fini(&bus);
}

static void ranges_may_not_overlap_wrap_or_be_empty(void **state)
{
    struct bus bus;
    struct register_block a = {.name = 0xa};
    struct error err = {0};
    (void)state;
    bus_init(&bus);
    assert_int_equal(add(&bus, 0x1000, 0x1000, &a), 0);
    assert_int_equal(add(&bus, 0x1fff, 1, &a), -1);
    assert_int_equal(add(&bus, 0xfff, 2, &a), -1);
    assert_int_equal(add(&bus, 0, 0x10000, &a), -1);
    assert_int_equal(add(&bus, 0x5000, 0, &a), -1);
    assert_int_equal(bus_add(&bus, &(struct bus_range){UINT64_MAX, 2, &block_ops, &a}, &err), -1);
    assert_int_equal(err.errnum, EINVAL);
    assert_int_equal(bus_add(&bus, &(struct bus_range){0x1800, 8, &block_ops, &a}, &err), -1);
    assert_int_equal(err.errnum, EBUSY);
    assert_int_equal(bus.count, 1);
    bus_fini(&bus);
}

static void a_full_bus_says_so(void **state)
{
    struct bus bus;
    struct register_block a = {.name = 0xa};
    struct error err = {0};
    (void)state;
    bus_init(&bus);
    for (uint64_t i = 0; i < BUS_MAX_RANGES; i++)
        assert_int_equal(add(&bus, (BUS_MAX_RANGES - i) * 16, 8, &a), 0);
    assert_int_equal(bus_add(&bus, &(struct bus_range){1, 1, &block_ops, &a}, &err), -1);
    assert_int_equal(err.errnum, ENOSPC);
    assert_int_equal(bus_read(&bus, BUS_MAX_RANGES * 16 + 8, 1), 0xff);
    bus_fini(&bus);
}

static void only_its_owner_removes_a_range(void **state)
{
    struct bus bus;
    struct register_block a = {.name = 0xa}, b = {.name = 0xb};
    (void)state;
    bus_init(&bus);
    assert_int_equal(add(&bus, 0x10, 4, &a), 0);
    assert_int_equal(add(&bus, 0x20, 4, &b), 0);
    bus_remove(&bus, 0x10, &b);
    bus_remove(&bus, 0x11, &a);
    bus_remove(&bus, 0x30, &a);
    assert_int_equal(bus_read(&bus, 0x10, 1), 0xa);
    bus_remove(&bus, 0x10, &a);
    assert_int_equal(bus_read(&bus, 0x10, 1), 0xff);
    assert_int_equal(bus_read(&bus, 0x20, 1), 0xb);
    bus_fini(&bus);
}

static void a_whole_range_answers_only_for_all_of_it(void **state)
{
    struct bus bus;
    struct register_block address = {.name = 0xadd}, reset = {.name = 0x4e};
    (void)state;
    bus_init(&bus);
    const struct bus_range whole = {0xcf8, 4, &block_ops, &address};
    assert_int_equal(bus_add_whole(&bus, &whole, NULL), 0);
    assert_int_equal(add(&bus, 0xcf9, 1, &reset), 0);
    assert_int_equal(bus_read(&bus, 0xcf8, 4), 0xadd);
    assert_int_equal(bus_read(&bus, 0xcf8, 2), 0xffff);
    assert_int_equal(bus_read(&bus, 0xcf9, 1), 0x4e);
    assert_int_equal(bus_read(&bus, 0xcfb, 1), 0xff);
    assert_int_equal(bus_add_whole(&bus, &whole, NULL), -1);
    bus_remove(&bus, 0xcf8, &reset);
    assert_int_equal(bus_read(&bus, 0xcf8, 4), 0xadd);
    bus_remove(&bus, 0xcf8, &address);
    assert_int_equal(bus_read(&bus, 0xcf8, 4), 0xffffffff);
    assert_int_equal(bus_read(&bus, 0xcf9, 1), 0x4e);
    bus_fini(&bus);
}

/* --- threads ------------------------------------------------------------------------------- */

static uint64_t constant_read(void *device, uint64_t offset, unsigned size)
{
    (void)size;
    return *(const uint64_t *)device + offset;
}

static const struct bus_ops constant_ops = {.read = constant_read};

struct mover {
    struct bus bus;
    uint64_t name;
    atomic_bool is_over;
};

static void *move(void *context)
{
    struct mover *mover = context;
    for (uint64_t i = 0; !mover->is_over; i++) {
        uint64_t start = 0x1000 + (i & 7) * 0x10;
        const struct bus_range range = {start, 16, &constant_ops, &mover->name};
        if (bus_add(&mover->bus, &range, NULL) < 0)
            return mover;
        bus_remove(&mover->bus, start, &mover->name);
    }
    return NULL;
}

static void ranges_move_while_others_read(void **state)
{
    struct mover mover = {.name = 0x40};
    uint64_t fixed = 0x80;
    pthread_t thread;
    void *failure;
    (void)state;
    bus_init(&mover.bus);
    const struct bus_range range = {0x2000, 16, &constant_ops, &fixed};
    assert_int_equal(bus_add(&mover.bus, &range, NULL), 0);
    assert_int_equal(pthread_create(&thread, NULL, move, &mover), 0);
    for (int i = 0; i < 100000; i++) {
        uint64_t value = bus_read(&mover.bus, 0x1000 + (i & 0x7f), 1);
        assert_true(value == 0xff || value == 0x40 + (unsigned)(i & 0xf));
        assert_int_equal(bus_read(&mover.bus, 0x2003, 1), 0x83);
    }
    mover.is_over = true;
    pthread_join(thread, &failure);
    assert_null(failure);
    bus_fini(&mover.bus);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_access_reaches_the_range_that_it_is_in),
        cmocka_unit_test(where_nobody_answers_all_bits_are_one),
        cmocka_unit_test(an_access_across_an_end_is_nobodys),
        cmocka_unit_test(a_value_has_no_more_bits_than_the_access),
        cmocka_unit_test(a_range_may_answer_nothing),
        cmocka_unit_test(ranges_may_not_overlap_wrap_or_be_empty),
        cmocka_unit_test(a_full_bus_says_so),
        cmocka_unit_test(only_its_owner_removes_a_range),
        cmocka_unit_test(a_whole_range_answers_only_for_all_of_it),
        cmocka_unit_test(ranges_move_while_others_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
