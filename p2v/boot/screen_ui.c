/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What a person stands on, and what a key does there.
 */
#include "p2v/boot/screen_ui.h"

#include "base/bytes.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* --- what there is to stand on --- */

struct item_list {
    int *items;
    size_t count;
};

static void add(struct item_list *list, int item)
{
    list->items[list->count++] = item;
}

static void add_shell(struct item_list *list, const struct screen_ui *ui)
{
    if (ui->has_shell)
        add(list, SCREEN_ITEM_SHELL);
}

static void add_form(struct item_list *list, const struct screen_ui *ui)
{
    add(list, SCREEN_ITEM_SERVER);
    add(list, SCREEN_ITEM_NAME);
    add(list, SCREEN_ITEM_TOKEN);
    add(list, SCREEN_ITEM_NETWORK);
    for (int item = SCREEN_ITEM_CARD; ui->net == SCREEN_NET_HAND && item <= SCREEN_ITEM_DNS; item++)
        add(list, item);
    add(list, SCREEN_ITEM_SUBMIT);
    add(list, SCREEN_ITEM_POWER_OFF);
    add_shell(list, ui);
}

bool screen_disk_can_go(const struct boot_disk *disk)
{
    return strcmp(disk->why_not, "the boot medium") != 0;
}

static void add_review(struct item_list *list, const struct screen_ui *ui,
                       const struct boot_findings *findings)
{
    for (size_t i = 0; i < findings->disk_count; i++) {
        if (screen_disk_can_go(&findings->disks[i]))
            add(list, SCREEN_ITEM_DISK + (int)i);
    }
    add(list, SCREEN_ITEM_SUBMIT);
    add(list, SCREEN_ITEM_BACK);
    add(list, SCREEN_ITEM_POWER_OFF);
    add_shell(list, ui);
}

static void add_done(struct item_list *list, const struct screen_ui *ui,
                     const struct screen_model *model)
{
    if (!model->is_good)
        add(list, SCREEN_ITEM_SUBMIT);
    if (!model->is_good && model->can_go_back)
        add(list, SCREEN_ITEM_BACK);
    add(list, SCREEN_ITEM_POWER_OFF);
    add(list, SCREEN_ITEM_RESTART);
    add_shell(list, ui);
}

size_t screen_ui_items(const struct screen_ui *ui, const struct screen_model *model,
                       int items[SCREEN_MAX_ITEMS])
{
    struct item_list list = {items, 0};
    switch (model->page) {
    case SCREEN_FORM:
        add_form(&list, ui);
        break;
    case SCREEN_PIN:
        add(&list, SCREEN_ITEM_BACK); /* nobody says yes by pressing Enter once too often */
        add(&list, SCREEN_ITEM_SUBMIT);
        break;
    case SCREEN_REVIEW:
        add_review(&list, ui, &model->findings);
        break;
    case SCREEN_DONE:
        add_done(&list, ui, model);
        break;
    case SCREEN_LOOKING:
    case SCREEN_SENDING:
        add(&list, SCREEN_ITEM_POWER_OFF);
        add_shell(&list, ui);
    }
    return list.count;
}

int screen_ui_focus(const struct screen_ui *ui, const struct screen_model *model)
{
    int items[SCREEN_MAX_ITEMS];
    size_t count = screen_ui_items(ui, model, items);
    return items[(size_t)ui->focus < count ? (size_t)ui->focus : count - 1];
}

static void move(struct screen_ui *ui, const struct screen_model *model, int by)
{
    int items[SCREEN_MAX_ITEMS];
    int count = (int)screen_ui_items(ui, model, items);
    ui->focus = (ui->focus + by + count) % count;
    ui->is_following = true;
}

static void focus_on(struct screen_ui *ui, const struct screen_model *model, int wanted)
{
    int items[SCREEN_MAX_ITEMS];
    size_t count = screen_ui_items(ui, model, items);
    ui->focus = 0;
    for (size_t i = 0; i < count; i++) {
        if (items[i] == wanted)
            ui->focus = (int)i;
    }
}

/* --- a page begins --- */

#define TAKE(field, text) snprintf(field, sizeof(field), "%.*s", (int)sizeof(field) - 1, text)

static void fill_form(struct screen_ui *ui, const struct screen_form *form)
{
    if (ui->is_filled)
        return;
    ui->is_filled = true;
    TAKE(ui->server, form->server);
    TAKE(ui->name, form->name);
    TAKE(ui->token, form->token);
    TAKE(ui->given, form->network);
    ui->net = form->network[0] ? SCREEN_NET_GIVEN : SCREEN_NET_DHCP;
}

void screen_ui_show(struct screen_ui *ui, const struct screen_model *model)
{
    if (ui->is_begun && ui->page == model->page)
        return;
    ui->is_begun = true;
    ui->page = model->page;
    ui->focus = 0;
    ui->scroll = 0;
    ui->note[0] = '\0';
    ui->asking = SCREEN_NOTHING;
    if (model->page == SCREEN_FORM)
        fill_form(ui, &model->form);
    for (size_t i = 0; i < BOOT_MAX_DISKS; i++)
        ui->is_chosen[i] = i < model->findings.disk_count && model->findings.disks[i].is_chosen;
    if (model->page == SCREEN_REVIEW)
        focus_on(ui, model, SCREEN_ITEM_SUBMIT);
}

