/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Writing past the page cache, through an aligned buffer.
 */
#include "formats/direct.h"

#include "base/checked.h"
#include "base/io.h"
#include "base/own.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* No disk asks for more; what one asks for less than this would cost more than it saves. */
#define DIRECT_ALIGNMENT 4096u
#define DIRECT_STEP ((size_t)1 << 20)

void direct_open(struct direct_file *file, int buffered_fd)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/self/fd/%d", buffered_fd);
    *file = (struct direct_file){.buffered_fd = buffered_fd};
    file->fd = open(path, O_WRONLY | O_DIRECT | O_CLOEXEC);
}

static void stop_direct(struct direct_file *file)
{
    own_close(&file->fd);
    file->fd = -1;
}

void direct_close(struct direct_file *file)
{
    stop_direct(file);
    free(file->buffer);
    *file = (struct direct_file){.fd = -1, .buffered_fd = -1};
}

static bool has_buffer(struct direct_file *file)
{
    void *buffer = file->buffer;

    if (!buffer && posix_memalign(&buffer, DIRECT_ALIGNMENT, DIRECT_STEP) != 0)
        return false;
    file->buffer = buffer;
    return true;
}

/*
 * Writes a step of aligned length and place; returns what was written. 0: the file system or the
 * disk would not have it that way; whatever is wrong, writing through the cache will say.
 */
static size_t write_step(struct direct_file *file, const uint8_t *data, size_t length,
                         uint64_t offset)
{
    ssize_t written;

    if ((uintptr_t)data % DIRECT_ALIGNMENT != 0) {
        memcpy(file->buffer, data, length);
        data = file->buffer;
    }
    do {
        written = pwrite(file->fd, data, length, (off_t)offset);
    } while (written < 0 && errno == EINTR);
    if (written < 0 && errno == EINVAL)
        stop_direct(file);
    return written > 0 ? align_down((uint64_t)written, DIRECT_ALIGNMENT) : 0;
}

int direct_write(struct direct_file *file, const void *data, size_t length, uint64_t offset,
                 struct error *err)
{
    const uint8_t *from = data;

    while (file->fd >= 0 && offset % DIRECT_ALIGNMENT == 0 && length >= DIRECT_ALIGNMENT &&
           has_buffer(file)) {
        size_t step = align_down(min_u64(length, DIRECT_STEP), DIRECT_ALIGNMENT);
        size_t written = write_step(file, from, step, offset);

        if (written == 0)
            break;
        from += written;
        offset += written;
        length -= written;
    }
    return length ? io_write_at(file->buffered_fd, from, length, offset, err) : 0;
}
