/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Which packages a medium needs, by their own fields and by apt's words; versions; reading a .deb.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/media/packages.h"

#include <archive.h>
#include <archive_entry.h>
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

/* --- versions: each is older than the next, as deb-version(7) has it --- */

static void test_versions_are_ordered_as_dpkg_orders_them(void **state)
{
    (void)state;
    static const char *const rising[] = {
        "0.9~~",  "0.9~~a",  "0.9~",      "0.9",      "0.9a",      "0.9a1",   "0.9+b1", "0.09.1",
        "0.9.9",  "0.9.10",  "1.0~rc1-1", "1.0-1",    "1.0-1+b1",  "1.0-1.1", "1.0-2",  "1.0-10",
        "1.0a-1", "1.0-1-1", "6.1.9-1",   "6.1.76-1", "6.1.153-1", "1:0.1-1", "2:0.0",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rising); i++) {
        for (size_t j = 0; j < ARRAY_LENGTH(rising); j++) {
            int compared = deb_compare_versions(rising[i], rising[j]);
            int expected = i < j ? -1 : i > j;
            if ((compared > 0) - (compared < 0) != expected)
                fail_msg("%s and %s: %d", rising[i], rising[j], compared);
        }
    }
    assert_int_equal(deb_compare_versions("0:1.0", "1.0"), 0);
    assert_int_equal(deb_compare_versions("1.0-0", "1.0"), 0);
    assert_true(deb_compare_versions("99999999999999999999999", "99999999999999999999998") > 0);
}

/* --- dependencies --- */

static void test_depends_follow_libraries_and_the_kernel_only(void **state)
{
    (void)state;
    AUTO(name_list) names = {0};
    packages_parse_depends("libc6 (>= 2.34), adduser, libssl3t64 (>= 3.0.0) | libssl3, debconf | x,"
                           "zlib1g:any (>= 1:1.1.4),linux-image-6.1.0-44-amd64 (= 6.1.1-1), "
                           "linux-base (>= 4.3~), libc6",
                           &names);
    assert_int_equal(names.count, 4);
    assert_string_equal(names.items[0], "libc6");
    assert_string_equal(names.items[1], "libssl3t64");
    assert_string_equal(names.items[2], "zlib1g");
    assert_string_equal(names.items[3], "linux-image-6.1.0-44-amd64");
}

static void test_names_that_could_be_options_or_paths_are_dropped(void **state)
{
    (void)state;
    AUTO(name_list) names = {0};
    packages_parse_depends("-olib, ../lib, , (>= 1), LIB", &names);
    assert_int_equal(names.count, 0);
    packages_parse_depends("lib/../x", &names);
    assert_int_equal(names.count, 1);
    assert_string_equal(names.items[0], "lib");
}

static const char apt_output[] = "lvm2\n"
                                 "  Depends: libaio1\n"
                                 " |Depends: libblkid1\n"
                                 "  PreDepends: init-system-helpers\n"
                                 "  Depends: lsb-base\n"
                                 "    sysvinit-utils\n"
                                 "libblkid1\n"
                                 "  Depends: libc6\n"
                                 "libother1\n"
                                 "  Depends: libnever1\n"
                                 "<libvirtual>\n"
                                 "  Depends: libnever2\n"
                                 "libc6\n"
                                 "  Depends: libgcc-s1\n"
                                 "  Depends: libc6:i386\n"
                                 "libgcc-s1\n"
                                 "  Depends: libc6\n";

static void test_what_apt_prints_gives_what_is_reached(void **state)
{
    (void)state;
    static const char *const expected[] = {"lvm2", "libaio1", "libblkid1", "libc6", "libgcc-s1"};
    AUTO(name_list) names = {0};
    name_list_add(&names, "lvm2");
    packages_parse_apt(apt_output, strlen(apt_output), &names);
    assert_int_equal(names.count, ARRAY_LENGTH(expected));
    for (size_t i = 0; i < names.count; i++)
        assert_string_equal(names.items[i], expected[i]);
}

