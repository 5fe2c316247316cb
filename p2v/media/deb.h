/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Debian packages as files (deb(5)): what they say of themselves, and what is in them. Read with
 * libarchive; nothing is installed, no script of theirs is run.
 */
#ifndef P2V_MEDIA_DEB_H
#define P2V_MEDIA_DEB_H

#include "base/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define DEB_MAX_NAME 128
#define DEB_MAX_CONTROL_BYTES ((size_t)1 << 20)
#define DEB_MAX_FILE_BYTES ((uint64_t)256 << 20)

struct deb {
    char *path;
    char name[DEB_MAX_NAME], version[DEB_MAX_NAME], architecture[16];
    char *depends;  /* Pre-Depends and Depends as they stand there; "" when it has none */
    uint64_t mtime; /* when it was built, in seconds since 1970 */
};

/* Reads the control part. */
int deb_open(struct deb *deb, const char *path, struct error *err);
void deb_fini(struct deb *deb);

/* From the text of a control file alone; fields that are missing stay empty. */
void deb_parse_control(struct deb *deb, const char *text, size_t length);

/* Paths are relative, without "./"; lib, bin, sbin and lib64 stand in usr, as on merged systems. */
struct deb_visitor {
    bool (*wants)(struct deb_visitor *visitor, const char *path);
    /* `data` is malloced: take it by emptying the pointer. A link's is its target. */
    int (*take)(struct deb_visitor *visitor, const char *path, mode_t mode, char **data,
                size_t length, struct error *err);
    const atomic_bool *stop; /* ends it, as an error; may be NULL */
};

int deb_visit(const struct deb *deb, struct deb_visitor *visitor, struct error *err);

/* As dpkg compares versions (deb-version(7)): below, at or above 0. */
int deb_compare_versions(const char *a, const char *b);

#endif
