/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The whole fixer over a guest in memory, with modules that this host's depmod reads: small ELF
 * files that hold nothing but aliases.
 */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/own.h"
#include "base/text.h"
#include "bootfix/fixer.h"
#include "bootfix/initramfs.h"

#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include <cmocka.h>

#define VERSION "6.1.0-50-amd64"
#define FOLDER "/lib/modules/" VERSION
#define INITRD "/boot/initrd.img-" VERSION
#define CONFIG "/etc/initramfs-tools/modules"

/* ELF header, .modinfo, .shstrtab, three section headers. */
static void make_module(struct text *out, const char *modinfo, size_t modinfo_length)
{
    static const char names[16] = "\0.modinfo\0.shst";
    size_t names_at = sizeof(Elf64_Ehdr) + align_up(modinfo_length, 8);
    Elf64_Ehdr header = {
        .e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_REL,
        .e_machine = EM_X86_64,
        .e_version = EV_CURRENT,
        .e_shoff = names_at + sizeof(names),
        .e_ehsize = sizeof(Elf64_Ehdr),
        .e_shentsize = sizeof(Elf64_Shdr),
        .e_shnum = 3,
        .e_shstrndx = 2,
    };
    Elf64_Shdr sections[3] = {
        {0},
        {.sh_name = 1,
         .sh_type = SHT_PROGBITS,
         .sh_offset = sizeof(Elf64_Ehdr),
         .sh_size = modinfo_length},
        {.sh_name = 10, .sh_type = SHT_STRTAB, .sh_offset = names_at, .sh_size = sizeof(names)},
    };
    text_add_bytes(out, &header, sizeof(header));
    text_add_bytes(out, modinfo, modinfo_length);
    while (out->length < names_at)
        text_add_bytes(out, "", 1);
    text_add_bytes(out, names, sizeof(names));
    text_add_bytes(out, sections, sizeof(sections));
}

struct guest {
    struct files_memory *memory;
    struct system system;
    struct system_kernel kernel;
    struct plan plan;
    struct fix_context context;
};

static void add_module(struct guest *guest, const char *path, const char *alias)
{
    AUTO(text) modinfo = {0};
    AUTO(text) module = {0};
    text_addf(&modinfo, "alias=%s", alias);
    make_module(&module, modinfo.data, modinfo.length + 1);
    AUTO_FREE char *whole = text_format(FOLDER "/%s", path);
    if (text_ends_with(path, ".zst")) {
        size_t bound = ZSTD_compressBound(module.length);
        AUTO_FREE char *packed = memory_new(bound, 1);
        size_t length = ZSTD_compress(packed, bound, module.data, module.length, 3);
        files_memory_add(guest->memory, whole, 0644, packed, length);
    } else {
        files_memory_add(guest->memory, whole, 0644, module.data, module.length);
    }
}

static void add_text(struct guest *guest, const char *path, const char *content)
{
    files_memory_add(guest->memory, path, 0644, content, strlen(content));
}

static void add_modules(struct guest *guest)
{
    add_module(guest, "kernel/drivers/virtio/virtio.ko.zst", "virtio");
    add_module(guest, "kernel/drivers/virtio/virtio_pci.ko.zst", "pci:v00001AF4d*sv*sd*bc*sc*i*");
    add_module(guest, "kernel/drivers/block/virtio_blk.ko.zst", "virtio:d00000002v*");
    add_module(guest, "kernel/drivers/net/virtio_net.ko", "virtio:d00000001v*");
    add_text(guest, FOLDER "/modules.dep",
             "kernel/drivers/virtio/virtio.ko.zst:\n"
             "kernel/drivers/virtio/virtio_pci.ko.zst: kernel/drivers/virtio/virtio.ko.zst\n"
             "kernel/drivers/block/virtio_blk.ko.zst: kernel/drivers/virtio/virtio.ko.zst\n"
             "kernel/drivers/net/virtio_net.ko: kernel/drivers/virtio/virtio.ko.zst\n"
             "kernel/drivers/ata/ahci.ko:\n");
    add_text(guest, FOLDER "/modules.builtin", "kernel/drivers/scsi/sd_mod.ko\n");
    add_text(guest, FOLDER "/modules.order", "");
}

