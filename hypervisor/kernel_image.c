/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Starting a bzImage without a firmware: the protected-mode kernel at the address that it prefers,
 * the zero page, the command line, the initrd as high as it may be, and the ACPI tables where a
 * BIOS would have put them. Linux's Documentation/arch/x86/boot.rst names the fields of the setup
 * header; here they are offsets into the file, which are the same in the zero page.
 */
#include "base/io.h"
#include "hypervisor/boot.h"
#include "hypervisor/layout.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define KERNEL_MAX_SIZE ((size_t)256 << 20)
#define INITRD_MAX_SIZE ((size_t)1 << 30)
#define SETUP_MIN_SIZE 0x268 /* the header of protocol 2.12 */
#define PROTOCOL_MIN 0x020c
#define SECTOR 512u
#define SETUP_SECTORS_DEFAULT 4u

enum { /* offsets */
       ZERO_RSDP = 0x070,
       ZERO_MAP_COUNT = 0x1e8,
       SETUP_START = 0x1f1,
       SETUP_SECTORS = 0x1f1,
       SETUP_BOOT_FLAG = 0x1fe,
       SETUP_JUMP_OFFSET = 0x201, /* the header ends this far behind 0x202 */
       SETUP_MAGIC = 0x202,
       SETUP_VERSION = 0x206,
       SETUP_LOADER = 0x210,
       SETUP_FLAGS = 0x211,
       SETUP_INITRD = 0x218,
       SETUP_INITRD_SIZE = 0x21c,
       SETUP_HEAP_END = 0x224,
       SETUP_COMMAND_LINE = 0x228,
       SETUP_INITRD_MAX = 0x22c,
       SETUP_COMMAND_LINE_SIZE = 0x238,
       SETUP_PREFERRED = 0x258,
       SETUP_INIT_SIZE = 0x260,
       SETUP_END_MAX = 0x290,
       ZERO_MAP = 0x2d0,
};
enum { FLAG_LOADED_HIGH = 1, FLAG_CAN_USE_HEAP = 0x80, LOADER_UNKNOWN = 0xff };

/* Where we put things in low memory. */
#define ZERO_PAGE 0x7000u
#define ZERO_PAGE_SIZE 4096u
#define COMMAND_LINE 0x20000u
#define HEAP_END 0xfe00u
#define RSDP_AT 0xf0000u
#define ACPI_AT 0xf0040u

static uint16_t get16(const uint8_t *data, size_t offset)
{
    uint16_t value;
    memcpy(&value, data + offset, sizeof(value));
    return le16toh(value);
}

static uint32_t get32(const uint8_t *data, size_t offset)
{
    uint32_t value;
    memcpy(&value, data + offset, sizeof(value));
    return le32toh(value);
}

static uint64_t get64(const uint8_t *data, size_t offset)
{
    return get32(data, offset) | (uint64_t)get32(data, offset + 4) << 32;
}

static void set32(uint8_t *data, size_t offset, uint32_t value)
{
    value = htole32(value);
    memcpy(data + offset, &value, sizeof(value));
}

/* --- the files --- */

static size_t setup_size(const uint8_t *kernel)
{
    unsigned sectors = kernel[SETUP_SECTORS] ? kernel[SETUP_SECTORS] : SETUP_SECTORS_DEFAULT;
    return (size_t)(sectors + 1) * SECTOR;
}

static int check_kernel(const struct kernel_image *image, const char *path, struct error *err)
{
    const uint8_t *kernel = image->kernel;
    if (image->kernel_size < SETUP_MIN_SIZE || get16(kernel, SETUP_BOOT_FLAG) != 0xaa55 ||
        memcmp(kernel + SETUP_MAGIC, "HdrS", 4) != 0)
        return error_set(err, EINVAL, "%s: no Linux kernel (bzImage)", path);
    if (get16(kernel, SETUP_VERSION) < PROTOCOL_MIN)
        return error_set(err, EINVAL, "%s: boot protocol %x is older than %x", path,
                         get16(kernel, SETUP_VERSION), PROTOCOL_MIN);
    if (!(kernel[SETUP_FLAGS] & FLAG_LOADED_HIGH) || setup_size(kernel) >= image->kernel_size)
        return error_set(err, EINVAL, "%s: the kernel itself is missing", path);
    if (image->command_line && strlen(image->command_line) > get32(kernel, SETUP_COMMAND_LINE_SIZE))
        return error_set(err, EINVAL, "the kernel's command line is longer than %" PRIu32,
                         get32(kernel, SETUP_COMMAND_LINE_SIZE));
    return 0;
}

static int read_file(const char *path, size_t limit, uint8_t **data, size_t *size,
                     struct error *err)
{
    char *text;
    if (io_read_file(AT_FDCWD, path, limit, &text, size, err) != 0)
        return -1;
    *data = (uint8_t *)text;
    return 0;
}

int kernel_image_read(struct kernel_image *image, const char *kernel, const char *initrd,
                      const char *command_line, struct error *err)
{
    *image = (struct kernel_image){.command_line = text_copy(command_line ? command_line : "")};
    if (read_file(kernel, KERNEL_MAX_SIZE, &image->kernel, &image->kernel_size, err) != 0 ||
        check_kernel(image, kernel, err) != 0)
        return -1;
    return initrd ? read_file(initrd, INITRD_MAX_SIZE, &image->initrd, &image->initrd_size, err)
                  : 0;
}

