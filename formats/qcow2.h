/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The inside of the qcow2 driver, shared by formats/qcow2*.c only. Field names and layouts are
 * those of QEMU's docs/interop/qcow2 specification.
 *
 *     guest offset ─► L1[…] ─► L2 table (one cluster) ─► entry ─► host cluster
 *
 * The L1 table is in memory, L2 tables come through a cache of slices (at most 4 KiB each). One
 * machinery writes: to an *existing* image at once and in an order that a kill at any moment
 * survives; to a *new* one with tables written back late, refcounts computed at the end and the
 * header last.
 */
#ifndef FORMATS_QCOW2_H
#define FORMATS_QCOW2_H

#include "base/error.h"
#include "formats/direct.h"
#include "formats/image.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QCOW2_MAGIC 0x514649fbu    /* "QFI\xfb" */
#define QCOW2_VERSION_UNFINISHED 0 /* ours: what a new image says until it is finished */
#define QCOW2_HEADER_SIZE_V2 72
#define QCOW2_HEADER_SIZE_V3 104
#define QCOW2_HEADER_SIZE_OURS 112 /* with compression_type and its padding */

/* Limits; those of sizes are QEMU's. */
#define QCOW2_MIN_CLUSTER_BITS 9
#define QCOW2_MAX_CLUSTER_BITS 21
#define QCOW2_MAX_L1_BYTES (32u << 20)
#define QCOW2_MAX_REFCOUNT_TABLE_BYTES (8u << 20)
#define QCOW2_MAX_SNAPSHOTS 65536u
#define QCOW2_MAX_BACKING_NAME 1023
#define QCOW2_MAX_BACKING_FORMAT 63
#define QCOW2_MAX_FILE_SIZE ((uint64_t)1 << 56)

#define QCOW2_INCOMPATIBLE_DIRTY ((uint64_t)1 << 0)
#define QCOW2_INCOMPATIBLE_CORRUPT ((uint64_t)1 << 1)
#define QCOW2_INCOMPATIBLE_DATA_FILE ((uint64_t)1 << 2)
#define QCOW2_INCOMPATIBLE_COMPRESSION ((uint64_t)1 << 3)
#define QCOW2_INCOMPATIBLE_EXTENDED_L2 ((uint64_t)1 << 4)

#define QCOW2_EXTENSION_END 0u
#define QCOW2_EXTENSION_BACKING_FORMAT 0xe2792acau
#define QCOW2_EXTENSION_FEATURE_NAMES 0x6803f857u

#define QCOW2_COMPRESSION_ZLIB 0
#define QCOW2_COMPRESSION_ZSTD 1

#define QCOW2_ENTRY_COPIED ((uint64_t)1 << 63)     /* refcount is exactly one */
#define QCOW2_ENTRY_COMPRESSED ((uint64_t)1 << 62) /* L2 only */
#define QCOW2_ENTRY_ZERO ((uint64_t)1 << 0)        /* L2 only */
#define QCOW2_ENTRY_OFFSET 0x00fffffffffffe00ull
#define QCOW2_RESERVED_L1 ((uint64_t)0x7f << 56 | 0x1ff)
#define QCOW2_RESERVED_L2 ((uint64_t)0x3f << 56 | 0x1fe)

#define QCOW2_SECTOR 512u

/* Cache: slices of L2 tables. 256 slices of 4 KiB map 8 GiB at 64 KiB clusters. */
#define QCOW2_SLICE_BYTES 4096u
#define QCOW2_SLICE_COUNT 256u

/* Clusters of images that we create. */
#define QCOW2_NEW_CLUSTER_BITS 16
#define QCOW2_NEW_REFCOUNT_ORDER 4

struct qcow2_header {
    uint32_t version;
    uint64_t backing_offset;
    uint32_t backing_length;
    uint32_t cluster_bits;
    uint64_t size_bytes;
    uint32_t crypt_method;
    uint32_t l1_size; /* entries */
    uint64_t l1_table_offset;
    uint64_t refcount_table_offset;
    uint32_t refcount_table_clusters;
    uint32_t snapshot_count;
    uint64_t snapshots_offset;
    uint64_t incompatible_features;
    uint64_t compatible_features;
    uint64_t autoclear_features;
    uint32_t refcount_order;
    uint32_t header_length;
    uint8_t compression_type;
    /* From the extensions and the rest of the first cluster; "" when absent. */
    char backing_file[QCOW2_MAX_BACKING_NAME + 1];
    char backing_format[QCOW2_MAX_BACKING_FORMAT + 1];
};

