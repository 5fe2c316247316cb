/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The server with agents that keep the rules: whole machines, resumes, restarts.
 */
#include "tests/unit/p2v/server_agent.h"

#include <signal.h>
#include <sys/wait.h>

#define DISK_SIZE ((size_t)40 * CHUNK_SIZE - 1536)

static uint8_t content[DISK_SIZE];

static void test_server_receives_a_machine_of_two_disks(void **state)
{
    struct stage *stage = *state;
    struct agent agent;
    struct disk_run first = {.disk = 0, .content = content, .size = DISK_SIZE}, second = first;
    AUTO_FREE uint8_t *other = malloc(DISK_SIZE);
    make_disk(content, DISK_SIZE, 0);
    make_disk(other, DISK_SIZE, 5);
    second.disk = 1;
    second.content = other;
    agent_init(&agent, stage);
    agent_enter(&agent);
    agent_announce(&agent, "", 2, DISK_SIZE);
    assert_string_equal(agent.machine, "web01");
    send_disk(&agent, &first);
    send_disk(&agent, &second);
    agent_finish(&agent);
    expect_image(stage, "web01.partial", 0, content, DISK_SIZE);
    expect_image(stage, "web01.partial", 1, other, DISK_SIZE);
    assert_true(pool_has(stage, "web01.partial/received.json"));
    assert_true(pool_has(stage, "web01.partial/inventory.json"));
    assert_true(pool_has(stage, "web01.partial/disk1.manifest"));
    agent_fini(&agent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_server_receives_a_machine_of_two_disks, stage_set_up,
                                        stage_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
