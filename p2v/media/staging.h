/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A temporary folder in which the parts of a medium are put together, and the programs that do it.
 */
#ifndef P2V_MEDIA_STAGING_H
#define P2V_MEDIA_STAGING_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* {0} is closed. */
struct staging {
    char *base;    /* the folder's path */
    uint64_t date; /* of every file in it */
};

int staging_open(struct staging *staging, uint64_t date, struct error *err);
void staging_fini(struct staging *staging); /* removes all of it */

/* "BASE/name"; caller frees. */
char *staging_path(const struct staging *staging, const char *name);

/* Writes a file, with the folders above it; `name` is ours. */
int staging_write(const struct staging *staging, const char *name, const void *data, size_t length,
                  struct error *err);

/* A program of this machine's, and the package that has it. */
struct staging_tool {
    const char *program, *package;
};

/* An error that says what to install when one is not there; ends with {NULL}. Before long work. */
int staging_check_tools(const struct staging_tool *tools, struct error *err);

/*
 * Runs a program of this machine's with a fixed date and time zone; `package` is what to install
 * when it is not there. argv ends with NULL.
 */
int staging_run(const struct staging *staging, const char *const argv[], const char *package,
                struct error *err);

#endif
