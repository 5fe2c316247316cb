/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The console watcher: strips terminal escapes, cuts lines, and looks each line up in the tables
 * of what boot loaders, kernels, initramfs scripts and init systems say.
 */
#include "p2v/boottest_console.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum place { AT_START, ANYWHERE };

/* A line that shows that a stage was reached. Stages are never taken back. */
static const struct {
    enum place place;
    const char *text;
    enum boot_stage stage;
} stage_marks[] = {
    {AT_START, "GRUB loading", BOOT_LOADER},
    {AT_START, "Welcome to GRUB!", BOOT_LOADER},
    {ANYWHERE, "GNU GRUB  version", BOOT_LOADER},
    {AT_START, "Loading Linux ", BOOT_LOADER},
    {AT_START, "Loading initial ramdisk", BOOT_LOADER},
    {AT_START, "Booting `", BOOT_LOADER},
    {AT_START, "ISOLINUX ", BOOT_LOADER},
    {AT_START, "SYSLINUX ", BOOT_LOADER},
    {AT_START, "EXTLINUX ", BOOT_LOADER},
    {AT_START, "LILO ", BOOT_LOADER},
    {AT_START, "BdsDxe: starting ", BOOT_LOADER},
    {AT_START, "Linux version ", BOOT_KERNEL},
    {AT_START, "Decompressing Linux", BOOT_KERNEL},
    {AT_START, "Booting the kernel", BOOT_KERNEL},
    {AT_START, "EFI stub:", BOOT_KERNEL},
    {AT_START, "early console in ", BOOT_KERNEL},
    {AT_START, "Loading, please wait...", BOOT_KERNEL},
    {AT_START, "Begin: ", BOOT_KERNEL},
    {AT_START, "Starting version ", BOOT_KERNEL},
    {AT_START, "Starting systemd-udevd", BOOT_KERNEL},
    {AT_START, "Gave up waiting for ", BOOT_KERNEL},
    {AT_START, "Kernel panic - not syncing", BOOT_KERNEL},
    {AT_START, "dracut", BOOT_KERNEL},
    {AT_START, "systemd[1]: Switching root", BOOT_ROOT},
    {AT_START, "Begin: Running /scripts/init-bottom", BOOT_ROOT},
    {AT_START, "INIT: version", BOOT_ROOT},
    {ANYWHERE, "OpenRC ", BOOT_ROOT},
};

/* The same said by systemd, which runs inside some initramfs too and then shows nothing. */
static const char *const init_marks[] = {
    "Welcome to ", "systemd[1]: ", "[  OK  ] ",   "[FAILED] ",
    "[ TIME ] ",   "[DEPEND] ",    "You are in ", "Cannot open access to console",
};

static const struct {
    enum place place;
    const char *text;
    enum boot_stop stop;
    enum boot_stage latest; /* said later than this stage it is not believed */
} stop_marks[] = {
    {AT_START, "No bootable device", BOOT_STOP_NO_BOOT_DEVICE, BOOT_LOADER},
    {AT_START, "Operating system not found", BOOT_STOP_NO_BOOT_DEVICE, BOOT_LOADER},
    {AT_START, "Missing operating system", BOOT_STOP_NO_BOOT_DEVICE, BOOT_LOADER},
    {AT_START, "BdsDxe: No bootable option", BOOT_STOP_NO_BOOT_DEVICE, BOOT_LOADER},
    {AT_START, "UEFI Interactive Shell", BOOT_STOP_NO_BOOT_DEVICE, BOOT_LOADER},
    {AT_START, "Entering rescue mode...", BOOT_STOP_LOADER, BOOT_LOADER},
    {ANYWHERE, "You are in emergency mode", BOOT_STOP_EMERGENCY, BOOT_ROOT},
    {ANYWHERE, "You are in rescue mode", BOOT_STOP_EMERGENCY, BOOT_ROOT},
    {AT_START, "Entering emergency mode", BOOT_STOP_EMERGENCY, BOOT_ROOT},
    {ANYWHERE, "Give root password for ", BOOT_STOP_EMERGENCY, BOOT_ROOT},
    {AT_START, "Press Enter for maintenance", BOOT_STOP_EMERGENCY, BOOT_ROOT},
    {AT_START, "Cannot open access to console", BOOT_STOP_EMERGENCY, BOOT_ROOT},
    {AT_START, "Kernel panic - not syncing", BOOT_STOP_PANIC, BOOT_LOGIN},
};

