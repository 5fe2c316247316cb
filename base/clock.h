/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Time that only goes forward (CLOCK_MONOTONIC): for deadlines and for what a step took.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

int64_t clock_ms(void);
double clock_seconds(void);

/*
 * A condition that is waited for by this clock, and the moment so many milliseconds from now for
 * its pthread_cond_timedwait. One that goes by the time of day would sleep for years when somebody
 * sets the date back.
 */
void clock_condition_init(pthread_cond_t *condition);
struct timespec clock_deadline(int milliseconds);

#endif
