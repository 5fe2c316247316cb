/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Drivers of a virtual machine's disks and network in every initramfs that initramfs-tools made:
 * as one more archive behind it, and in its configuration, so that the guest's own next rebuild
 * keeps them. Nothing of the guest's is run.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"
#include "bootfix/fixer.h"
#include "bootfix/initramfs_add.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NAME "initramfs"
#define CONFIG "/etc/initramfs-tools/modules"

/* The first three: without them the root file system or the network cannot be reached at all. */
static const char *const drivers[] = {"virtio_pci", "virtio_blk", "virtio_net", "virtio_scsi",
                                      "sd_mod"};
#define DRIVERS_NEEDED 3

/* --- an initramfs -------------------------------------------------------------------------- */

struct kernel_fix {
    struct fix_context *context;
    const struct system_kernel *kernel;
    struct modules known;
    struct initramfs_modules has;
    struct initramfs_config config; /* what in it is to be replaced */
    char *data;
    size_t length;
};

static void warn_absent(struct kernel_fix *fix)
{
    AUTO(text) absent = {0};
    for (size_t i = 0; i < DRIVERS_NEEDED; i++)
        if (!modules_find(&fix->known, drivers[i]))
            text_addf(&absent, "%s%s", absent.length ? ", " : "", drivers[i]);
    if (absent.length)
        plan_warn(fix->context->plan, NAME,
                  "kernel %s has no %s: it cannot run on virtio devices alone",
                  fix->kernel->version, absent.data);
}

/* 1: *fix holds the initramfs and what is in it. 0: warned. */
static int read_initramfs(struct kernel_fix *fix, struct error *err)
{
    struct plan *plan = fix->context->plan;
    const char *path = fix->kernel->initramfs;
    struct error why = {0};
    int found = files_read(plan->guest, path, INITRAMFS_MAX_BYTES, &fix->data, &fix->length, &why);
    if (found < 0 && why.errnum != EFBIG) {
        if (err)
            *err = why;
        return -1;
    }
    if (found <= 0) {
        plan_warn(plan, NAME, "%s: %s: left alone", path, found ? why.text : "not a file");
        return 0;
    }
    if (initramfs_list_modules(fix->data, fix->length, fix->kernel->version, &fix->has, &why) < 0) {
        plan_warn(plan, NAME, "%s: %s: left alone", path, why.text);
        return 0;
    }
    if (!fix->has.is_initramfs_tools) {
        plan_warn(plan, NAME, "%s: not made by initramfs-tools: left alone", path);
        return 0;
    }
    return 1;
}

static char *describe(const struct kernel_fix *fix, const char *const *paths, size_t count)
{
    AUTO(text) reason = {0};
    for (size_t i = 0; i < count; i++) {
        char name[MODULES_MAX_NAME];
        if (i == 0)
            text_addf(&reason,
                      "without these drivers kernel %s does not see virtio disks and "
                      "networks: ",
                      fix->kernel->version);
        if (module_name_of_path(paths[i], strlen(paths[i]), name))
            text_addf(&reason, "%s%s", i ? ", " : "", name);
    }
    if (fix->config.count > 0)
        text_addf(&reason, "%sits %s would make it wait for a swap that has another name now",
                  reason.length ? "; " : "", fix->config.files[0].path);
    return text_take(&reason);
}

static int plan_addition(struct kernel_fix *fix, struct error *err)
{
    struct plan *plan = fix->context->plan;
    const struct initramfs_job job = {
        .guest = plan->guest,
        .version = fix->kernel->version,
        .folder = fix->kernel->modules,
        .known = &fix->known,
        .data = fix->data,
        .length = fix->length,
        .has = &fix->has,
    };
    const char *paths[INITRAMFS_ADD_MAX_MODULES];
    size_t count = 0;
    struct error why = {0};
    AUTO(text) addition = {0};
    if (!initramfs_find_missing(&job, drivers, ARRAY_LENGTH(drivers), paths, &count)) {
        plan_warn(plan, NAME, "%s: modules.dep names too many needs: left alone",
                  fix->kernel->modules);
        return 0;
    }
    if (count == 0 && fix->config.count == 0)
        return 0;
    int result = initramfs_add_modules(&job, paths, count, &fix->config, &addition, &why, err);
    if (result == 0)
        plan_warn(plan, NAME, "%s: %s: left alone", fix->kernel->initramfs, why.text);
    if (result <= 0)
        return result;
    AUTO_FREE char *reason = describe(fix, paths, count);
    return plan_append(plan, NAME, fix->kernel->initramfs, addition.data, addition.length, reason,
                       err);
}

