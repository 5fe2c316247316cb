/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What holds for every used map, whatever its driver does.
 */
#include "disk/usedmap.h"
#include "tests/unit/disk/sparse.h"

#define VOLUME 1000000

static int read_part(const struct block_source *volume, struct usedmap *map, struct error *err)
{
    (void)volume;
    return extents_add(&map->used, 4096, 8192, err);
}

static int read_doubting(const struct block_source *volume, struct usedmap *map, struct error *err)
{
    usedmap_doubt(map, "field %d is \x1b[31m", 7);
    usedmap_doubt(map, "a second doubt");
    return read_part(volume, map, err);
}

static int read_failing(const struct block_source *volume, struct usedmap *map, struct error *err)
{
    read_part(volume, map, err);
    return error_set(err, EIO, "block 7");
}

static int read_outside(const struct block_source *volume, struct usedmap *map, struct error *err)
{
    return extents_add(&map->used, volume->size_bytes - 1, 2, err);
}

static int read_nothing(const struct block_source *volume, struct usedmap *map, struct error *err)
{
    (void)volume, (void)map, (void)err;
    return 0;
}

static int read_long_doubt(const struct block_source *volume, struct usedmap *map,
                           struct error *err)
{
    (void)volume, (void)err;
    usedmap_doubt(map, "%0400d", 1);
    return 0;
}

static void run(int (*read)(const struct block_source *, struct usedmap *, struct error *),
                struct usedmap *map)
{
    const struct usedmap_driver driver = {.name = "test", .read = read};
    struct sparse volume;
    struct error err = {0};

    sparse_init(&volume, VOLUME, 0);
    assert_int_equal(usedmap_read(&driver, &volume.source, map, &err), 0);
}

static void assert_all_used(const struct usedmap *map, const char *doubt)
{
    assert_false(map->is_certain);
    assert_string_equal(map->doubt, doubt);
    assert_int_equal(map->used.count, 1);
    assert_int_equal(map->used.items[0].offset, 0);
    assert_int_equal(map->used.items[0].length, VOLUME);
}

static void test_usedmap_is_what_the_driver_says(void **state)
{
    struct usedmap map;

    (void)state;
    run(read_part, &map);
    assert_true(map.is_certain);
    assert_string_equal(map.doubt, "");
    assert_int_equal(map.used.count, 1);
    assert_int_equal(map.used.items[0].offset, 4096);
    assert_int_equal(map.used.items[0].length, 8192);
    usedmap_fini(&map);
}

static void test_usedmap_may_be_empty(void **state)
{
    struct usedmap map;

    (void)state;
    run(read_nothing, &map);
    assert_true(map.is_certain);
    assert_int_equal(map.used.count, 0);
    usedmap_fini(&map);
}

static void test_usedmap_doubt_makes_all_used_and_the_first_is_kept_escaped(void **state)
{
    struct usedmap map;

    (void)state;
    run(read_doubting, &map);
    assert_all_used(&map, "field 7 is \\x1b[31m");
    usedmap_fini(&map);
}

static void test_usedmap_failure_makes_all_used(void **state)
{
    struct usedmap map;

    (void)state;
    run(read_failing, &map);
    assert_all_used(&map, "block 7: Input/output error");
    usedmap_fini(&map);
}

static void test_usedmap_outside_the_volume_makes_all_used(void **state)
{
    struct usedmap map;

    (void)state;
    run(read_outside, &map);
    assert_all_used(&map, "the used map leaves the volume");
    usedmap_fini(&map);
}

static void test_usedmap_long_doubt_is_cut(void **state)
{
    struct usedmap map;

    (void)state;
    run(read_long_doubt, &map);
    assert_int_equal(strlen(map.doubt), sizeof(map.doubt) - 1);
    usedmap_fini(&map);
}

static const struct usedmap_driver *driver_for(const char *type, bool is_ambiguous)
{
    struct probe probe = {.is_ambiguous = is_ambiguous};

    snprintf(probe.type, sizeof(probe.type), "%s", type);
    return usedmap_driver_for(&probe);
}

static void test_usedmap_driver_is_found_by_the_probed_type(void **state)
{
    (void)state;
    assert_string_equal(driver_for("ext2", false)->name, "ext");
    assert_string_equal(driver_for("ext3", false)->name, "ext");
    assert_string_equal(driver_for("ext4", false)->name, "ext");
    assert_string_equal(driver_for("swap", false)->name, "swap");
    assert_string_equal(driver_for("swsuspend", false)->name, "swap");
}

static void test_usedmap_of_anything_else_is_unknown_and_all_used_without_doubt(void **state)
{
    static const char *const types[] = {"",
                                        "xfs",
                                        "btrfs",
                                        "ntfs",
                                        "vfat",
                                        "jbd",
                                        "crypto_LUKS",
                                        "ext",
                                        "LVM2_member",
                                        "ext44",
                                        "exfat",
                                        "linux_raid_member"};
    struct usedmap map;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(types); i++)
        assert_string_equal(driver_for(types[i], false)->name, "unknown");
    assert_string_equal(driver_for("ext4", true)->name, "unknown");
    run(driver_for("xfs", false)->read, &map);
    assert_true(map.is_certain);
    assert_int_equal(extents_total(&map.used), VOLUME);
    usedmap_fini(&map);
}

static void test_usedmap_drivers_are_complete_and_end_with_unknown(void **state)
{
    size_t count = 0;

    (void)state;
    for (; usedmap_drivers[count]; count++) {
        assert_non_null(usedmap_drivers[count]->name);
        assert_non_null(usedmap_drivers[count]->description);
        assert_non_null(usedmap_drivers[count]->types);
        assert_non_null(usedmap_drivers[count]->read);
    }
    assert_true(count >= 3);
    assert_string_equal(usedmap_drivers[count - 1]->name, "unknown");
    assert_null(usedmap_drivers[count - 1]->types[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_usedmap_is_what_the_driver_says),
        cmocka_unit_test(test_usedmap_may_be_empty),
        cmocka_unit_test(test_usedmap_doubt_makes_all_used_and_the_first_is_kept_escaped),
        cmocka_unit_test(test_usedmap_failure_makes_all_used),
        cmocka_unit_test(test_usedmap_outside_the_volume_makes_all_used),
        cmocka_unit_test(test_usedmap_long_doubt_is_cut),
        cmocka_unit_test(test_usedmap_driver_is_found_by_the_probed_type),
        cmocka_unit_test(test_usedmap_of_anything_else_is_unknown_and_all_used_without_doubt),
        cmocka_unit_test(test_usedmap_drivers_are_complete_and_end_with_unknown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
