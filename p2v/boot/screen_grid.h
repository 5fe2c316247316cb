/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A page as rows of characters, drawn without a terminal: tests compare it, curses shows it. Plain
 * ASCII: what is not is shown as '?'.
 */
#ifndef P2V_BOOT_SCREEN_GRID_H
#define P2V_BOOT_SCREEN_GRID_H

#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>

#define SCREEN_MAX_ROWS 60
#define SCREEN_MAX_COLUMNS 132

/* The smallest that pages are made for. */
#define SCREEN_MIN_ROWS 24
#define SCREEN_MIN_COLUMNS 80

/* No style means anything by itself: the characters say all of it. */
enum screen_style { SCREEN_PLAIN, SCREEN_BOLD, SCREEN_REVERSE, SCREEN_RULE };

struct screen_grid {
    int rows, columns;
    char text[SCREEN_MAX_ROWS][SCREEN_MAX_COLUMNS];
    unsigned char style[SCREEN_MAX_ROWS][SCREEN_MAX_COLUMNS];
};

/* Blank; sizes are cut to what there is room for. */
void screen_grid_init(struct screen_grid *grid, int rows, int columns);

/* What does not fit is cut off. */
void screen_grid_put(struct screen_grid *grid, int row, int column, enum screen_style style,
                     const char *text);
void screen_grid_putf(struct screen_grid *grid, int row, int column, enum screen_style style,
                      const char *format, ...) __attribute__((format(printf, 5, 6)));

/* A row of one style, blank. */
void screen_grid_bar(struct screen_grid *grid, int row, enum screen_style style);
void screen_grid_rule(struct screen_grid *grid, int row);

/* Between words, at most `max_rows` rows; returns how many it took. */
int screen_grid_wrap(struct screen_grid *grid, int row, int column, int width, int max_rows,
                     enum screen_style style, const char *text);

/* The rows without blanks behind them, each with a newline. */
void screen_grid_dump(const struct screen_grid *grid, struct text *out);

/*
 * Lines of which a window is shown: what was found, the disks being sent. `item` is what a person
 * can stand on there; -1: nothing.
 */
struct screen_line {
    char text[SCREEN_MAX_COLUMNS];
    enum screen_style style;
    int item;
};
struct screen_list {
    struct screen_line *lines; /* owned */
    size_t count;
    int width;
};
void screen_list_fini(struct screen_list *list);

void screen_list_add(struct screen_list *list, enum screen_style style, int item,
                     const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Wrapped, `first` before the first line and as many blanks before the others. */
void screen_list_wrap(struct screen_list *list, const char *first, const char *text);

/*
 * Draws the rows from `*scroll` on, which is moved so that the line of `focus` (-1: none) is seen.
 * Says at the right of the last row's rule when there is more.
 */
void screen_list_draw(const struct screen_list *list, struct screen_grid *grid, int row, int rows,
                      int focus, size_t *scroll);

#endif
