/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Ownership that ends with the scope, and its explicit hand-over.
 *
 *     AUTO_FREE char *name = strdup("x");
 *     AUTO_CLOSE int fd = open(…);
 *     AUTO(text) line = {0};                 in place: calls text_fini(&line)
 *     AUTO_PTR(image) disk = image_open(…);  heap: calls image_close(disk), NULL-safe
 *     return take_ptr(&name);                the caller owns it from here
 */
#ifndef BASE_OWN_H
#define BASE_OWN_H

void own_free(void *pointer_to_pointer);
void own_close(const int *fd); /* keeps errno; negative descriptors are ignored */

#define AUTO_FREE __attribute__((cleanup(own_free)))
#define AUTO_CLOSE __attribute__((cleanup(own_close)))
#define AUTO(type) __attribute__((cleanup(type##_fini))) struct type

/* Beside the declaration of a destructor: OWN_DEFINE_PTR(image, image_close) allows
 * AUTO_PTR(image). */
#define OWN_DEFINE_PTR(type, destructor)                                                           \
    static inline void own_ptr_##type(struct type **pointer)                                       \
    {                                                                                              \
        destructor(*pointer);                                                                      \
    }
#define AUTO_PTR(type) __attribute__((cleanup(own_ptr_##type))) struct type *

/* Empties the variable and gives what it held. */
#define take_ptr(pointer)                                                                          \
    __extension__({                                                                                \
        __typeof__(pointer) own_place = (pointer);                                                 \
        __typeof__(*own_place) own_value = *own_place;                                             \
        *own_place = NULL;                                                                         \
        own_value;                                                                                 \
    })

static inline int take_fd(int *fd)
{
    int value = *fd;
    *fd = -1;
    return value;
}

#endif
