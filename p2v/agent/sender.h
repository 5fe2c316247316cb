/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Sends a machine to a server (docs/wire.md): the control connection, one pipeline per disk,
 * reconnecting until told otherwise, passes over a running machine. Knows neither sysfs nor the
 * command line: the disks are block sources, what the machine is comes as text.
 */
#ifndef P2V_AGENT_SENDER_H
#define P2V_AGENT_SENDER_H

#include "base/error.h"
#include "base/extents.h"
#include "base/log.h"
#include "base/source.h"
#include "p2v/wire/frame.h"
#include "p2v/wire/link.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Everything is borrowed and stays until sender_run returns. */
struct sender_disk {
    const char *name;   /* "sda" */
    const char *serial; /* "" when not known */
    const char *path;   /* for reading ahead; NULL: none */
    const struct block_source *block;
    bool is_live; /* something may write to it while it is sent */
    /*
     * What has to be sent, read anew for each pass (the file systems may have changed). Fills an
     * empty set. May be called from the disk's own thread.
     */
    int (*map)(void *context, struct extents *used, struct error *err);
    void *context;
};

enum sender_phase {
    SENDER_CONNECTING, /* also: again, after a cut */
    SENDER_WAITING,    /* for an approval; `text` is the code */
    SENDER_SENDING,
    SENDER_PAUSED, /* the server has no space; `text` is what it says */
    SENDER_DISK_DONE,
    SENDER_DISK_FAILED,
};

/* Of one disk; all of this pass, in bytes of the disk. */
struct sender_progress {
    enum sender_phase phase;
    uint32_t pass; /* from 0 */
    bool is_last_pass;
    uint64_t size_bytes;
    uint64_t total_bytes; /* to be read in this pass */
    uint64_t done_bytes;  /* read, and sent or not wanted */
    uint64_t safe_bytes;  /* of total_bytes, on the server's stable storage */
    uint64_t sent_bytes;  /* content that crossed the wire, before compression; all passes */
    uint64_t wire_bytes;  /* what it took there */
    uint64_t unreadable_bytes;
    char text[256];
};

struct sender_options {
    struct link_address server;
    uint8_t pin[TLS_IDENTITY_SIZE];
    struct tls_identity *identity;
    const char *token;     /* WIRE_TOKEN_LENGTH characters; NULL: wait for an approval */
    const char *mark;      /* of the machine, for HELLO (docs/wire.md); NULL or "": none */
    const char *name;      /* "" : the server chooses by the inventory */
    const char *inventory; /* JSON */

    const struct sender_disk *disks;
    size_t disk_count;

    uint64_t limit_bytes_per_second; /* on the wire, all disks together; 0: none */
    unsigned cpu_percent;            /* of one core, all threads together; 0: no limit */
    uint64_t memory_bytes;           /* for buffers, all disks together; 0: 96 MiB */
    int compression;                 /* -1: adaptive; 0 none; 1, 3: zstd level */
    bool is_final;                   /* --final: the last pass wholly under freeze, however long */
    unsigned max_passes;             /* over live disks; 0: 5 */
    int give_up_seconds;             /* without a connection; 0: never */
    unsigned retry_ms;               /* the first wait before connecting again; 0: 1000 */
    bool is_result_awaited;          /* until RESULT; else until the first STAGE */
    const atomic_bool *stop;         /* ends with ECANCELED */

    /*
     * Live disks: stops all writing to them (file systems frozen, journals clean), and lets it go
     * on. freeze: 1 frozen, 0 cannot be (the log was told why), -1 error. NULL: cannot.
     */
    int (*freeze)(void *context, struct error *err);
    void (*thaw)(void *context);

    /*
     * Live disks, in sender_run's thread and while nothing is read. hold: asked once the server is
     * there, before the first pass: true when the maps and all that is read from now on are of one
     * moment (snapshots). is_held: asked after a pass, whether all that was read since was. Then
     * that pass was the last one; otherwise all goes on as if hold had been false. NULL: cannot.
     */
    bool (*hold)(void *context);
    bool (*is_held)(void *context);

    /* For people; from any thread, ten times a second at most each. */
    void (*progress)(void *context, size_t disk, const struct sender_progress *progress);
    void (*stage)(void *context, const char *machine, enum wire_stage stage, const char *text);
    void *context;

    /* JSON for the report, made when everything was sent (consistency, warnings, times, unreadable
     * ranges and what they hit); caller of the callback frees. NULL: "{}". */
    char *(*report)(void *context);
    struct log *log;
};

struct sender_disk_result {
    uint64_t sent_bytes, wire_bytes, read_bytes;
    uint32_t passes;
    struct extents unreadable; /* exact ranges */
    bool is_sent;
    struct error error; /* why not, when not sent */
};

struct sender_result {
    char machine[64]; /* the server's name for it */
    enum wire_consistency consistency;
    bool is_received; /* the server has all of it */
    bool has_result;  /* exit_code and text are the server's RESULT */
    int exit_code;
    char text[WIRE_MAX_TEXT + 1];
    unsigned reconnects;
    uint64_t bytes_on_wire; /* all connections, both directions, TLS included */
    struct sender_disk_result disks[WIRE_MAX_DISKS];
};
void sender_result_fini(struct sender_result *result);

/*
 * 0: everything was received (the result may still be a failed conversion). -1: errnum tells what
 * kind: TLS_WRONG_PIN, EACCES (token, approval), ENOSPC (the server refused for space), ECANCELED,
 * EPROTO, ETIMEDOUT (gave up), EBUSY (another agent with this key came); otherwise a failure of
 * ours. One disk that fails (pulled out) does not keep the others from being sent; then -1 at the
 * end, with each disk's own error in result.
 */
int sender_run(const struct sender_options *options, struct sender_result *result,
               struct error *err);

#endif
