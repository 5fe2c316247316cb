/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * rehost serve: receives machines until it is told to stop. stdout has what an agent needs, stderr
 * one line an event.
 */
#include "base/bytes.h"
#include "base/log.h"
#include "base/own.h"
#include "base/text.h"
#include "formats/image.h"
#include "p2v/commands.h"
#include "p2v/pool_use.h"
#include "p2v/serve_iso.h"
#include "p2v/server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

struct serve_options {
    const char *pool, *listen, *format, *iso, *iso_server;
    unsigned jobs;
    uint64_t checkpoint_bytes;
    bool is_boot_test_skipped, is_fix_skipped, is_token_printed, is_forced;
};

#define ROW(name, kind, argument, field, help)                                                     \
    {                                                                                              \
        name, 0, kind, argument, NULL, offsetof(struct serve_options, field), help                 \
    }

static const struct option_spec serve_options[] = {
    ROW("pool", OPTION_TEXT, "DIR", pool, "the folder for the machines, made when missing"),
    ROW("listen", OPTION_TEXT, "ADDR:PORT", listen, "where to listen (everywhere, port 7443)"),
    ROW("jobs", OPTION_NUMBER, "N", jobs, "machines to fix and test at a time (1)"),
    ROW("checkpoint", OPTION_SIZE, "SIZE", checkpoint_bytes,
        "make what has arrived safe after so much of it (64M), and each second"),
    ROW("format", OPTION_TEXT, "FMT", format, "of the disks: qcow2 (default) or raw"),
    ROW("no-fix", OPTION_FLAG, NULL, is_fix_skipped, "receive and describe only"),
    ROW("no-boot-test", OPTION_FLAG, NULL, is_boot_test_skipped, "do not start the copies"),
    ROW("print-token", OPTION_FLAG, NULL, is_token_printed,
        "make a token for one machine and print it"),
    ROW("iso", OPTION_TEXT, "FILE", iso,
        "make a boot medium that sends one machine here (see make-iso)"),
    ROW("iso-server", OPTION_TEXT, "HOST[:PORT]", iso_server,
        "this server's address, as the medium has it (that of the default route)"),
    ROW("force", OPTION_FLAG, NULL, is_forced, "replace the ISO that is there"),
    CLI_OPTION_END,
};

/* --- the log --- */

struct serve_log {
    struct log log; /* first */
    bool is_quiet, is_verbose, is_journal;
};

static void emit(struct log *base, enum log_level level, const char *line)
{
    static const int priorities[] = {
        [LOG_LEVEL_WARNING] = 4, [LOG_LEVEL_INFO] = 6, [LOG_LEVEL_DETAIL] = 7};
    const struct serve_log *log = (const struct serve_log *)base;
    if ((log->is_quiet && level != LOG_LEVEL_WARNING) ||
        (!log->is_verbose && level == LOG_LEVEL_DETAIL))
        return;
    AUTO(text) out = {0};
    if (log->is_journal)
        text_addf(&out, "<%d>", priorities[level]);
    else
        text_add(&out, "rehost: ");
    text_addf(&out, "%s%s\n", level == LOG_LEVEL_WARNING ? "warning: " : "", line);
    /* One call, so that lines of several threads do not mix. */
    fputs(out.data, stderr);
}

/* --- what an agent needs --- */

static void find_own_name(const struct server *server, char *name, size_t size)
{
    const char *host = server_host(server);
    if (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0) {
        if (gethostname(name, size) != 0)
            snprintf(name, size, "HOST");
        name[size - 1] = '\0';
        return;
    }
    snprintf(name, size, strchr(host, ':') ? "[%s]" : "%s", host);
}

static void print_lines(const struct server *server, const char *token)
{
    char pin[TLS_PIN_SIZE], name[256];
    const char *host = server_host(server);
    unsigned port = server_port(server);
    server_pin(server, pin);
    find_own_name(server, name, sizeof(name));
    printf(strchr(host, ':') ? "listening on [%s]:%u; to send a machine:\n"
                             : "listening on %s:%u; to send a machine:\n",
           host, port);
    printf("  rehost send --server %s:%u --pin %s --token-file -\n", name, port, pin);
    printf("  rehost.server=%s:%u rehost.pin=%s rehost.token=%s\n", name, port, pin,
           token ? token : "TOKEN");
    printf("pin %s\n", pin);
    if (token)
        printf("token %s\n", token);
}

static int print_start(struct server *server, bool is_token_printed, struct error *err)
{
    static const struct token_options one_use = {.note = "serve --print-token"};
    char token[WIRE_TOKEN_LENGTH + 1], id[16];
    if (is_token_printed && token_create(server_database(server), &one_use, token, id, err) != 0)
        return -1;
    print_lines(server, is_token_printed ? token : NULL);
    OPENSSL_cleanse(token, sizeof(token));
    /* Scripts wait for these lines. */
    return fflush(stdout) == 0 ? 0 : error_set(err, errno, "write to standard output");
}

