/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * A machine: made of a definition, started, and ruled from any thread. hypervisor/vm_devices.c has
 * the table of what it consists of; KVM is in hypervisor/kvm.c and hypervisor/vcpu.c only.
 */
#ifndef HYPERVISOR_VM_H
#define HYPERVISOR_VM_H

#include "base/error.h"
#include "base/log.h"
#include "base/own.h"
#include "formats/guest.h"
#include "hypervisor/platform.h"

#include <stdbool.h>
#include <stdint.h>

struct vm_options {
    const struct guest *guest; /* borrowed while the machine is */
    const char *folder;        /* that its paths are relative to */
    const char *network; /* for every NIC: a net_backend spec; NULL: the definition's, or user */
    const char
        *snapshot_folder; /* writes go to overlays there, unlinked at once; NULL: to the disks */
    const char *firmware; /* path; NULL: Debian's SeaBIOS */
    const char *kernel, *initrd, *command_line; /* direct start; kernel NULL: firmware */
    bool has_nesting;                           /* the guest sees SVM or VMX */
    bool has_test_exit;
    struct console_ends console;
    struct log *log;
};

enum vm_state { VM_RUNNING, VM_PAUSED, VM_ENDED };

enum vm_end {
    VM_END_POWER_OFF,
    VM_END_STOPPED, /* vm_stop */
    VM_END_EXIT,    /* the test port; `value` */
    VM_END_FAILED,  /* KVM could not go on: `error` */
};

struct vm_result {
    enum vm_end end;
    int value;
    struct error error;
};

struct vm_stats {
    enum vm_state state;
    double seconds, cpu_seconds; /* since the start; of all vCPUs */
    uint64_t exits;              /* to this process */
    uint64_t resets;
    bool has_panicked;
    uint64_t memory_bytes, resident_bytes, balloon_bytes;
    size_t disk_count, nic_count;
    struct vm_disk_stats {
        uint64_t read_bytes, read_requests, written_bytes, write_requests, flushes, errors;
    } disks[GUEST_MAX_DISKS];
    struct vm_nic_stats {
        uint64_t received_bytes, received_frames, sent_bytes, sent_frames, dropped_frames;
    } nics[GUEST_MAX_NICS];
};

struct vm;

/* Opens everything (images are locked), makes every device and thread, runs nothing yet. */
struct vm *vm_new(const struct vm_options *options, struct error *err);
void vm_free(struct vm *vm); /* NULL-safe; ends what runs */
OWN_DEFINE_PTR(vm, vm_free)

/* For who adds watches of its own (the control socket) before vm_run. */
struct loop *vm_loop(struct vm *vm);

/* Runs the machine in this thread's loop until it ends; -1 only when it could not be started. */
int vm_run(struct vm *vm, struct vm_result *result, struct error *err);

/* From the loop's thread. Pausing returns when all vCPUs and devices rest. */
void vm_pause(struct vm *vm);
void vm_resume(struct vm *vm);
void vm_reset(struct vm *vm);
void vm_power_button(struct vm *vm);
void vm_stop(struct vm *vm); /* any thread, and signal-safe */
void vm_set_limits(struct vm *vm, const struct guest_limits *limits);
void vm_set_balloon(struct vm *vm, uint64_t bytes);
void vm_get_stats(struct vm *vm, struct vm_stats *stats);

/*
 * Whether KVM can run a guest here, by running a few instructions of a long-mode one: 0 when it
 * can, else -1 and why not, in words for a user. Takes milliseconds.
 */
int kvm_probe(struct error *err);

#endif
