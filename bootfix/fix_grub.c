/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * GRUB 2: what it boots (grub.cfg), what its next configuration is made from (/etc/default/grub),
 * and what remembers the old disks (device.map, debconf). Its boot code in the disk's first sectors
 * finds its files by partition and UUID and works on any controller: it is not touched. GRUB's menu
 * stays on the screen alone: on a serial port that is missing or that somebody types on it could
 * hold up the boot.
 */
#include "bootfix/cmdline.h"
#include "bootfix/debconf.h"
#include "bootfix/fixer.h"
#include "bootfix/grub_cfg.h"
#include "bootfix/grub_default.h"
#include "bootfix/spec.h"

#include <string.h>

#define NAME "grub"
#define DEFAULTS "/etc/default/grub"
#define DEBCONF "/var/cache/debconf/config.dat"
#define MAX_FRAGMENTS 32

static int plan_config(struct fix_context *context, struct error *err)
{
    const char *path = context->system->grub_config;
    AUTO_FREE char *before = NULL;
    AUTO(text) after = {0};
    struct grub_cfg_counts counts;
    path = path ? path : "/boot/grub/grub.cfg";
    int found = plan_read(context->plan, NAME, path, &before, err);
    if (found < 0)
        return -1;
    if (found == 0) {
        plan_warn(context->plan, NAME, "%s is not there: what GRUB boots is unknown", path);
        return 0;
    }
    struct cmdline_rules rules = {.context = context, .fixer = NAME, .file = path};
    grub_cfg_fix(&rules, before, &after, &counts);
    if (counts.kernels == 0)
        plan_note(context->plan, NAME, "%s loads no Linux kernel by itself", path);
    return plan_write(context->plan, NAME, path, text_string(&after), 0444,
                      "root by UUID, and a serial console beside the screen, in what GRUB boots "
                      "now",
                      err);
}

static bool has_initramfs(const struct system *system)
{
    return system->kernel_count == 0 || system->kernels[0].initramfs;
}

static int plan_defaults_file(struct fix_context *context, const char *path, bool is_main,
                              struct error *err)
{
    AUTO_FREE char *before = NULL;
    AUTO(text) after = {0};
    int found = plan_read(context->plan, NAME, path, &before, err);
    if (found != 1)
        return found;
    struct cmdline_rules rules = {
        .context = context,
        .fixer = NAME,
        .file = path,
        .has_initramfs = has_initramfs(context->system),
    };
    grub_default_fix(&rules, before, is_main, &after);
    return plan_write(context->plan, NAME, path, text_string(&after), 0644,
                      "the same for every grub.cfg that is made later", err);
}

static int plan_defaults(struct fix_context *context, struct error *err)
{
    char **names = NULL;
    int result = plan_defaults_file(context, DEFAULTS, true, err);
    if (result == 0)
        result = plan_list(context->plan, DEFAULTS ".d", &names, err);
    for (size_t i = 0; result >= 0 && names && names[i] && i < MAX_FRAGMENTS; i++) {
        if (!text_ends_with(names[i], ".cfg"))
            continue;
        AUTO_FREE char *path = text_format("%s.d/%s", DEFAULTS, names[i]);
        result = plan_defaults_file(context, path, false, err);
    }
    files_free_names(names);
    return result < 0 ? -1 : 0;
}

/* True for a disk of the old machine; names of virtio disks were given after the move. */
static bool is_old_disk(struct span device)
{
    struct spec spec;
    spec_parse(device, &spec);
    return spec_is_unstable(&spec) && !span_starts_with(device, "/dev/vd") &&
           !span_starts_with(device, "/dev/disk/by-id/virtio-");
}

/* "(hd0) /dev/sda" */
static bool is_stale_entry(struct span line)
{
    struct span word;
    return span_next_word(&line, &word) && *word.start == '(' && span_next_word(&line, &word) &&
           is_old_disk(word);
}

/*
 * grub-install and grub-probe take device.map's word before their own findings, and complain of
 * entries whose disk is gone. Without entries they find the disks by themselves, as on every
 * system that was installed in the last ten years.
 */
static int plan_device_map(struct fix_context *context, const char *path, struct error *err)
{
    static const char reason[] =
        "it names the old disks; without it GRUB's tools find the new ones";
    AUTO_FREE char *before = NULL;
    AUTO(text) after = {0};
    struct span line;
    bool has_rest = false;
    int found = plan_read(context->plan, NAME, path, &before, err);
    if (found != 1)
        return found;
    text_add(&after, "");
    for (const char *position = before; span_next_line(&position, &line);) {
        if (is_stale_entry(line))
            continue;
        struct span trimmed = span_trim(line);
        has_rest |= trimmed.length && *trimmed.start != '#';
        span_add_line(&after, line, position);
    }
    if (strcmp(after.data, before) == 0)
        return 0;
    if (!has_rest)
        return plan_remove(context->plan, NAME, path, reason, err);
    return plan_write(context->plan, NAME, path, after.data, 0644, reason, err);
}

static bool names_old_disks(struct span devices)
{
    struct span word;
    while (span_next_word(&devices, &word)) {
        if (word.length && word.start[word.length - 1] == ',')
            word.length--;
        if (is_old_disk(word))
            return true;
    }
    return false;
}

/*
 * grub-pc installs its boot code on the disks that debconf remembers. When these are gone, an
 * unattended upgrade of the package fails and leaves dpkg broken. What can be answered for the
 * guest is 'on none': the boot code that works now stays, until somebody names the new disk.
 */
static int plan_debconf(struct fix_context *context, struct error *err)
{
    AUTO_FREE char *before = NULL;
    AUTO(text) without = {0};
    AUTO(text) after = {0};
    struct span devices;
    int found = plan_read(context->plan, NAME, DEBCONF, &before, err);
    if (found != 1)
        return found;
    if (!debconf_find(before, "grub-pc/install_devices", &devices) || !names_old_disks(devices))
        return 0;
    if (!debconf_set(before, "grub-pc/install_devices", "", &without) ||
        !debconf_set(text_string(&without), "grub-pc/install_devices_empty", "true", &after)) {
        plan_warn(context->plan, NAME,
                  "%s has grub-pc installed on disks that are gone: run 'dpkg-reconfigure grub-pc' "
                  "in the guest, or its next upgrade fails",
                  DEBCONF);
        return 0;
    }
    plan_note(context->plan, NAME,
              "run 'dpkg-reconfigure grub-pc' in the guest to let upgrades of GRUB renew its boot "
              "code on the virtual disk");
    return plan_write(context->plan, NAME, DEBCONF, text_string(&after), 0644,
                      "grub-pc was to be installed on disks that are gone, which fails its next "
                      "upgrade: now on none",
                      err);
}

static int plan_grub(struct fix_context *context, struct error *err)
{
    if (plan_config(context, err) < 0 || plan_defaults(context, err) < 0 ||
        plan_device_map(context, "/boot/grub/device.map", err) < 0 ||
        plan_device_map(context, "/boot/grub2/device.map", err) < 0)
        return -1;
    return plan_debconf(context, err);
}

static bool applies(const struct system *system)
{
    return strcmp(system->type ? system->type : "", "linux") == 0 &&
           system->loader == SYSTEM_LOADER_GRUB2;
}

const struct fixer fix_grub = {
    .name = NAME,
    .description =
        "GRUB 2: root by UUID, a serial console beside the screen, no names of old disks",
    .applies = applies,
    .plan = plan_grub,
};
