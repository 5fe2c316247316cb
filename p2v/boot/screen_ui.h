/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The pages: what a person stands on and has typed, what a key does, how it looks. All of it
 * without a terminal. Private to screen*.c and its tests.
 */
#ifndef P2V_BOOT_SCREEN_UI_H
#define P2V_BOOT_SCREEN_UI_H

#include "p2v/boot/screen.h"
#include "p2v/boot/screen_grid.h"

/* Printable ASCII is itself. No function keys: serial lines do not have them for sure. */
enum screen_key {
    SCREEN_KEY_NONE,
    SCREEN_KEY_UP = 256,
    SCREEN_KEY_DOWN,
    SCREEN_KEY_LEFT,
    SCREEN_KEY_RIGHT,
    SCREEN_KEY_PAGE_UP,
    SCREEN_KEY_PAGE_DOWN,
    SCREEN_KEY_TAB,
    SCREEN_KEY_BACK_TAB,
    SCREEN_KEY_ENTER,
    SCREEN_KEY_ESCAPE,
    SCREEN_KEY_ERASE, /* the last character */
    SCREEN_KEY_CLEAR, /* all of the field */
};

/* What can be stood on. */
enum screen_item {
    SCREEN_ITEM_SERVER,
    SCREEN_ITEM_NAME,
    SCREEN_ITEM_TOKEN,
    SCREEN_ITEM_NETWORK,
    SCREEN_ITEM_CARD,
    SCREEN_ITEM_ADDRESS,
    SCREEN_ITEM_GATEWAY,
    SCREEN_ITEM_DNS,
    SCREEN_ITEM_SUBMIT, /* buttons from here */
    SCREEN_ITEM_BACK,
    SCREEN_ITEM_POWER_OFF,
    SCREEN_ITEM_RESTART,
    SCREEN_ITEM_SHELL,
    SCREEN_ITEM_DISK, /* and those behind it: the disks of the review */
};
#define SCREEN_MAX_ITEMS (BOOT_MAX_DISKS + 8)

enum screen_net { SCREEN_NET_DHCP, SCREEN_NET_HAND, SCREEN_NET_GIVEN };

struct screen_ui {
    bool has_shell;
    bool is_begun;
    enum screen_page page;
    int focus; /* an index into the page's items */
    size_t scroll;
    bool is_following;             /* the window goes to where the focus is */
    char note[SCREEN_MIN_COLUMNS]; /* why a button did nothing; "" */

    /* Of the form, kept for as long as it runs. */
    bool is_filled;
    char server[256], name[64], token[32];
    enum screen_net net;
    char given[200], card[64], address[44], gateway[40], dns[40]; /* together a `network` */

    bool is_chosen[BOOT_MAX_DISKS];

    enum screen_act asking; /* "really?" stands before everything else; SCREEN_NOTHING: not */
    bool is_yes;
};

/* A page begins anew when it is another one than before. */
void screen_ui_show(struct screen_ui *ui, const struct screen_model *model);

enum screen_act screen_ui_key(struct screen_ui *ui, const struct screen_model *model, int key,
                              struct screen_answer *answer);

/* The grid has its size already. */
void screen_ui_draw(struct screen_ui *ui, const struct screen_model *model,
                    struct screen_grid *grid);

/* --- between the files --- */

/* In the order in which Tab goes through them. */
size_t screen_ui_items(const struct screen_ui *ui, const struct screen_model *model,
                       int items[SCREEN_MAX_ITEMS]);
int screen_ui_focus(const struct screen_ui *ui, const struct screen_model *model);

/* A field's text; NULL: the item is none. */
char *screen_ui_field(struct screen_ui *ui, int item, size_t *size);

bool screen_disk_can_go(const struct boot_disk *disk);

/* What stands between the frame's lines; `rows` from `row` on. */
void screen_draw_looking(const struct screen_model *model, struct screen_grid *grid, int row);
void screen_draw_form(struct screen_ui *ui, const struct screen_model *model,
                      struct screen_grid *grid, int row);
void screen_draw_pin(const struct screen_model *model, struct screen_grid *grid, int row);
void screen_draw_review(struct screen_ui *ui, const struct screen_model *model,
                        struct screen_grid *grid, int row, int rows);
void screen_draw_sending(struct screen_ui *ui, const struct screen_model *model,
                         struct screen_grid *grid, int row, int rows);
void screen_draw_done(struct screen_ui *ui, const struct screen_model *model,
                      struct screen_grid *grid, int row, int rows);

#endif
