/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Which kernel modules a boot medium has: storage, wired network, USB and keyboards, by the folders
 * that the kernel sorts its drivers into, so that a driver of a later kernel is there without a
 * line here.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"
#include "p2v/media/kernel.h"

#include <string.h>

/* A folder ends with '/', a file has its name up to ".ko". */
static const char *const always[] = {
    /* disks and what they hang on */
    "drivers/ata/",
    "drivers/block/aoe/",
    "drivers/block/mtip32xx/",
    "drivers/block/virtio_blk",
    "drivers/block/xen-blkfront",
    "drivers/cdrom/",
    "drivers/firmware/qemu_fw_cfg",
    "drivers/hv/",
    "drivers/md/",
    "drivers/memstick/core/",
    "drivers/memstick/host/",
    "drivers/message/",
    "drivers/misc/cardreader/",
    "drivers/mmc/",
    "drivers/nvdimm/",
    "drivers/nvme/common/",
    "drivers/nvme/host/",
    "drivers/pci/controller/",
    "drivers/scsi/",
    "drivers/virtio/",
    /* network */
    "drivers/net/bonding/",
    "drivers/net/ethernet/",
    "drivers/net/fjes/",
    "drivers/net/hyperv/",
    "drivers/net/mdio/",
    "drivers/net/mii",
    "drivers/net/net_failover",
    "drivers/net/phy/",
    "drivers/net/usb/",
    "drivers/net/virtio_net",
    "drivers/net/vmxnet3/",
    "drivers/net/xen-netfront",
    "net/8021q/",
    "net/core/failover",
    "net/packet/",
    /* USB, keyboards, serial lines */
    "drivers/hid/",
    "drivers/input/keyboard/",
    "drivers/input/serio/",
    "drivers/phy/",
    "drivers/thunderbolt/",
    "drivers/tty/",
    "drivers/usb/chipidea/",
    "drivers/usb/common/",
    "drivers/usb/core/",
    "drivers/usb/dwc2/",
    "drivers/usb/dwc3/",
    "drivers/usb/host/",
    "drivers/usb/phy/",
    "drivers/usb/roles/",
    "drivers/usb/serial/",
    "drivers/usb/storage/",
    "drivers/usb/typec/",
    /* the rest of the machine */
    "drivers/acpi/button",
    "drivers/acpi/fan",
    "drivers/acpi/thermal",
    "drivers/cpufreq/",
    "drivers/firmware/dmi-sysfs",
    "fs/efivarfs/",
    "fs/fat/",
    "fs/isofs/",
    "fs/nls/",
    /* asked for by an alias, so that no dependency leads to them */
    "arch/x86/crypto/crc32-pclmul",
    "arch/x86/crypto/crc32c-intel",
    "arch/x86/crypto/crct10dif-pclmul",
    "crypto/crc",
    "lib/libcrc32c",
};

/* Inside of those: what is not there to be read from, or would change disks by itself. */
static const char *const except[] = {
    "drivers/ata/pata_legacy", "drivers/hid/amd-sfh-hid/",   "drivers/hid/intel-ish-hid/",
    "drivers/md/bcache/",      "drivers/md/dm-vdo/",         "drivers/md/md-cluster",
    "drivers/mmc/core/sdio_",  "drivers/scsi/scsi_debug",    "drivers/net/usb/cdc-phonet",
    "drivers/scsi/fcoe/",      "drivers/scsi/qedf/",         "drivers/scsi/iscsi_boot",
    "drivers/tty/n_gsm",       "drivers/scsi/elx/efct",      "drivers/usb/serial/usb_debug",
    "drivers/block/brd",       "drivers/virtio/virtio_vdpa", "drivers/net/usb/rndis_wlan",
};

/* Large, and nothing above needs them: not even kept in memory. */
static const char *const never[] = {
    "arch/x86/kvm/",
    "drivers/accel/",
    "drivers/bluetooth/",
    "drivers/comedi/",
    "drivers/gpu/",
    "drivers/iio/",
    "drivers/isdn/",
    "drivers/media/",
    "drivers/net/wwan/",
    "drivers/staging/",
    "drivers/net/wireless/",
    "fs/btrfs/",
    "fs/ceph/",
    "fs/nfs/",
    "fs/ocfs2/",
    "fs/smb/",
    "fs/xfs/",
    "net/bluetooth/",
    "net/mac80211/",
    "net/netfilter/",
    "net/wireless/",
    "sound/",
};

