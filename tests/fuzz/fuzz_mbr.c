/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The input is a small disk with an MBR. Partitions must lie inside it, in order, without a length
 * of zero; structures must lie inside it too.
 */
#include "base/checked.h"
#include "disk/partition.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct partition_table *table, uint64_t size)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct partition *partition = &table->partitions[i];

        if (partition->length == 0 || partition->number == 0 ||
            !range_is_inside(partition->offset, partition->length, size) ||
            (i > 0 && partition->offset < partition[-1].offset))
            abort();
    }
    for (size_t i = 0; i < table->structures.count; i++) {
        const struct extent *extent = &table->structures.items[i];

        if (!range_is_inside(extent->offset, extent->length, size))
            abort();
    }
    if (table->kind != PARTITION_TABLE_NONE && !extents_contain(&table->structures, 0, 512))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t sector_sizes[] = {0, 512, 4096};

    for (size_t i = 0; i < sizeof(sector_sizes) / sizeof(*sector_sizes); i++) {
        struct block_memory disk;
        struct partition_table table;

        block_memory_init(&disk, data, size);
        disk.source.sector_size = sector_sizes[i];
        if (partition_table_read(&disk.source, &table, NULL, NULL) < 0)
            abort(); /* memory can always be read */
        check(&table, size);
        partition_table_fini(&table);
    }
    return 0;
}
