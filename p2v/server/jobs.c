/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A queue of machines and a few threads, each of which runs one `rehost finish` at a time and reads
 * what it says: stages as JSON lines, everything into the machine's log, the last words for the
 * result.
 *
 * The list holds what is queued and what is running, in order; a machine is in it once, until its
 * result is told.
 */
#include "p2v/server/jobs.h"

#include "base/bytes.h"
#include "base/child.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/text.h"
#include "p2v/cli.h"
#include "p2v/definition.h"
#include "p2v/json.h"
#include "p2v/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define JOBS_MAX_PARALLEL 64
#define JOBS_MAX_EXTRA 32
#define JOBS_MAX_LINE 4096
#define JOBS_MAX_LOG ((size_t)16 << 20) /* that one job may add */
#define JOBS_POLL_MS 500
#define JOBS_REAP_MS 20
#define JOBS_GRACE_MS 8000 /* from SIGTERM to SIGKILL */
#define JOBS_PROGRAM "/proc/self/exe"

struct job {
    struct job *next;
    char *machine;
    bool is_running, is_told;
    struct child child; /* under the lock: jobs_stop signals it */
};

struct jobs {
    struct jobs_options options;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t wake;
    struct job *first; /* queued and running */
    bool is_stopping;
    int64_t stopped_ms; /* when that began */
    pthread_t threads[JOBS_MAX_PARALLEL];
    size_t thread_count;
};

/* One run, as its thread sees it. */
struct run {
    struct jobs *jobs;
    struct job *job;
    int log_fd;                   /* -1: none */
    size_t logged_bytes;          /* by this job */
    char line[JOBS_MAX_LINE + 1]; /* that is being read */
    size_t length;
    char said[JOBS_MAX_LINE + 1];    /* the last message on stderr, without "rehost: " */
    char tested[JOBS_MAX_LINE + 1];  /* what it says of the boot test */
    char missing[JOBS_MAX_LINE + 1]; /* "3 unreadable ranges" */
};

/* --- what a child says --- */

static bool stage_of(const char *name, enum wire_stage *stage)
{
    static const char *const names[WIRE_STAGE_END] = {
        [WIRE_STAGE_RECEIVED] = "received", [WIRE_STAGE_WAITING] = "waiting",
        [WIRE_STAGE_FIXING] = "fixing",     [WIRE_STAGE_DESCRIBING] = "describing",
        [WIRE_STAGE_TESTING] = "testing",
    };
    for (size_t i = 0; name && i < WIRE_STAGE_END; i++) {
        *stage = (enum wire_stage)i;
        if (strcmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

/* True when the line is a stage, which it tells on. */
static bool take_stage(struct run *run)
{
    enum wire_stage stage;
    AUTO_JSON json = run->line[0] == '{' ? json_loads(run->line, 0, NULL) : NULL;
    if (!json || !stage_of(json_string_value(json_object_get(json, "stage")), &stage))
        return false;
    const struct jobs_options *options = &run->jobs->options;
    if (options->stage)
        options->stage(options->context, run->job->machine, stage, json_text_of(json, "text"));
    return true;
}

static void add_to_log(struct run *run, const char *line, size_t length)
{
    if (run->log_fd < 0 || run->logged_bytes + length > JOBS_MAX_LOG)
        return;
    run->logged_bytes += length;
    /* A log that cannot be written is no reason to stop a conversion. */
    io_write(run->log_fd, line, length, NULL);
}

static void keep(char kept[JOBS_MAX_LINE + 1], const char *text)
{
    AUTO(text) escaped = {0};
    text_add_escaped(&escaped, text, strlen(text));
    snprintf(kept, JOBS_MAX_LINE + 1, "%s", text_string(&escaped));
}

static void take_line(struct run *run)
{
    run->line[run->length] = '\0';
    if (take_stage(run))
        return;
    static const char prefix[] = "rehost: ", column[] = "tested   ", missing[] = "missing  ";
    if (text_starts_with(run->line, prefix))
        keep(run->said, run->line + strlen(prefix));
    else if (text_starts_with(run->line, column))
        keep(run->tested, run->line + strlen(column));
    else if (text_starts_with(run->line, missing))
        keep(run->missing, run->line + strlen(missing));
    else if (text_starts_with(run->line, "not tested"))
        keep(run->tested, run->line);
    run->line[run->length] = '\n';
    add_to_log(run, run->line, run->length + 1);
}

/* A longer line is taken in pieces. */
static void take_bytes(struct run *run, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] != '\n')
            run->line[run->length++] = bytes[i];
        if (bytes[i] == '\n' || run->length == JOBS_MAX_LINE) {
            take_line(run);
            run->length = 0;
        }
    }
}

