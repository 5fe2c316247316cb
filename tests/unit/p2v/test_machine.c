/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A machine's folder appears whole or not at all, and nothing of somebody else's is touched.
 */
#include "base/io.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
    char folder[64];
    char *final, *partial;
};

static int start(void **state)
{
    struct place *place = memory_new(1, sizeof(*place));
    snprintf(place->folder, sizeof(place->folder), "/tmp/rehost-test.XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    place->final = path_join(place->folder, "web01");
    place->partial = path_join(place->folder, "web01.partial");
    *state = place;
    return 0;
}

static int stop(void **state)
{
    struct place *place = *state;
    int result = folder_remove(AT_FDCWD, place->folder, NULL);
    free(place->final);
    free(place->partial);
    free(place);
    return result;
}

static bool exists(const char *path)
{
    struct stat stat_of;
    return lstat(path, &stat_of) == 0;
}

static void put(const char *folder, const char *name, const char *content)
{
    AUTO_FREE char *path = path_join(folder, name);
    mkdir(folder, 0755);
    assert_int_equal(io_replace_file(AT_FDCWD, path, content, strlen(content), 0644, NULL), 0);
}

static void assert_content(const char *folder, const char *name, const char *content)
{
    AUTO_FREE char *path = path_join(folder, name);
    AUTO_FREE char *data = NULL;
    size_t length;
    assert_int_equal(io_read_file(AT_FDCWD, path, 100, &data, &length, NULL), 0);
    assert_string_equal(data, content);
}

static void open_draft(const struct place *place, struct machine_draft *draft, bool is_forced)
{
    struct error err = {0};
    if (machine_draft_open(draft, place->final, is_forced, NULL, &err) != 0)
        fail_msg("%s", err.text);
}

static void refuse_draft(const struct place *place, bool is_forced, const char *says)
{
    struct machine_draft draft;
    struct error err = {0};
    assert_int_equal(machine_draft_open(&draft, place->final, is_forced, NULL, &err), -1);
    if (!strstr(err.text, says))
        fail_msg("'%s' does not say '%s'", err.text, says);
}

static void test_draft_appears_under_its_name_when_published(void **state)
{
    struct place *place = *state;
    struct machine_draft draft;
    open_draft(place, &draft, false);
    put(draft.partial, MACHINE_GUEST, "new");
    assert_false(exists(place->final));
    assert_int_equal(machine_draft_publish(&draft, NULL, NULL), 0);
    assert_false(exists(place->partial));
    machine_draft_fini(&draft);
    assert_content(place->final, MACHINE_GUEST, "new");
    AUTO_FREE char *mark = path_join(place->final, ".rehost-draft");
    assert_false(exists(mark));
}

static void test_draft_leaves_nothing_when_it_is_given_up(void **state)
{
    struct place *place = *state;
    struct machine_draft draft;
    open_draft(place, &draft, false);
    put(draft.partial, "disk0.qcow2", "data");
    machine_draft_fini(&draft);
    assert_false(exists(place->partial));
    assert_false(exists(place->final));
}

static void test_draft_takes_a_name_with_slashes_behind_it(void **state)
{
    struct place *place = *state;
    struct machine_draft draft;
    AUTO_FREE char *path = text_format("%s///", place->final);
    assert_int_equal(machine_draft_open(&draft, path, false, NULL, NULL), 0);
    assert_string_equal(draft.final, place->final);
    assert_string_equal(draft.partial, place->partial);
    machine_draft_fini(&draft);
}

static void test_draft_refuses_names_that_are_no_new_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"/", ".", "..", "a/..", ""};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct machine_draft draft;
        assert_int_equal(machine_draft_open(&draft, names[i], true, NULL, NULL), -1);
    }
}

static void test_draft_replaces_a_machine_only_by_force(void **state)
{
    struct place *place = *state;
    struct machine_draft draft;
    put(place->final, MACHINE_GUEST, "old");
    refuse_draft(place, false, "--force");
    assert_content(place->final, MACHINE_GUEST, "old");
    open_draft(place, &draft, true);
    put(draft.partial, MACHINE_GUEST, "new");
    assert_content(place->final, MACHINE_GUEST, "old");
    assert_int_equal(machine_draft_publish(&draft, NULL, NULL), 0);
    machine_draft_fini(&draft);
    assert_content(place->final, MACHINE_GUEST, "new");
    assert_false(exists(place->partial));
}

