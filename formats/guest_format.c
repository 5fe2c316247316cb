/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Writes guest.json: the table's fields in the table's order, absent ones left out, so that a
 * definition that is read and written again is the same text.
 */
#include "base/io.h"
#include "base/text.h"
#include "formats/guest_fields.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static json_t *object_format(const struct guest_field *fields, const void *base);

static json_t *items_format(const struct guest_field *field, const void *base)
{
    size_t count = *(const size_t *)guest_field_in(base, field->count_offset);
    json_t *array = json_array();

    for (size_t i = 0; i < count; i++) {
        const void *item = guest_field_in(base, field->offset + i * field->item_size);

        json_array_append_new(array, field->fields != NULL ? object_format(field->fields, item)
                                                           : json_string(*(char *const *)item));
    }
    return array;
}

static json_t *field_format(const struct guest_field *field, const void *base)
{
    const void *place = guest_field_in(base, field->offset);

    switch (field->kind) {
    case GUEST_KIND_VERSION:
        return json_integer(GUEST_VERSION);
    case GUEST_KIND_TEXT:
        return *(char *const *)place == NULL ? NULL : json_string(*(char *const *)place);
    case GUEST_KIND_COUNT:
        return json_integer(*(const unsigned *)place);
    case GUEST_KIND_BYTES:
        return json_integer((json_int_t) * (const uint64_t *)place);
    case GUEST_KIND_FLAG:
        return json_boolean(*(const bool *)place);
    case GUEST_KIND_CHOICE:
        return json_string(field->choices[*(const unsigned *)place]);
    case GUEST_KIND_OBJECT:
        return object_format(field->fields, base);
    case GUEST_KIND_ITEMS:
        return items_format(field, base);
    }
    return NULL;
}

/* An optional field that says nothing is left out. */
static bool is_nothing(const json_t *json)
{
    return json == NULL || (json_is_integer(json) && json_integer_value(json) == 0) ||
           json_is_false(json) || (json_is_object(json) && json_object_size(json) == 0) ||
           (json_is_array(json) && json_array_size(json) == 0);
}

static json_t *object_format(const struct guest_field *fields, const void *base)
{
    json_t *object = json_object();

    for (const struct guest_field *field = fields; field->name != NULL; field++) {
        json_t *value = field_format(field, base);

        if (!field->is_required && is_nothing(value))
            json_decref(value);
        else
            json_object_set_new(object, field->name, value);
    }
    return object;
}

char *guest_format(const struct guest *guest, struct error *err)
{
    AUTO(text) text = {0};
    char *dumped;
    json_t *root;

    if (guest_validate(guest, true, err) < 0)
        return NULL;
    root = object_format(guest_fields, guest);
    dumped = json_dumps(root, JSON_INDENT(2));
    json_decref(root);
    if (dumped == NULL) {
        error_set(err, ENOMEM, "guest definition of %s", guest->name);
        return NULL;
    }
    text_add(&text, dumped);
    text_add(&text, "\n");
    free(dumped);
    return text_take(&text);
}

int guest_write(const struct guest *guest, int folder_fd, const char *name, struct error *err)
{
    AUTO_FREE char *json = guest_format(guest, err);

    if (json == NULL)
        return error_wrap(err, "%s", name);
    return io_replace_file(folder_fd, name, json, strlen(json), 0644, err);
}
