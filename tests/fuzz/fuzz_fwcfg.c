/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Any program of selections, byte reads and DMA commands, in and around two small regions of RAM:
 * twelve bytes each. A command either is marked as done or as failed, or was not in RAM.
 */
#include "base/bytes.h"
#include "hypervisor/fwcfg.h"
#include "hypervisor/layout.h"

#include <stdlib.h>

#define STEP 12
#define MAX_STEPS 512
#define REGION_SIZE 4096
#define REGION_HIGH UINT64_C(0x100000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct fwcfg *make(const struct device_host *host)
{
    static const uint8_t big[5000] = {1, 2, 3};
    struct fwcfg *fwcfg = fwcfg_new(host, NULL);
    if (!fwcfg || fwcfg_add_key(fwcfg, 0, "QEMU", 4, NULL) < 0 ||
        fwcfg_add_file(fwcfg, "etc/big", big, sizeof(big), NULL) < 0 ||
        fwcfg_add_file(fwcfg, "bootorder", "disk\n", 6, NULL) < 0 ||
        fwcfg_add_file(fwcfg, "empty", NULL, 0, NULL) < 0)
        abort();
    return fwcfg;
}

static uint64_t address_of(uint8_t where, uint16_t offset)
{
    static const uint64_t bases[] = {0, REGION_HIGH, UINT64_MAX - 0x8000, REGION_HIGH - 0x8000};
    return bases[where % ARRAY_LENGTH(bases)] + offset;
}

/* where, offset: the command's; then its control, length and the data's where and offset. */
static void run_dma(const struct device_host *host, const uint8_t *step)
{
    uint64_t at = address_of(step[1], load_le16(step + 2) & 0x1fff);
    uint8_t command[16];
    store_be32(command, (uint32_t)step[4] << 16 | step[5]);
    store_be32(command + 4, (uint32_t)(step[6] | step[7] << 8) << (step[8] & 15));
    store_be64(command + 8, address_of(step[9], load_le16(step + 10)));
    bool is_ram = guest_memory_write(host->memory, at, command, sizeof(command));
    bus_write(host->ports, LAYOUT_PORT_FWCFG + 4, 4, htobe32((uint32_t)(at >> 32)));
    bus_write(host->ports, LAYOUT_PORT_FWCFG + 8, 4, htobe32((uint32_t)at));
    if (is_ram && load_be32(guest_memory_at(host->memory, at, 4)) > 1)
        abort();
}

static void take_step(const struct device_host *host, const uint8_t *step)
{
    unsigned width = 1u << (step[1] & 3);
    uint64_t port = LAYOUT_PORT_FWCFG + step[2] % 13;
    switch (step[0] & 3) {
    case 0:
        bus_write(host->ports, LAYOUT_PORT_FWCFG, 2, load_le16(step + 2));
        break;
    case 1:
        for (unsigned i = 0; i < 1 + 20u * step[1]; i++)
            bus_read(host->ports, LAYOUT_PORT_FWCFG + 1, 1);
        break;
    case 2:
        bus_write(host->ports, port, width, load_le64(step + 3));
        bus_read(host->ports, port, width);
        break;
    default:
        run_dma(host, step);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bus bus;
    struct guest_memory memory = {.count = 0};
    uint8_t *low = calloc(1, REGION_SIZE), *high = calloc(1, REGION_SIZE);
    const struct device_host host = {.ports = &bus, .memory = &memory};

    if (!low || !high || guest_memory_add(&memory, 0, REGION_SIZE, low, NULL) < 0 ||
        guest_memory_add(&memory, REGION_HIGH, REGION_SIZE, high, NULL) < 0)
        abort();
    bus_init(&bus);
    struct device *device = fwcfg_device(make(&host));
    for (size_t i = 0; i < MAX_STEPS && (i + 1) * STEP <= size; i++)
        take_step(&host, data + i * STEP);
    device->ops->reset(device);
    device->ops->close(device);
    bus_fini(&bus);
    free(low);
    free(high);
    return 0;
}
