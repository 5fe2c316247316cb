/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * received.json: the end of a transfer and the beginning of its conversion. Written last into a
 * folder being received, after every image and manifest is on stable storage.
 */
#ifndef P2V_SERVER_RECEIVED_H
#define P2V_SERVER_RECEIVED_H

#include "base/error.h"
#include "formats/manifest.h"
#include "p2v/json.h"
#include "p2v/wire/frame.h"

#include <stddef.h>
#include <stdint.h>

struct received_disk {
    char name[65], serial[65]; /* as the agent called it */
    char format[16];           /* of diskN.FORMAT */
    uint64_t size_bytes;
    uint32_t sector_size;
    uint64_t sent_bytes;   /* arrived as content */
    uint64_t had_bytes;    /* was there from before */
    uint64_t copied_bytes; /* came from another machine of the pool */
    uint64_t unreadable_bytes;
    uint8_t digest[WIRE_DIGEST_SIZE]; /* that both sides had */
};

struct received {
    char machine[64];
    struct received_disk disks[WIRE_MAX_DISKS];
    size_t disk_count;
    enum wire_consistency consistency;
    bool has_warnings;    /* of the agent */
    uint64_t wire_bytes;  /* both directions */
    double seconds;       /* from the first connection to the end, pauses included */
    json_t *agent_report; /* as FINISH brought it, a JSON object; owned; never NULL after reading */
};
void received_fini(struct received *received);

/* Everything but the agent's report, as the report's "transfer". A new reference. */
json_t *received_json(const struct received *received);

/* agent_report may be NULL: an empty one is written. */
int received_write(const struct received *received, int folder_fd, struct error *err);
/* 1: read; 0: there is none; -1: broken. */
int received_read(struct received *received, int folder_fd, struct error *err);

#endif
