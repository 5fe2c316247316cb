/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A folder being received (p2v/server/pool.h): made or taken up again, held under a lock, and
 * handed to `rehost finish` when complete.
 */
#ifndef P2V_SERVER_INTAKE_H
#define P2V_SERVER_INTAKE_H

#include "base/error.h"
#include "base/log.h"
#include "p2v/server/pool.h"
#include "p2v/server/received.h"

#include <stdbool.h>

struct intake {
    char *name;
    char *folder;    /* POOL/NAME.partial, or POOL/NAME.update when POOL/NAME is complete */
    char *base;      /* POOL/NAME when updating, else NULL */
    int folder_fd;   /* flock'ed */
    int base_fd;     /* flock'ed shared when updating, else -1 */
    bool is_resumed; /* it was there already */
};

/*
 * Takes up what is there or makes it. A left-over that is complete (received.json) and was not
 * finished is first given up as complete: received.json is removed, its images go on being
 * received into. What a killed `rehost finish` had begun to put in its place is put there before
 * anything else (p2v/finish_complete.h). EBUSY when a job works on it. A name that ends as such
 * folders do is refused (EINVAL).
 *
 * `is_renewed`: what is there is not to be used (other disks than last time): an unfinished folder
 * is emptied; a complete machine is not updated but replaced at the end, so .partial is used beside
 * it. The latter is also done, with a warning, when the complete machine's images were written to
 * after their manifests (it was run): nothing can be built on them.
 */
int intake_open(struct intake *intake, const struct pool *pool, const char *name, bool is_renewed,
                struct log *log, struct error *err);

/* Writes the inventory (JSON text, checked by the caller). */
int intake_set_inventory(struct intake *intake, const char *json, size_t length, struct error *err);

/* received.json, everything synced. The lock is given up by intake_close. */
int intake_complete(struct intake *intake, const struct received *received, struct error *err);
void intake_close(struct intake *intake);

/*
 * Names of machines in the pool whose transfer is complete and not finished, or not tested yet: for
 * restarts. One may be found twice.
 */
int intake_list_complete(const struct pool *pool, void (*found)(void *context, const char *name),
                         void *context, struct error *err);

#endif
