/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Port and memory accesses become bus reads and writes; the few other exits end the machine.
 */
#include "hypervisor/vcpu_exit.h"

#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"
#include "hypervisor/vcpu_state.h"

#include <string.h>

static void put(uint8_t *to, uint64_t value, unsigned size)
{
    value = htole64(value);
    memcpy(to, &value, size);
}

static uint64_t get(const uint8_t *from, unsigned size)
{
    uint64_t value = 0;
    memcpy(&value, from, size);
    return le64toh(value);
}

/* String instructions (INS, OUTS) bring several accesses to the same port at once. */
static void handle_io(struct kvm_run *run, struct bus *ports)
{
    uint8_t *data = (uint8_t *)run + run->io.data_offset;
    unsigned size = run->io.size;
    for (uint32_t i = 0; i < run->io.count; i++, data += size) {
        if (run->io.direction == KVM_EXIT_IO_OUT)
            bus_write(ports, run->io.port, size, get(data, size));
        else
            put(data, bus_read(ports, run->io.port, size), size);
    }
}

/* An access that crosses a page comes in pieces of any length up to 8: odd ones go by bytes. */
static void handle_mmio(struct kvm_run *run, struct bus *memory_bus)
{
    unsigned length = run->mmio.len <= sizeof(run->mmio.data) ? run->mmio.len : 0;
    unsigned size = (length & (length - 1)) == 0 ? length : 1;
    for (unsigned done = 0; done < length; done += size) {
        uint8_t *data = run->mmio.data + done;
        uint64_t address = run->mmio.phys_addr + done;
        if (run->mmio.is_write)
            bus_write(memory_bus, address, size, get(data, size));
        else
            put(data, bus_read(memory_bus, address, size), size);
    }
}

static enum vcpu_exit fail(int fd, const struct text *what, struct error *err)
{
    vcpu_describe(fd, text_string(what), err);
    error_wrap(err, "KVM");
    return VCPU_EXIT_FAILED;
}

static enum vcpu_exit handle_internal_error(struct kvm_run *run, int fd, struct error *err)
{
    AUTO(text) what = {0};
    text_addf(&what, "internal error %u", run->internal.suberror);
    for (uint32_t i = 0; i < run->internal.ndata && i < ARRAY_LENGTH(run->internal.data); i++)
        text_addf(&what, "%s0x%llx", i ? ", " : " (", run->internal.data[i]);
    text_addf(&what, "%s", run->internal.ndata ? ")" : "");
    return fail(fd, &what, err);
}

static enum vcpu_exit handle_other(struct kvm_run *run, int fd, struct error *err)
{
    AUTO(text) what = {0};
    if (run->exit_reason == KVM_EXIT_FAIL_ENTRY)
        text_addf(&what, "the CPU refused the guest, reason 0x%llx",
                  run->fail_entry.hardware_entry_failure_reason);
    else
        text_addf(&what, "an exit of a kind nobody expects, %u", run->exit_reason);
    return fail(fd, &what, err);
}

enum vcpu_exit vcpu_exit_handle(struct kvm_run *run, int fd, struct bus *ports,
                                struct bus *memory_bus, struct error *err)
{
    switch (run->exit_reason) {
    case KVM_EXIT_IO:
        handle_io(run, ports);
        return VCPU_EXIT_DONE;
    case KVM_EXIT_MMIO:
        handle_mmio(run, memory_bus);
        return VCPU_EXIT_DONE;
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN:
        return VCPU_EXIT_DONE;
    case KVM_EXIT_SHUTDOWN:
    case KVM_EXIT_SYSTEM_EVENT:
        return VCPU_EXIT_RESET;
    case KVM_EXIT_INTERNAL_ERROR:
        return handle_internal_error(run, fd, err);
    default:
        return handle_other(run, fd, err);
    }
}
