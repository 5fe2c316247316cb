/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The inside of the ledger, shared by formats/ledger*.c only: ledger.c has the file and what claims
 * content, ledger_withdraw.c what ends such claims.
 */
#ifndef FORMATS_LEDGER_PRIVATE_H
#define FORMATS_LEDGER_PRIVATE_H

#include "formats/ledger.h"
#include "formats/ledger_map.h"

#include <pthread.h>

/* Records looked at in one go: 16 KiB. */
#define LEDGER_BATCH 512u

struct ledger {
    int fd;
    uint64_t chunk_count;
    /* Held while the file's records are written. Taken before `lock`. */
    pthread_mutex_t file_lock;
    bool is_unsynced;     /* something was written since the last sync */
    pthread_mutex_t lock; /* of the maps */
    struct ledger_map pending, sealed;
};

/* The two reserved names: 31 bytes of 0xff, then which. */
void ledger_record_reserve(uint8_t *record, enum ledger_state state);
enum ledger_state ledger_record_state(const uint8_t *record);

uint64_t ledger_record_offset(uint64_t index);
int ledger_check_range(const struct ledger *ledger, uint64_t first, uint64_t count,
                       struct error *err);

/* The first chunk from `first` on whose record in the file may be other than zero; `end`: none. */
uint64_t ledger_next_stored(const struct ledger *ledger, uint64_t first, uint64_t end);

/* Of what was written, if anything was. file_lock is held. */
int ledger_sync(struct ledger *ledger, struct error *err);

#endif
