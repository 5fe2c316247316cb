/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Whether a LUKS2 volume opens by the machine's TPM, and whether by anything else: its header's
 * JSON (LUKS2 On-Disk Format Specification 1.1.1, 2 and 3). Tokens "systemd-tpm2" and "clevis" name
 * the key slots that they open; a slot that no token names has a passphrase.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "p2v/boot/findings_private.h"
#include "p2v/json.h"

#include <stdlib.h>
#include <string.h>

#define LUKS_MAGIC "LUKS\xba\xbe"
#define LUKS_BINARY_SIZE 4096 /* the JSON stands behind it */
#define LUKS_MAX_HEADER (4 * MIB)

/* NULL: no LUKS2, or nothing that can be read. Caller drops. */
static json_t *read_header(const struct block_source *volume)
{
    uint8_t head[16];
    if (volume->size_bytes < LUKS_BINARY_SIZE ||
        block_source_read(volume, 0, head, sizeof(head), NULL) != 0 ||
        memcmp(head, LUKS_MAGIC, 6) != 0 || load_be16(head + 6) != 2)
        return NULL;
    uint64_t size = load_be64(head + 8);
    if (size <= LUKS_BINARY_SIZE || size > LUKS_MAX_HEADER || size > volume->size_bytes)
        return NULL;
    size_t length = (size_t)size - LUKS_BINARY_SIZE;
    AUTO_FREE char *text = malloc(length);
    if (!text || block_source_read(volume, LUKS_BINARY_SIZE, text, length, NULL) != 0)
        return NULL;
    return json_loadb(text, strnlen(text, length), 0, NULL);
}

static bool is_tpm_token(const json_t *token)
{
    const char *type = json_text_of(token, "type");
    return strcmp(type, "systemd-tpm2") == 0 || strcmp(type, "clevis") == 0;
}

static bool is_named(const json_t *token, const char *slot)
{
    size_t index;
    const json_t *name;
    json_array_foreach(json_object_get(token, "keyslots"), index, name)
    {
        const char *text = json_string_value(name);
        if (text && strcmp(text, slot) == 0)
            return true;
    }
    return false;
}

static bool is_opened_by_tpm(json_t *tokens, const char *slot)
{
    const char *key;
    json_t *token;
    json_object_foreach(tokens, key, token)
    {
        if (is_tpm_token(token) && is_named(token, slot))
            return true;
    }
    return false;
}

enum findings_luks findings_luks(const struct block_source *volume)
{
    const char *slot;
    json_t *value;
    size_t by_tpm = 0, others = 0;
    AUTO_JSON header = read_header(volume);
    json_t *tokens = json_object_get(header, "tokens");
    json_object_foreach(json_object_get(header, "keyslots"), slot, value)
    {
        bool is_by_tpm = is_opened_by_tpm(tokens, slot);
        by_tpm += is_by_tpm;
        others += !is_by_tpm;
    }
    if (by_tpm == 0)
        return FINDINGS_LUKS_PASSPHRASE;
    return others == 0 ? FINDINGS_LUKS_TPM_ONLY : FINDINGS_LUKS_TPM_TOO;
}
