/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * JSON that an agent sent (its inventory, its report), parsed so that it can cost neither stack nor
 * memory.
 */
#ifndef P2V_SERVER_AGENT_JSON_H
#define P2V_SERVER_AGENT_JSON_H

#include "base/error.h"
#include "p2v/json.h"

#include <stddef.h>

#define AGENT_JSON_MAX_DEPTH 32
#define AGENT_JSON_MAX_VALUES 50000u /* objects, arrays and their members */

/* An object within these limits; NULL with err (EPROTO). Caller drops. */
json_t *agent_json_parse(const char *text, size_t length, const char *what, struct error *err);

#endif
