/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What stands in a folder that was received (p2v/server/pool.h) beside the machine's own files, and
 * the handling of such folders that the server's intake and `rehost finish` share.
 */
#ifndef P2V_FINISH_FOLDER_H
#define P2V_FINISH_FOLDER_H

#include "base/error.h"

#include <stdbool.h>

/*
 * From the moment that it is there, what the folder holds is put in its place and nothing else is
 * done with it: by whoever meets it next, if need be.
 */
#define FINISH_MARK ".rehost-finishing"

/* In an update: the state of the machine that it was made over. */
#define FINISH_BASE ".rehost-base"

/* In a machine: its boot test has still to be made. */
#define FINISH_UNTESTED ".rehost-untested"

/* Room for a state in words, with its NUL. */
#define FINISH_STATE_SIZE 65

/* Opens and locks a folder. 1, 0 when it is not there (any more), -1; EBUSY: somebody has it. */
int finish_folder_lock(const char *path, bool is_exclusive, int *fd, struct error *err);

/* Removes everything but the mark of a draft. */
int finish_folder_empty(int folder_fd, struct error *err);

/* Removes files that are there; missing ones are no error. `names` ends with NULL. */
int finish_folder_drop(int folder_fd, const char *const *names, struct error *err);

/* Removes diskN and `suffix` for all disks. */
int finish_folder_drop_disks(int folder_fd, const char *suffix, struct error *err);

/* Overlays of an earlier finish that was ended before its point of no return. */
int finish_folder_drop_leftovers(int folder_fd, struct error *err);

/* The folder goes away in one step, under a name that is never taken for a machine's. */
int finish_folder_remove(const char *path, struct error *err);

/* What removals beside the machine `final` were killed in; what cannot be removed stays. */
void finish_folder_sweep(const char *final);

/*
 * What a machine's images and manifests are now, told from sizes, times and sums: it changes with
 * whatever is written to them. *is_described: no image was written to after its manifest.
 */
int finish_base_state(int folder_fd, char state[FINISH_STATE_SIZE], bool *is_described,
                      struct error *err);

#endif
