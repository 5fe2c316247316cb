/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The text interface, on tty1 and on the serial console at once: the same pages, and keys from
 * either. Curses, at 80x25 and upwards. It draws a model and hands back what a person did; it knows
 * neither disks nor networks. The log is on another console.
 */
#ifndef P2V_BOOT_SCREEN_H
#define P2V_BOOT_SCREEN_H

#include "base/error.h"
#include "base/log.h"
#include "base/own.h"
#include "p2v/agent/sender.h"
#include "p2v/boot/findings.h"
#include "p2v/boot/network.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum screen_page {
    SCREEN_LOOKING, /* "looking at this machine" */
    SCREEN_FORM,    /* server, name, token, network: to be filled in */
    SCREEN_PIN,     /* is this the pin that `rehost serve` prints? */
    SCREEN_REVIEW,  /* what was found; which disks go; start? */
    SCREEN_SENDING, /* bars, the last safe point, warnings */
    SCREEN_DONE,    /* how it ended, and what comes now */
};

struct screen_form {
    char server[256], name[64], token[32];
    char network[200]; /* as rehost.net=; "" DHCP; what is there at first can be kept */
};

struct screen_disk {
    char name[65];
    struct sender_progress progress;
    double bytes_per_second, seconds_left; /* seconds_left negative: not known */
};

#define SCREEN_MAX_WARNINGS 8

/* All that is shown. Copied when it is handed over. */
struct screen_model {
    enum screen_page page;
    struct boot_findings findings; /* is_chosen as the person left it */
    struct boot_network_state network;
    struct screen_form form;
    char pin[80]; /* of the server that answered, "sha256:…" */
    char server[256];
    char code[80]; /* to be approved on the server with `rehost approve CODE`; "" */
    struct screen_disk disks[BOOT_MAX_DISKS];
    size_t disk_count;
    char stage[200];                         /* "received", "boot test", … as the server tells */
    char problem[300];                       /* what is wrong now: "no cable in eno1"; "" */
    char warnings[SCREEN_MAX_WARNINGS][160]; /* the newest last */
    size_t warning_count;
    bool can_go_back; /* the questions may be asked again: an attended run */
    bool is_good;     /* SCREEN_DONE */
    char result[300];
    int seconds_to_then; /* SCREEN_DONE: until power-off or reboot; negative: waits for a key */
    char then[40];       /* "powers off" */
};

enum screen_act {
    SCREEN_NOTHING,   /* the time passed */
    SCREEN_SUBMIT,    /* form filled in, pin confirmed, review accepted; done, but badly: again */
    SCREEN_BACK,      /* pin refused, review left: to the form */
    SCREEN_STAY,      /* SCREEN_DONE: a key stopped the countdown */
    SCREEN_POWER_OFF, /* asked and confirmed */
    SCREEN_RESTART,
    SCREEN_SHELL, /* only when allowed */
};
struct screen_answer {
    enum screen_act act;
    struct screen_form form;        /* SCREEN_FORM */
    bool is_chosen[BOOT_MAX_DISKS]; /* SCREEN_REVIEW */
};

struct screens;

/* Terminals by path ("/dev/tty1", "/dev/ttyS0"); one that cannot be opened is left out, with a line
 * in the log. */
struct screens *screens_start(const char *const paths[], size_t count, bool has_shell,
                              struct log *log, struct error *err);
void screens_show(struct screens *screens, const struct screen_model *model);

/* Draws and takes keys for at most timeout_ms. One thread only. */
enum screen_act screens_wait(struct screens *screens, int timeout_ms, struct screen_answer *answer);

/* A shell on the terminal where the last key came from; returns when it ends. */
void screens_shell(struct screens *screens);

void screens_stop(struct screens *screens);
OWN_DEFINE_PTR(screens, screens_stop)

#endif
