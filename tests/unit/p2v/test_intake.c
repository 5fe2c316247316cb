/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Which folder a machine is received into, who holds it, and what is taken up again.
 */
#include "base/io.h"
#include "base/text.h"
#include "p2v/finish_folder.h"
#include "p2v/machine.h"
#include "p2v/server/intake.h"

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

struct place {
    char folder[64];
    struct pool pool;
};

static int start(void **state)
{
    struct place *place = memory_new(1, sizeof(*place));
    snprintf(place->folder, sizeof(place->folder), "/tmp/rehost-test.XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    assert_int_equal(pool_open(&place->pool, place->folder, POOL_SERVE, NULL), 0);
    *state = place;
    return 0;
}

static int stop(void **state)
{
    struct place *place = *state;
    pool_fini(&place->pool);
    int result = folder_remove(AT_FDCWD, place->folder, NULL);
    free(place);
    return result;
}

static bool has(const struct place *place, const char *name)
{
    return folder_has(place->pool.fd, name);
}

static void put(const struct place *place, const char *name, const char *content)
{
    AUTO_FREE char *path = path_join(place->pool.path, name);
    AUTO_FREE char *folder = path_parent(path);
    AUTO_FREE char *base = path_base(path);
    mkdir(folder, 0755);
    AUTO_CLOSE int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(io_replace_file(fd, base, content, strlen(content), 0644, NULL), 0);
}

/* A machine that is complete: files that look like one, the manifest last. */
static void put_machine(const struct place *place)
{
    put(place, "web/guest.json", "{}");
    put(place, "web/disk0.qcow2", "an image");
    put(place, "web/disk0.manifest", "a manifest that ends with its sum, 32 bytes long");
}

static void take(struct place *place, struct intake *intake, bool is_renewed)
{
    struct error err = {0};
    int result = intake_open(intake, &place->pool, "web", is_renewed, NULL, &err);
    if (result != 0)
        fail_msg("%s", err.text);
    assert_true(intake->folder_fd >= 0);
}

static void complete(struct intake *intake)
{
    struct received received = {.machine = "web", .disk_count = 1};
    received.disks[0] =
        (struct received_disk){.name = "sda", .format = "qcow2", .size_bytes = 1 << 20};
    assert_int_equal(intake_complete(intake, &received, NULL), 0);
}

static void count_found(void *context, const char *name)
{
    assert_string_equal(name, "web");
    ++*(int *)context;
}

static int complete_count(const struct place *place)
{
    int count = 0;
    assert_int_equal(intake_list_complete(&place->pool, count_found, &count, NULL), 0);
    return count;
}

static void test_a_new_machine_is_received_beside_its_name(void **state)
{
    struct place *place = *state;
    struct intake intake;
    take(place, &intake, false);
    assert_true(has(place, "web.partial/" MACHINE_DRAFT_MARK));
    assert_false(intake.is_resumed);
    assert_null(intake.base);
    assert_int_equal(intake_set_inventory(&intake, "{}", 2, NULL), 0);
    assert_true(has(place, "web.partial/inventory.json"));
    assert_int_equal(complete_count(place), 0);
    intake_close(&intake);
    assert_false(has(place, "web"));
}

static void test_a_folder_that_is_held_is_busy(void **state)
{
    struct place *place = *state;
    struct intake intake, second;
    struct error err = {0};
    take(place, &intake, false);
    assert_int_equal(intake_open(&second, &place->pool, "web", false, NULL, &err), -1);
    assert_int_equal(err.errnum, EBUSY);
    intake_close(&second);
    intake_close(&intake);
    take(place, &intake, false);
    assert_true(intake.is_resumed);
    intake_close(&intake);
}

static void test_what_is_complete_is_found_and_can_be_taken_up(void **state)
{
    struct place *place = *state;
    struct intake intake;
    take(place, &intake, false);
    put(place, "web.partial/disk0.qcow2", "an image");
    put(place, "web.partial/disk0.ledger", "a ledger");
    put(place, "web.partial/disk0.manifest", "a manifest");
    complete(&intake);
    intake_close(&intake);
    assert_int_equal(complete_count(place), 1);
    take(place, &intake, false);
    assert_true(intake.is_resumed);
    assert_false(has(place, "web.partial/received.json"));
    assert_false(has(place, "web.partial/disk0.manifest"));
    assert_true(has(place, "web.partial/disk0.qcow2"));
    assert_true(has(place, "web.partial/disk0.ledger"));
    assert_int_equal(complete_count(place), 0);
    intake_close(&intake);
}

static void test_other_disks_begin_anew(void **state)
{
    struct place *place = *state;
    struct intake intake;
    take(place, &intake, false);
    put(place, "web.partial/disk0.qcow2", "an image");
    intake_close(&intake);
    take(place, &intake, true);
    assert_false(intake.is_resumed);
    assert_false(has(place, "web.partial/disk0.qcow2"));
    assert_true(has(place, "web.partial/" MACHINE_DRAFT_MARK));
    intake_close(&intake);
}

static void test_a_complete_machine_is_updated(void **state)
{
    struct place *place = *state;
    struct intake intake;
    put_machine(place);
    take(place, &intake, false);
    assert_true(text_ends_with(intake.folder, "/web.update"));
    assert_true(text_ends_with(intake.base, "/web"));
    assert_true(intake.base_fd >= 0);
    put(place, "web.update/disk0.qcow2", "an overlay");
    intake_close(&intake);
    take(place, &intake, false);
    assert_true(intake.is_resumed);
    assert_true(has(place, "web.update/disk0.qcow2"));
    intake_close(&intake);
}

static void test_an_update_over_another_state_begins_anew(void **state)
{
    struct place *place = *state;
    struct intake intake;
    put_machine(place);
    take(place, &intake, false);
    put(place, "web.update/disk0.qcow2", "an overlay");
    intake_close(&intake);
    put(place, "web/disk0.qcow2", "what a fix wrote");
    put(place, "web/disk0.manifest", "its manifest, which ends with its sum, 32 bytes");
    take(place, &intake, false);
    assert_true(text_ends_with(intake.folder, "/web.update"));
    assert_false(intake.is_resumed);
    assert_false(has(place, "web.update/disk0.qcow2"));
    intake_close(&intake);
}

static void test_a_machine_that_was_run_is_received_anew(void **state)
{
    struct place *place = *state;
    struct intake intake;
    put_machine(place);
    usleep(20000);
    put(place, "web/disk0.qcow2", "what the running machine wrote");
    take(place, &intake, false);
    assert_true(text_ends_with(intake.folder, "/web.partial"));
    assert_null(intake.base);
    intake_close(&intake);
}

static void test_a_complete_machine_with_other_disks_is_received_beside(void **state)
{
    struct place *place = *state;
    struct intake intake;
    put_machine(place);
    take(place, &intake, false);
    intake_close(&intake);
    assert_true(has(place, "web.update"));
    take(place, &intake, true);
    assert_true(text_ends_with(intake.folder, "/web.partial"));
    assert_false(has(place, "web.update"));
    intake_close(&intake);
    /* And goes on so after a cut. */
    take(place, &intake, false);
    assert_true(text_ends_with(intake.folder, "/web.partial"));
    assert_true(intake.is_resumed);
    intake_close(&intake);
    assert_true(has(place, "web/guest.json"));
}

static void test_an_old_machine_that_stands_aside_is_removed(void **state)
{
    struct place *place = *state;
    struct intake intake;
    put(place, "web.partial/guest.json", "{}");
    put(place, "web.partial/disk0.qcow2", "the old disk");
    take(place, &intake, false);
    assert_false(intake.is_resumed);
    assert_false(has(place, "web.partial/disk0.qcow2"));
    intake_close(&intake);
}

static void test_what_a_killed_removal_left_goes_with_the_next_transfer(void **state)
{
    struct place *place = *state;
    struct intake intake;
    put(place, ".web.update.removed/disk0.qcow2", "an update that was merged");
    put(place, ".web.partial.removed/disk0.qcow2", "a machine that was replaced");
    put(place, ".mail.update.removed/disk0.qcow2", "another machine's");
    take(place, &intake, false);
    assert_false(has(place, ".web.update.removed"));
    assert_false(has(place, ".web.partial.removed"));
    assert_true(has(place, ".mail.update.removed"));
    intake_close(&intake);
}

static void test_somebody_elses_folders_are_left_alone(void **state)
{
    struct place *place = *state;
    struct intake intake;
    put(place, "web.partial/letters.txt", "dear");
    assert_int_equal(intake_open(&intake, &place->pool, "web", true, NULL, NULL), -1);
    assert_true(has(place, "web.partial/letters.txt"));
    put(place, "mail/letters.txt", "dear");
    assert_int_equal(intake_open(&intake, &place->pool, "mail", true, NULL, NULL), -1);
    assert_true(has(place, "mail/letters.txt"));
}

static void test_names_that_are_none_are_refused(void **state)
{
    static const char *const names[] = {"",     ".",   "..",          "a/b",
                                        "../x", "-rf", "web.partial", "b.update"};
    struct place *place = *state;
    struct intake intake;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct error err = {0};
        assert_int_equal(intake_open(&intake, &place->pool, names[i], false, NULL, &err), -1);
        assert_int_equal(err.errnum, EINVAL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_new_machine_is_received_beside_its_name, start,
                                        stop),
        cmocka_unit_test_setup_teardown(test_a_folder_that_is_held_is_busy, start, stop),
        cmocka_unit_test_setup_teardown(test_what_is_complete_is_found_and_can_be_taken_up, start,
                                        stop),
        cmocka_unit_test_setup_teardown(test_other_disks_begin_anew, start, stop),
        cmocka_unit_test_setup_teardown(test_a_complete_machine_is_updated, start, stop),
        cmocka_unit_test_setup_teardown(test_an_update_over_another_state_begins_anew, start, stop),
        cmocka_unit_test_setup_teardown(test_a_machine_that_was_run_is_received_anew, start, stop),
        cmocka_unit_test_setup_teardown(test_a_complete_machine_with_other_disks_is_received_beside,
                                        start, stop),
        cmocka_unit_test_setup_teardown(test_what_a_killed_removal_left_goes_with_the_next_transfer,
                                        start, stop),
        cmocka_unit_test_setup_teardown(test_an_old_machine_that_stands_aside_is_removed, start,
                                        stop),
        cmocka_unit_test_setup_teardown(test_somebody_elses_folders_are_left_alone, start, stop),
        cmocka_unit_test_setup_teardown(test_names_that_are_none_are_refused, start, stop),
    };
    return cmocka_run_group_tests_name("intake", tests, NULL, NULL);
}
