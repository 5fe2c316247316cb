/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Virtqueues: what a good driver gets, every rule that a hostile one can break, and a driver that
 * rewrites its descriptors while they are read.
 */
#include "base/bytes.h"
#include "tests/lib/virtqueue_fixture.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define RAM_SIZE ((size_t)1 << 20)
#define INDIRECT (UINT64_C(1) << VIRTIO_F_INDIRECT_DESC)
#define EVENT_INDEX (UINT64_C(1) << VIRTIO_F_EVENT_IDX)

struct fixture {
    struct driver_ram ram;
    struct driver_ring ring;
    struct virtqueue queue;
    struct virtqueue_chain chain;
    uint64_t buffer; /* 4096 bytes of guest memory */
    struct error err;
};

static void begin(struct fixture *f, uint16_t size, uint64_t features)
{
    memset(f, 0, sizeof(*f));
    driver_ram_init(&f->ram, RAM_SIZE);
    driver_ring_init(&f->ring, &f->ram, size);
    f->buffer = driver_ram_take(&f->ram, 4096, 16);
    assert_int_equal(virtqueue_start(&f->queue, &f->ram.memory, &f->ring.setup, features, &f->err),
                     0);
}

static void end(struct fixture *f)
{
    driver_ram_fini(&f->ram);
}

static int pop(struct fixture *f)
{
    return virtqueue_pop(&f->queue, &f->chain, &f->err);
}

/* --- start --------------------------------------------------------------------------------- */

static void start_refuses(const struct virtqueue_setup *setup)
{
    struct driver_ram ram;
    struct virtqueue queue;
    struct error err = {0};

    driver_ram_init(&ram, RAM_SIZE);
    assert_int_equal(virtqueue_start(&queue, &ram.memory, setup, 0, &err), -1);
    assert_int_equal(err.errnum, EINVAL);
    driver_ram_fini(&ram);
}

static void start_refuses_sizes_that_are_no_power_of_two_or_too_large(void **state)
{
    static const uint16_t sizes[] = {0, 3, 255, 257, 512, 32768, 65535};
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++)
        start_refuses(&(struct virtqueue_setup){sizes[i], DRIVER_RAM_START, DRIVER_RAM_START + 8192,
                                                DRIVER_RAM_START + 16384});
}

static void start_refuses_rings_that_are_not_aligned(void **state)
{
    const uint64_t at = DRIVER_RAM_START;
    (void)state;
    start_refuses(&(struct virtqueue_setup){8, at + 8, at + 4096, at + 8192});
    start_refuses(&(struct virtqueue_setup){8, at, at + 4097, at + 8192});
    start_refuses(&(struct virtqueue_setup){8, at, at + 4096, at + 8194});
}

static void start_refuses_rings_that_are_not_wholly_in_memory(void **state)
{
    const uint64_t at = DRIVER_RAM_START, ram_end = at + RAM_SIZE;
    (void)state;
    start_refuses(&(struct virtqueue_setup){8, ram_end - 127 - 1 + 16, at, at});
    start_refuses(&(struct virtqueue_setup){8, at, ram_end - 20, at});
    start_refuses(&(struct virtqueue_setup){8, at, at, ram_end - 68});
    start_refuses(&(struct virtqueue_setup){8, 0, at, at});
    start_refuses(&(struct virtqueue_setup){8, at, UINT64_MAX - 1, at});
    start_refuses(&(struct virtqueue_setup){8, at, at, UINT64_MAX - 3});
    start_refuses(&(struct virtqueue_setup){8, UINT64_MAX - 15, at, at});
    start_refuses(&(struct virtqueue_setup){8, at + (UINT64_C(1) << 32), at, at});
}