/* Prompts end without a newline; each is looked for when its last byte, a space, arrives. */
static const struct {
    const char *text;
    enum boot_stop stop;
    enum boot_stage latest;
} prompts[] = {
    {"(initramfs) ", BOOT_STOP_INITRAMFS, BOOT_ROOT},
    {"dracut:/# ", BOOT_STOP_INITRAMFS, BOOT_ROOT},
    {"grub rescue> ", BOOT_STOP_LOADER, BOOT_LOADER},
    {"grub> ", BOOT_STOP_LOADER, BOOT_LOADER},
};

/* Lines that explain a stop; the first of the highest rank is kept. */
static const struct {
    enum place place;
    const char *text;
    unsigned rank;
} cause_marks[] = {
    {ANYWHERE, "Kernel panic - not syncing", 4},
    {ANYWHERE, "the root account is locked", 1},
    {AT_START, "ALERT!", 3},
    {ANYWHERE, "RUN fsck MANUALLY", 3},
    {ANYWHERE, "Timed out waiting for device", 3},
    {AT_START, "[FAILED] Failed to mount", 2},
    {AT_START, "[FAILED] Failed to start File System Check", 2},
    {ANYWHERE, "does not exist", 2},
    {AT_START, "mount: ", 2},
    {AT_START, "error: ", 2},
    {AT_START, "[DEPEND] Dependency failed for", 1},
    {AT_START, "[FAILED] ", 1},
    {AT_START, "Gave up waiting for ", 1},
    {AT_START, "Boot failed: ", 1},
    {AT_START, "BdsDxe: failed to ", 1},
};

void boot_console_fini(struct boot_console *console)
{
    text_fini(&console->text);
}

void boot_console_copy_line(char *to, size_t size, const char *line, size_t length)
{
    AUTO(text) squeezed = {0};
    AUTO(text) escaped = {0};
    for (size_t i = 0; i < length; i++)
        if (line[i] != ' ' || (i > 0 && line[i - 1] != ' '))
            text_add_bytes(&squeezed, &line[i], 1);
    while (squeezed.length && squeezed.data[squeezed.length - 1] == ' ')
        squeezed.length--;
    text_add_escaped(&escaped, text_string(&squeezed), squeezed.length);
    size_t cut = escaped.length < size ? escaped.length : size - 1;
    const char *from = text_string(&escaped);
    while (cut < escaped.length && cut > 0 && ((unsigned char)from[cut] & 0xc0) == 0x80)
        cut--;
    memcpy(to, from, cut);
    to[cut] = '\0';
}

/* --- lines --------------------------------------------------------------------------------------
 */

struct line {
    const char *bytes; /* not terminated */
    size_t length;
};

static const char *find_in(struct line line, const char *text)
{
    return line.length ? memmem(line.bytes, line.length, text, strlen(text)) : NULL;
}

static bool has_start(struct line line, const char *text)
{
    size_t length = strlen(text);
    return line.length >= length && memcmp(line.bytes, text, length) == 0;
}

static bool has_mark(struct line line, enum place place, const char *text)
{
    return place == AT_START ? has_start(line, text) : find_in(line, text) != NULL;
}

static struct line skip(struct line line, size_t length)
{
    return (struct line){line.bytes + length, line.length - length};
}

static void reach(struct boot_console *console, enum boot_stage stage)
{
    if (stage > console->stage)
        console->stage = stage;
}

/* "[    1.234567] " before a kernel's message: its length, 0 when there is none. */
static size_t timestamp_length(struct line line)
{
    size_t at = 1;
    if (line.length < 2 || line.bytes[0] != '[')
        return 0;
    while (at < line.length && line.bytes[at] == ' ')
        at++;
    size_t digits = at;
    while (at < line.length && isdigit((unsigned char)line.bytes[at]))
        at++;
    if (at == digits || at + 8 > line.length || line.bytes[at] != '.')
        return 0;
    for (size_t i = 1; i <= 6; i++)
        if (!isdigit((unsigned char)line.bytes[at + i]))
            return 0;
    if (line.bytes[at + 7] != ']')
        return 0;
    at += 8;
    return at < line.length && line.bytes[at] == ' ' ? at + 1 : at;
}

static void judge_init(struct boot_console *console, struct line line)
{
    if (has_start(line, "Welcome to GRUB"))
        return;
    if (find_in(line, "initrd") || find_in(line, "initial RAM disk") ||
        find_in(line, "(Initramfs)") || find_in(line, "dracut"))
        console->is_initrd = true;
    if (has_start(line, "systemd[1]: Switching root"))
        console->is_initrd = false;
    for (size_t i = 0; i < ARRAY_LENGTH(init_marks); i++)
        if (has_start(line, init_marks[i]))
            reach(console, console->is_initrd ? BOOT_KERNEL : BOOT_ROOT);
}

static void judge_stage(struct boot_console *console, struct line line)
{
    for (size_t i = 0; i < ARRAY_LENGTH(stage_marks); i++)
        if (has_mark(line, stage_marks[i].place, stage_marks[i].text))
            reach(console, stage_marks[i].stage);
    judge_init(console, line);
}

