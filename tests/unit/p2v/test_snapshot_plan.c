/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * From LVM's reports to snapshots: reports as lvs and pvs of LVM 2.03.16 print them.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/agent/snapshot_plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define EXTENT (4 * MIB)

/* sda3 begins at 512 MiB of disk 0, sdb is disk 1, md0 lies on disk 0 as well, sdz is not sent. */
static int find(void *context, const char *path, size_t *disk, uint64_t *offset)
{
    (void)context;
    *disk = strcmp(path, "/dev/sdb") == 0;
    *offset = strcmp(path, "/dev/sda3") == 0 ? 512 * MIB : 0;
    if (strcmp(path, "/dev/md0") == 0)
        return -1;
    return strcmp(path, "/dev/sdz") != 0;
}

static bool is_swap(void *context, unsigned major, unsigned minor)
{
    (void)context;
    return major == 254 && minor == 9;
}

static const struct snapshot_machine machine = {find, is_swap, NULL};

struct row {
    const char *name, *attributes, *tags, *minor, *open, *size, *type, *start, *length, *stripes,
        *stripe, *ranges;
};

#define ROOT                                                                                       \
    {                                                                                              \
        "root", "-wi-ao----", "", "0", "1", "104857600", "linear", "0", "104857600", "1", "0",     \
            "/dev/sda3:0-24"                                                                       \
    }

struct report {
    struct text lvs, pvs;
};

static void report_fini(struct report *report)
{
    text_fini(&report->lvs);
    text_fini(&report->pvs);
}

static void add_rows(struct report *report, const struct row *rows, size_t count,
                     const char *free_extents)
{
    text_add(&report->lvs, "{\"report\":[{\"lv\":[");
    for (size_t i = 0; i < count; i++)
        text_addf(&report->lvs,
                  "%s{\"vg_name\":\"vg0\",\"vg_seqno\":\"4\",\"vg_extent_size\":\"4194304\","
                  "\"vg_free_count\":\"%s\",\"lv_name\":\"%s\",\"lv_attr\":\"%s\","
                  "\"lv_tags\":\"%s\",\"lv_kernel_major\":\"254\",\"lv_kernel_minor\":\"%s\","
                  "\"lv_device_open\":\"%s\",\"lv_size\":\"%s\",\"segtype\":\"%s\","
                  "\"seg_start\":\"%s\",\"seg_size\":\"%s\",\"stripes\":\"%s\","
                  "\"stripe_size\":\"%s\",\"seg_pe_ranges\":\"%s\"}",
                  i ? "," : "", free_extents, rows[i].name, rows[i].attributes, rows[i].tags,
                  rows[i].minor, rows[i].open, rows[i].size, rows[i].type, rows[i].start,
                  rows[i].length, rows[i].stripes, rows[i].stripe, rows[i].ranges);
    text_add(&report->lvs, "]}]}");
}

static void add_member(struct report *report, const char *path, const char *start,
                       const char *count, const char *type)
{
    bool is_first = report->pvs.length == 0;
    text_addf(&report->pvs,
              "%s{\"pv_name\":\"%s\",\"vg_name\":\"vg0\",\"vg_seqno\":\"4\","
              "\"vg_extent_size\":\"4194304\",\"pe_start\":\"1048576\",\"pv_pe_count\":\"74\","
              "\"dev_size\":\"314572800\",\"pvseg_start\":\"%s\",\"pvseg_size\":\"%s\","
              "\"segtype\":\"%s\"}",
              is_first ? "{\"report\":[{\"pvseg\":[" : ",", path, start, count, type);
}

static int read_plan(struct snapshot_plan *plan, struct report *report, struct error *err)
{
    AUTO_FREE char *pvs = text_format("%s]}]}", text_string(&report->pvs));
    return snapshot_plan_read(plan, text_string(&report->lvs), pvs, &machine, err);
}

/* Both physical volumes, with what is free behind the 33rd extent of one and all of the other. */
static void add_members(struct report *report)
{
    add_member(report, "/dev/sda3", "0", "33", "linear");
    add_member(report, "/dev/sda3", "33", "41", "free");
    add_member(report, "/dev/sdb", "16", "58", "free");
}

static void must_plan(struct snapshot_plan *plan, struct report *report)
{
    struct error err = {0};
    int result = read_plan(plan, report, &err);
    assert_string_equal(err.text, "");
    assert_int_equal(result, 0);
}

static void plan_of(struct snapshot_plan *plan, const struct row *rows, size_t count,
                    const char *free_extents)
{
    AUTO(report) report = {0};
    add_rows(&report, rows, count, free_extents);
    add_members(&report);
    must_plan(plan, &report);
}

