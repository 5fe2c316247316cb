/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * LVM's reports, lvs' and pvs' with a NUL between them: whatever they say, what comes of it lies
 * inside of the physical volumes and of the volumes.
 */
#include "base/checked.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/agent/snapshot_plan.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int find(void *context, const char *path, size_t *disk, uint64_t *offset)
{
    (void)context;
    *disk = strlen(path) % 3;
    *offset = 1048576 * (uint64_t)(path[0] & 3);
    return path[0] == 'm' ? -1 : path[0] != 'z';
}

static bool is_swap(void *context, unsigned major, unsigned minor)
{
    (void)context;
    return major == 254 && minor == 2;
}

static void check_areas(const struct snapshot_plan *plan, const struct snapshot_areas *areas)
{
    for (size_t i = 0; i < areas->count; i++) {
        const struct snapshot_area *area = &areas->items[i];
        bool is_inside = false;
        for (size_t k = 0; k < plan->members.count; k++) {
            const struct snapshot_area *member = &plan->members.items[k];
            is_inside |=
                member->disk == area->disk && area->offset >= member->offset &&
                range_is_inside(area->offset - member->offset, area->length, member->length);
        }
        assert(is_inside);
    }
}

static void check_plan(const struct snapshot_plan *plan)
{
    check_areas(plan, &plan->metadata);
    check_areas(plan, &plan->free);
    check_areas(plan, &plan->swap);
    for (size_t i = 0; i < plan->part_count; i++) {
        const struct snapshot_part *part = &plan->parts[i];
        struct snapshot_area area = {part->disk, part->offset, part->length};
        assert(part->volume < plan->volume_count && part->stripes >= 1);
        assert(range_is_inside(part->start, part->length, plan->volumes[part->volume].size_bytes));
        check_areas(plan, &(struct snapshot_areas){&area, 1});
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = {0};
    struct snapshot_machine machine = {find, is_swap, NULL};
    struct snapshot_plan plan;
    struct snapshot_owns owns;
    AUTO(text) text = {0};
    text_add_bytes(&text, data, size);
    text_add_bytes(&text, "", 1);
    const char *lvs = text.data, *pvs = text.data + strlen(text.data);
    if ((size_t)(pvs - lvs) < text.length - 1)
        pvs++;
    if (snapshot_plan_read(&plan, lvs, pvs, &machine, &err) == 0) {
        check_plan(&plan);
        snapshot_plan_fini(&plan);
    }
    if (snapshot_owns_read(&owns, lvs, &err) == 0)
        snapshot_owns_fini(&owns);
    return 0;
}