static void add_initramfs(struct guest *guest, bool is_initramfs_tools)
{
    AUTO(text) ahci = {0};
    AUTO(text) image = {0};
    static const char modinfo[] = "alias=pci:v*d*sv*sd*bc01sc06i01*";
    struct error err = {0};
    make_module(&ahci, modinfo, sizeof(modinfo));
    struct initramfs_entry entries[] = {
        {.path = (char *)"usr/lib/modules", .is_folder = true},
        {.path = (char *)"usr/lib/modules/" VERSION, .is_folder = true},
        {.path = (char *)"usr/lib/modules/" VERSION "/ahci.ko",
         .data = ahci.data,
         .length = ahci.length},
        {.path = (char *)"scripts/functions", .data = (char *)"#", .length = 1},
    };
    assert_int_equal(initramfs_build_addition(entries, is_initramfs_tools ? 4 : 3, 0,
                                              UNPACK_UNKNOWN, &image, &err),
                     0);
    files_memory_add(guest->memory, INITRD, 0644, image.data, image.length);
}

static int setup(void **state)
{
    struct guest *guest = memory_new(1, sizeof(*guest));
    guest->memory = files_memory_new();
    guest->kernel = (struct system_kernel){
        .version = (char *)VERSION,
        .initramfs = (char *)INITRD,
        .modules = (char *)FOLDER,
        .has_virtio_blk = true,
        .has_virtio_net = true,
        .has_virtio_pci = true,
    };
    guest->system = (struct system){
        .type = (char *)"linux",
        .initramfs = SYSTEM_INITRAMFS_TOOLS,
        .kernels = &guest->kernel,
        .kernel_count = 1,
    };
    plan_init(&guest->plan, files_memory_files(guest->memory));
    guest->context = (struct fix_context){.system = &guest->system, .plan = &guest->plan};
    add_modules(guest);
    add_initramfs(guest, true);
    add_text(guest, CONFIG, "# List of modules\nahci\nvirtio_net\n");
    *state = guest;
    return 0;
}

static int teardown(void **state)
{
    struct guest *guest = *state;
    plan_fini(&guest->plan);
    files_memory_free(guest->memory);
    free(guest);
    return 0;
}

static void plan_guest(struct guest *guest)
{
    struct error err = {0};
    assert_true(fix_initramfs.applies(&guest->system));
    if (fix_initramfs.plan(&guest->context, &err) < 0)
        fail_msg("%s", err.text);
}

static const struct edit *find_edit(const struct guest *guest, const char *path)
{
    for (size_t i = 0; i < guest->plan.edit_count; i++)
        if (strcmp(guest->plan.edits[i].path, path) == 0)
            return &guest->plan.edits[i];
    return NULL;
}

/* The guest as it is after the plan. */
static void apply(struct guest *guest)
{
    for (size_t i = 0; i < guest->plan.edit_count; i++) {
        const struct edit *edit = &guest->plan.edits[i];
        AUTO(text) content = {0};
        if (edit->kind == EDIT_APPEND) {
            AUTO_FREE char *old = NULL;
            size_t length;
            struct error err = {0};
            assert_int_equal(files_read(files_memory_files(guest->memory), edit->path,
                                        INITRAMFS_MAX_BYTES, &old, &length, &err),
                             1);
            text_add_bytes(&content, old, length);
        }
        text_add_bytes(&content, edit->after, edit->after_length);
        files_memory_add(guest->memory, edit->path, 0644, content.data, content.length);
    }
    plan_fini(&guest->plan);
    plan_init(&guest->plan, files_memory_files(guest->memory));
}

struct receiver {
    struct initramfs_receiver receiver;
    struct text names, alias;
};

static int receive(struct initramfs_receiver *receiver, const char *path, const void *data,
                   size_t length, struct error *err)
{
    (void)err;
    struct receiver *seen = (struct receiver *)receiver;
    if (text_ends_with(path, ".ko"))
        text_addf(&seen->names, "%s;", path);
    if (strcmp(path, "modules.alias") == 0)
        text_add_bytes(&seen->alias, data, length);
    return 0;
}