static void test_a_linear_volume_is_found_on_its_disk(void **state)
{
    (void)state;
    AUTO(snapshot_plan) plan = {0};
    plan_of(&plan, (const struct row[]){ROOT}, 1, "99");
    assert_string_equal(plan.obstacle, "");
    assert_int_equal(plan.volume_count, 1);
    assert_string_equal(plan.volumes[0].vg, "vg0");
    assert_string_equal(plan.volumes[0].name, "root");
    assert_int_equal(plan.volumes[0].major, 254);
    assert_int_equal(plan.part_count, 1);
    const struct snapshot_part *part = &plan.parts[0];
    assert_int_equal(part->disk, 0);
    assert_int_equal(part->offset, 513 * MIB);
    assert_int_equal(part->length, 25 * EXTENT);
    assert_int_equal(part->start, 0);
    assert_int_equal(part->stripes, 1);
}

static void test_metadata_and_free_extents_are_known(void **state)
{
    (void)state;
    AUTO(snapshot_plan) plan = {0};
    plan_of(&plan, (const struct row[]){ROOT}, 1, "99");
    assert_int_equal(plan.members.count, 2);
    assert_int_equal(plan.members.items[0].offset, 512 * MIB);
    assert_int_equal(plan.members.items[0].length, 300 * MIB);
    /* A MiB before the extents, and three MiB in which there is no whole one any more. */
    assert_int_equal(plan.metadata.count, 4);
    assert_int_equal(plan.metadata.items[0].offset, 512 * MIB);
    assert_int_equal(plan.metadata.items[0].length, MIB);
    assert_int_equal(plan.metadata.items[1].offset, (512 + 297) * MIB);
    assert_int_equal(plan.metadata.items[1].length, 3 * MIB);
    assert_int_equal(plan.metadata.items[2].disk, 1);
    assert_int_equal(plan.free.count, 2);
    assert_int_equal(plan.free.items[0].offset, 513 * MIB + 33 * EXTENT);
    assert_int_equal(plan.free.items[0].length, 41 * EXTENT);
    assert_int_equal(plan.free.items[1].disk, 1);
    assert_int_equal(plan.free.items[1].offset, MIB + 16 * EXTENT);
}

static void test_a_striped_volume_has_a_part_on_each_disk(void **state)
{
    (void)state;
    AUTO(snapshot_plan) plan = {0};
    static const struct row row = {
        "db",      "-wi-ao----", "",         "1", "1",     "67108864",
        "striped", "0",          "67108864", "2", "65536", "/dev/sda3:25-32 /dev/sdb:0-7"};
    plan_of(&plan, &row, 1, "99");
    assert_string_equal(plan.obstacle, "");
    assert_int_equal(plan.part_count, 2);
    assert_int_equal(plan.parts[0].offset, 513 * MIB + 25 * EXTENT);
    assert_int_equal(plan.parts[0].start, 0);
    assert_int_equal(plan.parts[1].disk, 1);
    assert_int_equal(plan.parts[1].offset, MIB);
    assert_int_equal(plan.parts[1].length, 8 * EXTENT);
    assert_int_equal(plan.parts[1].start, 65536);
    assert_int_equal(plan.parts[1].stripes, 2);
    assert_int_equal(plan.parts[1].stripe_bytes, 65536);
}

static void test_a_volume_of_two_segments_is_one(void **state)
{
    (void)state;
    AUTO(snapshot_plan) plan = {0};
    static const struct row rows[] = {{"root", "-wi-ao----", "", "0", "1", "67108864", "linear",
                                       "0", "33554432", "1", "0", "/dev/sda3:8-15"},
                                      {"root", "-wi-ao----", "", "0", "1", "67108864", "linear",
                                       "33554432", "33554432", "1", "0", "/dev/sda3:0-7"}};
    plan_of(&plan, rows, 2, "99");
    assert_int_equal(plan.volume_count, 1);
    assert_int_equal(plan.part_count, 2);
    assert_int_equal(plan.parts[1].offset, 513 * MIB);
    assert_int_equal(plan.parts[1].start, 8 * EXTENT);
}

static void test_what_is_swapped_out_needs_no_snapshot_and_is_left_out(void **state)
{
    (void)state;
    AUTO(snapshot_plan) plan = {0};
    static const struct row rows[] = {ROOT,
                                      {"swap", "-wi-ao----", "", "9", "1", "33554432", "linear",
                                       "0", "33554432", "1", "0", "/dev/sda3:25-32"}};
    plan_of(&plan, rows, 2, "99");
    assert_int_equal(plan.volume_count, 1);
    assert_int_equal(plan.swap.count, 1);
    assert_int_equal(plan.swap.items[0].offset, 513 * MIB + 25 * EXTENT + SNAPSHOT_SWAP_HEADER);
    assert_int_equal(plan.swap.items[0].length, 8 * EXTENT - SNAPSHOT_SWAP_HEADER);
}

