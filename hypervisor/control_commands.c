/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The commands of the control socket, a table. Unknown fields are refused by name: a misspelt limit
 * that was silently ignored would be believed in.
 */
#include "hypervisor/control_commands.h"

#include "base/bytes.h"
#include "base/text.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct context {
    struct vm *vm;
    struct guest_limits *limits;
    const json_t *request;
    json_t *answer;
    bool is_console;
};

static int do_pause(struct context *context, struct error *err)
{
    (void)err;
    vm_pause(context->vm);
    return 0;
}

static int do_resume(struct context *context, struct error *err)
{
    (void)err;
    vm_resume(context->vm);
    return 0;
}

static int do_powerdown(struct context *context, struct error *err)
{
    (void)err;
    vm_power_button(context->vm);
    return 0;
}

static int do_reset(struct context *context, struct error *err)
{
    (void)err;
    vm_reset(context->vm);
    return 0;
}

static int do_stop(struct context *context, struct error *err)
{
    (void)err;
    vm_stop(context->vm);
    return 0;
}

static int do_console(struct context *context, struct error *err)
{
    (void)err;
    context->is_console = true;
    return 0;
}

/* --- stats --- */

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *disk_stats(const struct vm_disk_stats *disk)
{
    return json_pack("{sosososososo}", "read_bytes", number(disk->read_bytes), "read_requests",
                     number(disk->read_requests), "written_bytes", number(disk->written_bytes),
                     "write_requests", number(disk->write_requests), "flushes",
                     number(disk->flushes), "errors", number(disk->errors));
}

static json_t *nic_stats(const struct vm_nic_stats *nic)
{
    return json_pack("{sososososo}", "received_bytes", number(nic->received_bytes),
                     "received_frames", number(nic->received_frames), "sent_bytes",
                     number(nic->sent_bytes), "sent_frames", number(nic->sent_frames),
                     "dropped_frames", number(nic->dropped_frames));
}

static int do_stats(struct context *context, struct error *err)
{
    static const char *const states[] = {
        [VM_RUNNING] = "running", [VM_PAUSED] = "paused", [VM_ENDED] = "ended"};
    struct vm_stats *stats = memory_new(1, sizeof(*stats));
    json_t *disks = json_array(), *nics = json_array();
    (void)err;
    vm_get_stats(context->vm, stats);
    for (size_t i = 0; i < stats->disk_count; i++)
        json_array_append_new(disks, disk_stats(&stats->disks[i]));
    for (size_t i = 0; i < stats->nic_count; i++)
        json_array_append_new(nics, nic_stats(&stats->nics[i]));
    json_t *all =
        json_pack("{sssfsfsosososbsososososo}", "state", states[stats->state], "seconds",
                  stats->seconds, "cpu_seconds", stats->cpu_seconds, "pid",
                  number((uint64_t)getpid()), "exits", number(stats->exits), "resets",
                  number(stats->resets), "has_panicked", (int)stats->has_panicked, "memory_bytes",
                  number(stats->memory_bytes), "resident_bytes", number(stats->resident_bytes),
                  "balloon_bytes", number(stats->balloon_bytes), "disks", disks, "nics", nics);
    json_object_update(context->answer, all);
    json_decref(all);
    free(stats);
    return 0;
}

/* --- what has a value --- */

static int take_number(const json_t *value, const char *name, uint64_t most, uint64_t *into,
                       struct error *err)
{
    json_int_t number_of = json_integer_value(value);
    if (!json_is_integer(value) || number_of < 0 || (uint64_t)number_of > most)
        return error_set(err, EINVAL, "%s: not a number from 0 to %" PRIu64, name, most);
    *into = (uint64_t)number_of;
    return 0;
}

static int set_limit(struct guest_limits *limits, const char *name, const json_t *value,
                     struct error *err)
{
    uint64_t percent = limits->cpu_percent, most = GUEST_MAX_RATE;
    if (strcmp(name, "cpu_percent") == 0) {
        if (take_number(value, name, (uint64_t)GUEST_MAX_CPUS * 100, &percent, err) != 0)
            return -1;
        limits->cpu_percent = (unsigned)percent;
        return 0;
    }
    if (strcmp(name, "net_bytes_per_second") == 0)
        return take_number(value, name, most, &limits->net_bytes_per_second, err);
    if (strcmp(name, "disk_bytes_per_second") == 0)
        return take_number(value, name, most, &limits->disk_bytes_per_second, err);
    if (strcmp(name, "disk_operations_per_second") == 0)
        return take_number(value, name, most, &limits->disk_operations_per_second, err);
    return error_set(err, EINVAL, "no limit of that name");
}

/* All of them, or none. */
static int do_limits(struct context *context, struct error *err)
{
    struct guest_limits limits = *context->limits;
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)context->request, name, value)
    {
        if (strcmp(name, "do") != 0 && set_limit(&limits, name, value, err) != 0)
            return -1;
    }
    *context->limits = limits;
    vm_set_limits(context->vm, &limits);
    return 0;
}

static int do_balloon(struct context *context, struct error *err)
{
    uint64_t bytes = 0;
    if (take_number(json_object_get(context->request, "bytes"), "bytes", GUEST_MAX_MEMORY, &bytes,
                    err) != 0)
        return -1;
    vm_set_balloon(context->vm, bytes);
    return 0;
}

/* --- */

static const struct command {
    const char *name;
    size_t fields; /* beside "do", at most */
    int (*run)(struct context *context, struct error *err);
} commands[] = {
    {"pause", 0, do_pause},         {"resume", 0, do_resume}, {"reset", 0, do_reset},
    {"powerdown", 0, do_powerdown}, {"stop", 0, do_stop},     {"stats", 0, do_stats},
    {"console", 0, do_console},     {"limits", 4, do_limits}, {"balloon", 1, do_balloon},
};

static int run(struct context *context, struct error *err)
{
    const char *name = json_string_value(json_object_get(context->request, "do"));
    for (size_t i = 0; name && i < ARRAY_LENGTH(commands); i++) {
        if (strcmp(name, commands[i].name) != 0)
            continue;
        if (json_object_size(context->request) > commands[i].fields + 1)
            return error_set(err, EINVAL, "%s: too many fields", name);
        return commands[i].run(context, err);
    }
    return error_set(err, EINVAL, "no command of that name");
}

char *control_answer(struct vm *vm, struct guest_limits *limits, const char *line, size_t length,
                     bool *is_console)
{
    struct error err = {0};
    json_t *request = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
    struct context context = {
        .vm = vm, .limits = limits, .request = request, .answer = json_object()};
    int result = json_is_object(request) ? run(&context, &err)
                                         : error_set(&err, EINVAL, "not a JSON object");
    json_object_set_new(context.answer, "ok", json_boolean(result == 0));
    if (result != 0)
        json_object_set_new(context.answer, "error", json_string(err.text));
    char *text = json_dumps(context.answer, JSON_COMPACT);
    char *answer = text_format("%s\n", text ? text : "{\"ok\":false}");
    *is_console = context.is_console;
    free(text);
    json_decref(context.answer);
    json_decref(request);
    return answer;
}
