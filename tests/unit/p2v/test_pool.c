/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The pool's folder: made once, one server at a time, private where it has to be.
 */
#include "base/own.h"
#include "base/text.h"
#include "p2v/machine.h"
#include "p2v/server/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
    char folder[64];
    char *pool;
};

static int start(void **state)
{
    struct place *place = memory_new(1, sizeof(*place));
    snprintf(place->folder, sizeof(place->folder), "/tmp/rehost-test.XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    place->pool = path_join(place->folder, "pool");
    *state = place;
    return 0;
}

static int end(void **state)
{
    struct place *place = *state;
    folder_remove(AT_FDCWD, place->folder, NULL);
    free(place->pool);
    free(place);
    return 0;
}

static mode_t mode_of(const char *folder, const char *name)
{
    struct stat stat;
    AUTO_FREE char *path = path_join(folder, name);
    assert_int_equal(lstat(path, &stat), 0);
    return stat.st_mode & 07777;
}

static void test_pool_is_made_by_the_server_with_a_private_part(void **state)
{
    const struct place *place = *state;
    struct pool pool;
    struct error err = {0};
    mode_t old = umask(022);
    assert_int_equal(pool_open(&pool, place->pool, POOL_SERVE, &err), 0);
    umask(old);
    assert_string_equal(pool.path, place->pool);
    assert_true(pool.lock_fd >= 0);
    assert_int_equal(mode_of(place->folder, "pool"), 0755);
    assert_int_equal(mode_of(place->pool, POOL_STATE), 0700);
    assert_int_equal(mode_of(place->pool, POOL_STATE "/lock"), 0600);
    pool_fini(&pool);
    pool_fini(&pool);
    assert_int_equal(pool_open(&pool, place->pool, POOL_USE, &err), 0);
    assert_int_equal(pool.lock_fd, -1);
    pool_fini(&pool);
}

static void test_pool_gives_an_absolute_path_for_a_relative_one(void **state)
{
    const struct place *place = *state;
    struct pool pool;
    struct error err = {0};
    AUTO_CLOSE int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(chdir(place->folder), 0);
    int result = pool_open(&pool, "pool/../pool/", POOL_SERVE, &err);
    assert_int_equal(fchdir(here), 0);
    /* The folder is not there yet when "pool/.." is looked up. */
    assert_int_equal(result, -1);
    assert_int_equal(chdir(place->folder), 0);
    result = pool_open(&pool, "./pool/", POOL_SERVE, &err);
    assert_int_equal(fchdir(here), 0);
    assert_int_equal(result, 0);
    assert_string_equal(pool.path, place->pool);
    pool_fini(&pool);
}

static void test_pool_has_one_server_at_a_time(void **state)
{
    const struct place *place = *state;
    struct pool first, second;
    struct error err = {0};
    assert_int_equal(pool_open(&first, place->pool, POOL_SERVE, &err), 0);
    assert_int_equal(pool_open(&second, place->pool, POOL_SERVE, &err), -1);
    assert_int_equal(err.errnum, EBUSY);
    assert_non_null(strstr(err.text, "another server works on it"));
    assert_int_equal(pool_open(&second, place->pool, POOL_USE, &err), 0);
    pool_fini(&second);
    pool_fini(&first);
    assert_int_equal(pool_open(&second, place->pool, POOL_SERVE, &err), 0);
    pool_fini(&second);
}

static void test_pool_of_a_killed_server_is_free(void **state)
{
    const struct place *place = *state;
    struct pool pool;
    struct error err = {0};
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        if (pool_open(&pool, place->pool, POOL_SERVE, &err) != 0 || write(ready[1], "x", 1) != 1)
            _exit(1);
        pause();
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(pool_open(&pool, place->pool, POOL_SERVE, &err), -1);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    assert_int_equal(pool_open(&pool, place->pool, POOL_SERVE, &err), 0);
    pool_fini(&pool);
    close(ready[0]);
    close(ready[1]);
}

static void test_pool_use_makes_nothing(void **state)
{
    const struct place *place = *state;
    struct pool pool;
    struct error err = {0};
    assert_int_equal(pool_open(&pool, place->pool, POOL_USE, &err), -1);
    assert_int_equal(err.errnum, ENOENT);
    assert_int_equal(access(place->pool, F_OK), -1);
    assert_int_equal(pool_open(&pool, place->folder, POOL_USE, &err), -1);
    assert_int_equal(err.errnum, ENOENT);
    assert_non_null(strstr(err.text, "it is no pool"));
    assert_int_equal(pool_open(&pool, "", POOL_SERVE, &err), -1);
}

static void test_pool_refuses_a_private_part_that_others_can_open(void **state)
{
    const struct place *place = *state;
    struct pool pool;
    struct error err = {0};
    AUTO_FREE char *private = path_join(place->pool, POOL_STATE);
    assert_int_equal(mkdir(place->pool, 0755), 0);
    assert_int_equal(mkdir(private, 0700), 0);
    assert_int_equal(chmod(private, 0750), 0);
    assert_int_equal(pool_open(&pool, place->pool, POOL_SERVE, &err), -1);
    assert_int_equal(err.errnum, EACCES);
    assert_non_null(strstr(err.text, "chmod 700"));
}

static void test_pool_refuses_a_link_for_its_private_part(void **state)
{
    const struct place *place = *state;
    struct pool pool;
    struct error err = {0};
    AUTO_FREE char *private = path_join(place->pool, POOL_STATE);
    assert_int_equal(mkdir(place->pool, 0755), 0);
    assert_int_equal(symlink(place->folder, private), 0);
    assert_int_equal(pool_open(&pool, place->pool, POOL_SERVE, &err), -1);
}

static void test_pool_refuses_a_file(void **state)
{
    const struct place *place = *state;
    struct pool pool;
    struct error err = {0};
    assert_int_equal(close(open(place->pool, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)), 0);
    assert_int_equal(pool_open(&pool, place->pool, POOL_SERVE, &err), -1);
    assert_int_equal(err.errnum, ENOTDIR);
}

static void test_pool_ledger_has_the_disks_number(void **state)
{
    (void)state;
    AUTO_FREE char *name = pool_ledger_name(12);
    assert_string_equal(name, "disk12.ledger");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)
    const struct CMUnitTest tests[] = {
        TEST(test_pool_is_made_by_the_server_with_a_private_part),
        TEST(test_pool_gives_an_absolute_path_for_a_relative_one),
        TEST(test_pool_has_one_server_at_a_time),
        TEST(test_pool_of_a_killed_server_is_free),
        TEST(test_pool_use_makes_nothing),
        TEST(test_pool_refuses_a_private_part_that_others_can_open),
        TEST(test_pool_refuses_a_link_for_its_private_part),
        TEST(test_pool_refuses_a_file),
        cmocka_unit_test(test_pool_ledger_has_the_disks_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