static void test_draft_keeps_the_old_machine_when_a_forced_one_is_given_up(void **state)
{
    struct place *place = *state;
    struct machine_draft draft;
    put(place->final, MACHINE_GUEST, "old");
    open_draft(place, &draft, true);
    machine_draft_fini(&draft);
    assert_content(place->final, MACHINE_GUEST, "old");
}

static void test_draft_never_replaces_what_is_not_ours(void **state)
{
    struct place *place = *state;
    put(place->final, "precious", "mine");
    refuse_draft(place, true, "no converted machine");
    assert_content(place->final, "precious", "mine");
    assert_false(exists(place->partial));
}

static void test_draft_refuses_a_file_and_a_link_under_its_name(void **state)
{
    struct place *place = *state;
    put(place->folder, "web01", "a file");
    refuse_draft(place, true, "not a folder");
    unlink(place->final);
    assert_int_equal(symlink("/tmp", place->final), 0);
    refuse_draft(place, true, "not a folder");
}

static void test_draft_removes_what_a_killed_run_left(void **state)
{
    struct place *place = *state;
    struct machine_draft draft;
    put(place->partial, ".rehost-draft", "");
    put(place->partial, "disk0.qcow2", "half");
    open_draft(place, &draft, false);
    AUTO_FREE char *old = path_join(place->partial, "disk0.qcow2");
    assert_false(exists(old));
    machine_draft_fini(&draft);
}

static void test_draft_takes_an_empty_leftover(void **state)
{
    struct place *place = *state;
    struct machine_draft draft;
    assert_int_equal(mkdir(place->partial, 0755), 0); /* killed before it was marked */
    open_draft(place, &draft, false);
    machine_draft_fini(&draft);
    assert_false(exists(place->partial));
}

static void test_draft_does_not_remove_a_folder_that_only_has_the_name(void **state)
{
    struct place *place = *state;
    put(place->partial, "precious", "mine");
    refuse_draft(place, false, "in the way");
    assert_content(place->partial, "precious", "mine");
}

static void test_draft_waits_for_nobody_who_is_at_work(void **state)
{
    struct place *place = *state;
    struct machine_draft first;
    open_draft(place, &first, false);
    refuse_draft(place, false, "another rehost");
    assert_true(exists(place->partial));
    machine_draft_fini(&first);
}

static void test_machine_open_wants_a_definition(void **state)
{
    struct place *place = *state;
    struct machine machine;
    struct error err = {0};
    assert_int_equal(machine_open(&machine, place->final, MACHINE_READ, &err), -1);
    put(place->final, "notes", "x");
    assert_int_equal(machine_open(&machine, place->final, MACHINE_READ, &err), -1);
    assert_non_null(strstr(err.text, "no guest.json"));
    put(place->final, MACHINE_GUEST, "{\"rehost_guest\": 1, \"nonsense\": true}");
    assert_int_equal(machine_open(&machine, place->final, MACHINE_READ, &err), -1);
}

static void test_machine_open_shares_with_readers_only(void **state)
{
    struct place *place = *state;
    struct machine first, second;
    AUTO_PTR(guest) guest = guest_new("web01");
    AUTO_FREE char *json = guest_format(guest, NULL);
    put(place->final, MACHINE_GUEST, json);
    assert_int_equal(machine_open(&first, place->final, MACHINE_READ, NULL), 0);
    assert_int_equal(machine_open(&second, place->final, MACHINE_READ, NULL), 0);
    machine_fini(&second);
    assert_int_equal(machine_open(&second, place->final, MACHINE_WRITE, NULL), -1);
    machine_fini(&first);
    assert_int_equal(machine_open(&second, place->final, MACHINE_WRITE, NULL), 0);
    machine_fini(&second);
}

