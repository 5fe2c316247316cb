/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What the server's files share, and nobody else includes.
 *
 *     listener ─► connection (a thread each) ─► control_link ─► transfer ◄─ disk_link
 *     housekeeper: once a second, deadlines, approvals, rows of the database, idle transfers
 *
 * Locks, in this order: rows_lock (what is written into a machine's row), lock (connections,
 * transfers, figures; never held over anything that waits for a disk or a peer), a disk link's own.
 */
#ifndef P2V_SERVER_SERVING_H
#define P2V_SERVER_SERVING_H

#include "base/log.h"
#include "p2v/server/database.h"
#include "p2v/server/gate.h"
#include "p2v/server/intake.h"
#include "p2v/server/jobs.h"
#include "p2v/server/machine_log.h"
#include "p2v/server/machine_name.h"
#include "p2v/server/pool.h"
#include "p2v/server/receiver.h"
#include "p2v/server/server.h"
#include "p2v/wire/link.h"

#include <pthread.h>
#include <stdatomic.h>

/* Threads call into OpenSSL, SQLite and jansson: measured below 100 KiB; untouched pages cost
 * nothing. */
#define SERVER_STACK_SIZE ((size_t)512 << 10)

/* Admitted ones; each machine has one and one for each of its disks. */
#define SERVER_MAX_CONNECTIONS 1024

/* Of one key: twice as many as it needs, since a new one comes before the old one has gone. */
#define SERVER_MAX_OF_KEY (2 * (WIRE_MAX_DISKS + 1))

/* A transfer without any connection is forgotten after this; it can be taken up again from disk. */
#define SERVER_IDLE_MS 60000

/* How long an ended connection may take to say goodbye before its socket is shut. */
#define SERVER_GOODBYE_MS 5000

enum connection_wake {
    WAKE_NONE,
    WAKE_APPROVED, /* goes on: its key was approved */
    WAKE_REPLACED,
    WAKE_ENDED, /* nothing is left to be done on it */
    WAKE_SHUTTING_DOWN,
};

struct connection {
    struct server *server;
    struct connection *next; /* server.connections */
    pthread_t thread;
    int fd; /* a duplicate of the link's, so that it can be shut from outside at any moment */
    struct link *link; /* NULL before the handshake is done */
    char address[64];
    struct gate_address from;
    uint8_t identity[WIRE_IDENTITY_SIZE];
    char mark[MACHINE_MARK_SIZE]; /* of the machine that it says it is; "" */
    bool is_told;                 /* nothing is left to say: the agent is gone, or knows */
    atomic_bool stop;             /* makes link_receive return; `wake` says why */
    bool is_admitted;             /* these and what follows: server.lock */
    bool is_waiting;              /* for an approval */
    bool holds_identity;          /* is the control connection of its key */
    bool is_over;                 /* the thread is to be joined */
    int64_t deadline_ms;          /* when it is shut; 0: never */
    enum connection_wake wake;
    bool has_news; /* of the job: its thread is to tell the agent */
    struct transfer *transfer;
};

struct transfer_figures {
    uint32_t pass;
    uint64_t total_bytes, done_bytes, safe_bytes, sent_bytes, wire_bytes, unreadable_bytes;
    bool has_status; /* done and total are what the agent says */
    bool is_paused;
};

struct transfer_disk {
    struct wire_disk_info info;
    struct receiver *receiver; /* the owner's while there is one */
    struct connection *owner;
    bool is_passed; /* both sides agree, and it was the last pass */
    uint8_t digest[WIRE_DIGEST_SIZE];
    struct transfer_figures figures;
};

enum transfer_state {
    TRANSFER_OPENING, /* its folder is being opened */
    TRANSFER_RECEIVING,
    TRANSFER_FINISHING, /* FINISH came */
    TRANSFER_RECEIVED,  /* the jobs' now */
};

#define TRANSFER_SAMPLES 6 /* one a second: the rate is that of the last five */

struct transfer {
    struct transfer *next;
    uint8_t id[WIRE_SESSION_SIZE], identity[WIRE_IDENTITY_SIZE];
    uint32_t number;
    char name[64], twin[64];
    enum transfer_state state;
    unsigned users;   /* connections; it is not forgotten while there are any */
    bool is_expelled; /* by somebody who waits for its users to go, and removes it then */
    struct connection *control;
    struct transfer_disk *disks;
    size_t disk_count;
    struct intake intake; /* unless RECEIVED */
    char *inventory;      /* of a new MACHINE after RECEIVED, for when the folder is opened again */
    size_t inventory_length;
    struct machine_log log;
    uint64_t promised_bytes; /* space that it may still take */
    int64_t started_ms, idle_since_ms;
    uint64_t wire_bytes; /* of connections that have ended */
    /* for the row */
    bool is_row_stale, is_interrupted, is_gone_now;
    unsigned warnings;
    char text[512];
    struct transfer_sample {
        int64_t at_ms;
        uint64_t done_bytes;
    } samples[TRANSFER_SAMPLES];
    unsigned sample_count;
    /* of the job */
    bool has_stage, has_result;
    bool is_stage_new, is_result_new; /* the agent's thread has not told it yet */
    struct wire_stage_text stage;
    struct wire_result result;
};

