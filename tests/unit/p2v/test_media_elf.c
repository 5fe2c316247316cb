/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Reading what programs need and what modules say, from whole files and from such that lie.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "p2v/media/elf_file.h"

#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A program that needs two libraries, loaded at 0x1000. */
struct program {
    Elf64_Ehdr header;
    Elf64_Phdr segments[2];
    Elf64_Dyn dynamic[4];
    char strings[32];
};
#define BASE 0x1000

static struct program make_program(void)
{
    struct program program = {
        .header = {.e_phoff = offsetof(struct program, segments), .e_phnum = 2},
        .segments = {{.p_type = PT_LOAD, .p_vaddr = BASE, .p_filesz = sizeof(program)},
                     {.p_type = PT_DYNAMIC,
                      .p_offset = offsetof(struct program, dynamic),
                      .p_filesz = sizeof(program.dynamic)}},
        .dynamic = {{DT_NEEDED, {1}},
                    {DT_STRTAB, {BASE + offsetof(struct program, strings)}},
                    {DT_NEEDED, {11}},
                    {DT_NULL, {0}}},
        .strings = "\0libc.so.6\0libm.so.6",
    };
    memcpy(program.header.e_ident, ELFMAG, SELFMAG);
    program.header.e_ident[EI_CLASS] = ELFCLASS64;
    program.header.e_ident[EI_DATA] = ELFDATA2LSB;
    return program;
}

/* At the end of a block of its own size, so that the sanitizer sees a byte too far. */
static bool read_needed(const void *data, size_t length, struct elf_needed *needed)
{
    AUTO_FREE char *copy = malloc(length);
    memcpy(copy, data, length);
    struct elf_needed found;
    bool is_read = elf_read_needed(copy, length, &found);
    needed->count = found.count;
    return is_read;
}

static void test_needed_names_come_in_their_order(void **state)
{
    (void)state;
    struct program program = make_program();
    struct elf_needed needed;
    assert_true(elf_read_needed(&program, sizeof(program), &needed));
    assert_int_equal(needed.count, 2);
    assert_string_equal(needed.names[0], "libc.so.6");
    assert_string_equal(needed.names[1], "libm.so.6");
}

static void test_a_static_program_needs_nothing(void **state)
{
    (void)state;
    struct program program = make_program();
    struct elf_needed needed;
    program.segments[1].p_type = PT_NOTE;
    assert_true(elf_read_needed(&program, sizeof(program), &needed));
    assert_int_equal(needed.count, 0);
}

static void test_a_program_cut_anywhere_is_no_crash(void **state)
{
    (void)state;
    struct program program = make_program();
    struct elf_needed needed;
    for (size_t length = 0; length < sizeof(program) - 12; length++) {
        bool is_read = read_needed(&program, length, &needed);
        assert_false(is_read);
    }
    assert_true(read_needed(&program, sizeof(program), &needed));
}

static void test_offsets_beyond_the_file_are_refused(void **state)
{
    (void)state;
    struct elf_needed needed;
    struct program program = make_program();
    program.header.e_phoff = UINT64_MAX - 8;
    assert_false(read_needed(&program, sizeof(program), &needed));
    program = make_program();
    program.segments[1].p_offset = UINT64_MAX - 16;
    assert_false(read_needed(&program, sizeof(program), &needed));
    program = make_program();
    program.segments[1].p_filesz = UINT64_MAX;
    assert_false(read_needed(&program, sizeof(program), &needed));
    program = make_program();
    program.dynamic[1].d_un.d_ptr = UINT64_MAX;
    assert_false(read_needed(&program, sizeof(program), &needed));
    program = make_program();
    program.dynamic[2].d_un.d_val = UINT64_MAX;
    assert_false(read_needed(&program, sizeof(program), &needed));
}

static void test_a_name_that_is_a_path_or_endless_is_refused(void **state)
{
    (void)state;
    struct elf_needed needed;
    struct program program = make_program();
    memcpy(program.strings, "\0../../x", 9);
    assert_false(read_needed(&program, sizeof(program), &needed));
    program = make_program();
    memset(program.strings + 1, 'x', sizeof(program.strings) - 1);
    assert_false(read_needed(&program, sizeof(program), &needed));
}

