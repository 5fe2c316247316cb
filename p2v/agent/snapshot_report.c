/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Takes a report apart. Nothing in it is believed to be what it should be.
 */
#include "p2v/agent/snapshot_report.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static int check_rows(const json_t *rows, const char *kind, struct error *err)
{
    size_t i;
    json_t *row;
    if (!json_is_array(rows))
        return error_set(err, 0, "LVM's report has no list '%s'", kind);
    if (json_array_size(rows) > SNAPSHOT_MAX_ROWS)
        return error_set(err, 0, "LVM's report has %zu rows", json_array_size(rows));
    json_array_foreach(rows, i, row)
    {
        if (!json_is_object(row))
            return error_set(err, 0, "row %zu of LVM's report is no object", i);
    }
    return 0;
}

json_t *snapshot_report_rows(const char *text, const char *kind, struct error *err)
{
    json_error_t where;
    AUTO_JSON json = json_loads(text, JSON_REJECT_DUPLICATES, &where);
    if (!json) {
        error_set(err, 0, "LVM's report: line %d: %s", where.line, where.text);
        return NULL;
    }
    json_t *report = json_array_get(json_object_get(json, "report"), 0);
    json_t *rows = json_object_get(report, kind);
    return check_rows(rows, kind, err) == 0 ? json_incref(rows) : NULL;
}

const char *snapshot_report_text(const json_t *row, const char *column, struct error *err)
{
    const char *text = json_string_value(json_object_get(row, column));
    if (!text)
        error_set(err, 0, "LVM's report has no %s", column);
    return text;
}

int snapshot_report_number(const json_t *row, const char *column, uint64_t *value,
                           struct error *err)
{
    char *end;
    const char *text = snapshot_report_text(row, column, err);
    if (!text)
        return -1;
    errno = 0;
    *value = strtoull(text, &end, 10);
    if (errno || end == text || *end || strchr(text, '-'))
        return error_set(err, 0, "LVM's report: %s is '%s'", column, text);
    return 0;
}

int snapshot_report_device(const json_t *row, unsigned *major, unsigned *minor, struct error *err)
{
    uint64_t numbers[2];
    if (snapshot_report_number(row, "lv_kernel_major", &numbers[0], err) != 0 ||
        snapshot_report_number(row, "lv_kernel_minor", &numbers[1], err) != 0)
        return -1;
    if (numbers[0] > UINT_MAX || numbers[1] > UINT_MAX)
        return error_set(err, 0, "LVM's report: a device %" PRIu64 ":%" PRIu64, numbers[0],
                         numbers[1]);
    *major = (unsigned)numbers[0];
    *minor = (unsigned)numbers[1];
    return 0;
}
