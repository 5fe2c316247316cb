/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What changes something is run by way of setsid(1), in a process that neither Ctrl-C nor our death
 * reaches: killed between suspending a volume and letting it go on, it would leave a machine whose
 * root file system stands still.
 */
#include "p2v/agent/snapshot_lvm.h"

#include "base/child.h"
#include "base/own.h"
#include "p2v/agent/snapshot_dm.h"

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#define REPORT_MS (60 * 1000)
#define CHANGE_MS (180 * 1000)

/* What just appeared may still be looked at by udev. */
#define REMOVE_TRIES 5

static int run(const char *const argv[], const char *name, int timeout_ms, struct text *out,
               struct error *err)
{
    AUTO(text) errors = {0};
    struct child_limits limits = {.timeout_ms = timeout_ms};
    int status = child_run(argv, NULL, out, &errors, &limits, err);
    if (status < 0 && err && err->errnum == ENOENT)
        return error_set(err, ENOENT, "%s is needed", argv[0]);
    if (status < 0)
        return -1;
    const char *why = text_last_line(&errors);
    if (status > 0)
        return error_set(err, 0, "%s: %s", name, why[0] ? why : "failed without a word");
    return 0;
}

static int report(const char *const argv[], struct text *out, struct error *err)
{
    return run(argv, argv[0], REPORT_MS, out, err);
}

#define REPORT_OPTIONS "--reportformat", "json", "--units", "b", "--nosuffix", "--binary"

static int report_volumes(struct text *lvs, struct error *err)
{
    const char *const argv[] = {"lvs", REPORT_OPTIONS, "-o", SNAPSHOT_LVS_COLUMNS, NULL};
    return report(argv, lvs, err);
}

int snapshot_lvm_report(struct text *lvs, struct text *pvs, struct error *err)
{
    const char *const segments[] = {"pvs", "--segments",         REPORT_OPTIONS,
                                    "-o",  SNAPSHOT_PVS_COLUMNS, NULL};
    return report_volumes(lvs, err) == 0 ? report(segments, pvs, err) : -1;
}

int snapshot_lvm_list(struct snapshot_owns *owns, struct error *err)
{
    AUTO(text) lvs = {0};
    *owns = (struct snapshot_owns){0};
    return report_volumes(&lvs, err) == 0 ? snapshot_owns_read(owns, text_string(&lvs), err) : -1;
}

int snapshot_lvm_create(const struct snapshot_volume *volume, size_t number, struct error *err)
{
    AUTO_FREE char *name = text_format("%s%zu", SNAPSHOT_NAME, number);
    AUTO_FREE char *extents = text_format("%" PRIu64, volume->room_extents);
    AUTO_FREE char *origin = text_format("%s/%s", volume->vg, volume->name);
    const char *const argv[] = {"setsid",    "--fork", "--wait", "lvcreate", "--snapshot",
                                "--yes",     "--name", name,     "--addtag", SNAPSHOT_TAG,
                                "--extents", extents,  origin,   NULL};
    return run(argv, "lvcreate", CHANGE_MS, NULL, err);
}

int snapshot_lvm_remove(const struct snapshot_own *own, struct error *err)
{
    AUTO_FREE char *name = text_format("%s/%s", own->vg, own->name);
    const char *const argv[] = {"setsid",  "--fork", "--wait", "lvremove", "--force",
                                "--force", "--yes",  name,     NULL};
    int result = -1;
    if (own->is_active)
        snapshot_dm_resume(&(struct snapshot_dm){own->major, own->minor});
    for (unsigned i = 0; result != 0 && i < REMOVE_TRIES; i++) {
        if (i > 0)
            sleep(1);
        result = run(argv, "lvremove", CHANGE_MS, NULL, err);
    }
    return result;
}
