/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * LVM's reports in JSON: {"report": [{"lv": [{"lv_name": "root", "lv_size": "1073741824"}]}]}. All
 * values are texts. Private to snapshot*.c.
 */
#ifndef P2V_AGENT_SNAPSHOT_REPORT_H
#define P2V_AGENT_SNAPSHOT_REPORT_H

#include "base/error.h"
#include "p2v/json.h"

#include <stddef.h>
#include <stdint.h>

#define SNAPSHOT_MAX_ROWS 65536u

/* The rows of the list called `kind` ("lv", "pvseg"), an array. NULL with err; caller drops. */
json_t *snapshot_report_rows(const char *text, const char *kind, struct error *err);

/* A column that must be there. -1 with err. */
int snapshot_report_number(const json_t *row, const char *column, uint64_t *value,
                           struct error *err);
/* The volume's device number. -1 with err: it has none, as when it is not active. */
int snapshot_report_device(const json_t *row, unsigned *major, unsigned *minor, struct error *err);
/* NULL with err; borrowed. */
const char *snapshot_report_text(const json_t *row, const char *column, struct error *err);

#endif
