/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Makes names and identifiers out of what agents say, which may be anything.
 */
#include "p2v/server/machine_name.h"

#include "base/bytes.h"
#include "base/text.h"
#include "formats/digest.h"
#include "p2v/server/pool.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define NAME_FALLBACK "machine"
#define UUID_DIGITS 32
#define MARK_PREFIX " id="

static bool is_alnum(char character)
{
    return (character >= '0' && character <= '9') || (character >= 'A' && character <= 'Z') ||
           (character >= 'a' && character <= 'z');
}

static char lower(char character)
{
    return character >= 'A' && character <= 'Z' ? (char)(character - 'A' + 'a') : character;
}

/* --- names --- */

static bool has_reserved_end(const char *name)
{
    static const char *const ends[] = {POOL_PARTIAL_SUFFIX, POOL_UPDATE_SUFFIX};
    for (size_t i = 0; i < ARRAY_LENGTH(ends); i++) {
        size_t length = strlen(name), end = strlen(ends[i]);
        if (length >= end && strcasecmp(name + length - end, ends[i]) == 0)
            return true;
    }
    return false;
}

bool machine_name_is_valid(const char *name)
{
    size_t length = strlen(name);
    if (length == 0 || length >= MACHINE_NAME_SIZE || !is_alnum(name[0]) || strstr(name, ".."))
        return false;
    for (size_t i = 0; i < length; i++) {
        if (!is_alnum(name[i]) && !strchr("._-", name[i]))
            return false;
    }
    return !has_reserved_end(name);
}

/* Never two of them in a row, and none at the start. */
static size_t add_separator(char *name, size_t length, char separator)
{
    if (length > 0 && is_alnum(name[length - 1]))
        name[length++] = separator;
    return length;
}

void machine_name_make(const char *text, char name[MACHINE_NAME_SIZE])
{
    size_t length = 0;
    for (; *text && length < MACHINE_NAME_SIZE - 1; text++) {
        if (is_alnum(*text))
            name[length++] = *text;
        else
            length = add_separator(name, length, *text == '.' || *text == '_' ? *text : '-');
    }
    while (length > 0 && !is_alnum(name[length - 1]))
        length--;
    name[length] = '\0';
    /* A host may be called update.partial; its dot is what has the meaning. */
    while (has_reserved_end(name))
        *strrchr(name, '.') = '-';
    if (length == 0)
        snprintf(name, MACHINE_NAME_SIZE, "%s", NAME_FALLBACK);
}

void machine_name_number(const char *name, unsigned number, char numbered[MACHINE_NAME_SIZE])
{
    char suffix[16] = "";
    if (number > 1)
        snprintf(suffix, sizeof(suffix), "-%u", number);
    int room = MACHINE_NAME_SIZE - 1 - (int)strlen(suffix);
    snprintf(numbered, MACHINE_NAME_SIZE, "%.*s%s", room, name, suffix);
}

bool machine_name_tells(const char *name)
{
    static const char *const nobody[] = {NAME_FALLBACK, "localhost", "localhost.localdomain",
                                         "none",        "unknown",   "rehost",
                                         "linux",       "debian"};
    for (size_t i = 0; i < ARRAY_LENGTH(nobody); i++) {
        if (strcasecmp(name, nobody[i]) == 0)
            return false;
    }
    return true;
}

/* --- identifiers --- */

static bool is_one_character(const char *text)
{
    return text[0] == '\0' || strspn(text, (const char[]){text[0], '\0'}) == strlen(text);
}

