/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * How a machine starts: by SeaBIOS from its disk, or a Linux kernel directly (the 32-bit boot
 * protocol of Linux's Documentation/arch/x86/boot.rst). Both fill guest memory; how the first CPU's
 * registers have to be is the result. Pure: done again at each reset.
 */
#ifndef HYPERVISOR_BOOT_H
#define HYPERVISOR_BOOT_H

#include "hypervisor/acpi.h"
#include "hypervisor/fwcfg.h"
#include "hypervisor/memory.h"

/* What is in memory, for etc/e820 and the zero page. */
#define MEMORY_MAP_RAM 1
#define MEMORY_MAP_RESERVED 2
struct memory_map_entry {
    uint64_t start, length;
    uint32_t type;
} __attribute__((packed));
#define MEMORY_MAP_MAX 8
/* RAM below and above 4 GiB, with the holes of layout.h; returns how many entries. */
size_t memory_map_make(struct memory_map_entry entries[MEMORY_MAP_MAX], uint64_t low_bytes,
                       uint64_t high_bytes);

/* Where the first CPU begins. */
struct boot_entry {
    bool is_direct;          /* flat 32-bit protected mode at `address`; else the reset vector */
    uint64_t address, table; /* esi: the zero page */
};

/* SeaBIOS: 128 or 256 KiB, whole below 4 GiB (read-only memory, the machine's) and as a copy whose
 * end is at 1 MiB (this, at each reset). */
#define FIRMWARE_MAX_SIZE ((size_t)256 << 10)
struct firmware {
    uint8_t *data; /* owned, page-aligned */
    size_t size;
};
int firmware_read(struct firmware *firmware, const char *path,
                  struct error *err); /* NULL: Debian's */
void firmware_fini(struct firmware *firmware);
int firmware_place(const struct firmware *firmware, const struct guest_memory *memory,
                   struct error *err);

/* All that SeaBIOS asks for: memory map, serial console, CPUs, ACPI, boot order (a slot of PCI). */
struct firmware_options {
    unsigned cpus;
    uint64_t low_bytes, high_bytes;
    const unsigned *boot_slots; /* of disks, first choice first */
    size_t boot_slot_count;
};
int firmware_configure(struct fwcfg *fwcfg, const struct firmware_options *options,
                       struct error *err);

/* A bzImage. Files are read before the sandbox closes; placing is done at each reset. */
struct kernel_image {
    uint8_t *kernel, *initrd; /* owned; initrd may be NULL */
    size_t kernel_size, initrd_size;
    char *command_line;
};
int kernel_image_read(struct kernel_image *image, const char *kernel, const char *initrd,
                      const char *command_line, struct error *err);
void kernel_image_fini(struct kernel_image *image);
int kernel_image_place(const struct kernel_image *image, const struct guest_memory *memory,
                       const struct firmware_options *options, struct boot_entry *entry,
                       struct error *err);

#endif
