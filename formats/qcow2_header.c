/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The qcow2 header (QEMU's docs/interop/qcow2, 'Header' and 'Header extensions'): decode, validate
 * and encode. Nothing here reads a file; what is refused is refused by its name.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "formats/qcow2.h"

#include <errno.h>
#include <stdio.h>

#define FEATURE_NAME_ENTRY 48
#define FEATURE_NAME_SIZE 46

#define COMPRESSION_TYPE_OFFSET 104

/* Bits that this driver reads, with or without. */
#define KNOWN_INCOMPATIBLE                                                                         \
    (QCOW2_INCOMPATIBLE_DIRTY | QCOW2_INCOMPATIBLE_CORRUPT | QCOW2_INCOMPATIBLE_DATA_FILE |        \
     QCOW2_INCOMPATIBLE_COMPRESSION | QCOW2_INCOMPATIBLE_EXTENDED_L2)

static void decode_fixed(struct qcow2_header *header, const uint8_t *head)
{
    header->version = load_be32(head + 4);
    header->backing_offset = load_be64(head + 8);
    header->backing_length = load_be32(head + 16);
    header->cluster_bits = load_be32(head + 20);
    header->size_bytes = load_be64(head + 24);
    header->crypt_method = load_be32(head + 32);
    header->l1_size = load_be32(head + 36);
    header->l1_table_offset = load_be64(head + 40);
    header->refcount_table_offset = load_be64(head + 48);
    header->refcount_table_clusters = load_be32(head + 56);
    header->snapshot_count = load_be32(head + 60);
    header->snapshots_offset = load_be64(head + 64);
    header->refcount_order = 4;
    header->header_length = QCOW2_HEADER_SIZE_V2;
}

static void decode_version_3(struct qcow2_header *header, const uint8_t *head, size_t length)
{
    header->incompatible_features = load_be64(head + 72);
    header->compatible_features = load_be64(head + 80);
    header->autoclear_features = load_be64(head + 88);
    header->refcount_order = load_be32(head + 96);
    header->header_length = load_be32(head + 100);
    if (header->header_length > COMPRESSION_TYPE_OFFSET && length > COMPRESSION_TYPE_OFFSET)
        header->compression_type = head[COMPRESSION_TYPE_OFFSET];
}

static int check_version(const struct qcow2_header *header, struct error *err)
{
    if (header->version == QCOW2_VERSION_UNFINISHED)
        return error_set(err, 0, "the qcow2 image was never finished: its writer was stopped");
    if (header->version != 2 && header->version != 3)
        return error_set(err, ENOTSUP, "qcow2 version %u is not supported", header->version);
    return 0;
}

static int check_geometry(const struct qcow2_header *header, struct error *err)
{
    if (header->cluster_bits < QCOW2_MIN_CLUSTER_BITS ||
        header->cluster_bits > QCOW2_MAX_CLUSTER_BITS)
        return error_set(err, 0, "qcow2 header: cluster_bits is %u, not %d to %d",
                         header->cluster_bits, QCOW2_MIN_CLUSTER_BITS, QCOW2_MAX_CLUSTER_BITS);
    if (header->header_length > (uint64_t)1 << header->cluster_bits ||
        header->header_length % 8 != 0 ||
        (header->version == 3 && header->header_length < QCOW2_HEADER_SIZE_V3))
        return error_set(err, 0, "qcow2 header: header_length is %u", header->header_length);
    return 0;
}

/* The name of an incompatible feature bit, from the image's own table; "" when it has none. */
static void find_feature_name(const uint8_t *table, size_t length, unsigned bit,
                              char name[FEATURE_NAME_SIZE + 1])
{
    for (; length >= FEATURE_NAME_ENTRY;
         table += FEATURE_NAME_ENTRY, length -= FEATURE_NAME_ENTRY) {
        if (table[0] == 0 && table[1] == bit) {
            memcpy(name, table + 2, FEATURE_NAME_SIZE);
            name[FEATURE_NAME_SIZE] = '\0';
            return;
        }
    }
}

static int refuse_unknown_bits(uint64_t unknown, const uint8_t *names, size_t names_length,
                               struct error *err)
{
    char list[512] = "";
    size_t used = 0;

    for (unsigned bit = 0; bit < 64 && used < sizeof(list) - 80; bit++) {
        char name[FEATURE_NAME_SIZE + 1] = "";

        if (!(unknown >> bit & 1))
            continue;
        find_feature_name(names, names_length, bit, name);
        used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%u%s%s%s", used ? ", " : "",
                                 bit, *name ? " (" : "", name, *name ? ")" : "");
    }
    return error_set(err, ENOTSUP, "the qcow2 image has unknown incompatible feature bits: %s",
                     list);
}

static int decode_backing_format(struct qcow2_header *header, const uint8_t *data, uint32_t length,
                                 struct error *err)
{
    if (length > QCOW2_MAX_BACKING_FORMAT)
        return error_set(err, 0, "qcow2 header: a backing format name of %u bytes", length);
    memcpy(header->backing_format, data, length);
    header->backing_format[length] = '\0';
    return 0;
}

