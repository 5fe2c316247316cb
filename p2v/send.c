/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Sends this machine: looks at it, hands it to the sender, and says what became of it.
 */
#include "p2v/send.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/own.h"
#include "p2v/agent/inventory.h"
#include "p2v/cli.h"
#include "p2v/interrupt.h"
#include "p2v/send_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const compress_words[] = {"auto", "none", "1", "3", NULL};
static const char *const snapshot_words[] = {"auto", "no", NULL};

#define ROW(name, letter, kind, argument, choices, field, help)                                    \
    {                                                                                              \
        name, letter, kind, argument, choices, offsetof(struct send_options, field), help          \
    }

const struct option_spec send_options[] = {
    ROW("server", 0, OPTION_TEXT, "HOST[:PORT]", NULL, server, "where to send to (port 7443)"),
    ROW("pin", 0, OPTION_TEXT, "sha256:HEX", NULL, pin, "the server's key, as serve prints it"),
    ROW("token-file", 0, OPTION_TEXT, "FILE", NULL, token_file,
        "the token; - for standard input; without it the server's operator approves"),
    ROW("name", 0, OPTION_TEXT, "NAME", NULL, name, "of the machine; else its host name"),
    ROW("memory", 0, OPTION_SIZE, "SIZE", NULL, memory_bytes,
        "of the guest: 8G; else as the machine"),
    ROW("vcpus", 0, OPTION_NUMBER, "N", NULL, vcpus, "of the guest; else as the machine"),
    ROW("network", 0, OPTION_LIST, "[NIC:]NAME", NULL, networks,
        "the guest's network, of one interface; may be repeated"),
    ROW("limit", 0, OPTION_SIZE, "SIZE", NULL, limit_bytes_per_second,
        "bytes a second on the wire: 200M"),
    ROW("cpu-limit", 0, OPTION_NUMBER, "PERCENT", NULL, cpu_percent, "of one core, at most"),
    ROW("compress", 0, OPTION_TEXT, "HOW", compress_words, compress, "auto, none, 1 or 3"),
    ROW("final", 0, OPTION_FLAG, NULL, NULL, is_final,
        "the last time: file systems in use stay frozen for all of the last pass"),
    ROW("snapshots", 0, OPTION_TEXT, "HOW", snapshot_words, snapshots,
        "of logical volumes in use: auto or no"),
    ROW("no-wait", 0, OPTION_FLAG, NULL, NULL, is_result_unwanted,
        "end when everything is received; else wait for the boot test"),
    ROW("give-up", 0, OPTION_NUMBER, "SECONDS", NULL, give_up_seconds,
        "when the server was out of reach for so long; else never"),
    ROW("state", 0, OPTION_TEXT, "DIR", NULL, state, "where this machine's key is kept"),
    ROW("key-from-token", 0, OPTION_FLAG, NULL, NULL, is_key_from_token,
        "make the key of the token and this machine's hardware: nothing is kept"),
    ROW("format", 0, OPTION_TEXT, "FMT", NULL, format, "of image files; raw unless said"),
    CLI_OPTION_PROGRESS(struct send_options),
    CLI_OPTION_JSON(struct send_options),
    CLI_OPTION_END,
};

const char send_arguments[] = "[DISK...]";
const char send_summary[] = "send this machine's disks to a server";
const char send_description[] =
    "DISK is a block device or an image file; without any, all of this machine's disks are sent.\n"
    "They are only read. A cut connection is taken up again; the same command later sends what\n"
    "has changed.\n";

/* --- what was asked for --- */

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

static bool is_name_valid(const char *name)
{
    size_t length = strlen(name);
    return length >= 1 && length <= 63 && strchr(LETTERS, name[0]) &&
           strspn(name, LETTERS "-._") == length;
}

