/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Ctrl-C and SIGTERM: long work looks at a flag and ends by itself, with its own cleaning up. What
 * cannot look (a call into the appliance) is given a few seconds; then the clean-up that was left
 * here runs and the process ends.
 */
#ifndef P2V_INTERRUPT_H
#define P2V_INTERRUPT_H

#include "base/error.h"

#include <stdatomic.h>
#include <stdbool.h>

#define INTERRUPT_EXIT_CODE 130

/* Installs the handlers for SIGINT, SIGTERM and SIGHUP. Once per process. */
int interrupt_start(struct error *err);

bool interrupt_is_requested(void);
const atomic_bool *interrupt_flag(void);

/* What to do before ending by force; NULL: nothing. Runs in another thread than the caller's. */
void interrupt_set_cleanup(void (*cleanup)(void *context), void *context);

#endif
