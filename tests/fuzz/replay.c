/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Runs a fuzz harness over files and folders given as arguments: how `make check` replays each
 * corpus, with sanitizers and without libFuzzer. Says how many inputs it ran; none is a failure.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned inputs_run;

static int run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return 1;
    }
    struct stat stat;
    if (fstat(fileno(file), &stat) != 0) {
        perror(path);
        fclose(file);
        return 1;
    }
    size_t size = (size_t)stat.st_size;
    /* exactly as large as the input, so that a sanitizer sees the first byte read behind it */
    uint8_t *data = malloc(size ? size : 1);
    int failed = !data || fread(data, 1, size, file) != size;
    fclose(file);
    if (failed) {
        fprintf(stderr, "%s: could not be read\n", path);
    } else {
        LLVMFuzzerTestOneInput(data, size);
        inputs_run++;
    }
    free(data);
    return failed;
}

static int run_path(const char *path)
{
    DIR *folder = opendir(path);
    if (!folder)
        return run_file(path);
    int failed = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] == '.')
            continue;
        char name[4096];
        snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        failed |= run_file(name);
    }
    closedir(folder);
    return failed;
}

int main(int argc, char **argv)
{
    int failed = 0;
    for (int i = 1; i < argc; i++)
        failed |= run_path(argv[i]);
    printf("%u inputs\n", inputs_run);
    return failed || inputs_run == 0;
}
