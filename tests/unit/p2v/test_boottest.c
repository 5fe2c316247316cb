/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The boot test around a QEMU that is a few lines of shell: what each end of it is called, and that
 * nothing stays behind. Real machines are booted by tests/integration/boottest.sh.
 */
#include "p2v/boottest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    char folder[32];
    char path_before[1024];
    struct guest *guest;
    struct boot_options options;
    struct boot_result result;
    struct error err;
};

static void write_file(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));
    assert_non_null(fixture);
    snprintf(fixture->folder, sizeof(fixture->folder), "/tmp/boottest.XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    snprintf(fixture->path_before, sizeof(fixture->path_before), "%s", getenv("PATH"));
    fixture->guest = guest_new("web01");
    free(fixture->guest->uuid);
    fixture->guest->uuid = text_copy("6f1f2c1e-0000-4000-8000-000000000001");
    fixture->guest->disks[0].path = text_copy("disk0.img");
    fixture->guest->disks[0].format = text_copy("raw");
    fixture->guest->disks[0].size_bytes = 1 << 20;
    fixture->guest->disk_count = 1;
    char *disk = text_format("%s/disk0.img", fixture->folder);
    write_file(disk, "", 0644);
    assert_int_equal(truncate(disk, 1 << 20), 0);
    free(disk);
    fixture->options = (struct boot_options){.scratch = fixture->folder, .accelerator = "kvm"};
    *state = fixture;
    return 0;
}

/* Puts a program called as QEMU first in PATH; it finds the arguments in "$*". */
static void use_qemu(struct fixture *fixture, const char *body)
{
    char *script = text_format("%s/qemu-system-x86_64", fixture->folder);
    char *text = text_format("#!/bin/sh\n%s\n", body);
    char *path = text_format("%s:%s", fixture->folder, fixture->path_before);
    write_file(script, text, 0755);
    setenv("PATH", path, 1);
    free(script);
    free(text);
    free(path);
}

static size_t count_files(const char *folder)
{
    size_t count = 0;
    DIR *stream = opendir(folder);
    assert_non_null(stream);
    for (struct dirent *entry; (entry = readdir(stream));)
        count += entry->d_name[0] != '.';
    closedir(stream);
    return count;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    char *disk = text_format("%s/disk0.img", fixture->folder);
    char *script = text_format("%s/qemu-system-x86_64", fixture->folder);
    setenv("PATH", fixture->path_before, 1);
    boot_result_fini(&fixture->result);
    guest_free(fixture->guest);
    unlink(disk);
    unlink(script);
    free(disk);
    free(script);
    int status = rmdir(fixture->folder); /* nothing else may be in it */
    free(fixture);
    return status;
}

static int run(struct fixture *fixture)
{
    boot_result_fini(&fixture->result);
    int status = boottest_run(fixture->guest, fixture->folder, &fixture->options, &fixture->result,
                              NULL, &fixture->err);
    assert_true(count_files(fixture->folder) <= 2);
    return status;
}

static void test_a_login_prompt_without_interfaces_is_a_success(void **state)
{
    struct fixture *fixture = *state;
    use_qemu(fixture, "printf 'web01 login: '; exec sleep 60");
    assert_int_equal(run(fixture), 0);
    assert_true(fixture->result.is_ok);
    assert_string_equal(fixture->result.problem, "");
    assert_string_equal(fixture->result.accelerator, "kvm");
    assert_int_equal(fixture->result.stage, BOOT_LOGIN);
    assert_string_equal(fixture->result.console.data, "web01 login: ");
}

static void test_an_initramfs_shell_is_an_emergency(void **state)
{
    struct fixture *fixture = *state;
    use_qemu(fixture, "printf 'ALERT!  /dev/sda2 does not exist.  Dropping to a shell!\\n'\n"
                      "printf '(initramfs) '; exec sleep 60");
    assert_int_equal(run(fixture), 0);
    assert_false(fixture->result.is_ok);
    assert_true(fixture->result.is_emergency);
    assert_string_equal(fixture->result.problem,
                        "stopped in the initramfs shell: ALERT! /dev/sda2 does not exist.");
}

