/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Reads the state of a pool and shows it. What agents said in it is escaped on its way out.
 */
#include "p2v/status.h"

#include <stdio.h>
#include <stdlib.h>

bool status_has_ended(enum machine_state state)
{
    return state == MACHINE_DONE || state == MACHINE_WARNED || state == MACHINE_FAILED;
}

static bool is_received(enum machine_state state)
{
    return status_has_ended(state) || state == MACHINE_RECEIVED || state == MACHINE_FIXING ||
           state == MACHINE_DESCRIBING || state == MACHINE_TESTING;
}

/* --- reading --- */

static void add_machine(void *context, const struct machine_row *row)
{
    struct status *status = context;
    status->machines =
        memory_grow(status->machines, status->machine_count + 1, sizeof(*status->machines));
    status->machines[status->machine_count++] = (struct status_machine){.row = *row};
}

static void add_disk(void *context, const struct machine_disk_row *disk)
{
    struct status *status = context;
    struct status_machine *machine = &status->machines[status->machine_count - 1];
    machine->disks = memory_grow(machine->disks, machine->disk_count + 1, sizeof(*disk));
    struct machine_disk_row *added = &machine->disks[machine->disk_count++];
    *added = *disk;
    /* Nothing is received before all of it is safe; the last figures may be older than that. */
    if (is_received(machine->row.state))
        added->done_bytes = added->safe_bytes = added->total_bytes;
}

static void add_waiting(void *context, const char *code, const char *address, int64_t since,
                        const char *machine)
{
    struct status *status = context;
    status->waiting =
        memory_grow(status->waiting, status->waiting_count + 1, sizeof(*status->waiting));
    struct status_waiting *waiting = &status->waiting[status->waiting_count++];
    *waiting = (struct status_waiting){.since = since};
    snprintf(waiting->code, sizeof(waiting->code), "%s", code);
    snprintf(waiting->address, sizeof(waiting->address), "%s", address);
    snprintf(waiting->machine, sizeof(waiting->machine), "%s", machine);
}

int status_read(struct status *status, struct database *database, struct error *err)
{
    *status = (struct status){0};
    struct machine_visitor visitor = {add_machine, add_disk, add_waiting, status};
    if (machine_visit(database, &visitor, err) == 0)
        return 0;
    status_fini(status);
    return -1;
}

void status_fini(struct status *status)
{
    for (size_t i = 0; i < status->machine_count; i++)
        free(status->machines[i].disks);
    free(status->machines);
    free(status->waiting);
    *status = (struct status){0};
}

/* --- JSON --- */

static json_t *disk_to_json(const struct machine_disk_row *disk)
{
    json_t *object = json_object();
    json_set_text(object, "name", disk->name);
    json_set_bytes(object, "size_bytes", disk->size_bytes);
    json_set_bytes(object, "total_bytes", disk->total_bytes);
    json_set_bytes(object, "done_bytes", disk->done_bytes);
    json_set_bytes(object, "safe_bytes", disk->safe_bytes);
    json_set_bytes(object, "sent_bytes", disk->sent_bytes);
    json_set_bytes(object, "wire_bytes", disk->wire_bytes);
    json_set_bytes(object, "unreadable_bytes", disk->unreadable_bytes);
    json_object_set_new(object, "pass", json_integer(disk->pass));
    return object;
}

static json_t *machine_to_json(const struct status_machine *machine)
{
    const struct machine_row *row = &machine->row;
    json_t *object = json_object();
    json_set_text(object, "name", row->name);
    json_set_text(object, "state", machine_state_name(row->state));
    json_object_set_new(object, "exit_code",
                        status_has_ended(row->state) ? json_integer(row->exit_code) : json_null());
    json_object_set_new(object, "since", json_integer(row->since));
    json_object_set_new(object, "updated", json_integer(row->updated));
    json_set_bytes(object, "bytes_per_second", row->bytes_per_second);
    json_object_set_new(object, "seconds_left",
                        row->state == MACHINE_RECEIVING && row->seconds_left >= 0
                            ? json_integer(row->seconds_left)
                            : json_null());
    json_set_text(object, "text", row->text);
    json_object_set_new(object, "warnings", json_integer(row->warnings));
    json_set_text(object, "twin", row->twin[0] ? row->twin : NULL);
    json_set_text(object, "code", row->code);
    json_t *disks = json_array();
    for (size_t i = 0; i < machine->disk_count; i++)
        json_array_append_new(disks, disk_to_json(&machine->disks[i]));
    json_object_set_new(object, "disks", disks);
    return object;
}

json_t *status_to_json(const struct status *status)
{
    json_t *machines = json_array(), *waiting = json_array(), *object = json_object();
    for (size_t i = 0; i < status->machine_count; i++)
        json_array_append_new(machines, machine_to_json(&status->machines[i]));
    for (size_t i = 0; i < status->waiting_count; i++) {
        json_t *agent = json_object();
        json_set_text(agent, "code", status->waiting[i].code);
        json_set_text(agent, "address", status->waiting[i].address);
        json_object_set_new(agent, "since", json_integer(status->waiting[i].since));
        json_set_text(agent, "machine",
                      status->waiting[i].machine[0] ? status->waiting[i].machine : NULL);
        json_array_append_new(waiting, agent);
    }
    json_object_set_new(object, "machines", machines);
    json_object_set_new(object, "waiting", waiting);
    return object;
}
