/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A machine around a platform device: ports, a little RAM, lines and events that are only recorded,
 * and a loop that runs in a thread of its own.
 */
#ifndef TESTS_PLATFORM_RIG_H
#define TESTS_PLATFORM_RIG_H

#include "base/clock.h"
#include "base/error.h"
#include "hypervisor/layout.h"
#include "hypervisor/platform.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define RIG_PATIENCE_MS 5000

struct rig {
    struct bus ports;
    struct guest_memory memory;
    uint8_t ram[65536];
    struct interrupts interrupts;
    struct device_host host;
    struct loop *loop;
    pthread_t thread;
    bool is_running;
    atomic_bool levels[LAYOUT_GSI_COUNT];
    atomic_uint rises[LAYOUT_GSI_COUNT];
    unsigned events; /* how many, and the last */
    enum machine_event event;
    int value;
    struct log log;
    char lines[4096]; /* what was logged */
};

static void rig_set_line(void *context, unsigned gsi, bool is_high)
{
    struct rig *rig = context;
    if (atomic_exchange(&rig->levels[gsi], is_high) != is_high && is_high)
        atomic_fetch_add(&rig->rises[gsi], 1);
}

static void rig_event(void *context, enum machine_event event, int value)
{
    struct rig *rig = context;
    rig->events++;
    rig->event = event;
    rig->value = value;
}

static void rig_emit(struct log *log, enum log_level level, const char *line)
{
    struct rig *rig = (struct rig *)((char *)log - offsetof(struct rig, log));
    size_t used = strlen(rig->lines);
    (void)level;
    snprintf(rig->lines + used, sizeof(rig->lines) - used, "%s\n", line);
}

static inline struct rig *rig_new(void)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    struct error err = {0};
    assert_non_null(rig);
    bus_init(&rig->ports);
    assert_int_equal(guest_memory_add(&rig->memory, 0, sizeof(rig->ram), rig->ram, &err), 0);
    rig->interrupts = (struct interrupts){.set_line = rig_set_line, .context = rig};
    rig->log.emit = rig_emit;
    rig->loop = loop_new(&err);
    assert_non_null(rig->loop);
    rig->host = (struct device_host){
        .ports = &rig->ports,
        .memory = &rig->memory,
        .interrupts = &rig->interrupts,
        .loop = rig->loop,
        .log = &rig->log,
        .event = rig_event,
        .context = rig,
    };
    return rig;
}

static void *rig_loop(void *context)
{
    struct rig *rig = context;
    loop_run(rig->loop, NULL);
    return NULL;
}

static inline void rig_start_loop(struct rig *rig)
{
    assert_int_equal(pthread_create(&rig->thread, NULL, rig_loop, rig), 0);
    rig->is_running = true;
}

static inline void rig_stop_loop(struct rig *rig)
{
    loop_stop(rig->loop);
    if (rig->is_running)
        pthread_join(rig->thread, NULL);
    rig->is_running = false;
}

/* Closes the device (NULL: none), the loop's thread first. */
static inline void rig_free(struct rig *rig, struct device *device)
{
    rig_stop_loop(rig);
    if (device)
        device->ops->close(device);
    assert_int_equal(rig->ports.count, 0); /* every port was given back */
    loop_free(rig->loop);
    bus_fini(&rig->ports);
    free(rig);
}

static inline uint8_t in8(struct rig *rig, unsigned port)
{
    return (uint8_t)bus_read(&rig->ports, port, 1);
}

static inline void out8(struct rig *rig, unsigned port, uint8_t value)
{
    bus_write(&rig->ports, port, 1, value);
}

static inline bool rig_waits_for_line(struct rig *rig, unsigned gsi, bool is_high)
{
    for (int64_t end = clock_ms() + RIG_PATIENCE_MS; clock_ms() < end; usleep(500)) {
        if (atomic_load(&rig->levels[gsi]) == is_high)
            return true;
    }
    return false;
}

#endif
