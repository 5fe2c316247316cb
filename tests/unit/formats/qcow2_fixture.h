/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For the unit tests of qcow2: small images of any geometry built by hand, and a checker of
 * refcounts that shares no code with the driver. Layouts are those of the specification.
 */
#ifndef TESTS_UNIT_FORMATS_QCOW2_FIXTURE_H
#define TESTS_UNIT_FORMATS_QCOW2_FIXTURE_H

#include "base/bytes.h"
#include "base/checked.h"
#include "formats/image.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct folder {
    char path[64];
    char file[128]; /* a name in it */
    struct error err;
};

static inline int folder_set_up(void **state)
{
    struct folder *folder = calloc(1, sizeof(*folder));

    /* In memory where possible: finishing an image syncs. */
    snprintf(folder->path, sizeof(folder->path), "%s/rehost-qcow2-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(folder->path));
    snprintf(folder->file, sizeof(folder->file), "%s/image", folder->path);
    *state = folder;
    return 0;
}

static inline int folder_tear_down(void **state)
{
    struct folder *folder = *state;

    unlink(folder->file);
    assert_int_equal(rmdir(folder->path), 0);
    free(folder);
    return 0;
}

#define assert_ok(folder, call)                                                                    \
    do {                                                                                           \
        if ((call) != 0)                                                                           \
            fail_msg("%s", (folder)->err.text);                                                    \
    } while (0)

static inline struct image *folder_open(struct folder *folder, bool is_writable)
{
    struct image_open_options options = {.format = "qcow2", .is_writable = is_writable};

    folder->err = (struct error){0};
    return image_open(folder->file, &options, &folder->err);
}

/* cluster 0 header, 1 refcount table, 2 refcount block, 3 … L1 table; nothing allocated. */
struct made {
    uint8_t *bytes;
    size_t length;
    size_t cluster_size;
};

static inline void made_store(const struct made *made, const char *path)
{
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, made->bytes, made->length), made->length);
    close(fd);
}

/* `count` of a cluster in the first refcount block, for widths of 8 bits and more. */
static inline void made_set_refcount(const struct made *made, size_t cluster, unsigned order,
                                     uint64_t count)
{
    uint8_t *block = made->bytes + 2 * made->cluster_size;

    for (size_t i = 0; i < (size_t)1 << order; i++) { /* bit by bit, whatever the width */
        size_t width = (size_t)1 << order;
        size_t bit =
            width < 8 ? cluster * width + i : cluster * width + (width / 8 - 1 - i / 8) * 8 + i % 8;

        if (count >> i & 1)
            block[bit / 8] |= (uint8_t)(1u << bit % 8);
    }
}

static inline struct made made_new(unsigned cluster_bits, unsigned refcount_order, uint64_t size)
{
    struct made made = {.cluster_size = (size_t)1 << cluster_bits};
    uint64_t l1_entries = div_round_up(size, (uint64_t)1 << (2 * cluster_bits - 3));
    size_t clusters = 3 + (size_t)div_round_up(l1_entries * 8, made.cluster_size);

    made.length = clusters * made.cluster_size;
    made.bytes = calloc(1, made.length);
    store_be32(made.bytes, 0x514649fb);
    store_be32(made.bytes + 4, 3);
    store_be32(made.bytes + 20, cluster_bits);
    store_be64(made.bytes + 24, size);
    store_be32(made.bytes + 36, (uint32_t)l1_entries);
    store_be64(made.bytes + 40, 3 * made.cluster_size);
    store_be64(made.bytes + 48, made.cluster_size);
    store_be32(made.bytes + 56, 1);
    store_be32(made.bytes + 96, refcount_order);
    store_be32(made.bytes + 100, 104);
    store_be64(made.bytes + made.cluster_size, 2 * made.cluster_size);
    for (size_t i = 0; i < clusters; i++)
        made_set_refcount(&made, i, refcount_order, 1);
    return made;
}

/* One more cluster at the end, counted once; its offset. */
static inline uint64_t made_add_cluster(struct made *made, unsigned refcount_order)
{
    size_t at = made->length;

    made->bytes = realloc(made->bytes, at + made->cluster_size);
    memset(made->bytes + at, 0, made->cluster_size);
    made->length += made->cluster_size;
    made_set_refcount(made, at / made->cluster_size, refcount_order, 1);
    return at;
}

