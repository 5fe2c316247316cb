/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Wrong usage, apart from the commands: the agent has none of them.
 */
#include "p2v/cli.h"

#include <stdarg.h>
#include <stdio.h>

int cli_usage(struct error *err, const char *format, ...)
{
    char buffer[ERROR_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(buffer, sizeof(buffer), format, arguments);
    va_end(arguments);
    error_set(err, 0, "%s", buffer);
    return CLI_USAGE;
}
