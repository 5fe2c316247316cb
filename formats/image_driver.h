/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What image drivers share among themselves: opening and locking the file, reading behind its end,
 * and following a backing file. Not for users of images: they include formats/image.h.
 */
#ifndef FORMATS_IMAGE_DRIVER_H
#define FORMATS_IMAGE_DRIVER_H

#include "base/error.h"
#include "formats/image.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern const struct image_driver qcow2_driver;
extern const struct image_driver raw_driver;

/* A regular file or block device, opened and locked as image_open says. Returns the fd, or -1. */
int image_file_open(const char *path, bool is_writable, struct error *err);

/* The same for reading, without a lock (struct image_open_options, is_unlocked). */
int image_file_open_unlocked(const char *path, struct error *err);

/*
 * A new file, or with may_be_device an existing block device, opened exclusively and locked for
 * writing. Returns the fd, or -1; nothing new is left behind on failure.
 */
int image_file_create(const char *path, bool may_be_device, struct error *err);

/* As io_read_at, but what lies behind the end of the file reads as zeroes. */
int image_file_read_padded(int fd, void *buffer, size_t length, uint64_t offset, struct error *err);

/* True when `name` has a protocol in front ("nbd:", "json:"), as QEMU sees it. */
bool image_name_has_protocol(const char *name);

/*
 * Opens the backing file `name` of the image at `image_path`, read-only, as `format` ("raw" when
 * NULL). Refused unless it lies in options->backing_folder after resolving all links; looked at
 * again on the descriptor itself, so that a link swapped meanwhile changes nothing.
 */
struct image *image_open_backing(const char *image_path, const char *name, const char *format,
                                 const struct image_open_options *options, unsigned chain_depth,
                                 struct error *err);

#endif
