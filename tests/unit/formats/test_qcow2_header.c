/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The qcow2 header: what it must say, and each way in which it may lie.
 */
#include "formats/qcow2.h"
#include "tests/unit/formats/qcow2_fixture.h"

#define FILE_SIZE ((uint64_t)1 << 20)

/* 64 MiB in clusters of 64 KiB; tables at 64 KiB and 128 KiB of a file of 1 MiB. */
static void make_header(uint8_t head[512])
{
    memset(head, 0, 512);
    store_be32(head, QCOW2_MAGIC);
    store_be32(head + 4, 3);
    store_be32(head + 20, 16);
    store_be64(head + 24, 64 << 20);
    store_be32(head + 36, 1);
    store_be64(head + 40, 0x10000);
    store_be64(head + 48, 0x20000);
    store_be32(head + 56, 1);
    store_be32(head + 96, 4);
    store_be32(head + 100, 112);
}

static int load(const uint8_t *head, size_t length, struct qcow2_header *header, struct error *err)
{
    *err = (struct error){0};
    if (qcow2_header_decode(header, head, length, err) < 0)
        return -1;
    return qcow2_header_validate(header, FILE_SIZE, err);
}

static void assert_refused(const uint8_t *head, const char *text)
{
    struct qcow2_header header;
    struct error err;

    assert_int_equal(load(head, 512, &header, &err), -1);
    if (!strstr(err.text, text))
        fail_msg("refused by '%s', not by '%s'", err.text, text);
}

static void test_qcow2_header_is_decoded(void **state)
{
    uint8_t head[512];
    struct qcow2_header header;
    struct error err;

    (void)state;
    make_header(head);
    assert_int_equal(load(head, 512, &header, &err), 0);
    assert_int_equal(header.version, 3);
    assert_int_equal(header.size_bytes, 64 << 20);
    assert_int_equal(header.refcount_order, 4);
    assert_string_equal(header.backing_file, "");
    assert_string_equal(header.backing_format, "");
}

static void test_qcow2_header_refuses_each_lying_field(void **state)
{
    static const struct {
        unsigned at, bytes;
        uint64_t value;
        const char *text;
    } lies[] = {
        {0, 4, 0x514649fa, "magic"},
        {4, 4, 0, "never finished"},
        {4, 4, 1, "version 1"},
        {4, 4, 4, "version 4"},
        {20, 4, 8, "cluster_bits is 8"},
        {20, 4, 22, "cluster_bits is 22"},
        {20, 4, UINT32_MAX, "cluster_bits"},
        {24, 8, (uint64_t)1 << 60, "virtual size"},
        {24, 8, UINT64_MAX, "virtual size"},
        {24, 8, (uint64_t)1 << 40, "l1_size is 1"},
        {32, 4, 1, "encrypted: method 1 (AES)"},
        {32, 4, 2, "encrypted: method 2 (LUKS)"},
        {32, 4, 3, "encrypted: method 3"},
        {36, 4, 0, "l1_size is 0"},
        {36, 4, UINT32_MAX, "l1_size"},
        {40, 8, 0, "l1_table_offset"},
        {40, 8, 0x10200, "l1_table_offset"},
        {40, 8, FILE_SIZE, "l1_table_offset"},
        {40, 8, (uint64_t)-65536, "l1_table_offset"},
        {48, 8, 0, "refcount_table_offset"},
        {48, 8, 0x20001, "refcount_table_offset"},
        {48, 8, FILE_SIZE, "truncated"},
        {56, 4, 0, "refcount_table_clusters"},
        {56, 4, 15, "refcount_table_offset"},
        {56, 4, 1000, "refcount_table_clusters"},
        {56, 4, UINT32_MAX, "refcount_table_clusters"},
        {60, 4, 65537, "nb_snapshots"},
        {60, 4, 1, "snapshots_offset"},
        {72, 8, 2, "corrupt"},
        {72, 8, 4, "external data file"},
        {72, 8, 8, "compression_type"},
        {72, 8, 16, "extended L2"},
        {72, 8, (uint64_t)1 << 63 | 1 << 5, "bits: 5, 63"},
        {96, 4, 7, "refcount_order is 7"},
        {100, 4, 96, "header_length is 96"},
        {100, 4, 105, "header_length is 105"},
        {100, 4, 65544, "header_length is 65544"},
        {100, 4, 65536, "ends inside"},
        {104, 1, 1, "compression_type is 1"},
    };
    uint8_t head[512];

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(lies); i++) {
        make_header(head);
        for (unsigned byte = 0; byte < lies[i].bytes; byte++)
            head[lies[i].at + byte] = (uint8_t)(lies[i].value >> (8 * (lies[i].bytes - 1 - byte)));
        assert_refused(head, lies[i].text);
    }
}

static void test_qcow2_header_names_unknown_bits_from_the_image_s_own_table(void **state)
{
    uint8_t head[512];

    (void)state;
    make_header(head);
    store_be64(head + 72, 1 << 9);
    store_be32(head + 112, QCOW2_EXTENSION_FEATURE_NAMES);
    store_be32(head + 116, 48);
    head[121] = 9;
    memcpy(head + 122, "holograms", 9);
    assert_refused(head, "9 (holograms)");
}

static void test_qcow2_header_knows_zstd_only_with_its_bit(void **state)
{
    uint8_t head[512];
    struct qcow2_header header;
    struct error err;

    (void)state;
    make_header(head);
    store_be64(head + 72, QCOW2_INCOMPATIBLE_COMPRESSION);
    head[104] = QCOW2_COMPRESSION_ZSTD;
    assert_int_equal(load(head, 512, &header, &err), 0);
    assert_int_equal(header.compression_type, QCOW2_COMPRESSION_ZSTD);
    head[104] = 2;
    assert_refused(head, "compression type 2");
    store_be32(head + 100, 104); /* the field is then not there, whatever the byte says */
    assert_refused(head, "compression_type is 0");
}