static void start_takes_rings_that_end_with_memory(void **state)
{
    const uint64_t ram_end = DRIVER_RAM_START + RAM_SIZE;
    const struct virtqueue_setup setup = {8, ram_end - 128, ram_end - 22, ram_end - 72};
    struct driver_ram ram;
    struct virtqueue queue;
    (void)state;

    driver_ram_init(&ram, RAM_SIZE);
    assert_int_equal(virtqueue_start(&queue, &ram.memory, &setup, 0, NULL), 0);
    driver_ram_fini(&ram);
}

/* --- good chains --------------------------------------------------------------------------- */

static void pop_gives_nothing_of_an_empty_queue(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, 8, 0);
    assert_int_equal(pop(&f), 0);
    assert_int_equal(pop(&f), 0);
    end(&f);
}

static void check_three_parts(struct fixture *f)
{
    uint8_t *bytes = driver_ram_at(&f->ram, f->buffer);
    assert_int_equal(pop(f), 1);
    assert_int_equal(f->chain.read_count, 2);
    assert_int_equal(f->chain.write_count, 1);
    assert_int_equal(f->chain.read_bytes, 16 + 100);
    assert_int_equal(f->chain.write_bytes, 512);
    assert_ptr_equal(f->chain.segments[0].data, bytes);
    assert_ptr_equal(f->chain.segments[1].data, bytes + 64);
    assert_int_equal(f->chain.segments[1].length, 100);
    assert_ptr_equal(f->chain.segments[2].data, bytes + 1024);
    assert_int_equal(pop(f), 0);
}

static void three_parts(const struct fixture *f, struct driver_part parts[3])
{
    parts[0] = (struct driver_part){f->buffer, 16, false};
    parts[1] = (struct driver_part){f->buffer + 64, 100, false};
    parts[2] = (struct driver_part){f->buffer + 1024, 512, true};
}

static void pop_gives_a_chain_of_descriptors(void **state)
{
    struct fixture f;
    struct driver_part parts[3];
    (void)state;
    begin(&f, 8, 0);
    three_parts(&f, parts);
    uint16_t head = driver_ring_add(&f.ring, parts, 3);
    check_three_parts(&f);
    assert_int_equal(f.chain.head, head);
    end(&f);
}

static void pop_gives_the_same_of_an_indirect_table(void **state)
{
    struct fixture f;
    struct driver_part parts[3];
    (void)state;
    begin(&f, 8, INDIRECT);
    three_parts(&f, parts);
    driver_ring_add_indirect(&f.ring, parts, 3);
    check_three_parts(&f);
    end(&f);
}

static void pop_takes_an_indirect_table_after_direct_descriptors(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, 8, INDIRECT);
    uint64_t table = driver_ram_take(&f.ram, 32, 16);
    uint8_t *at = driver_ram_at(&f.ram, table);
    driver_describe(at, 0, f.buffer + 64, 100, VRING_DESC_F_NEXT, 1);
    driver_describe(at, 1, f.buffer + 1024, 512, VRING_DESC_F_WRITE, 0);
    driver_ring_describe(&f.ring, 3, f.buffer, 16, VRING_DESC_F_NEXT, 5);
    /* the write flag of a descriptor that refers to a table is ignored (2.6.5.3.2) */
    driver_ring_describe(&f.ring, 5, table, 32, VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE, 0);
    driver_ring_offer(&f.ring, 3);
    check_three_parts(&f);
    end(&f);
}

static void a_chain_may_be_as_long_as_the_queue(void **state)
{
    struct fixture f;
    struct driver_part parts[VIRTQUEUE_MAX_SIZE];
    (void)state;
    begin(&f, VIRTQUEUE_MAX_SIZE, 0);
    for (size_t i = 0; i < ARRAY_LENGTH(parts); i++)
        parts[i] = (struct driver_part){f.buffer + i, 1, i >= 100};
    driver_ring_add(&f.ring, parts, ARRAY_LENGTH(parts));
    assert_int_equal(pop(&f), 1);
    assert_int_equal(f.chain.read_count, 100);
    assert_int_equal(f.chain.write_count, 156);
    end(&f);
}

