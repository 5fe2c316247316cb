/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Parses command lines by table, and renders the tables for people and completions.
 */
#include "p2v/options.h"

#include "base/checked.h"
#include "base/own.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* More cores, seconds or anything else than this is a typing error. */
#define OPTION_MAX_NUMBER (1u << 30)

struct parser {
    const struct option_set *sets;
    size_t set_count;
    int argc;
    char *const *argv;
    int next; /* the argument after the one being looked at */
    struct option_list *operands;
};

struct match {
    const struct option_spec *option;
    void *value;
};

void option_list_fini(struct option_list *list)
{
    free(list->items);
    *list = (struct option_list){0};
}

static void list_add(struct option_list *list, const char *item)
{
    list->items = memory_grow(list->items, list->count + 1, sizeof(*list->items));
    list->items[list->count++] = item;
}

static void *value_of(const struct option_set *set, const struct option_spec *option)
{
    return (char *)set->values + option->offset;
}

void options_fini(const struct option_set *set)
{
    for (const struct option_spec *option = set->options; option && option->name; option++) {
        if (option->kind == OPTION_LIST)
            option_list_fini(value_of(set, option));
    }
}

static bool find(const struct parser *parser, const char *name, size_t name_length, char letter,
                 struct match *match)
{
    for (size_t i = 0; i < parser->set_count; i++) {
        const struct option_set *set = &parser->sets[i];
        for (const struct option_spec *option = set->options; option->name; option++) {
            bool is_it = name ? strlen(option->name) == name_length &&
                                    memcmp(option->name, name, name_length) == 0
                              : option->letter == letter;
            if (is_it) {
                *match = (struct match){option, value_of(set, option)};
                return true;
            }
        }
    }
    return false;
}

bool option_parse_size(const char *text, uint64_t *bytes)
{
    static const char units[] = "KMGT";
    if (!isdigit((unsigned char)text[0]))
        return false;
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno != 0)
        return false;
    uint64_t factor = 1;
    if (*end != '\0') {
        const char *unit = strchr(units, toupper((unsigned char)*end));
        if (!unit || (end[1] != '\0' && strcmp(end + 1, "iB") != 0))
            return false;
        factor = (uint64_t)1 << 10 * (unit - units + 1);
    }
    return checked_mul(number, factor, bytes) && *bytes > 0;
}

static int set_number(unsigned *number, const char *argument, const char *name, struct error *err)
{
    char *end = NULL;
    errno = 0;
    unsigned long value = isdigit((unsigned char)argument[0]) ? strtoul(argument, &end, 10) : 0;
    if (value == 0 || errno != 0 || *end != '\0' || value > OPTION_MAX_NUMBER)
        return error_set(err, 0, "--%s: '%s' is not a number from 1", name, argument);
    *number = (unsigned)value;
    return 0;
}

static int check_choice(const struct option_spec *option, const char *argument, struct error *err)
{
    AUTO(text) choices = {0};
    if (!option->choices)
        return 0;
    for (const char *const *choice = option->choices; *choice; choice++) {
        if (strcmp(*choice, argument) == 0)
            return 0;
        text_addf(&choices, "%s%s", choices.length ? ", " : "", *choice);
    }
    return error_set(err, 0, "--%s: '%s' is none of %s", option->name, argument,
                     text_string(&choices));
}

static int set_value(const struct match *match, const char *argument, struct error *err)
{
    const struct option_spec *option = match->option;
    if (argument && check_choice(option, argument, err) != 0)
        return -1;
    switch (option->kind) {
    case OPTION_FLAG:
        *(bool *)match->value = true;
        return 0;
    case OPTION_TEXT:
        *(const char **)match->value = argument;
        return 0;
    case OPTION_LIST:
        list_add(match->value, argument);
        return 0;
    case OPTION_NUMBER:
        return set_number(match->value, argument, option->name, err);
    case OPTION_SIZE:
        if (!option_parse_size(argument, match->value))
            return error_set(err, 0, "--%s: '%s' is not a size (as 512M or 2G)", option->name,
                             argument);
        return 0;
    }
    return 0;
}

/* Takes the value from behind '=', or from the next argument. */
static int take_value(struct parser *parser, const struct match *match, const char *attached,
                      struct error *err)
{
    if (match->option->kind == OPTION_FLAG) {
        if (attached)
            return error_set(err, 0, "--%s takes no value", match->option->name);
        return set_value(match, NULL, err);
    }
    if (!attached) {
        if (parser->next >= parser->argc)
            return error_set(err, 0, "--%s needs %s", match->option->name, match->option->argument);
        attached = parser->argv[parser->next++];
    }
    return set_value(match, attached, err);
}

static int parse_long(struct parser *parser, const char *argument, struct error *err)
{
    struct match match;
    const char *name = argument + 2;
    const char *equals = strchr(name, '=');
    size_t length = equals ? (size_t)(equals - name) : strlen(name);
    if (!find(parser, name, length, 0, &match))
        return error_set(err, 0, "unknown option %s", argument);
    return take_value(parser, &match, equals ? equals + 1 : NULL, err);
}

static int parse_letters(struct parser *parser, const char *argument, struct error *err)
{
    for (const char *letter = argument + 1; *letter; letter++) {
        struct match match;
        if (!find(parser, NULL, 0, *letter, &match))
            return error_set(err, 0, "unknown option -%c", *letter);
        if (match.option->kind == OPTION_FLAG)
            set_value(&match, NULL, NULL);
        else
            return take_value(parser, &match, letter[1] ? letter + 1 : NULL, err);
    }
    return 0;
}

int options_parse(const struct option_set *sets, size_t set_count, int argc, char *const argv[],
                  struct option_list *operands, struct error *err)
{
    struct parser parser = {sets, set_count, argc, argv, 0, operands};
    bool is_only_operands = false;
    while (parser.next < argc) {
        const char *argument = argv[parser.next++];
        int result = 0;
        if (is_only_operands || argument[0] != '-' || argument[1] == '\0')
            list_add(operands, argument);
        else if (strcmp(argument, "--") == 0)
            is_only_operands = true;
        else if (argument[1] == '-')
            result = parse_long(&parser, argument, err);
        else
            result = parse_letters(&parser, argument, err);
        if (result != 0)
            return -1;
    }
    return 0;
}

/* Where the explanations begin in --help. */
#define HELP_COLUMN 28

void options_format_help(const struct option_spec *options, struct text *out)
{
    for (const struct option_spec *option = options; option->name; option++) {
        size_t start = out->length;
        if (option->letter)
            text_addf(out, "  -%c, ", option->letter);
        else
            text_add(out, "      ");
        text_addf(out, "--%s%s%s", option->name, option->argument ? " " : "",
                  option->argument ? option->argument : "");
        size_t width = out->length - start;
        text_addf(out, "%*s%s\n", width < HELP_COLUMN ? (int)(HELP_COLUMN - width) : 2, "",
                  option->help);
    }
}

void options_format_names(const struct option_spec *options, struct text *out)
{
    for (const struct option_spec *option = options; option->name; option++) {
        text_addf(out, "--%s\n", option->name);
        if (option->letter)
            text_addf(out, "-%c\n", option->letter);
    }
}