static void judge_stop(struct boot_console *console, struct line line)
{
    for (size_t i = 0; i < ARRAY_LENGTH(stop_marks); i++)
        if (console->stop == BOOT_STOP_NONE && console->stage <= stop_marks[i].latest &&
            has_mark(line, stop_marks[i].place, stop_marks[i].text))
            console->stop = stop_marks[i].stop;
}

static void judge_cause(struct boot_console *console, struct line line)
{
    unsigned rank = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(cause_marks); i++)
        if (cause_marks[i].rank > rank && has_mark(line, cause_marks[i].place, cause_marks[i].text))
            rank = cause_marks[i].rank;
    if (rank <= console->cause_rank)
        return;
    const char *end = find_in(line, "  Dropping to a shell!");
    if (end)
        line.length = (size_t)(end - line.bytes);
    console->cause_rank = rank;
    boot_console_copy_line(console->cause, sizeof(console->cause), line.bytes, line.length);
}

/* "[FAILED] Failed to start NAME - Description." and what its older kin say. */
static void judge_failed(struct boot_console *console, struct line line)
{
    static const char *const verbs[] = {"start ", "mount ", "listen on ", "activate "};
    if (!has_start(line, "[FAILED] Failed to "))
        return;
    line = skip(line, strlen("[FAILED] Failed to "));
    for (size_t i = 0; i < ARRAY_LENGTH(verbs); i++) {
        if (has_start(line, verbs[i])) {
            line = skip(line, strlen(verbs[i]));
            break;
        }
    }
    const char *end = find_in(line, " - ");
    if (end)
        line.length = (size_t)(end - line.bytes);
    else if (line.length && line.bytes[line.length - 1] == '.')
        line.length--;
    if (console->failed_count < BOOT_CONSOLE_MAX_FAILED)
        boot_console_copy_line(console->failed[console->failed_count], sizeof(console->failed[0]),
                               line.bytes, line.length);
    console->failed_count++;
}

static void gather_rename(struct boot_console *console, struct line line)
{
    struct boot_console_rename new;
    char text[128];
    if (line.length >= sizeof(text) || !find_in(line, ": renamed from "))
        return;
    memcpy(text, line.bytes, line.length);
    text[line.length] = '\0';
    if (strlen(text) != line.length ||
        sscanf(text, "%23s %23s %31[^: ]: renamed", new.driver, new.device, new.name) != 3)
        return;
    for (size_t i = 0; i < console->rename_count; i++) {
        struct boot_console_rename *old = &console->renames[i];
        if (strcmp(old->driver, new.driver) == 0 && strcmp(old->device, new.device) == 0) {
            *old = new;
            return;
        }
    }
    if (console->rename_count < BOOT_CONSOLE_MAX_RENAMES)
        console->renames[console->rename_count++] = new;
}

static void end_line(struct boot_console *console)
{
    struct line line = {console->line, console->line_length};
    console->line_length = 0;
    while (line.length && line.bytes[line.length - 1] == ' ')
        line.length--;
    size_t stamp = timestamp_length(line);
    if (stamp)
        reach(console, BOOT_KERNEL);
    line = skip(line, stamp);
    if (line.length == 0)
        return;
    boot_console_copy_line(console->last_line, sizeof(console->last_line), line.bytes, line.length);
    judge_stage(console, line);
    judge_cause(console, line);
    judge_stop(console, line);
    judge_failed(console, line);
    gather_rename(console, line);
}

/* "web01 login: " at the start of a line, and not the "Last login: " of a log or a greeting. */
static bool is_login_prompt(struct line line)
{
    static const char end[] = " login: ";
    size_t host = line.length - (sizeof(end) - 1);
    if (line.length < sizeof(end) || memcmp(line.bytes + host, end, sizeof(end) - 1) != 0)
        return false;
    for (size_t i = 0; i < host; i++)
        if (!isalnum((unsigned char)line.bytes[i]) && !strchr("-._", line.bytes[i]))
            return false;
    return !has_start(line, "Last ") && !memchr(line.bytes, '\0', host);
}

static void judge_prompt(struct boot_console *console)
{
    struct line line = {console->line, console->line_length};
    if (console->stop == BOOT_STOP_NONE && is_login_prompt(line))
        reach(console, BOOT_LOGIN);
    for (size_t i = 0; i < ARRAY_LENGTH(prompts); i++) {
        if (line.length != strlen(prompts[i].text) || !has_start(line, prompts[i].text) ||
            console->stop != BOOT_STOP_NONE || console->stage > prompts[i].latest)
            continue;
        console->stop = prompts[i].stop;
        reach(console, prompts[i].stop == BOOT_STOP_LOADER ? BOOT_LOADER : BOOT_KERNEL);
    }
}