struct server {
    struct pool pool;
    char *format;
    uint64_t checkpoint_bytes;
    struct log *log;
    struct database *database;
    struct tls_identity *identity;
    struct chunk_index *index;
    struct receiver_pool receiver_pool;
    struct jobs *jobs;
    int (*add_job)(void *context, const char *machine, struct error *err);
    void *job_context;
    int log_folder_fd;

    int listen_fd, wake_fd; /* wake_fd: an eventfd, readable once the server is to stop */
    char host[256];         /* as listened on */
    unsigned port;
    pthread_t listener, housekeeper;
    bool has_listener, has_housekeeper, is_housekeeper_ending;
    atomic_bool is_stopping;

    pthread_mutex_t rows_lock;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* CLOCK_MONOTONIC; anything below */
    struct connection *connections;
    size_t admitted_count;
    struct gate gate;
    struct transfer *transfers;
};

/* Bytes of chunks that may have been sent and not be safe yet. */
static inline uint64_t server_window(const struct server *server)
{
    return 4 * server->checkpoint_bytes;
}

/* --- listener.c --- */
int listener_open(struct server *server, const char *listen_on, struct error *err);
int listener_start(struct server *server, struct error *err);
void listener_stop(struct server *server);

/* --- connection.c --- */

/* Takes the socket. */
void connection_start(struct server *server, int fd, const struct gate_address *from);

/* A thread with the small stack. An errno, 0 when it runs. */
int connection_start_thread(pthread_t *thread, void *(*call)(void *), void *argument);

/* Under server.lock: makes its thread end soon (or go on, WAKE_APPROVED). */
void connection_wake(struct connection *connection, enum connection_wake why);
/* Under server.lock: its thread looks for what the job says. Never waits: the agent may not read.
 */
void connection_tell(struct connection *connection);
/* Under server.lock: shuts the socket; the thread ends at once. */
void connection_kill(struct connection *connection);

/* Joins threads that have ended. */
void connections_join(struct server *server);

/* By its own thread: when it is shut, unless it was woken before; 0 ms: never. */
void connection_set_deadline(struct connection *connection, int milliseconds);

/* By its own thread: lets it in, unless there are too many (EBUSY). */
int connection_admit(struct connection *connection, struct error *err);

/* By its own thread: outside of the gate, but not in either. */
int connection_set_waiting(struct connection *connection, struct error *err);

/* Receives; -1 with ECANCELED when woken. 0: the agent has closed. */
int connection_receive(struct connection *connection, struct link_frame *frame, int silence_ms,
                       struct error *err);
int connection_send(struct connection *connection, const struct text *frames, struct error *err);

/* Waits for server.changed up to a second, lock held on entry and return, and keeps the agent
 * patient meanwhile (lock not held). -1 when the connection was woken or cut. */
int connection_wait(struct connection *connection, struct error *err);

/* Runs the call in another thread, and keeps the agent patient until it returns. */
int connection_run_beside(struct connection *connection, int (*call)(void *context, struct error *),
                          void *context, struct error *err);

/* Waits until it is over or was woken (false). */
bool connection_sleep(struct connection *connection, int milliseconds);

/* --- control_link.c, disk_link.c: what runs in a connection's thread behind HELLO --- */
int control_link_run(struct connection *connection, bool is_known, struct error *err);
int disk_link_run(struct connection *connection, struct error *err);

/* --- transfer.c --- */

/* By MACHINE: the key's transfer, a new one if need be; connection->transfer is set. */
int transfer_claim(struct connection *connection, const struct wire_machine *machine,
                   const json_t *inventory, struct error *err);

/* By HELLO of a disk: ESTALE when there is none of this id and key. */
int transfer_join(struct connection *connection, const uint8_t id[WIRE_SESSION_SIZE],
                  struct error *err);
void transfer_leave(struct connection *connection);

/* Under server.lock. */
struct transfer *transfer_find_name(struct server *server, const char *name);

/* Under server.lock: ends the connections of all disks and waits until they have gone. */
int transfer_clear_disks(struct connection *connection, struct error *err);

/* --- transfer_disk.c --- */

/* The disk is the connection's from now on, with an open receiver. */
int transfer_take_disk(struct connection *connection, const struct wire_disk *message,
                       struct error *err);
int transfer_open_receiver(struct server *server, struct transfer *transfer, size_t disk,
                           struct error *err);
/* A receiver that failed is closed; the next connection opens it anew. */
void transfer_release_disk(struct connection *connection, size_t disk, bool is_receiver_good);

/* Forgets transfers that nobody uses any more; all of them with is_all. */
void transfers_drop(struct server *server, bool is_all);

/* --- transfer_finish.c --- */
int transfer_finish(struct connection *connection, const struct wire_finish *finish, json_t *report,
                    struct error *err);

/* Adds the frames of what the job has said since the last time. */
void transfer_take_news(struct connection *connection, struct text *out);

/* --- transfer_rows.c: the database's rows --- */
void transfer_store_row(struct server *server, struct transfer *transfer);
void transfers_store_rows(struct server *server); /* of all that changed; once a second */

/* --- space.c --- */
/* ENOSPC with needed and available. Sets transfer->promised_bytes. */
int space_check(struct server *server, struct transfer *transfer, struct error *err);

/* --- housekeeper.c --- */
int housekeeper_start(struct server *server, struct error *err);
void housekeeper_stop(struct server *server);

#endif
