/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The console watcher on any bytes: whole and cut in two, it must come to the same verdict, which
 * must be printable.
 */
#include "p2v/boottest_console.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_printable(const char *text)
{
    for (; *text; text++)
        assert((unsigned char)*text >= ' ' && *text != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct boot_console whole = {0}, cut = {0};
    char stop[256];
    if (size == 0)
        return 0;
    size_t half = data[0] * size / 256;
    boot_console_feed(&whole, data, size);
    boot_console_feed(&cut, data, half);
    boot_console_feed(&cut, data + half, size - half);
    assert(whole.stage == cut.stage && whole.stop == cut.stop);
    assert(whole.failed_count == cut.failed_count && strcmp(whole.cause, cut.cause) == 0);
    boot_console_describe_stop(&whole, stop, sizeof(stop));
    check_printable(stop);
    check_printable(whole.last_line);
    for (size_t i = 0; i < whole.failed_count && i < BOOT_CONSOLE_MAX_FAILED; i++)
        check_printable(whole.failed[i]);
    boot_console_interface_name(&whole, "virtio_net", 0, 1);
    boot_console_fini(&whole);
    boot_console_fini(&cut);
    return 0;
}