/* --- the process --- */

static int stop_pipe[2] = {-1, -1};
static atomic_bool is_stopping;

static void on_signal(int number)
{
    int saved = errno;
    is_stopping = true;
    ssize_t ignored = write(stop_pipe[1], "", 1);
    (void)ignored;
    (void)number;
    errno = saved;
}

/*
 * Instead of p2v/interrupt.h's: that ends the process within seconds, and committing what has
 * arrived may take longer. A second signal ends it at once; nothing that was told safe is lost.
 */
static int catch_signals(struct error *err)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_RESETHAND};
    if (pipe2(stop_pipe, O_CLOEXEC) != 0)
        return error_set(err, errno, "pipe");
    for (size_t i = 0; i < ARRAY_LENGTH(signals); i++) {
        struct sigaction before;
        if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
            sigaction(signals[i], &action, NULL);
    }
    return 0;
}

/* Looks up now and then: the thread sanitizer hands a signal over only between two calls. */
static void wait_for_signal(void)
{
    struct pollfd stop = {.fd = stop_pipe[0], .events = POLLIN};
    while (poll(&stop, 1, 1000) <= 0)
        continue;
}

/* Many threads that each hold little: few arenas, and large buffers go back when they are freed. */
static void tune_process(void)
{
    struct rlimit files;
    mallopt(M_ARENA_MAX, 2);
    mallopt(M_MMAP_THRESHOLD, 256 << 10);
    mallopt(M_TRIM_THRESHOLD, 1 << 20);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    signal(SIGPIPE, SIG_IGN);
}

static int check_options(const struct serve_options *options, struct error *err)
{
    const struct image_driver *driver = options->format ? image_driver_find(options->format) : NULL;
    if (!options->pool)
        return cli_usage(err, "--pool DIR is missing");
    if (options->format && strcmp(options->format, "qcow2") != 0 &&
        (!driver || strcmp(options->format, "raw") != 0))
        return cli_usage(err, "--format: '%s' is neither qcow2 nor raw", options->format);
    if (options->checkpoint_bytes && (options->checkpoint_bytes < SERVER_MIN_CHECKPOINT ||
                                      options->checkpoint_bytes > SERVER_MAX_CHECKPOINT))
        return cli_usage(err, "--checkpoint: from 1M to 4G");
    if (!options->iso && (options->iso_server || options->is_forced))
        return cli_usage(err, "--iso-server and --force are for --iso");
    if (options->jobs > 64)
        return cli_usage(err, "--jobs: at most 64");
    return CLI_DONE;
}

static int serve(const struct server_options *options, const struct serve_options *given,
                 struct error *err)
{
    const struct serve_iso iso = {.output = given->iso,
                                  .address = given->iso_server,
                                  .is_forced = given->is_forced,
                                  .stop = &is_stopping,
                                  .log = options->log};
    AUTO_PTR(server) server = server_start(options, err);
    if (!server || print_start(server, given->is_token_printed, err) != 0)
        return -1;
    /* Agents are served meanwhile. */
    if (iso.output && serve_iso_make(server, &iso, err) != 0 && !is_stopping)
        return -1;
    wait_for_signal();
    log_info(options->log, "stopping");
    return 0;
}

static int run(struct cli *cli, const void *values, const struct option_list *operands,
               struct error *err)
{
    const struct serve_options *options = values;
    (void)operands;
    int code = check_options(options, err);
    if (code != CLI_DONE)
        return code;
    struct serve_log log = {.log = {emit},
                            .is_quiet = cli->console.is_quiet,
                            .is_verbose = cli->console.is_verbose,
                            .is_journal = getenv("JOURNAL_STREAM") != NULL};
    const char *finish[3] = {NULL};
    size_t count = 0;
    if (options->is_fix_skipped)
        finish[count++] = "--no-fix";
    if (options->is_boot_test_skipped)
        finish[count++] = "--no-boot-test";
    struct server_options server = {.pool = options->pool,
                                    .listen = options->listen,
                                    .format = options->format,
                                    .checkpoint_bytes = options->checkpoint_bytes,
                                    .jobs = options->jobs,
                                    .finish_arguments = finish,
                                    .log = &log.log};
    tune_process();
    if (catch_signals(err) != 0)
        return -1;
    return serve(&server, options, err) == 0 ? CLI_DONE : -1;
}

const struct command command_serve = {
    .name = "serve",
    .arguments = "--pool DIR",
    .summary = "receive machines over the network",
    .description = "Prints what an agent has to be given, and runs until it is told to stop.\n"
                   "Machines that are complete are fixed and tested as rehost convert does it.\n",
    .options = serve_options,
    .options_size = sizeof(struct serve_options),
    .min_operands = 0,
    .max_operands = 0,
    .run = run,
};
