/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Small helpers over jansson for the commands' JSON: text from guests goes in escaped.
 */
#ifndef P2V_JSON_H
#define P2V_JSON_H

#include "base/error.h"
#include "base/own.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline void own_json(json_t **json)
{
    json_decref(*json);
}
#define AUTO_JSON __attribute__((cleanup(own_json))) json_t *

/* null for NULL; control bytes and invalid UTF-8 escaped, as in every message. */
json_t *json_text(const char *text);
json_t *json_text_bytes(const char *bytes, size_t length);

/* Rounded to milliseconds, so that the file can be read. */
json_t *json_seconds(double seconds);

void json_set_text(json_t *object, const char *key, const char *text);
void json_set_bytes(json_t *object, const char *key, uint64_t bytes);
void json_set_bool(json_t *object, const char *key, bool value);

/* The text at a key, unescaped; "" when there is none, or no object. Borrowed. */
const char *json_text_of(const json_t *object, const char *key);

/* Two-space indent, keys in the order they were set, newline at the end. Caller frees. */
char *json_format(const json_t *json);

/* Written aside and renamed into the folder. */
int json_write(const json_t *json, int folder_fd, const char *name, struct error *err);

/* A small JSON file; NULL with err. Caller drops. */
json_t *json_read(int folder_fd, const char *name, struct error *err);

#endif
