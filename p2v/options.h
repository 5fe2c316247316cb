/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Command-line options as tables: one table per command, from which parsing, `--help` and the list
 * for the shell's completion come.
 */
#ifndef P2V_OPTIONS_H
#define P2V_OPTIONS_H

#include "base/error.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_kind {
    OPTION_FLAG,   /* bool */
    OPTION_TEXT,   /* const char *, NULL when not given; given twice: the last one counts */
    OPTION_LIST,   /* struct option_list: may be given several times */
    OPTION_NUMBER, /* unsigned, from 1; 0 when not given */
    OPTION_SIZE,   /* uint64_t in bytes, from 1, with K, M, G, T; 0 when not given */
};

struct option_list {
    const char **items; /* the strings are argv's, borrowed */
    size_t count;
};
void option_list_fini(struct option_list *list);

struct option_spec {
    const char *name; /* "format": --format */
    char letter;      /* 'o': -o; 0: none */
    enum option_kind kind;
    const char *argument;       /* "FMT", as --help shows it; NULL for flags */
    const char *const *choices; /* what it may be, NULL-terminated; NULL: anything */
    size_t offset;              /* of the value in the command's struct */
    const char *help;
};

/* A table (ends with name NULL) and the struct that it fills, which the caller has zeroed. */
struct option_set {
    const struct option_spec *options;
    void *values;
};

/*
 * Accepts --name value, --name=value, -o value, -ovalue, -qv, and -- before operands. Operands and
 * options may be mixed. Errors name the option; the caller frees `operands` and the lists.
 */
int options_parse(const struct option_set *sets, size_t set_count, int argc, char *const argv[],
                  struct option_list *operands, struct error *err);

/* Frees the lists in the values. */
void options_fini(const struct option_set *set);

/* One line per option, as --help shows them. */
void options_format_help(const struct option_spec *options, struct text *out);

/* "--name" and "-o" of each option, one a line: what a completion may offer. */
void options_format_names(const struct option_spec *options, struct text *out);

/* "2G" in bytes: a decimal number with an optional K, M, G or T (powers of 1024). */
bool option_parse_size(const char *text, uint64_t *bytes);

#endif
