/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A converted machine's folder: built beside its final name and renamed when complete, locked while
 * something works on it, and read again by the commands that take a DIR.
 */
#ifndef P2V_MACHINE_H
#define P2V_MACHINE_H

#include "base/error.h"
#include "base/log.h"
#include "base/own.h"
#include "formats/guest.h"
#include "formats/manifest.h"

#include <stdbool.h>
#include <stddef.h>

#define MACHINE_GUEST "guest.json"
#define MACHINE_INVENTORY "inventory.json"
#define MACHINE_REPORT "report.json"
#define MACHINE_BOOT_LOG "boot.log" /* what the console said, when the boot test failed */

/*
 * Work in progress: DIR.partial, flock'ed. What a killed process left there is removed; a folder
 * under either name that is not ours is refused. The pointers are owned.
 */
struct machine_draft {
    char *final;     /* DIR, without trailing slashes */
    char *partial;   /* DIR.partial */
    int folder_fd;   /* of the draft, locked; after publishing: of DIR */
    bool is_forced;  /* an existing DIR is replaced */
    bool is_started; /* DIR.partial exists and is ours */
};

/* -1 when DIR exists and is not forced, is no machine's folder, or is being worked on. */
int machine_draft_open(struct machine_draft *draft, const char *path, bool is_forced,
                       struct log *log, struct error *err);

/* Everything to stable storage, then DIR.partial becomes DIR in one step; an old DIR is removed. */
int machine_draft_publish(struct machine_draft *draft, struct log *log, struct error *err);

/* Removes what was not published. */
void machine_draft_fini(struct machine_draft *draft);

/* Removes the draft's folder; from any thread, for an end by force. */
void machine_draft_remove(void *draft);

/* In DIR.partial from its first moment, so that a left-over is told from somebody's folder. */
#define MACHINE_DRAFT_MARK ".rehost-draft"

/* In a machine that an update is being merged into: until that is done it is nothing. */
#define MACHINE_MERGE_MARK ".rehost-merging"

/* Made by a conversion or a transfer, complete or not, or with nothing in it. */
bool machine_folder_is_ours(int folder_fd);

/* A lock may have been taken on a folder that another process removed or replaced meanwhile. */
bool machine_folder_is_there(int folder_fd, const char *path);

enum machine_access { MACHINE_READ, MACHINE_WRITE };

struct machine {
    char *path;
    int folder_fd; /* flock'ed: shared for reading, else exclusive */
    struct guest *guest;
};

/* Fails when the folder has no valid guest.json, or another command works on it. */
int machine_open(struct machine *machine, const char *path, enum machine_access access,
                 struct error *err);
void machine_fini(struct machine *machine);

/* "disk0.manifest"; caller frees. */
char *machine_manifest_name(size_t disk_index);

/* The manifest of a disk: 1 found, 0 none, -1 broken. Its image is a name in the folder. */
int machine_read_manifest(const struct machine *machine, size_t disk_index,
                          struct manifest *manifest, struct error *err);

/* True when a file of that name is in the folder. */
bool folder_has(int folder_fd, const char *name);

/* Removes a folder and what is in it, not following links. A missing one is no error. */
int folder_remove(int parent_fd, const char *name, struct error *err);

/* "path/name" (just name when path is "."); caller frees. */
char *path_join(const char *path, const char *name);

/* The last part of a path, without trailing slashes; caller frees. */
char *path_base(const char *path);

/* What the path leads up to: "a" of "a/b", "." of "b"; caller frees. */
char *path_parent(const char *path);

#endif
