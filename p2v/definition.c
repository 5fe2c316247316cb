/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Fills in a guest definition.
 */
#include "p2v/definition.h"

#include "base/text.h"
#include "formats/image.h"
#include "p2v/machine.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LENGTH 63

struct definition_hardware definition_hardware_for(const struct system *system)
{
    struct definition_hardware hardware = {GUEST_BUS_SATA, GUEST_NIC_E1000};
    if (!system || system->kernel_count == 0)
        return hardware;
    /* The newest is what boots unless somebody chooses. */
    const struct system_kernel *kernel = &system->kernels[0];
    if (kernel->has_virtio_pci && kernel->has_virtio_blk)
        hardware.bus = GUEST_BUS_VIRTIO_BLK;
    if (kernel->has_virtio_pci && kernel->has_virtio_net)
        hardware.nic_model = GUEST_NIC_VIRTIO;
    return hardware;
}

static bool is_name_byte(char byte)
{
    return isalnum((unsigned char)byte) || byte == '.' || byte == '_' || byte == '-';
}

bool definition_name_is_valid(const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < length; i++) {
        if (!is_name_byte(name[i]))
            return false;
    }
    return length > 0 && length <= NAME_MAX_LENGTH && name[0] != '.' && name[0] != '-';
}

/* What of the text may be in a name; NULL when nothing remains. Caller frees. */
static char *clean_name(const char *text)
{
    AUTO(text) name = {0};
    for (; text && *text && name.length < NAME_MAX_LENGTH; text++) {
        bool is_first = name.length == 0 && (*text == '.' || *text == '-');
        if (is_name_byte(*text) && !is_first)
            text_add_bytes(&name, text, 1);
    }
    return name.length ? text_take(&name) : NULL;
}

static char *choose_name(const struct system *system, const struct definition_options *options)
{
    if (options->name)
        return text_copy(options->name);
    char *name = system ? clean_name(system->hostname) : NULL;
    if (name && strcmp(name, "localhost") == 0)
        free(take_ptr(&name));
    if (!name)
        name = clean_name(options->folder_name);
    return name ? name : text_copy("machine");
}

char *definition_disk_name(size_t index, const char *format)
{
    const struct image_driver *driver = image_driver_find(format);
    return text_format("disk%zu.%s", index, driver ? driver->extension : format);
}

char *definition_machine_id(const struct sources *sources)
{
    const struct source *first = &sources->items[0];
    const struct partition_table *table = &first->layout.table;
    if (table->kind == PARTITION_TABLE_GPT)
        return text_format("gpt:%s", table->disk_guid);
    if (table->kind == PARTITION_TABLE_MBR && table->mbr_disk_id != 0)
        return text_format("mbr:%08x", table->mbr_disk_id);
    AUTO_FREE char *base = path_base(first->path);
    return text_format("file:%s", base);
}

void definition_set_nics(struct guest *guest, const struct nics *nics, enum guest_nic_model model)
{
    for (size_t i = 0; i < guest->nic_count; i++) {
        struct guest_nic *old = &guest->nics[i];
        free(old->mac);
        free(old->name);
        free(old->network);
        for (size_t k = 0; k < old->address_count; k++)
            free(old->addresses[k]);
        *old = (struct guest_nic){0};
    }
    guest->nic_count = nics->count;
    for (size_t i = 0; i < nics->count; i++) {
        const struct nic *from = &nics->items[i];
        struct guest_nic *nic = &guest->nics[i];
        nic->mac = text_copy(from->mac);
        nic->model = model;
        nic->name = from->name ? text_copy(from->name) : NULL;
        nic->address_count = from->address_count;
        for (size_t k = 0; k < from->address_count; k++)
            nic->addresses[k] = text_copy(from->addresses[k]);
    }
}

static bool has_partition(const struct source *source, const char *type_guid)
{
    const struct partition_table *table = &source->layout.table;
    for (size_t i = 0; i < table->count; i++)
        if (strcmp(table->partitions[i].type_guid, type_guid) == 0)
            return true;
    return false;
}

/* The first, as a BIOS does it; UEFI starts from where its partition is. */
static size_t boot_disk(const struct guest *guest, const struct sources *sources)
{
    for (size_t i = 0; guest->firmware == GUEST_FIRMWARE_UEFI && i < sources->count; i++)
        if (has_partition(&sources->items[i], PARTITION_TYPE_ESP))
            return i;
    return 0;
}

