/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The plan: reading through it, joining edits, links, and how it is shown.
 */
#include "tests/lib/phony_guest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static struct error err;

static int setup(void **state)
{
    static struct phony phony;
    phony_init(&phony);
    phony_add(&phony, "/usr/etc/conf", "one\n");
    phony_add(&phony, "/etc/other", "other\n");
    files_memory_add_link(phony.memory, "/etc/conf", "../usr/etc/conf");
    files_memory_add_link(phony.memory, "/etc/links/a.service", "/lib/a.service");
    *state = &phony;
    return 0;
}

static int teardown(void **state)
{
    phony_fini(*state);
    return 0;
}

static void test_a_write_of_what_is_there_plans_nothing(void **state)
{
    struct phony *phony = *state;
    assert_int_equal(plan_write(&phony->plan, "f", "/etc/other", "other\n", 0644, "why", &err), 0);
    assert_int_equal(phony->plan.edit_count, 0);
}

static void test_a_later_fixer_reads_what_an_earlier_one_writes(void **state)
{
    struct phony *phony = *state;
    plan_write(&phony->plan, "f", "/etc/other", "new\n", 0644, "why", &err);
    AUTO_FREE char *text = phony_planned(phony, "/etc/other");
    assert_string_equal(text, "new\n");
    plan_write(&phony->plan, "g", "/etc/other", "newer\n", 0644, "because", &err);
    assert_int_equal(phony->plan.edit_count, 1);
    plan_write(&phony->plan, "h", "/etc/other", "newer\n", 0644, "because", &err);
    assert_string_equal(phony->plan.edits[0].reason, "why; because");
    plan_write(&phony->plan, "h", "/etc/other", "newest\n", 0644, "why", &err);
    assert_string_equal(phony->plan.edits[0].reason, "why; because");
    assert_string_equal(phony->plan.edits[0].before, "other\n");
    assert_string_equal(phony->plan.edits[0].after, "newest\n");
}

static void test_writing_the_original_again_takes_the_edit_back(void **state)
{
    struct phony *phony = *state;
    plan_write(&phony->plan, "f", "/etc/other", "new\n", 0644, "why", &err);
    plan_write(&phony->plan, "g", "/etc/other", "other\n", 0644, "no", &err);
    assert_int_equal(phony->plan.edit_count, 0);
}

static void test_a_write_through_a_link_edits_what_it_leads_to(void **state)
{
    struct phony *phony = *state;
    plan_write(&phony->plan, "f", "/etc/conf", "two\n", 0644, "why", &err);
    assert_string_equal(phony->plan.edits[0].path, "/usr/etc/conf");
    plan_write(&phony->plan, "f", "/usr/etc/conf", "three\n", 0644, "why", &err);
    assert_int_equal(phony->plan.edit_count, 1);
    AUTO_FREE char *text = phony_planned(phony, "/etc/conf");
    assert_string_equal(text, "three\n");
}

static void test_removing_a_link_removes_the_link_itself(void **state)
{
    struct phony *phony = *state;
    plan_remove(&phony->plan, "f", "/etc/links/a.service", "why", &err);
    assert_int_equal(phony->plan.edits[0].kind, EDIT_REMOVE);
    assert_true(phony->plan.edits[0].was_link);
    char **names;
    assert_int_equal(plan_list(&phony->plan, "/etc/links", &names, &err), 1);
    assert_null(names[0]);
    files_free_names(names);
    plan_remove(&phony->plan, "f", "/etc/links/none", "why", &err);
    assert_int_equal(phony->plan.edit_count, 1);
}

static void test_links_are_planned_once_and_listed(void **state)
{
    struct phony *phony = *state;
    plan_symlink(&phony->plan, "f", "/etc/links/a.service", "/lib/a.service", "why", &err);
    assert_int_equal(phony->plan.edit_count, 0);
    plan_symlink(&phony->plan, "f", "/etc/links/b.service", "/dev/null", "why", &err);
    plan_symlink(&phony->plan, "f", "/etc/links/b.service", "/dev/null", "why", &err);
    assert_int_equal(phony->plan.edit_count, 1);
    char **names;
    plan_list(&phony->plan, "/etc/links", &names, &err);
    assert_string_equal(names[1], "b.service");
    files_free_names(names);
    AUTO_FREE char *target = NULL;
    assert_int_equal(plan_readlink(&phony->plan, "/etc/links/b.service", &target, &err), 1);
    assert_string_equal(target, "/dev/null");
    plan_remove(&phony->plan, "g", "/etc/links/b.service", "no", &err);
    assert_int_equal(phony->plan.edit_count, 0);
}

static void test_binary_and_oversized_files_are_not_read_and_said(void **state)
{
    struct phony *phony = *state;
    files_memory_add(phony->memory, "/etc/binary", 0644, "a\0b", 3);
    AUTO_FREE char *large = memory_new(FILES_MAX_CONFIG + 2, 1);
    memset(large, 'x', FILES_MAX_CONFIG + 1);
    files_memory_add(phony->memory, "/etc/large", 0644, large, FILES_MAX_CONFIG + 1);
    char *text;
    assert_int_equal(plan_read(&phony->plan, "f", "/etc/binary", &text, &err), 0);
    assert_int_equal(plan_read(&phony->plan, "f", "/etc/large", &text, &err), 0);
    assert_int_equal(plan_read(&phony->plan, "f", "/etc/links", &text, &err), 0);
    assert_true(phony_has_note(phony, true, "/etc/binary is not text"));
    assert_true(phony_has_note(phony, true, "/etc/large is larger"));
    assert_int_equal(phony->plan.note_count, 3);
    plan_read(&phony->plan, "f", "/etc/large", &text, &err);
    assert_int_equal(phony->plan.note_count, 3);
}