static void unpop_gives_the_same_chain_again(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, 8, 0);
    uint16_t head = driver_ring_add(&f.ring, &(struct driver_part){f.buffer, 16, true}, 1);
    assert_int_equal(pop(&f), 1);
    virtqueue_unpop(&f.queue);
    f.chain.head = 99;
    assert_int_equal(pop(&f), 1);
    assert_int_equal(f.chain.head, head);
    assert_int_equal(pop(&f), 0);
    end(&f);
}

static void indices_wrap_at_65536(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, 4, 0);
    for (uint32_t i = 0; i < 70000; i++) {
        uint32_t head, written;
        uint16_t offered = driver_ring_add(&f.ring, &(struct driver_part){f.buffer, 16, true}, 1);
        assert_int_equal(pop(&f), 1);
        virtqueue_push(&f.queue, &f.chain, i);
        assert_true(driver_ring_take(&f.ring, &head, &written));
        assert_int_equal(head, offered);
        assert_int_equal(written, i);
        assert_false(driver_ring_take(&f.ring, &head, &written));
    }
    end(&f);
}

static void several_chains_are_shown_at_once(void **state)
{
    static const struct virtqueue_done done[] = {{2, 10}, {0, 20}, {3, 30}};
    struct fixture f;
    uint32_t head, written;
    (void)state;
    begin(&f, 4, 0);
    for (unsigned round = 0; round < 3; round++) { /* the second lies across the ring's end */
        virtqueue_push_all(&f.queue, done, 3);
        for (unsigned i = 0; i < 3; i++) {
            assert_true(driver_ring_take(&f.ring, &head, &written));
            assert_int_equal(head, done[i].head);
            assert_int_equal(written, done[i].written);
        }
        assert_false(driver_ring_take(&f.ring, &head, &written));
    }
    end(&f);
}

/* --- bad chains ---------------------------------------------------------------------------- */

static void expect_broken(struct fixture *f, const char *what)
{
    assert_int_equal(pop(f), -1);
    assert_int_equal(f->err.errnum, EPROTO);
    if (!strstr(f->err.text, what))
        fail_msg("\"%s\" does not say \"%s\"", f->err.text, what);
    /* for good, whatever is offered now */
    driver_ring_set_index(&f->ring, f->queue.next_available);
    driver_ring_add(&f->ring, &(struct driver_part){f->buffer, 16, false}, 1);
    assert_int_equal(pop(f), -1);
    assert_false(virtqueue_want_kicks(&f->queue));
}

/* One descriptor at 0, offered alone. */
static void one_is_refused(uint64_t address, uint32_t length, uint16_t flags, uint16_t next,
                           const char *what)
{
    struct fixture f;
    begin(&f, 8, INDIRECT);
    driver_ring_describe(&f.ring, 0, address, length, flags, next);
    driver_ring_offer(&f.ring, 0);
    expect_broken(&f, what);
    end(&f);
}

static void a_descriptor_beyond_memory_breaks_the_queue(void **state)
{
    const uint64_t ram_end = DRIVER_RAM_START + RAM_SIZE;
    (void)state;
    one_is_refused(ram_end, 1, 0, 0, "not in memory");
    one_is_refused(ram_end - 1, 2, 0, 0, "not in memory");
    one_is_refused(ram_end - 1, UINT32_MAX, VRING_DESC_F_WRITE, 0, "not in memory");
    one_is_refused(DRIVER_RAM_START - 1, 16, 0, 0, "not in memory");
    one_is_refused(0, 16, 0, 0, "not in memory");
}

