/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The way in: open a machine's disks in a libguestfs appliance, inspect, plan, apply. One launch
 * serves all of it. Nothing of the guest's is executed, ever.
 */
#ifndef BOOTFIX_BOOTFIX_H
#define BOOTFIX_BOOTFIX_H

#include "base/error.h"
#include "base/log.h"
#include "base/own.h"
#include "bootfix/fixer.h"
#include "bootfix/plan.h"
#include "bootfix/system.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * A qcow2's own backing file is opened, too, whatever it names: callers check images that are not
 * theirs first.
 */
struct bootfix_disk {
    const char *path;   /* on this host */
    const char *format; /* "qcow2" or "raw": always named, never probed */
};

struct bootfix_options {
    bool is_writable;     /* false: the disks are opened read-only, bootfix_apply refuses */
    const char *root;     /* --root: a device ("/dev/sda2"), or NULL: the only one there is */
    bool is_emulated;     /* do not try KVM */
    unsigned sector_size; /* of the source's disks: 4096, else 512 */
};

/* Seconds spent, for the report. */
struct bootfix_times {
    double launch, inspect, plan, apply;
};

struct bootfix;

/*
 * Launches the appliance. When that fails with KVM it is tried again in software emulation, and the
 * log says so. The disks are given in the machine's order.
 */
struct bootfix *bootfix_open(const struct bootfix_disk *disks, size_t count,
                             const struct bootfix_options *options, struct log *log,
                             struct error *err);
void bootfix_close(struct bootfix *bootfix); /* NULL-safe; shuts down, errors ignored */
OWN_DEFINE_PTR(bootfix, bootfix_close)

/*
 * Finds the operating system and mounts it (read-only unless writable). *system is set (caller
 * frees) in all cases but -1: a disk without a system that we know gives type "unknown" and a
 * warning; several systems without options.root are an error that names them. A root file system
 * with errors is an error.
 */
int bootfix_inspect(struct bootfix *bootfix, struct system **system, struct error *err);

/* The guest's files, for the plan; valid after bootfix_inspect, until close. */
struct files *bootfix_files(struct bootfix *bootfix);

/* Runs every fixer that applies (`plan` initialised by the caller on bootfix_files). */
int bootfix_plan(struct bootfix *bootfix, struct fix_context *context, struct error *err);

/*
 * Makes the planned edits, in order: existing files keep mode, owner, labels; new contents are
 * written aside and renamed inside the guest. Then unmounts, syncs and closes the disks properly;
 * -1 when anything, including that, failed: the disks are then in an undefined state and the
 * caller throws the overlay away.
 */
int bootfix_apply(struct bootfix *bootfix, const struct plan *plan, struct error *err);

void bootfix_get_times(const struct bootfix *bootfix, struct bootfix_times *times);

#endif
