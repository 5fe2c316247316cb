/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The Debian packages that a boot medium is made of: a folder of .deb files, filled by apt with
 * what is missing. With all of them there nothing is asked of anybody.
 */
#ifndef P2V_MEDIA_PACKAGES_H
#define P2V_MEDIA_PACKAGES_H

#include "base/error.h"
#include "base/log.h"
#include "p2v/media/deb.h"

#include <stdbool.h>
#include <stddef.h>

#define PACKAGES_MAX 512
#define NAMES_MAX 8192

/* Names, each once, at most NAMES_MAX. {0} is empty. */
struct name_list {
    char **items;
    size_t count;
};
void name_list_fini(struct name_list *list);
bool name_list_has(const struct name_list *list, const char *name);
void name_list_add(struct name_list *list, const char *name); /* unless it is there */

/* {0} is empty. */
struct packages {
    struct deb *items; /* of several versions the newest; sorted by name */
    size_t count;
};
void packages_fini(struct packages *packages);

/* What a medium needs beside the libraries that these need. */
extern const char *const packages_wanted[];

/*
 * Reads `folder` (made when missing), has apt fetch what is not there, and leaves what is used.
 * `is_followed`: the folder is to have what apt would install now, as far as apt can be asked;
 * otherwise what is there is good.
 */
int packages_open(struct packages *packages, const char *folder, bool is_followed, struct log *log,
                  struct error *err);

/* packages_apt.c: fetches what is missing or, when followed, older than what apt has. */
int packages_fetch(const struct packages *packages, const char *folder, bool is_followed,
                   struct log *log, struct error *err);

/* NULL when it is not there. */
const struct deb *packages_find(const struct packages *packages, const char *name);

/* When the newest of them was built. */
uint64_t packages_date(const struct packages *packages);

/* --- pure, for the tests --- */

/* Dependencies that are followed: libraries, and the kernel that linux-image-amd64 stands for. */
bool packages_follows(const char *name);

/* Adds the names in a Depends field that are followed; of alternatives the first. */
void packages_parse_depends(const char *depends, struct name_list *names);

/* What `apt-cache depends --recurse` prints: adds what is reached from `names`. */
void packages_parse_apt(const char *text, size_t length, struct name_list *names);

/* What `apt-get download --print-uris` prints: adds the files' names, "udev_252.39-1_amd64.deb". */
void packages_parse_uris(const char *text, size_t length, struct name_list *files);

#endif
