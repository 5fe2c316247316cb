/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The queue runs every machine once, a few at a time, and tells what became of it. A shell script
 * stands in for `rehost finish`; the last part of its folder says how it is to behave.
 */
#include "base/clock.h"
#include "base/io.h"
#include "base/text.h"
#include "p2v/machine.h"
#include "p2v/server/jobs.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const char script[] =
    "#!/bin/sh\n"
    "for folder; do :; done\n"
    "name=${folder##*/}\n"
    "echo \"$name $*\" >> \"${folder%/*}/runs\"\n"
    "case $name in\n"
    "good*) echo '{\"stage\": \"fixing\", \"text\": \"Debian 12\"}' >&2\n"
    "    echo '{\"stage\":\"testing\"}' >&2; echo '{\"stage\":\"dancing\"}' >&2\n"
    "    echo 'tested   booted to login in 3 s'; echo \"$folder: the machine\" ;;\n"
    "warn*) echo 'rehost: warning: 512 bytes unreadable' >&2; echo 'tested   well'; exit 3 ;;\n"
    "lost*) echo 'missing  2 unreadable ranges'; echo 'tested   well'\n"
    "    echo 'rehost: the source: what it hit' >&2; exit 3 ;;\n"
    "bad*) echo 'rehost: one' >&2; printf 'rehost: finish: two\\033[1m' >&2; exit 1 ;;\n"
    "gated*) while [ ! -e \"${folder%/*}/gate\" ]; do sleep 0.01; done ;;\n"
    "long*) head -c 100000 /dev/zero | tr '\\0' x; exit 4 ;;\n"
    "dies*) kill -9 $$ ;;\n"
    "slow*) trap 'exit 130' TERM; echo begun > \"$folder.begun\"; sleep 9 & wait ;;\n"
    "holds*) sleep 9 & exit 0 ;;\n"
    "esac\n";

#define MAX_TOLD 64

struct place {
    char folder[64];
    char *program;
    int fd;
    pthread_mutex_t lock;
    struct told {
        char machine[64], text[256];
        int code; /* -1: a stage */
        enum wire_stage stage;
    } told[MAX_TOLD];
    size_t count, results;
    struct jobs *jobs;
    unsigned adds_again; /* from the result itself */
};

static int start(void **state)
{
    struct place *place = memory_new(1, sizeof(*place));
    pthread_mutex_init(&place->lock, NULL);
    snprintf(place->folder, sizeof(place->folder), "/tmp/rehost-test.XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    place->fd = open(place->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    place->program = path_join(place->folder, "program");
    assert_int_equal(io_replace_file(place->fd, "program", script, sizeof(script) - 1, 0755, NULL),
                     0);
    *state = place;
    return 0;
}

static int stop(void **state)
{
    struct place *place = *state;
    close(place->fd);
    int result = folder_remove(AT_FDCWD, place->folder, NULL);
    free(place->program);
    free(place);
    return result;
}

static struct told *add_told(struct place *place, const char *machine, const char *text)
{
    struct told *told = &place->told[place->count];
    assert_true(place->count++ < MAX_TOLD);
    snprintf(told->machine, sizeof(told->machine), "%s", machine);
    snprintf(told->text, sizeof(told->text), "%s", text);
    return told;
}

static void on_stage(void *context, const char *machine, enum wire_stage stage, const char *text)
{
    struct place *place = context;
    pthread_mutex_lock(&place->lock);
    struct told *told = add_told(place, machine, text);
    told->code = -1;
    told->stage = stage;
    pthread_mutex_unlock(&place->lock);
}

static void on_result(void *context, const char *machine, int exit_code, const char *text)
{
    struct place *place = context;
    pthread_mutex_lock(&place->lock);
    add_told(place, machine, text)->code = exit_code;
    bool adds = place->adds_again > 0;
    place->adds_again -= adds;
    place->results++;
    pthread_mutex_unlock(&place->lock);
    if (adds)
        assert_int_equal(jobs_add(place->jobs, machine, NULL), 0);
}

static void begin(struct place *place, unsigned parallel)
{
    static const char *const extra[] = {"--no-boot-test", NULL};
    struct jobs_options options = {.pool = place->folder,
                                   .parallel = parallel,
                                   .extra = extra,
                                   .program = place->program,
                                   .log_folder_fd = place->fd,
                                   .stage = on_stage,
                                   .result = on_result,
                                   .context = place};
    place->jobs = jobs_start(&options, NULL);
    assert_non_null(place->jobs);
}

static void wait_for(struct place *place, size_t results)
{
    for (int i = 0; i < 1000; i++) {
        pthread_mutex_lock(&place->lock);
        bool is_there = place->results >= results;
        pthread_mutex_unlock(&place->lock);
        if (is_there)
            return;
        usleep(10000);
    }
    fail_msg("%zu results did not come in time", results);
}

/* The machine's result; fails when there is not exactly one. */
static const struct told *result_of(const struct place *place, const char *machine)
{
    const struct told *found = NULL;
    for (size_t i = 0; i < place->count; i++) {
        if (place->told[i].code < 0 || strcmp(place->told[i].machine, machine) != 0)
            continue;
        assert_null(found);
        found = &place->told[i];
    }
    assert_non_null(found);
    return found;
}

static char *read_text(struct place *place, const char *name)
{
    char *text = NULL;
    size_t length;
    assert_int_equal(io_read_file(place->fd, name, 1 << 20, &text, &length, NULL), 0);
    return text;
}

static void test_a_job_tells_its_stages_and_its_result(void **state)
{
    struct place *place = *state;
    begin(place, 1);
    jobs_add(place->jobs, "good1", NULL);
    wait_for(place, 1);
    jobs_stop(place->jobs);
    assert_int_equal(place->count, 3);
    assert_int_equal(place->told[0].stage, WIRE_STAGE_FIXING);
    assert_string_equal(place->told[0].text, "Debian 12");
    assert_int_equal(place->told[1].stage, WIRE_STAGE_TESTING);
    assert_int_equal(result_of(place, "good1")->code, 0);
    assert_string_equal(result_of(place, "good1")->text, "booted to login in 3 s");
    AUTO_FREE char *runs = read_text(place, "runs");
    AUTO_FREE char *wanted =
        text_format("good1 finish --stages --no-boot-test -- %s/good1\n", place->folder);
    assert_string_equal(runs, wanted);
    AUTO_FREE char *log = read_text(place, "good1.log");
    assert_non_null(strstr(log, "the machine\n"));
    assert_non_null(strstr(log, "exit code 0"));
    assert_null(strstr(log, "fixing"));
}

static void test_the_last_message_is_the_reason_of_a_failure(void **state)
{
    struct place *place = *state;
    begin(place, 3);
    jobs_add(place->jobs, "bad", NULL);
    jobs_add(place->jobs, "warn", NULL);
    jobs_add(place->jobs, "long", NULL);
    jobs_add(place->jobs, "dies", NULL);
    jobs_add(place->jobs, "lost", NULL);
    wait_for(place, 5);
    jobs_stop(place->jobs);
    assert_int_equal(result_of(place, "bad")->code, 1);
    assert_string_equal(result_of(place, "bad")->text, "finish: two\\x1b[1m");
    assert_int_equal(result_of(place, "warn")->code, 3);
    assert_string_equal(result_of(place, "warn")->text, "warning: 512 bytes unreadable");
    assert_int_equal(result_of(place, "lost")->code, 3);
    assert_string_equal(result_of(place, "lost")->text,
                        "converted, with 2 unreadable ranges; well");
    assert_int_equal(result_of(place, "long")->code, 4);
    assert_int_equal(result_of(place, "dies")->code, 1);
    assert_non_null(strstr(result_of(place, "dies")->text, "killed by signal 9"));
}

static void test_a_program_that_is_not_there_is_a_failure(void **state)
{
    struct place *place = *state;
    unlink(place->program);
    begin(place, 1);
    jobs_add(place->jobs, "good", NULL);
    wait_for(place, 1);
    jobs_stop(place->jobs);
    assert_int_equal(result_of(place, "good")->code, 1);
    assert_non_null(strstr(result_of(place, "good")->text, "No such file"));
}

static void test_many_machines_are_each_run_once(void **state)
{
    struct place *place = *state;
    char name[32];
    begin(place, 3);
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof(name), "gated%d", i);
        jobs_add(place->jobs, name, NULL);
        jobs_add(place->jobs, name, NULL);
    }
    /* None ends before all were added twice: one that has ended would rightly run again. */
    assert_int_equal(io_replace_file(place->fd, "gate", "", 0, 0600, NULL), 0);
    wait_for(place, 10);
    jobs_stop(place->jobs);
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof(name), "gated%d", i);
        assert_int_equal(result_of(place, name)->code, 0);
    }
}