static void a_descriptor_that_wraps_breaks_the_queue(void **state)
{
    (void)state;
    one_is_refused(UINT64_MAX, 1, 0, 0, "not in memory");
    one_is_refused(UINT64_MAX - 15, 32, VRING_DESC_F_WRITE, 0, "not in memory");
    one_is_refused(UINT64_MAX - UINT32_MAX + 1, UINT32_MAX, 0, 0, "not in memory");
    one_is_refused((UINT64_C(1) << 32) - 8, 16, 0, 0, "not in memory");
    one_is_refused((UINT64_C(1) << 32) + DRIVER_RAM_START, 16, 0, 0, "not in memory");
    one_is_refused(DRIVER_RAM_START, UINT32_MAX, 0, 0, "not in memory");
}

static void a_descriptor_across_two_regions_breaks_the_queue(void **state)
{
    struct fixture f;
    static uint8_t more[4096] __attribute__((aligned(4096)));
    (void)state;
    begin(&f, 8, 0);
    assert_int_equal(
        guest_memory_add(&f.ram.memory, DRIVER_RAM_START + RAM_SIZE, sizeof(more), more, NULL), 0);
    driver_ring_add(&f.ring, &(struct driver_part){DRIVER_RAM_START + RAM_SIZE - 8, 16, true}, 1);
    expect_broken(&f, "not in memory");
    end(&f);
}

static void a_descriptor_of_no_bytes_breaks_the_queue(void **state)
{
    (void)state;
    one_is_refused(DRIVER_RAM_START, 0, 0, 0, "no bytes");
    one_is_refused(DRIVER_RAM_START, 0, VRING_DESC_F_WRITE, 0, "no bytes");
}

static void a_chain_that_loops_breaks_the_queue(void **state)
{
    struct fixture f;
    (void)state;
    one_is_refused(DRIVER_RAM_START, 16, VRING_DESC_F_NEXT, 0, "loop");

    begin(&f, 8, 0);
    for (uint16_t i = 0; i < 8; i++)
        driver_ring_describe(&f.ring, i, f.buffer, 16, VRING_DESC_F_NEXT, (i + 1) % 8);
    driver_ring_offer(&f.ring, 3);
    expect_broken(&f, "loop");
    end(&f);
}

static void numbers_beyond_the_table_break_the_queue(void **state)
{
    static const uint16_t heads[] = {8, 9, 256, 65535};
    (void)state;
    one_is_refused(DRIVER_RAM_START, 16, VRING_DESC_F_NEXT, 8, "beyond its table");
    one_is_refused(DRIVER_RAM_START, 16, VRING_DESC_F_NEXT, 65535, "beyond its table");
    for (size_t i = 0; i < ARRAY_LENGTH(heads); i++) {
        struct fixture f;
        begin(&f, 8, 0);
        driver_ring_offer(&f.ring, heads[i]);
        expect_broken(&f, "beyond its table");
        end(&f);
    }
}

static void a_part_to_read_after_one_to_write_breaks_the_queue(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, 8, 0);
    const struct driver_part parts[] = {{f.buffer, 16, true}, {f.buffer + 16, 16, false}};
    driver_ring_add(&f.ring, parts, 2);
    expect_broken(&f, "after one to write");
    end(&f);
}

static void an_index_that_jumps_breaks_the_queue(void **state)
{
    static const uint16_t jumps[] = {9, 4096, 32768, 65535};
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(jumps); i++) {
        struct fixture f;
        begin(&f, 8, 0);
        driver_ring_set_index(&f.ring, jumps[i]);
        expect_broken(&f, "jumped");
        end(&f);
    }
}

static void an_index_may_be_ahead_by_the_queue_size(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, 8, 0);
    for (int i = 0; i < 8; i++)
        driver_ring_add(&f.ring, &(struct driver_part){f.buffer, 16, false}, 1);
    for (int i = 0; i < 8; i++)
        assert_int_equal(pop(&f), 1);
    assert_int_equal(pop(&f), 0);
    end(&f);
}

