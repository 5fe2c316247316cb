/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Reading a manifest without keeping its chunks.
 */
#include "tests/unit/formats/manifest_fixture.h"

/* What a visit tells of the small manifest, a letter a call: number and state, N for names. */
struct visit {
    char told[64];
    uint64_t size_bytes;
    bool is_refusing;
};

static int begin_visit(void *context, const struct manifest *manifest, struct error *err)
{
    struct visit *visit = context;

    visit->size_bytes = manifest->size_bytes;
    return visit->is_refusing ? error_set(err, EINVAL, "%s is refused", manifest->image) : 0;
}

static void tell(struct visit *visit, uint64_t first, uint64_t count, char what)
{
    size_t length = strlen(visit->told);

    snprintf(visit->told + length, sizeof(visit->told) - length, "%u+%u%c ", (unsigned)first,
             (unsigned)count, what);
}

static int visit_run(void *context, uint64_t first, uint64_t count, enum chunk_state state,
                     struct error *err)
{
    (void)err;
    tell(context, first, count, (char)('0' + state));
    return 0;
}

static int visit_names(void *context, uint64_t first, size_t count, const struct chunk_name *names,
                       struct error *err)
{
    (void)err;
    assert_name(&names[0], first == 1 ? "one" : "other");
    tell(context, first, count, 'N');
    return 0;
}

static int visit_change(void *context, const struct manifest_change *change, uint64_t count,
                        struct error *err)
{
    (void)err;
    assert_name(&change->name, "five");
    tell(context, change->index, count, 'C');
    return 0;
}

static void write_small_with_change(void)
{
    AUTO(manifest) manifest;
    struct chunk_name other = name_of("other");

    make_small(&manifest);
    assert_int_equal(manifest_change(&manifest, 5, CHUNK_DATA, &other, NULL), 0);
    assert_int_equal(manifest_write(&manifest, folder_fd, "disk0.manifest", NULL), 0);
}

static void test_manifest_visit_tells_all_in_order_and_keeps_no_chunk(void **state)
{
    struct visit visit = {.size_bytes = 0};
    const struct manifest_visitor visitor = {begin_visit, visit_run, visit_names, visit_change,
                                             &visit};
    AUTO(manifest) manifest = {0};

    (void)state;
    write_small_with_change();
    assert_int_equal(manifest_visit(&manifest, &visitor, folder_fd, "disk0.manifest", NULL), 0);
    assert_string_equal(visit.told, "0+10 1+2N 3+11 4+13 5+1N 6+50 5+1C ");
    assert_int_equal(visit.size_bytes, 10 * CHUNK_SIZE + 1);
    assert_string_equal(manifest.image, "disk0.qcow2");
    assert_int_equal(manifest_state(&manifest, 1), CHUNK_SKIPPED);
    assert_null(manifest.changes);
}

static void test_manifest_visit_ends_where_it_is_refused_or_damaged(void **state)
{
    struct visit visit = {.is_refusing = true};
    const struct manifest_visitor visitor = {begin_visit, visit_run, visit_names, visit_change,
                                             &visit};
    AUTO(manifest) manifest = {0};
    struct error err = {0};

    (void)state;
    write_small_with_change();
    assert_int_equal(manifest_visit(&manifest, &visitor, folder_fd, "disk0.manifest", &err), -1);
    assert_non_null(strstr(err.text, "disk0.qcow2 is refused"));
    assert_string_equal(visit.told, "");
    int fd = openat(folder_fd, "disk0.manifest", O_WRONLY);
    assert_int_equal(pwrite(fd, "S", 1, HEADER + 12), 1); /* in the source's name */
    close(fd);
    visit.is_refusing = false;
    assert_int_equal(manifest_visit(&manifest, &visitor, folder_fd, "disk0.manifest", &err), -1);
    assert_non_null(strstr(err.text, "damaged"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_manifest_visit_tells_all_in_order_and_keeps_no_chunk),
        cmocka_unit_test(test_manifest_visit_ends_where_it_is_refused_or_damaged),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
