/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Making a plan's edits in the mounted guest.
 */
#ifndef BOOTFIX_APPLY_H
#define BOOTFIX_APPLY_H

#include "base/error.h"
#include "bootfix/plan.h"
#include "bootfix/session.h"

/* Fails when the guest's file systems have too little free space for the plan. Changes nothing. */
int apply_check_space(struct session *session, const struct plan *plan, struct error *err);

/* The same as a warning in the plan: known before anybody asks for it to be applied. */
void apply_warn_space(struct session *session, struct plan *plan);

int apply_edits(struct session *session, const struct plan *plan, struct error *err);

#endif