static void test_a_volume_that_nobody_has_open_is_at_rest(void **state)
{
    (void)state;
    AUTO(snapshot_plan) plan = {0};
    static const struct row row = {"root",   "-wi-a-----", "",          "0", "0", "104857600",
                                   "linear", "0",          "104857600", "1", "0", "/dev/sda3:0-24"};
    plan_of(&plan, &row, 1, "99");
    assert_int_equal(plan.volume_count, 0);
    assert_string_equal(plan.obstacle, "no logical volume is in use");
}

static void test_room_is_a_fifth_where_there_is_and_less_where_there_is_less(void **state)
{
    (void)state;
    static const struct row row = {"root",   "-wi-ao----", "",          "0", "1", "209715200",
                                   "linear", "0",          "209715200", "1", "0", "/dev/sda3:0-49"};
    static const struct {
        const char *free;
        uint64_t room;
    } cases[] = {{"99", 17}, {"17", 17}, {"10", 10}, {"5", 5}, {"4", 0}, {"0", 0}};
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        AUTO(snapshot_plan) plan = {0};
        plan_of(&plan, &row, 1, cases[i].free);
        assert_int_equal(plan.volumes[0].room_extents, cases[i].room);
        assert_int_equal(plan.obstacle[0] != '\0', cases[i].room == 0);
        if (cases[i].room == 0)
            assert_non_null(strstr(plan.obstacle, "free, and 20.0 MiB would be needed"));
    }
}

static void test_two_volumes_share_what_is_free(void **state)
{
    (void)state;
    AUTO(snapshot_plan) plan = {0};
    static const struct row rows[] = {ROOT,
                                      {"data", "-wi-ao----", "", "1", "1", "104857600", "linear",
                                       "0", "104857600", "1", "0", "/dev/sdb:0-24"}};
    plan_of(&plan, rows, 2, "20");
    assert_string_equal(plan.obstacle, "");
    uint64_t sum = plan.volumes[0].room_extents + plan.volumes[1].room_extents;
    assert_in_range(sum, 18, 20);
    assert_int_equal(plan.volumes[0].room_extents, plan.volumes[1].room_extents);
}

static void test_other_kinds_of_volumes_are_an_obstacle(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"root", "rwi-aor---", "", "0", "1", "16777216", "raid1", "0", "16777216", "2", "0",
         "root_rimage_0:0-3 root_rimage_1:0-3"},
        {"root", "owi-aos---", "", "0", "1", "16777216", "linear", "0", "16777216", "1", "0",
         "/dev/sda3:0-3"},
        {"root", "Vwi-aotz--", "", "0", "1", "16777216", "thin", "0", "16777216", "0", "0", ""},
        {"root", "-wi-ao----", "", "0", "1", "16777216", "linear", "0", "16777216", "1", "0",
         "/dev/sdq:0-3"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        AUTO(snapshot_plan) plan = {0};
        plan_of(&plan, &rows[i], 1, "99");
        assert_non_null(strstr(plan.obstacle, "vg0/root is a volume of another kind"));
    }
}

static void test_a_physical_volume_on_raid_is_an_obstacle(void **state)
{
    (void)state;
    AUTO(report) report = {0};
    AUTO(snapshot_plan) plan = {0};
    static const struct row row = {"root",   "-wi-ao----", "",         "0", "1", "16777216",
                                   "linear", "0",          "16777216", "1", "0", "/dev/md0:0-3"};
    add_rows(&report, &row, 1, "99");
    add_member(&report, "/dev/md0", "0", "4", "linear");
    must_plan(&plan, &report);
    assert_string_equal(plan.obstacle, "vg0 lies on RAID or encryption");
}

static void test_volumes_of_disks_that_are_not_sent_are_no_concern(void **state)
{
    (void)state;
    AUTO(report) report = {0};
    AUTO(snapshot_plan) plan = {0};
    static const struct row row = {"root",   "-wi-ao----", "",         "0", "1", "16777216",
                                   "linear", "0",          "16777216", "1", "0", "/dev/sdz:0-3"};
    add_rows(&report, &row, 1, "0");
    add_member(&report, "/dev/sdz", "0", "4", "linear");
    must_plan(&plan, &report);
    assert_int_equal(plan.volume_count, 0);
    assert_string_equal(plan.obstacle, "no logical volume is in use");
}

