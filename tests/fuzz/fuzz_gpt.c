/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The input is a small disk with a GPT. Checksums are made right first where the last byte of the
 * input is odd, or nothing behind them would ever be reached.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "disk/partition.h"

#include <stdlib.h>
#include <zlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void seal(uint8_t *disk, size_t size, uint32_t sector, uint64_t lba)
{
    uint64_t offset = lba * sector, array, length;

    if (!range_is_inside(offset, sector, size) || memcmp(disk + offset, "EFI PART", 8) != 0)
        return;
    uint8_t *header = disk + offset;
    uint32_t header_size = load_le32(header + 12);
    length = (uint64_t)load_le32(header + 80) * load_le32(header + 84);
    if (checked_mul(load_le64(header + 72), sector, &array) && range_is_inside(array, length, size))
        store_le32(header + 88, (uint32_t)crc32(0, disk + array, (uInt)length));
    if (header_size < 92 || header_size > sector)
        return;
    store_le32(header + 16, 0);
    store_le32(header + 16, (uint32_t)crc32(0, header, header_size));
}

static void check(const struct partition_table *table, uint64_t size)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct partition *partition = &table->partitions[i];

        if (partition->length == 0 || partition->number == 0 ||
            !range_is_inside(partition->offset, partition->length, size) ||
            memchr(partition->name, 0, sizeof(partition->name)) == NULL)
            abort();
    }
    for (size_t i = 0; i < table->structures.count; i++) {
        const struct extent *extent = &table->structures.items[i];

        if (!range_is_inside(extent->offset, extent->length, size))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    if (!copy)
        return 0;
    memcpy(copy, data, size);
    for (uint32_t sector = 512; sector <= 4096; sector *= 8) {
        struct block_memory disk;
        struct partition_table table;

        if (size >= sector && copy[size - 1] % 2 != 0) {
            seal(copy, size, sector, 1);
            seal(copy, size, sector, size / sector - 1);
        }
        block_memory_init(&disk, copy, size);
        disk.source.sector_size = sector == 512 ? 0 : sector;
        if (partition_table_read(&disk.source, &table, NULL, NULL) < 0)
            abort(); /* memory can always be read */
        check(&table, size);
        partition_table_fini(&table);
    }
    free(copy);
    return 0;
}
