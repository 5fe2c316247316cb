/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What holds for every fixer on every guest: it says why, it changes nothing by itself, it plans
 * nothing on its own result, and the diff that a user is shown, applied by patch(1), gives the
 * same tree as the plan.
 */
#include "base/child.h"
#include "base/io.h"
#include "tests/lib/phony_guest.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct guest_kind {
    const char *name;
    void (*init)(struct phony *phony);
};

static void init_empty(struct phony *phony)
{
    phony_init(phony);
}

/* Everything that a fixer reads is a folder, binary, a loop, or nonsense. */
static void init_hostile(struct phony *phony)
{
    phony_init(phony);
    phony_add(phony, "/etc/fstab/file", "x");
    files_memory_add(phony->memory, "/etc/crypttab", 0644, "a /dev/sda1\0\xff", 13);
    phony_add(phony, "/boot/grub/grub.cfg", "linux\nlinux \\\n}\n\x1b[2J linux root=/dev/sda1\n");
    files_memory_add_link(phony->memory, "/etc/default/grub", "grub");
    phony_add(phony, "/etc/udev/rules.d/70-persistent-net.rules",
              "SUBSYSTEM==\"net\", NAME=\"eth0\nSUBSYSTEM==\"net\",NAME=\"eth0\"");
    files_memory_add_link(phony->memory, "/etc/systemd/system/a.wants", "a.wants");
    files_memory_add_link(phony->memory, "/etc/rc2.d/S01smartd", "../../../../etc/passwd");
    phony_add_nic(phony, "eth0", "52:54:00:00:00:99");
}

static const struct guest_kind kinds[] = {
    {"Debian 11", phony_init_debian11}, {"Debian 12", phony_init_debian12},
    {"Debian 13", phony_init_debian13}, {"System V", phony_init_sysv},
    {"UEFI", phony_init_uefi},          {"empty", init_empty},
    {"hostile", init_hostile},
};
#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

static void plan_one(const struct fixer *fixer, struct phony *phony)
{
    struct error err = {0};
    if (fixer->applies && !fixer->applies(phony->system))
        return;
    if (fixer->plan(&phony->context, &err) != 0)
        fail_msg("%s: %s", fixer->name, err.text);
}

static void test_every_fixer_has_a_name_and_a_description(void **state)
{
    (void)state;
    assert_non_null(fixers[0]);
    for (size_t i = 0; fixers[i]; i++) {
        assert_true(strlen(fixers[i]->name) > 0);
        assert_true(strlen(fixers[i]->description) > 20);
        assert_null(strchr(fixers[i]->description, '\n'));
        assert_non_null(fixers[i]->plan);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(fixers[i]->name, fixers[k]->name);
    }
}

static void test_no_fixer_applies_to_an_unknown_system(void **state)
{
    (void)state;
    struct system unknown = {0};
    for (size_t i = 0; fixers[i]; i++)
        assert_true(fixers[i]->applies && !fixers[i]->applies(&unknown));
}

static void check_edits(const struct fixer *fixer, const struct phony *phony)
{
    for (size_t i = 0; i < phony->plan.edit_count; i++) {
        const struct edit *edit = &phony->plan.edits[i];
        assert_string_equal(edit->fixer, fixer->name);
        assert_true(strlen(edit->reason) > 10);
        assert_int_equal(edit->path[0], '/');
        assert_null(strstr(edit->path, "/../"));
        if (edit->kind == EDIT_WRITE)
            assert_string_not_equal(edit->before ? edit->before : "", edit->after);
    }
    for (size_t i = 0; i < phony->plan.note_count; i++) {
        assert_string_equal(phony->plan.notes[i].fixer, fixer->name);
        assert_null(strchr(phony->plan.notes[i].text, '\x1b'));
    }
}

static void test_every_edit_has_a_reason_and_a_clean_path(void **state)
{
    (void)state;
    for (size_t i = 0; fixers[i]; i++) {
        for (size_t k = 0; k < KIND_COUNT; k++) {
            struct phony phony;
            kinds[k].init(&phony);
            plan_one(fixers[i], &phony);
            check_edits(fixers[i], &phony);
            phony_fini(&phony);
        }
    }
}

static void test_every_fixer_plans_nothing_on_its_own_result(void **state)
{
    (void)state;
    size_t edits = 0;
    for (size_t i = 0; fixers[i]; i++) {
        for (size_t k = 0; k < KIND_COUNT; k++) {
            struct phony phony;
            kinds[k].init(&phony);
            plan_one(fixers[i], &phony);
            edits += phony.plan.edit_count;
            phony_apply(&phony);
            plan_one(fixers[i], &phony);
            if (phony.plan.edit_count)
                fail_msg("%s on %s again: %s", fixers[i]->name, kinds[k].name,
                         phony.plan.edits[0].path);
            phony_fini(&phony);
        }
    }
    assert_true(edits > 20); /* the guests do need fixing */
}

