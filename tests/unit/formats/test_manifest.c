/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The manifest: what is recorded comes back, from memory and from its file.
 */
#include "tests/unit/formats/manifest_fixture.h"

static void test_chunk_name_is_the_sha256_of_the_content(void **state)
{
    static const uint8_t abc[] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
                                  0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
                                  0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
    struct chunk_name name = name_of("abc");

    (void)state;
    assert_memory_equal(name.bytes, abc, sizeof(abc));
}

static void test_manifest_remembers_what_was_recorded(void **state)
{
    AUTO(manifest) manifest;

    (void)state;
    make_small(&manifest);
    assert_small(&manifest);
}

static void test_manifest_forgets_a_name_when_its_chunk_becomes_zero(void **state)
{
    AUTO(manifest) manifest;

    (void)state;
    make_small(&manifest);
    manifest_set(&manifest, 1, CHUNK_ZERO, NULL);
    assert_int_equal(manifest_state(&manifest, 1), CHUNK_ZERO);
    assert_true(bytes_are_zero(manifest_name(&manifest, 1), CHUNK_NAME_SIZE));
}

static void test_manifest_last_chunk_is_as_long_as_the_disk_leaves_it(void **state)
{
    AUTO(manifest) manifest;

    (void)state;
    make_small(&manifest);
    assert_int_equal(manifest_chunk_length(&manifest, 9), CHUNK_SIZE);
    assert_int_equal(manifest_chunk_length(&manifest, 10), 1);
}

static void test_manifest_refuses_an_empty_disk_and_one_above_64_tib(void **state)
{
    struct manifest manifest;
    struct error err = {0};

    (void)state;
    assert_int_equal(manifest_init(&manifest, 0, &err), -1);
    assert_int_equal(manifest_init(&manifest, 64 * TIB + 1, &err), -1);
    assert_non_null(strstr(err.text, "64 TiB"));
    manifest_fini(&manifest);
}

static void test_manifest_of_64_tib_takes_little_memory_until_data_comes(void **state)
{
    AUTO(manifest) manifest;
    struct rusage before, after;

    (void)state;
    getrusage(RUSAGE_SELF, &before);
    assert_int_equal(manifest_init(&manifest, 64 * TIB, NULL), 0);
    manifest_set_run(&manifest, 0, manifest.chunk_count, CHUNK_ZERO);
    set_data(&manifest, manifest.chunk_count - 1, "last");
    getrusage(RUSAGE_SELF, &after);
    assert_int_equal(manifest_state(&manifest, manifest.chunk_count / 2), CHUNK_ZERO);
    assert_name(manifest_name(&manifest, manifest.chunk_count - 1), "last");
    assert_true(after.ru_maxrss - before.ru_maxrss < 32 * 1024);
}

static void test_manifest_run_covers_exactly_its_chunks(void **state)
{
    AUTO(manifest) manifest;
    uint64_t from = MANIFEST_BLOCK_CHUNKS - 2, count = 2 * MANIFEST_BLOCK_CHUNKS + 4;

    (void)state;
    assert_int_equal(manifest_init(&manifest, GIB, NULL), 0);
    set_data(&manifest, from - 1, "before");
    set_data(&manifest, from, "covered");
    set_data(&manifest, from + count, "behind");
    manifest_set_run(&manifest, from, count, CHUNK_UNREADABLE);
    for (uint64_t i = from; i < from + count; i++)
        assert_int_equal(manifest_state(&manifest, i), CHUNK_UNREADABLE);
    assert_name(manifest_name(&manifest, from - 1), "before");
    assert_name(manifest_name(&manifest, from + count), "behind");
}

static void test_manifest_walk_passes_over_where_nothing_was_recorded(void **state)
{
    AUTO(manifest) manifest;
    uint64_t from = 3 * MANIFEST_BLOCK_CHUNKS, end = from + MANIFEST_BLOCK_CHUNKS;

    (void)state;
    assert_int_equal(manifest_init(&manifest, GIB + CHUNK_SIZE, NULL), 0);
    assert_int_equal(manifest_next(&manifest, 0), manifest.chunk_count);
    set_data(&manifest, from + 7, "data");
    assert_int_equal(manifest_next(&manifest, 0), from);
    assert_int_equal(manifest_next(&manifest, from + 7), from + 7);
    assert_int_equal(manifest_next(&manifest, end - 1), end - 1);
    assert_int_equal(manifest_next(&manifest, end), manifest.chunk_count);
    assert_int_equal(manifest_next(&manifest, manifest.chunk_count), manifest.chunk_count);
}