static void test_machine_manifest_names_only_files_of_the_folder(void **state)
{
    struct place *place = *state;
    static const char *const images[] = {"", "../secret", "/etc/passwd", ".hidden"};
    mkdir(place->final, 0755);
    struct machine machine = {.path = place->final};
    machine.folder_fd = open(place->final, O_RDONLY | O_DIRECTORY);
    for (size_t i = 0; i < sizeof(images) / sizeof(images[0]); i++) {
        struct manifest written = {0}, read = {0};
        assert_int_equal(manifest_init(&written, 65536, NULL), 0);
        snprintf(written.image, sizeof(written.image), "%s", images[i]);
        if (manifest_write(&written, machine.folder_fd, "disk0.manifest", NULL) == 0)
            assert_int_equal(machine_read_manifest(&machine, 0, &read, NULL), -1);
        manifest_fini(&written);
    }
    struct manifest none = {0};
    assert_int_equal(machine_read_manifest(&machine, 1, &none, NULL), 0);
    close(machine.folder_fd);
}

static void test_paths_are_taken_apart(void **state)
{
    (void)state;
    static const struct {
        const char *path, *parent, *base;
    } cases[] = {{"a", ".", "a"},     {"a/b", "a", "b"},  {"/a", "/", "a"},   {"a/b//", "a", "b"},
                 {"/a/b", "/a", "b"}, {"a//b", "a", "b"}, {"../x", "..", "x"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        AUTO_FREE char *parent = path_parent(cases[i].path);
        AUTO_FREE char *base = path_base(cases[i].path);
        assert_string_equal(parent, cases[i].parent);
        assert_string_equal(base, cases[i].base);
    }
    AUTO_FREE char *joined = path_join("a/", "b");
    assert_string_equal(joined, "a/b");
    AUTO_FREE char *absolute = path_join("a", "/b");
    assert_string_equal(absolute, "/b");
}

static void test_folder_remove_does_not_follow_links(void **state)
{
    struct place *place = *state;
    AUTO_FREE char *link = path_join(place->partial, "link");
    put(place->final, "precious", "mine");
    put(place->partial, "file", "x");
    assert_int_equal(symlink(place->final, link), 0);
    assert_int_equal(folder_remove(AT_FDCWD, place->partial, NULL), 0);
    assert_false(exists(place->partial));
    assert_content(place->final, "precious", "mine");
    assert_int_equal(folder_remove(AT_FDCWD, place->partial, NULL), 0); /* already gone */
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

static void test_machine_draft_leaves_what_was_received_alone(void **state)
{
    struct place *place = *state;
    struct machine_draft draft;
    struct error err = {0};
    put(place->partial, ".rehost-draft", "");
    put(place->partial, "disk0.ledger", "hours of a transfer");
    assert_int_equal(machine_draft_open(&draft, place->final, true, NULL, &err), -1);
    assert_non_null(strstr(err.text, "rehost serve"));
    AUTO_FREE char *ledger = path_join(place->partial, "disk0.ledger");
    assert_true(exists(ledger));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_machine_draft_leaves_what_was_received_alone, start,
                                        stop),
        TEST(test_draft_appears_under_its_name_when_published),
        TEST(test_draft_leaves_nothing_when_it_is_given_up),
        TEST(test_draft_takes_a_name_with_slashes_behind_it),
        TEST(test_draft_refuses_names_that_are_no_new_folder),
        TEST(test_draft_replaces_a_machine_only_by_force),
        TEST(test_draft_keeps_the_old_machine_when_a_forced_one_is_given_up),
        TEST(test_draft_never_replaces_what_is_not_ours),
        TEST(test_draft_refuses_a_file_and_a_link_under_its_name),
        TEST(test_draft_removes_what_a_killed_run_left),
        TEST(test_draft_takes_an_empty_leftover),
        TEST(test_draft_does_not_remove_a_folder_that_only_has_the_name),
        TEST(test_draft_waits_for_nobody_who_is_at_work),
        TEST(test_machine_open_wants_a_definition),
        TEST(test_machine_open_shares_with_readers_only),
        TEST(test_machine_manifest_names_only_files_of_the_folder),
        TEST(test_paths_are_taken_apart),
        TEST(test_folder_remove_does_not_follow_links),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
