/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Base32 in both directions, and the small texts that the token commands take.
 */
#include "p2v/server/token_text.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CODE_LENGTH 8 /* without the '-' */

static const char base32_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

void base32_encode(const uint8_t *bytes, size_t length, char *text)
{
    uint32_t pending = 0;
    unsigned bits = 0;
    for (size_t i = 0; i < length; i++) {
        pending = (pending << 8 | bytes[i]) & 0xfff;
        for (bits += 8; bits >= 5; bits -= 5)
            *text++ = base32_alphabet[pending >> (bits - 5) & 31];
    }
    if (bits > 0)
        *text++ = base32_alphabet[pending << (5 - bits) & 31];
    *text = '\0';
}

/* Not by the C library's tables: the locale does not matter here. */
static int base32_digit(char character)
{
    if (character >= 'A' && character <= 'Z')
        return character - 'A';
    if (character >= 'a' && character <= 'z')
        return character - 'a';
    if (character >= '2' && character <= '7')
        return character - '2' + 26;
    return -1;
}

void token_text_encode(const uint8_t secret[TOKEN_SECRET_SIZE], char text[WIRE_TOKEN_LENGTH + 1])
{
    base32_encode(secret, TOKEN_SECRET_SIZE, text);
}

bool token_text_decode(const char *text, uint8_t secret[TOKEN_SECRET_SIZE])
{
    uint32_t pending = 0;
    unsigned bits = 0;
    size_t filled = 0;
    if (strlen(text) != WIRE_TOKEN_LENGTH)
        return false;
    for (size_t i = 0; i < WIRE_TOKEN_LENGTH; i++) {
        int digit = base32_digit(text[i]);
        if (digit < 0)
            return false;
        pending = (pending << 5 | (uint32_t)digit) & 0xfff;
        bits += 5;
        if (bits >= 8) {
            bits -= 8;
            secret[filled++] = (uint8_t)(pending >> bits);
        }
    }
    return (pending & ((1u << bits) - 1)) == 0;
}

void agent_code(const uint8_t identity[WIRE_IDENTITY_SIZE], char code[AGENT_CODE_SIZE])
{
    char text[CODE_LENGTH + 1];
    base32_encode(identity, 5, text);
    memcpy(code, text, 4);
    code[4] = '-';
    memcpy(code + 5, text + 4, 5);
}

bool agent_code_parse(const char *text, char code[AGENT_CODE_SIZE])
{
    size_t length = 0;
    for (; *text; text++) {
        if (*text == '-' || *text == ' ')
            continue;
        int digit = base32_digit(*text);
        if (digit < 0 || length == CODE_LENGTH)
            return false;
        code[length + (length >= 4)] = base32_alphabet[digit];
        length++;
    }
    code[4] = '-';
    code[AGENT_CODE_SIZE - 1] = '\0';
    return length == CODE_LENGTH;
}

bool lifetime_parse(const char *text, uint64_t *seconds)
{
    static const struct {
        char letter;
        uint64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
    char *end;
    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0 || number == 0 || number > TOKEN_MAX_LIFETIME || end[0] == '\0' ||
        end[1] != '\0')
        return false;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (units[i].letter == end[0]) {
            *seconds = number * units[i].seconds;
            return *seconds <= TOKEN_MAX_LIFETIME;
        }
    }
    return false;
}
