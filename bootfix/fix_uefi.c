/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * UEFI: what the firmware of a new machine starts. The old one found the boot loader through an
 * entry in its variables, which are on no disk. A firmware without entries starts the removable-
 * media path alone (UEFI 2.10, 3.5.1.1: EFI/BOOT/BOOTX64.EFI), which many systems leave empty: it
 * is filled with copies of what the EFI system partition holds. What is there already stays.
 */
#include "base/bytes.h"
#include "bootfix/debconf.h"
#include "bootfix/fixer.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NAME "uefi"
#define DEBCONF "/var/cache/debconf/config.dat"
#define QUESTION "grub2/force_efi_extra_removable"
#define REASON                                                                                     \
    "the boot entry was in the old machine's firmware, and that of a new one starts this path "    \
    "alone"

struct architecture {
    const char *system;    /* as inspection names it */
    const char *removable; /* the name that firmware looks for */
    const char *first[6];  /* what it may be a copy of; shim before GRUB, for Secure Boot's sake */
    const char *beside[6]; /* what a shim, or a GRUB, looks for in its own folder */
};

static const struct architecture architectures[] = {
    {"x86_64",
     "BOOTX64.EFI",
     {"shimx64.efi", "shim.efi", "grubx64.efi", "grub.efi", "systemd-bootx64.efi"},
     {"grubx64.efi", "grub.efi", "mmx64.efi", "MokManager.efi", "grub.cfg"}},
    {"i686",
     "BOOTIA32.EFI",
     {"shimia32.efi", "shim.efi", "grubia32.efi", "grub.efi", "systemd-bootia32.efi"},
     {"grubia32.efi", "grub.efi", "mmia32.efi", "MokManager.efi", "grub.cfg"}},
    {"aarch64",
     "BOOTAA64.EFI",
     {"shimaa64.efi", "shim.efi", "grubaa64.efi", "grub.efi", "systemd-bootaa64.efi"},
     {"grubaa64.efi", "grub.efi", "mmaa64.efi", "MokManager.efi", "grub.cfg"}},
};

/* os-release's ID, where the folder on the ESP has another name. */
static const struct {
    const char *distro, *folder;
} vendors[] = {
    {"rhel", "redhat"},
    {"ol", "redhat"},
    {"opensuse-leap", "opensuse"},
    {"opensuse-tumbleweed", "opensuse"},
    {"linuxmint", "ubuntu"},
};

struct search {
    struct fix_context *context;
    const struct architecture *architecture;
    char *efi;         /* the ESP's folder EFI: "/boot/efi/EFI" */
    char *folder;      /* where the system's loader is: "/boot/efi/EFI/debian" */
    const char *first; /* its name, borrowed from the architecture */
};

static const struct architecture *find_architecture(const char *name)
{
    for (size_t i = 0; name && i < ARRAY_LENGTH(architectures); i++)
        if (strcmp(architectures[i].system, name) == 0)
            return &architectures[i];
    return NULL;
}

/* Where fstab mounts the EFI system partition. */
static const char *find_esp(const struct system *system)
{
    static const char *const places[] = {"/boot/efi", "/efi", "/boot"};
    for (size_t k = 0; k < ARRAY_LENGTH(places); k++) {
        for (size_t i = 0; i < system->volume_count; i++) {
            const struct system_volume *volume = &system->volumes[i];
            if (volume->type && volume->mountpoint && strcmp(volume->type, "vfat") == 0 &&
                strcmp(volume->mountpoint, places[k]) == 0)
                return places[k];
        }
    }
    return NULL;
}

static bool is_in(struct search *search, const char *folder, const char *name)
{
    AUTO_FREE char *path = text_format("%s/%s", folder, name);
    return plan_exists(search->context->plan, path);
}

/* The name of a loader in the folder, or NULL. */
static const char *find_first(struct search *search, const char *folder)
{
    const char *const *names = search->architecture->first;
    for (size_t i = 0; names[i]; i++)
        if (is_in(search, folder, names[i]))
            return names[i];
    return NULL;
}

static const char *vendor_of(const struct system *system)
{
    const char *distro = system->distro ? system->distro : "";
    for (size_t i = 0; i < ARRAY_LENGTH(vendors); i++)
        if (strcmp(vendors[i].distro, distro) == 0)
            return vendors[i].folder;
    return distro;
}

