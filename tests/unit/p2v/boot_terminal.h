/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A terminal of 80x25 with somebody at it, for what draws there.
 */
#ifndef TESTS_UNIT_P2V_BOOT_TERMINAL_H
#define TESTS_UNIT_P2V_BOOT_TERMINAL_H

#include <pthread.h>
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

struct boot_terminal {
    int master, slave;
    char path[64];
    pthread_t reader;
    char seen[1 << 18];
    atomic_size_t length;
};

/* Somebody has to look, or the terminal is full one day. */
static inline void *boot_terminal_look(void *context)
{
    struct boot_terminal *terminal = context;
    for (;;) {
        size_t length = atomic_load(&terminal->length);
        ssize_t got =
            read(terminal->master, terminal->seen + length, sizeof(terminal->seen) - 1 - length);
        if (got <= 0)
            return NULL;
        atomic_store(&terminal->length, length + (size_t)got);
    }
}

static inline struct boot_terminal *boot_terminal_open(void)
{
    struct boot_terminal *terminal = calloc(1, sizeof(*terminal));
    struct winsize size = {.ws_row = 25, .ws_col = 80};
    if (openpty(&terminal->master, &terminal->slave, terminal->path, NULL, &size) != 0 ||
        pthread_create(&terminal->reader, NULL, boot_terminal_look, terminal) != 0)
        return NULL;
    return terminal;
}

/* Nobody else may have it open any more. */
static inline void boot_terminal_close(struct boot_terminal *terminal)
{
    close(terminal->slave);
    pthread_join(terminal->reader, NULL);
    close(terminal->master);
    free(terminal);
}

static inline void boot_terminal_type(struct boot_terminal *terminal, const char *keys)
{
    assert_int_equal(write(terminal->master, keys, strlen(keys)), strlen(keys));
}

/* How often the words were drawn. Only what changes is drawn: short words may come in pieces. */
static inline size_t boot_terminal_count(struct boot_terminal *terminal, const char *words)
{
    size_t count = 0, length = atomic_load(&terminal->length), word = strlen(words);
    const char *at = terminal->seen, *end = at + length;
    while ((at = memmem(at, (size_t)(end - at), words, word))) {
        count++;
        at += word;
    }
    return count;
}

/* Whether the words were drawn after the first time that others were. */
static inline bool boot_terminal_has_since(struct boot_terminal *terminal, const char *others,
                                           const char *words)
{
    size_t length = atomic_load(&terminal->length);
    const char *end = terminal->seen + length;
    const char *at = memmem(terminal->seen, length, others, strlen(others));
    assert_non_null(at);
    return memmem(at, (size_t)(end - at), words, strlen(words)) != NULL;
}

static inline void boot_terminal_await(struct boot_terminal *terminal, const char *words)
{
    for (int i = 0; i < 500; i++) {
        if (boot_terminal_count(terminal, words) > 0)
            return;
        usleep(10000);
    }
    fail_msg("'%s' was never seen", words);
}

#endif