static void extract(struct guest *guest, struct receiver *receiver)
{
    struct initramfs_modules modules;
    struct error err = {0};
    AUTO_FREE char *image = NULL;
    size_t length;
    receiver->receiver.file = receive;
    assert_int_equal(files_read(files_memory_files(guest->memory), INITRD, INITRAMFS_MAX_BYTES,
                                &image, &length, &err),
                     1);
    assert_int_equal(initramfs_list_modules(image, length, VERSION, &modules, &err), 0);
    assert_int_equal(initramfs_extract_modules(image, length, &modules, &receiver->receiver, &err),
                     0);
    initramfs_modules_fini(&modules);
}

static void test_drivers_and_their_aliases_are_in_the_initramfs_afterwards(void **state)
{
    struct guest *guest = *state;
    struct receiver seen = {0};
    plan_guest(guest);
    assert_int_equal(find_edit(guest, INITRD)->kind, EDIT_APPEND);
    assert_int_equal(guest->plan.note_count, 0);
    apply(guest);
    extract(guest, &seen);
    assert_string_equal(text_string(&seen.names),
                        "ahci.ko;kernel/drivers/virtio/virtio.ko;"
                        "kernel/drivers/virtio/virtio_pci.ko;kernel/drivers/block/virtio_blk.ko;"
                        "kernel/drivers/net/virtio_net.ko;");
    /* udev loads by these; those of the modules that were there must still be among them. */
    assert_non_null(strstr(text_string(&seen.alias), "alias pci:v00001AF4d"));
    assert_non_null(strstr(text_string(&seen.alias), "alias virtio:d00000002v"));
    assert_non_null(strstr(text_string(&seen.alias), "bc01sc06i01* ahci"));
    text_fini(&seen.names);
    text_fini(&seen.alias);
}

static void test_a_second_run_plans_nothing(void **state)
{
    struct guest *guest = *state;
    plan_guest(guest);
    apply(guest);
    plan_guest(guest);
    assert_int_equal(guest->plan.edit_count, 0);
    assert_int_equal(guest->plan.note_count, 0);
}

static void test_the_next_rebuild_keeps_the_drivers(void **state)
{
    struct guest *guest = *state;
    plan_guest(guest);
    const struct edit *edit = find_edit(guest, CONFIG);
    assert_non_null(edit);
    assert_string_equal(edit->after, "# List of modules\nahci\nvirtio_net\n"
                                     "# Rehost: the drivers of a virtual machine\n"
                                     "virtio_pci\nvirtio_blk\n");
}

static void assert_left_alone(struct guest *guest, const char *reason)
{
    assert_null(find_edit(guest, INITRD));
    for (size_t i = 0; i < guest->plan.note_count; i++)
        if (guest->plan.notes[i].is_warning && strstr(guest->plan.notes[i].text, reason))
            return;
    fail_msg("no warning says \"%s\"", reason);
}

static void test_an_initramfs_of_another_maker_is_left_alone(void **state)
{
    struct guest *guest = *state;
    add_initramfs(guest, false);
    plan_guest(guest);
    assert_left_alone(guest, "not made by initramfs-tools");
}

static void test_a_damaged_initramfs_is_left_alone(void **state)
{
    struct guest *guest = *state;
    add_text(guest, INITRD, "not an archive at all");
    plan_guest(guest);
    assert_left_alone(guest, "neither a cpio archive");
}

static void test_a_kernel_without_virtio_is_said(void **state)
{
    struct guest *guest = *state;
    add_text(guest, FOLDER "/modules.dep", "kernel/drivers/ata/ahci.ko:\n");
    plan_guest(guest);
    assert_left_alone(guest, "has no virtio_pci, virtio_blk, virtio_net");
}

static void test_a_module_that_is_listed_and_missing_is_said(void **state)
{
    struct guest *guest = *state;
    add_text(guest, FOLDER "/modules.dep", "kernel/virtio_blk.ko:\n");
    plan_guest(guest);
    assert_left_alone(guest, "listed in modules.dep, and not there");
}

/* What conf/conf.d/resume holds at boot. */
struct resume {
    struct cpio_visitor visitor;
    bool is_resume;
    struct text text;
};

static int find_resume(struct cpio_visitor *visitor, const struct cpio_member *member,
                       bool *is_wanted, struct error *err)
{
    (void)err;
    *is_wanted = strcmp(member->path, "conf/conf.d/resume") == 0;
    if (*is_wanted)
        ((struct resume *)visitor)->text.length = 0;
    return 0;
}

