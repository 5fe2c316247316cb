/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Block devices in /etc/fstab, /etc/crypttab and initramfs-tools' resume by what is on them, not by
 * how their controller numbers them: /dev/sda1 is /dev/vda1 on virtio. Tags, device-mapper names
 * and everything that is not a disk of ours stay as they are.
 */
#include "bootfix/fixer.h"
#include "bootfix/fstab.h"
#include "bootfix/spec.h"

#include <stdio.h>
#include <string.h>

#define NAME "fstab"
#define RESUME_FILE "/etc/initramfs-tools/conf.d/resume"

/* A warning, unless the boot does without the device: then it is only said. */
static void complain(struct fix_context *context, const char *file, struct span spec,
                     bool is_optional, const char *why)
{
    int length = (int)spec.length;
    if (is_optional)
        plan_note(context->plan, NAME, "%s: %.*s %s: left alone", file, length, spec.start, why);
    else
        plan_warn(context->plan, NAME, "%s: %.*s %s: left alone", file, length, spec.start, why);
}

/* True when the name is one that other hardware changes, and *name is what it becomes. */
static bool replace_spec(struct fix_context *context, const char *file, struct span text,
                         const char *type, bool is_optional, char name[SPEC_NAME_SIZE])
{
    struct spec spec;
    spec_parse(text, &spec);
    if (!spec_is_unstable(&spec))
        return false;
    const struct system_volume *volume = spec_find_volume(context->system, &spec, type);
    if (!volume) {
        complain(context, file, text, is_optional,
                 "is on none of the converted disks, or holds something else");
        return false;
    }
    if (!spec_stable_name(context->system, volume, name)) {
        complain(context, file, text, is_optional, "has no UUID of its own");
        return false;
    }
    return true;
}

static bool is_optional_line(const struct fstab_line *line)
{
    return fstab_has_option(line, FSTAB_OPTIONS, "noauto") ||
           fstab_has_option(line, FSTAB_OPTIONS, "nofail");
}

/* At boot, systemd waits 90 s for what is missing, and then gives up the boot. */
static void check_tag(struct fix_context *context, const struct fstab_line *line)
{
    struct spec spec;
    struct span text = line->fields[FSTAB_SPEC];
    spec_parse(text, &spec);
    bool is_checked = spec.kind == SPEC_UUID || spec.kind == SPEC_PARTUUID;
    if (!is_checked || context->system->volume_count == 0 ||
        spec_find_volume(context->system, &spec, NULL) || is_optional_line(line))
        return;
    plan_warn(context->plan, NAME, "/etc/fstab: %.*s is on none of the converted disks",
              (int)text.length, text.start);
}

/* The type, where it says what the volume has to hold. Caller frees. */
static char *wanted_type(struct span type)
{
    bool is_open =
        span_is(type, "none") || span_is(type, "auto") || memchr(type.start, ',', type.length);
    return is_open ? NULL : span_copy(type);
}

static bool is_optical(struct span type)
{
    return span_contains(type, "iso9660") || span_contains(type, "udf");
}

static void edit_fstab_line(struct fix_context *context, struct span text, struct text *out)
{
    struct fstab_line line;
    char name[SPEC_NAME_SIZE];
    fstab_parse_line(text, &line);
    if (line.field_count <= FSTAB_TYPE || is_optical(line.fields[FSTAB_TYPE])) {
        span_add(out, text);
        return;
    }
    AUTO_FREE char *type = wanted_type(line.fields[FSTAB_TYPE]);
    check_tag(context, &line);
    if (replace_spec(context, "/etc/fstab", line.fields[FSTAB_SPEC], type, is_optional_line(&line),
                     name))
        fstab_add_replaced(&line, FSTAB_SPEC, name, out);
    else
        span_add(out, text);
}

/* A swap area with a new key at each boot has no superblock that could name it. */
static bool has_random_key(const struct fstab_line *line)
{
    struct span key = line->fields[CRYPTTAB_KEY];
    return line->field_count > CRYPTTAB_KEY &&
           (span_is(key, "/dev/urandom") || span_is(key, "/dev/random") ||
            span_is(key, "/dev/hwrng"));
}

