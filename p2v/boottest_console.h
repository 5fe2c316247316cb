/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Watches a machine's serial console and tells from its text how far the machine came and what
 * stopped it. A pure decoder: bytes in, state out; every byte comes from a guest and is hostile.
 * The outcome does not depend on how the bytes are cut into calls.
 */
#ifndef P2V_BOOTTEST_CONSOLE_H
#define P2V_BOOTTEST_CONSOLE_H

#include "base/text.h"
#include "p2v/boottest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BOOT_CONSOLE_LIMIT ((size_t)4 << 20) /* bytes kept of what the console said */
#define BOOT_CONSOLE_LINE_SIZE 512           /* longer lines are judged by their start */
#define BOOT_CONSOLE_MAX_FAILED 8
#define BOOT_CONSOLE_MAX_RENAMES 64

/* What stopped a machine for good. */
enum boot_stop {
    BOOT_STOP_NONE,
    BOOT_STOP_NO_BOOT_DEVICE,
    BOOT_STOP_LOADER, /* the boot loader's own prompt */
    BOOT_STOP_INITRAMFS,
    BOOT_STOP_EMERGENCY,
    BOOT_STOP_PANIC,
};

/* "virtio_net virtio0 enp3s0f0: renamed from eth0" */
struct boot_console_rename {
    char driver[24], device[24], name[32];
};

enum boot_console_escape {
    CONSOLE_TEXT,
    CONSOLE_ESCAPE,         /* after ESC */
    CONSOLE_CONTROL,        /* after ESC [ */
    CONSOLE_COMMAND,        /* after ESC ], until BEL, ESC or the end of the line */
    CONSOLE_ESCAPE_ONE_MORE /* after ESC ( and the like: one byte follows */
};

struct boot_console {
    enum boot_stage stage;
    enum boot_stop stop;
    char cause[160];     /* the line that explains the stop best so far, escaped; "" when none */
    unsigned cause_rank; /* how well it explains */
    char last_line[160]; /* last line with text in it, escaped */
    bool is_initrd;      /* a systemd inside the initramfs is talking */
    size_t failed_count; /* units reported as failed, may exceed BOOT_CONSOLE_MAX_FAILED */
    char failed[BOOT_CONSOLE_MAX_FAILED][96];
    struct boot_console_rename renames[BOOT_CONSOLE_MAX_RENAMES];
    size_t rename_count;
    struct text text; /* as it came, at most BOOT_CONSOLE_LIMIT bytes */

    char line[BOOT_CONSOLE_LINE_SIZE]; /* being gathered, without escapes, not terminated */
    size_t line_length;
    enum boot_console_escape escape;
};

/* {0} is a console that said nothing yet. */
void boot_console_fini(struct boot_console *console);

void boot_console_feed(struct boot_console *console, const void *bytes, size_t length);

/* One printable line about what stopped it; only when stop is set. */
void boot_console_describe_stop(const struct boot_console *console, char *buffer, size_t size);

/*
 * The last name that the kernel log gave to interface `index` among the `count` interfaces that
 * `driver` has in the machine, in the order of their PCI addresses; NULL unless all were seen.
 */
const char *boot_console_interface_name(const struct boot_console *console, const char *driver,
                                        size_t index, size_t count);

/* Copies text of a guest into a buffer: escaped, white space squeezed, cut at a character. */
void boot_console_copy_line(char *to, size_t size, const char *line, size_t length);

#endif
