/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The files that a boot test writes to.
 */
#include "p2v/boottest_files.h"

#include "base/bytes.h"
#include "base/io.h"
#include "formats/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR_BYTES 512
#define VARIABLES_LIMIT ((size_t)16 << 20)

/* Firmware and its empty variable store, where distributions put them. */
static const struct {
    bool has_secure_boot;
    const char *code, *variables;
} firmwares[] = {
    {false, "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},
    {false, "/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"},
    {false, "/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"},
    {true, "/usr/share/OVMF/OVMF_CODE_4M.ms.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"},
    {true, "/usr/share/OVMF/OVMF_CODE.ms.fd", "/usr/share/OVMF/OVMF_VARS.ms.fd"},
    {true, "/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd",
     "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd"},
};

static char *path_in(const char *folder, const char *path)
{
    return path[0] == '/' ? text_copy(path) : text_format("%s/%s", folder, path);
}

/* A name in the scratch folder that nobody has; the file is not there when this returns. */
static char *free_name(const char *scratch, struct error *err)
{
    AUTO_FREE char *name = text_format("%s/boottest.XXXXXX", scratch);
    AUTO_CLOSE int fd = mkostemp(name, O_CLOEXEC);
    if (fd < 0) {
        error_set(err, errno, "make a file in %s", scratch);
        return NULL;
    }
    unlink(name);
    return take_ptr(&name);
}

/* Opens the disk as anybody would who must not trust it, and closes it again: QEMU reads it. */
static int check_disk(const struct guest_disk *disk, const char *path, const char *folder,
                      uint64_t *size_bytes, struct error *err)
{
    struct image_open_options options = {.format = disk->format, .backing_folder = folder};
    struct image_info info;
    AUTO_PTR(image) image = image_open(path, &options, err);
    if (!image)
        return -1;
    image_get_info(image, &info);
    /* QEMU would guess, and a guest's contents must not decide what its disk is. */
    if (info.backing_file && !info.backing_format)
        return error_set(err, EINVAL, "its header does not name its backing file's format");
    *size_bytes = (image->source.size_bytes + SECTOR_BYTES - 1) & ~(uint64_t)(SECTOR_BYTES - 1);
    return 0;
}

static int create_overlay(const char *name, const struct image_create_options *options,
                          struct error *err)
{
    AUTO_PTR(image) image = image_create(name, options, err);
    return image ? image_finish(image, err) : -1;
}

static int overlay_open(const struct guest_disk *disk, const char *path, const char *folder,
                        const char *scratch, struct error *err)
{
    struct image_create_options options = {
        .format = "qcow2", .backing_path = path, .backing_format = disk->format};
    if (check_disk(disk, path, folder, &options.size_bytes, err) != 0)
        return -1;
    AUTO_FREE char *name = free_name(scratch, err);
    if (!name)
        return -1;
    int fd = create_overlay(name, &options, err);
    if (fd == 0) {
        fd = open(name, O_RDWR | O_CLOEXEC);
        if (fd < 0)
            error_set(err, errno, "open %s", name);
    }
    unlink(name);
    return fd;
}

int boot_overlay_open(const struct guest_disk *disk, const char *folder, const char *scratch,
                      struct error *err)
{
    AUTO_FREE char *path = path_in(folder, disk->path);
    int fd = overlay_open(disk, path, folder, scratch, err);
    if (fd < 0)
        error_wrap(err, "overlay for %s", disk->path);
    return fd;
}

/* --- UEFI variables -----------------------------------------------------------------------------
 */

static off_t size_of(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 ? status.st_size : -1;
}

/* The guest's store decides which firmware fits: their sizes go together. */
static int choose_firmware(const struct guest *guest, const char *store)
{
    off_t wanted = store ? size_of(store) : -1;
    for (int i = 0; i < (int)ARRAY_LENGTH(firmwares); i++)
        if (firmwares[i].has_secure_boot == guest->secure_boot && size_of(firmwares[i].code) > 0 &&
            size_of(firmwares[i].variables) > 0 &&
            (wanted < 0 || size_of(firmwares[i].variables) == wanted))
            return i;
    return -1;
}

static int copy_store(const char *from, const char *scratch, struct error *err)
{
    AUTO_FREE char *data = NULL;
    size_t length;
    if (io_read_file(AT_FDCWD, from, VARIABLES_LIMIT, &data, &length, err) != 0)
        return -1;
    AUTO_CLOSE int fd = open(scratch, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set(err, errno, "make a file in %s", scratch);
    if (io_write_at(fd, data, length, 0, err) != 0)
        return -1;
    return take_fd(&fd);
}

int boot_variables_open(const struct guest *guest, const char *folder, const char *scratch,
                        const char **code, struct error *err)
{
    AUTO_FREE char *store = guest->nvram ? path_in(folder, guest->nvram) : NULL;
    int chosen = choose_firmware(guest, store);
    if (chosen < 0)
        return error_set(err, ENOENT, "no UEFI firmware%s (install the package ovmf)",
                         store ? " that fits the variable store" : "");
    *code = firmwares[chosen].code;
    int fd = copy_store(store ? store : firmwares[chosen].variables, scratch, err);
    if (fd < 0)
        error_wrap(err, "UEFI variables");
    return fd;
}
