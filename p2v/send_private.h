/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The parts of sending: opening the disks, freezing, reporting. Private to send*.c.
 */
#ifndef P2V_SEND_PRIVATE_H
#define P2V_SEND_PRIVATE_H

#include "base/text.h"
#include "p2v/agent/disks.h"
#include "p2v/agent/freeze.h"
#include "p2v/agent/live.h"
#include "p2v/agent/live_source.h"
#include "p2v/agent/sender.h"
#include "p2v/agent/snapshot.h"
#include "p2v/json.h"
#include "p2v/send.h"
#include "p2v/send_progress.h"
#include "p2v/server/machine_name.h"
#include "p2v/sources.h"
#include "p2v/wishes.h"

#include <pthread.h>

struct send_disk {
    struct send *send;
    char name[65];
    char *path;                 /* owned */
    struct machine_disk device; /* when source.is_device */
    struct source source;       /* its layout: as it was at the start */
    struct live live;
    struct live_source *live_source; /* NULL: an image file, which is never live */
    size_t snapshot_index;           /* in the snapshots' disks, when it is live */
    json_t *damage;                  /* what its unreadable ranges hit; NULL: not asked yet */
    size_t damage_count;             /* of ranges then */
};

struct send {
    struct log log;          /* first: what the libraries write to */
    struct console *console; /* keeps the warnings for the report */
    struct console mute;     /* is it when somebody watches */
    const struct send_options *options;

    struct send_disk disks[WIRE_MAX_DISKS];
    size_t disk_count;
    bool is_this_machine; /* at least one of its disks, not only image files */

    /* Freezing: `freezing` is held while maps are read under a short freeze. Taken before `output`.
     */
    pthread_mutex_t freezing;
    struct live_mounts mounts;
    struct freezer *freezer;          /* NULL: nothing to freeze, or it cannot be */
    bool is_frozen;                   /* for the last pass */
    bool is_map_held;                 /* for a map */
    struct send_snapshots *snapshots; /* NULL: there are to be none */

    /* Messages and progress. While frozen only a terminal is written to: the rest waits. */
    pthread_mutex_t output;
    bool is_held;
    struct text held; /* messages: a level's digit, the line, a newline */
    struct send_progress progress;
    char code[80]; /* of the approval last asked for */

    struct wishes wishes;
    char mark[MACHINE_MARK_SIZE]; /* of HELLO */
    char *inventory;
    double started;
    int64_t started_time; /* seconds since 1970, by this machine's clock */
    struct sender_result result;
};

/* --- send_disks.c --- */

/* Opens them, finds out who uses them. The layouts come with send_read_layouts. */
int send_open_disks(struct send *send, const struct option_list *operands, struct error *err);
int send_read_layouts(struct send *send, struct error *err);
void send_close_disks(struct send *send);

/* sender_disk.map */
int send_map(void *disk, struct extents *used, struct error *err);

/* --- send_freeze.c --- */

void send_prepare_freeze(struct send *send);
bool send_is_any_live(const struct send *send);

/* sender_options.freeze and thaw; the context is the send. */
int send_freeze(void *context, struct error *err);
void send_thaw(void *context);

/* struct snapshots_options' freeze and thaw; the context is the send. */
int send_freeze_moment(void *context, struct error *err);
bool send_thaw_moment(void *context);

/* For reading maps: the file systems stand still meanwhile, when they can. */
void send_hold(struct send *send);
void send_release(struct send *send);

/* --- send_snapshot.c --- */

/* Removes what a killed run left behind; says so when there can be none. Before the layouts. */
void send_prepare_snapshots(struct send *send);
bool send_has_snapshots(const struct send *send); /* may have: the disks are read by way of them */

/* sender_options.hold, is_held and stage; the context is the send. */
bool send_take_snapshots(void *context);
bool send_are_snapshots_held(void *context);
void send_take_stage(void *context, const char *machine, enum wire_stage stage, const char *text);

/* What is used of a live disk, as of the snapshots' moment: 1; 0 without snapshots; -1. */
int send_snapshot_map(const struct send_disk *disk, struct extents *used, struct error *err);

void send_close_snapshots(struct send *send);
json_t *send_snapshots_json(const struct send *send); /* those that the copy was made from */

/* --- send_output.c --- */

void send_output_start(struct send *send, struct console *console);
void send_output_stop(struct send *send);
void send_output_show_disks(struct send *send); /* the lines that progress is shown on */
void send_output_hold(struct send *send, bool is_held);
void send_output_end(struct send *send); /* takes the progress away */
void send_show_progress(void *context, size_t disk, const struct sender_progress *figures);
void send_show_stage(void *context, const char *machine, enum wire_stage stage, const char *text);
void send_show_result(struct send *send, int exit_code); /* to who watches */

/* --- send_report.c --- */

char *send_report(void *context); /* sender_options.report */
json_t *send_result_json(struct send *send);
bool send_has_warnings(const struct send *send);

/* --- send_identity.c --- */

/*
 * The key that this server knows us by; the same key is the same machine to it. So each `subject`
 * has its own: this machine (send_this_machine), or the first of the images by its path. In memory
 * only, with a note, where it cannot be kept.
 */
struct tls_identity *send_identity(const char *state, const uint8_t pin[TLS_IDENTITY_SIZE],
                                   const char *subject, struct log *log, struct error *err);

/*
 * What tells this machine from its clones and from its own converted copy, which have the key's
 * file, too: what the firmware says, and /etc/machine-id. `root` is ""; tests have their own.
 * Caller frees.
 */
char *send_this_machine(const char *root);

/*
 * The key as the options want it: as above, or made of the token (docs/wire.md), which may be NULL.
 */
struct tls_identity *send_choose_identity(struct send *send, const char *token,
                                          const uint8_t pin[TLS_IDENTITY_SIZE], const char *subject,
                                          struct error *err);

/* The same token, server and marks give the same key, and no others. */
struct tls_identity *send_derive_identity(const char *token, const uint8_t pin[TLS_IDENTITY_SIZE],
                                          const char *marks, struct error *err);

/* By which the server's operator sees which machine waits; "" for images, and for nobody's boards.
 */
void send_take_mark(const json_t *inventory, char mark[MACHINE_MARK_SIZE]);

/*
 * send_this_machine and the NICs that are built in, which a boot medium sees alike each time: the
 * inventory's "nics". NULL: nothing of it is this machine's alone. Caller frees.
 */
char *send_machine_marks(const char *root, const json_t *nics);

/* What is wanted of the guest, by the options; the error names the one that is wrong. */
int send_take_wishes(const struct send_options *options, struct wishes *wishes, struct error *err);

/* 26 characters; "-" is standard input. Caller frees by text_wipe. */
char *send_read_token(const char *path, struct error *err);

/* The one of the options; NULL when they have none. */
int send_take_token(const struct send_options *options, char **token, struct error *err);

#endif