static void test_a_machine_may_be_added_again_from_its_result(void **state)
{
    struct place *place = *state;
    begin(place, 1);
    place->adds_again = 2;
    jobs_add(place->jobs, "warn", NULL);
    wait_for(place, 3);
    jobs_stop(place->jobs);
    assert_int_equal(place->results, 3);
}

static void test_names_that_are_paths_are_refused(void **state)
{
    struct place *place = *state;
    begin(place, 1);
    assert_int_equal(jobs_add(place->jobs, "../x", NULL), -1);
    assert_int_equal(jobs_add(place->jobs, "", NULL), -1);
    assert_int_equal(jobs_add(place->jobs, "a/b", NULL), -1);
    jobs_stop(place->jobs);
    assert_int_equal(place->count, 0);
}

static void test_what_a_stop_interrupts_has_no_result(void **state)
{
    struct place *place = *state;
    begin(place, 1);
    jobs_add(place->jobs, "slow", NULL);
    jobs_add(place->jobs, "good", NULL);
    for (int i = 0; i < 500 && !folder_has(place->fd, "slow.begun"); i++)
        usleep(10000);
    assert_true(folder_has(place->fd, "slow.begun"));
    int64_t before = clock_ms();
    jobs_stop(place->jobs);
    assert_true(clock_ms() - before < 5000);
    assert_int_equal(place->results, 0);
}

static void test_a_child_of_the_child_does_not_hold_the_job_up(void **state)
{
    struct place *place = *state;
    begin(place, 1);
    int64_t before = clock_ms();
    jobs_add(place->jobs, "holds", NULL);
    wait_for(place, 1);
    assert_true(clock_ms() - before < 5000);
    jobs_stop(place->jobs);
    assert_int_equal(result_of(place, "holds")->code, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_job_tells_its_stages_and_its_result, start, stop),
        cmocka_unit_test_setup_teardown(test_the_last_message_is_the_reason_of_a_failure, start,
                                        stop),
        cmocka_unit_test_setup_teardown(test_a_program_that_is_not_there_is_a_failure, start, stop),
        cmocka_unit_test_setup_teardown(test_many_machines_are_each_run_once, start, stop),
        cmocka_unit_test_setup_teardown(test_a_machine_may_be_added_again_from_its_result, start,
                                        stop),
        cmocka_unit_test_setup_teardown(test_names_that_are_paths_are_refused, start, stop),
        cmocka_unit_test_setup_teardown(test_what_a_stop_interrupts_has_no_result, start, stop),
        cmocka_unit_test_setup_teardown(test_a_child_of_the_child_does_not_hold_the_job_up, start,
                                        stop),
    };
    return cmocka_run_group_tests_name("jobs", tests, NULL, NULL);
}
