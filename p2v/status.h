/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What `rehost status` shows: everything that the database knows at one moment, as a table for
 * people or as JSON (docs/pool.md).
 */
#ifndef P2V_STATUS_H
#define P2V_STATUS_H

#include "base/error.h"
#include "base/text.h"
#include "p2v/json.h"
#include "p2v/server/database.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct status_machine {
    struct machine_row row;
    struct machine_disk_row *disks;
    size_t disk_count;
};

struct status_waiting {
    char code[AGENT_CODE_SIZE];
    char address[128];
    int64_t since;
    char machine[64]; /* half received, that it says it is; "" */
};

struct status {
    struct status_machine *machines;
    size_t machine_count;
    struct status_waiting *waiting;
    size_t waiting_count;
};

int status_read(struct status *status, struct database *database, struct error *err);
void status_fini(struct status *status);

/* Lines of at most 80 columns, except for long commands. `pool` stands in the line that approves.
 */
void status_format(const struct status *status, const char *pool, int64_t now, struct text *out);

/* Caller drops. */
json_t *status_to_json(const struct status *status);

/* There is a result, and an exit code. */
bool status_has_ended(enum machine_state state);

/* "12 s", "3 min", "5 h", "2 days"; "0 s" for a clock that was set back. Caller's buffer. */
char *status_format_age(int64_t seconds, char *buffer, size_t size);

/* " 41%": rounded down, so that 100% is all of it; "-" when there is nothing to do. */
char *status_format_percent(uint64_t done, uint64_t total, char *buffer, size_t size);

#endif
