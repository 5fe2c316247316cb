/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The pages of a fixed shape: looking, the form, the pin.
 */
#include "p2v/boot/screen_ui.h"

#include <stdio.h>
#include <string.h>

/* --- looking --- */

/* "eno1   192.0.2.17/24 by DHCP   1000 Mb/s   igb" */
static void draw_link(const struct boot_link *link, struct screen_grid *grid, int row)
{
    char speed[32] = "";
    if (link->megabits)
        snprintf(speed, sizeof(speed), ", %u Mb/s", link->megabits);
    screen_grid_putf(grid, row, 4, SCREEN_PLAIN, "%-10.20s %.50s%s", link->name, link->state,
                     speed);
}

void screen_draw_looking(const struct screen_model *model, struct screen_grid *grid, int row)
{
    const struct boot_network_state *network = &model->network;
    screen_grid_put(grid, row, 2, SCREEN_BOLD, "One moment.");
    row += 2;
    if (model->findings.machine[0])
        row += screen_grid_wrap(grid, row, 2, grid->columns - 4, 2, SCREEN_PLAIN,
                                model->findings.machine);
    if (model->stage[0])
        row += 1 +
               screen_grid_wrap(grid, row + 1, 2, grid->columns - 4, 2, SCREEN_PLAIN, model->stage);
    if (network->count)
        screen_grid_put(grid, ++row, 2, SCREEN_PLAIN, "Network:");
    for (size_t i = 0; i < network->count && i < 6; i++)
        draw_link(&network->links[i], grid, ++row);
    const char *problem = model->problem[0] ? model->problem : network->problem;
    if (problem[0])
        screen_grid_wrap(grid, row + 2, 2, grid->columns - 4, 3, SCREEN_BOLD, problem);
}

/* --- the form --- */

#define LABEL_COLUMN 4
#define FIELD_COLUMN 19
#define FIELD_WIDTH 56

/* A long text's end is what is seen; while one stands there, '_' is where the next letter goes. */
static void draw_field(struct screen_ui *ui, int item, int focus, const char *label,
                       struct screen_grid *grid, int row)
{
    size_t size = 0;
    const char *text = screen_ui_field(ui, item, &size);
    bool is_focused = item == focus;
    char hidden[32];
    if (item == SCREEN_ITEM_TOKEN && !is_focused) {
        memset(hidden, '*', sizeof(hidden));
        hidden[strnlen(text, sizeof(hidden) - 1)] = '\0';
        text = hidden;
    }
    size_t room = FIELD_WIDTH - 1, length = strlen(text);
    screen_grid_put(grid, row, LABEL_COLUMN - 2, SCREEN_BOLD, is_focused ? ">" : " ");
    screen_grid_put(grid, row, LABEL_COLUMN, SCREEN_PLAIN, label);
    screen_grid_putf(grid, row, FIELD_COLUMN, is_focused ? SCREEN_REVERSE : SCREEN_PLAIN,
                     "[%s%s%*s]", text + (length > room ? length - room : 0), is_focused ? "_" : "",
                     (int)((length > room ? 0 : room - length) + !is_focused), "");
}

static void draw_network_choice(const struct screen_ui *ui, int focus, struct screen_grid *grid,
                                int row)
{
    bool is_focused = focus == SCREEN_ITEM_NETWORK;
    screen_grid_put(grid, row, LABEL_COLUMN - 2, SCREEN_BOLD, is_focused ? ">" : " ");
    screen_grid_put(grid, row, LABEL_COLUMN, SCREEN_PLAIN, "Network");
    screen_grid_putf(grid, row, FIELD_COLUMN, is_focused ? SCREEN_REVERSE : SCREEN_PLAIN,
                     "(%c) by itself (DHCP)   (%c) by hand", ui->net == SCREEN_NET_DHCP ? '*' : ' ',
                     ui->net == SCREEN_NET_HAND ? '*' : ' ');
    if (ui->given[0])
        screen_grid_putf(grid, row + 1, FIELD_COLUMN, is_focused ? SCREEN_REVERSE : SCREEN_PLAIN,
                         "(%c) as booted: %.38s", ui->net == SCREEN_NET_GIVEN ? '*' : ' ',
                         ui->given);
}

static void draw_links(const struct boot_network_state *network, struct screen_grid *grid, int row)
{
    for (size_t i = 0; i < network->count && i < 4; i++)
        draw_link(&network->links[i], grid, row++);
    if (network->count == 0)
        screen_grid_put(grid, row++, 4, SCREEN_PLAIN, "no network card was found");
    if (network->problem[0])
        screen_grid_wrap(grid, row, 4, grid->columns - 6, 2, SCREEN_BOLD, network->problem);
}

void screen_draw_form(struct screen_ui *ui, const struct screen_model *model,
                      struct screen_grid *grid, int row)
{
    static const char *const labels[] = {"Card", "Address", "Gateway", "Name server"};
    int focus = screen_ui_focus(ui, model);
    if (model->problem[0])
        screen_grid_wrap(grid, row, 4, grid->columns - 6, 2, SCREEN_BOLD, model->problem);
    if (model->problem[0])
        screen_grid_put(grid, row, 2, SCREEN_BOLD, "!");
    else
        screen_grid_put(grid, row, 2, SCREEN_BOLD, "Where is this machine to be copied to?");
    draw_field(ui, SCREEN_ITEM_SERVER, focus, "Server", grid, row + 2);
    draw_field(ui, SCREEN_ITEM_NAME, focus, "Machine name", grid, row + 3);
    draw_field(ui, SCREEN_ITEM_TOKEN, focus, "Token", grid, row + 4);
    draw_network_choice(ui, focus, grid, row + 6);
    row += ui->given[0] ? 8 : 7;
    for (int i = 0; ui->net == SCREEN_NET_HAND && i < 4; i++)
        draw_field(ui, SCREEN_ITEM_CARD + i, focus, labels[i], grid, row++);
    draw_links(&model->network, grid, row + 1);
}

/* --- the pin --- */

/* "0123 4567 89ab cdef", 16 digits a row: the way `rehost serve` shows it is compared with that. */
static int draw_digits(const char *digits, struct screen_grid *grid, int row)
{
    for (size_t i = 0; digits[i]; i++) {
        char digit[2] = {digits[i], '\0'};
        int within = (int)(i % 16);
        screen_grid_put(grid, row + (int)(i / 16), 8 + within + within / 4, SCREEN_BOLD, digit);
    }
    return row + (int)((strlen(digits) + 15) / 16);
}

void screen_draw_pin(const struct screen_model *model, struct screen_grid *grid, int row)
{
    static const char prefix[] = "sha256:";
    const char *pin = model->pin;
    if (text_starts_with(pin, prefix))
        pin += strlen(prefix);
    screen_grid_putf(grid, row, 2, SCREEN_BOLD, "%.60s answered. Is it your server?",
                     model->server);
    screen_grid_wrap(grid, row + 2, 2, grid->columns - 4, 3, SCREEN_PLAIN,
                     "It has the key below. Compare it with the line \"pin sha256:...\" that "
                     "'rehost serve' printed there when it started:");
    screen_grid_put(grid, row + 5, 4, SCREEN_PLAIN, prefix);
    row = draw_digits(pin, grid, row + 6);
    screen_grid_wrap(grid, row + 1, 2, grid->columns - 4, 3, SCREEN_PLAIN,
                     "Nothing of this machine, and no token, has been sent to it so far.");
}
