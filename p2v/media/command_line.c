/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The parameters of the boot medium, put together. What passes here can stand in the configuration
 * of every boot loader as it is: none of them agree on how to quote.
 */
#include "base/own.h"
#include "base/text.h"
#include "p2v/media/media.h"

#include <openssl/crypto.h>
#include <string.h>

/* The kernel takes 2,047 characters; the menu adds some of its own. */
#define COMMAND_LINE_MAX 1600

/* Quotes, '\\', '$', '`' and braces mean something to boot loaders; ';', '&', '|', '<', '>' too. */
static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("._:/@%+=,~^!*?[]-", c));
}

static int add(struct text *line, const char *name, const char *value, struct error *err)
{
    if (!value)
        return 0;
    if (!*value)
        return error_set(err, 0, "rehost.%s: it is empty", name);
    for (const char *c = value; *c; c++) {
        if (!is_plain(*c))
            return error_set(err, 0, "rehost.%s: '%c' cannot stand on a kernel's command line",
                             name, *c);
    }
    text_addf(line, "%srehost.%s=%s", line->length ? " " : "", name, value);
    return 0;
}

/* Blanks separate parameters here. A secret would be an error text's: the characters are named. */
static int add_extra(struct text *line, const char *extra, struct error *err)
{
    for (const char *c = extra; c && *c; c++) {
        if (!is_plain(*c) && *c != ' ')
            return error_set(err, 0, "'%c' cannot stand on a kernel's command line", *c);
    }
    while (extra && *extra) {
        size_t length = strcspn(extra, " ");
        if (length) {
            text_add(line, line->length ? " " : "");
            text_add_bytes(line, extra, length);
        }
        extra += length + (extra[length] == ' ');
    }
    return 0;
}

/* text_addf would leave copies of a token behind when it grows the text. */
char *media_command_line(const struct media_settings *settings, struct error *err)
{
    struct text line = {.data = memory_new(1, 2 * COMMAND_LINE_MAX),
                        .capacity = (size_t)2 * COMMAND_LINE_MAX};
    if (add(&line, "server", settings->server, err) == 0 &&
        add(&line, "pin", settings->pin, err) == 0 &&
        add(&line, "token", settings->token, err) == 0 &&
        add_extra(&line, settings->extra, err) == 0) {
        if (line.length <= COMMAND_LINE_MAX)
            return text_take(&line);
        error_set(err, 0, "%zu characters are too many for a kernel's command line (at most %d)",
                  line.length, COMMAND_LINE_MAX);
    }
    if (line.data)
        OPENSSL_cleanse(line.data, line.length);
    text_fini(&line);
    return NULL;
}