static void a_chain_of_4_gib_breaks_the_queue(void **state)
{
    struct driver_part parts[VIRTQUEUE_MAX_SIZE];
    struct fixture f;
    const uint32_t length = (uint32_t)17 << 20;
    (void)state;
    memset(&f, 0, sizeof(f));
    driver_ram_init(&f.ram, length);
    driver_ring_init(&f.ring, &f.ram, VIRTQUEUE_MAX_SIZE);
    f.buffer = DRIVER_RAM_START;
    assert_int_equal(virtqueue_start(&f.queue, &f.ram.memory, &f.ring.setup, 0, NULL), 0);
    for (size_t i = 0; i < ARRAY_LENGTH(parts); i++)
        parts[i] = (struct driver_part){f.buffer, length, true};
    driver_ring_add(&f.ring, parts, ARRAY_LENGTH(parts));
    memset(f.ring.owner, 0, sizeof(f.ring.owner));
    expect_broken(&f, "4 GiB");
    end(&f);
}

/* --- bad tables ---------------------------------------------------------------------------- */

static void an_indirect_table_that_was_not_negotiated_breaks_the_queue(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, 8, 0);
    driver_ring_add_indirect(&f.ring, &(struct driver_part){f.buffer, 16, false}, 1);
    expect_broken(&f, "may not be here");
    end(&f);
}

static void an_indirect_table_of_a_bad_length_breaks_the_queue(void **state)
{
    static const uint32_t lengths[] = {0, 1, 15, 17, 4095, UINT32_MAX};
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(lengths); i++)
        one_is_refused(DRIVER_RAM_START, lengths[i], VRING_DESC_F_INDIRECT, 0, "multiple of 16");
}

static void an_indirect_table_outside_of_memory_breaks_the_queue(void **state)
{
    const uint64_t ram_end = DRIVER_RAM_START + RAM_SIZE;
    (void)state;
    one_is_refused(ram_end - 16, 32, VRING_DESC_F_INDIRECT, 0, "table is not in memory");
    one_is_refused(UINT64_MAX - 15, 16, VRING_DESC_F_INDIRECT, 0, "table is not in memory");
    one_is_refused(DRIVER_RAM_START, UINT32_MAX - 15, VRING_DESC_F_INDIRECT, 0,
                   "table is not in memory");
}

static void an_indirect_table_with_a_next_descriptor_breaks_the_queue(void **state)
{
    (void)state;
    one_is_refused(DRIVER_RAM_START, 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 1,
                   "with a next descriptor");
}

/* A table of two: the second is `flags` to (address, length). */
static void second_of_a_table_is_refused(uint64_t address, uint32_t length, uint16_t flags,
                                         uint16_t first_next, const char *what)
{
    struct fixture f;
    begin(&f, 8, INDIRECT);
    uint64_t table = driver_ram_take(&f.ram, 32, 16);
    driver_describe(driver_ram_at(&f.ram, table), 0, f.buffer, 16, VRING_DESC_F_NEXT, first_next);
    driver_describe(driver_ram_at(&f.ram, table), 1, address, length, flags, 0);
    driver_ring_describe(&f.ring, 0, table, 32, VRING_DESC_F_INDIRECT, 0);
    driver_ring_offer(&f.ring, 0);
    expect_broken(&f, what);
    end(&f);
}

static void a_table_inside_of_a_table_breaks_the_queue(void **state)
{
    struct fixture f;
    (void)state;
    second_of_a_table_is_refused(DRIVER_RAM_START, 16, VRING_DESC_F_INDIRECT, 1, "may not be here");

    begin(&f, 8, INDIRECT);
    uint64_t table = driver_ram_take(&f.ram, 16, 16);
    driver_describe(driver_ram_at(&f.ram, table), 0, table, 16, VRING_DESC_F_INDIRECT, 0);
    driver_ring_describe(&f.ring, 0, table, 16, VRING_DESC_F_INDIRECT, 0);
    driver_ring_offer(&f.ring, 0);
    expect_broken(&f, "inside of another");
    end(&f);
}