void machine_uuid_make(const char *text, char uuid[MACHINE_ID_SIZE])
{
    /* What boards are shipped with whose maker did not set one, in both byte orders. */
    static const char *const placeholders[] = {
        "03000200040005000006000700080009", "00020003000400050006000700080009",
        "12345678123456789012345678901234", "123456781234123412341234567890ab",
        "12345678123456781234567812345678", "0123456789abcdef0123456789abcdef",
        "00112233445566778899aabbccddeeff", "123456781234567890abcddeefaabbcc",
        "fefefefefefefefefefefefefefefefe"};
    size_t length = 0;
    for (; *text && length < UUID_DIGITS + 1; text++) {
        char character = lower(*text);
        if (is_alnum(character))
            uuid[length++] = character;
    }
    uuid[length] = '\0';
    bool is_uuid = length == UUID_DIGITS && strspn(uuid, "0123456789abcdef") == UUID_DIGITS &&
                   !is_one_character(uuid);
    if (!is_uuid || text_is_one_of(uuid, placeholders, ARRAY_LENGTH(placeholders)))
        uuid[0] = '\0';
}

/* Letters and digits in lower case; how a maker writes "N/A" or "O.E.M." does not matter then. */
static bool is_placeholder(const char *serial)
{
    static const char *const words[] = {"tobefilledbyoem",
                                        "defaultstring",
                                        "0123456789",
                                        "123456789",
                                        "1234567890",
                                        "12345678",
                                        "none",
                                        "na",
                                        "null",
                                        "systemserialnumber",
                                        "serialnumber",
                                        "chassisserialnumber",
                                        "notspecified",
                                        "notapplicable",
                                        "notavailable",
                                        "unknown",
                                        "empty",
                                        "invalid",
                                        "oem",
                                        "default",
                                        "0123456789abcdef",
                                        "sysserialnumber",
                                        "systemproductname",
                                        "systemmanufacturer"};
    return is_one_character(serial) || text_is_one_of(serial, words, ARRAY_LENGTH(words));
}

void machine_serial_make(const char *text, char serial[MACHINE_ID_SIZE])
{
    size_t length = 0;
    for (; *text && length < MACHINE_ID_SIZE - 1; text++) {
        char character = lower(*text);
        if (is_alnum(character))
            serial[length++] = character;
    }
    serial[length] = '\0';
    if (is_placeholder(serial))
        serial[0] = '\0';
}

/* The serial number is what tells: a long product's name is cut before it. */
void machine_name_of_hardware(const char *product, const char *serial, char name[MACHINE_NAME_SIZE])
{
    char id[MACHINE_ID_SIZE], known[MACHINE_ID_SIZE];
    machine_serial_make(serial, id);
    machine_serial_make(product, known); /* makers' placeholders are the same for both */
    name[0] = '\0';
    if (!id[0])
        return;
    int room = MACHINE_NAME_SIZE - 2 - (int)strnlen(serial, MACHINE_NAME_SIZE - 2);
    snprintf(name, MACHINE_NAME_SIZE, "%.*s %s", known[0] ? room : 0, product, serial);
}

void machine_mark_make(const char *uuid, const char *serial, char mark[MACHINE_MARK_SIZE])
{
    char known_uuid[MACHINE_ID_SIZE], known_serial[MACHINE_ID_SIZE];
    char text[2 * MACHINE_ID_SIZE + 2];
    uint8_t hash[DIGEST_SIZE];
    machine_uuid_make(uuid, known_uuid);
    machine_serial_make(serial, known_serial);
    mark[0] = '\0';
    if (!known_uuid[0] && !known_serial[0])
        return;
    int length = snprintf(text, sizeof(text), "%s\n%s\n", known_uuid, known_serial);
    digest_compute(text, (size_t)length, hash);
    bytes_format_hex(hash, (MACHINE_MARK_SIZE - 1) / 2, mark);
}

void machine_mark_find(const char *program, char mark[MACHINE_MARK_SIZE])
{
    const char *at = strstr(program, MARK_PREFIX);
    mark[0] = '\0';
    if (!at)
        return;
    at += strlen(MARK_PREFIX);
    if (strlen(at) == MACHINE_MARK_SIZE - 1 && strspn(at, "0123456789abcdef") == strlen(at))
        memcpy(mark, at, MACHINE_MARK_SIZE);
}
