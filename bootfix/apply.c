/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * One function per kind of edit. A file's new contents are written beside it, given its owner, mode
 * and labels, and renamed over it; an archive is appended in place, which is safe because the disk
 * is a throw-away overlay until all is done.
 */
#include "bootfix/apply.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/own.h"
#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define APPLY_PART_BYTES ((size_t)2 << 20)
#define APPLY_MAX_MOUNTS 64
#define APPLY_RESERVE_BYTES ((uint64_t)1 << 20) /* left free on each file system */
#define SELINUX_LABEL "security.selinux"

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash > path ? text_format("%.*s", (int)(slash - path), path) : text_copy("/");
}

/* --- free space ---------------------------------------------------------------------------- */

struct need {
    const char *mountpoint;
    uint64_t bytes;
};

static const char *mountpoint_of(char *const *mountpoints, const char *path)
{
    const char *best = "/";
    for (size_t i = 0; mountpoints[i] && mountpoints[i + 1]; i += 2) {
        const char *folder = mountpoints[i + 1];
        size_t length = strlen(folder);
        if (length > strlen(best) && strncmp(path, folder, length) == 0 && path[length] == '/')
            best = folder;
    }
    return best;
}

static void add_need(struct need *needs, size_t *count, const char *mountpoint, uint64_t bytes)
{
    for (size_t i = 0; i < *count; i++) {
        if (strcmp(needs[i].mountpoint, mountpoint) == 0) {
            needs[i].bytes += bytes;
            return;
        }
    }
    if (*count < APPLY_MAX_MOUNTS)
        needs[(*count)++] = (struct need){mountpoint, bytes};
}

static int check_need(struct session *session, const struct need *need, struct error *err)
{
    struct guestfs_statvfs *space = guestfs_statvfs(session->handle, need->mountpoint);
    if (!space)
        return session_fail(session, err, "free space of %s", need->mountpoint);
    uint64_t available = 0;
    if (!checked_mul((uint64_t)space->bavail, (uint64_t)space->frsize, &available))
        available = UINT64_MAX;
    guestfs_free_statvfs(space);
    if (available >= need->bytes + APPLY_RESERVE_BYTES)
        return 0;
    char has[32], wants[32];
    return error_set(err, ENOSPC, "the guest's file system at %s: %s are free, %s are needed",
                     need->mountpoint, bytes_format(available, has, sizeof(has)),
                     bytes_format(need->bytes + APPLY_RESERVE_BYTES, wants, sizeof(wants)));
}

int apply_check_space(struct session *session, const struct plan *plan, struct error *err)
{
    struct need needs[APPLY_MAX_MOUNTS];
    size_t count = 0;
    /* Pairs: device, folder. */
    char **mountpoints = guestfs_mountpoints(session->handle);
    if (!mountpoints)
        return session_fail(session, err, "list what is mounted");
    for (size_t i = 0; i < plan->edit_count; i++) {
        const struct edit *edit = &plan->edits[i];
        if (edit->kind != EDIT_REMOVE)
            add_need(needs, &count, mountpoint_of(mountpoints, edit->path),
                     align_up(edit->after_length + edit->needed_bytes, 4 * KIB));
    }
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++)
        result = check_need(session, &needs[i], err);
    files_free_names(mountpoints);
    return result;
}

void apply_warn_space(struct session *session, struct plan *plan)
{
    struct error why = {0};
    if (plan->edit_count > 0 && apply_check_space(session, plan, &why) < 0)
        plan_warn(plan, "space", "the planned changes cannot be made: %s", why.text);
}

/* --- edits --------------------------------------------------------------------------------- */

static char *name_aside(const char *path)
{
    AUTO_FREE char *folder = folder_of(path);
    const char *name = strrchr(path, '/') + 1;
    return text_format("%s%s.%.200s.rehost", folder, strcmp(folder, "/") == 0 ? "" : "/", name);
}

/* File systems without owners or labels (an ESP's FAT) have nothing to keep. */
static int copy_attributes(struct session *session, const char *from, const char *to)
{
    guestfs_h *handle = session->handle;
    if (guestfs_copy_attributes(handle, from, to, GUESTFS_COPY_ATTRIBUTES_ALL, 1, -1) == 0 ||
        guestfs_copy_attributes(handle, from, to, GUESTFS_COPY_ATTRIBUTES_MODE, 1,
                                GUESTFS_COPY_ATTRIBUTES_OWNERSHIP, 1, -1) == 0)
        return 0;
    int errnum = guestfs_last_errno(handle);
    return errnum == EPERM || errnum == ENOTSUP ? 0 : -1;
}

