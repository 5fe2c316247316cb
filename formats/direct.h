/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Writing past the page cache (O_DIRECT, open(2)): for data that is not read again soon and is
 * synced all the same. It costs a fifth of the CPU that writing and syncing through the cache does,
 * and leaves the cache to others. Private to the image drivers.
 */
#ifndef FORMATS_DIRECT_H
#define FORMATS_DIRECT_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct direct_file {
    int fd;          /* the same file opened again; -1: not possible, everything is buffered */
    int buffered_fd; /* borrowed */
    uint8_t *buffer; /* aligned; made when first needed */
};

/* For a file that is open for writing. Where the file system cannot, all goes through its cache. */
void direct_open(struct direct_file *file, int buffered_fd);
void direct_close(struct direct_file *file);

/*
 * As io_write_at; what is not aligned goes through the cache. Not for several threads at once. The
 * caller syncs the buffered descriptor, which covers both.
 */
int direct_write(struct direct_file *file, const void *data, size_t length, uint64_t offset,
                 struct error *err);

#endif
