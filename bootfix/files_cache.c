/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A hash table of answers, one per question and path; errors are not remembered.
 */
#include "bootfix/files_cache.h"

#include "base/own.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define BUCKETS 1024

enum question { ASK_STAT, ASK_LINK, ASK_LIST };

struct answer {
    struct answer *next;
    enum question question;
    char *path;
    int found; /* 0 or 1 */
    struct files_stat stat;
    char *target;
    char **names;
};

struct files_cache {
    struct files files;
    struct files *below;
    struct answer *buckets[BUCKETS];
    size_t count;
};

static struct files_cache *from_files(struct files *files)
{
    return (struct files_cache *)((char *)files - offsetof(struct files_cache, files));
}

static struct answer **bucket_of(struct files_cache *cache, const char *path)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (const char *c = path; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    return &cache->buckets[hash % BUCKETS];
}

static struct answer *find(struct files_cache *cache, enum question question, const char *path)
{
    struct answer *answer = *bucket_of(cache, path);
    while (answer && (answer->question != question || strcmp(answer->path, path) != 0))
        answer = answer->next;
    return answer;
}

/* Takes what the answer holds. */
static void keep(struct files_cache *cache, const struct answer *given, const char *path)
{
    struct answer **bucket = bucket_of(cache, path);
    struct answer *answer = memory_new(1, sizeof(*answer));
    *answer = *given;
    answer->path = text_copy(path);
    answer->next = *bucket;
    *bucket = answer;
    cache->count++;
}

static char **copy_names(char *const *names)
{
    size_t count = 0;
    while (names[count])
        count++;
    char **copy = memory_new(count + 1, sizeof(*copy));
    for (size_t i = 0; i < count; i++)
        copy[i] = text_copy(names[i]);
    return copy;
}

static int cached_stat(struct files *files, const char *path, struct files_stat *stat,
                       struct error *err)
{
    struct files_cache *cache = from_files(files);
    const struct answer *known = find(cache, ASK_STAT, path);
    if (known) {
        *stat = known->stat;
        return known->found;
    }
    int found = files_stat(cache->below, path, stat, err);
    if (found >= 0 && cache->count < FILES_CACHE_MAX)
        keep(cache, &(struct answer){.question = ASK_STAT, .found = found, .stat = *stat}, path);
    return found;
}

static int cached_readlink(struct files *files, const char *path, char **target, struct error *err)
{
    struct files_cache *cache = from_files(files);
    const struct answer *known = find(cache, ASK_LINK, path);
    if (known) {
        *target = known->found ? text_copy(known->target) : NULL;
        return known->found;
    }
    int found = files_readlink(cache->below, path, target, err);
    if (found >= 0 && cache->count < FILES_CACHE_MAX)
        keep(cache,
             &(struct answer){
                 .question = ASK_LINK, .found = found, .target = found ? text_copy(*target) : NULL},
             path);
    return found;
}

static int cached_list(struct files *files, const char *folder, char ***names, struct error *err)
{
    struct files_cache *cache = from_files(files);
    const struct answer *known = find(cache, ASK_LIST, folder);
    if (known) {
        *names = known->found ? copy_names(known->names) : NULL;
        return known->found;
    }
    int found = files_list(cache->below, folder, names, err);
    if (found >= 0 && cache->count < FILES_CACHE_MAX)
        keep(cache,
             &(struct answer){
                 .question = ASK_LIST, .found = found, .names = found ? copy_names(*names) : NULL},
             folder);
    return found;
}

/* What is known not to be a file need not be asked for. */
static int cached_read(struct files *files, const char *path, size_t limit_bytes, char **data,
                       size_t *length, struct error *err)
{
    struct files_cache *cache = from_files(files);
    const struct answer *known = find(cache, ASK_STAT, path);
    if (known && (!known->found || !S_ISREG(known->stat.mode)))
        return 0;
    return files_read(cache->below, path, limit_bytes, data, length, err);
}

static const struct files_ops cache_ops = {
    .read = cached_read,
    .list = cached_list,
    .stat = cached_stat,
    .readlink = cached_readlink,
};

struct files_cache *files_cache_new(struct files *below)
{
    struct files_cache *cache = memory_new(1, sizeof(*cache));
    cache->files.ops = &cache_ops;
    cache->below = below;
    return cache;
}

static void free_answers(struct answer *answer)
{
    while (answer) {
        struct answer *next = answer->next;
        free(answer->path);
        free(answer->target);
        files_free_names(answer->names);
        free(answer);
        answer = next;
    }
}

void files_cache_free(struct files_cache *cache)
{
    if (!cache)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        free_answers(cache->buckets[i]);
    free(cache);
}

struct files *files_cache_files(struct files_cache *cache)
{
    return &cache->files;
}