/* 1: something came. 0: the end of it. -1: nothing for a while. */
static int read_some(struct run *run, int fd)
{
    char buffer[4096];
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    if (poll(&pollfd, 1, JOBS_POLL_MS) <= 0)
        return -1;
    ssize_t got = read(fd, buffer, sizeof(buffer));
    if (got < 0)
        return errno == EINTR ? 1 : 0;
    if (got > 0)
        take_bytes(run, buffer, (size_t)got);
    return got > 0;
}

static bool has_ended(const struct run *run)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)run->job->child.pid, &info, WEXITED | WNOWAIT | WNOHANG) == 0 &&
           info.si_pid != 0;
}

/* One that does not end when asked to is not asked again. */
static void press(const struct run *run)
{
    struct jobs *jobs = run->jobs;
    pthread_mutex_lock(&jobs->lock);
    if (jobs->is_stopping && clock_ms() - jobs->stopped_ms > JOBS_GRACE_MS)
        kill(run->job->child.pid, SIGKILL);
    pthread_mutex_unlock(&jobs->lock);
}

/* The pipe may outlive the child in a program that this has started: silence ends it then. */
static void read_output(struct run *run, int fd)
{
    int got;
    while ((got = read_some(run, fd)) != 0) {
        if (got < 0 && has_ended(run))
            break;
        if (got < 0)
            press(run);
    }
    if (run->length)
        take_line(run);
    run->length = 0;
}

/* --- running one --- */

