/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A sick machine, for tests: compiled as a shared object and preloaded into the program under test.
 *
 *     FAULT_READ="sda.img 1048576:512 2097152:4096"   these ranges of that file cannot be read
 * (EIO) FAULT_GONE="sda.img /path/flag"                  no byte of it can, once the flag file
 * exists (ENXIO, as a disk that was pulled out) FAULT_CLOCK=86400 the clock began there, and runs
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static bool is_file(int fd, const char *name, size_t length)
{
    char link[64], path[4096];

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t got = readlink(link, path, sizeof(path));
    return got >= (ssize_t)length && memcmp(path + got - length, name, length) == 0;
}

/* The errno that reading there ends with; 0: none. */
static int fault_at(int fd, uint64_t offset, size_t length)
{
    const char *gone = getenv("FAULT_GONE"), *bad = getenv("FAULT_READ");

    if (gone && is_file(fd, gone, strcspn(gone, " ")) &&
        access(gone + strcspn(gone, " ") + 1, F_OK) == 0)
        return ENXIO;
    if (!bad || !is_file(fd, bad, strcspn(bad, " ")))
        return 0;
    for (const char *item = strchr(bad, ' '); item; item = strchr(item + 1, ' ')) {
        uint64_t start = 0, size = 0;

        sscanf(item, "%" SCNu64 ":%" SCNu64, &start, &size);
        if (offset < start + size && start < offset + length)
            return EIO;
    }
    return 0;
}

ssize_t pread64(int fd, void *buffer, size_t length, off64_t offset)
{
    ssize_t (*real)(int, void *, size_t, off64_t) =
        (ssize_t(*)(int, void *, size_t, off64_t))dlsym(RTLD_NEXT, "pread64");
    int fault = fault_at(fd, (uint64_t)offset, length);

    if (fault != 0) {
        errno = fault;
        return -1;
    }
    return real(fd, buffer, length, offset);
}

ssize_t pread(int fd, void *buffer, size_t length, off_t offset)
{
    return pread64(fd, buffer, length, offset);
}

ssize_t __pread64_chk(int fd, void *buffer, size_t length, off64_t offset, size_t room);
ssize_t __pread64_chk(int fd, void *buffer, size_t length, off64_t offset, size_t room)
{
    (void)room;
    return pread64(fd, buffer, length, offset);
}

/* --- the clock ------------------------------------------------------------------------------- */

static time_t shift(time_t now)
{
    static time_t started;
    const char *epoch = getenv("FAULT_CLOCK");

    if (!epoch)
        return now;
    if (started == 0)
        started = now;
    return (time_t)atoll(epoch) + (now - started);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int (*real)(clockid_t, struct timespec *) =
        (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);

    if (result == 0 && clock == CLOCK_REALTIME)
        now->tv_sec = shift(now->tv_sec);
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec exact;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *place)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (place)
        *place = now.tv_sec;
    return now.tv_sec;
}