static void test_other_kinds_of_file_are_no_programs(void **state)
{
    (void)state;
    struct elf_needed needed;
    struct program program = make_program();
    assert_false(elf_detect("#!/bin/sh\n", 10));
    program.header.e_ident[EI_CLASS] = ELFCLASS32;
    assert_false(elf_detect(&program, sizeof(program)));
    assert_false(elf_read_needed(&program, sizeof(program), &needed));
}

/* --- modules --- */

struct module_file {
    Elf64_Ehdr header;
    Elf64_Shdr sections[3];
    char names[24], modinfo[40];
};

static struct module_file make_module(void)
{
    struct module_file file = {
        .header = {.e_shoff = offsetof(struct module_file, sections),
                   .e_shnum = 3,
                   .e_shstrndx = 1},
        .sections = {{.sh_type = SHT_NULL},
                     {.sh_type = SHT_STRTAB,
                      .sh_offset = offsetof(struct module_file, names),
                      .sh_size = sizeof(file.names)},
                     {.sh_name = 1,
                      .sh_type = SHT_PROGBITS,
                      .sh_offset = offsetof(struct module_file, modinfo),
                      .sh_size = sizeof(file.modinfo)}},
        .names = "\0.modinfo",
        .modinfo = "license=GPL\0depends=libata,scsi_mod",
    };
    memcpy(file.header.e_ident, ELFMAG, SELFMAG);
    file.header.e_ident[EI_CLASS] = ELFCLASS64;
    file.header.e_ident[EI_DATA] = ELFDATA2LSB;
    return file;
}

struct entries {
    unsigned count;
    char last[64];
};

static void keep(void *context, const char *text)
{
    struct entries *entries = context;
    entries->count++;
    strncpy(entries->last, text, sizeof(entries->last) - 1);
}

static bool read_modinfo(const void *data, size_t length, struct entries *entries)
{
    AUTO_FREE char *copy = malloc(length);
    memcpy(copy, data, length);
    *entries = (struct entries){0};
    return elf_read_modinfo(copy, length, keep, entries);
}

static void test_modinfo_gives_each_entry(void **state)
{
    (void)state;
    struct module_file file = make_module();
    struct entries entries;
    assert_true(read_modinfo(&file, sizeof(file), &entries));
    assert_int_equal(entries.count, 2);
    assert_string_equal(entries.last, "depends=libata,scsi_mod");
}

static void test_modinfo_that_does_not_end_is_left_out(void **state)
{
    (void)state;
    struct module_file file = make_module();
    struct entries entries;
    memset(file.modinfo + 12, 'x', sizeof(file.modinfo) - 12);
    assert_true(read_modinfo(&file, sizeof(file), &entries));
    assert_int_equal(entries.count, 1);
    assert_string_equal(entries.last, "license=GPL");
}

static void test_modules_that_lie_about_their_sections_are_refused(void **state)
{
    (void)state;
    struct entries entries;
    struct module_file file = make_module();
    for (size_t length = 0; length < sizeof(file); length++)
        assert_false(read_modinfo(&file, length, &entries));
    file.header.e_shstrndx = 3;
    assert_false(read_modinfo(&file, sizeof(file), &entries));
    file = make_module();
    file.sections[1].sh_size = UINT64_MAX;
    assert_false(read_modinfo(&file, sizeof(file), &entries));
    file = make_module();
    file.sections[2].sh_name = UINT32_MAX;
    assert_false(read_modinfo(&file, sizeof(file), &entries));
    file = make_module();
    file.sections[2].sh_offset = UINT64_MAX - 4;
    assert_false(read_modinfo(&file, sizeof(file), &entries));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_needed_names_come_in_their_order),
        cmocka_unit_test(test_a_static_program_needs_nothing),
        cmocka_unit_test(test_a_program_cut_anywhere_is_no_crash),
        cmocka_unit_test(test_offsets_beyond_the_file_are_refused),
        cmocka_unit_test(test_a_name_that_is_a_path_or_endless_is_refused),
        cmocka_unit_test(test_other_kinds_of_file_are_no_programs),
        cmocka_unit_test(test_modinfo_gives_each_entry),
        cmocka_unit_test(test_modinfo_that_does_not_end_is_left_out),
        cmocka_unit_test(test_modules_that_lie_about_their_sections_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