/* --- fields --- */

char *screen_ui_field(struct screen_ui *ui, int item, size_t *size)
{
    const struct {
        char *text;
        size_t size;
    } fields[] = {
        [SCREEN_ITEM_SERVER] = {ui->server, sizeof(ui->server)},
        [SCREEN_ITEM_NAME] = {ui->name, sizeof(ui->name)},
        [SCREEN_ITEM_TOKEN] = {ui->token, sizeof(ui->token)},
        [SCREEN_ITEM_CARD] = {ui->card, sizeof(ui->card)},
        [SCREEN_ITEM_ADDRESS] = {ui->address, sizeof(ui->address)},
        [SCREEN_ITEM_GATEWAY] = {ui->gateway, sizeof(ui->gateway)},
        [SCREEN_ITEM_DNS] = {ui->dns, sizeof(ui->dns)},
    };
    if (item < 0 || (size_t)item >= ARRAY_LENGTH(fields))
        return NULL;
    *size = fields[item].size;
    return fields[item].text;
}

static bool edit(struct screen_ui *ui, int item, int key)
{
    size_t size = 0;
    char *text = screen_ui_field(ui, item, &size);
    if (!text)
        return false;
    size_t length = strlen(text);
    if (key == SCREEN_KEY_ERASE && length > 0)
        text[length - 1] = '\0';
    else if (key == SCREEN_KEY_CLEAR)
        text[0] = '\0';
    else if (key > ' ' && key <= '~' && length + 1 < size)
        text[length] = (char)key, text[length + 1] = '\0';
    return key < 256 || key == SCREEN_KEY_ERASE || key == SCREEN_KEY_CLEAR;
}

static void next_network(struct screen_ui *ui, int by)
{
    int count = ui->given[0] ? 3 : 2;
    ui->net = (enum screen_net)(((int)ui->net + by + count) % count);
}

/* --- buttons --- */

static void write_network(const struct screen_ui *ui, char *network, size_t size)
{
    network[0] = '\0';
    if (ui->net == SCREEN_NET_GIVEN)
        snprintf(network, size, "%s", ui->given);
    if (ui->net != SCREEN_NET_HAND)
        return;
    snprintf(network, size, "%s%s%s%s%s%s%s", ui->card, ui->card[0] ? "," : "", ui->address,
             ui->gateway[0] ? ",gw=" : "", ui->gateway, ui->dns[0] ? ",dns=" : "", ui->dns);
}

static enum screen_act refuse(struct screen_ui *ui, const struct screen_model *model, int item,
                              const char *note)
{
    focus_on(ui, model, item);
    TAKE(ui->note, note);
    return SCREEN_NOTHING;
}

/* The length is the wire's; the letters are base32's. */
static bool is_token(const char *token)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz234567";
    return token[0] == '\0' ||
           (strlen(token) == WIRE_TOKEN_LENGTH && strspn(token, letters) == WIRE_TOKEN_LENGTH);
}

/* As the server takes it; none: it chooses one. */
static bool is_name(const char *name)
{
    for (const char *at = name; *at; at++) {
        if (!isalnum((unsigned char)*at) && (at == name || !strchr("._-", *at)))
            return false;
    }
    return true;
}

static enum screen_act submit_form(struct screen_ui *ui, const struct screen_model *model,
                                   struct screen_answer *answer)
{
    struct screen_form *form = &answer->form;
    if (!ui->server[0])
        return refuse(ui, model, SCREEN_ITEM_SERVER, "Type the server's name or address first.");
    if (!is_name(ui->name))
        return refuse(ui, model, SCREEN_ITEM_NAME, "A name has letters, digits, '.', '_' and '-'.");
    if (!is_token(ui->token))
        return refuse(ui, model, SCREEN_ITEM_TOKEN,
                      "A token is 26 of A to Z and 2 to 7; leave it empty if you have none.");
    if (ui->net == SCREEN_NET_HAND && !ui->address[0])
        return refuse(ui, model, SCREEN_ITEM_ADDRESS, "Type this machine's address first.");
    memcpy(form->server, ui->server, sizeof(form->server));
    memcpy(form->name, ui->name, sizeof(form->name));
    memcpy(form->token, ui->token, sizeof(form->token));
    for (char *at = form->token; *at; at++)
        *at = (char)toupper((unsigned char)*at);
    write_network(ui, form->network, sizeof(form->network));
    return SCREEN_SUBMIT;
}