static void test_apt_words_that_are_cut_are_no_crash(void **state)
{
    (void)state;
    for (size_t length = 0; length < sizeof(apt_output); length++) {
        AUTO(name_list) names = {0};
        name_list_add(&names, "lvm2");
        packages_parse_apt(apt_output, length, &names);
        assert_in_range(names.count, 1, 6); /* "libblki" is a name, too */
    }
}

static void test_uris_give_file_names_without_folders(void **state)
{
    (void)state;
    static const char text[] =
        "'http://mirror.example/b/busybox_1.35.0-4_amd64.deb' busybox_1%3a1.35.0-4_amd64.deb 5 "
        "SHA256:4b\n"
        "'http://mirror.example/x' ../x_1_amd64.deb 5 SHA256:4b\n"
        "'http://mirror.example/x' libx_1/../../y.deb 5 SHA256:4b\n"
        "'http://mirror.example/x' libx 5 SHA256:4b\n"
        "W: nonsense\n'\n'http://x\n''\n'' \n"
        "'http://mirror.example/l' libc6_2.36_amd64.deb 5 SHA256:4b";
    AUTO(name_list) files = {0};
    packages_parse_uris(text, strlen(text), &files);
    assert_int_equal(files.count, 2);
    assert_string_equal(files.items[0], "busybox_1%3a1.35.0-4_amd64.deb");
    assert_string_equal(files.items[1], "libc6_2.36_amd64.deb");
}

static void test_control_fields_are_read_and_folded_lines_left_out(void **state)
{
    (void)state;
    static const char control[] = "Package: udev\nVersion: 252.39-1~deb12u2\nArchitecture: amd64\n"
                                  "Depends: libacl1 (>= 2.2.23)\nDescription: x\n"
                                  " Depends: not this\nPre-Depends: libc6\nDepends-Not: no";
    struct deb deb = {0};
    deb_parse_control(&deb, control, strlen(control));
    assert_string_equal(deb.name, "udev");
    assert_string_equal(deb.version, "252.39-1~deb12u2");
    assert_string_equal(deb.architecture, "amd64");
    assert_string_equal(deb.depends, "libacl1 (>= 2.2.23), libc6");
    deb_fini(&deb);
}

/* --- a whole package --- */

struct member {
    const char *path, *text; /* a link's target begins with '>' */
};

static la_ssize_t add_bytes(struct archive *archive, void *opaque, const void *data, size_t length)
{
    (void)archive;
    text_add_bytes(opaque, data, length);
    return (la_ssize_t)length;
}

static void write_entry(struct archive *archive, const char *path, const char *data, size_t length)
{
    struct archive_entry *entry = archive_entry_new();
    bool is_link = data[0] == '>';
    archive_entry_set_pathname(entry, path);
    archive_entry_set_mode(entry, is_link ? S_IFLNK | 0777 : S_IFREG | 0755);
    archive_entry_set_mtime(entry, 1700000000, 0);
    archive_entry_set_size(entry, is_link ? 0 : (la_int64_t)length);
    if (is_link)
        archive_entry_set_symlink(entry, data + 1);
    assert_int_equal(archive_write_header(archive, entry), ARCHIVE_OK);
    if (!is_link)
        assert_int_equal(archive_write_data(archive, data, length), length);
    archive_entry_free(entry);
}

static void make_tar(struct text *out, const struct member *members, size_t count)
{
    struct archive *archive = archive_write_new();
    archive_write_set_format_gnutar(archive);
    archive_write_add_filter_xz(archive);
    assert_int_equal(archive_write_open(archive, out, NULL, add_bytes, NULL), ARCHIVE_OK);
    for (size_t i = 0; i < count; i++)
        write_entry(archive, members[i].path, members[i].text, strlen(members[i].text));
    assert_int_equal(archive_write_free(archive), ARCHIVE_OK);
}