/* --- bytes --------------------------------------------------------------------------------------
 */

static void add_to_line(struct boot_console *console, unsigned char byte)
{
    if (console->line_length < BOOT_CONSOLE_LINE_SIZE)
        console->line[console->line_length++] = (char)byte;
    if (byte == ' ')
        judge_prompt(console);
}

static void feed_text(struct boot_console *console, unsigned char byte)
{
    if (byte == 0x1b)
        console->escape = CONSOLE_ESCAPE;
    else if (byte == '\n' || byte == '\r')
        end_line(console);
    else if (byte == '\b' && console->line_length)
        console->line_length--;
    else if (byte == '\t')
        add_to_line(console, ' ');
    else if (byte >= ' ' && byte != 0x7f)
        add_to_line(console, byte);
}

static void feed_escape(struct boot_console *console, unsigned char byte)
{
    if (byte == '[')
        console->escape = CONSOLE_CONTROL;
    else if (byte == ']')
        console->escape = CONSOLE_COMMAND;
    else if (byte >= ' ' && byte <= '/')
        console->escape = CONSOLE_ESCAPE_ONE_MORE;
    else
        console->escape = CONSOLE_TEXT;
}

/* Moving the cursor or clearing the screen ends what stood on the line. */
static void feed_control(struct boot_console *console, unsigned char byte)
{
    if (byte >= ' ' && byte < '@')
        return;
    console->escape = CONSOLE_TEXT;
    if (byte == 'H' || byte == 'f' || byte == 'J' || byte == '\n')
        end_line(console);
}

static void feed_command(struct boot_console *console, unsigned char byte)
{
    if (byte == 0x1b)
        console->escape = CONSOLE_ESCAPE;
    else if (byte == 0x07 || byte == '\n')
        console->escape = CONSOLE_TEXT;
}

static void feed_byte(struct boot_console *console, unsigned char byte)
{
    switch (console->escape) {
    case CONSOLE_TEXT:
        feed_text(console, byte);
        break;
    case CONSOLE_ESCAPE:
        feed_escape(console, byte);
        break;
    case CONSOLE_CONTROL:
        feed_control(console, byte);
        break;
    case CONSOLE_COMMAND:
        feed_command(console, byte);
        break;
    case CONSOLE_ESCAPE_ONE_MORE:
        console->escape = CONSOLE_TEXT;
        break;
    }
}

void boot_console_feed(struct boot_console *console, const void *bytes, size_t length)
{
    const unsigned char *byte = bytes;
    size_t room = BOOT_CONSOLE_LIMIT - console->text.length;
    text_add_bytes(&console->text, bytes, min_u64(length, room));
    for (size_t i = 0; i < length; i++)
        feed_byte(console, byte[i]);
}

/* --- what is made of it -------------------------------------------------------------------------
 */

void boot_console_describe_stop(const struct boot_console *console, char *buffer, size_t size)
{
    static const char *const what[] = {
        [BOOT_STOP_NONE] = "did not stop",
        [BOOT_STOP_NO_BOOT_DEVICE] = "the firmware found nothing to boot",
        [BOOT_STOP_LOADER] = "stopped at the boot loader's prompt",
        [BOOT_STOP_INITRAMFS] = "stopped in the initramfs shell",
        [BOOT_STOP_EMERGENCY] = "stopped in emergency mode",
        [BOOT_STOP_PANIC] = "kernel panic",
    };
    static const char panic[] = "Kernel panic - not syncing: ";
    const char *cause = console->cause;
    const char *after = strstr(cause, panic);
    if (after)
        cause = after + sizeof(panic) - 1;
    snprintf(buffer, size, "%s%s%s", what[console->stop], cause[0] ? ": " : "", cause);
}

/* "virtio9" comes before "virtio10", "0000:00:02.0" before "0000:00:03.0". */
static bool comes_before(const char *left, const char *right)
{
    return strverscmp(left, right) < 0;
}

const char *boot_console_interface_name(const struct boot_console *console, const char *driver,
                                        size_t index, size_t count)
{
    const char *name = NULL;
    size_t seen = 0;
    for (size_t i = 0; i < console->rename_count; i++) {
        const struct boot_console_rename *this = &console->renames[i];
        if (strcmp(this->driver, driver) != 0)
            continue;
        size_t before = 0;
        for (size_t j = 0; j < console->rename_count; j++)
            if (strcmp(console->renames[j].driver, driver) == 0 &&
                comes_before(console->renames[j].device, this->device))
                before++;
        if (before == index)
            name = this->name;
        seen++;
    }
    return seen == count ? name : NULL;
}
