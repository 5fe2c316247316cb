/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The reactor: who is called, who is not any more, and how it ends.
 */
#include "hypervisor/loop.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

struct bell {
    struct loop *loop;
    struct loop_watch watch;
    struct bell *other; /* removed when this one rings */
    unsigned rings, until;
};

static void on_ring(void *context, uint32_t events)
{
    struct bell *bell = context;
    uint64_t count;
    assert_true(events & EPOLLIN);
    assert_int_equal(read(bell->watch.fd, &count, sizeof(count)), sizeof(count));
    bell->rings++;
    if (bell->other)
        loop_remove(bell->loop, &bell->other->watch);
    if (bell->rings == bell->until)
        loop_stop(bell->loop);
}

static void ring(const struct bell *bell)
{
    assert_int_equal(write(bell->watch.fd, &(uint64_t){1}, sizeof(uint64_t)), sizeof(uint64_t));
}

static void hang(struct bell *bell, struct loop *loop)
{
    *bell = (struct bell){.loop = loop, .watch = {on_ring, bell, eventfd(0, EFD_NONBLOCK)}};
    assert_int_equal(loop_add(loop, &bell->watch, EPOLLIN, NULL), 0);
}

static void *ring_twice(void *context)
{
    struct bell *bell = context;
    for (int i = 0; i < 2; i++) {
        ring(bell);
        usleep(20000);
    }
    return NULL;
}

static void a_watch_is_called_for_what_another_thread_does(void **state)
{
    struct loop *loop = loop_new(NULL);
    struct bell bell;
    pthread_t thread;
    (void)state;
    hang(&bell, loop);
    bell.until = 2;
    pthread_create(&thread, NULL, ring_twice, &bell);
    assert_int_equal(loop_run(loop, NULL), 0);
    pthread_join(thread, NULL);
    assert_int_equal(bell.rings, 2);
    loop_free(loop);
    close(bell.watch.fd);
}

static void a_watch_that_was_removed_in_the_same_batch_is_not_called(void **state)
{
    struct loop *loop = loop_new(NULL);
    struct bell a, b;
    (void)state;
    hang(&a, loop);
    hang(&b, loop);
    a.other = &b;
    b.other = &a;
    a.until = b.until = 1;
    ring(&a);
    ring(&b);
    assert_int_equal(loop_run(loop, NULL), 0);
    assert_int_equal(a.rings + b.rings, 1);
    loop_free(loop);
    close(a.watch.fd);
    close(b.watch.fd);
}

static void *stop_soon(void *context)
{
    usleep(50000);
    loop_stop(context);
    return NULL;
}

static void a_silenced_watch_is_not_called(void **state)
{
    struct loop *loop = loop_new(NULL);
    struct bell bell;
    pthread_t thread;
    (void)state;
    hang(&bell, loop);
    assert_int_equal(loop_change(loop, &bell.watch, 0, NULL), 0);
    ring(&bell);
    pthread_create(&thread, NULL, stop_soon, loop);
    assert_int_equal(loop_run(loop, NULL), 0);
    pthread_join(thread, NULL);
    assert_int_equal(bell.rings, 0);
    loop_free(loop);
    close(bell.watch.fd);
}

static void a_loop_that_was_stopped_before_it_ran_does_not_run(void **state)
{
    struct loop *loop = loop_new(NULL);
    struct bell bell;
    (void)state;
    hang(&bell, loop);
    ring(&bell);
    loop_stop(loop);
    assert_int_equal(loop_run(loop, NULL), 0);
    assert_int_equal(bell.rings, 0);
    loop_free(loop);
    close(bell.watch.fd);
}

static void a_descriptor_that_cannot_be_waited_for_is_an_error(void **state)
{
    struct loop *loop = loop_new(NULL);
    struct loop_watch watch = {on_ring, NULL, -1};
    struct error err;
    (void)state;
    assert_int_equal(loop_add(loop, &watch, EPOLLIN, &err), -1);
    assert_int_equal(err.errnum, EBADF);
    loop_free(loop);
    loop_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_watch_is_called_for_what_another_thread_does),
        cmocka_unit_test(a_watch_that_was_removed_in_the_same_batch_is_not_called),
        cmocka_unit_test(a_silenced_watch_is_not_called),
        cmocka_unit_test(a_loop_that_was_stopped_before_it_ran_does_not_run),
        cmocka_unit_test(a_descriptor_that_cannot_be_waited_for_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
