/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What make-iso and make-pxe share: the settings that a medium gets, and telling what was made.
 */
#ifndef P2V_MAKE_MEDIA_H
#define P2V_MAKE_MEDIA_H

#include "base/error.h"
#include "p2v/cli.h"
#include "p2v/media/media.h"

#include <stdbool.h>

struct make_media_options {
    const char *output, *server, *pin, *token_file, *agent, *packages, *base_url;
    struct option_list append;
    bool is_forced, is_json;
};

#define MAKE_MEDIA_ROW(name, letter, kind, argument, field, help)                                  \
    {                                                                                              \
        name, letter, kind, argument, NULL, offsetof(struct make_media_options, field), help       \
    }

#define MAKE_MEDIA_ROWS                                                                            \
    MAKE_MEDIA_ROW("server", 0, OPTION_TEXT, "HOST[:PORT]", server,                                \
                   "the server to send to; without it the medium asks"),                           \
        MAKE_MEDIA_ROW("pin", 0, OPTION_TEXT, "sha256:HEX", pin,                                   \
                       "the server's key, as rehost serve prints it"),                             \
        MAKE_MEDIA_ROW("token-file", 0, OPTION_TEXT, "FILE", token_file,                           \
                       "the token, in a file or (-) on standard input"),                           \
        MAKE_MEDIA_ROW("append", 0, OPTION_LIST, "PARAM", append,                                  \
                       "more parameters, as rehost.then=reboot"),                                  \
        MAKE_MEDIA_ROW("agent", 0, OPTION_TEXT, "FILE", agent,                                     \
                       "rehost-agent (the one beside this program)"),                              \
        MAKE_MEDIA_ROW("packages", 0, OPTION_TEXT, "DIR", packages,                                \
                       "Debian packages; what is missing is fetched into it"),                     \
        MAKE_MEDIA_ROW("force", 0, OPTION_FLAG, NULL, is_forced, "replace what is there"),         \
        MAKE_MEDIA_ROW("json", 0, OPTION_FLAG, NULL, is_json, "one JSON document on stdout")

typedef int (*make_media_maker)(const struct media_options *options, struct media_result *result,
                                struct error *err);

/* Checks, makes, and says what was made; as a command's run. */
int make_media_run(struct cli *cli, const struct make_media_options *options,
                   make_media_maker maker, struct error *err);

#endif
