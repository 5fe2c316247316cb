/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What all pages have around them: the title, the buttons, a line of help, which keys there are;
 * and the question that stands before everything else.
 */
#include "base/bytes.h"
#include "p2v/boot/screen_ui.h"

#include <stdio.h>
#include <string.h>

/* Below the page: a rule, the buttons, help (2), the keys. */
#define FOOT_ROWS 6
#define HEAD_ROWS 2

static const char *page_name(const struct screen_model *model)
{
    switch (model->page) {
    case SCREEN_LOOKING:
        return "looking";
    case SCREEN_FORM:
        return "1 of 3: where to";
    case SCREEN_PIN:
        return "2 of 3: the right server?";
    case SCREEN_REVIEW:
        return "3 of 3: what goes";
    case SCREEN_SENDING:
        return "copying";
    case SCREEN_DONE:
        return model->is_good ? "done" : "not done";
    }
    return "";
}

static const char *button_label(const struct screen_model *model, int item)
{
    switch (item) {
    case SCREEN_ITEM_SUBMIT:
        return model->page == SCREEN_FORM     ? "Go on"
               : model->page == SCREEN_PIN    ? "It is the same"
               : model->page == SCREEN_REVIEW ? "Start copying"
                                              : "Try again";
    case SCREEN_ITEM_BACK:
        return model->page == SCREEN_PIN ? "It is not: back" : "Back";
    case SCREEN_ITEM_POWER_OFF:
        return "Power off";
    case SCREEN_ITEM_RESTART:
        return "Restart";
    case SCREEN_ITEM_SHELL:
        return "Shell";
    default:
        return NULL;
    }
}

/* Where one stands is told by the brackets, too. */
static int put_button(struct screen_grid *grid, int row, int column, const char *label,
                      bool is_focused)
{
    screen_grid_putf(grid, row, column, is_focused ? SCREEN_REVERSE : SCREEN_PLAIN,
                     is_focused ? "> %s <" : "[ %s ]", label);
    return column + (int)strlen(label) + 6;
}

static void draw_buttons(const struct screen_ui *ui, const struct screen_model *model,
                         struct screen_grid *grid, int row)
{
    int items[SCREEN_MAX_ITEMS];
    int column = 2, focus = screen_ui_focus(ui, model);
    size_t count = screen_ui_items(ui, model, items);
    for (size_t i = 0; i < count; i++) {
        const char *label = button_label(model, items[i]);
        if (label)
            column = put_button(grid, row, column, label, items[i] == focus);
    }
}

static const char *keys(const struct screen_model *model)
{
    switch (model->page) {
    case SCREEN_FORM:
        return "Tab, arrows, Enter: go   Backspace: delete   Ctrl-U: empty   Space: change";
    case SCREEN_REVIEW:
        return "Tab, arrows: go   Space: tick   Enter: press   PgUp, PgDn: look   Esc: back";
    case SCREEN_PIN:
        return "Tab, arrows: go   Enter: press   Esc: back";
    case SCREEN_LOOKING:
    case SCREEN_SENDING:
    case SCREEN_DONE:
        break;
    }
    return "Tab, arrows: go   Enter: press   PgUp, PgDn: look";
}

/* --- help --- */

static const char *form_help(const struct screen_ui *ui, int item)
{
    static const char *const texts[] = {
        [SCREEN_ITEM_SERVER] = "The name or address of the computer on which 'rehost serve' runs. "
                               "The port is 7443 unless you add :PORT.",
        [SCREEN_ITEM_NAME] = "What the copy is called. Leave it empty and the server takes the "
                             "name that it finds.",
        [SCREEN_ITEM_TOKEN] = "The 26 characters that 'rehost serve' or 'rehost token' printed. "
                              "Without one, somebody approves this machine on the server.",
        [SCREEN_ITEM_CARD] = "Empty: whichever has a cable. Or eno1, a MAC, eno1.42 (a VLAN), "
                             "bond0:eno1+eno2:802.3ad.",
        [SCREEN_ITEM_ADDRESS] = "This machine's address while it is copied, with the length of the "
                                "network: 192.0.2.5/24.",
        [SCREEN_ITEM_GATEWAY] = "The router on the way to the server; empty when the server is in "
                                "the same network.",
        [SCREEN_ITEM_DNS] = "The name server's address; empty when the server above is given as "
                            "an address.",
        [SCREEN_ITEM_SUBMIT] = "Asks the server for its key. Nothing of this machine is sent yet.",
    };
    if (item == SCREEN_ITEM_NETWORK)
        return ui->net == SCREEN_NET_HAND
                   ? "Space changes it. You type the address below."
                   : "Space changes it: by DHCP on every card with a cable, or an address by hand.";
    return item >= 0 && (size_t)item < ARRAY_LENGTH(texts) && texts[item] ? texts[item] : "";
}

