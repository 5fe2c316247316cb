/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Reads guest.json (docs/guest.md): types, unknown and missing fields by the table of
 * guest_fields.c, then the values by guest_validate. Errors name the field: "disks[0].bus".
 */
#include "base/io.h"
#include "base/text.h"
#include "formats/guest_fields.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static inline void json_release(json_t **json)
{
    json_decref(*json);
}
#define AUTO_JSON __attribute__((cleanup(json_release))) json_t *

static int object_parse(const json_t *json, const struct guest_field *fields, void *base,
                        const char *prefix, struct error *err);

static int integer_parse(const json_t *json, uint64_t limit, const char *where, uint64_t *value,
                         struct error *err)
{
    json_int_t integer;

    if (!json_is_integer(json))
        return error_set(err, 0, "%s: must be a whole number", where);
    integer = json_integer_value(json);
    if (integer < 0 || (uint64_t)integer > limit)
        return error_set(err, 0, "%s: %lld: out of range", where, (long long)integer);
    *value = (uint64_t)integer;
    return 0;
}

static int text_parse(const json_t *json, const char *where, char **text, struct error *err)
{
    if (!json_is_string(json))
        return error_set(err, 0, "%s: must be a string", where);
    free(*text);
    *text = text_copy(json_string_value(json)); /* without NULs: the JSON parser refuses them */
    return 0;
}

static int flag_parse(const json_t *json, const char *where, bool *flag, struct error *err)
{
    if (!json_is_boolean(json))
        return error_set(err, 0, "%s: must be true or false", where);
    *flag = json_is_true(json);
    return 0;
}

static int choice_parse(const json_t *json, const struct guest_field *field, const char *where,
                        void *place, struct error *err)
{
    int choice;

    if (!json_is_string(json))
        return error_set(err, 0, "%s: must be a string", where);
    choice = guest_choice_find(field->choices, json_string_value(json));
    if (choice < 0)
        return guest_choice_error(field->choices, where, json_string_value(json), err);
    *(unsigned *)place = (unsigned)choice;
    return 0;
}

_Static_assert(sizeof(enum guest_bus) == sizeof(unsigned), "a choice is stored as an unsigned");

static int items_parse(const json_t *json, const struct guest_field *field, void *base,
                       const char *where, struct error *err)
{
    size_t *count = guest_field_at(base, field->count_offset);

    if (!json_is_array(json))
        return error_set(err, 0, "%s: must be an array", where);
    if (json_array_size(json) > field->item_limit)
        return error_set(err, 0, "%s: %zu items: at most %zu", where, json_array_size(json),
                         field->item_limit);
    for (size_t i = 0; i < json_array_size(json); i++) {
        void *item = guest_field_at(base, field->offset + i * field->item_size);
        AUTO_FREE char *place = text_format("%s[%zu]%s", where, i, field->fields ? "." : "");
        int result;

        *count = i + 1;
        if (field->fields != NULL)
            result = object_parse(json_array_get(json, i), field->fields, item, place, err);
        else
            result = text_parse(json_array_get(json, i), place, item, err);
        if (result < 0)
            return -1;
    }
    return 0;
}

static int nested_parse(const json_t *json, const struct guest_field *field, void *base,
                        const char *where, struct error *err)
{
    AUTO_FREE char *prefix = text_format("%s.", where);

    return object_parse(json, field->fields, base, prefix, err);
}

static int count_parse(const json_t *json, const char *where, unsigned *count, struct error *err)
{
    uint64_t value = 0;

    if (integer_parse(json, UINT_MAX, where, &value, err) < 0)
        return -1;
    *count = (unsigned)value;
    return 0;
}

