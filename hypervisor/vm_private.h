/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The inside of a machine, for hypervisor/vm*.c.
 */
#ifndef HYPERVISOR_VM_PRIVATE_H
#define HYPERVISOR_VM_PRIVATE_H

#include "formats/image.h"
#include "hypervisor/boot.h"
#include "hypervisor/pci.h"
#include "hypervisor/throttle.h"
#include "hypervisor/vcpu.h"
#include "hypervisor/virtio/device.h"
#include "hypervisor/vm.h"

#include <pthread.h>
#include <stdatomic.h>

#define VM_MAX_DEVICES (16 + PCI_SLOTS)

/* What was asked of the machine and is not done yet: bits. */
enum vm_request {
    VM_REQUEST_RESET = 1,
    VM_REQUEST_POWER_OFF = 2,
    VM_REQUEST_EXIT = 4,
    VM_REQUEST_FAIL = 8,
    VM_REQUEST_STOP = 16,
};

struct vm {
    struct vm_options options;
    struct cpuid_topology topology;
    struct kvm kvm;
    struct bus ports, memory_bus;
    struct interrupts interrupts;
    struct doorbells doorbells;
    struct loop *loop;
    struct vcpus *vcpus;
    struct device_host host;

    struct firmware firmware;
    struct kernel_image kernel; /* kernel NULL: the firmware starts */
    struct fwcfg *fwcfg;        /* one of the devices */
    struct pci *pci;
    struct device *power_button;            /* the pm */
    struct device *devices[VM_MAX_DEVICES]; /* in the order of the table */
    size_t device_count;
    struct virtio_device *disks[PCI_SLOTS], *nics[PCI_SLOTS], *balloon; /* devices behind slots */
    unsigned disk_slots[PCI_SLOTS];
    size_t disk_count, nic_count;
    struct throttle disk_throttle;           /* of all together */
    struct throttle throttles[PCI_SLOTS][2]; /* of each card: receiving, sending */

    int request_fd; /* eventfd: requests are there */
    struct loop_watch request_watch;
    _Atomic unsigned requests;
    atomic_int exit_value;
    atomic_bool has_panicked;
    pthread_mutex_t failure_lock;
    struct error failure; /* the first one */

    enum vm_state state; /* the loop's thread */
    struct vm_result result;
    double started;
    uint64_t resets;
    int statm_fd; /* /proc/self/statm, opened before the sandbox closes; -1: none */
};

/* vm_devices.c: everything of the table, and its end. */
int vm_make_devices(struct vm *vm, struct error *err);
void vm_close_devices(struct vm *vm);
struct firmware_options vm_firmware_options(const struct vm *vm, unsigned slots[PCI_SLOTS]);

/* vm_storage.c: a disk of the definition, opened for writing as it says or over an overlay. */
struct image *vm_open_disk(const struct vm_options *options, const struct guest_disk *disk,
                           struct error *err);

#endif