static void make_deb(const char *path, const struct member *members, size_t count)
{
    static const struct member control = {
        "./control", "Package: busybox\nVersion: 1:1.35.0-4\nArchitecture: amd64\n"};
    AUTO(text) control_tar = {0};
    AUTO(text) data_tar = {0};
    make_tar(&control_tar, &control, 1);
    make_tar(&data_tar, members, count);
    struct archive *archive = archive_write_new();
    archive_write_set_format_ar_bsd(archive);
    assert_int_equal(archive_write_open_filename(archive, path), ARCHIVE_OK);
    write_entry(archive, "debian-binary", "2.0\n", 4);
    write_entry(archive, "control.tar.xz", control_tar.data, control_tar.length);
    write_entry(archive, "data.tar.xz", data_tar.data, data_tar.length);
    assert_int_equal(archive_write_free(archive), ARCHIVE_OK);
}

struct seen {
    struct deb_visitor visitor; /* first */
    struct text text;
};

static bool wants_all(struct deb_visitor *visitor, const char *path)
{
    (void)visitor;
    return !text_ends_with(path, ".gz");
}

static int see(struct deb_visitor *visitor, const char *path, mode_t mode, char **data,
               size_t length, struct error *err)
{
    (void)err;
    text_addf(&((struct seen *)visitor)->text, "%s %s %.*s\n", S_ISLNK(mode) ? "link" : "file",
              path, (int)length, *data);
    return 0;
}

static void test_a_package_is_read_with_merged_paths_and_nothing_outside(void **state)
{
    (void)state;
    static const struct member members[] = {
        {"./bin/busybox", "program"},   {"./usr/bin/x", "x"},      {"./sbin/init", ">/bin/busybox"},
        {"./../../etc/passwd", "evil"}, {"./usr/../../y", "evil"}, {"./usr/share/doc.gz", "skip"},
        {"/etc/shadow", "evil"}};
    char path[] = "/tmp/rehost-test-deb-XXXXXX";
    close(mkstemp(path));
    make_deb(path, members, ARRAY_LENGTH(members));
    struct deb deb;
    struct error err = {0};
    struct seen seen = {.visitor = {.wants = wants_all, .take = see}};
    assert_int_equal(deb_open(&deb, path, &err), 0);
    assert_string_equal(deb.name, "busybox");
    assert_string_equal(deb.version, "1:1.35.0-4");
    assert_int_equal(deb.mtime, 1700000000);
    assert_int_equal(deb_visit(&deb, &seen.visitor, &err), 0);
    assert_string_equal(text_string(&seen.text), "file usr/bin/busybox program\n"
                                                 "file usr/bin/x x\n"
                                                 "link usr/sbin/init /bin/busybox\n");
    atomic_bool stop = true;
    seen.visitor.stop = &stop;
    assert_int_equal(deb_visit(&deb, &seen.visitor, &err), -1);
    assert_non_null(strstr(err.text, "stopped"));
    text_fini(&seen.text);
    deb_fini(&deb);
    unlink(path);
}

static void test_files_that_are_no_packages_are_refused_by_name(void **state)
{
    (void)state;
    char path[] = "/tmp/rehost-test-deb-XXXXXX";
    int fd = mkstemp(path);
    struct deb deb;
    struct error err = {0};
    assert_int_equal(write(fd, "!<arch>\nnonsense", 16), 16);
    close(fd);
    assert_int_equal(deb_open(&deb, path, &err), -1);
    assert_non_null(strstr(err.text, path));
    unlink(path);
    assert_int_equal(deb_open(&deb, path, &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions_are_ordered_as_dpkg_orders_them),
        cmocka_unit_test(test_depends_follow_libraries_and_the_kernel_only),
        cmocka_unit_test(test_names_that_could_be_options_or_paths_are_dropped),
        cmocka_unit_test(test_what_apt_prints_gives_what_is_reached),
        cmocka_unit_test(test_apt_words_that_are_cut_are_no_crash),
        cmocka_unit_test(test_uris_give_file_names_without_folders),
        cmocka_unit_test(test_control_fields_are_read_and_folded_lines_left_out),
        cmocka_unit_test(test_a_package_is_read_with_merged_paths_and_nothing_outside),
        cmocka_unit_test(test_files_that_are_no_packages_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
