/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Disk images: one interface, one driver per format in formats/NAME.c, collected in
 * image_drivers[].
 *
 * Reading: image_open gives a block source. Writing comes in two kinds. A *new* image
 * (image_create) is written once, mostly in order, by any number of threads, and becomes valid
 * only with image_finish: a crash before that leaves a file that does not open. An *existing* image
 * opened writable (an overlay, a converted copy being fixed) is written in place.
 */
#ifndef FORMATS_IMAGE_H
#define FORMATS_IMAGE_H

#include "base/error.h"
#include "base/own.h"
#include "base/source.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Largest virtual size taken: 64 TiB. Larger ones are refused by name. */
#define IMAGE_MAX_SIZE ((uint64_t)64 << 40)

/* Longest chain of backing files, the image itself included. */
#define IMAGE_MAX_CHAIN 16

struct image_driver;

/* `source` first: an image can be read wherever a block source can. */
struct image {
    struct block_source source;
    const struct image_driver *driver;
    char *path; /* as opened, owned */
    bool is_writable;
    bool is_new; /* created, not yet finished */
};

enum image_compression { IMAGE_COMPRESSION_NONE, IMAGE_COMPRESSION_ZLIB, IMAGE_COMPRESSION_ZSTD };

struct image_open_options {
    const char *format; /* a driver's name, or NULL: told from the header (raw if none) */
    bool is_writable;   /* backing files are opened read-only all the same */
    /*
     * The folder that backing files must lie in, after resolving links; NULL: an image with a
     * backing file is refused. A backing file's format is the one its header names, and raw when
     * it names none; never probed.
     */
    const char *backing_folder;
    /*
     * Takes no locks, for reading only: others may write to the image (or to its backing files)
     * meanwhile, so what is read can be anything, an error included. For who checks all content.
     */
    bool is_unlocked;
    /*
     * For an image opened writable that is written at the network's speed and not read again soon:
     * whole clusters go past the page cache, where format and file system can.
     */
    bool is_direct;
};

/*
 * Facts that `rehost inspect` shows and that a caller decides by. Strings are borrowed from the
 * image, escaped, NULL when absent.
 */
struct image_info {
    uint32_t cluster_size; /* 0 for formats without clusters */
    const char *backing_file;
    const char *backing_format;
    unsigned version;                   /* of the format, 0 when it has none */
    enum image_compression compression; /* the method of its compressed clusters, if any */
    unsigned snapshots;                 /* internal snapshots present (not used) */
    uint64_t allocated_bytes;           /* size on disk of the file */
};

struct image_create_options {
    const char *format;                 /* a driver's name */
    uint64_t size_bytes;                /* multiple of 512, at most IMAGE_MAX_SIZE */
    enum image_compression compression; /* what image_write_frame will be given; qcow2 only */
    /*
     * An overlay: unwritten ranges show this file. The path is stored as given, relative to the
     * new image's folder; the format is stored too. Drivers without backing files refuse.
     */
    const char *backing_path;
    const char *backing_format;
};

/* Opens and locks (shared for reading, exclusive for writing; a second writer is refused). */
struct image *image_open(const char *path, const struct image_open_options *options,
                         struct error *err);

/* The file must not exist (EEXIST), unless it is a block device and the format raw. */
struct image *image_create(const char *path, const struct image_create_options *options,
                           struct error *err);

/*
 * Writes any range. Threads may write *different* ranges at once; a new image wants them aligned
 * to its cluster (64 KiB), except at its end. What a new image was never given reads as zeroes (or
 * as the backing file, once the overlay was finished and opened again).
 */
int image_write(struct image *image, uint64_t offset, const void *data, size_t length,
                struct error *err);

/* Makes the range read as zeroes, without storing them where the format can. */
int image_write_zeroes(struct image *image, uint64_t offset, uint64_t length, struct error *err);