enum qcow2_kind {
    QCOW2_UNALLOCATED, /* shows the backing file, or zeroes */
    QCOW2_ZERO,
    QCOW2_DATA,
    QCOW2_COMPRESSED,
};

/* Guest clusters of one kind that lie one after the other, on the guest's side and in the file. */
struct qcow2_run {
    enum qcow2_kind kind;
    bool is_owned;        /* data: nothing else refers to it, it may be overwritten */
    uint64_t host_offset; /* of the byte asked for (data), or of the cluster; 0: none */
    uint32_t host_length; /* compressed: bytes in the file, to the end of the last sector */
    uint64_t entry;       /* of the first cluster */
    uint64_t length;      /* bytes of the guest from the byte asked for */
};

struct qcow2_slice {
    uint64_t number; /* which part of the guest it maps; valid when table is not NULL */
    bool is_dirty;
    uint64_t *table; /* big endian, as in the file */
};

struct qcow2_decoder; /* qcow2_compressed.c */

/* Of an existing image opened writable: qcow2_refcount.c. */
struct qcow2_refcounts {
    uint64_t *table; /* offsets of refcount blocks */
    uint64_t table_entries;
    uint8_t *block; /* one block, written through */
    uint64_t block_index;
    bool has_block;
};

/* Of a new image: qcow2_create.c. */
struct qcow2_creator {
    /*
     * Refcounts other than 'allocated means one', by refcount block (32768 clusters, 2 GiB). NULL
     * where there are none: an image without compressed clusters needs no memory for them.
     */
    uint16_t **pages;
    size_t page_count;
    uint64_t pack_offset, pack_end; /* where the next compressed frame goes */
    _Atomic bool has_failed;        /* finish refuses from then on */
};

struct qcow2 {
    struct image image;
    int fd;
    struct qcow2_header header;
    uint64_t cluster_size;
    uint32_t slice_entries;
    uint32_t slices_per_table;
    struct image *backing;
    char *shown_backing_file; /* escaped, for image_get_info; NULL: none */
    char *shown_backing_format;

    /*
     * Held for whatever gives a cluster another place. What overwrites clusters that are owned does
     * without: nobody moves those. Taken before `lock`.
     */
    pthread_mutex_t write_lock;
    _Atomic bool is_prepared; /* autoclear bits are cleared */
    struct direct_file direct;

    /* Held for moments: the tables, the cache, allocation. */
    pthread_mutex_t lock;
    uint64_t *l1; /* host byte order */
    uint32_t l1_count;
    struct qcow2_slice slices[QCOW2_SLICE_COUNT];
    _Atomic uint64_t file_end; /* readers: the file's size; writers: where clusters are added */
    struct qcow2_refcounts refcounts;
    struct qcow2_creator *creator; /* NULL unless the image is new and not finished */

    pthread_mutex_t decoder_lock;
    struct qcow2_decoder *idle_decoders;
};

static inline struct qcow2 *qcow2_of(const struct image *image)
{
    return (struct qcow2 *)((char *)(uintptr_t)image - offsetof(struct qcow2, image));
}

static inline struct qcow2 *qcow2_of_source(const struct block_source *source)
{
    return (struct qcow2 *)((char *)(uintptr_t)source - offsetof(struct qcow2, image.source));
}

/* qcow2.c. The first reads and checks the header, and tells the file's size. */
int qcow2_load_header(int fd, struct qcow2_header *header, uint64_t *file_size, struct error *err);
struct qcow2 *qcow2_new(int fd, const char *path, struct error *err); /* takes the fd */
void qcow2_free(struct qcow2 *qcow2);
void qcow2_set_geometry(struct qcow2 *qcow2); /* everything that follows from the header */
extern const struct block_source_ops qcow2_source_ops;

