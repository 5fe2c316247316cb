/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * received.json as a struct. Its figures came from an agent once, so each is checked on the way
 * back; the agent's own report stays JSON.
 */
#include "p2v/server/received.h"

#include "base/bytes.h"
#include "p2v/definition.h"
#include "p2v/machine.h"
#include "p2v/server/pool.h"

#include <stdio.h>
#include <string.h>

#define RECEIVED_VERSION 1

void received_fini(struct received *received)
{
    json_decref(received->agent_report);
    received->agent_report = NULL;
}

/* --- writing --- */

/* As it is: the wire has checked it, and escaping would not be undone by reading. */
static json_t *plain_text(const char *text)
{
    json_t *json = json_string(text);
    return json ? json : json_string("");
}

static json_t *disk_json(const struct received_disk *disk)
{
    char digest[2 * WIRE_DIGEST_SIZE + 1];
    json_t *json = json_object();
    json_object_set_new(json, "name", plain_text(disk->name));
    json_object_set_new(json, "serial", plain_text(disk->serial));
    json_set_text(json, "format", disk->format);
    json_set_bytes(json, "size_bytes", disk->size_bytes);
    json_set_bytes(json, "sector_size", disk->sector_size);
    json_set_bytes(json, "sent_bytes", disk->sent_bytes);
    json_set_bytes(json, "had_bytes", disk->had_bytes);
    json_set_bytes(json, "copied_bytes", disk->copied_bytes);
    json_set_bytes(json, "unreadable_bytes", disk->unreadable_bytes);
    bytes_format_hex(disk->digest, WIRE_DIGEST_SIZE, digest);
    json_set_text(json, "digest", digest);
    return json;
}

json_t *received_json(const struct received *received)
{
    json_t *json = json_object();
    json_t *disks = json_array();
    json_set_text(json, "machine", received->machine);
    json_set_text(json, "consistency", wire_consistency_name(received->consistency));
    json_set_bool(json, "has_warnings", received->has_warnings);
    json_set_bytes(json, "wire_bytes", received->wire_bytes);
    json_object_set_new(json, "seconds", json_seconds(received->seconds));
    for (size_t i = 0; i < received->disk_count; i++)
        json_array_append_new(disks, disk_json(&received->disks[i]));
    json_object_set_new(json, "disks", disks);
    return json;
}

int received_write(const struct received *received, int folder_fd, struct error *err)
{
    AUTO_JSON json = received_json(received);
    json_object_set_new(json, "rehost_received", json_integer(RECEIVED_VERSION));
    if (received->agent_report)
        json_object_set(json, "agent_report", received->agent_report);
    else
        json_object_set_new(json, "agent_report", json_object());
    return json_write(json, folder_fd, POOL_RECEIVED, err);
}

/* --- reading --- */

static int read_text(const json_t *json, const char *key, char *text, size_t size,
                     struct error *err)
{
    const json_t *value = json_object_get(json, key);
    if (!json_is_string(value))
        return error_set(err, 0, "%s: not a text", key);
    if (json_string_length(value) >= size || strlen(json_string_value(value)) >= size)
        return error_set(err, 0, "%s: more than %zu bytes", key, size - 1);
    snprintf(text, size, "%s", json_string_value(value));
    return 0;
}

static int read_bytes(const json_t *json, const char *key, uint64_t *bytes, struct error *err)
{
    const json_t *value = json_object_get(json, key);
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return error_set(err, 0, "%s: not a number of bytes", key);
    *bytes = (uint64_t)json_integer_value(value);
    return 0;
}

static int hex_digit(char digit)
{
    const char *digits = "0123456789abcdef";
    const char *found = digit ? strchr(digits, digit) : NULL;
    return found ? (int)(found - digits) : -1;
}

