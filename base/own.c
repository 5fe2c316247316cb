/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The clean-up functions behind AUTO_FREE and AUTO_CLOSE.
 */
#include "base/own.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

void own_free(void *pointer_to_pointer)
{
    free(*(void **)pointer_to_pointer);
}

void own_close(const int *fd)
{
    int saved = errno;
    if (*fd >= 0)
        close(*fd);
    errno = saved;
}
