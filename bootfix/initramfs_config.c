/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The scripts in an initramfs wait half a minute for a device to resume from that is not there. The
 * guest's own configuration is the fstab fixer's; this is the copy that is booted.
 */
#include "bootfix/initramfs_config.h"

#include "base/own.h"
#include "bootfix/span.h"
#include "bootfix/spec.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct reader {
    struct cpio_visitor visitor;
    struct initramfs_config *config;
    char *path;
    struct text content;
};

static bool is_config(const char *path)
{
    return strcmp(path, "conf/initramfs.conf") == 0 || text_starts_with(path, "conf/conf.d/");
}

static int begin(struct cpio_visitor *visitor, const struct cpio_member *member, bool *is_wanted,
                 struct error *err)
{
    struct reader *reader = (struct reader *)visitor;
    (void)err;
    if (!S_ISREG(member->mode) || member->size_bytes > INITRAMFS_MAX_CONFIG_BYTES ||
        !is_config(member->path))
        return 0;
    *is_wanted = true;
    free(reader->path);
    reader->path = text_copy(member->path);
    reader->content.length = 0;
    return 0;
}

static int add_data(struct cpio_visitor *visitor, const void *data, size_t length,
                    struct error *err)
{
    (void)err;
    text_add_bytes(&((struct reader *)visitor)->content, data, length);
    return 0;
}

static struct initramfs_entry *place_for(struct initramfs_config *config, const char *path)
{
    for (size_t i = 0; i < config->count; i++)
        if (strcmp(config->files[i].path, path) == 0)
            return &config->files[i];
    if (config->count == INITRAMFS_MAX_CONFIG_FILES)
        return NULL;
    struct initramfs_entry *entry = &config->files[config->count++];
    *entry = (struct initramfs_entry){.path = text_copy(path)};
    return entry;
}

static int end(struct cpio_visitor *visitor, struct error *err)
{
    struct reader *reader = (struct reader *)visitor;
    struct initramfs_entry *entry = place_for(reader->config, reader->path);
    (void)err;
    if (entry) {
        free(entry->data);
        entry->length = reader->content.length;
        entry->data = text_take(&reader->content);
    }
    return 0;
}

int initramfs_config_read(struct initramfs_config *config, const void *data, size_t length,
                          struct error *err)
{
    struct reader reader = {.visitor = {begin, add_data, end}, .config = config};
    enum unpack_kind last;
    *config = (struct initramfs_config){0};
    int result = initramfs_scan(data, length, &reader.visitor, &last, err);
    free(reader.path);
    text_fini(&reader.content);
    if (result < 0)
        initramfs_config_fini(config);
    return result;
}

static struct span unquoted(struct span value)
{
    if (value.length >= 2 && (*value.start == '"' || *value.start == '\'') &&
        value.start[value.length - 1] == *value.start)
        return (struct span){value.start + 1, value.length - 2};
    return value;
}

/* True when the line names an unstable device of ours; *name is its lasting name. */
static bool rename_line(const struct system *system, struct span line, char name[SPEC_NAME_SIZE])
{
    struct span key, value;
    struct spec spec;
    if (!span_starts_with(span_trim(line), "RESUME=") || !span_split(line, '=', &key, &value))
        return false;
    spec_parse(unquoted(value), &spec);
    if (!spec_is_unstable(&spec))
        return false;
    const struct system_volume *volume = spec_find_volume(system, &spec, "swap");
    return volume && spec_stable_name(system, volume, name);
}

/* The file with its RESUME= renamed; false, and nothing done, when there was nothing to rename. */
static bool rename_in_file(struct initramfs_entry *file, const struct system *system)
{
    AUTO(text) after = {0};
    const char *position = file->data;
    struct span line;
    bool is_changed = false;
    if (strlen(file->data) != file->length) /* not text */
        return false;
    while (span_next_line(&position, &line)) {
        char name[SPEC_NAME_SIZE];
        bool is_renamed = rename_line(system, line, name);
        if (is_renamed)
            text_addf(&after, "RESUME=%s", name);
        else
            span_add(&after, line);
        text_add(&after, position > line.start + line.length ? "\n" : "");
        is_changed |= is_renamed;
    }
    if (!is_changed)
        return false;
    free(file->data);
    file->length = after.length;
    file->data = text_take(&after);
    return true;
}

void initramfs_config_rename_resume(struct initramfs_config *config, const struct system *system)
{
    size_t kept = 0;
    for (size_t i = 0; i < config->count; i++) {
        if (rename_in_file(&config->files[i], system)) {
            config->files[kept++] = config->files[i];
        } else {
            free(config->files[i].path);
            free(config->files[i].data);
        }
    }
    config->count = kept;
}

void initramfs_config_fini(struct initramfs_config *config)
{
    for (size_t i = 0; i < config->count; i++) {
        free(config->files[i].path);
        free(config->files[i].data);
    }
    config->count = 0;
}
