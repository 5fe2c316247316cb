/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Asks libblkid what a volume holds. The library reads from a descriptor, so the places where
 * superblocks are kept are copied into a memory file of the volume's size; the rest of that file
 * is a hole and costs nothing, whatever the size.
 */
#include "disk/probe.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/io.h"
#include "base/own.h"
#include "base/text.h"

#include <blkid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * The farthest superblocks libblkid looks for: VMFS at 2 MiB and UDF anchors (block 512) from the
 * start, ZFS labels (512 KiB, aligned) and RAID metadata from the end.
 */
#define WINDOW_START (4 * MIB)
#define WINDOW_END (1 * MIB)
#define WINDOW_STEP (64 * KIB)

/* NTFS is believed only when its MFT is where the boot sector says. */
#define NTFS_MFT_WINDOW (16 * KIB)

static int copy_window(const struct block_source *volume, int fd, uint64_t start, uint64_t length,
                       struct error *err)
{
    AUTO_FREE char *buffer = malloc(WINDOW_STEP);
    uint64_t end;

    if (!buffer)
        return error_set(err, ENOMEM, "probing window");
    if (!checked_add(start, length, &end) || end > volume->size_bytes)
        end = volume->size_bytes;
    while (start < end) {
        size_t step = (size_t)min_u64(end - start, WINDOW_STEP);

        if (block_source_read(volume, start, buffer, step, err) < 0)
            return -1;
        if (!bytes_are_zero(buffer, step) && io_write_at(fd, buffer, step, start, err) < 0)
            return -1;
        start += step;
    }
    return 0;
}

static int copy_ntfs_window(const struct block_source *volume, int fd, struct error *err)
{
    uint8_t sector[512];
    uint64_t offset;

    if (volume->size_bytes < sizeof(sector))
        return 0;
    if (block_source_read(volume, 0, sector, sizeof(sector), err) < 0)
        return -1;
    uint64_t cluster = (uint64_t)load_le16(sector + 0x0b) * sector[0x0d];
    if (memcmp(sector + 3, "NTFS    ", 8) != 0 ||
        !checked_mul(load_le64(sector + 0x30), cluster, &offset) || offset > volume->size_bytes)
        return 0;
    return copy_window(volume, fd, offset, NTFS_MFT_WINDOW, err);
}

/* Returns a descriptor that looks like the volume to libblkid; the caller closes it. */
static int make_window_file(const struct block_source *volume, struct error *err)
{
    AUTO_CLOSE int fd = memfd_create("probe", MFD_CLOEXEC);
    uint64_t size = volume->size_bytes;
    uint64_t tail = align_down(size - min_u64(size, WINDOW_END), WINDOW_STEP);

    if (fd < 0)
        return error_set(err, errno, "memory file");
    if (size > INT64_MAX || ftruncate(fd, (off_t)size) < 0)
        return error_set(err, size > INT64_MAX ? EFBIG : errno, "memory file of %llu bytes",
                         (unsigned long long)size);
    if (copy_window(volume, fd, 0, WINDOW_START, err) < 0 ||
        copy_window(volume, fd, max_u64(tail, WINDOW_START), UINT64_MAX, err) < 0 ||
        copy_ntfs_window(volume, fd, err) < 0)
        return -1;
    return take_fd(&fd);
}

/* Copies a value as printable text, cut at the end of an escaped character. */
static void take_value(blkid_probe prober, const char *name, char *to, size_t size)
{
    const char *value;
    size_t length;

    to[0] = '\0';
    if (blkid_probe_lookup_value(prober, name, &value, &length) != 0)
        return;
    length = strnlen(value, length);
    while (true) {
        AUTO(text) escaped = {0};

        text_add_escaped(&escaped, value, length);
        if (escaped.length < size) {
            memcpy(to, text_string(&escaped), escaped.length + 1);
            return;
        }
        length--;
    }
}

static int run_blkid(blkid_probe prober, int fd, struct probe *probe, struct error *err)
{
    if (blkid_probe_set_device(prober, fd, 0, 0) != 0 ||
        blkid_probe_enable_superblocks(prober, 1) != 0 ||
        blkid_probe_set_superblocks_flags(prober, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE |
                                                      BLKID_SUBLKS_VERSION | BLKID_SUBLKS_UUID |
                                                      BLKID_SUBLKS_LABEL) != 0)
        return error_set(err, 0, "libblkid cannot be set up");
    switch (blkid_do_safeprobe(prober)) {
    case 0:
        take_value(prober, "TYPE", probe->type, sizeof(probe->type));
        take_value(prober, "USAGE", probe->usage, sizeof(probe->usage));
        take_value(prober, "VERSION", probe->version, sizeof(probe->version));
        take_value(prober, "UUID", probe->uuid, sizeof(probe->uuid));
        take_value(prober, "LABEL", probe->label, sizeof(probe->label));
        return 0;
    case 1:
        return 0;
    case -2:
        probe->is_ambiguous = true;
        return 0;
    default:
        return error_set(err, errno, "libblkid");
    }
}

int probe_read(const struct block_source *volume, struct probe *probe, struct error *err)
{
    *probe = (struct probe){0};
    if (volume->size_bytes == 0)
        return 0;
    AUTO_CLOSE int fd = make_window_file(volume, err);
    if (fd < 0)
        return error_wrap(err, "probe");
    blkid_probe prober = blkid_new_probe();
    if (!prober)
        return error_set(err, ENOMEM, "probe");
    int status = run_blkid(prober, fd, probe, err);
    blkid_free_probe(prober);
    return status < 0 ? error_wrap(err, "probe") : 0;
}
