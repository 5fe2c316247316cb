/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Freezes mounted file systems (FIFREEZE of linux/fs.h) and is sure to thaw them. A process of its
 * own, started beforehand and locked in memory, does both: it thaws when it is told to, when a time
 * limit passes, and when we are gone, however we went. Should it be killed itself, we thaw.
 *
 * While file systems are frozen whoever writes to them waits: the caller must not.
 */
#ifndef P2V_AGENT_FREEZE_H
#define P2V_AGENT_FREEZE_H

#include "base/error.h"
#include "base/log.h"
#include "base/own.h"
#include "p2v/agent/live.h"

#include <stdbool.h>

#define FREEZE_LIMIT_SECONDS 300

struct freezer;

/*
 * Opens the mount points and starts the other process. Before any thread that allocates: the child
 * is a fork. NULL with err when it cannot be done.
 */
struct freezer *freezer_start(const struct live_mounts *mounts, struct error *err);

/* Thaws and ends the other process. */
void freezer_stop(struct freezer *freezer);
OWN_DEFINE_PTR(freezer, freezer_stop)

/*
 * Writes out what is dirty and freezes all, in the order of the list. 1: they are; 0: at least one
 * cannot be and none is (the log got the reason); -1: the process failed. File systems without
 * freezing (FAT, as of an EFI system partition) are written out and watched instead: see
 * freezer_thaw. One that somebody else has frozen counts as frozen, and is left so.
 */
int freezer_freeze(struct freezer *freezer, unsigned limit_seconds, struct log *log,
                   struct error *err);

/*
 * Lets all go on. True: nothing was written from freezer_freeze until now. False: the time limit
 * passed before, or a file system that could only be watched was written to; the log got it.
 */
bool freezer_thaw(struct freezer *freezer, struct log *log);

#endif
