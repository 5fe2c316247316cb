/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Keys and files are items with a number; a file's is its place in the order of names. An item's
 * bytes are read one by one from the data port, or by a command in guest memory that the DMA port
 * is told the address of; behind its end are zeroes. Nothing can be written.
 */
#include "hypervisor/fwcfg.h"

#include "base/bytes.h"
#include "base/text.h"
#include "hypervisor/layout.h"
#include "hypervisor/ports.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PORT_DATA (LAYOUT_PORT_FWCFG + 1)
#define PORT_DMA (LAYOUT_PORT_FWCFG + 4)
#define KEY_DIRECTORY 0x19
#define KEY_FILES 0x20
#define KEY_WRITE 0x4000 /* once asked for writing; of no meaning now */
#define ITEM_MAX_SIZE ((size_t)16 << 20)
#define ENTRY_SIZE 64 /* of the directory: size, key, reserved, name */
#define ENTRY_NAME 8

/* The command: control (key in its upper half), length, address; all big-endian. */
#define DMA_COMMAND_SIZE 16
#define DMA_MAX_LENGTH (2 * ITEM_MAX_SIZE)
#define DMA_ERROR 0x01
#define DMA_READ 0x02
#define DMA_SKIP 0x04
#define DMA_SELECT 0x08
#define DMA_WRITE 0x10

struct item {
    char name[FWCFG_MAX_NAME + 1]; /* of files */
    uint8_t *data;                 /* owned */
    size_t size;
};

struct fwcfg {
    struct port_device base;
    struct item keys[KEY_FILES], files[FWCFG_MAX_FILES]; /* fixed once the guest runs */
    unsigned file_count;
    uint16_t key;
    size_t offset;  /* in the selected item; not beyond its end */
    uint8_t dma[8]; /* the command's address, big-endian */
};

static void item_set(struct item *item, const void *data, size_t size)
{
    uint8_t *copy = memory_new(1, size + 1);
    if (size > 0)
        memcpy(copy, data, size);
    free(item->data);
    item->data = copy;
    item->size = size;
}

static void make_directory(struct fwcfg *fwcfg)
{
    uint8_t directory[4 + FWCFG_MAX_FILES * ENTRY_SIZE] = {0};
    store_be32(directory, fwcfg->file_count);
    for (unsigned i = 0; i < fwcfg->file_count; i++) {
        uint8_t *entry = directory + 4 + (size_t)i * ENTRY_SIZE;
        store_be32(entry, (uint32_t)fwcfg->files[i].size);
        store_be16(entry + 4, (uint16_t)(KEY_FILES + i));
        memcpy(entry + ENTRY_NAME, fwcfg->files[i].name, FWCFG_MAX_NAME + 1);
    }
    item_set(&fwcfg->keys[KEY_DIRECTORY], directory, 4 + (size_t)fwcfg->file_count * ENTRY_SIZE);
}

int fwcfg_add_key(struct fwcfg *fwcfg, uint16_t key, const void *data, size_t length,
                  struct error *err)
{
    if (key >= KEY_FILES || key == KEY_DIRECTORY || length > ITEM_MAX_SIZE)
        return error_set(err, EINVAL, "fw_cfg key 0x%x of %zu bytes", key, length);
    item_set(&fwcfg->keys[key], data, length);
    return 0;
}

int fwcfg_add_file(struct fwcfg *fwcfg, const char *name, const void *data, size_t length,
                   struct error *err)
{
    unsigned place = 0;
    while (place < fwcfg->file_count && strcmp(fwcfg->files[place].name, name) < 0)
        place++;
    if (place < fwcfg->file_count && strcmp(fwcfg->files[place].name, name) == 0)
        return error_set(err, EEXIST, "fw_cfg file %s", name);
    if (fwcfg->file_count == FWCFG_MAX_FILES)
        return error_set(err, ENOSPC, "fw_cfg file %s: more than %d", name, FWCFG_MAX_FILES);
    if (*name == '\0' || strlen(name) > FWCFG_MAX_NAME || length > ITEM_MAX_SIZE)
        return error_set(err, EINVAL, "fw_cfg file %s of %zu bytes", name, length);
    struct item *item = &fwcfg->files[place];
    memmove(item + 1, item, (fwcfg->file_count - place) * sizeof(*item));
    *item = (struct item){.data = NULL};
    memcpy(item->name, name, strlen(name) + 1);
    item_set(item, data, length);
    fwcfg->file_count++;
    make_directory(fwcfg);
    return 0;
}

/* NULL: a key that nothing has; it reads as zeroes without end. */
static const struct item *selected(const struct fwcfg *fwcfg)
{
    unsigned key = fwcfg->key;
    if (key < KEY_FILES)
        return &fwcfg->keys[key];
    return key - KEY_FILES < fwcfg->file_count ? &fwcfg->files[key - KEY_FILES] : NULL;
}