static int add_resume(struct cpio_visitor *visitor, const void *data, size_t length,
                      struct error *err)
{
    (void)err;
    text_add_bytes(&((struct resume *)visitor)->text, data, length);
    return 0;
}

static int end_resume(struct cpio_visitor *visitor, struct error *err)
{
    (void)visitor;
    (void)err;
    return 0;
}

static void append_resume(struct guest *guest, const char *content)
{
    AUTO(text) image = {0};
    AUTO_FREE char *old = NULL;
    size_t length;
    struct error err = {0};
    struct initramfs_entry entry = {
        .path = (char *)"conf/conf.d/resume", .data = (char *)content, .length = strlen(content)};
    files_read(files_memory_files(guest->memory), INITRD, INITRAMFS_MAX_BYTES, &old, &length, &err);
    text_add_bytes(&image, old, length);
    assert_int_equal(initramfs_build_addition(&entry, 1, length, UNPACK_UNKNOWN, &image, &err), 0);
    files_memory_add(guest->memory, INITRD, 0644, image.data, image.length);
}

static void test_the_resume_device_in_the_initramfs_is_renamed_once(void **state)
{
    struct guest *guest = *state;
    struct resume resume = {.visitor = {find_resume, add_resume, end_resume}};
    struct system_volume swap = {.device = (char *)"/dev/sda3",
                                 .partition = 3,
                                 .type = (char *)"swap",
                                 .uuid = (char *)"12121212-0002-4000-8000-000000000012"};
    struct error err = {0};
    enum unpack_kind last;
    plan_guest(guest);
    apply(guest); /* the drivers are there: what follows is for the device alone */
    append_resume(guest, "# comment\nRESUME=\"/dev/sda3\"\n");
    guest->system.volumes = &swap;
    guest->system.volume_count = 1;
    plan_guest(guest);
    assert_int_equal(guest->plan.edit_count, 1);
    apply(guest);
    AUTO_FREE char *image = NULL;
    size_t length;
    files_read(files_memory_files(guest->memory), INITRD, INITRAMFS_MAX_BYTES, &image, &length,
               &err);
    assert_int_equal(initramfs_scan(image, length, &resume.visitor, &last, &err), 0);
    assert_string_equal(text_string(&resume.text),
                        "# comment\nRESUME=UUID=12121212-0002-4000-8000-000000000012\n");
    text_fini(&resume.text);
    plan_guest(guest);
    assert_int_equal(guest->plan.edit_count, 0);
}

static void test_damaged_modules_are_said(void **state)
{
    struct guest *guest = *state;
    add_text(guest, FOLDER "/kernel/drivers/virtio/virtio.ko.zst", "\x28\xb5\x2f\xfd damaged");
    plan_guest(guest);
    assert_left_alone(guest, "damaged zstd data");
}

static void test_systems_whose_initramfs_is_not_understood_are_said(void **state)
{
    struct guest *guest = *state;
    guest->system.initramfs = SYSTEM_INITRAMFS_DRACUT;
    plan_guest(guest);
    assert_left_alone(guest, "made by dracut");
    guest->system.kernel_count = 0;
    plan_guest(guest);
    assert_left_alone(guest, "no kernel with modules");
}

static void test_drivers_that_are_built_in_need_nothing(void **state)
{
    struct guest *guest = *state;
    add_text(guest, FOLDER "/modules.dep", "");
    add_text(guest, FOLDER "/modules.builtin",
             "kernel/virtio_pci.ko\nkernel/virtio_blk.ko\nkernel/virtio_net.ko\n");
    plan_guest(guest);
    assert_null(find_edit(guest, INITRD));
    assert_int_equal(guest->plan.note_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            test_drivers_and_their_aliases_are_in_the_initramfs_afterwards, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_second_run_plans_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_next_rebuild_keeps_the_drivers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_an_initramfs_of_another_maker_is_left_alone, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_a_damaged_initramfs_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_kernel_without_virtio_is_said, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_module_that_is_listed_and_missing_is_said, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_the_resume_device_in_the_initramfs_is_renamed_once,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_damaged_modules_are_said, setup, teardown),
        cmocka_unit_test_setup_teardown(test_systems_whose_initramfs_is_not_understood_are_said,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_drivers_that_are_built_in_need_nothing, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