static int check_options(const struct send_options *options, struct sender_options *sending,
                         struct error *err)
{
    if (!options->server)
        return cli_usage(err, "--server is missing");
    if (!options->pin)
        return cli_usage(err, "--pin is missing (rehost serve prints it)");
    if (link_address_parse(options->server, &sending->server, err) != 0) {
        error_wrap(err, "--server");
        return CLI_USAGE;
    }
    if (tls_pin_parse(options->pin, sending->pin, err) != 0) {
        error_wrap(err, "--pin");
        return CLI_USAGE;
    }
    if (options->name && !is_name_valid(options->name))
        return cli_usage(err, "--name: '%s' is not 1 to 63 of A-Z a-z 0-9 . _ -", options->name);
    if (options->format && !image_driver_find(options->format))
        return cli_usage(err, "--format: '%s' is no format", options->format);
    const char *compress = options->compress ? options->compress : "auto";
    sending->compression = strcmp(compress, "auto") == 0   ? -1
                           : strcmp(compress, "none") == 0 ? 0
                                                           : compress[0] - '0';
    return CLI_DONE;
}

/* --- getting ready --- */

static char *make_inventory(struct send *send)
{
    struct inventory_disk disks[WIRE_MAX_DISKS];
    for (size_t i = 0; i < send->disk_count; i++) {
        const struct send_disk *disk = &send->disks[i];
        bool is_device = disk->source.is_device;
        disks[i] =
            (struct inventory_disk){disk->name, &disk->source, is_device ? &disk->device : NULL,
                                    is_device ? &disk->live : NULL};
    }
    AUTO_JSON json =
        inventory_new(&(struct inventory_options){.root = "",
                                                  .is_this_machine = send->is_this_machine,
                                                  .disks = disks,
                                                  .disk_count = send->disk_count,
                                                  .wishes = &send->wishes,
                                                  .log = &send->log});
    send_take_mark(json, send->mark);
    return inventory_format(json, &send->log);
}

static int look_at_machine(struct send *send, const struct option_list *operands, struct error *err)
{
    if (send_open_disks(send, operands, err) != 0)
        return -1;
    send_prepare_freeze(send);
    send_prepare_snapshots(send);
    if (send_read_layouts(send, err) != 0)
        return -1;
    send->inventory = make_inventory(send);
    return 0;
}

/* Images say nothing of a host: their machine is called after the first one. Caller frees. */
static char *machine_name(const struct send *send)
{
    if (send->options->name)
        return text_copy(send->options->name);
    if (send->is_this_machine)
        return text_copy("");
    char *name = text_copy(send->disks[0].name);
    char *dot = strrchr(name, '.');
    if (dot && dot != name)
        *dot = '\0';
    if (strlen(name) > 63)
        name[63] = '\0';
    return name;
}

static void fill_disks(struct send *send, struct sender_disk *disks)
{
    for (size_t i = 0; i < send->disk_count; i++) {
        struct send_disk *disk = &send->disks[i];
        bool is_readable_ahead = disk->source.is_device || !strcmp(disk->source.format, "raw");
        is_readable_ahead &= !disk->live.is_live || !send_has_snapshots(send);
        disks[i] = (struct sender_disk){.name = disk->name,
                                        .serial = disk->device.serial,
                                        .path = is_readable_ahead ? disk->path : NULL,
                                        .block = disk->source.block,
                                        .is_live = disk->live.is_live,
                                        .map = send_map,
                                        .context = disk};
    }
}

/* --- the last words --- */

static int exit_code_of_failure(const struct send *send, const struct error *err)
{
    if (interrupt_is_requested())
        return CLI_INTERRUPTED;
    if (err->errnum == TLS_WRONG_PIN || err->errnum == EACCES)
        return CLI_NOT_AUTHORISED;
    return err->errnum == ENOSPC || send->result.exit_code == CLI_NO_SPACE ? CLI_NO_SPACE
                                                                           : CLI_FAILED;
}

static void print_line(const struct send *send)
{
    const struct sender_result *result = &send->result;
    uint64_t used = 0;
    char read[32], sent[32], time_text[32];
    for (size_t i = 0; i < send->disk_count; i++)
        used += send->disks[i].source.used_bytes;
    printf("%s: received (%s used, %s sent in %s)%s", result->machine,
           bytes_format(used, read, sizeof(read)),
           bytes_format(result->bytes_on_wire, sent, sizeof(sent)),
           progress_format_time(clock_seconds() - send->started, time_text, sizeof(time_text)),
           result->consistency == WIRE_NOT_CONSISTENT ? ", not consistent" : "");
    if (result->has_result) {
        AUTO(text) text = {0};
        text_add_escaped(&text, result->text, strlen(result->text));
        printf("; %s", text_string(&text));
    }
    printf("\n");
}

