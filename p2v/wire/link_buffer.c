/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A link's receive buffer: growing it, placing frames, handing its memory on.
 */
#include "p2v/wire/link_buffer.h"

#include "base/checked.h"

#include <stdlib.h>
#include <string.h>

#define PAGE ((size_t)4096)

/* From this on a buffer gets all the room that it may ever need: frames of data follow. */
#define LARGE ((size_t)64 << 10)

void link_memory_make(struct link_memory *memory, size_t size)
{
    void *data = NULL;

    if (memory->size >= size)
        return;
    free(memory->data);
    if (posix_memalign(&data, PAGE, align_up(size, PAGE)) != 0)
        abort(); /* as all small memory: base/text.h */
    *memory = (struct link_memory){data, align_up(size, PAGE)};
}

void link_memory_fini(struct link_memory *memory)
{
    free(memory->data);
    *memory = (struct link_memory){0};
}

struct link_awaited link_await(const struct wire_header *header)
{
    struct link_awaited awaited = {WIRE_HEADER_SIZE + header->length, LINK_ANY_PLACE};

    if (header->type == WIRE_DATA && header->length >= LARGE) {
        size_t head = WIRE_HEADER_SIZE + wire_data_content_offset(header->length);
        awaited.place = align_up(head, PAGE) - head;
    }
    return awaited;
}

/* What is held moves to `place` of the memory, which may be the one that it is in. */
static void move_to(struct link_buffer *buffer, struct link_memory *memory, size_t place)
{
    size_t held = buffer->end - buffer->start;

    if (held > 0)
        memmove(memory->data + place, buffer->memory.data + buffer->start, held);
    buffer->start = place;
    buffer->end = place + held;
}

void link_buffer_make_room(struct link_buffer *buffer, const struct link_awaited *awaited,
                           size_t ahead, size_t most)
{
    bool is_anywhere = awaited->place == LINK_ANY_PLACE;
    size_t place = is_anywhere ? 0 : awaited->place, size = place + awaited->needed + ahead;

    if (size > buffer->memory.size) {
        struct link_memory larger = {0};
        link_memory_make(&larger, size < LARGE ? size : most + PAGE);
        move_to(buffer, &larger, place);
        link_memory_fini(&buffer->memory);
        buffer->memory = larger;
    } else if (is_anywhere ? buffer->start == buffer->end ||
                                 buffer->start + awaited->needed + ahead > buffer->memory.size
                           : buffer->start != place) {
        move_to(buffer, &buffer->memory, place);
    }
}

void link_buffer_swap(struct link_buffer *buffer, struct link_memory *memory)
{
    struct link_memory other = *memory;

    link_memory_make(&other, buffer->memory.size);
    *memory = buffer->memory;
    move_to(buffer, &other, 0);
    buffer->memory = other;
}
