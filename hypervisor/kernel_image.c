/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Direct start of a Linux kernel: not there yet, and says so.
 */
#include "hypervisor/boot.h"

#include <errno.h>

int kernel_image_read(struct kernel_image *image, const char *kernel, const char *initrd,
                      const char *command_line, struct error *err)
{
    (void)image;
    (void)initrd;
    (void)command_line;
    return error_set(err, ENOTSUP, "start %s directly", kernel);
}

void kernel_image_fini(struct kernel_image *image)
{
    (void)image;
}

int kernel_image_place(const struct kernel_image *image, const struct guest_memory *memory,
                       const struct firmware_options *options, struct boot_entry *entry,
                       struct error *err)
{
    (void)image;
    (void)memory;
    (void)options;
    (void)entry;
    return error_set(err, ENOTSUP, "start a kernel directly");
}
