/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The terminals on which the boot medium is seen and typed at.
 */
#ifndef P2V_BOOT_INIT_CONSOLES_H
#define P2V_BOOT_INIT_CONSOLES_H

#include <stddef.h>

/*
 * The kernel's consoles as /sys/class/tty/console/active has them: "/dev/tty1" for the screen,
 * "/dev/ttyS0" and so on; "/dev/tty1" when there are none. At least one, at most max.
 */
size_t boot_consoles_list(const char *root, char paths[][64], size_t max);

#endif
