/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The subcommands, one file each (cmd_NAME.c).
 */
#ifndef P2V_COMMANDS_H
#define P2V_COMMANDS_H

#include "p2v/cli.h"

extern const struct command command_inspect, command_convert, command_fix, command_define,
    command_verify, command_run, command_vm;

extern const struct command command_send;

/* Beside a server. */
extern const struct command command_serve, command_finish;
extern const struct command command_token, command_status, command_approve;

/* The agent's boot media. */
extern const struct command command_make_iso, command_make_pxe;

/* cmd_list.c */
extern const struct command command_formats, command_filesystems, command_fixers, command_targets;

#endif
