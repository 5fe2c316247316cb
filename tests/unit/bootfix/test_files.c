/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The tree in memory, and the resolution of symbolic links inside a guest.
 */
#include "base/own.h"
#include "base/text.h"
#include "bootfix/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static int make_tree(void **state)
{
    struct files_memory *memory = files_memory_new();
    files_memory_add(memory, "/usr/lib/os-release", 0644, "ID=debian\n", 10);
    files_memory_add(memory, "/usr/lib/modules/x", 0644, "", 0);
    files_memory_add_link(memory, "/lib", "usr/lib");
    files_memory_add_link(memory, "/etc/os-release", "../usr/lib/os-release");
    files_memory_add_link(memory, "/etc/outside", "../../../../../usr/lib/os-release");
    files_memory_add_link(memory, "/etc/loop", "loop2");
    files_memory_add_link(memory, "/etc/loop2", "/etc/loop");
    files_memory_add_link(memory, "/etc/dangling", "/run/later");
    *state = memory;
    return 0;
}

static int free_tree(void **state)
{
    files_memory_free(*state);
    return 0;
}

static char *read_text(void *state, const char *path)
{
    char *data;
    size_t length;
    struct error err = {0};
    int found = files_read(files_memory_files(state), path, 100, &data, &length, &err);
    return found == 1 ? data : NULL;
}

static void test_files_are_read_through_links_of_folders_and_files(void **state)
{
    AUTO_FREE char *direct = read_text(*state, "/usr/lib/os-release");
    AUTO_FREE char *by_folder = read_text(*state, "/lib/os-release");
    AUTO_FREE char *by_file = read_text(*state, "/etc/os-release");
    assert_string_equal(direct, "ID=debian\n");
    assert_string_equal(by_folder, "ID=debian\n");
    assert_string_equal(by_file, "ID=debian\n");
}

static void test_a_link_cannot_leave_the_root(void **state)
{
    AUTO_FREE char *text = read_text(*state, "/etc/outside");
    assert_string_equal(text, "ID=debian\n");
}

static void test_a_loop_of_links_is_not_found_and_ends(void **state)
{
    assert_null(read_text(*state, "/etc/loop"));
    assert_false(files_exist(files_memory_files(*state), "/etc/loop"));
    char *real;
    struct error err = {0};
    assert_int_equal(files_resolve(files_memory_files(*state), "/etc/loop", true, &real, &err), 0);
    assert_null(real);
}

static void test_resolve_keeps_what_does_not_exist(void **state)
{
    struct error err = {0};
    struct files *files = files_memory_files(*state);
    char *real;
    assert_int_equal(files_resolve(files, "/lib/new/file", true, &real, &err), 1);
    assert_string_equal(real, "/usr/lib/new/file");
    free(real);
    assert_int_equal(files_resolve(files, "/etc/dangling", true, &real, &err), 1);
    assert_string_equal(real, "/run/later");
    free(real);
    assert_int_equal(files_resolve(files, "/etc/./../lib", false, &real, &err), 1);
    assert_string_equal(real, "/lib");
    free(real);
}

static void test_list_gives_sorted_names_of_one_folder(void **state)
{
    struct error err = {0};
    struct files *files = files_memory_files(*state);
    char **names;
    assert_int_equal(files_list(files, "/lib", &names, &err), 1);
    assert_string_equal(names[0], "modules");
    assert_string_equal(names[1], "os-release");
    assert_null(names[2]);
    files_free_names(names);
    assert_int_equal(files_list(files, "/etc/os-release", &names, &err), 0);
    assert_int_equal(files_list(files, "/nowhere", &names, &err), 0);
}

static void test_readlink_tells_links_from_files(void **state)
{
    struct error err = {0};
    struct files *files = files_memory_files(*state);
    AUTO_FREE char *target = NULL;
    assert_int_equal(files_readlink(files, "/etc/os-release", &target, &err), 1);
    assert_string_equal(target, "../usr/lib/os-release");
    char *none;
    assert_int_equal(files_readlink(files, "/lib/os-release", &none, &err), 0);
}

static void test_a_file_beyond_the_limit_is_an_error_that_names_it(void **state)
{
    struct error err = {0};
    char *data;
    size_t length;
    assert_int_equal(
        files_read(files_memory_files(*state), "/usr/lib/os-release", 9, &data, &length, &err), -1);
    assert_non_null(strstr(err.text, "/usr/lib/os-release"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_files_are_read_through_links_of_folders_and_files,
                                        make_tree, free_tree),
        cmocka_unit_test_setup_teardown(test_a_link_cannot_leave_the_root, make_tree, free_tree),
        cmocka_unit_test_setup_teardown(test_a_loop_of_links_is_not_found_and_ends, make_tree,
                                        free_tree),
        cmocka_unit_test_setup_teardown(test_resolve_keeps_what_does_not_exist, make_tree,
                                        free_tree),
        cmocka_unit_test_setup_teardown(test_list_gives_sorted_names_of_one_folder, make_tree,
                                        free_tree),
        cmocka_unit_test_setup_teardown(test_readlink_tells_links_from_files, make_tree, free_tree),
        cmocka_unit_test_setup_teardown(test_a_file_beyond_the_limit_is_an_error_that_names_it,
                                        make_tree, free_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
