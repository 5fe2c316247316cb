/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An initramfs: its archives are walked, its modules listed and taken out; nothing handed out may
 * have a path that leads elsewhere.
 */
#include "base/text.h"
#include "bootfix/initramfs.h"
#include "bootfix/modules.h"

#include <stdlib.h>
#include <string.h>

#define MAX_INPUT_BYTES ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int check_path(struct initramfs_receiver *receiver, const char *path, const void *data,
                      size_t length, struct error *err)
{
    (void)receiver;
    (void)err;
    volatile unsigned char sum = 0;
    if (!module_path_is_safe(path, strlen(path)))
        abort();
    for (size_t i = 0; i < length; i++)
        sum ^= ((const unsigned char *)data)[i];
    (void)sum;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct initramfs_modules modules;
    struct initramfs_receiver receiver = {.file = check_path};
    struct error err = {0};
    if (size > MAX_INPUT_BYTES ||
        initramfs_list_modules(data, size, "6.1.0-1-amd64", &modules, &err) < 0)
        return 0;
    initramfs_extract_modules(data, size, &modules, &receiver, &err);
    initramfs_modules_fini(&modules);
    return 0;
}