/* A new file has the label of its folder, as the guest itself would have given it. */
static void inherit_label(struct session *session, const char *folder, const char *path)
{
    size_t length = 0;
    AUTO_FREE char *label = guestfs_lgetxattr(session->handle, folder, SELINUX_LABEL, &length);
    if (label)
        guestfs_lsetxattr(session->handle, SELINUX_LABEL, label, (int)length, path);
}

static int set_new_attributes(struct session *session, const struct edit *edit, const char *folder,
                              const char *path)
{
    inherit_label(session, folder, path);
    mode_t mode = edit->mode & 07777;
    return guestfs_chmod(session->handle, mode ? (int)mode : 0644, path);
}

static int is_there(struct session *session, const char *path)
{
    struct guestfs_statns *stat = guestfs_lstatns(session->handle, path);
    if (!stat)
        return session_is_missing(session) ? 0 : -1;
    guestfs_free_statns(stat);
    return 1;
}

static int apply_write(struct session *session, const struct edit *edit)
{
    guestfs_h *handle = session->handle;
    AUTO_FREE char *folder = folder_of(edit->path);
    AUTO_FREE char *aside = name_aside(edit->path);
    int exists = is_there(session, edit->path);
    if (exists < 0 || (exists == 0 && guestfs_mkdir_p(handle, folder) < 0))
        return -1;
    if (guestfs_write(handle, aside, edit->after ? edit->after : "", edit->after_length) < 0)
        return -1;
    int result = exists ? copy_attributes(session, edit->path, aside)
                        : set_new_attributes(session, edit, folder, aside);
    return result < 0 ? -1 : guestfs_rename(handle, aside, edit->path);
}

static int apply_append(struct session *session, const struct edit *edit)
{
    if (is_there(session, edit->path) != 1)
        return -1;
    for (size_t done = 0; done < edit->after_length;) {
        size_t part = min_u64(edit->after_length - done, APPLY_PART_BYTES);
        if (guestfs_write_append(session->handle, edit->path, edit->after + done, part) < 0)
            return -1;
        done += part;
    }
    return 0;
}

static int apply_symlink(struct session *session, const struct edit *edit)
{
    AUTO_FREE char *folder = folder_of(edit->path);
    AUTO_FREE char *aside = name_aside(edit->path);
    if (guestfs_mkdir_p(session->handle, folder) < 0 ||
        guestfs_ln_s(session->handle, edit->after, aside) < 0)
        return -1;
    inherit_label(session, folder, aside);
    return guestfs_rename(session->handle, aside, edit->path);
}

/* The source was resolved inside the guest: no link of it leads the appliance elsewhere. */
static int apply_copy(struct session *session, const struct edit *edit)
{
    AUTO_FREE char *folder = folder_of(edit->path);
    AUTO_FREE char *aside = name_aside(edit->path);
    if (guestfs_mkdir_p(session->handle, folder) < 0 ||
        guestfs_cp(session->handle, edit->after, aside) < 0 ||
        copy_attributes(session, edit->after, aside) < 0)
        return -1;
    inherit_label(session, folder, aside);
    return guestfs_rename(session->handle, aside, edit->path);
}

static int apply_edit(struct session *session, const struct edit *edit)
{
    switch (edit->kind) {
    case EDIT_WRITE:
        return apply_write(session, edit);
    case EDIT_APPEND:
        return apply_append(session, edit);
    case EDIT_REMOVE:
        return guestfs_rm(session->handle, edit->path);
    case EDIT_SYMLINK:
        return apply_symlink(session, edit);
    case EDIT_COPY:
        return apply_copy(session, edit);
    }
    return -1;
}

int apply_edits(struct session *session, const struct plan *plan, struct error *err)
{
    for (size_t i = 0; i < plan->edit_count; i++) {
        const struct edit *edit = &plan->edits[i];
        if (apply_edit(session, edit) < 0)
            return session_fail(session, err, "%s: change %s", edit->fixer, edit->path);
        log_detail(session->log, "%s: %s changed", edit->fixer, edit->path);
    }
    return 0;
}