static void test_qcow2_header_reads_backing_file_and_format(void **state)
{
    uint8_t head[512];
    struct qcow2_header header;
    struct error err;

    (void)state;
    make_header(head);
    store_be32(head + 112, 0x12345678); /* an extension that nobody knows is stepped over */
    store_be32(head + 116, 3);
    store_be32(head + 128, QCOW2_EXTENSION_BACKING_FORMAT);
    store_be32(head + 132, 5);
    memcpy(head + 136, "qcow2", 5);
    store_be64(head + 8, 200);
    store_be32(head + 16, 9);
    memcpy(head + 200, "base.imgXX", 10);
    assert_int_equal(load(head, 512, &header, &err), 0);
    assert_string_equal(header.backing_file, "base.imgX");
    assert_string_equal(header.backing_format, "qcow2");

    store_be32(head + 132, 64);
    assert_refused(head, "backing format");
    store_be32(head + 132, 500);
    assert_refused(head, "passes its end");
    store_be32(head + 132, 5);
    store_be32(head + 16, 1024);
    assert_refused(head, "backing_file_size is 1024");
    store_be32(head + 16, 400);
    assert_refused(head, "backing_file_offset");
    store_be32(head + 16, 20);
    assert_refused(head, "NUL");
    store_be64(head + 8, 50);
    assert_refused(head, "backing_file_offset");
    store_be64(head + 8, UINT64_MAX - 5);
    assert_refused(head, "backing_file_offset");
}

static void test_qcow2_header_of_version_2_ends_after_72_bytes(void **state)
{
    uint8_t head[512];
    struct qcow2_header header;
    struct error err;

    (void)state;
    make_header(head);
    memset(head + 72, 0, 440);
    store_be32(head + 4, 2);
    assert_int_equal(load(head, 512, &header, &err), 0);
    assert_int_equal(header.refcount_order, 4);
    assert_int_equal(header.incompatible_features, 0);
    assert_int_equal(load(head, 72, &header, &err), 0);
    assert_int_equal(load(head, 71, &header, &err), -1);
}

static void test_qcow2_header_survives_every_length(void **state)
{
    uint8_t head[512];
    struct qcow2_header header;
    struct error err;

    (void)state;
    make_header(head);
    store_be32(head + 112, QCOW2_EXTENSION_BACKING_FORMAT);
    store_be32(head + 116, 3);
    memcpy(head + 120, "raw", 3);
    for (size_t length = 0; length < 112; length++) {
        AUTO_FREE uint8_t *copy = malloc(length + 1);

        memcpy(copy, head, length);
        assert_int_equal(load(copy, length, &header, &err), -1);
    }
}

static void test_qcow2_header_is_encoded_as_it_is_decoded(void **state)
{
    struct qcow2_header header = {.version = 3,
                                  .cluster_bits = 16,
                                  .size_bytes = 64 << 20,
                                  .l1_size = 1,
                                  .l1_table_offset = 0x10000,
                                  .refcount_table_offset = 0x20000,
                                  .refcount_table_clusters = 1,
                                  .incompatible_features = QCOW2_INCOMPATIBLE_COMPRESSION,
                                  .refcount_order = 4,
                                  .header_length = QCOW2_HEADER_SIZE_OURS,
                                  .compression_type = QCOW2_COMPRESSION_ZSTD,
                                  .backing_file = "folder/base.raw",
                                  .backing_format = "raw"};
    AUTO_FREE uint8_t *cluster = calloc(1, 65536);
    struct qcow2_header decoded;
    struct error err;

    (void)state;
    qcow2_header_encode(&header, cluster);
    assert_int_equal(load(cluster, 65536, &decoded, &err), 0);
    assert_string_equal(decoded.backing_file, header.backing_file);
    assert_string_equal(decoded.backing_format, header.backing_format);
    assert_int_equal(decoded.size_bytes, header.size_bytes);
    assert_int_equal(decoded.l1_table_offset, header.l1_table_offset);
    assert_int_equal(decoded.compression_type, header.compression_type);
}

static void test_qcow2_l1_entries_needed_covers_the_last_byte(void **state)
{
    (void)state;
    assert_int_equal(qcow2_l1_entries_needed(0, 16), 0);
    assert_int_equal(qcow2_l1_entries_needed(1, 16), 1);
    assert_int_equal(qcow2_l1_entries_needed((uint64_t)512 << 20, 16), 1);
    assert_int_equal(qcow2_l1_entries_needed(((uint64_t)512 << 20) + 1, 16), 2);
    assert_int_equal(qcow2_l1_entries_needed(IMAGE_MAX_SIZE, 16), 131072);
    assert_int_equal(qcow2_l1_entries_needed(32768, 9), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_qcow2_header_is_decoded),
        cmocka_unit_test(test_qcow2_header_refuses_each_lying_field),
        cmocka_unit_test(test_qcow2_header_names_unknown_bits_from_the_image_s_own_table),
        cmocka_unit_test(test_qcow2_header_knows_zstd_only_with_its_bit),
        cmocka_unit_test(test_qcow2_header_reads_backing_file_and_format),
        cmocka_unit_test(test_qcow2_header_of_version_2_ends_after_72_bytes),
        cmocka_unit_test(test_qcow2_header_survives_every_length),
        cmocka_unit_test(test_qcow2_header_is_encoded_as_it_is_decoded),
        cmocka_unit_test(test_qcow2_l1_entries_needed_covers_the_last_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