/* Extensions are [header_length, end); `end` is where the backing file's name starts, if any. */
static int decode_extensions(struct qcow2_header *header, const uint8_t *head, size_t end,
                             struct error *err)
{
    const uint8_t *names = NULL;
    size_t names_length = 0, at = header->header_length;
    uint64_t unknown = header->incompatible_features & ~KNOWN_INCOMPATIBLE;

    while (at + 8 <= end) {
        uint32_t type = load_be32(head + at), length = load_be32(head + at + 4);

        if (type == QCOW2_EXTENSION_END)
            break;
        at += 8;
        if (length > end - at)
            return error_set(err, 0, "qcow2 header: extension 0x%x of %u bytes passes its end",
                             type, length);
        if (type == QCOW2_EXTENSION_BACKING_FORMAT &&
            decode_backing_format(header, head + at, length, err) < 0)
            return -1;
        if (type == QCOW2_EXTENSION_FEATURE_NAMES) {
            names = head + at;
            names_length = length;
        }
        at += (size_t)align_up(length, 8);
    }
    return unknown ? refuse_unknown_bits(unknown, names, names_length, err) : 0;
}

static int decode_backing_file(struct qcow2_header *header, const uint8_t *head, size_t length,
                               struct error *err)
{
    if (header->backing_offset == 0)
        return 0;
    if (header->backing_length > QCOW2_MAX_BACKING_NAME)
        return error_set(err, 0, "qcow2 header: backing_file_size is %u", header->backing_length);
    if (header->backing_offset < header->header_length ||
        !range_is_inside(header->backing_offset, header->backing_length, length))
        return error_set(err, 0, "qcow2 header: backing_file_offset is 0x%llx",
                         (unsigned long long)header->backing_offset);
    memcpy(header->backing_file, head + header->backing_offset, header->backing_length);
    header->backing_file[header->backing_length] = '\0';
    if (strlen(header->backing_file) != header->backing_length)
        return error_set(err, 0, "qcow2 header: a NUL in the backing file's name");
    return 0;
}

int qcow2_header_decode(struct qcow2_header *header, const uint8_t *head, size_t length,
                        struct error *err)
{
    size_t end;

    memset(header, 0, sizeof(*header));
    if (length < QCOW2_HEADER_SIZE_V2)
        return error_set(err, 0, "the file ends inside the qcow2 header");
    if (load_be32(head) != QCOW2_MAGIC)
        return error_set(err, 0, "not a qcow2 image: its magic is 0x%08x", load_be32(head));
    decode_fixed(header, head);
    if (check_version(header, err) < 0)
        return -1;
    if (header->version >= 3) {
        if (length < QCOW2_HEADER_SIZE_V3)
            return error_set(err, 0, "the file ends inside the qcow2 header");
        decode_version_3(header, head, length);
    }
    if (check_geometry(header, err) < 0)
        return -1;
    length = (size_t)min_u64(length, (uint64_t)1 << header->cluster_bits);
    if (header->header_length > length)
        return error_set(err, 0, "the file ends inside the qcow2 header");
    if (decode_backing_file(header, head, length, err) < 0)
        return -1;
    end = header->backing_offset ? (size_t)header->backing_offset : length;
    return decode_extensions(header, head, end, err);
}

uint64_t qcow2_l1_entries_needed(uint64_t size_bytes, uint32_t cluster_bits)
{
    /* An L2 table is one cluster of 8-byte entries. */
    return div_round_up(size_bytes, (uint64_t)1 << (2 * cluster_bits - 3));
}

static int validate_features(const struct qcow2_header *header, struct error *err)
{
    static const char *const methods[] = {"", " (AES)", " (LUKS)"};
    uint64_t bits = header->incompatible_features;

    if (header->crypt_method != 0)
        return error_set(err, ENOTSUP, "the qcow2 image is encrypted: method %u%s",
                         header->crypt_method,
                         header->crypt_method < 3 ? methods[header->crypt_method] : "");
    if (bits & QCOW2_INCOMPATIBLE_CORRUPT)
        return error_set(err, 0, "the qcow2 image is marked corrupt");
    if (bits & QCOW2_INCOMPATIBLE_DATA_FILE)
        return error_set(err, ENOTSUP, "the qcow2 image keeps its data in an external data file");
    if (bits & QCOW2_INCOMPATIBLE_EXTENDED_L2)
        return error_set(err, ENOTSUP, "the qcow2 image has extended L2 entries (subclusters)");
    if (!!(bits & QCOW2_INCOMPATIBLE_COMPRESSION) != (header->compression_type != 0))
        return error_set(err, 0,
                         "qcow2 header: compression_type is %u, but the feature bit says otherwise",
                         header->compression_type);
    if (header->compression_type > QCOW2_COMPRESSION_ZSTD)
        return error_set(err, ENOTSUP, "qcow2 compression type %u is not supported",
                         header->compression_type);
    if (header->refcount_order > 6)
        return error_set(err, 0, "qcow2 header: refcount_order is %u, above 6",
                         header->refcount_order);
    return 0;
}

