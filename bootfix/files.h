/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * How inspection and fixers see a guest's files: read-only, by absolute guest path, with symbolic
 * links resolved inside the guest and never outside of it. Implemented over libguestfs
 * (session.c) and, for tests and fuzzing, over a list in memory.
 */
#ifndef BOOTFIX_FILES_H
#define BOOTFIX_FILES_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Largest configuration file that is read; larger ones are treated as not there, with a warning. */
#define FILES_MAX_CONFIG ((size_t)1 << 20)

struct files_stat {
    mode_t mode; /* type and permission bits, of what links lead to */
    uint32_t uid, gid;
    uint64_t size_bytes;
};

struct files;

struct files_ops {
    /* 1: found, *data NUL-terminated, caller frees. 0: no such file, or not a regular file. -1: err
     */
    int (*read)(struct files *files, const char *path, size_t limit_bytes, char **data,
                size_t *length, struct error *err);
    /* Names in a folder, sorted, NULL-terminated, caller frees each and the array. As above. */
    int (*list)(struct files *files, const char *folder, char ***names, struct error *err);
    /* 1, 0 (nothing there) or -1. */
    int (*stat)(struct files *files, const char *path, struct files_stat *stat, struct error *err);
    /* Where a link itself points (one step); 0 when there is none or it is not a link. */
    int (*readlink)(struct files *files, const char *path, char **target, struct error *err);
};

struct files {
    const struct files_ops *ops;
};

int files_read(struct files *files, const char *path, size_t limit_bytes, char **data,
               size_t *length, struct error *err);
int files_list(struct files *files, const char *folder, char ***names, struct error *err);
int files_stat(struct files *files, const char *path, struct files_stat *stat, struct error *err);
int files_readlink(struct files *files, const char *path, char **target, struct error *err);
bool files_exist(struct files *files, const char *path); /* an error counts as 'no' */
void files_free_names(char **names);

/* Links that one path may lead through, and the longest path that is followed. */
#define FILES_MAX_LINKS 40
#define FILES_MAX_PATH 4096

/*
 * The path with every symbolic link in it resolved inside the guest, the last component only when
 * follow_last. What does not exist is kept as it is spelled. 1, 0 (a loop, or too long), or -1.
 */
int files_resolve(struct files *files, const char *path, bool follow_last, char **real,
                  struct error *err);

/* A tree in memory, for tests: what is added is copied. */
struct files_memory;
struct files_memory *files_memory_new(void);
void files_memory_free(struct files_memory *memory);
void files_memory_add(struct files_memory *memory, const char *path, mode_t mode, const void *data,
                      size_t length); /* parents are made */
void files_memory_add_link(struct files_memory *memory, const char *path, const char *target);
struct files *files_memory_files(struct files_memory *memory);

/* Makes the edits of a plan in the tree (not archives' modes and owners): what an apply would. */
struct plan;
void files_memory_apply(struct files_memory *memory, const struct plan *plan);

#endif
