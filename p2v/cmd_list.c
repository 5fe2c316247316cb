/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rehost formats, filesystems, fixers, targets: the drivers, from the code's own arrays.
 */
#include "base/text.h"
#include "bootfix/fixer.h"
#include "disk/usedmap.h"
#include "formats/guest.h"
#include "formats/image.h"
#include "p2v/commands.h"
#include "p2v/json.h"

#include <stdint.h>
#include <stdio.h>

struct list_options {
    bool is_json;
};

static const struct option_spec list_options[] = {
    CLI_OPTION_JSON(struct list_options),
    CLI_OPTION_END,
};

/* A listing is an array of objects; people see name, extra and description. */
static json_t *row(json_t *rows, const char *name, const char *description)
{
    json_t *object = json_object();
    json_set_text(object, "name", name);
    json_set_text(object, "description", description);
    json_array_append_new(rows, object);
    return object;
}

static void print_rows(const json_t *rows, bool is_json)
{
    if (is_json) {
        AUTO_FREE char *text = json_format(rows);
        fputs(text, stdout);
        return;
    }
    size_t index;
    json_t *object;
    json_array_foreach(rows, index, object)
    {
        printf("%-18s %s\n", json_string_value(json_object_get(object, "name")),
               json_string_value(json_object_get(object, "description")));
    }
}

static int run_formats(struct cli *cli, const void *options, const struct option_list *operands,
                       struct error *err)
{
    (void)cli, (void)operands, (void)err;
    AUTO_JSON rows = json_array();
    for (size_t i = 0; image_drivers[i]; i++) {
        const struct image_driver *driver = image_drivers[i];
        json_t *object = row(rows, driver->name, driver->description);
        json_set_text(object, "extension", driver->extension);
        json_set_bool(object, "can_write", driver->create != NULL);
        json_set_bool(object, "can_back", driver->can_back);
        json_set_bool(object, "can_compress", driver->can_compress);
    }
    print_rows(rows, ((const struct list_options *)options)->is_json);
    return CLI_DONE;
}

static int run_filesystems(struct cli *cli, const void *options, const struct option_list *operands,
                           struct error *err)
{
    (void)cli, (void)operands, (void)err;
    AUTO_JSON rows = json_array();
    for (size_t i = 0; usedmap_drivers[i]; i++) {
        const struct usedmap_driver *driver = usedmap_drivers[i];
        json_t *object = row(rows, driver->name, driver->description);
        json_t *types = json_array();
        for (const char *const *type = driver->types; type && *type; type++)
            json_array_append_new(types, json_text(*type));
        json_object_set_new(object, "types", types);
    }
    print_rows(rows, ((const struct list_options *)options)->is_json);
    return CLI_DONE;
}

static int run_fixers(struct cli *cli, const void *options, const struct option_list *operands,
                      struct error *err)
{
    (void)cli, (void)operands, (void)err;
    AUTO_JSON rows = json_array();
    for (size_t i = 0; fixers[i]; i++)
        row(rows, fixers[i]->name, fixers[i]->description);
    print_rows(rows, ((const struct list_options *)options)->is_json);
    return CLI_DONE;
}

static int run_targets(struct cli *cli, const void *options, const struct option_list *operands,
                       struct error *err)
{
    (void)cli, (void)operands, (void)err;
    AUTO_JSON rows = json_array();
    for (size_t i = 0; guest_targets[i]; i++) {
        json_t *object = row(rows, guest_targets[i]->name, guest_targets[i]->description);
        json_set_text(object, "file_name", guest_targets[i]->file_name);
    }
    print_rows(rows, ((const struct list_options *)options)->is_json);
    return CLI_DONE;
}

#define LIST_COMMAND(word, text)                                                                   \
    const struct command command_##word = {                                                        \
        .name = #word,                                                                             \
        .arguments = "",                                                                           \
        .summary = text,                                                                           \
        .options = list_options,                                                                   \
        .options_size = sizeof(struct list_options),                                               \
        .run = run_##word,                                                                         \
    }

LIST_COMMAND(formats, "list the image formats");
LIST_COMMAND(filesystems, "list the file systems whose free space is known");
LIST_COMMAND(fixers, "list what is fixed in a converted machine");
LIST_COMMAND(targets, "list the platforms that a definition can be rendered for");
