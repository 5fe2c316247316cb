/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A bzImage in guest memory, and headers that lie. (A real kernel is started by the tests of the
 * machine.)
 */
#include "base/own.h"
#include "base/text.h"
#include "hypervisor/boot.h"
#include "hypervisor/layout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB ((uint64_t)1 << 20)
#define RAM (64 * MIB)
#define SETUP_SIZE (5 * 512)
#define KERNEL_SIZE (SETUP_SIZE + 10000)
#define PREFERRED (16 * MIB)

struct machine {
    uint8_t *ram;
    struct guest_memory memory;
    uint8_t kernel[KERNEL_SIZE];
    uint8_t initrd[5000];
    struct kernel_image image;
    struct boot_entry entry;
    struct error err;
};

static void set(struct machine *machine, size_t offset, uint64_t value, size_t length)
{
    memcpy(machine->kernel + offset, &value, length);
}

static uint64_t get(const struct machine *machine, uint64_t address, size_t length)
{
    uint64_t value = 0;
    assert_true(guest_memory_read(&machine->memory, address, &value, length));
    return value;
}

static int set_up(void **state)
{
    struct machine *machine = memory_new(1, sizeof(*machine));
    machine->ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(machine->ram, MAP_FAILED);
    assert_int_equal(guest_memory_add(&machine->memory, 0, RAM, machine->ram, NULL), 0);
    memset(machine->kernel + SETUP_SIZE, 0x5a, KERNEL_SIZE - SETUP_SIZE);
    memset(machine->initrd, 0xa5, sizeof(machine->initrd));
    set(machine, 0x1f1, 4, 1);
    set(machine, 0x1fe, 0xaa55, 2);
    set(machine, 0x201, 0x6a, 1);
    memcpy(machine->kernel + 0x202, "HdrS", 4);
    set(machine, 0x206, 0x020f, 2);
    set(machine, 0x211, 1, 1);
    set(machine, 0x22c, 0x7fffffff, 4);
    set(machine, 0x238, 2047, 4);
    set(machine, 0x258, PREFERRED, 8);
    set(machine, 0x260, 4 * MIB, 4);
    *state = machine;
    return 0;
}

static int tear_down(void **state)
{
    struct machine *machine = *state;
    kernel_image_fini(&machine->image);
    munmap(machine->ram, RAM);
    free(machine);
    return 0;
}

static char *file_of(const void *data, size_t length, int *fd)
{
    *fd = memfd_create("kernel", MFD_CLOEXEC);
    assert_int_equal(write(*fd, data, length), length);
    return text_format("/proc/self/fd/%d", *fd);
}

static int read_image(struct machine *machine, size_t kernel_size, const char *command_line)
{
    AUTO_CLOSE int kernel_fd = -1, initrd_fd = -1;
    AUTO_FREE char *kernel = file_of(machine->kernel, kernel_size, &kernel_fd);
    AUTO_FREE char *initrd = file_of(machine->initrd, sizeof(machine->initrd), &initrd_fd);
    kernel_image_fini(&machine->image);
    return kernel_image_read(&machine->image, kernel, initrd, command_line, &machine->err);
}

static int place(struct machine *machine)
{
    const struct firmware_options options = {.cpus = 2, .low_bytes = RAM};
    return kernel_image_place(&machine->image, &machine->memory, &options, &machine->entry,
                              &machine->err);
}

static void a_kernel_is_placed_with_all_that_it_needs(void **state)
{
    struct machine *machine = *state;
    assert_int_equal(read_image(machine, KERNEL_SIZE, "console=ttyS0"), 0);
    assert_int_equal(place(machine), 0);
    assert_true(machine->entry.is_direct);
    assert_int_equal(machine->entry.address, PREFERRED);
    uint64_t zero = machine->entry.table, initrd = get(machine, zero + 0x218, 4);
    assert_memory_equal(machine->ram + PREFERRED, machine->kernel + SETUP_SIZE,
                        KERNEL_SIZE - SETUP_SIZE);
    assert_string_equal((char *)machine->ram + get(machine, zero + 0x228, 4), "console=ttyS0");
    assert_int_equal(initrd % 4096, 0);
    assert_int_equal(get(machine, zero + 0x21c, 4), sizeof(machine->initrd));
    assert_memory_equal(machine->ram + initrd, machine->initrd, sizeof(machine->initrd));
    assert_int_equal(get(machine, zero + 0x210, 1), 0xff);
    assert_memory_equal(machine->ram + get(machine, zero + 0x70, 8), "RSD PTR ", 8);
}