static void open_log(struct run *run)
{
    AUTO_FREE char *name = text_format("%s.log", run->job->machine);
    int folder_fd = run->jobs->options.log_folder_fd;
    run->log_fd =
        folder_fd < 0
            ? -1
            : openat(folder_fd, name, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static int start_child(struct run *run, int output, struct error *err)
{
    struct jobs *jobs = run->jobs;
    AUTO_FREE char *folder = path_join(jobs->options.pool, run->job->machine);
    const char *program = jobs->options.program ? jobs->options.program : JOBS_PROGRAM;
    const char *argv[JOBS_MAX_EXTRA + 6] = {program, "finish", "--stages"};
    size_t count = 3;
    for (size_t i = 0; jobs->options.extra && jobs->options.extra[i]; i++)
        argv[count++] = jobs->options.extra[i];
    argv[count++] = "--";
    argv[count] = folder;
    struct child_stdio stdio = {.in = -1, .out = output, .err = output};
    pthread_mutex_lock(&jobs->lock);
    int result = jobs->is_stopping ? error_set(err, ECANCELED, "stopping")
                                   : child_start(&run->job->child, argv, &stdio, err);
    pthread_mutex_unlock(&jobs->lock);
    return result;
}

/* The child is only reaped under the lock, so that jobs_stop never signals another process. */
static int reap(struct run *run, int *status, struct error *err)
{
    struct jobs *jobs = run->jobs;
    while (!has_ended(run)) {
        press(run);
        poll(NULL, 0, JOBS_REAP_MS);
    }
    pthread_mutex_lock(&jobs->lock);
    int result = child_wait(&run->job->child, -1, status, err);
    pthread_mutex_unlock(&jobs->lock);
    return result < 0 ? -1 : 0;
}

static int run_child(struct run *run, int *status, struct error *err)
{
    int output[2];
    if (pipe2(output, O_CLOEXEC) != 0)
        return error_set(err, errno, "pipe");
    int result = start_child(run, output[1], err);
    close(output[1]);
    if (result == 0)
        read_output(run, output[0]);
    close(output[0]);
    return result == 0 ? reap(run, status, err) : -1;
}

static bool is_stopping(struct jobs *jobs)
{
    pthread_mutex_lock(&jobs->lock);
    bool value = jobs->is_stopping;
    pthread_mutex_unlock(&jobs->lock);
    return value;
}

static void tell_result(struct run *run, int exit_code, const char *text)
{
    const struct jobs_options *options = &run->jobs->options;
    AUTO_FREE char *line = text_format("exit code %d: %s\n", exit_code, text);
    add_to_log(run, line, strlen(line));
    /* Who is told may add the machine again at once. */
    pthread_mutex_lock(&run->jobs->lock);
    run->job->is_told = true;
    pthread_mutex_unlock(&run->jobs->lock);
    if (options->result)
        options->result(options->context, run->job->machine, exit_code, text);
}

/* What a person reads of it: how the test went when all is well, else the last thing it said. Bad
 * sectors are no failure: all the rest is there. */
static void tell_status(struct run *run, int status)
{
    char how[64];
    if (!WIFEXITED(status)) {
        AUTO_FREE char *text =
            text_format("rehost finish %s", child_status_text(status, how, sizeof(how)));
        tell_result(run, CLI_FAILED, text);
        return;
    }
    int code = WEXITSTATUS(status);
    if (code == CLI_WARNINGS && run->missing[0]) {
        AUTO_FREE char *text = text_format("converted, with %s; %s", run->missing, run->tested);
        tell_result(run, code, text);
        return;
    }
    const char *text = code == CLI_DONE && run->tested[0] ? run->tested : run->said;
    tell_result(run, code, text[0] ? text : run->tested);
}

static void run_job(struct jobs *jobs, struct job *job)
{
    struct run *run = memory_new(1, sizeof(*run));
    struct error err = {0};
    int status = 0;
    *run = (struct run){.jobs = jobs, .job = job};
    open_log(run);
    int result = run_child(run, &status, &err);
    /* What a stop ended has no result: the next server takes it up again. */
    bool is_ended = !is_stopping(jobs) ||
                    (result == 0 && WIFEXITED(status) && WEXITSTATUS(status) != CLI_INTERRUPTED);
    if (is_ended && result == 0)
        tell_status(run, status);
    else if (is_ended)
        tell_result(run, CLI_FAILED, err.text);
    own_close(&run->log_fd);
    free(run);
}

/* --- the queue --- */

static void job_free(struct job *job)
{
    free(job->machine);
    free(job);
}

/* The next that nobody runs; waits for one. NULL: stopping. Holding the lock. */
static struct job *next_job(struct jobs *jobs)
{
    for (;;) {
        struct job *job = jobs->is_stopping ? NULL : jobs->first;
        while (job && job->is_running)
            job = job->next;
        if (job || jobs->is_stopping)
            return job;
        pthread_cond_wait(&jobs->wake, &jobs->lock);
    }
}

static void remove_job(struct jobs *jobs, struct job *job)
{
    struct job **place = &jobs->first;
    while (*place != job)
        place = &(*place)->next;
    *place = job->next;
    job_free(job);
}

static void *work(void *context)
{
    struct jobs *jobs = context;
    struct job *job;
    pthread_mutex_lock(&jobs->lock);
    while ((job = next_job(jobs)) != NULL) {
        job->is_running = true;
        pthread_mutex_unlock(&jobs->lock);
        run_job(jobs, job);
        pthread_mutex_lock(&jobs->lock);
        remove_job(jobs, job);
    }
    pthread_mutex_unlock(&jobs->lock);
    return NULL;
}

int jobs_add(struct jobs *jobs, const char *machine, struct error *err)
{
    if (!definition_name_is_valid(machine))
        return error_set(err, EINVAL, "'%s' is no name of a machine", machine);
    pthread_mutex_lock(&jobs->lock);
    struct job **place = &jobs->first;
    while (*place && ((*place)->is_told || strcmp((*place)->machine, machine) != 0))
        place = &(*place)->next;
    if (!*place) {
        *place = memory_new(1, sizeof(struct job));
        (*place)->machine = text_copy(machine);
        pthread_cond_signal(&jobs->wake);
    }
    pthread_mutex_unlock(&jobs->lock);
    return 0;
}

struct jobs *jobs_start(const struct jobs_options *options, struct error *err)
{
    size_t extra = 0;
    while (options->extra && options->extra[extra])
        extra++;
    if (extra > JOBS_MAX_EXTRA) {
        error_set(err, E2BIG, "further arguments for rehost finish");
        return NULL;
    }
    struct jobs *jobs = memory_new(1, sizeof(*jobs));
    jobs->options = *options;
    pthread_mutex_init(&jobs->lock, NULL);
    clock_condition_init(&jobs->wake);
    size_t wanted = options->parallel ? options->parallel : 1;
    for (size_t i = 0; i < wanted && i < JOBS_MAX_PARALLEL; i++) {
        int cause = pthread_create(&jobs->threads[i], NULL, work, jobs);
        if (cause != 0) {
            error_set(err, cause, "start a thread");
            jobs_stop(jobs);
            return NULL;
        }
        jobs->thread_count++;
    }
    return jobs;
}

/* A child ends by itself within seconds of SIGTERM (p2v/interrupt.h). */
static void end_children(struct jobs *jobs)
{
    for (struct job *job = jobs->first; job; job = job->next) {
        if (job->child.pid > 0)
            kill(job->child.pid, SIGTERM);
    }
}

void jobs_stop(struct jobs *jobs)
{
    if (!jobs)
        return;
    pthread_mutex_lock(&jobs->lock);
    jobs->is_stopping = true;
    jobs->stopped_ms = clock_ms();
    end_children(jobs);
    pthread_cond_broadcast(&jobs->wake);
    pthread_mutex_unlock(&jobs->lock);
    for (size_t i = 0; i < jobs->thread_count; i++)
        pthread_join(jobs->threads[i], NULL);
    while (jobs->first) {
        struct job *job = jobs->first;
        jobs->first = job->next;
        job_free(job);
    }
    pthread_cond_destroy(&jobs->wake);
    pthread_mutex_destroy(&jobs->lock);
    free(jobs);
}
