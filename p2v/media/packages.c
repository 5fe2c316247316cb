/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The folder of packages: the newest of each, and what of them is needed.
 */
#include "p2v/media/packages.h"

#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* grub-common, xorriso, mtools, dosfstools and kmod are programs of this machine's instead. */
const char *const packages_wanted[] = {
    "linux-image-amd64",
    "busybox",
    "udev",
    "kmod",
    "iproute2",
    "lvm2",
    "dmsetup",
    "mdadm",
    "cryptsetup-bin",
    "ncurses-base",
    "firmware-linux-free",
    "grub-pc-bin",
    "grub-efi-amd64-signed",
    "shim-signed",
    NULL,
};

void packages_fini(struct packages *packages)
{
    for (size_t i = 0; i < packages->count; i++)
        deb_fini(&packages->items[i]);
    free(packages->items);
    *packages = (struct packages){0};
}

const struct deb *packages_find(const struct packages *packages, const char *name)
{
    for (size_t i = 0; i < packages->count; i++) {
        if (strcmp(packages->items[i].name, name) == 0)
            return &packages->items[i];
    }
    return NULL;
}

uint64_t packages_date(const struct packages *packages)
{
    uint64_t newest = 0;
    for (size_t i = 0; i < packages->count; i++) {
        if (packages->items[i].mtime > newest)
            newest = packages->items[i].mtime;
    }
    return newest;
}

/* --- the folder --- */

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct deb *)a)->name, ((const struct deb *)b)->name);
}

/* Takes what `deb` holds. */
static void add_deb(struct packages *packages, struct deb *deb)
{
    for (size_t i = 0; i < packages->count; i++) {
        struct deb *other = &packages->items[i];
        if (strcmp(other->name, deb->name) != 0)
            continue;
        if (deb_compare_versions(deb->version, other->version) > 0) {
            deb_fini(other);
            *other = *deb;
        } else {
            deb_fini(deb);
        }
        return;
    }
    packages->items = memory_grow(packages->items, packages->count + 1, sizeof(*packages->items));
    packages->items[packages->count++] = *deb;
}

static int is_package(const struct dirent *entry)
{
    return entry->d_name[0] != '.' && text_ends_with(entry->d_name, ".deb");
}

static int read_deb(struct packages *packages, const char *folder, const char *name,
                    struct error *err)
{
    struct deb deb;
    AUTO_FREE char *path = text_format("%s/%s", folder, name);
    if (packages->count >= PACKAGES_MAX)
        return error_set(err, 0, "%s: more than %d packages", folder, PACKAGES_MAX);
    if (deb_open(&deb, path, err) != 0)
        return -1;
    if (strcmp(deb.architecture, "amd64") == 0 || strcmp(deb.architecture, "all") == 0)
        add_deb(packages, &deb);
    else
        deb_fini(&deb);
    return 0;
}

static int read_folder(struct packages *packages, const char *folder, struct error *err)
{
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, is_package, alphasort), result = 0;
    if (count < 0)
        return error_set(err, errno, "list %s", folder);
    packages_fini(packages);
    for (int i = 0; i < count; i++) {
        if (result == 0)
            result = read_deb(packages, folder, entries[i]->d_name, err);
        free(entries[i]);
    }
    free(entries);
    if (packages->count)
        qsort(packages->items, packages->count, sizeof(*packages->items), by_name);
    return result;
}

/* --- what is needed --- */

/* From the packages that are there; `names` grows while it is walked. */
static void list_needed(const struct packages *packages, struct name_list *names)
{
    for (size_t i = 0; packages_wanted[i]; i++)
        name_list_add(names, packages_wanted[i]);
    for (size_t i = 0; i < names->count; i++) {
        const struct deb *deb = packages_find(packages, names->items[i]);
        if (deb)
            packages_parse_depends(deb->depends, names);
    }
}

static const char *find_missing(const struct packages *packages, const struct name_list *names)
{
    for (size_t i = 0; i < names->count; i++) {
        if (!packages_find(packages, names->items[i]))
            return names->items[i];
    }
    return NULL;
}

/* Firmware that somebody put into the folder goes with what is needed. */
static void drop_unneeded(struct packages *packages, const struct name_list *names)
{
    size_t kept = 0;
    for (size_t i = 0; i < packages->count; i++) {
        struct deb *deb = &packages->items[i];
        if (name_list_has(names, deb->name) || text_starts_with(deb->name, "firmware-"))
            packages->items[kept++] = *deb;
        else
            deb_fini(deb);
    }
    packages->count = kept;
}

/* --- all of it --- */

/* Both folders of the default's path, "~/.cache/rehost/packages", may be missing. */
static int make_folders(const char *folder, struct error *err)
{
    for (const char *slash = strchr(folder + 1, '/');; slash = strchr(slash + 1, '/')) {
        AUTO_FREE char *part =
            slash ? text_format("%.*s", (int)(slash - folder), folder) : text_copy(folder);
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return error_set(err, errno, "make folder %s", part);
        if (!slash)
            return 0;
    }
}

/* With all that is needed here, an apt that cannot fetch newer ones is no failure. */
static int complete(struct packages *packages, const char *folder, bool is_followed,
                    struct log *log, struct error *err)
{
    AUTO(name_list) needed = {0};
    struct error why = {0};
    list_needed(packages, &needed);
    const char *missing = find_missing(packages, &needed);
    if (!missing && !is_followed)
        return 0;
    if (packages_fetch(packages, folder, is_followed, log, &why) != 0) {
        if (missing)
            return error_set(err, why.errnum, "package %s is not in %s: %s", missing, folder,
                             why.text);
        log_warning(log, "using the packages that are in %s: %s", folder, why.text);
        return 0;
    }
    return read_folder(packages, folder, err);
}

/* A library that is missing still has its say: who needs it names it when it is looked for. */
int packages_open(struct packages *packages, const char *folder, bool is_followed, struct log *log,
                  struct error *err)
{
    AUTO(name_list) after = {0};
    if (make_folders(folder, err) != 0 || read_folder(packages, folder, err) != 0 ||
        complete(packages, folder, is_followed, log, err) != 0)
        return -1;
    list_needed(packages, &after);
    const char *missing = find_missing(packages, &after);
    for (size_t i = 0; missing && packages_wanted[i]; i++) {
        if (strcmp(missing, packages_wanted[i]) == 0)
            return error_set(err, 0, "package %s is not in %s", missing, folder);
    }
    drop_unneeded(packages, &after);
    return 0;
}
