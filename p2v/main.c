/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The program `rehost`. Everything is in cli.c, where tests reach it.
 */
#include "p2v/cli.h"

int main(int argc, char *argv[])
{
    return cli_main(argc, argv);
}
