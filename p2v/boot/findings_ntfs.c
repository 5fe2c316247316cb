/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Whether a Windows is hibernated on an NTFS volume, which Fast Startup does at each shutdown: the
 * first bytes of \hiberfil.sys. As much of NTFS as finding that file takes: the MFT's and the root
 * folder's records, its index, the file's first run. The structures are those of Linux'
 * fs/ntfs3/ntfs.h. What is not as expected means 'not known', which is no warning.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "p2v/boot/findings_private.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define MAX_RECORD 4096
#define MAX_INDEX_BLOCK 65536
#define MAX_INDEX_BLOCKS 4096 /* of a root folder with a hundred thousand files */
#define MAX_RUNS 128
#define MAX_LIST 4096 /* bytes of an attribute list */
#define MAX_CLUSTER (2 * MIB)
#define FIXUP_SECTOR 512

#define ROOT_RECORD 5
#define ATTRIBUTE_LIST 0x20
#define ATTRIBUTE_DATA 0x80
#define ATTRIBUTE_INDEX_ROOT 0x90
#define ATTRIBUTE_INDEX_ALLOCATION 0xa0
#define ATTRIBUTE_END 0xffffffff
#define ENTRY_IS_LAST 2
#define RECORD_NUMBER ((UINT64_C(1) << 48) - 1)

struct run {
    uint64_t first, count; /* clusters of the stream */
    uint64_t place;        /* cluster of the volume */
};
struct stream {
    struct run runs[MAX_RUNS];
    size_t count;
};

struct ntfs {
    const struct block_source *volume;
    uint64_t cluster_size, record_size;
    struct stream mft;
};

/* --- records: their last bytes of each sector are kept elsewhere --- */

static bool apply_fixups(uint8_t *block, size_t size, const char magic[4])
{
    size_t at = load_le16(block + 4), count = load_le16(block + 6);
    if (memcmp(block, magic, 4) != 0 || count != size / FIXUP_SECTOR + 1 || at + 2 * count > size)
        return false;
    for (size_t i = 1; i < count; i++) {
        uint8_t *end = block + i * FIXUP_SECTOR - 2;
        if (memcmp(end, block + at, 2) != 0)
            return false;
        memcpy(end, block + at + 2 * i, 2);
    }
    return true;
}

/* The unnamed attribute, or for an index any; NULL when there is none. */
static const uint8_t *find_attribute(const uint8_t *record, size_t size, uint32_t type)
{
    size_t at = load_le16(record + 0x14);
    while (at + 0x18 <= size) {
        const uint8_t *attribute = record + at;
        size_t length = load_le32(attribute + 4);
        if (load_le32(attribute) == ATTRIBUTE_END || length < 0x18 || length > size - at)
            return NULL;
        if (load_le32(attribute) == type && (type != ATTRIBUTE_DATA || attribute[9] == 0))
            return attribute;
        at += length;
    }
    return NULL;
}

static bool is_resident(const uint8_t *attribute)
{
    return attribute[8] == 0;
}

/* The value of a resident attribute; NULL when it is none. */
static const uint8_t *resident_value(const uint8_t *attribute, size_t *length)
{
    size_t whole = load_le32(attribute + 4), at = load_le16(attribute + 0x14);
    *length = load_le32(attribute + 0x10);
    return is_resident(attribute) && range_is_inside(at, *length, whole) ? attribute + at : NULL;
}

/* --- runs: a byte of two lengths, the number of clusters, how far on they are --- */

static uint64_t load_bytes(const uint8_t *from, size_t length, bool is_signed)
{
    uint64_t value = is_signed && length && from[length - 1] & 0x80 ? UINT64_MAX : 0;
    for (size_t i = length; i > 0; i--)
        value = value << 8 | from[i - 1];
    return value;
}

static bool read_runs(const uint8_t *attribute, struct stream *stream)
{
    size_t length = load_le32(attribute + 4), at = load_le16(attribute + 0x20);
    uint64_t first = 0, place = 0;
    stream->count = 0;
    if (is_resident(attribute) || length < 0x40 || load_le64(attribute + 0x10) != 0)
        return false;
    while (at < length && attribute[at] != 0 && stream->count < MAX_RUNS) {
        size_t counts = attribute[at] & 15, places = attribute[at] >> 4;
        if (counts > 8 || places > 8 || at + 1 + counts + places > length)
            return false;
        uint64_t count = load_bytes(attribute + at + 1, counts, false);
        place += load_bytes(attribute + at + 1 + counts, places, true);
        stream->runs[stream->count++] = (struct run){first, count, place};
        if (places == 0) /* a hole */
            stream->count--;
        if (!checked_add(first, count, &first))
            return false;
        at += 1 + counts + places;
    }
    return true;
}

