/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/own.h"
#include "base/text.h"
#include "bootfix/files_cache.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

/* Knows /file, /link and /folder; "/broken" fails; counts what it is asked. */
struct counter {
    struct files files;
    int asked;
};

static int count_read(struct files *files, const char *path, size_t limit_bytes, char **data,
                      size_t *length, struct error *err)
{
    (void)limit_bytes;
    (void)err;
    ((struct counter *)files)->asked++;
    *data = text_copy(path);
    *length = strlen(path);
    return 1;
}

static int count_list(struct files *files, const char *folder, char ***names, struct error *err)
{
    (void)err;
    ((struct counter *)files)->asked++;
    if (strcmp(folder, "/folder") != 0)
        return 0;
    *names = memory_new(3, sizeof(**names));
    (*names)[0] = text_copy("a");
    (*names)[1] = text_copy("b");
    return 1;
}

static int count_stat(struct files *files, const char *path, struct files_stat *stat,
                      struct error *err)
{
    ((struct counter *)files)->asked++;
    if (strcmp(path, "/broken") == 0)
        return error_set(err, EIO, "stat");
    stat->mode = strcmp(path, "/folder") == 0 ? S_IFDIR : S_IFREG;
    stat->size_bytes = 7;
    return strcmp(path, "/absent") != 0;
}

static int count_readlink(struct files *files, const char *path, char **target, struct error *err)
{
    (void)err;
    ((struct counter *)files)->asked++;
    if (strcmp(path, "/link") != 0)
        return 0;
    *target = text_copy("file");
    return 1;
}

static const struct files_ops counter_ops = {count_read, count_list, count_stat, count_readlink};

static void test_questions_are_asked_once(void **state)
{
    (void)state;
    struct counter counter = {.files.ops = &counter_ops};
    struct files_cache *cache = files_cache_new(&counter.files);
    struct files *files = files_cache_files(cache);
    struct error err = {0};
    struct files_stat stat;
    for (int i = 0; i < 3; i++) {
        AUTO_FREE char *target = NULL;
        char **names = NULL;
        assert_int_equal(files_stat(files, "/file", &stat, &err), 1);
        assert_int_equal(stat.size_bytes, 7);
        assert_int_equal(files_stat(files, "/absent", &stat, &err), 0);
        assert_int_equal(files_readlink(files, "/link", &target, &err), 1);
        assert_string_equal(target, "file");
        AUTO_FREE char *none = NULL;
        assert_int_equal(files_readlink(files, "/file", &none, &err), 0);
        assert_int_equal(files_list(files, "/folder", &names, &err), 1);
        assert_string_equal(names[1], "b");
        assert_null(names[2]);
        files_free_names(names);
        assert_int_equal(files_list(files, "/file", &names, &err), 0);
    }
    assert_int_equal(counter.asked, 6);
    files_cache_free(cache);
}

static void test_errors_are_asked_again(void **state)
{
    (void)state;
    struct counter counter = {.files.ops = &counter_ops};
    struct files_cache *cache = files_cache_new(&counter.files);
    struct error err = {0};
    struct files_stat stat;
    assert_int_equal(files_stat(files_cache_files(cache), "/broken", &stat, &err), -1);
    assert_int_equal(files_stat(files_cache_files(cache), "/broken", &stat, &err), -1);
    assert_int_equal(counter.asked, 2);
    files_cache_free(cache);
}

static void test_what_is_known_to_be_no_file_is_not_read(void **state)
{
    (void)state;
    struct counter counter = {.files.ops = &counter_ops};
    struct files_cache *cache = files_cache_new(&counter.files);
    struct files *files = files_cache_files(cache);
    struct error err = {0};
    struct files_stat stat;
    AUTO_FREE char *data = NULL;
    size_t length;
    files_stat(files, "/absent", &stat, &err);
    files_stat(files, "/folder", &stat, &err);
    assert_int_equal(files_read(files, "/absent", 100, &data, &length, &err), 0);
    assert_int_equal(files_read(files, "/folder", 100, &data, &length, &err), 0);
    assert_int_equal(counter.asked, 2);
    assert_int_equal(files_read(files, "/other", 100, &data, &length, &err), 1);
    assert_int_equal(counter.asked, 3);
    files_cache_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_questions_are_asked_once),
        cmocka_unit_test(test_errors_are_asked_again),
        cmocka_unit_test(test_what_is_known_to_be_no_file_is_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