static int finish(struct send *send, struct error *err)
{
    const struct sender_result *result = &send->result;
    if (send->options->is_json && !send->options->watch) {
        AUTO_JSON json = send_result_json(send);
        AUTO_FREE char *text = json_format(json);
        fputs(text, stdout);
    } else if (!send->console->is_quiet) {
        print_line(send);
    }
    if (result->has_result && result->exit_code != CLI_DONE && result->exit_code != CLI_WARNINGS) {
        error_set(err, 0, "%s: %s", result->machine, result->text);
        return result->exit_code > CLI_DONE && result->exit_code <= CLI_NO_SPACE ? result->exit_code
                                                                                 : CLI_FAILED;
    }
    bool has_warnings = send_has_warnings(send) || result->exit_code == CLI_WARNINGS;
    return has_warnings ? CLI_WARNINGS : CLI_DONE;
}

static int transfer(struct send *send, struct sender_options *sending, struct error *err)
{
    struct sender_disk disks[WIRE_MAX_DISKS] = {0};
    bool is_live = send_is_any_live(send);
    fill_disks(send, disks);
    send_output_show_disks(send);
    sending->inventory = send->inventory;
    sending->disks = disks;
    sending->disk_count = send->disk_count;
    sending->limit_bytes_per_second = send->options->limit_bytes_per_second;
    sending->cpu_percent = send->options->cpu_percent;
    sending->is_final = send->options->is_final;
    sending->give_up_seconds = (int)min_u64(send->options->give_up_seconds, INT32_MAX);
    sending->is_result_awaited = !send->options->is_result_unwanted;
    sending->stop = send->options->stop ? send->options->stop : interrupt_flag();
    sending->freeze = is_live ? send_freeze : NULL;
    sending->thaw = is_live ? send_thaw : NULL;
    sending->hold = is_live ? send_take_snapshots : NULL;
    sending->is_held = is_live ? send_are_snapshots_held : NULL;
    sending->progress = send_show_progress;
    sending->stage = send_take_stage;
    sending->report = send_report;
    sending->context = send;
    sending->log = &send->log;
    int result = sender_run(sending, &send->result, err);
    send_thaw(send);
    send_output_end(send);
    int code = result == 0 ? finish(send, err) : exit_code_of_failure(send, err);
    send_show_result(send, code);
    return code;
}

static int run(struct send *send, struct sender_options *sending,
               const struct option_list *operands, struct error *err)
{
    const struct send_options *options = send->options;
    char *token = NULL;
    if (send_take_wishes(options, &send->wishes, err) != 0)
        return CLI_USAGE;
    if (send_take_token(options, &token, err) != 0)
        return CLI_NOT_AUTHORISED;
    int result = look_at_machine(send, operands, err);
    AUTO_FREE char *name = result == 0 ? machine_name(send) : NULL;
    AUTO_FREE char *subject = result != 0             ? NULL
                              : send->is_this_machine ? send_this_machine("")
                                                      : realpath(send->disks[0].path, NULL);
    if (result == 0)
        sending->identity = send_choose_identity(send, token, sending->pin, subject, err);
    sending->name = name;
    sending->mark = send->mark;
    sending->token = token;
    if (result == 0)
        result = sending->identity ? transfer(send, sending, err) : -1;
    tls_identity_free(sending->identity);
    text_wipe(token);
    return result;
}

int send_machine(struct console *console, const struct send_options *options,
                 const struct option_list *operands, struct error *err)
{
    struct sender_options sending = {0};
    int code = check_options(options, &sending, err);
    if (code != CLI_DONE)
        return code;
    struct send *send = memory_new(1, sizeof(*send));
    send->options = options;
    send->started = clock_seconds();
    send->started_time = time(NULL);
    pthread_mutex_init(&send->freezing, NULL);
    send_output_start(send, console);
    code = run(send, &sending, operands, err);
    send_output_end(send);
    send_close_snapshots(send);
    freezer_stop(send->freezer);
    send_close_disks(send);
    sender_result_fini(&send->result);
    pthread_mutex_destroy(&send->freezing);
    send_output_stop(send);
    free(send->inventory);
    free(send);
    return code;
}