static void set_disks(struct guest *guest, const struct sources *sources,
                      const struct definition_options *options, enum guest_bus bus)
{
    for (size_t i = 0; i < sources->count && i < GUEST_MAX_DISKS; i++) {
        guest->disks[guest->disk_count++] = (struct guest_disk){
            .path = definition_disk_name(i, options->format),
            .format = text_copy(options->format),
            .size_bytes = (sources->items[i].block->size_bytes + 511) / 512 * 512,
            .bus = bus,
            .serial = text_format("disk%zu", i),
            .boot_order = i == boot_disk(guest, sources) ? 1 : 0,
        };
    }
}

static void replace(char **field, const char *text)
{
    free(*field);
    *field = text ? text_copy(text) : NULL;
}

/* An EFI system partition and no place for GRUB's BIOS image: it cannot have booted by BIOS. */
static bool looks_like_uefi(const struct sources *sources, bool *has_esp)
{
    *has_esp = has_partition(&sources->items[0], PARTITION_TYPE_ESP);
    return *has_esp && !has_partition(&sources->items[0], PARTITION_TYPE_BIOS_BOOT);
}

void definition_set_system(struct guest *guest, const struct system *system)
{
    guest->firmware =
        system->firmware == SYSTEM_FIRMWARE_UEFI ? GUEST_FIRMWARE_UEFI : GUEST_FIRMWARE_BIOS;
    guest->clock = system->is_clock_localtime ? GUEST_CLOCK_LOCALTIME : GUEST_CLOCK_UTC;
    replace(&guest->os_type, "linux");
    replace(&guest->os_distro, system->distro);
    replace(&guest->os_version, system->version);
}

static void set_unknown(struct guest *guest, const struct sources *sources)
{
    bool has_esp;
    guest->firmware =
        looks_like_uefi(sources, &has_esp) ? GUEST_FIRMWARE_UEFI : GUEST_FIRMWARE_BIOS;
    replace(&guest->os_type, "unknown");
}

/* The machine may have been started otherwise than its system is: the disks must allow it too. */
static void set_firmware(struct guest *guest, const struct sources *sources,
                         const struct definition_hints *hints)
{
    bool has_esp, only_esp = looks_like_uefi(sources, &has_esp);
    if (!hints->is_firmware_known)
        return;
    if (hints->is_uefi && has_esp)
        guest->firmware = GUEST_FIRMWARE_UEFI;
    else if (!hints->is_uefi && !only_esp)
        guest->firmware = GUEST_FIRMWARE_BIOS;
    guest->secure_boot = guest->firmware == GUEST_FIRMWARE_UEFI && hints->is_secure_boot;
}

static void set_hints(struct guest *guest, const struct sources *sources,
                      const struct definition_options *options)
{
    const struct definition_hints *hints = options->hints;
    if (hints->uuid[0])
        replace(&guest->uuid, hints->uuid);
    if (hints->memory_bytes && !options->memory_bytes)
        guest->memory_bytes = hints->memory_bytes;
    if (hints->sockets && hints->cores && hints->threads && !options->cpus) {
        guest->sockets = hints->sockets;
        guest->cores = hints->cores;
        guest->threads = hints->threads;
    }
    if (hints->is_clock_known)
        guest->clock = hints->is_localtime ? GUEST_CLOCK_LOCALTIME : GUEST_CLOCK_UTC;
    set_firmware(guest, sources, hints);
}

struct guest *definition_new(const struct sources *sources, const struct system *system,
                             const struct nics *nics, const struct definition_options *options)
{
    struct definition_hardware hardware = options->hardware;
    AUTO_FREE char *name = choose_name(system, options);
    struct guest *guest = guest_new(name);
    bool has_id = system && system->machine_id && system->machine_id[0];
    char uuid[37];
    guest_make_uuid(has_id ? system->machine_id : options->machine_id, uuid);
    replace(&guest->uuid, uuid);
    if (options->memory_bytes)
        guest->memory_bytes = options->memory_bytes;
    if (options->cpus)
        guest->cores = options->cpus;
    if (system && system->type && strcmp(system->type, "linux") == 0)
        definition_set_system(guest, system);
    else
        set_unknown(guest, sources);
    if (options->hints)
        set_hints(guest, sources, options);
    set_disks(guest, sources, options, hardware.bus);
    definition_set_nics(guest, nics, hardware.nic_model);
    return guest;
}
