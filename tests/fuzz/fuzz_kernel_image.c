/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * bzImage headers that lie: refused, or placed inside of the guest's memory.
 */
#include "base/own.h"
#include "base/text.h"
#include "hypervisor/boot.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define RAM ((size_t)32 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kernel_image image;
    struct guest_memory memory = {.count = 0};
    struct boot_entry entry;
    const struct firmware_options options = {.cpus = 1, .low_bytes = RAM};
    AUTO_CLOSE int fd = memfd_create("kernel", MFD_CLOEXEC);
    AUTO_FREE char *path = text_format("/proc/self/fd/%d", fd);
    void *ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ram == MAP_FAILED || write(fd, data, size) != (ssize_t)size)
        abort();
    guest_memory_add(&memory, 0, RAM, ram, NULL);
    if (kernel_image_read(&image, path, path, "quiet", NULL) == 0)
        kernel_image_place(&image, &memory, &options, &entry, NULL);
    kernel_image_fini(&image);
    munmap(ram, RAM);
    return 0;
}
