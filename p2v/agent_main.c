/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The program rehost-agent: `rehost send` alone, linked statically, for boot media and for machines
 * on which nothing is installed. Knows none of the other commands. On boot media it is /init too,
 * the session that this starts, and what udhcpc calls.
 */
#include "base/own.h"
#include "p2v/boot/network.h"
#include "p2v/boot/session.h"
#include "p2v/cli.h"
#include "p2v/interrupt.h"
#include "p2v/send.h"

#include <errno.h>
#include <nss.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct common_options {
    bool is_quiet, is_verbose, is_help, is_version;
};

#define ROW(name, letter, field, help)                                                             \
    {                                                                                              \
        name, letter, OPTION_FLAG, NULL, NULL, offsetof(struct common_options, field), help        \
    }

static const struct option_spec common_options[] = {
    ROW("quiet", 'q', is_quiet, "say nothing but errors"),
    ROW("verbose", 'v', is_verbose, "say more"),
    ROW("help", 'h', is_help, "this text"),
    ROW("version", 0, is_version, "the version"),
    CLI_OPTION_END,
};

static void print_help(void)
{
    AUTO(text) out = {0};
    text_addf(&out, "Usage: rehost-agent [OPTION...] %s\nThe same as rehost send: %s.\n\n%s\n",
              send_arguments, send_summary, send_description);
    text_add(&out, "Options:\n");
    options_format_help(send_options, &out);
    options_format_help(common_options, &out);
    text_add(&out, "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done with warnings,\n"
                   "  4 boot test failed, 5 not authorised, 6 no space\n");
    fputs(out.data, stdout);
}

static int exit_code_for(int code, const struct error *err)
{
    if (code >= 0)
        return code;
    if (interrupt_is_requested())
        return CLI_INTERRUPTED;
    return err->errnum == ENOSPC ? CLI_NO_SPACE : CLI_FAILED;
}

static int run_send(struct console *console, const struct send_options *options,
                    const struct option_list *operands)
{
    struct error err = {0};
    int code = interrupt_start(&err) == 0 ? send_machine(console, options, operands, &err) : -1;
    AUTO_FREE char *line =
        text_format("agent: %s%s", err.text, code == CLI_USAGE ? " (see rehost-agent --help)" : "");
    if (code != CLI_DONE && err.text[0])
        console_error(console, line);
    return exit_code_for(code, &err);
}

static int run(struct console *console, int argc, char *argv[])
{
    struct common_options common = {0};
    struct send_options options = {0};
    struct option_list operands = {0};
    struct error err = {0};
    const struct option_set sets[] = {{send_options, &options}, {common_options, &common}};
    int code = CLI_DONE;
    if (options_parse(sets, 2, argc - 1, argv + 1, &operands, &err) != 0) {
        AUTO_FREE char *line = text_format("agent: %s (see rehost-agent --help)", err.text);
        console_error(console, line);
        code = CLI_USAGE;
    } else if (common.is_help) {
        print_help();
    } else if (common.is_version) {
        printf("rehost-agent %s\n", REHOST_VERSION);
    } else {
        console->is_quiet = common.is_quiet;
        console->is_verbose = common.is_verbose;
        code = run_send(console, &options, &operands);
    }
    option_list_fini(&operands);
    options_fini(&sets[0]);
    return code;
}

/* As the kernel starts an initramfs. In a container too the first process may be this program. */
static bool is_init(int argc, char *argv[])
{
    return getpid() == 1 && argc > 0 && strcmp(argv[0], "/init") == 0;
}

/* What a boot medium starts this program for; -1 when it was a person. */
static int run_boot(int argc, char *argv[])
{
    if (is_init(argc, argv))
        boot_init();
    if (boot_network_is_lease_call(argc, argv))
        return boot_network_write_lease(argv);
    return argc > 1 && strcmp(argv[1], BOOT_SESSION_ARGUMENT) == 0 ? boot_session() : -1;
}

/*
 * Names are looked up in /etc/hosts and DNS, by what is linked in. A machine's own nsswitch.conf
 * may ask for modules, which fit the glibc of that machine and not this program.
 */
int main(int argc, char *argv[])
{
    __nss_configure_lookup("hosts", "files dns");
    struct console console;
    int code = run_boot(argc, argv);
    if (code >= 0)
        return code;
    console_init(&console);
    code = run(&console, argc, argv);
    if (fflush(stdout) != 0 && code == CLI_DONE) {
        console_error(&console, "agent: write to standard output");
        code = CLI_FAILED;
    }
    console_fini(&console);
    return code;
}
