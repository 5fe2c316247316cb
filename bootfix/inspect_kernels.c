/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The installed kernels: folders of /lib/modules for which /boot holds an image.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"
#include "bootfix/inspect.h"
#include "bootfix/modules.h"

#include <stdlib.h>
#include <string.h>

static bool is_in(char *const *names, const char *name)
{
    for (size_t i = 0; names && names[i]; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* "/boot/NAME" of the first pattern (with one %s for the version) that is there, else NULL. */
static char *find_in_boot(char *const *boot, const char *const *prefixes, size_t count,
                          const char *version, const char *suffix)
{
    for (size_t i = 0; i < count; i++) {
        AUTO_FREE char *name = text_format("%s%s%s", prefixes[i], version, suffix);
        if (is_in(boot, name))
            return text_format("/boot/%s", name);
    }
    return NULL;
}

static char *find_image(char *const *boot, const char *version)
{
    static const char *const prefixes[] = {"vmlinuz-", "vmlinux-", "kernel-", "Image-"};
    return find_in_boot(boot, prefixes, ARRAY_LENGTH(prefixes), version, "");
}

static char *find_initramfs(char *const *boot, const char *version)
{
    static const char *const plain[] = {"initrd.img-", "initramfs-", "initrd-"};
    char *found = find_in_boot(boot, plain, ARRAY_LENGTH(plain), version, "");
    return found ? found : find_in_boot(boot, plain + 1, ARRAY_LENGTH(plain) - 1, version, ".img");
}

static int read_drivers(struct files *files, struct system_kernel *kernel, struct error *err)
{
    struct modules modules;
    if (modules_read(&modules, files, kernel->modules, err) < 0)
        return -1;
    kernel->has_virtio_blk = modules_find(&modules, "virtio_blk") != NULL;
    kernel->has_virtio_net = modules_find(&modules, "virtio_net") != NULL;
    kernel->has_virtio_pci = modules_find(&modules, "virtio_pci") != NULL;
    kernel->has_virtio_scsi = modules_find(&modules, "virtio_scsi") != NULL;
    modules_fini(&modules);
    return 0;
}

static int add_kernel(struct files *files, struct system *system, const char *folder,
                      char *const *boot, const char *version, struct error *err)
{
    char *image = find_image(boot, version);
    if (!image)
        return 0;
    system->kernels =
        memory_grow(system->kernels, system->kernel_count + 1, sizeof(*system->kernels));
    struct system_kernel *kernel = &system->kernels[system->kernel_count++];
    *kernel = (struct system_kernel){
        .version = text_copy(version),
        .image = image,
        .initramfs = find_initramfs(boot, version),
        .modules = text_format("%s/%s", folder, version),
    };
    return read_drivers(files, kernel, err);
}

static int newest_first(const void *a, const void *b)
{
    return strverscmp(((const struct system_kernel *)b)->version,
                      ((const struct system_kernel *)a)->version);
}

static int add_kernels(struct files *files, struct system *system, const char *folder,
                       char *const *versions, struct error *err)
{
    char **boot = NULL;
    if (files_list(files, "/boot", &boot, err) < 0)
        return -1;
    int result = 0;
    for (size_t i = 0; versions[i] && result == 0; i++)
        if (system->kernel_count < INSPECT_MAX_KERNELS && kernel_version_is_safe(versions[i]))
            result = add_kernel(files, system, folder, boot, versions[i], err);
    files_free_names(boot);
    return result;
}

int inspect_kernels(struct files *files, struct system *system, struct error *err)
{
    static const char *const folders[] = {"/lib/modules", "/usr/lib/modules"};
    char **versions = NULL;
    int result = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(folders) && result == 0; i++) {
        result = files_list(files, folders[i], &versions, err);
        if (result > 0)
            result = add_kernels(files, system, folders[i], versions, err) < 0 ? -1 : 1;
    }
    files_free_names(versions);
    if (system->kernel_count > 1)
        qsort(system->kernels, system->kernel_count, sizeof(*system->kernels), newest_first);
    return result < 0 ? -1 : 0;
}
