/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Open, inspect, plan, apply: the order of the work and the seconds that each part took. The parts
 * themselves are in session.c, inspect_*.c, the fixers and apply.c.
 */
#include "bootfix/bootfix.h"

#include "base/clock.h"
#include "base/own.h"
#include "base/text.h"
#include "bootfix/apply.h"
#include "bootfix/files_cache.h"
#include "bootfix/inspect.h"
#include "bootfix/interfaces.h"
#include "bootfix/session.h"

#include <stdlib.h>
#include <string.h>

struct bootfix {
    struct session session;
    struct files_cache *cache; /* over the session's files */
    struct bootfix_times times;
    char *root;       /* the device that the user chose, or NULL */
    bool is_finished; /* applied: the appliance is down */
};

struct bootfix *bootfix_open(const struct bootfix_disk *disks, size_t count,
                             const struct bootfix_options *options, struct log *log,
                             struct error *err)
{
    double start = clock_seconds();
    struct bootfix *bootfix = memory_new(1, sizeof(*bootfix));
    if (options->root)
        bootfix->root = text_copy(options->root);
    if (session_open(&bootfix->session, disks, count, options, log, err) < 0) {
        bootfix_close(bootfix);
        return NULL;
    }
    bootfix->cache = files_cache_new(&bootfix->session.files);
    bootfix->times.launch = clock_seconds() - start;
    log_detail(log, "the libguestfs appliance is up after %.1f s", bootfix->times.launch);
    return bootfix;
}

void bootfix_close(struct bootfix *bootfix)
{
    if (!bootfix)
        return;
    session_close(&bootfix->session);
    files_cache_free(bootfix->cache);
    free(bootfix->root);
    free(bootfix);
}

static int inspect_guest(struct bootfix *bootfix, struct system *system, struct error *err)
{
    struct files *files = bootfix_files(bootfix);
    if (inspect_volumes(&bootfix->session, system, err) < 0 ||
        inspect_mount(&bootfix->session, system, bootfix->root, err) < 0)
        return -1;
    if (!system->root) {
        system->type = text_copy("unknown");
        system->distro = text_copy("unknown");
        log_warning(bootfix->session.log,
                    "no operating system that Rehost knows was found on these disks: nothing in "
                    "them will be changed");
        return 0;
    }
    if (inspect_os(files, system, err) < 0 || inspect_kernels(files, system, err) < 0)
        return -1;
    return interfaces_read(files, system, err);
}

int bootfix_inspect(struct bootfix *bootfix, struct system **system, struct error *err)
{
    double start = clock_seconds();
    *system = NULL;
    AUTO_PTR(system) found = memory_new(1, sizeof(*found));
    if (inspect_guest(bootfix, found, err) < 0)
        return error_wrap(err, "inspect the disks");
    *system = take_ptr(&found);
    bootfix->times.inspect = clock_seconds() - start;
    return 0;
}

struct files *bootfix_files(struct bootfix *bootfix)
{
    return files_cache_files(bootfix->cache);
}

int bootfix_plan(struct bootfix *bootfix, struct fix_context *context, struct error *err)
{
    double start = clock_seconds();
    if (!context->system->root)
        return 0; /* nothing is mounted, so there is nothing that a fixer could read */
    for (const struct fixer *const *fixer = fixers; *fixer; fixer++) {
        if ((*fixer)->applies && !(*fixer)->applies(context->system))
            continue;
        if ((*fixer)->plan(context, err) < 0)
            return error_wrap(err, "plan %s", (*fixer)->name);
    }
    apply_warn_space(&bootfix->session, context->plan);
    bootfix->times.plan = clock_seconds() - start;
    return 0;
}

int bootfix_apply(struct bootfix *bootfix, const struct plan *plan, struct error *err)
{
    double start = clock_seconds();
    if (!bootfix->session.is_writable)
        return error_set(err, 0, "the disks were opened read-only: no edit can be made");
    if (bootfix->is_finished)
        return error_set(err, 0, "edits were made already: the disks are closed");
    bootfix->is_finished = true;
    if (apply_check_space(&bootfix->session, plan, err) < 0 ||
        apply_edits(&bootfix->session, plan, err) < 0 || session_finish(&bootfix->session, err) < 0)
        return -1;
    bootfix->times.apply = clock_seconds() - start;
    return 0;
}

void bootfix_get_times(const struct bootfix *bootfix, struct bootfix_times *times)
{
    *times = bootfix->times;
}
