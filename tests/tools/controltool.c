/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 *     controltool SOCKET LINE    sends the line to a machine's control socket, shows the answer
 *
 * Ends with 0 when the answer says that it was done. Small enough for an initramfs.
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (argc != 3 || strlen(argv[1]) >= sizeof address.sun_path)
        return 2;
    memcpy(address.sun_path, argv[1], strlen(argv[1]));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        perror(argv[1]);
        return 1;
    }
    FILE *stream = fdopen(fd, "r+");
    char answer[8192];
    if (!stream || dprintf(fd, "%s\n", argv[2]) < 0 || !fgets(answer, sizeof answer, stream)) {
        fprintf(stderr, "controltool: no answer\n");
        return 1;
    }
    fputs(answer, stdout);
    fclose(stream);
    return strstr(answer, "\"ok\":true") ? 0 : 1;
}
