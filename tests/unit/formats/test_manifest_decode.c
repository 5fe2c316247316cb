/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The manifest: a damaged or lying file is refused without an allocation of its own choice.
 */
#include "tests/unit/formats/manifest_fixture.h"

/* Makes the closing sum right again after a test has changed something. */
static void seal(char *data, size_t length)
{
    digest_compute(data, length - DIGEST_SIZE, (uint8_t *)data + length - DIGEST_SIZE);
}

static void assert_refused(const char *data, size_t length, const char *reason)
{
    AUTO(manifest) manifest;
    struct error err = {0};

    assert_int_equal(manifest_decode(&manifest, (const uint8_t *)data, length, &err), -1);
    if (strstr(err.text, reason) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.text, reason);
    assert_null(manifest.blocks);
    assert_int_equal(manifest.chunk_count, 0);
}

static void test_manifest_decode_refuses_every_truncation(void **state)
{
    size_t length;
    AUTO_FREE char *data = written_small(&length);

    (void)state;
    for (size_t cut = 0; cut < length; cut++) {
        AUTO_FREE char *exact = malloc(cut + 1);

        memcpy(exact, data, cut);
        assert_refused(exact, cut, "");
    }
}

static void test_manifest_decode_notices_every_changed_byte(void **state)
{
    size_t length;
    AUTO_FREE char *data = written_small(&length);

    (void)state;
    for (size_t i = 0; i < length; i++) {
        data[i] ^= 0x10;
        assert_refused(data, length, "");
        data[i] ^= 0x10;
    }
}

static void test_manifest_decode_names_damage(void **state)
{
    size_t length;
    AUTO_FREE char *data = written_small(&length);

    (void)state;
    data[HEADER + 40] ^= 1; /* in a name: nothing but the sum can tell */
    assert_refused(data, length, "damaged");
}

/* Sets one header field, makes the sum right, and expects the reason. */
static void assert_field_refused(size_t offset, unsigned bytes, uint64_t value, const char *reason)
{
    size_t length;
    AUTO_FREE char *data = written_small(&length);

    if (bytes == 4)
        store_le32(data + offset, (uint32_t)value);
    else
        store_le64(data + offset, value);
    seal(data, length);
    assert_refused(data, length, reason);
}

static void test_manifest_decode_refuses_a_lying_header_by_field(void **state)
{
    (void)state;
    assert_field_refused(0, 4, 0, "not a manifest");
    assert_field_refused(8, 4, 2, "version 2");
    assert_field_refused(12, 4, 4096, "header size");
    assert_field_refused(16, 8, 1, "do not make 1 bytes");
    assert_field_refused(24, 8, 0, "disk size 0");
    assert_field_refused(24, 8, UINT64_C(1) << 60, "disk size 1152921504606846976");
    assert_field_refused(24, 8, 5 * CHUNK_SIZE, "a run of");
    assert_field_refused(24, 8, 12 * CHUNK_SIZE, "the runs end");
    assert_field_refused(32, 4, 4096, "chunk size 4096");
    assert_field_refused(36, 4, 2, "name algorithm 2");
    assert_field_refused(40, 8, UINT64_MAX, "do not make");
    assert_field_refused(48, 8, UINT64_C(1) << 59, "do not make");
    assert_field_refused(56, 8, UINT64_C(1) << 32, "changes: at most");
    assert_field_refused(64, 4, 256, "at most 255");
    assert_field_refused(68, 4, UINT32_MAX, "at most 255");
    assert_field_refused(72, 8, 1, "reserved");
}

static void test_manifest_decode_refuses_a_name_with_a_slash_or_control(void **state)
{
    size_t length;
    AUTO_FREE char *data = written_small(&length);

    (void)state;
    data[HEADER] = '/';
    seal(data, length);
    assert_refused(data, length, "beside the manifest");
    data[HEADER] = '\n';
    seal(data, length);
    assert_refused(data, length, "control");
    data[HEADER] = 0;
    seal(data, length);
    assert_refused(data, length, "NUL");
}

static void test_manifest_decode_refuses_two_runs_of_one_state(void **state)
{
    size_t length;
    AUTO_FREE char *data = written_small(&length);

    (void)state;
    store_le32(data + HEADER + 21 + 8 + 64, 0x80000000u); /* zero becomes data behind data */
    seal(data, length);
    assert_refused(data, length, "two runs");
}

static void test_manifest_decode_refuses_more_names_than_the_header_says(void **state)
{
    size_t length;
    AUTO_FREE char *data = written_small(&length);

    (void)state;
    store_le64(data + 40, 6 + 8); /* eight runs take the bytes of one name */
    store_le64(data + 48, 3 - 1);
    seal(data, length);
    assert_refused(data, length, "chunk 5: more names than the header says");
}

static char *written_with_change(size_t *length)
{
    AUTO(manifest) manifest;
    struct chunk_name other = name_of("other");

    make_small(&manifest);
    assert_int_equal(manifest_change(&manifest, 5, CHUNK_DATA, &other, NULL), 0);
    assert_int_equal(manifest_change(&manifest, 6, CHUNK_DATA, &other, NULL), 0);
    return written(&manifest, length);
}

static void test_manifest_decode_refuses_changes_out_of_order_or_unknown(void **state)
{
    size_t length;
    AUTO_FREE char *data = written_with_change(&length);
    char *second = data + length - 32 - 48;

    (void)state;
    assert_int_equal(load_le64(second), 6);
    store_le64(second, 5);
    seal(data, length);
    assert_refused(data, length, "out of order");
    store_le64(second, 11);
    seal(data, length);
    assert_refused(data, length, "outside the disk");
    store_le64(second, 6);
    second[8] = 4;
    seal(data, length);
    assert_refused(data, length, "state 4");
    second[8] = CHUNK_ZERO;
    second[20] = 1;
    seal(data, length);
    assert_refused(data, length, "name without data");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_manifest_decode_refuses_every_truncation),
        cmocka_unit_test(test_manifest_decode_notices_every_changed_byte),
        cmocka_unit_test(test_manifest_decode_names_damage),
        cmocka_unit_test(test_manifest_decode_refuses_a_lying_header_by_field),
        cmocka_unit_test(test_manifest_decode_refuses_a_name_with_a_slash_or_control),
        cmocka_unit_test(test_manifest_decode_refuses_two_runs_of_one_state),
        cmocka_unit_test(test_manifest_decode_refuses_more_names_than_the_header_says),
        cmocka_unit_test(test_manifest_decode_refuses_changes_out_of_order_or_unknown),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