static void test_manifest_change_keeps_the_first_original(void **state)
{
    AUTO(manifest) manifest;
    struct chunk_name first = name_of("first"), second = name_of("second");

    (void)state;
    make_small(&manifest);
    assert_int_equal(manifest_change(&manifest, 5, CHUNK_DATA, &first, NULL), 0);
    assert_int_equal(manifest_change(&manifest, 0, CHUNK_DATA, &first, NULL), 0);
    assert_int_equal(manifest_change(&manifest, 5, CHUNK_DATA, &second, NULL), 0);
    assert_int_equal(manifest.change_count, 2);
    assert_int_equal(manifest.changes[0].index, 0);
    assert_int_equal(manifest.changes[0].state, CHUNK_SKIPPED);
    assert_int_equal(manifest.changes[1].index, 5);
    assert_int_equal(manifest.changes[1].state, CHUNK_DATA);
    assert_name(&manifest.changes[1].name, "five");
    assert_name(manifest_name(&manifest, 5), "second");
}

static void test_manifest_change_back_to_the_original_leaves_the_list(void **state)
{
    AUTO(manifest) manifest;
    struct chunk_name other = name_of("other"), five = name_of("five");

    (void)state;
    make_small(&manifest);
    assert_int_equal(manifest_change(&manifest, 5, CHUNK_DATA, &other, NULL), 0);
    assert_int_equal(manifest_change(&manifest, 5, CHUNK_DATA, &five, NULL), 0);
    assert_int_equal(manifest.change_count, 0);
    assert_small(&manifest);
}

static void test_manifest_change_that_changes_nothing_is_not_listed(void **state)
{
    AUTO(manifest) manifest;
    struct chunk_name five = name_of("five");

    (void)state;
    make_small(&manifest);
    assert_int_equal(manifest_change(&manifest, 5, CHUNK_DATA, &five, NULL), 0);
    assert_int_equal(manifest_change(&manifest, 3, CHUNK_ZERO, NULL, NULL), 0);
    assert_int_equal(manifest.change_count, 0);
}

static void test_manifest_change_outside_the_disk_is_an_error(void **state)
{
    AUTO(manifest) manifest;

    (void)state;
    make_small(&manifest);
    assert_int_equal(manifest_change(&manifest, 11, CHUNK_ZERO, NULL, NULL), -1);
}

static void test_manifest_digest_tells_any_two_contents_apart(void **state)
{
    AUTO(manifest) manifest;
    AUTO(manifest) other;
    struct chunk_name a, b;

    (void)state;
    make_small(&manifest);
    make_small(&other);
    snprintf(other.source, sizeof(other.source), "elsewhere");
    manifest_digest(&manifest, &a);
    manifest_digest(&other, &b);
    assert_memory_equal(&a, &b, sizeof(a));
    manifest_set(&other, 10, CHUNK_ZERO, NULL);
    manifest_digest(&other, &b);
    assert_memory_not_equal(&a, &b, sizeof(a));
    manifest_fini(&other);
    make_small(&other);
    set_data(&other, 5, "FIVE");
    manifest_digest(&other, &b);
    assert_memory_not_equal(&a, &b, sizeof(a));
}

struct recorder {
    pthread_t thread;
    struct manifest *manifest;
    uint64_t first;
};

static void *record(void *argument)
{
    struct recorder *recorder = argument;

    for (uint64_t i = recorder->first; i < recorder->manifest->chunk_count; i += 4)
        set_data(recorder->manifest, i, i % 8 < 4 ? "even" : "odd");
    return NULL;
}

