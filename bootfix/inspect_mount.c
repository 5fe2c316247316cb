/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Finding and mounting the root file system. Every candidate is mounted read-only and looked at
 * once; journals are replayed by that, which touches only an overlay. What fstab mounts below the
 * root is mounted when boot fixes may need it.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"
#include "bootfix/inspect.h"

#include <stdlib.h>
#include <string.h>

#define EXT_SUPERBLOCK_OFFSET 1024
#define EXT_SUPERBLOCK_SIZE 1024
#define EXT_MAGIC_OFFSET 0x38
#define EXT_MAGIC 0xef53
#define EXT_STATE_OFFSET 0x3a
#define EXT_STATE_HAS_ERRORS 2

struct candidate {
    struct system_volume *volume;
    const char *options; /* mount options that make it the root, "" for most */
};

struct search {
    struct session *session;
    struct system *system;
    struct candidate found[INSPECT_MAX_VOLUMES];
    size_t count;
    const struct system_volume *mounted; /* the candidate at "/", read-only; NULL: none */
    struct error trouble; /* why the first file system that could hold a root was not mounted */
};

static bool is_ext(const char *type)
{
    return strcmp(type, "ext2") == 0 || strcmp(type, "ext3") == 0 || strcmp(type, "ext4") == 0;
}

static bool may_hold_root(const char *type)
{
    return is_ext(type) || strcmp(type, "xfs") == 0 || strcmp(type, "btrfs") == 0 ||
           strcmp(type, "f2fs") == 0 || strcmp(type, "reiserfs") == 0 || strcmp(type, "jfs") == 0;
}

/* Looks at names only: /etc/os-release is often a link to a /usr that is not mounted yet. */
static bool looks_like_root(struct session *session)
{
    static const char *const names[] = {"os-release",     "fstab",        "debian_version",
                                        "redhat-release", "SuSE-release", NULL};
    struct guestfs_statns_list *found =
        guestfs_lstatnslist(session->handle, "/etc", (char *const *)names);
    bool is_root = false;
    for (uint32_t i = 0; found && i < found->len; i++)
        is_root |= found->val[i].st_ino >= 0;
    if (found)
        guestfs_free_statns_list(found);
    return is_root;
}

static char *with_mode(const char *mode, const char *options)
{
    return text_format("%s%s%s", mode, options[0] ? "," : "", options);
}

static void unmount_candidate(struct search *search)
{
    if (search->mounted)
        guestfs_umount(search->session->handle, "/");
    search->mounted = NULL;
}

/* A root stays mounted: every mount and unmount costs a tenth of a second in emulation. */
static void try_root(struct search *search, struct system_volume *volume, const char *options)
{
    AUTO_FREE char *all = with_mode("ro", options);
    unmount_candidate(search);
    if (guestfs_mount_options(search->session->handle, all, volume->device, "/") < 0) {
        if (search->trouble.text[0] == '\0' && options[0] == '\0')
            session_fail(search->session, &search->trouble, "%s (%s)", volume->device,
                         volume->type);
        return;
    }
    search->mounted = volume;
    if (looks_like_root(search->session) && search->count < INSPECT_MAX_VOLUMES)
        search->found[search->count++] = (struct candidate){volume, options};
    else
        unmount_candidate(search);
}

static void try_volume(struct search *search, struct system_volume *volume)
{
    static const char *const subvolumes[] = {"subvol=@", "subvol=@rootfs", "subvol=root"};
    size_t before = search->count;
    try_root(search, volume, "");
    if (strcmp(volume->type, "btrfs") != 0)
        return;
    for (size_t i = 0; i < ARRAY_LENGTH(subvolumes) && search->count == before; i++)
        try_root(search, volume, subvolumes[i]);
}

static int search_roots(struct search *search, const char *root, struct error *err)
{
    bool is_known = false;
    /* The root is likely on the first disk: it comes last, and need not be mounted again. */
    for (size_t i = search->system->volume_count; i-- > 0;) {
        struct system_volume *volume = &search->system->volumes[i];
        if (root && strcmp(volume->device, root) != 0)
            continue;
        is_known = true;
        if (volume->type && may_hold_root(volume->type))
            try_volume(search, volume);
    }
    if (root && !is_known)
        return error_set(err, 0, "root %s: no such volume on these disks", root);
    if (root && search->count == 0)
        return error_set(err, 0, "root %s: no operating system found on it%s%s", root,
                         search->trouble.text[0] ? ": " : "", search->trouble.text);
    return 0;
}

static int refuse_several(const struct search *search, struct error *err)
{
    AUTO(text) names = {0};
    for (size_t i = search->count; i-- > 0;)
        text_addf(&names, "%s%s", names.length ? ", " : "", search->found[i].volume->device);
    return error_set(err, 0, "several operating systems found (%s): choose one with --root",
                     text_string(&names));
}

/* ext's kernel driver mounts a file system whose superblock says that it is damaged. */
static int refuse_damaged(struct search *search, const struct system_volume *volume,
                          struct error *err)
{
    size_t length = 0;
    if (!is_ext(volume->type))
        return 0;
    AUTO_FREE char *superblock =
        guestfs_pread_device(search->session->handle, volume->device, EXT_SUPERBLOCK_SIZE,
                             EXT_SUPERBLOCK_OFFSET, &length);
    if (!superblock || length != EXT_SUPERBLOCK_SIZE)
        return session_fail(search->session, err, "read the superblock of %s", volume->device);
    if (load_le16(superblock + EXT_MAGIC_OFFSET) == EXT_MAGIC &&
        (load_le16(superblock + EXT_STATE_OFFSET) & EXT_STATE_HAS_ERRORS))
        return error_set(err, 0,
                         "the root file system on %s (%s) has errors, its superblock says: "
                         "repair it first (e2fsck)",
                         volume->device, volume->type);
    return 0;
}

