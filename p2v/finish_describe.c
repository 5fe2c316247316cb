/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The definition of a received machine. That of an update names the disks of the machine below it,
 * since it becomes that machine's, and keeps what people set there.
 */
#include "base/text.h"
#include "formats/image.h"
#include "p2v/finish.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void replace(char **field, const char *text)
{
    char *copy = text ? text_copy(text) : NULL;
    free(*field);
    *field = copy;
}

/* --- an update --- */

static const char *format_of(const char *name)
{
    for (size_t i = 0; image_drivers[i]; i++) {
        AUTO_FREE char *end = text_format(".%s", image_drivers[i]->extension);
        if (text_ends_with(name, end))
            return image_drivers[i]->name;
    }
    return NULL;
}

/* The image below the update's one: what the machine's own manifest is of. */
static int name_base_disk(const struct finish *finish, struct guest_disk *disk, size_t index,
                          struct error *err)
{
    AUTO(manifest) manifest = {0};
    AUTO_FREE char *name = machine_manifest_name(index);
    if (manifest_read(&manifest, finish->place.base_fd, name, err) != 0)
        return error_wrap(err, "%s", finish->place.final);
    const char *format = format_of(manifest.image);
    if (!format)
        return error_set(err, 0, "%s/%s: '%s' is no image", finish->place.final, name,
                         manifest.image);
    replace(&disk->path, manifest.image);
    replace(&disk->format, format);
    return 0;
}

static void keep_networks(struct guest *guest, const struct guest *before)
{
    for (size_t i = 0; i < guest->nic_count; i++) {
        for (size_t k = 0; k < before->nic_count; k++) {
            if (strcmp(guest->nics[i].mac, before->nics[k].mac) == 0)
                replace(&guest->nics[i].network, before->nics[k].network);
        }
    }
}

static void keep_settings(struct guest *guest, const struct guest *before)
{
    replace(&guest->uuid, before->uuid);
    replace(&guest->name, before->name);
    replace(&guest->console, before->console);
    replace(&guest->cpu_model, before->cpu_model);
    if (guest->firmware == before->firmware)
        replace(&guest->nvram, before->nvram);
    guest->limits = before->limits;
    keep_networks(guest, before);
}

static int define_update(struct finish *finish, struct error *err)
{
    struct guest *guest = finish->convert.guest;
    keep_settings(guest, finish->before);
    for (size_t i = 0; i < guest->disk_count; i++) {
        if (name_base_disk(finish, &guest->disks[i], i, err) != 0)
            return -1;
    }
    return 0;
}

/* --- */

static int define_disks(struct finish *finish, struct error *err)
{
    struct guest *guest = finish->convert.guest;
    if (finish->place.is_update)
        return define_update(finish, err);
    for (size_t i = 0; i < guest->disk_count; i++) {
        replace(&guest->disks[i].path, finish->convert.disks[i].name);
        replace(&guest->disks[i].format, finish->convert.disks[i].format);
    }
    return 0;
}

/* A later run that only has to complete this one must know how it went. */
static void record_warnings(struct finish *finish)
{
    json_set_bool(finish->convert.report, "has_warnings", finish->convert.has_warnings);
}

int finish_describe(struct finish *finish, struct error *err)
{
    struct convert *convert = &finish->convert;
    if (convert_define(convert, err) != 0 || define_disks(finish, err) != 0)
        return -1;
    if (!finish_wishes_apply(&finish->wishes, !finish->place.is_update, convert->guest,
                             convert->report, convert->log))
        convert->has_warnings = true;
    if (guest_validate(convert->guest, false, err) != 0)
        return -1;
    finish_report(finish);
    record_warnings(finish);
    int result = convert_describe(convert, err);
    sources_close(&convert->sources);
    return result;
}
