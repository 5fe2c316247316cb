/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Names of machines as the pool's folders have them, and what a machine says of itself: which host
 * names, DMI UUIDs and serials are nobody's and must not make twins of strangers.
 */
#ifndef P2V_SERVER_MACHINE_NAME_H
#define P2V_SERVER_MACHINE_NAME_H

#include <stdbool.h>
#include <stddef.h>

#define MACHINE_NAME_SIZE 64
#define MACHINE_ID_SIZE 64
#define MACHINE_MARK_SIZE 17

/*
 * 1 to 63 of [A-Za-z0-9._-], the first a letter or digit, no "..", and no end that means something
 * in the pool (".partial", ".update", in any case).
 */
bool machine_name_is_valid(const char *name);

/* Makes a valid name of any text: "web 01.example" is "web-01.example"; "machine" of nothing. */
void machine_name_make(const char *text, char name[MACHINE_NAME_SIZE]);

/* "name", "name-2", "name-3" …: valid when `name` is. */
void machine_name_number(const char *name, unsigned number, char numbered[MACHINE_NAME_SIZE]);

/* In one spelling, or "" when it identifies nothing ("To Be Filled By O.E.M.", zeroes, …). */
void machine_uuid_make(const char *text, char uuid[MACHINE_ID_SIZE]);
void machine_serial_make(const char *text, char serial[MACHINE_ID_SIZE]);

/*
 * The mark by which an agent that has lost its key says which machine it is (docs/wire.md, HELLO):
 * 16 hexadecimal digits of UUID and serial number in one spelling, "" when both identify nothing.
 */
void machine_mark_make(const char *uuid, const char *serial, char mark[MACHINE_MARK_SIZE]);

/* The one in a HELLO's program: "rehost 1.0 id=0123456789abcdef"; "" when there is none. */
void machine_mark_find(const char *program, char mark[MACHINE_MARK_SIZE]);

/*
 * What to call a machine that has no name, by its DMI product and serial number: "PowerEdge R720
 * 4XK2J5J"; "" when the serial number identifies nothing. To be made valid.
 */
void machine_name_of_hardware(const char *product, const char *serial,
                              char name[MACHINE_NAME_SIZE]);

/* False for the names of machines that nobody has named ("localhost"). */
bool machine_name_tells(const char *name);

#endif