/*
 * Stores one whole 64 KiB cluster of a new image as the compressed frame given, as it is: a zstd
 * frame or a raw deflate stream with a window of at most 4 KiB (window bits -12; QEMU reads no
 * larger one), as options.compression said. It must inflate to exactly 64 KiB, also at the end of
 * the disk, and be smaller than that (EINVAL). ENOTSUP where the driver cannot.
 */
int image_write_frame(struct image *image, uint64_t offset, const void *frame, size_t length,
                      struct error *err);

/*
 * From or to several buffers, as a guest's requests have them: what lies in one piece of a file is
 * moved by one system call. At most IMAGE_MAX_PARTS. `parts` are borrowed and not changed.
 */
#define IMAGE_MAX_PARTS 256
int image_readv(struct image *image, uint64_t offset, const struct iovec *parts, size_t count,
                struct error *err);
int image_writev(struct image *image, uint64_t offset, const struct iovec *parts, size_t count,
                 struct error *err);

/* Everything written so far is on stable storage when it returns. */
int image_flush(struct image *image, struct error *err);

/*
 * A new image becomes valid: metadata, fsync, header, fsync. It can be read after that; to write
 * on, open it again. Refused when any write has failed before. For an existing one: image_flush.
 */
int image_finish(struct image *image, struct error *err);

/* NULL-safe. A new image that was not finished is left invalid; removing it is the caller's. */
void image_close(struct image *image);
OWN_DEFINE_PTR(image, image_close)

void image_get_info(const struct image *image, struct image_info *info);

/*
 * Makes an image consistent that a killed process or a power loss left behind while it was written
 * in place: entries that point outside of the file are cleared, refcounts are computed anew, the
 * tail that nothing refers to is cut off. What was flushed before is never touched. Nobody else may
 * have it open. Drivers that need no repair do nothing; an image too broken to repair is an error.
 */
int image_repair(const char *path, const char *format, struct error *err);

/*
 * The ranges that this file itself stores (not its backing files): what an overlay changed. Cluster
 * granularity. Drivers without backing files report what `source` maps as data.
 */
int image_map_own(const struct image *image, struct extents *own, struct error *err);

/* Where a range of an image lies in a file as it is, and may be read or overwritten there. */
struct image_place {
    int fd;
    uint64_t offset, length; /* length 0: nowhere */
};

struct image_driver {
    const char *name;        /* "qcow2" */
    const char *extension;   /* "qcow2": disk0.qcow2 */
    const char *description; /* one line for `rehost formats` */
    bool can_back;           /* may have a backing file */
    bool can_compress;

    /* Looks only at the buffer (the first 64 KiB or the whole file). raw takes nothing. */
    bool (*probe)(const uint8_t *head, size_t length);
    /* fd is taken, even on failure. chain_depth counts the images above this one. */
    struct image *(*open)(int fd, const char *path, const struct image_open_options *options,
                          unsigned chain_depth, struct error *err);
    struct image *(*create)(int fd, const char *path, const struct image_create_options *options,
                            struct error *err); /* NULL: read only */
    int (*write)(struct image *image, uint64_t offset, const void *data, size_t length,
                 struct error *err);
    int (*write_zeroes)(struct image *image, uint64_t offset, uint64_t length, struct error *err);
    /* The place of at most `length` bytes at `offset`, which lie inside. NULL: never tells. */
    int (*locate)(struct image *image, uint64_t offset, uint64_t length, bool is_write,
                  struct image_place *place, struct error *err);
    int (*write_frame)(struct image *image, uint64_t offset, const void *frame, size_t length,
                       struct error *err);
    int (*flush)(struct image *image, struct error *err);
    int (*finish)(struct image *image, struct error *err);
    void (*close)(struct image *image);
    void (*get_info)(const struct image *image, struct image_info *info);
    int (*map_own)(const struct image *image, struct extents *own, struct error *err);
    /* fd is borrowed, open for reading and writing, locked. NULL: never needed. */
    int (*repair)(int fd, const char *path, struct error *err);
};

/* Ends with NULL. raw is last. */
extern const struct image_driver *const image_drivers[];
const struct image_driver *image_driver_find(const char *name); /* NULL when there is none */

#endif
