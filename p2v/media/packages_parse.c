/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Which packages a package needs, from its own Depends field and from what apt-cache prints. Only
 * libraries are followed: what else a package wants is for installing it, which nobody does here.
 */
#include "base/own.h"
#include "base/text.h"
#include "p2v/media/packages.h"

#include <stdlib.h>
#include <string.h>

/* --- names --- */

void name_list_fini(struct name_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct name_list){0};
}

bool name_list_has(const struct name_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i], name) == 0)
            return true;
    }
    return false;
}

void name_list_add(struct name_list *list, const char *name)
{
    if (list->count >= NAMES_MAX || name_list_has(list, name))
        return;
    list->items = memory_grow(list->items, list->count + 1, sizeof(*list->items));
    list->items[list->count++] = text_copy(name);
}

/* deb-src-control(5): at least two of [a-z0-9+.-]; they become part of an argv. */
static size_t name_length(const char *text)
{
    size_t length = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789+.-");
    return length >= 2 && length < DEB_MAX_NAME && text[0] != '-' && text[0] != '+' &&
                   text[0] != '.'
               ? length
               : 0;
}

bool packages_follows(const char *name)
{
    return text_starts_with(name, "lib") || strcmp(name, "zlib1g") == 0 ||
           (text_starts_with(name, "linux-image-") && name[12] >= '0' && name[12] <= '9');
}

/* --- Depends --- */

void packages_parse_depends(const char *depends, struct name_list *names)
{
    while (*depends) {
        depends += strspn(depends, ", \t");
        size_t length = name_length(depends);
        AUTO_FREE char *name = text_format("%.*s", (int)length, depends);
        if (length && packages_follows(name))
            name_list_add(names, name);
        depends += strcspn(depends, ",");
    }
}

/* --- apt-cache depends --recurse ---
 *
 *     lvm2
 *       Depends: libaio1
 *      |Depends: libfoo | ...
 *       PreDepends: init-system-helpers
 *         another that provides it
 */

struct edge {
    char from[DEB_MAX_NAME], to[DEB_MAX_NAME];
};
struct edges {
    struct edge *items;
    size_t count;
};

static void edges_fini(struct edges *edges)
{
    free(edges->items);
}

static bool copy_name(char name[DEB_MAX_NAME], const char *line, const char *end)
{
    size_t length = name_length(line);
    if (!length || line + length != end)
        return false;
    memcpy(name, line, length);
    name[length] = '\0';
    return true;
}

static const char *after_kind(const char *line)
{
    static const char *const kinds[] = {
        "  Depends: ", " |Depends: ", "  PreDepends: ", " |PreDepends: "};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        if (text_starts_with(line, kinds[i]))
            return line + strlen(kinds[i]);
    }
    return NULL;
}

static void parse_line(struct edges *edges, char from[DEB_MAX_NAME], const char *line,
                       const char *end)
{
    if (*line != ' ') {
        if (!copy_name(from, line, end))
            from[0] = '\0';
        return;
    }
    struct edge edge;
    const char *name = after_kind(line);
    if (!from[0] || !name || !copy_name(edge.to, name, end) || !packages_follows(edge.to))
        return;
    memcpy(edge.from, from, sizeof(edge.from));
    edges->items = memory_grow(edges->items, edges->count + 1, sizeof(edge));
    edges->items[edges->count++] = edge;
}

void packages_parse_apt(const char *text, size_t length, struct name_list *names)
{
    AUTO(edges) edges = {0};
    AUTO_FREE char *copy = text_format("%.*s", (int)length, text);
    char from[DEB_MAX_NAME] = "";
    for (char *line = copy; *line;) {
        char *end = line + strcspn(line, "\n");
        bool is_last = !*end;
        *end = '\0';
        parse_line(&edges, from, line, end);
        line = is_last ? end : end + 1;
    }
    for (size_t i = 0; i < names->count; i++) {
        for (size_t j = 0; j < edges.count; j++) {
            if (strcmp(edges.items[j].from, names->items[i]) == 0)
                name_list_add(names, edges.items[j].to);
        }
    }
}

/* --- apt-get download --print-uris: 'URL' FILE BYTES HASH --- */

static void parse_uri(const char *line, size_t length, struct name_list *files)
{
    const char *end = line + length;
    const char *url_end = length > 1 && line[0] == '\'' ? memchr(line + 1, '\'', length - 1) : NULL;
    if (!url_end || end - url_end < 3 || url_end[1] != ' ')
        return;
    const char *name = url_end + 2;
    size_t package = name_length(name);
    const char *blank = memchr(name, ' ', (size_t)(end - name));
    if (!package || !blank || name + package >= blank || name[package] != '_' ||
        memchr(name, '/', (size_t)(blank - name)))
        return;
    AUTO_FREE char *file = text_format("%.*s", (int)(blank - name), name);
    if (text_ends_with(file, ".deb"))
        name_list_add(files, file);
}

void packages_parse_uris(const char *text, size_t length, struct name_list *files)
{
    const char *end = text + length;
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *line_end = newline ? newline : end;
        /* Copied, so that it ends where the line does. */
        AUTO_FREE char *line = text_format("%.*s", (int)(line_end - text), text);
        parse_uri(line, strlen(line), files);
        text = newline ? newline + 1 : end;
    }
}
