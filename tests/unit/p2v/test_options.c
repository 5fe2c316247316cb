/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Option tables: what they accept, what they refuse, and that the commands' own are sound.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "p2v/cli.h"
#include "p2v/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct values {
    bool is_quick, is_sure;
    const char *name, *how;
    struct option_list items;
    unsigned count;
    uint64_t size;
};

static const char *const ways[] = {"fast", "slow", NULL};

static const struct option_spec table[] = {
    {"quick", 'q', OPTION_FLAG, NULL, NULL, offsetof(struct values, is_quick), "go"},
    {"sure", 's', OPTION_FLAG, NULL, NULL, offsetof(struct values, is_sure), "be sure"},
    {"name", 'n', OPTION_TEXT, "NAME", NULL, offsetof(struct values, name), "a name"},
    {"how", 0, OPTION_TEXT, "HOW", ways, offsetof(struct values, how), "a way"},
    {"item", 'i', OPTION_LIST, "ITEM", NULL, offsetof(struct values, items), "an item"},
    {"count", 'c', OPTION_NUMBER, "N", NULL, offsetof(struct values, count), "how many"},
    {"size", 0, OPTION_SIZE, "SIZE", NULL, offsetof(struct values, size), "how much"},
    CLI_OPTION_END,
};

struct parsed {
    struct values values;
    struct option_list operands;
    struct error err;
    int result;
};

static void parse(struct parsed *parsed, char *const argv[])
{
    int argc = 0;
    while (argv[argc])
        argc++;
    *parsed = (struct parsed){.result = 0};
    struct option_set set = {table, &parsed->values};
    parsed->result = options_parse(&set, 1, argc, argv, &parsed->operands, &parsed->err);
}

static void forget(struct parsed *parsed)
{
    struct option_set set = {table, &parsed->values};
    options_fini(&set);
    option_list_fini(&parsed->operands);
}

#define ARGV(...) ((char *[]){__VA_ARGS__, NULL})

static char *text(const char *string)
{
    return (char *)(uintptr_t)string; /* argv is not const, and never written to */
}

static void test_options_parse_takes_every_spelling(void **state)
{
    (void)state;
    struct parsed parsed;
    parse(&parsed, ARGV(text("-qs"), text("--name"), text("a"), text("file"), text("--how=slow"),
                        text("-i1"), text("-i"), text("2"), text("--count=7"), text("--size=512M"),
                        text("--"), text("-q")));
    assert_int_equal(parsed.result, 0);
    assert_true(parsed.values.is_quick && parsed.values.is_sure);
    assert_string_equal(parsed.values.name, "a");
    assert_string_equal(parsed.values.how, "slow");
    assert_int_equal(parsed.values.items.count, 2);
    assert_string_equal(parsed.values.items.items[1], "2");
    assert_int_equal(parsed.values.count, 7);
    assert_int_equal(parsed.values.size, 512 * MIB);
    assert_int_equal(parsed.operands.count, 2);
    assert_string_equal(parsed.operands.items[1], "-q");
    forget(&parsed);
}

static void test_options_parse_takes_a_lone_dash_as_an_operand(void **state)
{
    (void)state;
    struct parsed parsed;
    parse(&parsed, ARGV(text("--name"), text("-"), text("-")));
    assert_int_equal(parsed.result, 0);
    assert_string_equal(parsed.values.name, "-");
    assert_int_equal(parsed.operands.count, 1);
    forget(&parsed);
}

static void refuse(char *const argv[], const char *named)
{
    struct parsed parsed;
    parse(&parsed, argv);
    assert_int_equal(parsed.result, -1);
    if (!strstr(parsed.err.text, named))
        fail_msg("'%s' does not name '%s'", parsed.err.text, named);
    forget(&parsed);
}

static void test_options_parse_names_what_it_refuses(void **state)
{
    (void)state;
    refuse(ARGV(text("--nonsense")), "--nonsense");
    refuse(ARGV(text("-x")), "-x");
    refuse(ARGV(text("-qx")), "-x");
    refuse(ARGV(text("--name")), "--name needs NAME");
    refuse(ARGV(text("-n")), "--name needs NAME");
    refuse(ARGV(text("--quick=yes")), "--quick takes no value");
    refuse(ARGV(text("--nam"), text("a")), "--nam");
    refuse(ARGV(text("--how"), text("never")), "fast, slow");
    refuse(ARGV(text("--count"), text("0")), "--count: '0'");
    refuse(ARGV(text("--count"), text("-1")), "--count: '-1'");
    refuse(ARGV(text("--count"), text("3x")), "--count: '3x'");
    refuse(ARGV(text("--count"), text("99999999999999999999")), "--count");
    refuse(ARGV(text("--size"), text("12Q")), "--size: '12Q'");
}

static void test_option_parse_size_knows_units_and_overflow(void **state)
{
    (void)state;
    uint64_t bytes;
    assert_true(option_parse_size("4096", &bytes) && bytes == 4096);
    assert_true(option_parse_size("2g", &bytes) && bytes == 2 * GIB);
    assert_true(option_parse_size("2GiB", &bytes) && bytes == 2 * GIB);
    assert_true(option_parse_size("1T", &bytes) && bytes == TIB);
    assert_false(option_parse_size("", &bytes));
    assert_false(option_parse_size("0", &bytes));
    assert_false(option_parse_size("-1", &bytes));
    assert_false(option_parse_size("1GB", &bytes));
    assert_false(option_parse_size("18446744073709551615T", &bytes));
    assert_false(option_parse_size("99999999999999999999", &bytes));
}

/* The same letter or name twice in a command would hide one of them. */
static void check_unique(const struct option_spec *option, const struct option_spec *others)
{
    for (; others->name; others++) {
        if (others == option)
            continue;
        assert_string_not_equal(option->name, others->name);
        assert_true(option->letter == 0 || option->letter != others->letter);
    }
}

static void test_commands_have_sound_tables(void **state)
{
    (void)state;
    for (size_t i = 0; commands[i]; i++) {
        const struct command *command = commands[i];
        assert_ptr_equal(command_find(command->name), command);
        assert_non_null(command->run);
        for (const struct option_spec *option = command->options; option->name; option++) {
            assert_true(option->offset < command->options_size);
            assert_int_equal(option->argument == NULL, option->kind == OPTION_FLAG);
            check_unique(option, command->options);
            check_unique(option, cli_common_options);
        }
    }
}

static void test_options_format_help_shows_every_option(void **state)
{
    (void)state;
    AUTO(text) out = {0};
    options_format_help(table, &out);
    for (const struct option_spec *option = table; option->name; option++)
        assert_non_null(strstr(out.data, option->name));
    assert_non_null(strstr(out.data, "  -n, --name NAME"));
    AUTO(text) names = {0};
    options_format_names(table, &names);
    assert_string_equal(names.data, "--quick\n-q\n--sure\n-s\n--name\n-n\n--how\n--item\n-i\n"
                                    "--count\n-c\n--size\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_parse_takes_every_spelling),
        cmocka_unit_test(test_options_parse_takes_a_lone_dash_as_an_operand),
        cmocka_unit_test(test_options_parse_names_what_it_refuses),
        cmocka_unit_test(test_option_parse_size_knows_units_and_overflow),
        cmocka_unit_test(test_commands_have_sound_tables),
        cmocka_unit_test(test_options_format_help_shows_every_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
