/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Errors that gather context on their way up. An error lives on its owner's stack, never
 * allocates, and reads outer to inner: "convert web.img: read 4096 bytes at 0x1f400: Input/output
 * error".
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include <stdbool.h>

/* Long enough for two paths and a sentence; a longer text is cut at the end. */
#define ERROR_TEXT_SIZE 1024

struct error {
    int errnum;                 /* errno of the cause, 0 when the cause is not the system's */
    char text[ERROR_TEXT_SIZE]; /* one printable line; "" when no error is set */
};

/*
 * Sets the cause: the formatted text, followed by ": " and strerror(errnum) unless errnum is 0.
 * Control bytes and invalid bytes are escaped as \xNN, so text from a guest may be passed in.
 * err may be NULL (the error is then dropped). Returns -1, so that `return error_set(…)` reads.
 */
int error_set(struct error *err, int errnum, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "formatted text: " before what is there. Returns -1. */
int error_wrap(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The cause was that a disk, or what one may take of it, is full. */
bool error_is_no_space(const struct error *err);

#endif