static void test_silence_ends_with_the_time_and_says_so(void **state)
{
    struct fixture *fixture = *state;
    use_qemu(fixture, "exec sleep 60");
    fixture->options.timeout_seconds = 1;
    assert_int_equal(run(fixture), 0);
    assert_int_equal(fixture->result.stage, BOOT_NOTHING);
    assert_string_equal(fixture->result.problem, "no output on the serial console within 1 s");
}

static void test_a_machine_that_ends_by_itself_is_a_result(void **state)
{
    struct fixture *fixture = *state;
    use_qemu(fixture, "printf 'Linux version 6\\nRestarting \\033[1msystem\\n'");
    assert_int_equal(run(fixture), 0);
    assert_false(fixture->result.is_ok);
    assert_int_equal(fixture->result.stage, BOOT_KERNEL);
    assert_string_equal(fixture->result.problem,
                        "the kernel started, but its root file system was not mounted; the machine "
                        "powered off or restarted; the last line: Restarting system");
}

static void test_a_fault_of_qemu_is_no_result_and_names_its_reason(void **state)
{
    struct fixture *fixture = *state;
    use_qemu(fixture, "echo 'qemu-system-x86_64: warning: old' >&2\n"
                      "echo 'qemu-system-x86_64: no such device' >&2\nexit 1");
    assert_int_equal(run(fixture), -1);
    assert_string_equal(fixture->err.text,
                        "qemu-system-x86_64 exited with status 1: no such device");
}

/* Each attempt with KVM adds a line to the program itself. */
static void test_a_kvm_that_runs_no_guest_is_replaced_by_emulation_once(void **state)
{
    struct fixture *fixture = *state;
    struct stat before, after;
    if (access("/dev/kvm", R_OK | W_OK) != 0)
        skip();
    use_qemu(fixture, "case \"$*\" in *'-accel kvm'*) echo : >>\"$0\"; kill -6 $$ ;; esac\n"
                      "printf 'Linux version 6\\n'; exit");
    char *script = text_format("%s/qemu-system-x86_64", fixture->folder);
    assert_int_equal(stat(script, &before), 0);
    fixture->options.accelerator = NULL;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(run(fixture), 0);
        assert_string_equal(fixture->result.accelerator, "tcg");
        assert_int_equal(fixture->result.stage, BOOT_KERNEL);
    }
    assert_int_equal(stat(script, &after), 0);
    assert_int_equal(after.st_size - before.st_size, strlen(":\n"));
    free(script);
}

static void test_an_interrupt_ends_the_test(void **state)
{
    struct fixture *fixture = *state;
    static const atomic_bool interrupt = true;
    use_qemu(fixture, "exec sleep 60");
    fixture->options.interrupt = &interrupt;
    assert_int_equal(run(fixture), -1);
    assert_int_equal(fixture->err.errnum, ECANCELED);
}

static void test_without_qemu_or_disk_there_is_no_test(void **state)
{
    struct fixture *fixture = *state;
    setenv("PATH", "/nonexistent", 1);
    assert_int_equal(run(fixture), -1);
    assert_int_equal(fixture->err.errnum, ENOENT);
    assert_non_null(strstr(fixture->err.text, "qemu-system-x86_64"));
    free(fixture->guest->disks[0].path);
    fixture->guest->disks[0].path = text_copy("disk9.img");
    assert_int_equal(run(fixture), -1);
    assert_non_null(strstr(fixture->err.text, "disk9.img"));
}

static void test_stages_have_names(void **state)
{
    (void)state;
    assert_string_equal(boot_stage_name(BOOT_NOTHING), "nothing");
    assert_string_equal(boot_stage_name(BOOT_LOGIN), "login");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* First: what was found out about KVM is remembered. */
        TEST(test_a_kvm_that_runs_no_guest_is_replaced_by_emulation_once),
        TEST(test_a_login_prompt_without_interfaces_is_a_success),
        TEST(test_an_initramfs_shell_is_an_emergency),
        TEST(test_silence_ends_with_the_time_and_says_so),
        TEST(test_a_machine_that_ends_by_itself_is_a_result),
        TEST(test_a_fault_of_qemu_is_no_result_and_names_its_reason),
        TEST(test_an_interrupt_ends_the_test),
        TEST(test_without_qemu_or_disk_there_is_no_test),
        cmocka_unit_test(test_stages_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
