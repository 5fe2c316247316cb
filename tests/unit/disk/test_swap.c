/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Swap space: only the header page is used, and whatever looks like a sleeping system is all used.
 */
#include "disk/fs/drivers.h"
#include "tests/unit/disk/sparse.h"

#define VOLUME (64 * MIB)

struct fixture {
    struct sparse volume;
    struct usedmap map;
    struct error err;
    uint8_t *header;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    sparse_init(&f->volume, VOLUME, 0);
    f->header = put_swap(&f->volume, 0, VOLUME, 4096);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    usedmap_fini(&f->map);
    sparse_fini(&f->volume);
    free(f);
    return 0;
}

static void read_map(struct fixture *f)
{
    assert_int_equal(usedmap_read(&swap_driver, &f->volume.source, &f->map, &f->err), 0);
}

static void assert_all_used(const struct fixture *f, const char *doubt)
{
    assert_false(f->map.is_certain);
    if (!strstr(f->map.doubt, doubt))
        fail_msg("\"%s\" does not say \"%s\"", f->map.doubt, doubt);
    assert_int_equal(f->map.used.count, 1);
    assert_int_equal(f->map.used.items[0].offset, 0);
    assert_int_equal(f->map.used.items[0].length, f->volume.source.size_bytes);
}

static void test_swap_uses_its_header_page_only(void **state)
{
    struct fixture *f = *state;

    read_map(f);
    assert_true(f->map.is_certain);
    assert_string_equal(f->map.doubt, "");
    assert_int_equal(f->map.used.count, 1);
    assert_int_equal(f->map.used.items[0].offset, 0);
    assert_int_equal(f->map.used.items[0].length, 4096);
    assert_true(f->volume.bytes_read <= 65536);
}

static void test_swap_knows_every_page_size(void **state)
{
    struct fixture *f = *state;

    for (uint32_t page = 8192; page <= 65536; page *= 2) {
        sparse_fini(&f->volume);
        put_swap(&f->volume, 0, VOLUME, page);
        usedmap_fini(&f->map);
        read_map(f);
        assert_true(f->map.is_certain);
        assert_int_equal(extents_total(&f->map.used), page);
    }
}

static void test_swap_header_may_be_big_endian(void **state)
{
    struct fixture *f = *state;

    store_be32(f->header + 1024, 1);
    store_be32(f->header + 1028, VOLUME / 4096 - 1);
    read_map(f);
    assert_true(f->map.is_certain);
    assert_int_equal(extents_total(&f->map.used), 4096);
}

static void test_swap_hibernated_in_any_way_is_all_used(void **state)
{
    struct fixture *f = *state;
    static const char *const magics[] = {"S1SUSPEND", "S2SUSPEND", "ULSUSPEND", "LINHIB0001"};

    for (size_t i = 0; i < ARRAY_LENGTH(magics); i++) {
        memset(f->header + 4086, 0, 10);
        memcpy(f->header + 4086, magics[i], strlen(magics[i]));
        usedmap_fini(&f->map);
        read_map(f);
        assert_all_used(f, "a hibernated system");
        assert_non_null(strstr(f->map.doubt, magics[i]));
    }
}

static void test_swap_hibernated_by_tuxonice_is_all_used(void **state)
{
    struct fixture *f = *state;

    memcpy(f->header, "\xed\xc3\x02\xe9\x98\x56\xe5\x0c", 8);
    read_map(f);
    assert_all_used(f, "TuxOnIce");
}

static void test_swap_hibernation_signature_for_another_page_size_counts_too(void **state)
{
    struct fixture *f = *state;

    memcpy(sparse_at(&f->volume, 16384 - 10, 10), "S1SUSPEND", 9);
    read_map(f);
    assert_all_used(f, "S1SUSPEND");
}

static void test_swap_with_two_signatures_is_all_used(void **state)
{
    struct fixture *f = *state;

    memcpy(sparse_at(&f->volume, 8192 - 10, 10), "SWAPSPACE2", 10);
    read_map(f);
    assert_all_used(f, "pages of 4096 and 8192 bytes");
}

static void test_swap_of_the_old_version_is_all_used(void **state)
{
    struct fixture *f = *state;

    memcpy(f->header + 4086, "SWAP-SPACE", 10);
    read_map(f);
    assert_all_used(f, "no version 1 signature");
}

static void test_swap_lying_header_is_all_used(void **state)
{
    struct fixture *f = *state;

    store_le32(f->header + 1028, VOLUME / 4096);
    read_map(f);
    assert_all_used(f, "the volume has 67108864");

    usedmap_fini(&f->map);
    store_le32(f->header + 1028, UINT32_MAX);
    read_map(f);
    assert_all_used(f, "the volume has 67108864");

    usedmap_fini(&f->map);
    store_le32(f->header + 1028, 0);
    read_map(f);
    assert_all_used(f, "the header says 4096 bytes");

    usedmap_fini(&f->map);
    store_le32(f->header + 1024, 2);
    read_map(f);
    assert_all_used(f, "unknown header version");
}

static void test_swap_smaller_than_its_volume_leaves_the_tail_used(void **state)
{
    struct fixture *f = *state;

    store_le32(f->header + 1028, 99);
    read_map(f);
    assert_true(f->map.is_certain);
    assert_int_equal(f->map.used.count, 2);
    assert_int_equal(f->map.used.items[1].offset, 100 * 4096);
    assert_int_equal(f->map.used.items[1].length, VOLUME - 100 * 4096);
}

static void test_swap_volume_without_room_is_all_used(void **state)
{
    struct fixture *f = *state;

    f->volume.source.size_bytes = 4095;
    read_map(f);
    assert_all_used(f, "smaller than a page");
}

static void test_swap_that_cannot_be_read_is_all_used(void **state)
{
    struct fixture *f = *state;

    f->volume.fail_from = 1;
    read_map(f);
    assert_all_used(f, "Input/output error");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_swap_uses_its_header_page_only),
        CASE(test_swap_knows_every_page_size),
        CASE(test_swap_header_may_be_big_endian),
        CASE(test_swap_hibernated_in_any_way_is_all_used),
        CASE(test_swap_hibernated_by_tuxonice_is_all_used),
        CASE(test_swap_hibernation_signature_for_another_page_size_counts_too),
        CASE(test_swap_with_two_signatures_is_all_used),
        CASE(test_swap_of_the_old_version_is_all_used),
        CASE(test_swap_lying_header_is_all_used),
        CASE(test_swap_smaller_than_its_volume_leaves_the_tail_used),
        CASE(test_swap_volume_without_room_is_all_used),
        CASE(test_swap_that_cannot_be_read_is_all_used),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