static bool is_in(const char *path, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(list[i]);
        bool is_file = list[i][length - 1] != '/' && list[i][length - 1] != '_';
        bool is_group = strcmp(list[i], "crypto/crc") == 0;
        if (strncmp(path, list[i], length) == 0 &&
            (!is_file || is_group || strncmp(path + length, ".ko", 3) == 0))
            return true;
    }
    return false;
}

enum kernel_want kernel_wants(const char *module_path)
{
    if (!text_starts_with(module_path, "kernel/"))
        return KERNEL_NEVER;
    const char *path = module_path + strlen("kernel/");
    if (is_in(path, always, ARRAY_LENGTH(always)) && !is_in(path, except, ARRAY_LENGTH(except)))
        return KERNEL_ALWAYS;
    return is_in(path, never, ARRAY_LENGTH(never)) ? KERNEL_NEVER : KERNEL_WHEN_NEEDED;
}

/* "t10-pi" is t10_pi: files are named either way. */
static bool is_named(const char *module, const char *name, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (module[i] != (name[i] == '-' ? '_' : name[i]))
            return false;
    }
    return module[length] == '\0';
}

static struct kernel_module *find(struct kernel *kernel, const char *name, size_t length)
{
    for (size_t i = 0; i < kernel->count; i++) {
        if (is_named(kernel->modules[i].name, name, length))
            return &kernel->modules[i];
    }
    return NULL;
}

/*
 * False when something that it needs is not there: such a module cannot be loaded, so it stays out.
 * Each module is looked at once, so this ends, whatever a circle the dependencies make.
 */
static bool choose_with_needs(struct kernel *kernel, struct kernel_module *module)
{
    if (module->is_chosen || module->is_unusable)
        return module->is_chosen;
    module->is_chosen = true;
    for (const char *needs = module->needs; *needs;) {
        size_t length = strcspn(needs, ",");
        struct kernel_module *needed = length ? find(kernel, needs, length) : NULL;
        if (length && (!needed || !choose_with_needs(kernel, needed)))
            module->is_unusable = true;
        needs += length + (needs[length] == ',');
    }
    module->is_chosen = !module->is_unusable;
    return module->is_chosen;
}

size_t kernel_choose(struct kernel *kernel)
{
    size_t count = 0;
    for (size_t i = 0; i < kernel->count; i++) {
        if (kernel_wants(kernel->modules[i].path) == KERNEL_ALWAYS)
            choose_with_needs(kernel, &kernel->modules[i]);
    }
    for (size_t i = 0; i < kernel->count; i++)
        count += kernel->modules[i].is_chosen;
    return count;
}

/* "kernel/drivers/scsi/sd_mod.ko" stands in modules.builtin when it is part of the kernel. */
static bool is_builtin(const struct kernel *kernel, const char *name)
{
    const struct file_entry *list = file_tree_find(&kernel->lists, "modules.builtin");
    AUTO_FREE char *line = text_format("/%s.ko\n", name);
    return list && memmem(list->data, list->length, line, strlen(line));
}

int kernel_check(struct kernel *kernel, struct error *err)
{
    static const char *const needed[] = {"sd_mod",      "ahci",       "nvme",        "virtio_blk",
                                         "usb_storage", "usbhid",     "hid_generic", "xhci_pci",
                                         "e1000e",      "virtio_net", "bonding",     "8021q"};
    for (size_t i = 0; i < ARRAY_LENGTH(needed); i++) {
        const struct kernel_module *module = find(kernel, needed[i], strlen(needed[i]));
        AUTO_FREE char *dashed = text_copy(needed[i]);
        for (char *c = dashed; *c; c++)
            *c = *c == '_' ? '-' : *c;
        if ((!module || !module->is_chosen) && !is_builtin(kernel, needed[i]) &&
            !is_builtin(kernel, dashed))
            return error_set(err, 0, "its driver %s is missing, or something that it needs",
                             needed[i]);
    }
    return 0;
}