/*
 * The volume by partition alone: it holds what looks like noise, or what an earlier life of the
 * partition left there. The path form of the name is understood by every cryptsetup.
 */
static bool replace_by_partition(struct fix_context *context, struct span text,
                                 char name[SPEC_NAME_SIZE])
{
    struct spec spec;
    char tag[SPEC_NAME_SIZE];
    spec_parse(text, &spec);
    if (!spec_is_unstable(&spec))
        return false;
    const struct system_volume *volume = spec_find_volume(context->system, &spec, NULL);
    if (!volume || !spec_partuuid_name(context->system, volume, tag)) {
        plan_warn(context->plan, NAME,
                  "/etc/crypttab: %.*s has no stable name among the converted disks: left alone",
                  (int)text.length, text.start);
        return false;
    }
    snprintf(name, SPEC_NAME_SIZE, "/dev/disk/by-partuuid/%s", strchr(tag, '=') + 1);
    return true;
}

static void edit_crypttab_line(struct fix_context *context, struct span text, struct text *out)
{
    struct fstab_line line;
    struct spec spec;
    char name[SPEC_NAME_SIZE];
    fstab_parse_line(text, &line);
    bool is_replaced = false;
    if (line.field_count > CRYPTTAB_SOURCE) {
        struct span source = line.fields[CRYPTTAB_SOURCE];
        spec_parse(source, &spec);
        const struct system_volume *volume = spec_find_volume(context->system, &spec, NULL);
        bool is_luks = volume && volume->type && strcmp(volume->type, "crypto_LUKS") == 0;
        if (is_luks && !has_random_key(&line))
            is_replaced = replace_spec(context, "/etc/crypttab", source, NULL, false, name);
        else
            is_replaced = replace_by_partition(context, source, name);
    }
    if (is_replaced)
        fstab_add_replaced(&line, CRYPTTAB_SOURCE, name, out);
    else
        span_add(out, text);
}

/* RESUME=/dev/sda3; none, auto and mapped names stay. The last one counts, each is edited. */
static void edit_resume_line(struct fix_context *context, struct span text, struct text *out)
{
    struct span key, value;
    char name[SPEC_NAME_SIZE];
    struct span trimmed = span_trim(text);
    if (span_starts_with(trimmed, "RESUME=") && span_split(trimmed, '=', &key, &value)) {
        if (value.length >= 2 && (*value.start == '"' || *value.start == '\''))
            value = (struct span){value.start + 1, value.length - 2};
        if (replace_spec(context, RESUME_FILE, value, "swap", false, name)) {
            text_addf(out, "RESUME=%s", name);
            return;
        }
    }
    span_add(out, text);
}

typedef void edit_line(struct fix_context *context, struct span line, struct text *out);

static int edit_file(struct fix_context *context, const char *path, edit_line *edit,
                     const char *reason, struct error *err)
{
    AUTO_FREE char *before = NULL;
    int found = plan_read(context->plan, NAME, path, &before, err);
    if (found != 1)
        return found;
    AUTO(text) after = {0};
    struct span line;
    for (const char *position = before; span_next_line(&position, &line);) {
        edit(context, line, &after);
        span_add_line(&after, (struct span){line.start + line.length, 0}, position);
    }
    return plan_write(context->plan, NAME, path, text_string(&after), 0644, reason, err);
}

static int plan_fstab(struct fix_context *context, struct error *err)
{
    if (edit_file(context, "/etc/fstab", edit_fstab_line,
                  "file systems and swap by UUID: the disks have other names on virtio", err) < 0 ||
        edit_file(context, "/etc/crypttab", edit_crypttab_line,
                  "encrypted devices by UUID: the disks have other names on virtio", err) < 0)
        return -1;
    return edit_file(context, RESUME_FILE, edit_resume_line,
                     "the swap to resume from by UUID, or the initramfs waits for the old name",
                     err);
}

static bool applies(const struct system *system)
{
    return strcmp(system->type ? system->type : "", "linux") == 0;
}

const struct fixer fix_fstab = {
    .name = NAME,
    .description = "fstab, crypttab and resume by UUID, because disks have other names on virtio",
    .applies = applies,
    .plan = plan_fstab,
};