static int field_parse(const json_t *json, const struct guest_field *field, void *base,
                       const char *where, struct error *err)
{
    void *place = guest_field_at(base, field->offset);

    switch (field->kind) {
    case GUEST_KIND_VERSION:
        return 0; /* version_check was here before */
    case GUEST_KIND_TEXT:
        return text_parse(json, where, place, err);
    case GUEST_KIND_COUNT:
        return count_parse(json, where, place, err);
    case GUEST_KIND_BYTES:
        return integer_parse(json, INT64_MAX, where, place, err);
    case GUEST_KIND_FLAG:
        return flag_parse(json, where, place, err);
    case GUEST_KIND_CHOICE:
        return choice_parse(json, field, where, place, err);
    case GUEST_KIND_OBJECT:
        return nested_parse(json, field, base, where, err);
    case GUEST_KIND_ITEMS:
        return items_parse(json, field, base, where, err);
    }
    return -1;
}

static int names_check(const json_t *json, const struct guest_field *fields, const char *prefix,
                       struct error *err)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)json, key, value)
    {
        const struct guest_field *field = fields;

        while (field->name != NULL && strcmp(field->name, key) != 0)
            field++;
        if (field->name == NULL)
            return error_set(err, 0, "%s%.200s: unknown field", prefix, key);
    }
    return 0;
}

/* `prefix` is "" or ends with a dot. */
static int object_parse(const json_t *json, const struct guest_field *fields, void *base,
                        const char *prefix, struct error *err)
{
    if (!json_is_object(json))
        return error_set(err, 0, "%.*s: must be an object", (int)strlen(prefix) - 1, prefix);
    if (names_check(json, fields, prefix, err) < 0)
        return -1;
    for (const struct guest_field *field = fields; field->name != NULL; field++) {
        const json_t *value = json_object_get(json, field->name);
        AUTO_FREE char *where = text_format("%s%s", prefix, field->name);

        if (value == NULL && field->is_required)
            return error_set(err, 0, "%s: missing", where);
        if (value != NULL && field_parse(value, field, base, where, err) < 0)
            return -1;
    }
    return 0;
}

/* First of all, so that a newer file is refused for its version and not for its new fields. */
static int version_check(const json_t *root, struct error *err)
{
    const json_t *version = json_object_get(root, "rehost_guest");

    if (!json_is_object(root) || version == NULL)
        return error_set(err, 0, "not a guest definition (no \"rehost_guest\")");
    if (!json_is_integer(version) || json_integer_value(version) < 1)
        return error_set(err, 0, "rehost_guest: must be %d", GUEST_VERSION);
    if (json_integer_value(version) != GUEST_VERSION)
        return error_set(err, 0, "rehost_guest: version %lld: this program reads version %d",
                         (long long)json_integer_value(version), GUEST_VERSION);
    return 0;
}

static void lower(char *text)
{
    for (; text != NULL && *text != 0; text++)
        *text = (char)tolower((unsigned char)*text);
}

struct guest *guest_parse(const char *json, size_t length, bool allow_outside, struct error *err)
{
    json_error_t where;

    if (length > GUEST_MAX_FILE) {
        error_set(err, 0, "%zu bytes: at most %zu", length, GUEST_MAX_FILE);
        return NULL;
    }
    AUTO_JSON root = json_loadb(json, length, JSON_REJECT_DUPLICATES, &where);
    if (root == NULL) {
        error_set(err, 0, "line %d column %d: %s", where.line, where.column, where.text);
        return NULL;
    }
    AUTO_PTR(guest) guest = guest_new("");
    if (version_check(root, err) < 0 || object_parse(root, guest_fields, guest, "", err) < 0)
        return NULL;
    lower(guest->uuid);
    for (size_t i = 0; i < guest->nic_count; i++)
        lower(guest->nics[i].mac);
    if (guest_validate(guest, allow_outside, err) < 0)
        return NULL;
    return take_ptr(&guest);
}

struct guest *guest_read(int folder_fd, const char *name, bool allow_outside, struct error *err)
{
    AUTO_FREE char *data = NULL;
    struct guest *guest;
    size_t length;

    if (io_read_file(folder_fd, name, GUEST_MAX_FILE, &data, &length, err) < 0)
        return NULL;
    guest = guest_parse(data, length, allow_outside, err);
    if (guest == NULL)
        error_wrap(err, "%s", name);
    return guest;
}
