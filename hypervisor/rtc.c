/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * CMOS memory and RTC (Motorola MC146818): the time as register B says it is to be written, behind
 * ports 0x70 and 0x71. Setting it keeps a difference to the host's clock. Alarms and updates
 * interrupt (hwclock waits for one); there is no periodic interrupt, its rate is only stored. What
 * a PC's firmware keeps in CMOS is filled in at reset.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/own.h"
#include "hypervisor/layout.h"
#include "hypervisor/platform.h"
#include "hypervisor/ports.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define CMOS_SIZE 128
#define CMOS_SECONDS 0x00
#define CMOS_MINUTES 0x02
#define CMOS_HOURS 0x04
#define CMOS_WEEKDAY 0x06
#define CMOS_DAY 0x07
#define CMOS_MONTH 0x08
#define CMOS_YEAR 0x09
#define CMOS_A 0x0a
#define CMOS_B 0x0b
#define CMOS_C 0x0c
#define CMOS_D 0x0d
#define CMOS_CENTURY 0x32
#define A_32KHZ 0x26 /* divider on, 1024 Hz; it is never updating (bit 7) */
#define B_SET 0x80
#define B_ALARM 0x20
#define B_UPDATE 0x10
#define B_BINARY 0x04
#define B_24_HOURS 0x02
#define C_INTERRUPT 0x80
#define C_ALARM 0x20  /* as B_ALARM */
#define C_UPDATE 0x10 /* as B_UPDATE */
#define D_VALID 0x80
#define ALARM_ANY 0xc0 /* and above: whatever the time is */
#define LATE_MAX 60    /* seconds that the loop may be late for an alarm */
#define SECOND_NS 1000000000L
#define HOURS_PM 0x80

struct rtc {
    struct port_device base;
    struct rtc_options options;
    uint8_t index;
    uint8_t cmos[CMOS_SIZE]; /* its time is right only while B_SET is */
    int64_t ahead;           /* seconds: the guest's clock less the host's */
    int64_t seen;            /* the time when A was read */
    struct loop_watch watch; /* a timer that ticks while somebody wants to be interrupted */
    bool is_ticking, is_paused, line_is_high;
    int64_t ticked; /* the time of its last tick */
};

static int64_t rtc_time(const struct rtc *rtc)
{
    struct timespec host;
    struct tm local;
    timespec_get(&host, TIME_UTC); /* time() may be some milliseconds late */
    time_t now = rtc->options.now ? rtc->options.now(rtc->options.context) : host.tv_sec;
    if (rtc->options.is_local_time && localtime_r(&now, &local))
        now += local.tm_gmtoff;
    return now + rtc->ahead;
}

static uint8_t encode(const struct rtc *rtc, int value)
{
    value %= 100;
    return (uint8_t)(rtc->cmos[CMOS_B] & B_BINARY ? value : value / 10 << 4 | value % 10);
}

static int decode(const struct rtc *rtc, uint8_t value)
{
    return rtc->cmos[CMOS_B] & B_BINARY ? value : (value >> 4) * 10 + (value & 15);
}

static uint8_t encode_hours(const struct rtc *rtc, int hours)
{
    if (rtc->cmos[CMOS_B] & B_24_HOURS)
        return encode(rtc, hours);
    return encode(rtc, hours % 12 == 0 ? 12 : hours % 12) | (hours >= 12 ? HOURS_PM : 0);
}

static int decode_hours(const struct rtc *rtc, uint8_t value)
{
    if (rtc->cmos[CMOS_B] & B_24_HOURS)
        return decode(rtc, value);
    return decode(rtc, value & ~HOURS_PM) % 12 + (value & HOURS_PM ? 12 : 0);
}

static void write_time_down(struct rtc *rtc, int64_t when)
{
    struct tm tm = {0};
    time_t seconds = when;
    gmtime_r(&seconds, &tm);
    int year = (tm.tm_year + 1900 + 10000) % 10000; /* month 0 of year 0 is before that year */
    rtc->cmos[CMOS_SECONDS] = encode(rtc, tm.tm_sec);
    rtc->cmos[CMOS_MINUTES] = encode(rtc, tm.tm_min);
    rtc->cmos[CMOS_HOURS] = encode_hours(rtc, tm.tm_hour);
    rtc->cmos[CMOS_WEEKDAY] = encode(rtc, tm.tm_wday + 1);
    rtc->cmos[CMOS_DAY] = encode(rtc, tm.tm_mday);
    rtc->cmos[CMOS_MONTH] = encode(rtc, tm.tm_mon + 1);
    rtc->cmos[CMOS_YEAR] = encode(rtc, year);
    rtc->cmos[CMOS_CENTURY] = encode(rtc, year / 100);
}