static void select_key(struct fwcfg *fwcfg, uint16_t key)
{
    fwcfg->key = key & (uint16_t)~KEY_WRITE;
    fwcfg->offset = 0;
}

/* Moves on by `length` bytes, which go to `to` unless that is NULL. */
static void take(struct fwcfg *fwcfg, uint8_t *to, size_t length)
{
    const struct item *item = selected(fwcfg);
    size_t left = item ? item->size - fwcfg->offset : 0;
    size_t part = length < left ? length : left;
    if (to && part > 0)
        memcpy(to, item->data + fwcfg->offset, part);
    if (to)
        memset(to + part, 0, length - part);
    fwcfg->offset += part;
}

/* False: what the command asks for cannot be done. */
static bool run_command(struct fwcfg *fwcfg, uint32_t control, uint32_t length, uint64_t address)
{
    if (control & DMA_SELECT)
        select_key(fwcfg, (uint16_t)(control >> 16));
    if (control & DMA_READ) {
        uint8_t *to = length <= DMA_MAX_LENGTH
                          ? guest_memory_at(fwcfg->base.host.memory, address, length)
                          : NULL;
        if (to)
            take(fwcfg, to, length);
        return to != NULL;
    }
    if (control & DMA_WRITE)
        return false;
    if (control & DMA_SKIP)
        take(fwcfg, NULL, length);
    return true;
}

/* A command that is not in RAM is not answered: there is no place for the answer. */
static void run_dma(struct fwcfg *fwcfg, uint64_t command_at)
{
    uint8_t command[DMA_COMMAND_SIZE];
    if (!guest_memory_read(fwcfg->base.host.memory, command_at, command, sizeof(command)))
        return;
    bool is_done =
        run_command(fwcfg, load_be32(command), load_be32(command + 4), load_be64(command + 8));
    uint8_t answer[4];
    store_be32(answer, is_done ? 0 : DMA_ERROR);
    guest_memory_write(fwcfg->base.host.memory, command_at, answer, sizeof(answer));
}

static uint8_t read_port(struct port_device *device, unsigned port)
{
    struct fwcfg *fwcfg = (struct fwcfg *)device;
    uint8_t byte = 0;
    if (port >= PORT_DMA)
        return (uint8_t) "QEMU CFG"[port - PORT_DMA];
    if (port == PORT_DATA)
        take(fwcfg, &byte, 1);
    return byte;
}

/* The last byte of the address begins the command. */
static void write_dma(struct fwcfg *fwcfg, unsigned at, uint8_t value)
{
    fwcfg->dma[at] = value;
    if (at != sizeof(fwcfg->dma) - 1)
        return;
    uint64_t command_at = load_be64(fwcfg->dma);
    memset(fwcfg->dma, 0, sizeof(fwcfg->dma));
    run_dma(fwcfg, command_at);
}

/* The selector has two bytes; the upper is where data is read. */
static void write_port(struct port_device *device, unsigned port, uint8_t value)
{
    struct fwcfg *fwcfg = (struct fwcfg *)device;
    if (port >= PORT_DMA)
        write_dma(fwcfg, port - PORT_DMA, value);
    else if (port == LAYOUT_PORT_FWCFG)
        select_key(fwcfg, (fwcfg->key & 0xff00) | value);
    else
        select_key(fwcfg, (uint16_t)((fwcfg->key & 0xff) | value << 8));
}

static void reset(struct port_device *device)
{
    struct fwcfg *fwcfg = (struct fwcfg *)device;
    select_key(fwcfg, 0);
    memset(fwcfg->dma, 0, sizeof(fwcfg->dma));
}

static void fwcfg_close(struct device *device)
{
    struct fwcfg *fwcfg = (struct fwcfg *)device;
    for (unsigned i = 0; i < KEY_FILES; i++)
        free(fwcfg->keys[i].data);
    for (unsigned i = 0; i < fwcfg->file_count; i++)
        free(fwcfg->files[i].data);
    port_device_close(device);
}

static const struct port_kind kind = {
    .ops = {.name = "fw_cfg", .reset = port_device_reset, .close = fwcfg_close},
    .read = read_port,
    .write = write_port,
    .reset = reset,
    .ranges = {{LAYOUT_PORT_FWCFG, 2}, {PORT_DMA, 8}},
};

struct fwcfg *fwcfg_new(const struct device_host *host, struct error *err)
{
    struct fwcfg *fwcfg = port_device_new(&kind, sizeof(*fwcfg), host, err);
    if (fwcfg)
        make_directory(fwcfg);
    return fwcfg;
}

struct device *fwcfg_device(struct fwcfg *fwcfg)
{
    return &fwcfg->base.device;
}