static void plan_all(struct phony *phony)
{
    for (size_t i = 0; fixers[i]; i++)
        plan_one(fixers[i], phony);
}

static void test_all_fixers_together_plan_nothing_on_their_result(void **state)
{
    (void)state;
    for (size_t k = 0; k < KIND_COUNT; k++) {
        struct phony phony;
        kinds[k].init(&phony);
        plan_all(&phony);
        phony_apply(&phony);
        plan_all(&phony);
        assert_int_equal(phony.plan.edit_count, 0);
        phony_fini(&phony);
    }
}

/* --- the diff, by patch(1)
 * ------------------------------------------------------------------------ */

static void make_parents(const char *path)
{
    AUTO_FREE char *copy = text_copy(path);
    for (char *slash = strchr(copy + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(copy, 0755) != 0)
            assert_int_equal(errno, EEXIST);
        *slash = '/';
    }
}

static void write_file(const char *path, const char *data, size_t length)
{
    struct error err = {0};
    make_parents(path);
    if (io_replace_file(AT_FDCWD, path, data, length, 0644, &err) != 0)
        fail_msg("%s", err.text);
}

/* What an edit finds, below a folder of this machine: only its own path, so nothing is shared. */
static void write_before(const char *root, const struct edit *edit)
{
    AUTO_FREE char *path = text_format("%s%s", root, edit->path);
    if (!edit->before)
        return;
    make_parents(path);
    if (edit->was_link)
        assert_int_equal(symlink(edit->before, path), 0);
    else
        write_file(path, edit->before, edit->before_length);
}

static void check_after(const char *root, const struct edit *edit)
{
    AUTO_FREE char *path = text_format("%s%s", root, edit->path);
    struct error err = {0};
    struct stat stat;
    bool is_there = lstat(path, &stat) == 0;
    if (edit->kind == EDIT_WRITE) {
        char *data;
        size_t length;
        assert_int_equal(io_read_file(AT_FDCWD, path, FILES_MAX_CONFIG, &data, &length, &err), 0);
        assert_string_equal(data, edit->after);
        free(data);
    } else if (edit->kind == EDIT_SYMLINK) {
        char target[4096] = "";
        assert_true(is_there && S_ISLNK(stat.st_mode));
        assert_true(readlink(path, target, sizeof(target) - 1) > 0);
        assert_string_equal(target, edit->after);
    } else if (edit->kind == EDIT_REMOVE) {
        assert_false(is_there);
    }
}

static int remove_entry(const char *path, const struct stat *stat, int flag, struct FTW *walk)
{
    (void)stat;
    (void)flag;
    (void)walk;
    return remove(path);
}

static void apply_by_patch(struct phony *phony)
{
    char root[] = "/tmp/rehost-patch-XXXXXX";
    struct error err = {0};
    AUTO(text) diff = {0};
    AUTO(text) out = {0};
    assert_non_null(mkdtemp(root));
    for (size_t i = 0; i < phony->plan.edit_count; i++)
        write_before(root, &phony->plan.edits[i]);
    plan_format_diff(&phony->plan, &diff);
    const char *const argv[] = {"patch", "-p1", "--batch", "--silent", "-d", root, NULL};
    const struct child_limits limits = {.timeout_ms = 10000};
    int status = child_run(argv, &diff, &out, &out, &limits, &err);
    if (status != 0)
        fail_msg("patch: %d %s\n%s\n%s", status, err.text, text_string(&out), text_string(&diff));
    for (size_t i = 0; i < phony->plan.edit_count; i++)
        check_after(root, &phony->plan.edits[i]);
    assert_int_equal(nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void test_the_shown_diff_applied_by_patch_is_the_plan(void **state)
{
    (void)state;
    for (size_t k = 0; k < 5; k++) { /* those without bytes that are shown escaped */
        struct phony phony;
        kinds[k].init(&phony);
        plan_all(&phony);
        assert_true(phony.plan.edit_count > 3);
        apply_by_patch(&phony);
        phony_fini(&phony);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_fixer_has_a_name_and_a_description),
        cmocka_unit_test(test_no_fixer_applies_to_an_unknown_system),
        cmocka_unit_test(test_every_edit_has_a_reason_and_a_clean_path),
        cmocka_unit_test(test_every_fixer_plans_nothing_on_its_own_result),
        cmocka_unit_test(test_all_fixers_together_plan_nothing_on_their_result),
        cmocka_unit_test(test_the_shown_diff_applied_by_patch_is_the_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
