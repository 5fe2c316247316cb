/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * For the tests of what the boot medium finds: a machine whose disks are files, which the real
 * tools fill, and what is found there.
 */
#ifndef TESTS_UNIT_P2V_FINDINGS_FIXTURE_H
#define TESTS_UNIT_P2V_FINDINGS_FIXTURE_H

#include "p2v/boot/findings_private.h"
#include "tests/unit/p2v/fake_root.h"

#include <sys/wait.h>

struct finding {
    struct fake_machine *machine;
    struct boot_settings settings;
    struct boot_findings findings;
    struct error err;
};

static inline int open_finding(void **state)
{
    struct finding *finding = calloc(1, sizeof(*finding));
    if (fake_machine_new((void **)&finding->machine) != 0)
        return -1;
    *state = finding;
    return 0;
}

static inline int close_finding(void **state)
{
    struct finding *finding = *state;
    void *machine = finding->machine;
    free(finding);
    return fake_machine_free(&machine);
}

/* A disk of the machine with nothing on it. `letter` 'a' is sda. */
static inline void add_disk(struct finding *finding, char letter, uint64_t size)
{
    static const uint8_t zero;
    char name[] = "sdX", number[16], place[64], path[PATH_MAX];
    name[2] = letter;
    fake_format(number, sizeof(number), "8:%d", (letter - 'a') * 16);
    fake_format(place, sizeof(place), "pci0/ata%d/host%d/target%d:0:0/%d:0:0:0", letter - 'a' + 1,
                letter - 'a', letter - 'a', letter - 'a');
    fake_disk(finding->machine, name, number, place);
    fake_format(path, sizeof(path), "dev/%s", name);
    fake_bytes(finding->machine, path, &zero, 1);
    fake_format(path, sizeof(path), "%s/dev/%s", finding->machine->root, name);
    assert_int_equal(truncate(path, (off_t)size), 0);
}

static inline void write_at(struct finding *finding, char letter, uint64_t offset, const void *data,
                            size_t length)
{
    char path[PATH_MAX];
    fake_format(path, sizeof(path), "%s/dev/sd%c", finding->machine->root, letter);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)offset, SEEK_SET), 0);
    assert_int_equal(fwrite(data, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

/* Skips where there is no such tool. */
static inline void run(const char *const argv[])
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        if (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))
            _exit(126);
        setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
        execvp(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
        print_message("skipped: %s is not installed\n", argv[0]);
        skip();
    }
    assert_int_equal(status, 0);
}

/* A real tool on the disk's file, which it gets as its last word. */
static inline void make(struct finding *finding, char letter, const char *const words[])
{
    char path[PATH_MAX];
    const char *argv[32];
    size_t count = 0;
    fake_format(path, sizeof(path), "%s/dev/sd%c", finding->machine->root, letter);
    while (words[count]) {
        argv[count] = words[count];
        count++;
    }
    argv[count++] = path;
    argv[count] = NULL;
    run(argv);
}
#define MAKE(finding, letter, ...) make(finding, letter, (const char *const[]){__VA_ARGS__, NULL})

static inline int look(struct finding *finding)
{
    return boot_findings_read(finding->machine->root, &finding->settings, &finding->findings, NULL,
                              &finding->err);
}

static inline const char *content(struct finding *finding, size_t index)
{
    assert_int_equal(look(finding), 0);
    assert_true(index < finding->findings.disk_count);
    return finding->findings.disks[index].content;
}

/* NULL: there is no such notice. */
static inline const struct boot_notice *find_notice(const struct finding *finding,
                                                    const char *words)
{
    for (size_t i = 0; i < finding->findings.notice_count; i++) {
        if (strstr(finding->findings.notices[i].text, words))
            return &finding->findings.notices[i];
    }
    return NULL;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_finding, close_finding)

#endif
