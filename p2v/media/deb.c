/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An ar archive with two tar archives in it, each compressed: libarchive reads the outer one and,
 * from a member of that, the inner one.
 */
#include "p2v/media/deb.h"

#include "base/own.h"
#include "base/text.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define BLOCK_BYTES ((size_t)64 << 10)

/* --- the control file --- */

static void copy_field(char *to, size_t size, const char *value, size_t length)
{
    snprintf(to, size, "%.*s", (int)length, value);
}

static void take_field(struct deb *deb, struct text *depends, const char *line, size_t length)
{
    const char *colon = memchr(line, ':', length);
    if (!colon)
        return;
    size_t name = (size_t)(colon - line);
    const char *value = colon + 1;
    const char *end = line + length;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    size_t size = (size_t)(end - value);
    if (name == 7 && strncasecmp(line, "Package", name) == 0)
        copy_field(deb->name, sizeof(deb->name), value, size);
    else if (name == 7 && strncasecmp(line, "Version", name) == 0)
        copy_field(deb->version, sizeof(deb->version), value, size);
    else if (name == 12 && strncasecmp(line, "Architecture", name) == 0)
        copy_field(deb->architecture, sizeof(deb->architecture), value, size);
    else if ((name == 7 && strncasecmp(line, "Depends", name) == 0) ||
             (name == 11 && strncasecmp(line, "Pre-Depends", name) == 0)) {
        text_add(depends, depends->length ? ", " : "");
        text_add_bytes(depends, value, size);
    }
}

/* Depends is one line in packages that were built; folded fields are none of those wanted here. */
void deb_parse_control(struct deb *deb, const char *text, size_t length)
{
    AUTO(text) depends = {0};
    const char *end = text + length;
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *line_end = newline ? newline : end;
        if (*text != ' ' && *text != '\t')
            take_field(deb, &depends, text, (size_t)(line_end - text));
        text = newline ? newline + 1 : end;
    }
    free(deb->depends);
    deb->depends = text_take(&depends);
}

/* --- the archives --- */

struct reading {
    struct archive *outer, *inner;
    char *block;
};

static void reading_fini(struct reading *reading)
{
    archive_read_free(reading->inner);
    archive_read_free(reading->outer);
    free(reading->block);
}

static int archive_fail(struct error *err, struct archive *archive, const char *what)
{
    const char *text = archive ? archive_error_string(archive) : "out of memory";
    return error_set(err, 0, "%s: %s", what, text ? text : "not a Debian package");
}

static la_ssize_t read_member(struct archive *inner, void *opaque, const void **buffer)
{
    struct reading *reading = opaque;
    la_ssize_t got = archive_read_data(reading->outer, reading->block, BLOCK_BYTES);
    *buffer = reading->block;
    if (got < 0)
        archive_set_error(inner, EIO, "%s", archive_error_string(reading->outer));
    return got;
}

static int open_inner(struct reading *reading, struct error *err)
{
    reading->inner = archive_read_new();
    reading->block = memory_new(1, BLOCK_BYTES);
    if (!reading->inner || archive_read_support_filter_all(reading->inner) < ARCHIVE_WARN ||
        archive_read_support_format_tar(reading->inner) != ARCHIVE_OK ||
        archive_read_open(reading->inner, reading, NULL, read_member, NULL) != ARCHIVE_OK)
        return archive_fail(err, reading->inner, "read its tar archive");
    return 0;
}

/* Opens "control.tar" or "data.tar", however it is compressed. */
static int open_part(struct reading *reading, const char *path, const char *part, uint64_t *mtime,
                     struct error *err)
{
    struct archive_entry *entry = NULL;
    reading->outer = archive_read_new();
    if (!reading->outer || archive_read_support_format_ar(reading->outer) != ARCHIVE_OK ||
        archive_read_open_filename(reading->outer, path, BLOCK_BYTES) != ARCHIVE_OK)
        return archive_fail(err, reading->outer, "open it");
    int result;
    while ((result = archive_read_next_header(reading->outer, &entry)) == ARCHIVE_OK) {
        const char *name = archive_entry_pathname(entry);
        if (name && text_starts_with(name, part)) {
            *mtime = archive_entry_mtime(entry) > 0 ? (uint64_t)archive_entry_mtime(entry) : 0;
            return open_inner(reading, err);
        }
    }
    if (result == ARCHIVE_EOF)
        return error_set(err, 0, "no %s in it", part);
    return archive_fail(err, reading->outer, "read it");
}

