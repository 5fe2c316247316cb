/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What becomes of a virtual CPU's exits: accesses reach the buses with the widths and values that
 * the guest used.
 */
#include "hypervisor/vcpu_exit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PAGE 4096

struct device {
    uint64_t next;
    char seen[128]; /* "w2:1234@5 " */
};

static void note(struct device *device, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void note(struct device *device, const char *format, ...)
{
    size_t length = strlen(device->seen);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(device->seen + length, sizeof(device->seen) - length, format, arguments);
    va_end(arguments);
}

static uint64_t device_read(void *context, uint64_t offset, unsigned size)
{
    struct device *device = context;
    note(device, "r%u@%d ", size, (int)offset);
    return device->next++;
}

static void device_write(void *context, uint64_t offset, unsigned size, uint64_t value)
{
    note(context, "w%u:%llx@%d ", size, (unsigned long long)value, (int)offset);
}

static const struct bus_ops ops = {device_read, device_write};

struct fixture {
    struct kvm_run *run; /* with a page behind it */
    struct bus ports, memory_bus;
    struct device device;
    struct error err;
};

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    fixture->run = calloc(2, PAGE);
    bus_init(&fixture->ports);
    bus_init(&fixture->memory_bus);
    bus_add(&fixture->ports, &(struct bus_range){0x510, 4, &ops, &fixture->device}, NULL);
    bus_add(&fixture->memory_bus, &(struct bus_range){0xc0000000, 0x1000, &ops, &fixture->device},
            NULL);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    bus_fini(&fixture->ports);
    bus_fini(&fixture->memory_bus);
    free(fixture->run);
    free(fixture);
    return 0;
}

static enum vcpu_exit handle(struct fixture *fixture)
{
    return vcpu_exit_handle(fixture->run, -1, &fixture->ports, &fixture->memory_bus, &fixture->err);
}

static uint8_t *set_io(struct fixture *fixture, unsigned direction, uint8_t size, uint32_t count)
{
    fixture->run->exit_reason = KVM_EXIT_IO;
    fixture->run->io.direction = (uint8_t)direction;
    fixture->run->io.port = 0x510;
    fixture->run->io.size = size;
    fixture->run->io.count = count;
    fixture->run->io.data_offset = PAGE;
    return (uint8_t *)fixture->run + PAGE;
}

static void a_port_is_written_with_the_width_of_the_instruction(void **state)
{
    struct fixture *fixture = *state;
    memcpy(set_io(fixture, KVM_EXIT_IO_OUT, 2, 1), "\x34\x12\xff\xff", 4);
    assert_int_equal(handle(fixture), VCPU_EXIT_DONE);
    assert_string_equal(fixture->device.seen, "w2:1234@0 ");
}

static void a_string_of_reads_fills_the_page_in_order(void **state)
{
    struct fixture *fixture = *state;
    uint8_t *data = set_io(fixture, KVM_EXIT_IO_IN, 1, 4);
    fixture->device.next = 0x41;
    assert_int_equal(handle(fixture), VCPU_EXIT_DONE);
    assert_memory_equal(data, "ABCD\0", 5);
    assert_string_equal(fixture->device.seen, "r1@0 r1@0 r1@0 r1@0 ");
}

static void a_port_that_nobody_has_reads_as_ones(void **state)
{
    struct fixture *fixture = *state;
    uint8_t *data = set_io(fixture, KVM_EXIT_IO_IN, 4, 1);
    fixture->run->io.port = 0x80;
    assert_int_equal(handle(fixture), VCPU_EXIT_DONE);
    assert_memory_equal(data, "\xff\xff\xff\xff\0", 5);
}

static void set_mmio(struct fixture *fixture, uint64_t address, uint32_t length, bool is_write)
{
    fixture->run->exit_reason = KVM_EXIT_MMIO;
    fixture->run->mmio.phys_addr = address;
    fixture->run->mmio.len = length;
    fixture->run->mmio.is_write = is_write;
    memcpy(fixture->run->mmio.data, "\x11\x22\x33\x44\x55\x66\x77\x88", 8);
}

static void memory_is_accessed_in_one_piece_where_the_length_is_a_power_of_two(void **state)
{
    struct fixture *fixture = *state;
    set_mmio(fixture, 0xc0000010, 8, true);
    assert_int_equal(handle(fixture), VCPU_EXIT_DONE);
    assert_string_equal(fixture->device.seen, "w8:8877665544332211@16 ");
}

static void an_odd_length_goes_by_bytes(void **state)
{
    struct fixture *fixture = *state;
    set_mmio(fixture, 0xc0000000, 3, true);
    assert_int_equal(handle(fixture), VCPU_EXIT_DONE);
    assert_string_equal(fixture->device.seen, "w1:11@0 w1:22@1 w1:33@2 ");
}

static void a_read_leaves_the_bytes_behind_it_alone(void **state)
{
    struct fixture *fixture = *state;
    fixture->device.next = 0xaabb;
    set_mmio(fixture, 0xc0000004, 2, false);
    assert_int_equal(handle(fixture), VCPU_EXIT_DONE);
    assert_memory_equal(fixture->run->mmio.data, "\xbb\xaa\x33\x44", 4);
}

static void a_length_beyond_the_page_is_no_access(void **state)
{
    struct fixture *fixture = *state;
    set_mmio(fixture, 0xc0000000, 4096, true);
    assert_int_equal(handle(fixture), VCPU_EXIT_DONE);
    assert_string_equal(fixture->device.seen, "");
}

static void a_triple_fault_is_a_reset(void **state)
{
    struct fixture *fixture = *state;
    fixture->run->exit_reason = KVM_EXIT_SHUTDOWN;
    assert_int_equal(handle(fixture), VCPU_EXIT_RESET);
}

static void what_kvm_cannot_run_is_an_error_with_its_numbers(void **state)
{
    struct fixture *fixture = *state;
    fixture->run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
    fixture->run->internal.suberror = 1;
    fixture->run->internal.ndata = 1000; /* more than there are */
    fixture->run->internal.data[0] = 0xbeef;
    assert_int_equal(handle(fixture), VCPU_EXIT_FAILED);
    assert_non_null(strstr(fixture->err.text, "internal error 1 (0xbeef"));
    assert_non_null(strstr(fixture->err.text, "cr3"));
    fixture->run->exit_reason = KVM_EXIT_FAIL_ENTRY;
    fixture->run->fail_entry.hardware_entry_failure_reason = 0x80000021;
    assert_int_equal(handle(fixture), VCPU_EXIT_FAILED);
    assert_non_null(strstr(fixture->err.text, "0x80000021"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_port_is_written_with_the_width_of_the_instruction),
        TEST(a_string_of_reads_fills_the_page_in_order),
        TEST(a_port_that_nobody_has_reads_as_ones),
        TEST(memory_is_accessed_in_one_piece_where_the_length_is_a_power_of_two),
        TEST(an_odd_length_goes_by_bytes),
        TEST(a_read_leaves_the_bytes_behind_it_alone),
        TEST(a_length_beyond_the_page_is_no_access),
        TEST(a_triple_fault_is_a_reset),
        TEST(what_kvm_cannot_run_is_an_error_with_its_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