static void bad_links_inside_of_a_table_break_the_queue(void **state)
{
    (void)state;
    second_of_a_table_is_refused(DRIVER_RAM_START, 16, VRING_DESC_F_NEXT, 1, "loop");
    second_of_a_table_is_refused(DRIVER_RAM_START, 16, 0, 2, "beyond its table");
    second_of_a_table_is_refused(DRIVER_RAM_START, 16, 0, 65535, "beyond its table");
    second_of_a_table_is_refused(DRIVER_RAM_START, 0, 0, 1, "no bytes");
}

static void a_table_longer_than_the_queue_breaks_it(void **state)
{
    struct driver_part parts[9];
    struct fixture f;
    (void)state;
    begin(&f, 8, INDIRECT);
    for (size_t i = 0; i < ARRAY_LENGTH(parts); i++)
        parts[i] = (struct driver_part){f.buffer, 16, false};
    driver_ring_add_indirect(&f.ring, parts, ARRAY_LENGTH(parts));
    expect_broken(&f, "longer than the queue");
    end(&f);
}

/* --- interrupts and kicks ------------------------------------------------------------------ */

static void complete(struct fixture *f, int count)
{
    for (int i = 0; i < count; i++)
        virtqueue_push(&f->queue, &(struct virtqueue_chain){.head = 0}, 0);
}

static void the_driver_is_interrupted_once_for_what_was_pushed(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, 8, 0);
    assert_false(virtqueue_should_interrupt(&f.queue));
    complete(&f, 3);
    assert_true(virtqueue_should_interrupt(&f.queue));
    assert_false(virtqueue_should_interrupt(&f.queue));
    driver_ring_set_flags(&f.ring, VRING_AVAIL_F_NO_INTERRUPT);
    complete(&f, 1);
    assert_false(virtqueue_should_interrupt(&f.queue));
    end(&f);
}

static void the_event_index_says_after_which_entry(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, 8, EVENT_INDEX);
    driver_ring_set_flags(&f.ring, VRING_AVAIL_F_NO_INTERRUPT); /* counts for nothing now */
    driver_ring_set_used_event(&f.ring, 2);
    complete(&f, 2);
    assert_false(virtqueue_should_interrupt(&f.queue));
    complete(&f, 1);
    assert_true(virtqueue_should_interrupt(&f.queue));
    complete(&f, 4);
    assert_false(virtqueue_should_interrupt(&f.queue)); /* told of 2 already */
    driver_ring_set_used_event(&f.ring, 7);
    complete(&f, 5);
    assert_true(virtqueue_should_interrupt(&f.queue)); /* passed, not only met */
    end(&f);
}

static void an_interrupt_is_not_lost_after_65536_pushes(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, 8, EVENT_INDEX);
    complete(&f, 65536);
    driver_ring_set_used_event(&f.ring, 100);
    assert_true(virtqueue_should_interrupt(&f.queue));
    end(&f);
}

static void a_queue_asks_for_kicks_and_sees_what_came_before(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, 8, 0);
    virtqueue_quiet(&f.queue);
    assert_int_equal(driver_ring_used_flags(&f.ring), VRING_USED_F_NO_NOTIFY);
    driver_ring_add(&f.ring, &(struct driver_part){f.buffer, 16, false}, 1);
    assert_true(virtqueue_want_kicks(&f.queue));
    assert_int_equal(pop(&f), 1);
    assert_false(virtqueue_want_kicks(&f.queue));
    assert_int_equal(driver_ring_used_flags(&f.ring), 0);
    end(&f);
}

static void with_the_event_index_the_next_chain_kicks(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, 8, EVENT_INDEX);
    for (int i = 0; i < 3; i++)
        driver_ring_add(&f.ring, &(struct driver_part){f.buffer, 16, false}, 1);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pop(&f), 1);
    virtqueue_quiet(&f.queue);
    assert_int_equal(driver_ring_available_event(&f.ring), 0);
    assert_false(virtqueue_want_kicks(&f.queue));
    assert_int_equal(driver_ring_available_event(&f.ring), 3);
    assert_int_equal(driver_ring_used_flags(&f.ring), 0);
    end(&f);
}