/* A table must start at a cluster, behind the header, and lie in the file. */
static int validate_table(const struct qcow2_header *header, const char *name, uint64_t offset,
                          uint64_t length, uint64_t file_size, struct error *err)
{
    uint64_t cluster_size = (uint64_t)1 << header->cluster_bits;

    if (offset % cluster_size != 0 || offset == 0)
        return error_set(err, 0, "qcow2 header: %s is 0x%llx, not a cluster's", name,
                         (unsigned long long)offset);
    if (!range_is_inside(offset, length, file_size))
        return error_set(err, 0,
                         "qcow2 header: %s is 0x%llx, but the file has %llu bytes: truncated?",
                         name, (unsigned long long)offset, (unsigned long long)file_size);
    return 0;
}

static int validate_l1(const struct qcow2_header *header, uint64_t file_size, struct error *err)
{
    uint64_t needed = qcow2_l1_entries_needed(header->size_bytes, header->cluster_bits);

    if (header->size_bytes > IMAGE_MAX_SIZE)
        return error_set(err, EFBIG, "the virtual size of %llu bytes is more than %llu",
                         (unsigned long long)header->size_bytes,
                         (unsigned long long)IMAGE_MAX_SIZE);
    if ((uint64_t)header->l1_size * 8 > QCOW2_MAX_L1_BYTES)
        return error_set(err, EFBIG, "qcow2 header: l1_size is %u, above %u", header->l1_size,
                         QCOW2_MAX_L1_BYTES / 8);
    if (header->l1_size < needed)
        return error_set(err, 0, "qcow2 header: l1_size is %u, the virtual size needs %llu",
                         header->l1_size, (unsigned long long)needed);
    if (header->l1_size == 0)
        return 0;
    return validate_table(header, "l1_table_offset", header->l1_table_offset,
                          (uint64_t)header->l1_size * 8, file_size, err);
}

int qcow2_header_validate(const struct qcow2_header *header, uint64_t file_size, struct error *err)
{
    uint64_t refcount_table_bytes = (uint64_t)header->refcount_table_clusters
                                    << header->cluster_bits;

    if (validate_features(header, err) < 0 || validate_l1(header, file_size, err) < 0)
        return -1;
    if (refcount_table_bytes == 0 || refcount_table_bytes > QCOW2_MAX_REFCOUNT_TABLE_BYTES)
        return error_set(err, 0, "qcow2 header: refcount_table_clusters is %u",
                         header->refcount_table_clusters);
    if (validate_table(header, "refcount_table_offset", header->refcount_table_offset,
                       refcount_table_bytes, file_size, err) < 0)
        return -1;
    if (header->snapshot_count > QCOW2_MAX_SNAPSHOTS)
        return error_set(err, 0, "qcow2 header: nb_snapshots is %u", header->snapshot_count);
    if (header->snapshot_count == 0)
        return 0;
    return validate_table(header, "snapshots_offset", header->snapshots_offset, 1, file_size, err);
}

static size_t encode_extension(uint8_t *at, uint32_t type, const char *string)
{
    size_t length = strlen(string);

    store_be32(at, type);
    store_be32(at + 4, (uint32_t)length);
    memcpy(at + 8, string, length);
    return 8 + (size_t)align_up(length, 8);
}

void qcow2_header_encode(const struct qcow2_header *header, uint8_t *cluster)
{
    size_t at = QCOW2_HEADER_SIZE_OURS;

    store_be32(cluster, QCOW2_MAGIC);
    store_be32(cluster + 4, header->version);
    store_be32(cluster + 20, header->cluster_bits);
    store_be64(cluster + 24, header->size_bytes);
    store_be32(cluster + 36, header->l1_size);
    store_be64(cluster + 40, header->l1_table_offset);
    store_be64(cluster + 48, header->refcount_table_offset);
    store_be32(cluster + 56, header->refcount_table_clusters);
    store_be64(cluster + 72, header->incompatible_features);
    store_be32(cluster + 96, header->refcount_order);
    store_be32(cluster + 100, QCOW2_HEADER_SIZE_OURS);
    cluster[COMPRESSION_TYPE_OFFSET] = header->compression_type;
    if (header->backing_format[0])
        at +=
            encode_extension(cluster + at, QCOW2_EXTENSION_BACKING_FORMAT, header->backing_format);
    at += 8; /* the end of the extensions is type 0, length 0 */
    if (header->backing_file[0]) {
        store_be64(cluster + 8, at);
        store_be32(cluster + 16, (uint32_t)strlen(header->backing_file));
        memcpy(cluster + at, header->backing_file, strlen(header->backing_file));
    }
}