/* From within one run, which records and index blocks are. */
static bool read_stream(const struct ntfs *ntfs, const struct stream *stream, uint64_t offset,
                        void *buffer, size_t length)
{
    uint64_t cluster = offset / ntfs->cluster_size, inside = offset % ntfs->cluster_size, place;
    for (size_t i = 0; i < stream->count; i++) {
        const struct run *run = &stream->runs[i];
        if (cluster < run->first || cluster - run->first >= run->count)
            continue;
        return checked_add(run->place, cluster - run->first, &place) &&
               checked_mul(place, ntfs->cluster_size, &place) &&
               checked_add(place, inside, &place) &&
               range_is_inside(place, length, ntfs->volume->size_bytes) &&
               block_source_read(ntfs->volume, place, buffer, length, NULL) == 0;
    }
    return false;
}

static bool read_record(const struct ntfs *ntfs, uint64_t number, uint8_t record[MAX_RECORD])
{
    uint64_t offset;
    return checked_mul(number, ntfs->record_size, &offset) &&
           read_stream(ntfs, &ntfs->mft, offset, record, (size_t)ntfs->record_size) &&
           apply_fixups(record, (size_t)ntfs->record_size, "FILE");
}

/* --- attributes that have no room in their file's own record --- */

/* The list of all attributes: what it holds of it, at most MAX_LIST bytes. */
static size_t read_list(const struct ntfs *ntfs, const uint8_t *record, uint8_t list[MAX_LIST])
{
    struct stream stream;
    size_t length = 0;
    const uint8_t *attribute = find_attribute(record, (size_t)ntfs->record_size, ATTRIBUTE_LIST);
    const uint8_t *value = attribute ? resident_value(attribute, &length) : NULL;
    if (value && length <= MAX_LIST) {
        memcpy(list, value, length);
        return length;
    }
    if (!attribute || !read_runs(attribute, &stream))
        return 0;
    length = (size_t)min_u64(load_le64(attribute + 0x30), MAX_LIST);
    return read_stream(ntfs, &stream, 0, list, length) ? length : 0;
}

/*
 * An attribute of the file whose own record `record` is: from there, or from the record in which it
 * begins, which replaces it. NULL: it has none.
 */
static const uint8_t *locate(const struct ntfs *ntfs, uint8_t record[MAX_RECORD], uint32_t type)
{
    uint8_t list[MAX_LIST];
    size_t size = (size_t)ntfs->record_size, at = 0;
    const uint8_t *found = find_attribute(record, size, type);
    size_t length = found ? 0 : read_list(ntfs, record, list);
    while (length - at >= 0x1a && !found) {
        const uint8_t *entry = list + at;
        size_t step = load_le16(entry + 4);
        if (step < 0x1a || step > length - at)
            return NULL;
        if (load_le32(entry) == type && load_le64(entry + 8) == 0)
            return read_record(ntfs, load_le64(entry + 16) & RECORD_NUMBER, record)
                       ? find_attribute(record, size, type)
                       : NULL;
        at += step;
    }
    return found;
}

/* --- the volume --- */

static bool read_geometry(struct ntfs *ntfs, uint64_t *mft_offset)
{
    uint8_t boot[512];
    if (ntfs->volume->size_bytes < sizeof(boot) ||
        block_source_read(ntfs->volume, 0, boot, sizeof(boot), NULL) != 0 ||
        memcmp(boot + 3, "NTFS    ", 8) != 0)
        return false;
    uint64_t sector = load_le16(boot + 0x0b);
    unsigned per_cluster = boot[0x0d], per_record = boot[0x40];
    if (per_cluster > 0x80 && per_cluster < 0xf0)
        return false;
    ntfs->cluster_size = per_cluster > 0x80 ? sector << (256 - per_cluster) : sector * per_cluster;
    ntfs->record_size = per_record >= 0xf4 && per_record <= 0xf7 ? UINT64_C(1) << (256 - per_record)
                        : per_record < 0x80                      ? per_record * ntfs->cluster_size
                                                                 : 0;
    return is_power_of_two(ntfs->cluster_size) && ntfs->cluster_size <= MAX_CLUSTER &&
           is_power_of_two(ntfs->record_size) && ntfs->record_size >= FIXUP_SECTOR &&
           ntfs->record_size <= MAX_RECORD &&
           checked_mul(load_le64(boot + 0x30), ntfs->cluster_size, mft_offset);
}

