/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Texts that agents and people give to the server: tokens, codes, lifetimes, names, identifiers.
 * What is made of them keeps its rules, whatever they are.
 */
#include "p2v/server/machine_name.h"
#include "p2v/server/token_text.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#define TEXT_LIMIT 300

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_token(const char *text)
{
    uint8_t secret[TOKEN_SECRET_SIZE];
    char again[WIRE_TOKEN_LENGTH + 1];
    if (!token_text_decode(text, secret))
        return;
    token_text_encode(secret, again);
    assert(strcasecmp(again, text) == 0);
}

static void check_code(const char *text)
{
    char code[AGENT_CODE_SIZE], again[AGENT_CODE_SIZE];
    if (agent_code_parse(text, code))
        assert(agent_code_parse(code, again) && strcmp(code, again) == 0);
}

static void check_names(const char *text)
{
    char name[MACHINE_NAME_SIZE], again[MACHINE_NAME_SIZE], id[MACHINE_ID_SIZE];
    machine_name_make(text, name);
    assert(machine_name_is_valid(name));
    machine_name_make(name, again);
    assert(strcmp(name, again) == 0);
    machine_name_number(name, 10000, again);
    assert(machine_name_is_valid(again));
    machine_uuid_make(text, id);
    assert(strlen(id) == 0 || strlen(id) == 32);
    machine_serial_make(text, id);
    assert(strlen(id) < MACHINE_ID_SIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char text[TEXT_LIMIT + 1];
    uint64_t seconds;
    size_t length = size < TEXT_LIMIT ? size : TEXT_LIMIT;
    memcpy(text, data, length);
    text[length] = '\0';
    check_token(text);
    check_code(text);
    check_names(text);
    if (lifetime_parse(text, &seconds))
        assert(seconds > 0 && seconds <= TOKEN_MAX_LIFETIME);
    return 0;
}
