/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A plan: every change to a guest's files before one of them is made. Fixers read through the plan,
 * so that a later one sees what an earlier one is going to write.
 */
#ifndef BOOTFIX_PLAN_H
#define BOOTFIX_PLAN_H

#include "base/error.h"
#include "base/own.h"
#include "base/text.h"
#include "bootfix/files.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum edit_kind {
    EDIT_WRITE,  /* `after` becomes the whole file; it is made when it was not there */
    EDIT_APPEND, /* `after` is added to the end of a (binary) file */
    EDIT_REMOVE,
    EDIT_SYMLINK, /* `after` is the target */
    EDIT_COPY,    /* `after` is the path of the file, of any kind of content, that is copied */
};

struct edit {
    enum edit_kind kind;
    const char *fixer; /* the fixer's name, borrowed */
    char *path;        /* absolute, its folders without symbolic links. EDIT_WRITE and _APPEND: not
                          a link itself, but what it leads to. The others: the link itself */
    char *reason;      /* one sentence for the report */
    char *before;      /* what was there: NULL when nothing, or nothing that can be shown; of a
                          link its target */
    size_t before_length;
    bool was_link; /* a symbolic link was there */
    char *after;
    size_t after_length;
    uint64_t needed_bytes; /* EDIT_COPY: what the copy takes */
    mode_t mode;           /* for new files; existing files keep mode, owner and labels */
};

struct plan_note {
    const char *fixer;
    bool is_warning; /* a fix that was wanted and is not possible: exit code 3 */
    char *text;      /* escaped */
};

struct plan_folder;

struct plan {
    struct files *guest;         /* the guest as it is, borrowed */
    struct plan_folder *folders; /* resolved already: private to plan.c */
    size_t folder_count;
    struct edit *edits; /* in order; at most one per path */
    size_t edit_count;
    struct plan_note *notes;
    size_t note_count;
};

void plan_init(struct plan *plan, struct files *guest);
void plan_fini(struct plan *plan);

/*
 * Reads a file as it will be after the edits planned so far: 1, 0 or -1 as files_read, with the
 * limit of FILES_MAX_CONFIG. A file that is not text (NUL bytes) or too large: 0 and a warning.
 */
int plan_read(struct plan *plan, const char *fixer, const char *path, char **text,
              struct error *err);
bool plan_exists(struct plan *plan, const char *path);

/*
 * Names in a folder with the files and links that are planned into or out of it, as files_list; and
 * where a link points, as files_readlink.
 */
int plan_list(struct plan *plan, const char *folder, char ***names, struct error *err);
int plan_readlink(struct plan *plan, const char *path, char **target, struct error *err);

/*
 * Plans that the file holds `text` afterwards; nothing when it does already. A later edit of the
 * same path replaces the earlier one and joins the reasons. What cannot be edited (the path of a
 * folder, a loop of links) is a warning. Removing what is not there plans nothing.
 */
int plan_write(struct plan *plan, const char *fixer, const char *path, const char *text,
               mode_t mode, const char *reason, struct error *err);
int plan_append(struct plan *plan, const char *fixer, const char *path, const void *data,
                size_t length, const char *reason, struct error *err); /* data is copied */
int plan_remove(struct plan *plan, const char *fixer, const char *path, const char *reason,
                struct error *err);
int plan_symlink(struct plan *plan, const char *fixer, const char *path, const char *target,
                 const char *reason, struct error *err);

/*
 * Plans that a new file is a copy of one that the guest has, made inside the guest; nothing when
 * something is at `path` already. Contents that are planned for a copy cannot be read.
 */
int plan_copy(struct plan *plan, const char *fixer, const char *source, const char *path,
              const char *reason, struct error *err);

void plan_note(struct plan *plan, const char *fixer, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void plan_warn(struct plan *plan, const char *fixer, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * The whole plan as a unified diff (a/PATH, b/PATH; /dev/null for new and removed files), grouped
 * by fixer, each edit under a line "# FIXER: reason". `patch -p1` in the guest's root applies the
 * text edits and links; appended archives are described in a comment line. Guest text is escaped
 * where it would disturb a terminal; only there a diff does not apply.
 */
void plan_format_diff(const struct plan *plan, struct text *out);

/* The unified diff of two texts, three lines of context; nothing when they are equal. */
void diff_unified(const char *path_before, const char *before, const char *path_after,
                  const char *after, struct text *out);

#endif
