/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The agent's side of a disk connection against a server that says anything. The input is a list of
 * steps: ours (offer, send, be cut) and frames of the server's. Whatever is told safe must have
 * been answered and sent, and a cut must lead back to a digest that was true there.
 */
#include "p2v/agent/disk_offer.h"

#include <stdlib.h>
#include <string.h>

#define CHUNKS 600u
#define WINDOW ((uint64_t)4 << 20)
#define MAX_STEPS 3000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool is_true)
{
    if (!is_true)
        abort();
}

/* What the harness itself knows of each position that could be told safe. */
struct game {
    struct disk_offer *offer;
    struct disksum at[CHUNKS + 1]; /* the digest when everything below was told; no repairs */
    bool is_repaired;
    uint64_t sequence; /* of the last offer */
    uint16_t count;
};

static const struct chunk_name *name_of(uint8_t seed)
{
    static struct chunk_name names[WIRE_MAX_OFFER];
    for (unsigned i = 0; i < WIRE_MAX_OFFER; i++)
        names[i].bytes[0] = (uint8_t)(seed + i);
    return names;
}

static void offer_something(struct game *game, uint8_t kind, uint8_t amount, uint8_t where)
{
    uint64_t first = disk_offer_position(game->offer), sequence;
    uint16_t count = amount % 64 + 1;
    if (where > 200) { /* a repair, or nonsense */
        first = amount;
        count = 1;
    }
    bool is_repair = first < disk_offer_position(game->offer);
    if (!disk_offer_may_offer(game->offer, count))
        return;
    int result = kind & 1
                     ? disk_offer_run(game->offer, first, count, kind & 2 ? 3 : 1, &sequence, NULL)
                     : disk_offer_names(game->offer, first, count, name_of(kind), &sequence, NULL);
    if (result != 0)
        return;
    game->is_repaired |= is_repair;
    game->sequence = sequence;
    game->count = count;
    require(disk_offer_position(game->offer) <= CHUNKS);
    game->at[disk_offer_position(game->offer)] = *disk_offer_digest(game->offer);
}

static void be_cut(struct game *game)
{
    uint64_t chunk, safe = disk_offer_safe_chunk(game->offer);
    require(disk_offer_reconnect(game->offer, &chunk, NULL) == 0);
    require(chunk == safe && chunk == disk_offer_position(game->offer));
    require(disk_offer_is_through(game->offer));
    require(disk_offer_room(game->offer, WINDOW) == WINDOW);
    if (!game->is_repaired)
        require(disksum_is_equal(disk_offer_digest(game->offer), &game->at[chunk]));
}

static void begin_pass(struct game *game)
{
    disk_offer_begin_pass(game->offer);
    game->is_repaired = false;
    game->at[0] = (struct disksum){0};
}

/* Takes a frame of the server's from the input. */
static size_t hear(struct game *game, bool is_safe, const uint8_t *data, size_t size)
{
    struct wire_want want;
    struct wire_safe safe;
    uint64_t first;
    if (is_safe) {
        size_t length = size < 12 ? size : 12;
        if (wire_safe_decode(data, length, &safe, NULL) == 0 &&
            disk_offer_safe(game->offer, &safe, NULL) == 0)
            require(disk_offer_safe_chunk(game->offer) <= disk_offer_position(game->offer));
        return length;
    }
    size_t length = size < 10 ? size : 10 + (size_t)(data[8] + 7) / 8;
    length = length < size ? length : size;
    if (wire_want_decode(data, length, &want, NULL) == 0)
        disk_offer_wanted(game->offer, &want, &first, NULL);
    return length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct game game = {.offer = disk_offer_new((uint64_t)CHUNKS * CHUNK_SIZE, NULL)};
    size_t at = 0;
    for (int step = 0; step < MAX_STEPS && at + 4 <= size; step++) {
        const uint8_t *bytes = data + at;
        at += 4;
        switch (bytes[0] % 8) {
        case 0:
        case 1:
        case 2:
            offer_something(&game, bytes[1], bytes[2], bytes[3]);
            break;
        case 3:
            disk_offer_sent(game.offer, game.sequence, bytes[1] % 17,
                            (uint64_t)(bytes[1] % 17) * CHUNK_SIZE);
            break;
        case 4:
        case 5:
            at += hear(&game, bytes[0] % 8 == 4, data + at, size - at);
            break;
        case 6:
            be_cut(&game);
            break;
        case 7:
            begin_pass(&game);
            break;
        }
    }
    disk_offer_free(game.offer);
    return 0;
}