static void the_zero_page_has_the_map_of_memory(void **state)
{
    struct machine *machine = *state;
    uint64_t ram = 0;
    assert_int_equal(read_image(machine, KERNEL_SIZE, ""), 0);
    assert_int_equal(place(machine), 0);
    uint64_t zero = machine->entry.table, count = get(machine, zero + 0x1e8, 1);
    assert_in_range(count, 2, MEMORY_MAP_MAX);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t at = zero + 0x2d0 + i * 20;
        if (get(machine, at + 16, 4) == MEMORY_MAP_RAM)
            ram += get(machine, at + 8, 8);
    }
    assert_in_range(ram, RAM - MIB, RAM);
}

/* What the guest wrote over it before a reset does not last. */
static void placing_again_gives_the_same(void **state)
{
    struct machine *machine = *state;
    assert_int_equal(read_image(machine, KERNEL_SIZE, "a"), 0);
    assert_int_equal(place(machine), 0);
    uint8_t *first = memory_new(1, RAM);
    memcpy(first, machine->ram, RAM);
    memset(machine->ram + PREFERRED, 0, 5000);
    memset(machine->ram + machine->entry.table, 0xff, 4096);
    assert_int_equal(place(machine), 0);
    assert_memory_equal(first, machine->ram, RAM);
    free(first);
}

static void what_is_no_kernel_is_refused(void **state)
{
    struct machine *machine = *state;
    assert_int_equal(read_image(machine, 100, ""), -1);
    assert_int_equal(read_image(machine, SETUP_SIZE, ""), -1);
    machine->kernel[0x202] = 'X';
    assert_int_equal(read_image(machine, KERNEL_SIZE, ""), -1);
    machine->kernel[0x202] = 'H';
    set(machine, 0x206, 0x0204, 2);
    assert_int_equal(read_image(machine, KERNEL_SIZE, ""), -1);
    set(machine, 0x206, 0x020f, 2);
    set(machine, 0x1f1, 255, 1);
    assert_int_equal(read_image(machine, KERNEL_SIZE, ""), -1);
}

static void a_command_line_that_is_too_long_is_refused(void **state)
{
    struct machine *machine = *state;
    char line[2049];
    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\0';
    assert_int_equal(read_image(machine, KERNEL_SIZE, line), -1);
    line[2047] = '\0';
    assert_int_equal(read_image(machine, KERNEL_SIZE, line), 0);
}

static void a_header_that_wants_other_memory_is_refused(void **state)
{
    static const uint64_t places[] = {0,   0x7000,  0xa0000,        RAM - 4096,
                                      RAM, 1 << 31, 0xffffffff0000, UINT64_MAX};
    struct machine *machine = *state;
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        set(machine, 0x258, places[i], 8);
        assert_int_equal(read_image(machine, KERNEL_SIZE, ""), 0);
        assert_int_equal(place(machine), -1);
    }
    set(machine, 0x258, PREFERRED, 8);
    set(machine, 0x260, UINT32_MAX, 4);
    assert_int_equal(read_image(machine, KERNEL_SIZE, ""), 0);
    assert_int_equal(place(machine), -1);
}

static void an_initrd_without_room_is_refused(void **state)
{
    struct machine *machine = *state;
    set(machine, 0x22c, 0, 4);
    assert_int_equal(read_image(machine, KERNEL_SIZE, ""), 0);
    assert_int_equal(place(machine), -1);
    set(machine, 0x22c, PREFERRED + MIB, 4); /* inside of the kernel */
    assert_int_equal(read_image(machine, KERNEL_SIZE, ""), 0);
    assert_int_equal(place(machine), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_kernel_is_placed_with_all_that_it_needs),
        TEST(the_zero_page_has_the_map_of_memory),
        TEST(placing_again_gives_the_same),
        TEST(what_is_no_kernel_is_refused),
        TEST(a_command_line_that_is_too_long_is_refused),
        TEST(a_header_that_wants_other_memory_is_refused),
        TEST(an_initrd_without_room_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