static int fix_known_kernel(struct kernel_fix *fix, struct error *err)
{
    warn_absent(fix);
    int found = read_initramfs(fix, err);
    if (found != 1)
        return found;
    if (initramfs_config_read(&fix->config, fix->data, fix->length, err) < 0)
        return -1;
    initramfs_config_rename_resume(&fix->config, fix->context->system);
    return plan_addition(fix, err);
}

static int fix_kernel(struct fix_context *context, const struct system_kernel *kernel,
                      struct error *err)
{
    struct kernel_fix fix = {.context = context, .kernel = kernel};
    int result = modules_read(&fix.known, context->plan->guest, kernel->modules, err);
    if (result == 0)
        plan_warn(context->plan, NAME, "%s/modules.dep is not there: kernel %s left alone",
                  kernel->modules, kernel->version);
    else if (result > 0)
        result = fix_known_kernel(&fix, err);
    modules_fini(&fix.known);
    initramfs_modules_fini(&fix.has);
    initramfs_config_fini(&fix.config);
    free(fix.data);
    return result;
}

/* --- the guest's own configuration --------------------------------------------------------- */

/* One module a line, with options behind it; '#' starts a comment. */
static bool is_listed(const char *config, const char *name)
{
    size_t length = strlen(name);
    for (const char *line = config; *line; line += *line == '\n') {
        line += strspn(line, " \t");
        if (strncmp(line, name, length) == 0 &&
            (line[length] == '\0' || isspace((unsigned char)line[length])))
            return true;
        line += strcspn(line, "\n");
    }
    return false;
}

static bool is_in_some_kernel(const struct system *system, const char *name)
{
    for (size_t i = 0; i < system->kernel_count; i++) {
        const struct system_kernel *kernel = &system->kernels[i];
        if ((kernel->has_virtio_pci && strcmp(name, "virtio_pci") == 0) ||
            (kernel->has_virtio_blk && strcmp(name, "virtio_blk") == 0) ||
            (kernel->has_virtio_net && strcmp(name, "virtio_net") == 0) ||
            (kernel->has_virtio_scsi && strcmp(name, "virtio_scsi") == 0))
            return true;
    }
    return false;
}

static int fix_config(struct fix_context *context, struct error *err)
{
    AUTO_FREE char *before = NULL;
    if (plan_read(context->plan, NAME, CONFIG, &before, err) < 0)
        return -1;
    const char *old = before ? before : "";
    AUTO(text) lines = {0};
    for (size_t i = 0; i < ARRAY_LENGTH(drivers); i++)
        if (is_in_some_kernel(context->system, drivers[i]) && !is_listed(old, drivers[i]))
            text_addf(&lines, "%s\n", drivers[i]);
    if (lines.length == 0)
        return 0;
    AUTO(text) after = {0};
    text_addf(&after, "%s%s# Rehost: the drivers of a virtual machine\n%s", old,
              old[0] && !text_ends_with(old, "\n") ? "\n" : "", lines.data);
    return plan_write(context->plan, NAME, CONFIG, after.data, 0644,
                      "the next update-initramfs keeps the virtio drivers", err);
}

/* ------------------------------------------------------------------------------------------- */

static bool applies(const struct system *system)
{
    return strcmp(system->type ? system->type : "", "linux") == 0;
}

/* False, and warned, when there is nothing that this fixer could do. */
static bool is_known(struct fix_context *context)
{
    const struct system *system = context->system;
    if (system->kernel_count == 0)
        plan_warn(context->plan, NAME,
                  "no kernel with modules was found in /boot: it may be "
                  "without the drivers of a virtual machine");
    else if (system->initramfs == SYSTEM_INITRAMFS_DRACUT)
        plan_warn(context->plan, NAME,
                  "the initramfs is made by dracut, to which no drivers are added yet");
    else if (system->initramfs != SYSTEM_INITRAMFS_TOOLS)
        plan_warn(context->plan, NAME,
                  "nothing that makes an initramfs was found: no drivers "
                  "were added");
    return system->kernel_count > 0 && system->initramfs == SYSTEM_INITRAMFS_TOOLS;
}

static int plan_fix(struct fix_context *context, struct error *err)
{
    if (!is_known(context))
        return 0;
    for (size_t i = 0; i < context->system->kernel_count; i++) {
        const struct system_kernel *kernel = &context->system->kernels[i];
        if (!kernel->initramfs)
            plan_warn(context->plan, NAME, "kernel %s has no initramfs: nothing was added to it",
                      kernel->version);
        else if (fix_kernel(context, kernel, err) < 0)
            return error_wrap(err, "%s", kernel->initramfs);
    }
    return fix_config(context, err);
}

const struct fixer fix_initramfs = {
    .name = NAME,
    .description = "virtio drivers in every initramfs of initramfs-tools, added without running "
                   "the guest's tools: without them the root file system is not found",
    .applies = applies,
    .plan = plan_fix,
};