static enum screen_act submit_review(struct screen_ui *ui, const struct screen_model *model,
                                     struct screen_answer *answer)
{
    bool is_any = false;
    for (size_t i = 0; i < model->findings.disk_count; i++)
        is_any |= ui->is_chosen[i];
    if (!is_any)
        return refuse(ui, model, SCREEN_ITEM_DISK, "Tick at least one disk (space).");
    memcpy(answer->is_chosen, ui->is_chosen, sizeof(answer->is_chosen));
    return SCREEN_SUBMIT;
}

static enum screen_act ask(struct screen_ui *ui, enum screen_act act)
{
    ui->asking = act;
    ui->is_yes = false;
    return SCREEN_NOTHING;
}

static enum screen_act press(struct screen_ui *ui, const struct screen_model *model, int item,
                             struct screen_answer *answer)
{
    switch (item) {
    case SCREEN_ITEM_SUBMIT:
        return model->page == SCREEN_FORM     ? submit_form(ui, model, answer)
               : model->page == SCREEN_REVIEW ? submit_review(ui, model, answer)
                                              : SCREEN_SUBMIT;
    case SCREEN_ITEM_BACK:
        return SCREEN_BACK;
    case SCREEN_ITEM_POWER_OFF:
        return ask(ui, SCREEN_POWER_OFF);
    case SCREEN_ITEM_RESTART:
        return ask(ui, SCREEN_RESTART);
    case SCREEN_ITEM_SHELL:
        return SCREEN_SHELL;
    default:
        return SCREEN_NOTHING;
    }
}

/* --- keys --- */

static enum screen_act answer_question(struct screen_ui *ui, int key)
{
    enum screen_act act = ui->asking;
    switch (key) {
    case SCREEN_KEY_LEFT:
    case SCREEN_KEY_RIGHT:
    case SCREEN_KEY_UP:
    case SCREEN_KEY_DOWN:
    case SCREEN_KEY_TAB:
    case SCREEN_KEY_BACK_TAB:
        ui->is_yes = !ui->is_yes;
        return SCREEN_NOTHING;
    case SCREEN_KEY_ENTER:
    case ' ':
        ui->asking = SCREEN_NOTHING;
        return ui->is_yes ? act : SCREEN_NOTHING;
    case 'y':
    case 'Y':
        ui->asking = SCREEN_NOTHING;
        return act;
    case 'n':
    case 'N':
    case SCREEN_KEY_ESCAPE:
        ui->asking = SCREEN_NOTHING;
        return SCREEN_NOTHING;
    default:
        return SCREEN_NOTHING;
    }
}

static bool is_button(int item)
{
    return item >= SCREEN_ITEM_SUBMIT && item < SCREEN_ITEM_DISK;
}

static void move_by_key(struct screen_ui *ui, const struct screen_model *model, int item, int key)
{
    switch (key) {
    case SCREEN_KEY_TAB:
    case SCREEN_KEY_DOWN:
        move(ui, model, 1);
        break;
    case SCREEN_KEY_BACK_TAB:
    case SCREEN_KEY_UP:
        move(ui, model, -1);
        break;
    case SCREEN_KEY_LEFT:
    case SCREEN_KEY_RIGHT:
        if (item == SCREEN_ITEM_NETWORK)
            next_network(ui, key == SCREEN_KEY_LEFT ? -1 : 1);
        else if (is_button(item))
            move(ui, model, key == SCREEN_KEY_LEFT ? -1 : 1);
        break;
    case SCREEN_KEY_PAGE_UP:
        ui->is_following = false;
        ui->scroll -= ui->scroll < 5 ? ui->scroll : 5;
        break;
    case SCREEN_KEY_PAGE_DOWN:
        ui->is_following = false;
        ui->scroll += 5; /* drawing keeps it inside */
        break;
    default:
        break;
    }
}

static enum screen_act escape(struct screen_ui *ui, const struct screen_model *model)
{
    if (model->page == SCREEN_PIN || model->page == SCREEN_REVIEW)
        return SCREEN_BACK;
    return ask(ui, SCREEN_POWER_OFF);
}

enum screen_act screen_ui_key(struct screen_ui *ui, const struct screen_model *model, int key,
                              struct screen_answer *answer)
{
    int item = screen_ui_focus(ui, model);
    ui->note[0] = '\0';
    if (ui->asking != SCREEN_NOTHING)
        return answer_question(ui, key);
    if (model->page == SCREEN_DONE && model->seconds_to_then >= 0)
        return SCREEN_STAY;
    if (edit(ui, item, key))
        return SCREEN_NOTHING;
    bool is_pressed = key == ' ' || key == SCREEN_KEY_ENTER;
    if (key == SCREEN_KEY_ESCAPE)
        return escape(ui, model);
    if (is_pressed && is_button(item))
        return press(ui, model, item, answer);
    if (is_pressed && item >= SCREEN_ITEM_DISK)
        ui->is_chosen[item - SCREEN_ITEM_DISK] ^= true;
    else if (key == ' ' && item == SCREEN_ITEM_NETWORK)
        next_network(ui, 1);
    else
        move_by_key(ui, model, item, key == SCREEN_KEY_ENTER ? SCREEN_KEY_TAB : key);
    return SCREEN_NOTHING;
}