/* The folder that has the system's own name, or the only one with a loader: *count of these. */
static int find_loader(struct search *search, size_t *count, struct error *err)
{
    const char *vendor = vendor_of(search->context->system);
    char **names = NULL;
    int result = plan_list(search->context->plan, search->efi, &names, err);
    *count = 0;
    for (size_t i = 0; result == 1 && names[i]; i++) {
        AUTO_FREE char *folder = text_format("%s/%s", search->efi, names[i]);
        const char *first = find_first(search, folder);
        bool is_own = strcasecmp(names[i], vendor) == 0;
        if (!first || strcasecmp(names[i], "BOOT") == 0)
            continue;
        ++*count;
        if (*count == 1 || is_own) {
            free(search->folder);
            search->folder = take_ptr(&folder);
            search->first = first;
        }
        if (is_own) {
            *count = 1;
            break;
        }
    }
    files_free_names(names);
    return result < 0 ? -1 : 0;
}

static int copy(struct search *search, const char *name, const char *to, struct error *err)
{
    AUTO_FREE char *source = text_format("%s/%s", search->folder, name);
    AUTO_FREE char *path = text_format("%s/BOOT/%s", search->efi, to);
    return plan_copy(search->context->plan, NAME, source, path, REASON, err);
}

static int fill(struct search *search, struct error *err)
{
    bool is_shim = strncmp(search->first, "shim", 4) == 0;
    const char *const *names = search->architecture->beside;
    if (copy(search, search->first, search->architecture->removable, err) < 0)
        return -1;
    for (size_t i = 0; names[i]; i++) {
        bool is_wanted = is_shim || strcmp(names[i], "grub.cfg") == 0;
        if (is_wanted && is_in(search, search->folder, names[i]) &&
            copy(search, names[i], names[i], err) < 0)
            return -1;
    }
    return 0;
}

/*
 * Debian's GRUB fills the removable path itself when this question is answered with yes: then an
 * upgrade renews what has been copied.
 */
static int keep_filled(struct fix_context *context, struct error *err)
{
    AUTO_FREE char *before = NULL;
    AUTO(text) after = {0};
    struct span value;
    int found = plan_read(context->plan, NAME, DEBCONF, &before, err);
    if (found != 1)
        return found;
    if ((debconf_find(before, QUESTION, &value) && span_is(value, "true")) ||
        !debconf_set(before, QUESTION, "true", &after))
        return 0;
    return plan_write(context->plan, NAME, DEBCONF, text_string(&after), 0644,
                      "upgrades of GRUB renew its copy at the removable-media path", err);
}

static int plan_removable(struct search *search, struct error *err)
{
    struct plan *plan = search->context->plan;
    const char *name = search->architecture->removable;
    size_t count;
    AUTO_FREE char *removable = text_format("%s/BOOT", search->efi);
    if (is_in(search, removable, name))
        return 0;
    if (find_loader(search, &count, err) < 0)
        return -1;
    if (count != 1 && search->context->system->firmware != SYSTEM_FIRMWARE_UEFI)
        return 0; /* the BIOS starts it */
    if (count != 1) {
        plan_warn(plan, NAME,
                  "%s/%s is not there, and %s boot loader that could be copied to it: the firmware "
                  "of a new machine may find nothing to start",
                  removable, name, count ? "there is more than one" : "there is no");
        return 0;
    }
    plan_note(plan, NAME, "the firmware of the new machine starts %s/%s, a copy of %s", removable,
              name, search->first);
    return fill(search, err) < 0 ? -1 : keep_filled(search->context, err);
}

static int plan_uefi(struct fix_context *context, struct error *err)
{
    const struct system *system = context->system;
    struct search search = {.context = context, .architecture = find_architecture(system->arch)};
    const char *esp = find_esp(system);
    if (!search.architecture && system->firmware != SYSTEM_FIRMWARE_UEFI)
        return 0;
    if (!esp || !search.architecture) {
        plan_warn(context->plan, NAME,
                  "%s: whether a new machine's firmware finds something to start is not known",
                  esp ? "the system's architecture has no boot loader that Rehost knows"
                      : "fstab mounts no EFI system partition at /boot/efi, /efi or /boot");
        return 0;
    }
    search.efi = text_format("%s/EFI", esp);
    int result = plan_removable(&search, err);
    free(search.efi);
    free(search.folder);
    return result;
}

/* A disk that a BIOS can start, too, may have been started by UEFI all the same. */
static bool applies(const struct system *system)
{
    return strcmp(system->type ? system->type : "", "linux") == 0 &&
           (system->firmware == SYSTEM_FIRMWARE_UEFI || find_esp(system));
}

const struct fixer fix_uefi = {
    .name = NAME,
    .description = "the removable-media path of UEFI filled with the system's own boot loader: the "
                   "entry that led to it stays in the old machine's firmware",
    .applies = applies,
    .plan = plan_uefi,
};