/* Any bytes give some time: timegm carries what is too large. */
static void take_time(struct rtc *rtc)
{
    struct tm tm = {
        .tm_sec = decode(rtc, rtc->cmos[CMOS_SECONDS]),
        .tm_min = decode(rtc, rtc->cmos[CMOS_MINUTES]),
        .tm_hour = decode_hours(rtc, rtc->cmos[CMOS_HOURS]),
        .tm_mday = decode(rtc, rtc->cmos[CMOS_DAY]),
        .tm_mon = decode(rtc, rtc->cmos[CMOS_MONTH]) - 1,
        .tm_year =
            decode(rtc, rtc->cmos[CMOS_CENTURY]) * 100 + decode(rtc, rtc->cmos[CMOS_YEAR]) - 1900,
    };
    rtc->ahead += timegm(&tm) - rtc_time(rtc);
    rtc->seen = rtc_time(rtc);
}

static bool is_time(uint8_t at)
{
    return at == CMOS_SECONDS || at == CMOS_MINUTES || at == CMOS_HOURS ||
           (at >= CMOS_WEEKDAY && at <= CMOS_YEAR) || at == CMOS_CENTURY;
}

static void update_line(struct rtc *rtc)
{
    const struct interrupts *interrupts = rtc->base.host.interrupts;
    bool is_high = rtc->cmos[CMOS_C] & rtc->cmos[CMOS_B] & (C_ALARM | C_UPDATE);
    rtc->cmos[CMOS_C] = (uint8_t)((rtc->cmos[CMOS_C] & ~C_INTERRUPT) | (is_high ? C_INTERRUPT : 0));
    if (is_high != rtc->line_is_high)
        interrupts->set_line(interrupts->context, LAYOUT_GSI_RTC, is_high);
    rtc->line_is_high = is_high;
}

/* Register C is cleared by being read. */
static uint8_t take_flags(struct rtc *rtc)
{
    uint8_t flags = rtc->cmos[CMOS_C];
    rtc->cmos[CMOS_C] = 0;
    update_line(rtc);
    return flags;
}

/* Ticks at the host's seconds, or not at all. */
static void update_timer(struct rtc *rtc)
{
    bool is_ticking = (rtc->cmos[CMOS_B] & (B_ALARM | B_UPDATE)) && !(rtc->cmos[CMOS_B] & B_SET) &&
                      !rtc->is_paused;
    struct itimerspec when = {.it_interval.tv_sec = 0};
    struct timespec now;
    if (is_ticking == rtc->is_ticking)
        return;
    if (is_ticking) {
        timespec_get(&now, TIME_UTC);
        long left = SECOND_NS - now.tv_nsec;
        when.it_value = (struct timespec){left / SECOND_NS, left % SECOND_NS};
        when.it_interval.tv_sec = 1;
        rtc->ticked = rtc_time(rtc);
    }
    rtc->is_ticking = is_ticking;
    timerfd_settime(rtc->watch.fd, 0, &when, NULL);
}

static bool is_alarm(struct rtc *rtc, int64_t when)
{
    write_time_down(rtc, when);
    for (unsigned at = CMOS_SECONDS; at <= CMOS_HOURS; at += 2) {
        if (rtc->cmos[at + 1] < ALARM_ANY && rtc->cmos[at + 1] != rtc->cmos[at])
            return false;
    }
    return true;
}

static void tick(void *context, uint32_t events)
{
    (void)events;
    struct rtc *rtc = context;
    uint64_t expirations;
    pthread_mutex_lock(&rtc->base.lock);
    ssize_t length = read(rtc->watch.fd, &expirations, sizeof(expirations));
    int64_t now = rtc_time(rtc);
    if (length > 0 && rtc->is_ticking && now > rtc->ticked) {
        int64_t missed = now - rtc->ticked;
        rtc->cmos[CMOS_C] |= C_UPDATE;
        for (int64_t back = missed < LATE_MAX ? missed : LATE_MAX; back-- > 0;)
            rtc->cmos[CMOS_C] |= is_alarm(rtc, now - back) ? C_ALARM : 0;
    }
    rtc->ticked = now;
    update_line(rtc);
    pthread_mutex_unlock(&rtc->base.lock);
}

/*
 * A guest reads A, sees that no update is due, and has 244 microseconds for all the others. It has
 * a second here: those bytes are of one time, the one when A was read.
 */
static uint8_t read_register(struct rtc *rtc)
{
    bool is_running = !(rtc->cmos[CMOS_B] & B_SET);
    if (rtc->index == CMOS_A)
        rtc->seen = rtc_time(rtc);
    if (rtc->index == CMOS_C)
        return take_flags(rtc);
    if (is_running && is_time(rtc->index)) {
        int64_t now = rtc_time(rtc);
        write_time_down(rtc, now == rtc->seen + 1 ? rtc->seen : now);
    }
    return rtc->cmos[rtc->index];
}

/* While B_SET is, the time stands still in its bytes. */
static void write_b(struct rtc *rtc, uint8_t value)
{
    bool was_set = rtc->cmos[CMOS_B] & B_SET;
    rtc->cmos[CMOS_B] = value;
    if (!was_set && (value & B_SET))
        write_time_down(rtc, rtc_time(rtc));
    else if (was_set && !(value & B_SET))
        take_time(rtc);
    update_timer(rtc);
    update_line(rtc);
}

