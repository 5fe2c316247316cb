/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rehost vm: the machines that `rehost run` started, listed and ruled.
 */
#include "base/bytes.h"
#include "base/text.h"
#include "p2v/commands.h"
#include "p2v/definition.h"
#include "p2v/json.h"
#include "p2v/vm_socket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct vm_command_options {
    bool is_json;
    const char *cpu, *net, *disk, *operations;
};

#define LIMIT(name, argument, field, help)                                                         \
    {                                                                                              \
        name, 0, OPTION_TEXT, argument, NULL, offsetof(struct vm_command_options, field), help     \
    }
static const struct option_spec vm_options[] = {
    CLI_OPTION_JSON(struct vm_command_options),
    LIMIT("cpu", "PERCENT", cpu, "limits: of one CPU, over all of the guest's; 0 lifts it"),
    LIMIT("net", "BYTES", net, "limits: a second and interface, each way, with K, M, G"),
    LIMIT("disk", "BYTES", disk, "limits: a second, of all disks together"),
    LIMIT("operations", "N", operations, "limits: a second, of all disks together"),
    CLI_OPTION_END,
};

/* --- list and stats --- */

static void print_row(const char *name, const json_t *stats)
{
    char memory[32] = "-";
    json_int_t bytes = json_integer_value(json_object_get(stats, "memory_bytes"));
    if (bytes > 0)
        bytes_format((uint64_t)bytes, memory, sizeof(memory));
    printf("%-24s %-10s %-10s %10s %10.1f\n", name, json_text_of(stats, "state"),
           json_text_of(stats, "program"), memory,
           json_number_value(json_object_get(stats, "cpu_seconds")));
}

static int list(const char *folder, bool is_json, struct error *err)
{
    size_t count = 0;
    char **names = vm_list(folder, &count, err);
    AUTO_JSON rows = json_array();
    if (!names)
        return -1;
    if (!is_json && count)
        printf("%-24s %-10s %-10s %10s %10s\n", "NAME", "STATE", "PROGRAM", "MEMORY", "CPU s");
    for (size_t i = 0; i < count; i++) {
        struct vm_socket vm;
        json_t *stats =
            vm_socket_open(&vm, folder, names[i], NULL) == 0 ? vm_socket_stats(&vm, NULL) : NULL;
        if (stats && !is_json)
            print_row(names[i], stats);
        if (stats) {
            json_set_text(stats, "name", names[i]);
            json_array_append_new(rows, stats);
        }
        vm_socket_fini(&vm);
        free(names[i]);
    }
    free(names);
    AUTO_FREE char *text = is_json ? json_format(rows) : text_copy("");
    fputs(text, stdout);
    return CLI_DONE;
}

static void print_value(const char *key, const json_t *value)
{
    AUTO_FREE char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    printf("%-16s %s\n", key, json_is_string(value) ? json_string_value(value) : text);
}

static int show_stats(struct vm_socket *vm, bool is_json, struct error *err)
{
    AUTO_JSON stats = vm_socket_stats(vm, err);
    const char *key;
    json_t *value;
    if (!stats)
        return -1;
    if (is_json) {
        AUTO_FREE char *text = json_format(stats);
        fputs(text, stdout);
        return CLI_DONE;
    }
    json_object_foreach(stats, key, value) print_value(key, value);
    return CLI_DONE;
}

/* --- limits --- */

/* "0" too, which option_parse_size refuses. */
static int limit(struct vm_socket *vm, const char *name, const char *value, struct error *err)
{
    uint64_t number = 0;
    if (!value)
        return 0;
    if (strcmp(value, "0") != 0 && !option_parse_size(value, &number))
        return error_set(err, EINVAL, "%s: '%s' is no number", name, value);
    return vm_socket_limit(vm, name, number, err);
}

static int set_limits(struct vm_socket *vm, const struct vm_command_options *options,
                      struct error *err)
{
    if (!options->cpu && !options->net && !options->disk && !options->operations)
        return cli_usage(err, "limits: name one, as --cpu 50");
    if (limit(vm, "cpu_percent", options->cpu, err) != 0 ||
        limit(vm, "net_bytes_per_second", options->net, err) != 0 ||
        limit(vm, "disk_bytes_per_second", options->disk, err) != 0 ||
        limit(vm, "disk_operations_per_second", options->operations, err) != 0)
        return -1;
    return CLI_DONE;
}

/* --- console --- */

static int attach(struct vm_socket *vm, struct error *err)
{
    AUTO_CLOSE int fd = vm_socket_console(vm, err);
    if (fd < 0)
        return -1;
    int result = vm_console(fd, &vm->heard, err);
    if (result == 1 && isatty(STDERR_FILENO))
        fprintf(stderr, "\nleft its console; the machine goes on\n");
    return result < 0 ? -1 : CLI_DONE;
}

/* --- */

static const struct {
    const char *name;
    enum vm_action action;
} actions[] = {{"pause", VM_PAUSE},
               {"resume", VM_RESUME},
               {"powerdown", VM_POWERDOWN},
               {"reset", VM_RESET},
               {"stop", VM_STOP}};

static bool is_known(const char *what)
{
    static const char *const others[] = {"stats", "limits", "console"};
    for (size_t i = 0; i < ARRAY_LENGTH(actions); i++) {
        if (strcmp(what, actions[i].name) == 0)
            return true;
    }
    return text_is_one_of(what, others, ARRAY_LENGTH(others));
}

static int run_one(struct vm_socket *vm, const char *what, const struct vm_command_options *options,
                   struct error *err)
{
    if (strcmp(what, "stats") == 0)
        return show_stats(vm, options->is_json, err);
    if (strcmp(what, "limits") == 0)
        return set_limits(vm, options, err);
    if (strcmp(what, "console") == 0)
        return attach(vm, err);
    for (size_t i = 0; i < ARRAY_LENGTH(actions); i++) {
        if (strcmp(what, actions[i].name) == 0)
            return vm_socket_do(vm, actions[i].action, err) == 0 ? CLI_DONE : -1;
    }
    return -1;
}

static int run(struct cli *cli, const void *values, const struct option_list *operands,
               struct error *err)
{
    (void)cli;
    const struct vm_command_options *options = values;
    const char *what = operands->items[0], *name = operands->count > 1 ? operands->items[1] : NULL;
    AUTO_FREE char *folder = vm_folder(err);
    struct vm_socket vm;
    if (!folder)
        return -1;
    if (strcmp(what, "list") == 0)
        return name ? cli_usage(err, "list takes no name") : list(folder, options->is_json, err);
    if (!is_known(what))
        return cli_usage(err, "'%s' is none of its actions", what);
    if (!name || !definition_name_is_valid(name))
        return cli_usage(err, "%s: name a machine (see rehost vm list)", what);
    if (vm_socket_open(&vm, folder, name, err) != 0)
        return error_wrap(err, "%s", name);
    int result = run_one(&vm, what, options, err);
    vm_socket_fini(&vm);
    return result == -1 ? error_wrap(err, "%s", name) : result;
}

const struct command command_vm = {
    .name = "vm",
    .arguments = "list | ACTION NAME",
    .summary = "list and rule the machines that run",
    .description =
        "ACTION is one of console (^] leaves it), pause, resume, powerdown (the power button),\n"
        "reset, stop (as if the power was cut), stats and limits.\n",
    .options = vm_options,
    .options_size = sizeof(struct vm_command_options),
    .min_operands = 1,
    .max_operands = 2,
    .run = run,
};
