/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Linux swap space: its first page holds the header (label, UUID, bad pages); what is in the
 * other pages is lost at every shutdown anyway. Unless it is a hibernated system: that is all
 * copied. The layout is in Linux' include/linux/swap.h (union swap_header) and kernel/power/swap.c.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "disk/fs/drivers.h"

#include <string.h>

#define PAGE_SIZE_MIN 4096u
#define PAGE_SIZE_MAX 65536u
#define MAGIC_SIZE 10
#define HEADER_VERSION 1024 /* offsets in the first page, behind room for a boot block */
#define HEADER_LAST_PAGE 1028

/* Signatures of a suspended system, in place of the swap signature. TuxOnIce's is at byte 0. */
static const char *const hibernation_magics[] = {"S1SUSPEND", "S2SUSPEND", "ULSUSPEND",
                                                 "LINHIB0001"};
static const uint8_t tuxonice_magic[] = {0xed, 0xc3, 0x02, 0xe9, 0x98, 0x56, 0xe5, 0x0c};

static const char *find_hibernation(const uint8_t *magic)
{
    for (size_t i = 0; i < ARRAY_LENGTH(hibernation_magics); i++) {
        if (memcmp(magic, hibernation_magics[i], strlen(hibernation_magics[i])) == 0)
            return hibernation_magics[i];
    }
    return NULL;
}

/* The page size by where the signature lies; 0, with the doubt said, when that is not clear. */
static uint32_t find_page_size(const uint8_t *start, size_t length, struct usedmap *map)
{
    uint32_t found = 0;

    if (memcmp(start, tuxonice_magic, sizeof(tuxonice_magic)) == 0)
        usedmap_doubt(map, "swap: a hibernated system (TuxOnIce)");
    for (uint32_t size = PAGE_SIZE_MIN; size <= PAGE_SIZE_MAX && size <= length; size *= 2) {
        const uint8_t *magic = start + size - MAGIC_SIZE;
        const char *hibernation = find_hibernation(magic);

        if (hibernation)
            usedmap_doubt(map, "swap: a hibernated system (%s)", hibernation);
        if (memcmp(magic, "SWAPSPACE2", MAGIC_SIZE) != 0)
            continue;
        if (found)
            usedmap_doubt(map, "swap: signatures for pages of %u and %u bytes", found, size);
        found = size;
    }
    if (!found)
        usedmap_doubt(map, "swap: no version 1 signature");
    return map->is_certain ? found : 0;
}

/* The header is in the byte order of the machine that made it. */
static uint32_t load_header(const uint8_t *start, size_t offset)
{
    return load_le32(start + HEADER_VERSION) == 1 ? load_le32(start + offset)
                                                  : load_be32(start + offset);
}

static int swap_read(const struct block_source *volume, struct usedmap *map, struct error *err)
{
    uint8_t start[PAGE_SIZE_MAX];
    size_t length = (size_t)min_u64(sizeof(start), volume->size_bytes);

    if (length < PAGE_SIZE_MIN) {
        usedmap_doubt(map, "swap: smaller than a page");
        return 0;
    }
    if (block_source_read(volume, 0, start, length, err) < 0)
        return error_wrap(err, "swap header");
    uint32_t page = find_page_size(start, length, map);
    if (page == 0)
        return 0;
    uint64_t end = ((uint64_t)load_header(start, HEADER_LAST_PAGE) + 1) * page;
    if (load_header(start, HEADER_VERSION) != 1)
        usedmap_doubt(map, "swap: unknown header version");
    else if (end <= page || end > volume->size_bytes)
        usedmap_doubt(map, "swap: the header says %llu bytes, the volume has %llu",
                      (unsigned long long)end, (unsigned long long)volume->size_bytes);
    if (!map->is_certain)
        return 0;
    /* What lies behind the swap space is not swap's, so nobody here can say that it is free. */
    if (extents_add(&map->used, 0, page, err) < 0)
        return -1;
    return extents_add(&map->used, end, volume->size_bytes - end, err);
}

const struct usedmap_driver swap_driver = {
    .name = "swap",
    .description = "all but the header page; a hibernated system is copied whole",
    .types = (const char *const[]){"swap", "swsuspend", NULL},
    .read = swap_read,
};