static void write_time_byte(struct rtc *rtc, uint8_t value)
{
    bool is_running = !(rtc->cmos[CMOS_B] & B_SET);
    if (is_running)
        write_time_down(rtc, rtc_time(rtc));
    rtc->cmos[rtc->index] = value;
    if (is_running)
        take_time(rtc);
}

static void write_register(struct rtc *rtc, uint8_t value)
{
    if (rtc->index == CMOS_B)
        write_b(rtc, value);
    else if (is_time(rtc->index))
        write_time_byte(rtc, value);
    else if (rtc->index == CMOS_A)
        rtc->cmos[CMOS_A] = value & 0x7f;
    else if (rtc->index != CMOS_C && rtc->index != CMOS_D)
        rtc->cmos[rtc->index] = value;
}

/* The index cannot be read. Its bit 7 masks the NMI, of which there is none. */
static uint8_t read_port(struct port_device *device, unsigned port)
{
    return port == LAYOUT_PORT_RTC ? 0xff : read_register((struct rtc *)device);
}

static void write_port(struct port_device *device, unsigned port, uint8_t value)
{
    struct rtc *rtc = (struct rtc *)device;
    if (port == LAYOUT_PORT_RTC)
        rtc->index = value & (CMOS_SIZE - 1);
    else
        write_register(rtc, value);
}

static void store_units(uint8_t *at, uint64_t bytes, uint64_t above, uint64_t unit, uint64_t most)
{
    uint64_t units = bytes > above ? min_u64((bytes - above) / unit, most) : 0;
    at[0] = (uint8_t)units;
    at[1] = (uint8_t)(units >> 8);
    if (most > UINT16_MAX)
        at[2] = (uint8_t)(units >> 16);
}

/* Registers as SeaBIOS (src/hw/rtc.h) reads them. */
static void fill_configuration(struct rtc *rtc)
{
    const struct rtc_options *options = &rtc->options;
    uint8_t *cmos = rtc->cmos;
    cmos[0x0f] = 0;    /* a plain reset */
    cmos[0x10] = 0;    /* no floppy disk */
    cmos[0x14] = 0x02; /* a coprocessor */
    store_units(cmos + 0x15, options->low_bytes, 0, KIB, 640);
    store_units(cmos + 0x30, options->low_bytes, MIB, KIB, UINT16_MAX);
    store_units(cmos + 0x34, options->low_bytes, 16 * MIB, 64 * KIB, UINT16_MAX);
    store_units(cmos + 0x5b, options->high_bytes, 0, 64 * KIB, 0xffffff);
    cmos[0x38] = 0x01; /* boot: a floppy's signature is not looked at; */
    cmos[0x3d] = 0x02; /* the hard disk first */
    cmos[0x5f] = (uint8_t)(options->cpus - 1);
}

/* It has a battery: the time stays as it was set. */
static void reset(struct port_device *device)
{
    struct rtc *rtc = (struct rtc *)device;
    rtc->index = 0;
    rtc->cmos[CMOS_A] = A_32KHZ;
    rtc->cmos[CMOS_B] = B_24_HOURS;
    rtc->cmos[CMOS_C] = 0;
    rtc->cmos[CMOS_D] = D_VALID;
    fill_configuration(rtc);
    update_timer(rtc);
    update_line(rtc);
}

static void set_paused(struct device *device, bool is_paused)
{
    struct rtc *rtc = (struct rtc *)device;
    pthread_mutex_lock(&rtc->base.lock);
    rtc->is_paused = is_paused;
    update_timer(rtc);
    pthread_mutex_unlock(&rtc->base.lock);
}

static void rtc_pause(struct device *device)
{
    set_paused(device, true);
}

static void rtc_resume(struct device *device)
{
    set_paused(device, false);
}

static void rtc_close(struct device *device)
{
    struct rtc *rtc = (struct rtc *)device;
    if (rtc->watch.fd >= 0)
        loop_remove(rtc->base.host.loop, &rtc->watch);
    own_close(&rtc->watch.fd);
    port_device_close(device);
}

static const struct port_kind kind = {
    .ops = {.name = "rtc",
            .reset = port_device_reset,
            .pause = rtc_pause,
            .resume = rtc_resume,
            .close = rtc_close},
    .read = read_port,
    .write = write_port,
    .reset = reset,
    .ranges = {{LAYOUT_PORT_RTC, 2}},
};

struct device *rtc_new(const struct device_host *host, const struct rtc_options *options,
                       struct error *err)
{
    struct rtc *rtc = port_device_new(&kind, sizeof(*rtc), host, err);
    if (!rtc)
        return NULL;
    rtc->options = *options;
    port_device_reset(&rtc->base.device);
    tzset(); /* reads its file now: later no file can be opened */
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    rtc->watch = (struct loop_watch){tick, rtc, fd};
    if (fd < 0)
        error_set(err, errno, "make the clock's timer");
    else if (loop_add(host->loop, &rtc->watch, EPOLLIN, err) == 0)
        return &rtc->base.device;
    rtc_close(&rtc->base.device);
    return NULL;
}