/* --- the checker ---------------------------------------------------------------------------- */

struct checker {
    uint8_t *bytes;
    size_t length;
    size_t cluster_size;
    unsigned cluster_bits;
    uint32_t *references; /* per cluster of the file */
    size_t clusters;
};

static inline void checker_count(struct checker *checker, uint64_t offset, uint64_t length)
{
    for (uint64_t at = offset / checker->cluster_size;
         at <= (offset + length - 1) / checker->cluster_size; at++) {
        assert_true(at < checker->clusters);
        checker->references[at]++;
    }
}

static inline void checker_count_l2(struct checker *checker, uint64_t table)
{
    for (size_t i = 0; i < checker->cluster_size / 8; i++) {
        uint64_t entry = load_be64(checker->bytes + table + i * 8);
        unsigned x = 62 - (checker->cluster_bits - 8);
        uint64_t offset = entry & 0x00fffffffffffe00ull;

        if (entry >> 62 & 1) {
            uint64_t from = entry & (((uint64_t)1 << x) - 1);
            uint64_t sectors = (entry & (((uint64_t)1 << 62) - 1)) >> x;

            checker_count(checker, from, (from / 512 + sectors + 1) * 512 - from);
        } else if (offset) {
            checker_count(checker, offset, checker->cluster_size);
        }
    }
}

static inline uint64_t checker_refcount(const struct checker *checker, uint64_t cluster)
{
    unsigned order = load_be32(checker->bytes + 96), width = 1u << order;
    uint64_t per_block = checker->cluster_size * 8 / width, count = 0;
    const uint8_t *table = checker->bytes + load_be64(checker->bytes + 48);
    uint64_t entries = load_be32(checker->bytes + 56) * (uint64_t)checker->cluster_size / 8;
    uint64_t block, index = cluster % per_block;

    if (cluster / per_block >= entries)
        return 0;
    block = load_be64(table + cluster / per_block * 8);
    if (block == 0)
        return 0;
    if (width < 8)
        return checker->bytes[block + index * width / 8] >> (index * width % 8) &
               ((1u << width) - 1);
    for (unsigned i = 0; i < width / 8; i++)
        count = count << 8 | checker->bytes[block + index * (width / 8) + i];
    return count;
}

static inline void checker_count_tables(struct checker *checker)
{
    const uint8_t *bytes = checker->bytes;
    uint64_t l1 = load_be64(bytes + 40), table = load_be64(bytes + 48);
    uint64_t table_bytes = load_be32(bytes + 56) * (uint64_t)checker->cluster_size;

    checker_count(checker, 0, 1);
    if (load_be32(bytes + 36))
        checker_count(checker, l1, load_be32(bytes + 36) * (uint64_t)8);
    checker_count(checker, table, table_bytes);
    for (uint64_t i = 0; i < table_bytes / 8; i++) {
        if (load_be64(bytes + table + i * 8))
            checker_count(checker, load_be64(bytes + table + i * 8), checker->cluster_size);
    }
    for (uint64_t i = 0; i < load_be32(bytes + 36); i++) {
        uint64_t l2 = load_be64(bytes + l1 + i * 8) & 0x00fffffffffffe00ull;

        if (l2) {
            checker_count(checker, l2, checker->cluster_size);
            checker_count_l2(checker, l2);
        }
    }
}

/* Every cluster of a version 3 image without snapshots is counted as often as it is referred to. */
static inline void check_refcounts(const char *path)
{
    struct checker checker = {0};
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &status), 0);
    checker.length = (size_t)status.st_size;
    checker.bytes = calloc(1, checker.length + ((size_t)2 << 20));
    assert_int_equal(pread(fd, checker.bytes, checker.length, 0), checker.length);
    close(fd);
    checker.cluster_bits = load_be32(checker.bytes + 20);
    checker.cluster_size = (size_t)1 << checker.cluster_bits;
    checker.clusters = div_round_up(checker.length, checker.cluster_size);
    checker.references = calloc(checker.clusters, sizeof(*checker.references));
    checker_count_tables(&checker);
    for (size_t i = 0; i < checker.clusters; i++) {
        if (checker_refcount(&checker, i) != checker.references[i])
            fail_msg("cluster %zu: refcount %llu, references %u", i,
                     (unsigned long long)checker_refcount(&checker, i), checker.references[i]);
    }
    free(checker.references);
    free(checker.bytes);
}

#endif
