/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The order of Debian's versions, deb-version(7): epoch, upstream version, revision; numbers by
 * their value, '~' before everything, even before the end.
 */
#include "p2v/media/deb.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static int rank(char c)
{
    if (c == '~')
        return -1;
    if (isdigit((unsigned char)c) || c == '\0')
        return 0;
    return isalpha((unsigned char)c) ? (unsigned char)c : (unsigned char)c + 256;
}

static char at(const char *text, const char *end)
{
    return text < end ? *text : '\0';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The runs of digits that both are at; numbers of any length. */
static int compare_numbers(const char **a, const char *a_end, const char **b, const char *b_end)
{
    int first = 0;
    while (at(*a, a_end) == '0')
        (*a)++;
    while (at(*b, b_end) == '0')
        (*b)++;
    while (is_digit(at(*a, a_end)) && is_digit(at(*b, b_end))) {
        if (!first)
            first = *(*a) - *(*b);
        (*a)++;
        (*b)++;
    }
    if (is_digit(at(*a, a_end)))
        return 1;
    return is_digit(at(*b, b_end)) ? -1 : first;
}

static int compare_parts(const char *a, const char *a_end, const char *b, const char *b_end)
{
    while (a < a_end || b < b_end) {
        while ((a < a_end && !is_digit(*a)) || (b < b_end && !is_digit(*b))) {
            int difference = rank(at(a, a_end)) - rank(at(b, b_end));
            if (difference)
                return difference;
            a++;
            b++;
        }
        int difference = compare_numbers(&a, a_end, &b, b_end);
        if (difference)
            return difference;
    }
    return 0;
}

struct version {
    unsigned long epoch;
    const char *upstream, *upstream_end;
    const char *revision, *end;
};

static struct version split(const char *text)
{
    struct version version = {.upstream = text, .end = text + strlen(text)};
    const char *colon = strchr(text, ':');
    if (colon) {
        version.epoch = strtoul(text, NULL, 10);
        version.upstream = colon + 1;
    }
    const char *dash = strrchr(version.upstream, '-');
    version.upstream_end = dash ? dash : version.end;
    version.revision = dash ? dash + 1 : version.end;
    return version;
}

int deb_compare_versions(const char *a_text, const char *b_text)
{
    struct version a = split(a_text), b = split(b_text);
    if (a.epoch != b.epoch)
        return a.epoch < b.epoch ? -1 : 1;
    int difference = compare_parts(a.upstream, a.upstream_end, b.upstream, b.upstream_end);
    return difference ? difference : compare_parts(a.revision, a.end, b.revision, b.end);
}
