/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Small files of /sys, /proc, /etc and /run below a root folder, so that tests can show a machine
 * of their own. What is missing reads as nothing.
 */
#ifndef P2V_AGENT_INVENTORY_FILE_H
#define P2V_AGENT_INVENTORY_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* root + path; "" is this machine. Caller frees. */
char *inventory_path(const char *root, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A file as it is, at most 64 MiB; NULL when it cannot be read. Caller frees. */
char *inventory_read(const char *path, size_t *length);

/*
 * The file as a text without blanks around it, cut at a NUL; "" when it cannot be read or is
 * empty. The path is below the root. Caller frees.
 */
char *inventory_text(const char *root, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A decimal number; `otherwise` when there is none. */
uint64_t inventory_number(const char *root, uint64_t otherwise, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A line of /proc/meminfo ("MemTotal"), in bytes; `otherwise` when there is none. */
uint64_t inventory_memory(const char *root, uint64_t otherwise, const char *name);

/* Where a link under the root leads, absolute and without the root; "" when nowhere. Caller frees.
 */
char *inventory_link(const char *root, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The last part of that: a driver's name. Caller frees. */
char *inventory_link_name(const char *root, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

bool inventory_has(const char *root, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The names in a folder, sorted, without those that begin with a dot; NULL-terminated. */
char **inventory_names(const char *root, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void inventory_names_free(char **names);

/* Without blanks at either end; in place. */
char *inventory_strip(char *text);

#endif
