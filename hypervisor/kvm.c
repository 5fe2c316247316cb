/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * System calls of KVM that concern the machine as a whole.
 */
#include "hypervisor/kvm.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/own.h"
#include "hypervisor/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define KVM_PATH "/dev/kvm"

static const struct {
    int number;
    const char *name;
} needed[] = {
    {KVM_CAP_IRQCHIP, "KVM_CAP_IRQCHIP"},
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
    {KVM_CAP_SET_TSS_ADDR, "KVM_CAP_SET_TSS_ADDR"},
    {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
    {KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE"},
    {KVM_CAP_PIT2, "KVM_CAP_PIT2"},
    {KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD"},
    {KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI"},
    {KVM_CAP_READONLY_MEM, "KVM_CAP_READONLY_MEM"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
};

static int capability(const struct kvm *kvm, int number)
{
    int value = ioctl(kvm->fd, KVM_CHECK_EXTENSION, number);
    return value < 0 ? 0 : value;
}

static int open_device(struct kvm *kvm, struct error *err)
{
    kvm->fd = open(KVM_PATH, O_RDWR | O_CLOEXEC);
    if (kvm->fd >= 0)
        return 0;
    switch (errno) {
    case ENOENT:
    case ENXIO:
    case ENODEV:
        return error_set(err, 0,
                         KVM_PATH " is not there: the CPU's virtualization is switched off in the "
                                  "firmware, or this is itself a machine without nesting");
    case EACCES:
    case EPERM:
        return error_set(err, errno, "open " KVM_PATH " (is this user in its group, kvm?)");
    default:
        return error_set(err, errno, "open " KVM_PATH);
    }
}

static int check_capabilities(struct kvm *kvm, struct error *err)
{
    int version = ioctl(kvm->fd, KVM_GET_API_VERSION, 0);
    if (version != KVM_API_VERSION)
        return error_set(err, 0, KVM_PATH " speaks version %d, not %d", version, KVM_API_VERSION);
    for (size_t i = 0; i < ARRAY_LENGTH(needed); i++) {
        if (capability(kvm, needed[i].number) <= 0)
            return error_set(err, 0, "KVM on this system lacks %s", needed[i].name);
    }
    kvm->has_any_length_doorbells = capability(kvm, KVM_CAP_IOEVENTFD_ANY_LENGTH) > 0;
    kvm->has_tsc_deadline = capability(kvm, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
    int max_cpus = capability(kvm, KVM_CAP_MAX_VCPUS);
    kvm->max_cpus = max_cpus > 0 ? (unsigned)max_cpus : 4; /* 4: what the specification says */
    int run_size = ioctl(kvm->fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (run_size < (int)sizeof(struct kvm_run))
        return error_set(err, run_size < 0 ? errno : 0, "KVM: a CPU's shared page of %d bytes",
                         run_size);
    kvm->run_size = (size_t)run_size;
    return 0;
}

static int make_machine(struct kvm *kvm, struct error *err)
{
    do {
        kvm->vm_fd = ioctl(kvm->fd, KVM_CREATE_VM, 0);
    } while (kvm->vm_fd < 0 && errno == EINTR);
    if (kvm->vm_fd < 0)
        return error_set(err, errno, "KVM: make a machine");
    uint64_t identity_map = LAYOUT_IDENTITY_MAP;
    struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
    if (ioctl(kvm->vm_fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) != 0)
        return error_set(err, errno, "KVM: place the identity map");
    if (ioctl(kvm->vm_fd, KVM_SET_TSS_ADDR, LAYOUT_TSS) != 0)
        return error_set(err, errno, "KVM: place the TSS");
    if (ioctl(kvm->vm_fd, KVM_CREATE_IRQCHIP, 0) != 0)
        return error_set(err, errno, "KVM: make the interrupt controllers");
    if (ioctl(kvm->vm_fd, KVM_CREATE_PIT2, &pit) != 0)
        return error_set(err, errno, "KVM: make the interval timer");
    return 0;
}

static int save_chips(struct kvm *kvm, struct error *err)
{
    for (unsigned i = 0; i < ARRAY_LENGTH(kvm->chips.chips); i++) {
        kvm->chips.chips[i].chip_id = i;
        if (ioctl(kvm->vm_fd, KVM_GET_IRQCHIP, &kvm->chips.chips[i]) != 0)
            return error_set(err, errno, "KVM: read interrupt controller %u", i);
    }
    return ioctl(kvm->vm_fd, KVM_GET_PIT2, &kvm->chips.pit) == 0
               ? 0
               : error_set(err, errno, "KVM: read the interval timer");
}

int kvm_reset_chips(struct kvm *kvm, struct error *err)
{
    for (unsigned i = 0; i < ARRAY_LENGTH(kvm->chips.chips); i++) {
        if (ioctl(kvm->vm_fd, KVM_SET_IRQCHIP, &kvm->chips.chips[i]) != 0)
            return error_set(err, errno, "KVM: reset interrupt controller %u", i);
    }
    return ioctl(kvm->vm_fd, KVM_SET_PIT2, &kvm->chips.pit) == 0
               ? 0
               : error_set(err, errno, "KVM: reset the interval timer");
}

int kvm_open(struct kvm *kvm, struct error *err)
{
    *kvm = (struct kvm){.fd = -1, .vm_fd = -1};
    if (open_device(kvm, err) != 0 || check_capabilities(kvm, err) != 0 ||
        make_machine(kvm, err) != 0 || save_chips(kvm, err) != 0)
        return -1;
    return 0;
}

void kvm_close(struct kvm *kvm)
{
    own_close(&kvm->vm_fd);
    own_close(&kvm->fd);
    for (size_t i = 0; i < kvm->memory.count; i++)
        munmap(kvm->memory.regions[i].host, kvm->memory.regions[i].length);
    *kvm = (struct kvm){.fd = -1, .vm_fd = -1};
}

static int add_slot(struct kvm *kvm, uint64_t start, uint64_t length, const void *host,
                    uint32_t flags, struct error *err)
{
    struct kvm_userspace_memory_region region = {.slot = kvm->slot_count,
                                                 .flags = flags,
                                                 .guest_phys_addr = start,
                                                 .memory_size = length,
                                                 .userspace_addr = (uintptr_t)host};
    if (ioctl(kvm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) != 0)
        return error_set(err, errno, "KVM: memory of 0x%" PRIx64 " bytes at 0x%" PRIx64, length,
                         start);
    kvm->slot_count++;
    return 0;
}

static int add_ram_at(struct kvm *kvm, uint64_t start, uint64_t length, struct error *err)
{
    void *host = mmap(NULL, length, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (host == MAP_FAILED)
        return error_set(err, errno, "%" PRIu64 " MiB of memory for the guest", length / MIB);
    madvise(host, length, MADV_HUGEPAGE); /* faster where the kernel has them; no matter else */
    madvise(host, length, MADV_DONTDUMP); /* the guest's secrets are not for core files */
    if (guest_memory_add(&kvm->memory, start, length, host, err) != 0) {
        munmap(host, length);
        return -1;
    }
    return add_slot(kvm, start, length, host, 0, err);
}

int kvm_add_ram(struct kvm *kvm, uint64_t bytes, struct error *err)
{
    kvm->low_bytes = min_u64(bytes, LAYOUT_RAM_LOW_MAX);
    kvm->high_bytes = bytes - kvm->low_bytes;
    if (add_ram_at(kvm, 0, kvm->low_bytes, err) != 0)
        return -1;
    return kvm->high_bytes ? add_ram_at(kvm, LAYOUT_RAM_HIGH, kvm->high_bytes, err) : 0;
}

int kvm_add_rom(struct kvm *kvm, const void *data, size_t size, struct error *err)
{
    return add_slot(kvm, LAYOUT_4G - size, size, data, KVM_MEM_READONLY, err);
}

/* --- what devices use ------------------------------------------------------------------------- */

static void set_line(void *context, unsigned gsi, bool is_high)
{
    const struct kvm *kvm = context;
    struct kvm_irq_level level = {.irq = gsi, .level = is_high};
    ioctl(kvm->vm_fd, KVM_IRQ_LINE, &level);
}

static void send_message(void *context, uint64_t address, uint32_t data)
{
    const struct kvm *kvm = context;
    struct kvm_msi message = {
        .address_lo = (uint32_t)address, .address_hi = (uint32_t)(address >> 32), .data = data};
    ioctl(kvm->vm_fd, KVM_SIGNAL_MSI, &message);
}

struct interrupts kvm_interrupts(struct kvm *kvm)
{
    return (struct interrupts){set_line, send_message, kvm};
}

/* A driver writes the queue's number: 2 bytes, or whatever it likes where KVM can match that. */
static int set_doorbell(struct kvm *kvm, uint64_t address, int fd, uint32_t flags)
{
    struct kvm_ioeventfd doorbell = {
        .addr = address, .len = kvm->has_any_length_doorbells ? 0 : 2, .fd = fd, .flags = flags};
    return ioctl(kvm->vm_fd, KVM_IOEVENTFD, &doorbell);
}

static int add_doorbell(void *context, uint64_t address, int fd)
{
    return set_doorbell(context, address, fd, 0);
}

static void remove_doorbell(void *context, uint64_t address, int fd)
{
    set_doorbell(context, address, fd, KVM_IOEVENTFD_FLAG_DEASSIGN);
}

struct doorbells kvm_doorbells(struct kvm *kvm)
{
    return (struct doorbells){add_doorbell, remove_doorbell, kvm};
}
