/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Whole reads and writes, and files that appear under their name only when complete. EINTR and
 * short transfers are handled; errors name offset and length, the caller adds the file's name.
 */
#ifndef BASE_IO_H
#define BASE_IO_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Reads exactly `length` bytes at `offset`; an early end of file is an error (EIO). */
int io_read_at(int fd, void *buffer, size_t length, uint64_t offset, struct error *err);

int io_write_at(int fd, const void *data, size_t length, uint64_t offset, struct error *err);

/* At the descriptor's own position (pipes, sockets, files being appended). */
int io_write(int fd, const void *data, size_t length, struct error *err);

/*
 * Reads a whole file of at most `limit_bytes`, relative to folder_fd (AT_FDCWD allowed). *data is
 * NUL-terminated behind its *length bytes; caller frees. A larger file is an error (EFBIG).
 */
int io_read_file(int folder_fd, const char *path, size_t limit_bytes, char **data, size_t *length,
                 struct error *err);

/* Size of a regular file or block device. Other kinds of file are refused. */
int io_size(int fd, uint64_t *size_bytes, struct error *err);

int io_sync(int fd, struct error *err);
int io_sync_folder(const char *path, struct error *err);

/*
 * A file written aside (".NAME.partial" in the same folder) and renamed when complete. Nothing
 * exists under the final name before new_file_commit, or ever when it is discarded.
 */
struct new_file {
    int fd;          /* for writing; -1 once committed or discarded */
    int folder_fd;   /* owned */
    char *name;      /* final name, owned */
    char *temporary; /* owned */
};

int new_file_open(struct new_file *file, int folder_fd, const char *name, mode_t mode,
                  struct error *err);

/* fsync, close, rename, fsync of the folder. After -1 the file is discarded. */
int new_file_commit(struct new_file *file, struct error *err);

/* Removes what was written, unless committed. Same as new_file_fini. */
void new_file_fini(struct new_file *file);

/* All of that in one call. */
int io_replace_file(int folder_fd, const char *name, const void *data, size_t length, mode_t mode,
                    struct error *err);

#endif
