/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Finds our snapshots in a report: by the tag and by the name, so that nothing of anybody else's
 * is ever removed.
 */
#include "base/own.h"
#include "base/text.h"
#include "p2v/agent/snapshot_plan.h"
#include "p2v/agent/snapshot_report.h"

#include <stdlib.h>
#include <string.h>

void snapshot_owns_fini(struct snapshot_owns *owns)
{
    free(owns->items);
    *owns = (struct snapshot_owns){0};
}

static bool has_tag(const char *tags)
{
    char *place = NULL;
    AUTO_FREE char *copy = text_copy(tags);
    for (char *tag = strtok_r(copy, ",", &place); tag; tag = strtok_r(NULL, ",", &place)) {
        if (strcmp(tag, SNAPSHOT_TAG) == 0)
            return true;
    }
    return false;
}

/* 1: it is one of ours. */
static int read_own(const json_t *row, struct snapshot_own *own, struct error *err)
{
    const char *vg = snapshot_report_text(row, "vg_name", err);
    const char *name = vg ? snapshot_report_text(row, "lv_name", err) : NULL;
    const char *tags = name ? snapshot_report_text(row, "lv_tags", err) : NULL;
    if (!tags)
        return -1;
    if (!text_starts_with(name, SNAPSHOT_NAME) || !has_tag(tags) || strlen(vg) >= sizeof(own->vg) ||
        strlen(name) >= sizeof(own->name))
        return 0;
    *own = (struct snapshot_own){0};
    memcpy(own->vg, vg, strlen(vg));
    memcpy(own->name, name, strlen(name));
    own->is_active = snapshot_report_device(row, &own->major, &own->minor, NULL) == 0;
    return 1;
}

static bool is_listed(const struct snapshot_owns *owns, const struct snapshot_own *own)
{
    for (size_t i = 0; i < owns->count; i++) {
        if (strcmp(owns->items[i].vg, own->vg) == 0 && strcmp(owns->items[i].name, own->name) == 0)
            return true;
    }
    return false;
}

int snapshot_owns_read(struct snapshot_owns *owns, const char *lvs, struct error *err)
{
    size_t i;
    const json_t *row;
    *owns = (struct snapshot_owns){0};
    AUTO_JSON rows = snapshot_report_rows(lvs, "lv", err);
    if (!rows)
        return -1;
    json_array_foreach(rows, i, row)
    {
        struct snapshot_own own;
        int result = read_own(row, &own, err);
        if (result < 0) {
            snapshot_owns_fini(owns);
            return -1;
        }
        if (result == 0 || is_listed(owns, &own)) /* one row for each segment of its room */
            continue;
        owns->items = memory_grow(owns->items, owns->count + 1, sizeof(*owns->items));
        owns->items[owns->count++] = own;
    }
    return 0;
}
