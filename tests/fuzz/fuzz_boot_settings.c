/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Any kernel command line: what comes out of it is printable and within its limits, and read twice
 * it is the same.
 */
#include "base/own.h"
#include "p2v/boot/settings.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *text)
{
    if (!text)
        return;
    assert(text[0] && strlen(text) <= 300);
    for (; *text; text++)
        assert((unsigned char)*text > ' ' && *text != 0x7f);
}

static void check_names(const struct boot_names *names)
{
    assert(names->count <= BOOT_MAX_NAMES);
    for (size_t i = 0; i < names->count; i++)
        check_text(names->items[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct boot_settings settings, again;
    struct error err = {0}, second = {0};
    AUTO_FREE char *line = calloc(1, size + 1);
    memcpy(line, data, size);
    int result = boot_settings_parse(line, &settings, &err);
    assert(boot_settings_parse(line, &again, &second) == result);
    assert(strcmp(err.text, second.text) == 0 && (result == 0) == (err.text[0] == '\0'));
    check_text(settings.server);
    check_text(settings.pin);
    check_text(settings.token);
    check_text(settings.name);
    check_text(settings.compress);
    check_names(&settings.disks);
    check_names(&settings.networks);
    check_names(&settings.net);
    check_names(&settings.ip);
    assert(settings.unknown.count <= BOOT_MAX_NAMES &&
           settings.not_applied.count <= BOOT_MAX_NAMES);
    assert(settings.unknown.count == again.unknown.count && settings.vcpus == again.vcpus);
    boot_settings_fini(&settings);
    boot_settings_fini(&again);
    return 0;
}