static void test_manifest_is_recorded_by_several_threads_at_once(void **state)
{
    AUTO(manifest) manifest;
    struct recorder recorders[4];

    (void)state;
    assert_int_equal(manifest_init(&manifest, 4 * GIB, NULL), 0);
    manifest_set_run(&manifest, 0, manifest.chunk_count, CHUNK_ZERO);
    for (unsigned i = 0; i < 4; i++) {
        recorders[i] = (struct recorder){.manifest = &manifest, .first = i};
        assert_int_equal(pthread_create(&recorders[i].thread, NULL, record, &recorders[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++)
        pthread_join(recorders[i].thread, NULL);
    for (uint64_t i = 0; i < manifest.chunk_count; i++)
        assert_int_equal(manifest_state(&manifest, i), CHUNK_DATA);
    assert_name(manifest_name(&manifest, 12345), "even");
    assert_name(manifest_name(&manifest, 12349), "odd");
}

static void test_manifest_read_gives_back_what_was_written(void **state)
{
    AUTO(manifest) manifest;
    AUTO(manifest) copy = {0};
    struct chunk_name other = name_of("other");
    struct chunk_name a, b;

    (void)state;
    make_small(&manifest);
    assert_int_equal(manifest_change(&manifest, 5, CHUNK_DATA, &other, NULL), 0);
    assert_int_equal(manifest_write(&manifest, folder_fd, "disk0.manifest", NULL), 0);
    assert_int_equal(manifest_read(&copy, folder_fd, "disk0.manifest", NULL), 0);
    manifest_digest(&manifest, &a);
    manifest_digest(&copy, &b);
    assert_memory_equal(&a, &b, sizeof(a));
    assert_int_equal(copy.change_count, 1);
    assert_name(&copy.changes[0].name, "five");
    set_data(&copy, 5, "five");
    assert_small(&copy);
}

/* Larger than every buffer, runs and names across their edges. */
static void test_manifest_of_many_runs_survives_its_file(void **state)
{
    AUTO(manifest) manifest;
    AUTO(manifest) copy = {0};
    struct chunk_name a, b;

    (void)state;
    assert_int_equal(manifest_init(&manifest, GIB - 5, NULL), 0);
    for (uint64_t i = 0; i < manifest.chunk_count; i++) {
        if (i % 7 < 3)
            set_data(&manifest, i, i % 2 ? "a" : "b");
        else
            manifest_set(&manifest, i, (enum chunk_state)(i % 2), NULL);
    }
    assert_int_equal(manifest_write(&manifest, folder_fd, "disk0.manifest", NULL), 0);
    assert_int_equal(manifest_read(&copy, folder_fd, "disk0.manifest", NULL), 0);
    manifest_digest(&manifest, &a);
    manifest_digest(&copy, &b);
    assert_memory_equal(&a, &b, sizeof(a));
}

static void test_manifest_layout_is_what_the_document_says(void **state)
{
    size_t length;
    AUTO_FREE char *data = written_small(&length);

    (void)state;
    assert_int_equal(length, HEADER + 11 + 10 + 6 * 4 + 3 * 32 + 32);
    assert_memory_equal(data, "REHOSTMF", 8);
    assert_int_equal(load_le32(data + 8), 1);
    assert_int_equal(load_le64(data + 16), length);
    assert_int_equal(load_le64(data + 24), 10 * CHUNK_SIZE + 1);
    assert_memory_equal(data + HEADER, "disk0.qcow2server.img", 21);
    assert_int_equal(load_le32(data + HEADER + 21), 0);                     /* 1 skipped */
    assert_int_equal(load_le32(data + HEADER + 25), UINT32_C(2) << 30 | 1); /* 2 of data */
    assert_name((const struct chunk_name *)(data + HEADER + 29), "one");
}

static void test_manifest_of_1_tib_of_nothing_is_a_few_bytes(void **state)
{
    AUTO(manifest) manifest;
    size_t length;

    (void)state;
    assert_int_equal(manifest_init(&manifest, TIB, NULL), 0);
    AUTO_FREE char *data = written(&manifest, &length);
    assert_int_equal(length, HEADER + 4 + 32);
    assert_int_equal(load_le32(data + HEADER), (1 << 24) - 1); /* one run, skipped */
}

static void test_manifest_write_refuses_an_image_outside_its_folder(void **state)
{
    AUTO(manifest) manifest;
    struct error err = {0};

    (void)state;
    make_small(&manifest);
    snprintf(manifest.image, sizeof(manifest.image), "../disk0.qcow2");
    assert_int_equal(manifest_write(&manifest, folder_fd, "bad.manifest", &err), -1);
    assert_non_null(strstr(err.text, "beside the manifest"));
    assert_int_equal(faccessat(folder_fd, "bad.manifest", F_OK, 0), -1);
}

static void test_manifest_read_of_a_missing_file_says_so(void **state)
{
    struct manifest manifest;
    struct error err = {0};

    (void)state;
    assert_int_equal(manifest_read(&manifest, folder_fd, "none.manifest", &err), -1);
    assert_int_equal(err.errnum, ENOENT);
    manifest_fini(&manifest);
}

static void make_numbered_name(uint64_t index, struct chunk_name *name)
{
    chunk_name_compute(&index, sizeof(index), name);
}

struct numbered {
    const struct manifest *manifest;
    bool is_failing;
};

static int read_numbered_names(void *context, uint64_t first, size_t count,
                               struct chunk_name *names, struct error *err)
{
    if (((const struct numbered *)context)->is_failing)
        return error_set(err, EIO, "names");
    for (size_t i = 0; i < count; i++)
        make_numbered_name(first + i, &names[i]);
    return 0;
}

/* One chunk at a time: the writer joins them. */
static int read_state(void *context, uint64_t index, enum chunk_state *state, uint64_t *length,
                      struct error *err)
{
    (void)err;
    *state = manifest_state(((const struct numbered *)context)->manifest, index);
    *length = 1;
    return 0;
}

static void test_manifest_with_contents_kept_elsewhere_is_written_the_same(void **state)
{
    struct manifest with = {0}, without = {0};
    struct numbered numbered = {&with, false};
    struct manifest_contents contents = {read_state, read_numbered_names, &numbered};
    AUTO_FREE char *expected = NULL, *data = NULL;
    size_t expected_length, length;

    (void)state;
    assert_int_equal(manifest_init(&with, 6000 * (uint64_t)CHUNK_SIZE, NULL), 0);
    assert_int_equal(manifest_init(&without, 6000 * (uint64_t)CHUNK_SIZE, NULL), 0);
    manifest_set_run(&with, 5400, 300, CHUNK_ZERO);
    for (uint64_t i = 3; i < 5500; i += i == 800 ? 200 : 1) {
        struct chunk_name name;

        make_numbered_name(i, &name);
        manifest_set(&with, i, CHUNK_DATA, &name);
    }
    expected = written(&with, &expected_length);
    assert_int_equal(
        manifest_write_contents(&without, &contents, folder_fd, "disk0.manifest", NULL), 0);
    assert_int_equal(io_read_file(folder_fd, "disk0.manifest", 512 * MIB, &data, &length, NULL), 0);
    assert_int_equal(length, expected_length);
    assert_memory_equal(data, expected, length);
    numbered.is_failing = true;
    assert_int_equal(
        manifest_write_contents(&without, &contents, folder_fd, "disk0.manifest", NULL), -1);
    manifest_fini(&with);
    manifest_fini(&without);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_manifest_with_contents_kept_elsewhere_is_written_the_same),
        cmocka_unit_test(test_chunk_name_is_the_sha256_of_the_content),
        cmocka_unit_test(test_manifest_remembers_what_was_recorded),
        cmocka_unit_test(test_manifest_forgets_a_name_when_its_chunk_becomes_zero),
        cmocka_unit_test(test_manifest_last_chunk_is_as_long_as_the_disk_leaves_it),
        cmocka_unit_test(test_manifest_refuses_an_empty_disk_and_one_above_64_tib),
        cmocka_unit_test(test_manifest_of_64_tib_takes_little_memory_until_data_comes),
        cmocka_unit_test(test_manifest_run_covers_exactly_its_chunks),
        cmocka_unit_test(test_manifest_walk_passes_over_where_nothing_was_recorded),
        cmocka_unit_test(test_manifest_change_keeps_the_first_original),
        cmocka_unit_test(test_manifest_change_back_to_the_original_leaves_the_list),
        cmocka_unit_test(test_manifest_change_that_changes_nothing_is_not_listed),
        cmocka_unit_test(test_manifest_change_outside_the_disk_is_an_error),
        cmocka_unit_test(test_manifest_digest_tells_any_two_contents_apart),
        cmocka_unit_test(test_manifest_is_recorded_by_several_threads_at_once),
        cmocka_unit_test(test_manifest_read_gives_back_what_was_written),
        cmocka_unit_test(test_manifest_of_many_runs_survives_its_file),
        cmocka_unit_test(test_manifest_layout_is_what_the_document_says),
        cmocka_unit_test(test_manifest_of_1_tib_of_nothing_is_a_few_bytes),
        cmocka_unit_test(test_manifest_write_refuses_an_image_outside_its_folder),
        cmocka_unit_test(test_manifest_read_of_a_missing_file_says_so),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
