/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A ledger whose file is any bytes, then operations on it, checked against a plain array: what is
 * said is always what was set last, committed or not.
 *
 * Input: 1 byte (bit 0: a good header is put over the file's), the number of operations (1), those
 * (4 each: what, first, count, name), then the file from the header on.
 */
#include "base/checked.h"
#include "formats/ledger.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNKS 100u
#define SIZE_BYTES (CHUNKS * (uint64_t)CHUNK_SIZE)
#define HEADER 4096u
#define FILE_SIZE (HEADER + CHUNKS * 32u)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t disk_id[32];
static char folder[64];
static int folder_fd = -1;

static void clean_up(void)
{
    unlinkat(folder_fd, "ledger", 0);
    rmdir(folder);
}

static void set_up(void)
{
    if (folder_fd >= 0)
        return;
    snprintf(folder, sizeof(folder), "%s/fuzz-ledger-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(folder) || (folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        abort();
    atexit(clean_up);
}

static struct ledger *open_ledger(void)
{
    return ledger_open(folder_fd, "ledger", SIZE_BYTES, disk_id, NULL);
}

/* The file: all of the input, or its records behind the header that is right. */
static void write_file(const uint8_t *data, size_t size, bool has_good_header)
{
    size_t skip = has_good_header ? min_u64(size, HEADER) : 0;
    int fd;

    unlinkat(folder_fd, "ledger", 0);
    if (has_good_header)
        ledger_close(open_ledger());
    fd = openat(folder_fd, "ledger", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    size = (size_t)min_u64(size, FILE_SIZE);
    if (fd < 0 || pwrite(fd, data + skip, size - skip, (off_t)skip) != (ssize_t)(size - skip))
        abort();
    close(fd);
}

static void expect(struct ledger *ledger, const struct ledger_entry *expected)
{
    struct ledger_entry entries[CHUNKS];
    uint64_t next = 0;

    if (ledger_get(ledger, 0, CHUNKS, entries, NULL) != 0 ||
        memcmp(entries, expected, sizeof(entries)) != 0)
        abort();
    for (uint64_t i = 0; i < CHUNKS; i++) {
        if (ledger_next(ledger, i, CHUNKS - i, &next, NULL) != 0 || next < i ||
            (next < CHUNKS && entries[next].state == LEDGER_ZERO) ||
            (entries[i].state != LEDGER_ZERO && next != i))
            abort();
    }
}

static void set_one(struct ledger *ledger, uint64_t first, uint8_t value,
                    struct ledger_entry *expected)
{
    struct ledger_entry entry = {.state = LEDGER_DATA};

    memset(entry.name.bytes, value, sizeof(entry.name));
    if (ledger_set(ledger, first, &entry, NULL) == 0)
        *expected = entry;
    else if (ledger_can_hold(&entry.name))
        abort();
}

static void set_many(struct ledger *ledger, uint64_t first, uint64_t count, bool is_zero,
                     struct ledger_entry *expected)
{
    struct ledger_entry entry = {.state = is_zero ? LEDGER_ZERO : LEDGER_UNREADABLE};

    if ((is_zero ? ledger_set_zero(ledger, first, count, NULL)
                 : ledger_set_unreadable(ledger, first, count, NULL)) != 0)
        abort();
    for (uint64_t i = 0; i < count; i++)
        expected[i] = entry;
}

/* Without a name among them nothing changes; with one, all that is not zero is other. */
static void forget(struct ledger *ledger, uint64_t first, uint64_t count,
                   struct ledger_entry *expected)
{
    bool has_names = false;

    if (ledger_forget(ledger, first, count, NULL, NULL) != 0)
        abort();
    for (uint64_t i = 0; i < count; i++)
        has_names = has_names || expected[i].state == LEDGER_DATA;
    for (uint64_t i = 0; has_names && i < count; i++) {
        if (expected[i].state != LEDGER_ZERO)
            expected[i] = (struct ledger_entry){.state = LEDGER_OTHER};
    }
}

static void operate(struct ledger *ledger, const uint8_t *operation, struct ledger_entry *expected)
{
    uint64_t first = operation[1] % CHUNKS, count = min_u64(operation[2], CHUNKS - first);

    switch (operation[0] % 6) {
    case 0:
        set_one(ledger, first, operation[3], expected + first);
        break;
    case 1:
    case 2:
        set_many(ledger, first, count, operation[0] % 6 == 1, expected + first);
        break;
    case 3:
        forget(ledger, first, count, expected + first);
        break;
    case 4:
        ledger_seal(ledger);
        break;
    case 5:
        if (ledger_commit(ledger, NULL) != 0)
            abort();
    }
}

static void run(struct ledger *ledger, const uint8_t *operations, size_t count)
{
    struct ledger_entry expected[CHUNKS];

    if (ledger_get(ledger, 0, CHUNKS, expected, NULL) != 0)
        abort();
    for (size_t i = 0; i < count; i++) {
        operate(ledger, operations + 4 * i, expected);
        expect(ledger, expected);
    }
    ledger_seal(ledger);
    if (ledger_commit(ledger, NULL) != 0)
        abort();
    ledger_close(ledger);
    ledger = open_ledger();
    if (!ledger)
        abort();
    expect(ledger, expected);
    ledger_close(ledger);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ledger *ledger;
    size_t count;

    if (size < 2 || size < 2 + 4 * (count = data[1]))
        return 0;
    set_up();
    write_file(data + 2 + 4 * count, size - 2 - 4 * count, data[0] & 1);
    ledger = open_ledger();
    if (ledger)
        run(ledger, data + 2, count);
    else if (data[0] & 1)
        abort();
    return 0;
}
