/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Reading cpio archives in the "newc" format (the kernel's Documentation, buffer-format) from a
 * stream that comes in pieces of any size. Nothing is written anywhere: a visitor is told.
 */
#ifndef BOOTFIX_CPIO_H
#define BOOTFIX_CPIO_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CPIO_HEADER_BYTES 110
#define CPIO_MAX_NAME_BYTES 4096 /* the kernel's limit, with the NUL */

struct cpio_member {
    const char *path; /* without leading "/" and "./", borrowed; never with a ".." component */
    mode_t mode;
    uint64_t size_bytes;
};

struct cpio_visitor {
    /* *is_wanted (false before): whether its data shall come. Members with ".." are left out. */
    int (*begin)(struct cpio_visitor *visitor, const struct cpio_member *member, bool *is_wanted,
                 struct error *err);
    int (*data)(struct cpio_visitor *visitor, const void *data, size_t length, struct error *err);
    int (*end)(struct cpio_visitor *visitor, struct error *err);
};

enum cpio_state {
    CPIO_BETWEEN, /* before an archive or behind its trailer */
    CPIO_HEADER,
    CPIO_NAME,
    CPIO_DATA,
};

struct cpio_reader {
    struct cpio_visitor *visitor;
    enum cpio_state state;
    char header[CPIO_HEADER_BYTES];
    char name[CPIO_MAX_NAME_BYTES + 4];
    size_t filled;       /* bytes of header or name that are there */
    size_t name_bytes;   /* with the padding behind it */
    uint64_t data_left;  /* of the member's data */
    size_t padding_left; /* behind its data */
    mode_t mode;
    bool is_wanted;
};

void cpio_reader_init(struct cpio_reader *reader, struct cpio_visitor *visitor);

/*
 * Takes the next bytes; stops behind a trailer. *consumed tells how many it took: less than all
 * only when reader->state is CPIO_BETWEEN.
 */
int cpio_reader_feed(struct cpio_reader *reader, const void *data, size_t length, size_t *consumed,
                     struct error *err);

/* True for the first bytes of a newc archive. */
bool cpio_detect(const void *data, size_t length);

#endif