/* --- fstab --------------------------------------------------------------------------------- */

/* fstab(5) writes blanks as \040. In place. */
static void unescape_octal(char *text)
{
    char *to = text;
    for (const char *from = text; *from; to++) {
        if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' &&
            from[2] <= '7' && from[3] >= '0' && from[3] <= '7') {
            *to = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
}

static void apply_fstab_line(struct system *system, char *line)
{
    char *save = NULL;
    char *spec = strtok_r(line, " \t\r", &save);
    char *folder = spec ? strtok_r(NULL, " \t\r", &save) : NULL;
    if (!folder || spec[0] == '#' || folder[0] != '/')
        return;
    unescape_octal(spec);
    unescape_octal(folder);
    const struct system_volume *found = system_find_volume(system, spec);
    if (!found)
        return;
    struct system_volume *volume = &system->volumes[found - system->volumes];
    if (!volume->mountpoint)
        volume->mountpoint = text_copy(folder);
}

void inspect_fstab(struct system *system, const char *text)
{
    AUTO_FREE char *copy = text_copy(text);
    char *save = NULL;
    for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        apply_fstab_line(system, line);
}

static bool is_needed(const char *mountpoint)
{
    static const char *const needed[] = {"/boot", "/boot/efi", "/efi", "/usr",     "/usr/lib",
                                         "/lib",  "/etc",      "/var", "/var/lib", "/opt"};
    for (size_t i = 0; i < ARRAY_LENGTH(needed); i++)
        if (strcmp(mountpoint, needed[i]) == 0)
            return true;
    return false;
}

static int by_mountpoint_length(const void *a, const void *b)
{
    size_t one = strlen((*(struct system_volume *const *)a)->mountpoint);
    size_t other = strlen((*(struct system_volume *const *)b)->mountpoint);
    return (one > other) - (one < other);
}

static void mount_below(struct session *session, struct system *system)
{
    struct system_volume *wanted[INSPECT_MAX_VOLUMES];
    size_t count = 0;
    for (size_t i = 0; i < system->volume_count; i++) {
        struct system_volume *volume = &system->volumes[i];
        if (volume->mountpoint && is_needed(volume->mountpoint))
            wanted[count++] = volume;
    }
    if (count > 1)
        qsort(wanted, count, sizeof(struct system_volume *), by_mountpoint_length);
    for (size_t i = 0; i < count; i++) {
        struct error why = {0};
        if (guestfs_mount_options(session->handle, session->is_writable ? "rw" : "ro",
                                  wanted[i]->device, wanted[i]->mountpoint) < 0) {
            session_fail(session, &why, "mount %s at %s", wanted[i]->device, wanted[i]->mountpoint);
            log_warning(session->log, "%s", why.text);
        }
    }
}

/* The root is mounted as it shall be used; a probe may have left it mounted read-only. */
static int mount_candidate(struct search *search, const struct candidate *root)
{
    guestfs_h *handle = search->session->handle;
    bool is_writable = search->session->is_writable;
    if (search->mounted == root->volume && !is_writable)
        return 0;
    if (search->mounted == root->volume)
        return guestfs_remount(handle, "/", GUESTFS_REMOUNT_RW, 1, -1);
    unmount_candidate(search);
    AUTO_FREE char *options = with_mode(is_writable ? "rw" : "ro", root->options);
    return guestfs_mount_options(handle, options, root->volume->device, "/");
}

static int mount_root(struct search *search, const struct candidate *root, struct error *err)
{
    struct session *session = search->session;
    AUTO_FREE char *fstab = NULL;
    size_t length;
    if (refuse_damaged(search, root->volume, err) < 0)
        return -1;
    if (search->trouble.text[0])
        log_warning(session->log, "not mounted: %s", search->trouble.text);
    if (mount_candidate(search, root) < 0)
        return session_fail(session, err, "mount the root file system %s", root->volume->device);
    search->system->root = text_copy(root->volume->device);
    if (files_read(&session->files, "/etc/fstab", FILES_MAX_CONFIG, &fstab, &length, err) < 0)
        return -1;
    if (fstab)
        inspect_fstab(search->system, fstab);
    free(root->volume->mountpoint);
    root->volume->mountpoint = text_copy("/");
    mount_below(session, search->system);
    return 0;
}

int inspect_mount(struct session *session, struct system *system, const char *root,
                  struct error *err)
{
    AUTO_FREE struct search *search = memory_new(1, sizeof(*search));
    search->session = session;
    search->system = system;
    if (search_roots(search, root, err) < 0)
        return -1;
    if (search->count > 1)
        return refuse_several(search, err);
    if (search->count == 1)
        return mount_root(search, &search->found[0], err);
    if (search->trouble.text[0])
        return error_set(err, search->trouble.errnum,
                         "no operating system found, and a file system cannot be mounted: %s",
                         search->trouble.text);
    return 0;
}