static const char *help(const struct screen_ui *ui, const struct screen_model *model)
{
    int item = screen_ui_focus(ui, model);
    if (item == SCREEN_ITEM_POWER_OFF)
        return "Asks first. Nothing on this machine's disks has been or will be changed.";
    if (item == SCREEN_ITEM_SHELL)
        return "A shell on this console; 'exit' comes back here.";
    switch (model->page) {
    case SCREEN_FORM:
        return form_help(ui, item);
    case SCREEN_PIN:
        return item == SCREEN_ITEM_BACK
                   ? "Another key means another server, or somebody in between: do not go on."
                   : "Only when all 64 digits are the same.";
    case SCREEN_REVIEW:
        return item >= SCREEN_ITEM_DISK ? "Space ticks: a ticked disk is copied. Disks are only "
                                          "read, never written to."
               : item == SCREEN_ITEM_SUBMIT
                   ? "Copies the ticked disks. They are only read, never written to."
                   : "Back to the questions.";
    case SCREEN_DONE:
        return item == SCREEN_ITEM_SUBMIT ? "What the server has already is not sent again." : "";
    case SCREEN_LOOKING:
    case SCREEN_SENDING:
        break;
    }
    return "";
}

/* --- */

static void draw_frame(const struct screen_ui *ui, const struct screen_model *model,
                       struct screen_grid *grid)
{
    const char *name = page_name(model);
    int foot = grid->rows - FOOT_ROWS;
    screen_grid_bar(grid, 0, SCREEN_REVERSE);
    screen_grid_put(grid, 0, 1, SCREEN_REVERSE, "Rehost " REHOST_VERSION ": copy this machine");
    screen_grid_put(grid, 0, grid->columns - 1 - (int)strlen(name), SCREEN_REVERSE, name);
    screen_grid_rule(grid, foot);
    draw_buttons(ui, model, grid, foot + 1);
    if (ui->note[0])
        screen_grid_putf(grid, foot + 3, 2, SCREEN_BOLD, "! %s", ui->note);
    else
        screen_grid_wrap(grid, foot + 3, 2, grid->columns - 4, 2, SCREEN_PLAIN, help(ui, model));
    screen_grid_bar(grid, grid->rows - 1, SCREEN_REVERSE);
    screen_grid_put(grid, grid->rows - 1, 1, SCREEN_REVERSE, keys(model));
}

static void draw_page(struct screen_ui *ui, const struct screen_model *model,
                      struct screen_grid *grid)
{
    int rows = grid->rows - HEAD_ROWS - FOOT_ROWS;
    switch (model->page) {
    case SCREEN_LOOKING:
        screen_draw_looking(model, grid, HEAD_ROWS);
        break;
    case SCREEN_FORM:
        screen_draw_form(ui, model, grid, HEAD_ROWS);
        break;
    case SCREEN_PIN:
        screen_draw_pin(model, grid, HEAD_ROWS);
        break;
    case SCREEN_REVIEW:
        screen_draw_review(ui, model, grid, HEAD_ROWS, rows);
        break;
    case SCREEN_SENDING:
        screen_draw_sending(ui, model, grid, HEAD_ROWS, rows);
        break;
    case SCREEN_DONE:
        screen_draw_done(ui, model, grid, HEAD_ROWS, rows);
    }
}

/* --- "really?" --- */

#define BOX_COLUMNS 60
#define BOX_ROWS 9

static void draw_box(struct screen_grid *grid, int top, int left)
{
    for (int row = 0; row < BOX_ROWS; row++) {
        bool is_edge = row == 0 || row == BOX_ROWS - 1;
        char line[BOX_COLUMNS + 1];
        memset(line, is_edge ? '-' : ' ', BOX_COLUMNS);
        line[0] = line[BOX_COLUMNS - 1] = is_edge ? '+' : '|';
        line[BOX_COLUMNS] = '\0';
        screen_grid_put(grid, top + row, left, SCREEN_PLAIN, line);
    }
}

static void draw_question(const struct screen_ui *ui, const struct screen_model *model,
                          struct screen_grid *grid)
{
    bool is_off = ui->asking == SCREEN_POWER_OFF;
    const char *question = is_off ? "Power this machine off?" : "Restart this machine?";
    const char *what =
        model->page == SCREEN_SENDING && model->stage[0]
            ? "The server has everything and goes on by itself; what comes of it will not be seen "
              "here."
        : model->page == SCREEN_SENDING
            ? "The copy is not complete. Booted from this medium again, the machine goes on from "
              "the last safe point."
        : model->page == SCREEN_DONE && model->is_good
            ? "The copy is complete. Nothing on this machine's disks was changed."
            : "Nothing on this machine's disks was changed.";
    int top = (grid->rows - BOX_ROWS) / 2, left = (grid->columns - BOX_COLUMNS) / 2;
    draw_box(grid, top, left);
    screen_grid_put(grid, top + 1, left + 3, SCREEN_BOLD, question);
    screen_grid_wrap(grid, top + 3, left + 3, BOX_COLUMNS - 6, 2, SCREEN_PLAIN, what);
    int column = put_button(grid, top + 6, left + 3, "No", !ui->is_yes);
    put_button(grid, top + 6, column, is_off ? "Yes, power off" : "Yes, restart", ui->is_yes);
}

void screen_ui_draw(struct screen_ui *ui, const struct screen_model *model,
                    struct screen_grid *grid)
{
    screen_grid_init(grid, grid->rows, grid->columns);
    draw_frame(ui, model, grid);
    draw_page(ui, model, grid); /* may say on the rule below it that there is more */
    if (ui->asking != SCREEN_NOTHING)
        draw_question(ui, model, grid);
}