/* qcow2_header.c: looks only at the buffer. `head` is the first cluster, or what there is of it. */
int qcow2_header_decode(struct qcow2_header *header, const uint8_t *head, size_t length,
                        struct error *err);
int qcow2_header_validate(const struct qcow2_header *header, uint64_t file_size, struct error *err);
/* Into a zeroed cluster. */
void qcow2_header_encode(const struct qcow2_header *header, uint8_t *cluster);
uint64_t qcow2_l1_entries_needed(uint64_t size_bytes, uint32_t cluster_bits);

/* qcow2_table.c. Callers of the _locked ones hold `lock`. */
int qcow2_l1_load(struct qcow2 *qcow2, struct error *err);
int qcow2_find_run(struct qcow2 *qcow2, uint64_t offset, uint64_t length, struct qcow2_run *run,
                   struct error *err);
int qcow2_find_run_locked(struct qcow2 *qcow2, uint64_t offset, uint64_t length,
                          struct qcow2_run *run, struct error *err);
/* Sets `count` entries from a guest cluster on: `entry`, `entry + step`, … */
int qcow2_set_entries_locked(struct qcow2 *qcow2, uint64_t cluster, uint64_t count, uint64_t entry,
                             uint64_t step, struct error *err);
int qcow2_write_back_locked(struct qcow2 *qcow2, struct error *err);

/* qcow2_read.c */
int qcow2_read(const struct block_source *source, uint64_t offset, void *buffer, size_t length,
               struct error *err);
int qcow2_map_own(const struct image *image, struct extents *own, struct error *err);

/* qcow2_compressed.c: `length` bytes from `skip` on of the cluster that `run` describes. */
int qcow2_read_compressed(struct qcow2 *qcow2, const struct qcow2_run *run, size_t skip,
                          void *buffer, size_t length, struct error *err);
void qcow2_decoders_free(struct qcow2 *qcow2);

/* qcow2_write.c */
int qcow2_write(struct image *image, uint64_t offset, const void *data, size_t length,
                struct error *err);
int qcow2_write_zeroes(struct image *image, uint64_t offset, uint64_t length, struct error *err);
int qcow2_locate(struct image *image, uint64_t offset, uint64_t length, bool is_write,
                 struct image_place *place, struct error *err);
/* Remembers a failure of a new image; returns `result`. */
int qcow2_note_result(struct qcow2 *qcow2, int result);
/* Clusters one after the other at the end of the file, each with a refcount of one. */
int qcow2_allocate_locked(struct qcow2 *qcow2, uint64_t count, uint64_t *offset, struct error *err);
/* Gives up the references that the run's clusters hold. */
int qcow2_release_locked(struct qcow2 *qcow2, const struct qcow2_run *run, struct error *err);

/* qcow2_refcount.c */
int qcow2_refcounts_open(struct qcow2 *qcow2, struct error *err);
void qcow2_refcounts_close(struct qcow2 *qcow2);
int qcow2_refcounts_allocate(struct qcow2 *qcow2, uint64_t count, uint64_t *offset,
                             struct error *err);
/* Sets one count of a refcount block in memory; `order` is the header's refcount_order. */
void qcow2_refcount_set(uint8_t *block, uint64_t index, unsigned order, uint64_t count);
/* Adds delta (1 or -1) to the refcounts of `count` clusters. */
int qcow2_refcounts_add(struct qcow2 *qcow2, uint64_t first, uint64_t count, int delta,
                        struct error *err);

/* qcow2_repair.c */
int qcow2_repair(int fd, const char *path, struct error *err);

/* qcow2_create.c */
struct image *qcow2_create(int fd, const char *path, const struct image_create_options *options,
                           struct error *err);
int qcow2_write_frame(struct image *image, uint64_t offset, const void *frame, size_t length,
                      struct error *err);
int qcow2_finish(struct image *image, struct error *err);
void qcow2_creator_free(struct qcow2_creator *creator);
int qcow2_creator_allocate(struct qcow2 *qcow2, uint64_t count, uint64_t *offset,
                           struct error *err);
int qcow2_creator_add(struct qcow2 *qcow2, uint64_t first, uint64_t count, int delta,
                      struct error *err);

#endif
