/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Settings are checked before anything is fetched or compressed. The token comes from a file, goes
 * into the medium, and stands nowhere else.
 */
#include "p2v/make_media.h"

#include "base/bytes.h"
#include "base/log.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/interrupt.h"
#include "p2v/json.h"
#include "p2v/send_private.h"
#include "p2v/wire/link.h"
#include "p2v/wire/tls.h"

#include <stdio.h>
#include <string.h>

/* A token among the arguments would be everybody's to read. */
static bool is_token(const char *parameter)
{
    return strstr(parameter, ".token=") != NULL;
}

static int check(const struct make_media_options *options, struct error *err)
{
    struct link_address address;
    uint8_t hash[TLS_IDENTITY_SIZE];
    struct error why = {0};
    if (!options->output)
        return cli_usage(err, "-o is missing");
    if (options->server && link_address_parse(options->server, &address, &why) != 0)
        return cli_usage(err, "--server: %s", why.text);
    if (options->pin && tls_pin_parse(options->pin, hash, &why) != 0)
        return cli_usage(err, "--pin: %s", why.text);
    if (!options->server && (options->pin || options->token_file))
        return cli_usage(err, "--pin and --token-file are for a --server");
    if (options->token_file && !options->pin)
        return cli_usage(err, "--token-file needs --pin: a token is for that server alone");
    for (size_t i = 0; i < options->append.count; i++) {
        if (is_token(options->append.items[i]))
            return cli_usage(err, "--append: a token belongs in --token-file");
    }
    return CLI_DONE;
}

static char *join(const struct option_list *list)
{
    AUTO(text) joined = {0};
    for (size_t i = 0; i < list->count; i++)
        text_addf(&joined, "%s%s", i ? " " : "", list->items[i]);
    return text_take(&joined);
}

static char *make_command_line(const struct make_media_options *options, const char *token,
                               struct error *err)
{
    AUTO_FREE char *extra = join(&options->append);
    const struct media_settings settings = {
        .server = options->server, .pin = options->pin, .token = token, .extra = extra};
    return media_command_line(&settings, err);
}

static int print_json(const char *output, const struct media_result *result)
{
    AUTO_JSON object = json_object();
    json_set_text(object, "output", output);
    json_set_text(object, "kernel", result->kernel);
    if (result->iso_bytes)
        json_set_bytes(object, "iso_bytes", result->iso_bytes);
    json_set_bytes(object, "kernel_bytes", result->kernel_bytes);
    json_set_bytes(object, "initramfs_bytes", result->initramfs_bytes);
    json_set_bytes(object, "unpacked_bytes", result->unpacked_bytes);
    AUTO_FREE char *text = json_format(object);
    fputs(text, stdout);
    return CLI_DONE;
}

static int print_made(const struct make_media_options *options, const struct media_result *result)
{
    char size[32], unpacked[32];
    if (options->is_json)
        return print_json(options->output, result);
    uint64_t bytes =
        result->iso_bytes ? result->iso_bytes : result->kernel_bytes + result->initramfs_bytes;
    printf("%s: %s, kernel %s, %s in memory; %s%s%s\n", options->output,
           bytes_format(bytes, size, sizeof(size)), result->kernel,
           bytes_format(result->unpacked_bytes, unpacked, sizeof(unpacked)),
           options->server ? "sends to " : "asks where to send",
           options->server ? options->server : "", options->token_file ? "; holds a token" : "");
    return CLI_DONE;
}

int make_media_run(struct cli *cli, const struct make_media_options *options,
                   make_media_maker maker, struct error *err)
{
    int code = check(options, err);
    if (code != CLI_DONE)
        return code;
    char *token = options->token_file ? send_read_token(options->token_file, err) : NULL;
    if (options->token_file && !token)
        return -1;
    struct error why = {0};
    char *line = make_command_line(options, token, &why);
    text_wipe(token);
    if (!line)
        return cli_usage(err, "%s", why.text);
    const struct media_options media = {.output = options->output,
                                        .is_forced = options->is_forced,
                                        .agent = options->agent,
                                        .packages = options->packages,
                                        .command_line = line,
                                        .has_secret = options->token_file != NULL,
                                        .base_url = options->base_url,
                                        .stop = interrupt_flag(),
                                        .log = &cli->console.log};
    struct media_result result;
    code = maker(&media, &result, err);
    text_wipe(line);
    if (code != 0)
        return -1;
    return cli->console.is_quiet && !options->is_json ? CLI_DONE : print_made(options, &result);
}
