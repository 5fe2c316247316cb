/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Time that only goes forward (CLOCK_MONOTONIC): for deadlines and for what a step took.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

int64_t clock_ms(void);
double clock_seconds(void);

/* The moment so many milliseconds from now on another clock, as pthread_cond_timedwait takes it. */
struct timespec clock_deadline(clockid_t id, int milliseconds);

#endif
