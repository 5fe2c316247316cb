/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a program or library needs to run, and what a kernel module says of itself: 64-bit
 * little-endian ELF (elf(5)), from a buffer of any content.
 */
#ifndef P2V_MEDIA_ELF_FILE_H
#define P2V_MEDIA_ELF_FILE_H

#include <stdbool.h>
#include <stddef.h>

#define ELF_MAX_NEEDED 64
#define ELF_MAX_NAME 128

bool elf_detect(const void *data, size_t length);

/* The names of its DT_NEEDED entries, borrowed from `data`. */
struct elf_needed {
    const char *names[ELF_MAX_NEEDED];
    size_t count;
};

/* False when the file contradicts itself; a program that needs nothing is no contradiction. */
bool elf_read_needed(const void *data, size_t length, struct elf_needed *needed);

/*
 * Calls back with each "name=value" of a module's .modinfo section; stops at one that is not text.
 * False when there is no such section.
 */
bool elf_read_modinfo(const void *data, size_t length,
                      void (*entry)(void *context, const char *text), void *context);

#endif
