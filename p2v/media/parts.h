/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * What all media are made of: the packages, the kernel and the initramfs.
 */
#ifndef P2V_MEDIA_PARTS_H
#define P2V_MEDIA_PARTS_H

#include "base/error.h"
#include "base/text.h"
#include "p2v/media/media.h"
#include "p2v/media/packages.h"

#include <stdint.h>

/* {0} is empty. */
struct media_parts {
    struct packages packages;
    char *kernel; /* the image */
    size_t kernel_length;
    struct text initramfs; /* compressed */
    uint64_t date;         /* of everything: SOURCE_DATE_EPOCH, or that of the newest package */
};
void media_parts_fini(struct media_parts *parts);

/* Fills in result, too, but for the ISO's size. */
int media_parts_make(struct media_parts *parts, const struct media_options *options,
                     struct media_result *result, struct error *err);

#endif