/* --- copies -------------------------------------------------------------------------------- */

static void copies_go_over_the_segments_and_stop_at_their_end(void **state)
{
    struct fixture f;
    char text[32] = {0};
    (void)state;
    begin(&f, 8, 0);
    const struct driver_part parts[] = {{f.buffer, 3, false},
                                        {f.buffer + 100, 4, false},
                                        {f.buffer + 200, 2, true},
                                        {f.buffer + 300, 5, true}};
    memcpy(driver_ram_at(&f.ram, f.buffer), "abc", 3);
    memcpy(driver_ram_at(&f.ram, f.buffer + 100), "defgX", 5);
    memset(driver_ram_at(&f.ram, f.buffer + 200), '.', 200);
    driver_ring_add(&f.ring, parts, 4);
    assert_int_equal(pop(&f), 1);

    assert_int_equal(virtqueue_chain_read(&f.chain, 0, text, sizeof(text)), 7);
    assert_string_equal(text, "abcdefg");
    memset(text, 0, sizeof(text));
    assert_int_equal(virtqueue_chain_read(&f.chain, 2, text, 3), 3);
    assert_string_equal(text, "cde");
    assert_int_equal(virtqueue_chain_read(&f.chain, 7, text, 1), 0);
    assert_int_equal(virtqueue_chain_read(&f.chain, UINT64_MAX, text, 1), 0);

    assert_int_equal(virtqueue_chain_write(&f.chain, 1, "12345678", 8), 6);
    assert_memory_equal(driver_ram_at(&f.ram, f.buffer + 200), ".1.", 3);
    assert_memory_equal(driver_ram_at(&f.ram, f.buffer + 300), "23456.", 6);
    assert_memory_equal(driver_ram_at(&f.ram, f.buffer), "abc", 3);
    end(&f);
}

/* --- a driver that writes while we read ---------------------------------------------------- */

struct racer {
    struct fixture *fixture;
    pthread_t thread;
    atomic_bool is_over;
};

/* Flips all descriptors, direct ones and a table's, between good and bad, as fast as it can. */
static void *race(void *context)
{
    struct racer *racer = context;
    struct fixture *f = racer->fixture;
    uint64_t table = f->buffer + 2048;

    for (uint32_t i = 0; !racer->is_over; i++) {
        bool is_good = i & 1;
        uint64_t address = is_good ? f->buffer : UINT64_MAX - 8;
        uint32_t length = is_good ? 64 : UINT32_MAX;
        driver_describe(driver_ram_at(&f->ram, table), i % 8, address, length,
                        (uint16_t)(i >> 3 & 7), (uint16_t)(i >> 2));
        driver_ring_describe(&f->ring, i % 8, i & 4 ? table : address, i & 4 ? 128 : length,
                             (uint16_t)(i >> 4 & 7), (uint16_t)(i >> 1));
    }
    return NULL;
}

/* Whatever was popped lies in memory, in all of its sums. */
static void check_popped(const struct fixture *f)
{
    const uint8_t *bytes = f->ram.bytes;
    uint64_t sum = 0;
    unsigned count = f->chain.read_count + f->chain.write_count;

    assert_in_range(count, 1, f->queue.size);
    for (unsigned i = 0; i < count; i++) {
        const struct virtqueue_segment *segment = &f->chain.segments[i];
        assert_true(segment->data >= bytes && segment->length > 0);
        assert_true(segment->length <= f->ram.size - (size_t)(segment->data - bytes));
        sum += segment->length;
    }
    assert_true(sum == f->chain.read_bytes + f->chain.write_bytes);
}

