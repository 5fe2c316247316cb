/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Secrets, codes and ids as people type them: RFC 4648 base32 without padding, in either case.
 */
#ifndef P2V_SERVER_TOKEN_TEXT_H
#define P2V_SERVER_TOKEN_TEXT_H

#include "p2v/server/database.h"
#include "p2v/wire/frame.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOKEN_SECRET_SIZE 16

/* `text` has room for the characters and a NUL. */
void base32_encode(const uint8_t *bytes, size_t length, char *text);

void token_text_encode(const uint8_t secret[TOKEN_SECRET_SIZE], char text[WIRE_TOKEN_LENGTH + 1]);

/* False unless it is a token's only spelling: 26 characters, the unused bits of the last zero. */
bool token_text_decode(const char *text, uint8_t secret[TOKEN_SECRET_SIZE]);

/* "abcd-efgh", "ABCDEFGH" as agent_code writes it; false when it cannot be a code. */
bool agent_code_parse(const char *text, char code[AGENT_CODE_SIZE]);

/* "90m", "8h", "2d", "45s" in seconds, from 1 to ten years. */
bool lifetime_parse(const char *text, uint64_t *seconds);

#endif