void kernel_image_fini(struct kernel_image *image)
{
    free(image->kernel);
    free(image->initrd);
    free(image->command_line);
    *image = (struct kernel_image){0};
}

/* --- into memory --- */

static int copy(const struct guest_memory *memory, uint64_t at, const void *data, size_t length,
                const char *what, struct error *err)
{
    if (guest_memory_write(memory, at, data, length))
        return 0;
    return error_set(err, ENOMEM, "no room for the %s in the guest's memory", what);
}

/* It runs in init_size bytes; what comes behind them is free. */
static int place_kernel(const struct kernel_image *image, const struct guest_memory *memory,
                        uint64_t *end, struct error *err)
{
    const uint8_t *kernel = image->kernel;
    size_t setup = setup_size(kernel), size = image->kernel_size - setup;
    uint64_t at = get64(kernel, SETUP_PREFERRED), room = get32(kernel, SETUP_INIT_SIZE);
    if (at < LAYOUT_BIOS + 0x10000 || at >= LAYOUT_RAM_LOW_MAX)
        return error_set(err, EINVAL, "the kernel wants to be at 0x%" PRIx64, at);
    room = room > size ? room : size;
    if (!guest_memory_at(memory, at, room))
        return error_set(err, ENOMEM,
                         "no room for the kernel (%" PRIu64 " MiB from %" PRIu64
                         " MiB on) in the guest's memory",
                         room >> 20, at >> 20);
    *end = at + room;
    return copy(memory, at, kernel + setup, size, "kernel", err);
}

static int place_initrd(const struct kernel_image *image, const struct guest_memory *memory,
                        uint64_t low_bytes, uint64_t kernel_end, uint8_t *zero, struct error *err)
{
    uint64_t top = (uint64_t)get32(image->kernel, SETUP_INITRD_MAX) + 1;
    if (image->initrd_size == 0)
        return 0;
    if (top > low_bytes)
        top = low_bytes;
    uint64_t at = image->initrd_size <= top ? (top - image->initrd_size) & ~UINT64_C(4095) : 0;
    if (at < kernel_end)
        return error_set(err, ENOMEM, "no room for the initrd in the guest's memory");
    set32(zero, SETUP_INITRD, (uint32_t)at);
    set32(zero, SETUP_INITRD_SIZE, (uint32_t)image->initrd_size);
    return copy(memory, at, image->initrd, image->initrd_size, "initrd", err);
}

static int place_acpi(const struct guest_memory *memory, unsigned cpus, struct error *err)
{
    struct acpi_tables tables;
    const struct acpi_options options = {.cpus = cpus, .has_pvpanic = true};
    if (acpi_make(&tables, &options, err) != 0)
        return -1;
    int result = acpi_place(&tables, ACPI_AT, RSDP_AT, err);
    if (result == 0)
        result = copy(memory, ACPI_AT, tables.tables.data, tables.tables.length, "tables", err);
    if (result == 0)
        result = copy(memory, RSDP_AT, tables.rsdp.data, tables.rsdp.length, "tables", err);
    acpi_tables_fini(&tables);
    return result;
}

/* The header of the file, up to where it says that it ends. */
static void copy_header(const struct kernel_image *image, uint8_t *zero)
{
    size_t end = SETUP_MAGIC + image->kernel[SETUP_JUMP_OFFSET];
    if (end > SETUP_END_MAX)
        end = SETUP_END_MAX;
    if (end > image->kernel_size)
        end = image->kernel_size;
    memcpy(zero + SETUP_START, image->kernel + SETUP_START, end - SETUP_START);
}

static void fill_zero_page(const struct kernel_image *image, const struct firmware_options *options,
                           uint8_t *zero)
{
    struct memory_map_entry map[MEMORY_MAP_MAX];
    size_t entries = memory_map_make(map, options->low_bytes, options->high_bytes);
    copy_header(image, zero);
    zero[SETUP_LOADER] = LOADER_UNKNOWN;
    zero[SETUP_FLAGS] |= FLAG_CAN_USE_HEAP;
    zero[SETUP_HEAP_END] = HEAP_END & 0xff;
    zero[SETUP_HEAP_END + 1] = HEAP_END >> 8;
    set32(zero, SETUP_COMMAND_LINE, COMMAND_LINE);
    set32(zero, ZERO_RSDP, RSDP_AT);
    zero[ZERO_MAP_COUNT] = (uint8_t)entries;
    memcpy(zero + ZERO_MAP, map, entries * sizeof(map[0]));
}

int kernel_image_place(const struct kernel_image *image, const struct guest_memory *memory,
                       const struct firmware_options *options, struct boot_entry *entry,
                       struct error *err)
{
    uint8_t zero[ZERO_PAGE_SIZE] = {0};
    uint64_t kernel_end = 0;
    fill_zero_page(image, options, zero);
    if (place_kernel(image, memory, &kernel_end, err) != 0 ||
        place_initrd(image, memory, options->low_bytes, kernel_end, zero, err) != 0 ||
        place_acpi(memory, options->cpus, err) != 0 ||
        copy(memory, COMMAND_LINE, image->command_line, strlen(image->command_line) + 1,
             "command line", err) != 0 ||
        copy(memory, ZERO_PAGE, zero, sizeof(zero), "zero page", err) != 0)
        return -1;
    *entry = (struct boot_entry){
        .is_direct = true, .address = get64(image->kernel, SETUP_PREFERRED), .table = ZERO_PAGE};
    return 0;
}