static void test_a_folder_is_never_written_over(void **state)
{
    struct phony *phony = *state;
    assert_int_equal(plan_write(&phony->plan, "f", "/etc/links", "x", 0644, "why", &err), 0);
    assert_int_equal(phony->plan.edit_count, 0);
    assert_true(phony_has_note(phony, true, "/etc/links is not a regular file"));
}

static void test_a_copy_is_of_a_real_file_and_only_to_where_nothing_is(void **state)
{
    struct phony *phony = *state;
    files_memory_add(phony->memory, "/esp/shim", 0755, "MZ\0x", 4);
    assert_int_equal(plan_copy(&phony->plan, "f", "/esp/shim", "/etc/other", "why", &err), 0);
    assert_int_equal(plan_copy(&phony->plan, "f", "/etc/links", "/esp/a", "why", &err), 0);
    assert_int_equal(plan_copy(&phony->plan, "f", "/etc/none", "/esp/a", "why", &err), 0);
    assert_int_equal(phony->plan.edit_count, 0);
    assert_true(phony_has_note(phony, true, "/etc/links is not a regular file"));
    assert_int_equal(plan_copy(&phony->plan, "f", "/etc/conf", "/esp/conf", "why", &err), 0);
    assert_string_equal(phony->plan.edits[0].after, "/usr/etc/conf");
    assert_int_equal(plan_copy(&phony->plan, "f", "/esp/shim", "/esp/boot/x", "why", &err), 0);
    assert_int_equal(plan_copy(&phony->plan, "f", "/etc/conf", "/esp/boot/x", "no", &err), 0);
    assert_int_equal(phony->plan.edit_count, 2);
    assert_int_equal(phony->plan.edits[1].needed_bytes, 4);
    assert_true(plan_exists(&phony->plan, "/esp/boot/x"));
    AUTO(text) diff = {0};
    plan_format_diff(&phony->plan, &diff);
    assert_non_null(strstr(diff.data, "# /esp/boot/x: a copy of /esp/shim\n"));
    phony_apply(phony);
    AUTO_FREE char *data = NULL;
    size_t length = 0;
    assert_int_equal(files_read(phony->plan.guest, "/esp/boot/x", 16, &data, &length, &err), 1);
    assert_int_equal(length, 4);
    assert_memory_equal(data, "MZ\0x", 4);
}

static void test_notes_are_escaped(void **state)
{
    struct phony *phony = *state;
    plan_note(&phony->plan, "f", "name %s", "\x1b]0;owned\a");
    assert_string_equal(phony->plan.notes[0].text, "name \\x1b]0;owned\\x07");
}

static void test_the_diff_names_fixer_reason_and_files(void **state)
{
    struct phony *phony = *state;
    AUTO(text) out = {0};
    plan_write(&phony->plan, "first", "/etc/new", "x\n", 0644, "it was missing", &err);
    plan_symlink(&phony->plan, "second", "/etc/links/m", "/dev/null", "mask it", &err);
    plan_append(&phony->plan, "second", "/boot/initrd", "abc", 3, "drivers", &err);
    plan_write(&phony->plan, "first", "/etc/other", "o\n", 0644, "shorter", &err);
    plan_format_diff(&phony->plan, &out);
    assert_string_equal(text_string(&out), "# first: it was missing\n"
                                           "--- /dev/null\n"
                                           "+++ b/etc/new\n"
                                           "@@ -0,0 +1 @@\n"
                                           "+x\n"
                                           "# first: shorter\n"
                                           "--- a/etc/other\n"
                                           "+++ b/etc/other\n"
                                           "@@ -1 +1 @@\n"
                                           "-other\n"
                                           "+o\n"
                                           "# second: mask it\n"
                                           "diff --git a/etc/links/m b/etc/links/m\n"
                                           "new file mode 120000\n"
                                           "--- /dev/null\n"
                                           "+++ b/etc/links/m\n"
                                           "@@ -0,0 +1 @@\n"
                                           "+/dev/null\n"
                                           "\\ No newline at end of file\n"
                                           "# second: drivers\n"
                                           "# /boot/initrd: an archive of 3 bytes is appended\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_write_of_what_is_there_plans_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_later_fixer_reads_what_an_earlier_one_writes, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_writing_the_original_again_takes_the_edit_back, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_write_through_a_link_edits_what_it_leads_to, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_removing_a_link_removes_the_link_itself, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_links_are_planned_once_and_listed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_binary_and_oversized_files_are_not_read_and_said,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_folder_is_never_written_over, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_copy_is_of_a_real_file_and_only_to_where_nothing_is,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_notes_are_escaped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_diff_names_fixer_reason_and_files, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