static void descriptors_that_change_while_they_are_read_do_no_harm(void **state)
{
    struct fixture f;
    unsigned popped = 0, broken = 0;
    (void)state;
    begin(&f, 8, INDIRECT);
    struct racer racer = {.fixture = &f};
    assert_int_equal(pthread_create(&racer.thread, NULL, race, &racer), 0);
    for (int i = 0; i < 200000; i++) {
        driver_ring_offer(&f.ring, (uint16_t)(i % 8));
        int result = pop(&f);
        assert_int_not_equal(result, 0);
        if (result > 0) {
            check_popped(&f);
            popped++;
        } else {
            broken++;
            f.queue.is_broken = false; /* for this test: a reset would take longer */
            f.queue.next_available++;
        }
    }
    racer.is_over = true;
    pthread_join(racer.thread, NULL);
    assert_true(popped > 0 && broken > 0);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(start_refuses_sizes_that_are_no_power_of_two_or_too_large),
        cmocka_unit_test(start_refuses_rings_that_are_not_aligned),
        cmocka_unit_test(start_refuses_rings_that_are_not_wholly_in_memory),
        cmocka_unit_test(start_takes_rings_that_end_with_memory),
        cmocka_unit_test(pop_gives_nothing_of_an_empty_queue),
        cmocka_unit_test(pop_gives_a_chain_of_descriptors),
        cmocka_unit_test(pop_gives_the_same_of_an_indirect_table),
        cmocka_unit_test(pop_takes_an_indirect_table_after_direct_descriptors),
        cmocka_unit_test(a_chain_may_be_as_long_as_the_queue),
        cmocka_unit_test(unpop_gives_the_same_chain_again),
        cmocka_unit_test(indices_wrap_at_65536),
        cmocka_unit_test(several_chains_are_shown_at_once),
        cmocka_unit_test(a_descriptor_beyond_memory_breaks_the_queue),
        cmocka_unit_test(a_descriptor_that_wraps_breaks_the_queue),
        cmocka_unit_test(a_descriptor_across_two_regions_breaks_the_queue),
        cmocka_unit_test(a_descriptor_of_no_bytes_breaks_the_queue),
        cmocka_unit_test(a_chain_that_loops_breaks_the_queue),
        cmocka_unit_test(numbers_beyond_the_table_break_the_queue),
        cmocka_unit_test(a_part_to_read_after_one_to_write_breaks_the_queue),
        cmocka_unit_test(an_index_that_jumps_breaks_the_queue),
        cmocka_unit_test(an_index_may_be_ahead_by_the_queue_size),
        cmocka_unit_test(a_chain_of_4_gib_breaks_the_queue),
        cmocka_unit_test(an_indirect_table_that_was_not_negotiated_breaks_the_queue),
        cmocka_unit_test(an_indirect_table_of_a_bad_length_breaks_the_queue),
        cmocka_unit_test(an_indirect_table_outside_of_memory_breaks_the_queue),
        cmocka_unit_test(an_indirect_table_with_a_next_descriptor_breaks_the_queue),
        cmocka_unit_test(a_table_inside_of_a_table_breaks_the_queue),
        cmocka_unit_test(bad_links_inside_of_a_table_break_the_queue),
        cmocka_unit_test(a_table_longer_than_the_queue_breaks_it),
        cmocka_unit_test(the_driver_is_interrupted_once_for_what_was_pushed),
        cmocka_unit_test(the_event_index_says_after_which_entry),
        cmocka_unit_test(an_interrupt_is_not_lost_after_65536_pushes),
        cmocka_unit_test(a_queue_asks_for_kicks_and_sees_what_came_before),
        cmocka_unit_test(with_the_event_index_the_next_chain_kicks),
        cmocka_unit_test(copies_go_over_the_segments_and_stop_at_their_end),
        cmocka_unit_test(descriptors_that_change_while_they_are_read_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
