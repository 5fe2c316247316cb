/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Between the readers of the different network configurations and the list they fill. Private to
 * interfaces*.c.
 */
#ifndef BOOTFIX_INTERFACE_LIST_H
#define BOOTFIX_INTERFACE_LIST_H

#include "bootfix/interfaces.h"
#include "bootfix/span.h"

struct interface_list {
    struct files *files;
    struct system_interface *items; /* INTERFACES_MAX of them: pointers into it stay valid */
    size_t count;
    char *virtual_names[INTERFACES_MAX]; /* made by software, whatever else names them */
    size_t virtual_count;
    unsigned file_count;
};

/* Finds or adds; NULL for a name that is not one, or is obviously virtual, or beyond the limit. */
struct system_interface *interface_list_add(struct interface_list *list, struct span name,
                                            const char *config);
struct system_interface *interface_list_find(struct interface_list *list, struct span name);
void interface_list_add_virtual(struct interface_list *list, struct span name);

/* "dhcp", or an address with or without prefix length; anything else is dropped. */
void interface_add_address(struct system_interface *interface, struct span address);

/* Only the first one that is told is kept. */
void interface_set_mac(struct system_interface *interface, struct span mac);

/* A configuration file, within the limit of files: 1, 0 or -1 as files_read. */
int interface_list_read(struct interface_list *list, const char *path, char **text,
                        struct error *err);

/* Calls `read` for each file of a folder whose name ends so, in order. */
typedef void interface_reader(struct interface_list *list, const char *path, const char *text);
int interface_list_each(struct interface_list *list, const char *folder, const char *suffix,
                        interface_reader *read, struct error *err);

int interfaces_read_ifupdown(struct interface_list *list, struct error *err);
int interfaces_read_networkd(struct interface_list *list, struct error *err);
int interfaces_read_networkmanager(struct interface_list *list, struct error *err);
int interfaces_read_netplan(struct interface_list *list, struct error *err);

/* MACs of interfaces that are in the list already: persistent-net rules and .link files. */
int interfaces_read_macs(struct interface_list *list, struct error *err);

#endif