static int read_digest(const json_t *json, uint8_t digest[WIRE_DIGEST_SIZE], struct error *err)
{
    char text[2 * WIRE_DIGEST_SIZE + 1];
    if (read_text(json, "digest", text, sizeof(text), err) != 0)
        return -1;
    if (strlen(text) != 2 * WIRE_DIGEST_SIZE)
        return error_set(err, 0, "digest: not %d bytes", WIRE_DIGEST_SIZE);
    for (size_t i = 0; i < WIRE_DIGEST_SIZE; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return error_set(err, 0, "digest: not hexadecimal");
        digest[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

static int read_disk(const json_t *json, struct received_disk *disk, struct error *err)
{
    uint64_t sector_size;
    if (read_text(json, "name", disk->name, sizeof(disk->name), err) != 0 ||
        read_text(json, "serial", disk->serial, sizeof(disk->serial), err) != 0 ||
        read_text(json, "format", disk->format, sizeof(disk->format), err) != 0 ||
        read_bytes(json, "size_bytes", &disk->size_bytes, err) != 0 ||
        read_bytes(json, "sector_size", &sector_size, err) != 0 ||
        read_bytes(json, "sent_bytes", &disk->sent_bytes, err) != 0 ||
        read_bytes(json, "had_bytes", &disk->had_bytes, err) != 0 ||
        read_bytes(json, "copied_bytes", &disk->copied_bytes, err) != 0 ||
        read_bytes(json, "unreadable_bytes", &disk->unreadable_bytes, err) != 0 ||
        read_digest(json, disk->digest, err) != 0)
        return -1;
    if (strcmp(disk->format, "qcow2") != 0 && strcmp(disk->format, "raw") != 0)
        return error_set(err, 0, "format: '%s' is neither qcow2 nor raw", disk->format);
    if (disk->size_bytes == 0 || disk->size_bytes > MANIFEST_MAX_SIZE)
        return error_set(err, 0, "size_bytes: not the size of a disk");
    if (sector_size != 0 && sector_size != 512 && sector_size != 4096)
        return error_set(err, 0, "sector_size: neither 512 nor 4096");
    disk->sector_size = (uint32_t)sector_size;
    return 0;
}

static int read_disks(const json_t *json, struct received *received, struct error *err)
{
    const json_t *disks = json_object_get(json, "disks");
    size_t count = json_array_size(disks); /* 0 for what is no array */
    if (count == 0 || count > WIRE_MAX_DISKS)
        return error_set(err, 0, "disks: not 1 to %d", WIRE_MAX_DISKS);
    for (size_t i = 0; i < count; i++) {
        if (read_disk(json_array_get(disks, i), &received->disks[i], err) != 0)
            return error_wrap(err, "disks[%zu]", i);
    }
    received->disk_count = count;
    return 0;
}

static int read_consistency(const json_t *json, enum wire_consistency *consistency,
                            struct error *err)
{
    char name[16];
    if (read_text(json, "consistency", name, sizeof(name), err) != 0)
        return -1;
    for (int i = WIRE_AT_REST; i <= WIRE_NOT_CONSISTENT; i++) {
        *consistency = (enum wire_consistency)i;
        if (strcmp(name, wire_consistency_name(*consistency)) == 0)
            return 0;
    }
    return error_set(err, 0, "consistency: '%s' is none", name);
}

static int decode(const json_t *json, struct received *received, struct error *err)
{
    const json_t *version = json_object_get(json, "rehost_received");
    const json_t *report = json_object_get(json, "agent_report");
    const json_t *seconds = json_object_get(json, "seconds");
    if (!json_is_integer(version) || json_integer_value(version) != RECEIVED_VERSION)
        return error_set(err, 0, "rehost_received: not version %d", RECEIVED_VERSION);
    if (read_text(json, "machine", received->machine, sizeof(received->machine), err) != 0 ||
        read_bytes(json, "wire_bytes", &received->wire_bytes, err) != 0 ||
        read_consistency(json, &received->consistency, err) != 0 ||
        read_disks(json, received, err) != 0)
        return -1;
    if (!definition_name_is_valid(received->machine))
        return error_set(err, 0, "machine: '%s' is no machine's name", received->machine);
    if (!json_is_object(report) || !json_is_number(seconds))
        return error_set(err, 0, "agent_report or seconds is missing");
    received->has_warnings = json_is_true(json_object_get(json, "has_warnings"));
    received->seconds = json_number_value(seconds);
    received->agent_report = json_incref((json_t *)(uintptr_t)report);
    return 0;
}

int received_read(struct received *received, int folder_fd, struct error *err)
{
    *received = (struct received){0};
    if (!folder_has(folder_fd, POOL_RECEIVED))
        return 0;
    AUTO_JSON json = json_read(folder_fd, POOL_RECEIVED, err);
    if (!json)
        return -1;
    if (decode(json, received, err) != 0) {
        received_fini(received);
        return error_wrap(err, "%s", POOL_RECEIVED);
    }
    return 1;
}
