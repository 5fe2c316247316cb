/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * JSON for reports and listings.
 */
#include "p2v/json.h"

#include "base/io.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

/* Reports hold diffs; nothing of ours comes near this. */
#define JSON_MAX_FILE ((size_t)64 << 20)

json_t *json_text_bytes(const char *bytes, size_t length)
{
    AUTO(text) escaped = {0};
    text_add_escaped(&escaped, bytes, length);
    return json_stringn(text_string(&escaped), escaped.length);
}

json_t *json_text(const char *text)
{
    return text ? json_text_bytes(text, strlen(text)) : json_null();
}

json_t *json_seconds(double seconds)
{
    return json_real((double)(long long)(seconds * 1000 + 0.5) / 1000);
}

void json_set_text(json_t *object, const char *key, const char *text)
{
    json_object_set_new(object, key, json_text(text));
}

void json_set_bytes(json_t *object, const char *key, uint64_t bytes)
{
    json_object_set_new(object, key, json_integer((json_int_t)bytes));
}

void json_set_bool(json_t *object, const char *key, bool value)
{
    json_object_set_new(object, key, json_boolean(value));
}

const char *json_text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

char *json_format(const json_t *json)
{
    AUTO(text) out = {0};
    char *dumped = json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
    text_add(&out, dumped ? dumped : "{}");
    text_add(&out, "\n");
    free(dumped);
    return text_take(&out);
}

int json_write(const json_t *json, int folder_fd, const char *name, struct error *err)
{
    AUTO_FREE char *text = json_format(json);
    return io_replace_file(folder_fd, name, text, strlen(text), 0644, err);
}

json_t *json_read(int folder_fd, const char *name, struct error *err)
{
    AUTO_FREE char *data = NULL;
    size_t length;
    if (io_read_file(folder_fd, name, JSON_MAX_FILE, &data, &length, err) != 0)
        return NULL;
    json_error_t cause;
    json_t *json = json_loadb(data, length, JSON_REJECT_DUPLICATES, &cause);
    if (!json)
        error_set(err, 0, "%s: line %d: %s", name, cause.line, cause.text);
    return json;
}