/* "./lib/x" as "usr/lib/x"; NULL when it could lead out of the folder. Caller frees. */
static char *plain_path(const char *path)
{
    static const char *const merged[] = {"lib/", "bin/", "sbin/", "lib64/"};
    while (text_starts_with(path, "./"))
        path += 2;
    if (!*path || *path == '/' || strcmp(path, "..") == 0 || text_starts_with(path, "../") ||
        strstr(path, "/../") || text_ends_with(path, "/.."))
        return NULL;
    for (size_t i = 0; i < sizeof(merged) / sizeof(*merged); i++) {
        if (text_starts_with(path, merged[i]))
            return text_format("usr/%s", path);
    }
    return text_copy(path);
}

static int read_data(struct archive *archive, struct archive_entry *entry, size_t limit_bytes,
                     char **data, size_t *length, struct error *err)
{
    int64_t size = archive_entry_size(entry);
    if (size < 0 || (uint64_t)size > limit_bytes)
        return error_set(err, EFBIG, "%lld bytes", (long long)size);
    *length = (size_t)size;
    *data = memory_new(1, *length + 1);
    for (size_t done = 0; done < *length;) {
        la_ssize_t got = archive_read_data(archive, *data + done, *length - done);
        if (got <= 0)
            return archive_fail(err, archive, "read its data");
        done += (size_t)got;
    }
    return 0;
}

static int visit_entry(struct reading *reading, struct archive_entry *entry,
                       struct deb_visitor *visitor, struct error *err)
{
    AUTO_FREE char *path = NULL;
    AUTO_FREE char *data = NULL;
    size_t length = 0;
    const char *name = archive_entry_pathname(entry);
    mode_t mode = archive_entry_mode(entry);
    if (name)
        path = plain_path(name);
    if (!path || archive_entry_hardlink(entry) || (!S_ISREG(mode) && !S_ISLNK(mode)) ||
        !visitor->wants(visitor, path))
        return 0;
    if (S_ISLNK(mode)) {
        const char *target = archive_entry_symlink(entry);
        data = text_copy(target ? target : "");
        length = strlen(data);
    } else if (read_data(reading->inner, entry, DEB_MAX_FILE_BYTES, &data, &length, err) != 0) {
        return error_wrap(err, "%s", path);
    }
    return visitor->take(visitor, path, mode, &data, length, err);
}

static int visit_all(struct reading *reading, struct deb_visitor *visitor, struct error *err)
{
    struct archive_entry *entry = NULL;
    int result;
    while ((result = archive_read_next_header(reading->inner, &entry)) == ARCHIVE_OK ||
           result == ARCHIVE_WARN) {
        if (visitor->stop && *visitor->stop)
            return error_set(err, 0, "stopped");
        if (visit_entry(reading, entry, visitor, err) != 0)
            return -1;
    }
    return result == ARCHIVE_EOF ? 0 : archive_fail(err, reading->inner, "read its files");
}

int deb_visit(const struct deb *deb, struct deb_visitor *visitor, struct error *err)
{
    AUTO(reading) reading = {0};
    uint64_t mtime;
    if (open_part(&reading, deb->path, "data.tar", &mtime, err) != 0 ||
        visit_all(&reading, visitor, err) != 0)
        return error_wrap(err, "%s", deb->path);
    return 0;
}

static int read_control(struct deb *deb, struct reading *reading, struct error *err)
{
    struct archive_entry *entry = NULL;
    while (archive_read_next_header(reading->inner, &entry) == ARCHIVE_OK) {
        AUTO_FREE char *data = NULL;
        size_t length;
        const char *name = archive_entry_pathname(entry);
        if (!name || (strcmp(name, "./control") != 0 && strcmp(name, "control") != 0))
            continue;
        if (read_data(reading->inner, entry, DEB_MAX_CONTROL_BYTES, &data, &length, err) != 0)
            return -1;
        deb_parse_control(deb, data, length);
        return deb->name[0] && deb->version[0] ? 0 : error_set(err, 0, "it has no name or version");
    }
    return error_set(err, 0, "no control file in it");
}

int deb_open(struct deb *deb, const char *path, struct error *err)
{
    *deb = (struct deb){.path = text_copy(path), .depends = text_copy("")};
    AUTO(reading) reading = {0};
    if (open_part(&reading, path, "control.tar", &deb->mtime, err) == 0 &&
        read_control(deb, &reading, err) == 0)
        return 0;
    deb_fini(deb);
    return error_wrap(err, "%s", path);
}

void deb_fini(struct deb *deb)
{
    free(take_ptr(&deb->path));
    free(take_ptr(&deb->depends));
}
