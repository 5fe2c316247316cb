/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Drawing into rows of characters.
 */
#include "p2v/boot/screen_grid.h"

#include "base/own.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void screen_grid_init(struct screen_grid *grid, int rows, int columns)
{
    grid->rows = rows < 1 ? 1 : rows > SCREEN_MAX_ROWS ? SCREEN_MAX_ROWS : rows;
    grid->columns = columns < 1 ? 1 : columns > SCREEN_MAX_COLUMNS ? SCREEN_MAX_COLUMNS : columns;
    memset(grid->text, ' ', sizeof(grid->text));
    memset(grid->style, SCREEN_PLAIN, sizeof(grid->style));
}

/* The first byte of a character stands for it; those that follow it are dropped. */
static bool is_continuation(char byte)
{
    return ((unsigned char)byte & 0xc0) == 0x80;
}

void screen_grid_put(struct screen_grid *grid, int row, int column, enum screen_style style,
                     const char *text)
{
    if (row < 0 || row >= grid->rows)
        return;
    for (; *text; text++) {
        if (is_continuation(*text))
            continue;
        if (column >= grid->columns)
            return;
        if (column >= 0) {
            grid->text[row][column] = *text;
            if (*text < ' ' || *text > '~')
                grid->text[row][column] = '?';
            grid->style[row][column] = (unsigned char)style;
        }
        column++;
    }
}

void screen_grid_putf(struct screen_grid *grid, int row, int column, enum screen_style style,
                      const char *format, ...)
{
    char line[2 * SCREEN_MAX_COLUMNS];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    screen_grid_put(grid, row, column, style, line);
}

void screen_grid_bar(struct screen_grid *grid, int row, enum screen_style style)
{
    if (row < 0 || row >= grid->rows)
        return;
    memset(grid->text[row], style == SCREEN_RULE ? '-' : ' ', sizeof(grid->text[row]));
    memset(grid->style[row], style, sizeof(grid->style[row]));
}

void screen_grid_rule(struct screen_grid *grid, int row)
{
    screen_grid_bar(grid, row, SCREEN_RULE);
}

/* How many of the text's characters (blanks behind them included) go into one row of that width. */
static size_t break_line(const char *text, int width)
{
    size_t length = strlen(text), limit = width < 1 ? 1 : (size_t)width, at = limit;
    if (length <= limit)
        return length;
    while (at > 0 && text[at] != ' ')
        at--;
    if (at == 0)
        return limit;
    return at + strspn(text + at, " ");
}

int screen_grid_wrap(struct screen_grid *grid, int row, int column, int width, int max_rows,
                     enum screen_style style, const char *text)
{
    int rows = 0;
    while (*text && rows < max_rows) {
        size_t length = break_line(text, width);
        screen_grid_putf(grid, row + rows, column, style, "%.*s", (int)length, text);
        text += length;
        rows++;
    }
    return rows;
}

void screen_grid_dump(const struct screen_grid *grid, struct text *out)
{
    for (int row = 0; row < grid->rows; row++) {
        int length = grid->columns;
        while (length > 0 && grid->text[row][length - 1] == ' ')
            length--;
        text_add_bytes(out, grid->text[row], (size_t)length);
        text_add(out, "\n");
    }
}

/* --- lines with a window on them --- */

void screen_list_fini(struct screen_list *list)
{
    free(list->lines);
    *list = (struct screen_list){0};
}

void screen_list_add(struct screen_list *list, enum screen_style style, int item,
                     const char *format, ...)
{
    list->lines = memory_grow(list->lines, list->count + 1, sizeof(*list->lines));
    struct screen_line *line = &list->lines[list->count++];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line->text, sizeof(line->text), format, arguments);
    va_end(arguments);
    line->style = style;
    line->item = item;
}

void screen_list_wrap(struct screen_list *list, const char *first, const char *text)
{
    int indent = (int)strlen(first);
    const char *before = first;
    do {
        size_t length = break_line(text, list->width - indent);
        screen_list_add(list, SCREEN_PLAIN, -1, "%*s%.*s", indent, before, (int)length, text);
        text += length;
        before = "";
    } while (*text);
}

/* Its first and last line. */
static bool find_item(const struct screen_list *list, int item, size_t *first, size_t *last)
{
    bool is_found = false;
    for (size_t i = 0; item >= 0 && i < list->count; i++) {
        if (list->lines[i].item != item)
            continue;
        *first = is_found ? *first : i;
        *last = i;
        is_found = true;
    }
    return is_found;
}

static void keep_inside(const struct screen_list *list, int rows, int focus, size_t *scroll)
{
    size_t first = 0, last = 0, window = (size_t)rows;
    if (find_item(list, focus, &first, &last)) {
        if (last >= *scroll + window)
            *scroll = last + 1 - window;
        if (first < *scroll)
            *scroll = first;
    }
    size_t most = list->count > window ? list->count - window : 0;
    if (*scroll > most)
        *scroll = most;
}

void screen_list_draw(const struct screen_list *list, struct screen_grid *grid, int row, int rows,
                      int focus, size_t *scroll)
{
    keep_inside(list, rows, focus, scroll);
    for (int i = 0; i < rows && *scroll + (size_t)i < list->count; i++) {
        const struct screen_line *line = &list->lines[*scroll + (size_t)i];
        screen_grid_put(grid, row + i, 0, line->style, line->text);
    }
    bool is_above = *scroll > 0, is_below = list->count > *scroll + (size_t)rows;
    if (is_above || is_below)
        screen_grid_putf(grid, row + rows, grid->columns - 34, SCREEN_PLAIN, " more %s: %s ",
                         is_above && is_below ? "above and below"
                         : is_above           ? "above"
                                              : "below",
                         "PgUp, PgDn");
}