static void test_reports_that_do_not_add_up_are_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        /* a segment behind the volume's end; ranges of another length; stripes that are not */
        {"root", "-wi-ao----", "", "0", "1", "16777216", "linear", "16777216", "16777216", "1", "0",
         "/dev/sda3:0-3"},
        {"root", "-wi-ao----", "", "0", "1", "16777216", "linear", "0", "16777216", "1", "0",
         "/dev/sda3:0-4"},
        {"root", "-wi-ao----", "", "0", "1", "16777216", "striped", "0", "16777216", "2", "0",
         "/dev/sda3:0-1 /dev/sdb:0-1"},
        {"root", "-wi-ao----", "", "0", "1", "-1", "linear", "0", "16777216", "1", "0",
         "/dev/sda3:0-3"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        AUTO(report) report = {0};
        AUTO(snapshot_plan) plan = {0};
        struct error err = {0};
        add_rows(&report, &rows[i], 1, "99");
        add_members(&report);
        assert_int_equal(read_plan(&plan, &report, &err), -1);
        assert_non_null(strstr(err.text, "LVM's report"));
    }
}

static void test_what_is_no_report_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "[]",
                                        "{\"report\":[]}",
                                        "{\"report\":[{\"lv\":7}]}",
                                        "{\"report\":[{\"lv\":[7]}]}",
                                        "{\"report\":[{\"lv\":[{}]}]}"};
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        struct snapshot_plan plan;
        struct snapshot_owns owns;
        struct error err = {0};
        assert_int_equal(
            snapshot_plan_read(&plan, texts[i], "{\"report\":[{\"pvseg\":[]}]}", &machine, &err),
            -1);
        assert_true(err.text[0]);
        assert_int_equal(snapshot_owns_read(&owns, texts[i], &err), -1);
    }
}

static void test_a_group_that_was_changed_between_the_reports_is_refused(void **state)
{
    (void)state;
    AUTO(report) report = {0};
    AUTO(snapshot_plan) plan = {0};
    struct error err = {0};
    add_rows(&report, (const struct row[]){ROOT}, 1, "99");
    add_members(&report);
    char *seqno = strstr(report.pvs.data, "\"vg_seqno\":\"4\"");
    seqno[12] = '5';
    assert_int_equal(read_plan(&plan, &report, &err), -1);
    assert_non_null(strstr(err.text, "was changed meanwhile"));
}

static void test_ours_are_known_by_tag_and_name(void **state)
{
    (void)state;
    AUTO(report) report = {0};
    AUTO(snapshot_owns) owns = {0};
    static const struct row rows[] = {
        ROOT,
        {"rehost_snapshot_0", "swi-a-s---", "a,rehost_snapshot", "3", "0", "1", "linear", "0", "1",
         "1", "0", ""},
        {"rehost_snapshot_0", "swi-a-s---", "a,rehost_snapshot", "3", "0", "1", "linear", "0", "1",
         "1", "0", ""},
        {"rehost_snapshot_1", "swi-a-s---", "", "4", "0", "1", "linear", "0", "1", "1", "0", ""},
        {"mine", "swi-a-s---", "rehost_snapshot", "5", "0", "1", "linear", "0", "1", "1", "0", ""},
        {"rehost_snapshot_2", "swi---s---", "rehost_snapshot", "-1", "-1", "1", "linear", "0", "1",
         "1", "0", ""},
    };
    struct error err = {0};
    add_rows(&report, rows, ARRAY_LENGTH(rows), "9");
    assert_int_equal(snapshot_owns_read(&owns, text_string(&report.lvs), &err), 0);
    assert_int_equal(owns.count, 2);
    assert_string_equal(owns.items[0].name, "rehost_snapshot_0");
    assert_true(owns.items[0].is_active);
    assert_int_equal(owns.items[0].minor, 3);
    assert_string_equal(owns.items[1].name, "rehost_snapshot_2");
    assert_false(owns.items[1].is_active);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_linear_volume_is_found_on_its_disk),
        cmocka_unit_test(test_metadata_and_free_extents_are_known),
        cmocka_unit_test(test_a_striped_volume_has_a_part_on_each_disk),
        cmocka_unit_test(test_a_volume_of_two_segments_is_one),
        cmocka_unit_test(test_what_is_swapped_out_needs_no_snapshot_and_is_left_out),
        cmocka_unit_test(test_a_volume_that_nobody_has_open_is_at_rest),
        cmocka_unit_test(test_room_is_a_fifth_where_there_is_and_less_where_there_is_less),
        cmocka_unit_test(test_two_volumes_share_what_is_free),
        cmocka_unit_test(test_other_kinds_of_volumes_are_an_obstacle),
        cmocka_unit_test(test_a_physical_volume_on_raid_is_an_obstacle),
        cmocka_unit_test(test_volumes_of_disks_that_are_not_sent_are_no_concern),
        cmocka_unit_test(test_reports_that_do_not_add_up_are_refused),
        cmocka_unit_test(test_what_is_no_report_is_refused),
        cmocka_unit_test(test_a_group_that_was_changed_between_the_reports_is_refused),
        cmocka_unit_test(test_ours_are_known_by_tag_and_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