static bool open_volume(struct ntfs *ntfs)
{
    uint8_t record[MAX_RECORD];
    uint64_t offset;
    if (!read_geometry(ntfs, &offset) ||
        !range_is_inside(offset, ntfs->record_size, ntfs->volume->size_bytes) ||
        block_source_read(ntfs->volume, offset, record, (size_t)ntfs->record_size, NULL) != 0 ||
        !apply_fixups(record, (size_t)ntfs->record_size, "FILE"))
        return false;
    const uint8_t *data = find_attribute(record, (size_t)ntfs->record_size, ATTRIBUTE_DATA);
    return data && read_runs(data, &ntfs->mft);
}

/* --- the root folder --- */

static bool is_hiberfil(const uint8_t *key, size_t length)
{
    static const char name[] = "hiberfil.sys";
    if (length < 0x42 + 2 * strlen(name) || key[0x40] != strlen(name))
        return false;
    for (size_t i = 0; i < strlen(name); i++) {
        uint16_t letter = load_le16(key + 0x42 + 2 * i);
        if (letter > 0x7f || tolower(letter) != name[i])
            return false;
    }
    return true;
}

/* From an index header on. The record's number; 0: it is not there. */
static uint64_t find_entry(const uint8_t *header, size_t size)
{
    size_t at = size >= 16 ? load_le32(header) : size;
    while (at < size && size - at >= 16) {
        const uint8_t *entry = header + at;
        size_t length = load_le16(entry + 8), key = load_le16(entry + 10);
        if (length < 16 || length > size - at || load_le16(entry + 12) & ENTRY_IS_LAST)
            return 0;
        if (key <= length - 16 && is_hiberfil(entry + 16, key))
            return load_le64(entry) & RECORD_NUMBER;
        at += length;
    }
    return 0;
}

static uint64_t find_in_blocks(const struct ntfs *ntfs, const uint8_t *allocation, size_t size)
{
    static const char magic[4] = "INDX";
    struct stream stream;
    uint64_t found = 0, offset = 0;
    uint8_t *block = memory_new(1, size);
    bool is_good = read_runs(allocation, &stream);
    for (int i = 0; is_good && found == 0 && i < MAX_INDEX_BLOCKS; i++, offset += size) {
        is_good = read_stream(ntfs, &stream, offset, block, size);
        if (is_good && apply_fixups(block, size, magic)) /* those not in use have no magic */
            found = find_entry(block + 0x18, size - 0x18);
    }
    free(block);
    return found;
}

/* The small part of the index, and how large the blocks of the large part are. */
static uint64_t find_in_root(const struct ntfs *ntfs, uint32_t *block_size)
{
    uint8_t record[MAX_RECORD];
    size_t length = 0;
    const uint8_t *root =
        read_record(ntfs, ROOT_RECORD, record) ? locate(ntfs, record, ATTRIBUTE_INDEX_ROOT) : NULL;
    const uint8_t *value = root ? resident_value(root, &length) : NULL;
    *block_size = 0;
    if (!value || length < 32)
        return 0;
    *block_size = load_le32(value + 8);
    return find_entry(value + 16, length - 16);
}

static uint64_t find_hiberfil(const struct ntfs *ntfs)
{
    uint8_t record[MAX_RECORD];
    uint32_t block_size;
    uint64_t found = find_in_root(ntfs, &block_size);
    if (found || !is_power_of_two(block_size) || block_size < FIXUP_SECTOR ||
        block_size > MAX_INDEX_BLOCK || !read_record(ntfs, ROOT_RECORD, record))
        return found;
    const uint8_t *blocks = locate(ntfs, record, ATTRIBUTE_INDEX_ALLOCATION);
    return blocks ? find_in_blocks(ntfs, blocks, block_size) : 0;
}

bool findings_is_ntfs_hibernated(const struct block_source *volume)
{
    struct ntfs ntfs = {.volume = volume};
    uint8_t record[MAX_RECORD], start[4] = {0};
    struct stream stream;
    uint64_t number = open_volume(&ntfs) ? find_hiberfil(&ntfs) : 0;
    const uint8_t *data =
        number && read_record(&ntfs, number, record) ? locate(&ntfs, record, ATTRIBUTE_DATA) : NULL;
    size_t length = 0;
    const uint8_t *value = data ? resident_value(data, &length) : NULL;
    if (value && length >= sizeof(start))
        memcpy(start, value, sizeof(start));
    else if (!data || !read_runs(data, &stream) ||
             !read_stream(&ntfs, &stream, 0, start, sizeof(start)))
        return false;
    return memcmp(start, "hibr", 4) == 0 || memcmp(start, "HIBR", 4) == 0;
}
