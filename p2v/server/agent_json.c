/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The limits are checked on the text, before the parser (which recurses, and takes a hundred bytes
 * for an empty array of two) sees it.
 */
#include "p2v/server/agent_json.h"

#include <errno.h>
#include <stdbool.h>

static int check_limits(const char *text, size_t length, const char *what, struct error *err)
{
    size_t depth = 0, values = 0;
    bool is_string = false;
    for (size_t i = 0; i < length; i++) {
        char byte = text[i];
        if (is_string) {
            if (byte == '\\')
                i++;
            is_string = byte != '"';
            continue;
        }
        is_string = byte == '"';
        values += byte == ',' || byte == '[' || byte == '{';
        depth += byte == '[' || byte == '{';
        depth -= (byte == ']' || byte == '}') && depth > 0;
        if (depth > AGENT_JSON_MAX_DEPTH || values > AGENT_JSON_MAX_VALUES)
            return error_set(err, EPROTO, "%s: more than %d levels or %u values", what,
                             AGENT_JSON_MAX_DEPTH, AGENT_JSON_MAX_VALUES);
    }
    return 0;
}

json_t *agent_json_parse(const char *text, size_t length, const char *what, struct error *err)
{
    json_error_t cause;
    if (check_limits(text, length, what, err) != 0)
        return NULL;
    json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES, &cause);
    if (!json) {
        error_set(err, EPROTO, "%s: line %d: %s", what, cause.line, cause.text);
        return NULL;
    }
    if (!json_is_object(json)) {
        json_decref(json);
        error_set(err, EPROTO, "%s: not a JSON object", what);
        return NULL;
    }
    return json;
}
