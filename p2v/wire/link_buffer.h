/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Where a link's frames are put together. The chunks of a large DATA frame come to lie at the
 * beginning of a page, so that they can go to a disk past the page cache as they are:
 *
 *     page             page                          page
 *     │      header, head│chunks … chunks │ of the next frame
 *            └ start                                 └ end
 */
#ifndef P2V_WIRE_LINK_BUFFER_H
#define P2V_WIRE_LINK_BUFFER_H

#include "p2v/wire/link.h"

/* [start, end) was read and is not taken yet. */
struct link_buffer {
    struct link_memory memory;
    size_t start, end;
};

/* The frame that is awaited: its bytes as far as known, and where it goes. */
struct link_awaited {
    size_t needed;
    size_t place; /* from the beginning of a page on; LINK_ANY_PLACE */
};
#define LINK_ANY_PLACE SIZE_MAX

/* Once its header is known. */
struct link_awaited link_await(const struct wire_header *header);

/* Room for all of it and `ahead` bytes behind it; at most `most` in all, for any frame. */
void link_buffer_make_room(struct link_buffer *buffer, const struct link_awaited *awaited,
                           size_t ahead, size_t most);

/* Gives away the memory for another: what was not taken moves there. */
void link_buffer_swap(struct link_buffer *buffer, struct link_memory *memory);

#endif
