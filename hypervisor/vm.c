/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Putting a machine together, and its life: what devices, CPUs and others ask of it becomes a bit
 * and a wake-up of the loop's thread, which alone starts, stops and resets anything.
 */
#include "hypervisor/vm.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/own.h"
#include "base/text.h"
#include "hypervisor/layout.h"
#include "hypervisor/virtio/blk.h"
#include "hypervisor/virtio/net.h"
#include "hypervisor/virtio/small.h"
#include "hypervisor/vm_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* --- requests --------------------------------------------------------------------------------- */

/* Signal-safe. */
static void request(struct vm *vm, enum vm_request what)
{
    int saved = errno;
    atomic_fetch_or(&vm->requests, what);
    ssize_t ignored = write(vm->request_fd, &(uint64_t){1}, sizeof(uint64_t));
    (void)ignored;
    errno = saved;
}

static void on_event(void *context, enum machine_event event, int value)
{
    static const enum vm_request requests[] = {
        [MACHINE_RESET] = VM_REQUEST_RESET,
        [MACHINE_POWER_OFF] = VM_REQUEST_POWER_OFF,
        [MACHINE_EXIT] = VM_REQUEST_EXIT,
    };
    struct vm *vm = context;
    if (event == MACHINE_PANICKED) {
        if (!atomic_exchange(&vm->has_panicked, true))
            log_warning(vm->options.log, "the guest's kernel says that it panicked");
        return;
    }
    if (event == MACHINE_EXIT)
        atomic_store(&vm->exit_value, value);
    vcpus_ask_to_rest(vm->vcpus);
    request(vm, requests[event]);
}

static void on_triple_fault(void *context)
{
    struct vm *vm = context;
    log_info(vm->options.log, "a triple fault resets the guest");
    request(vm, VM_REQUEST_RESET);
}

static void on_failure(void *context, const struct error *error)
{
    struct vm *vm = context;
    pthread_mutex_lock(&vm->failure_lock);
    if (vm->failure.text[0] == '\0')
        vm->failure = *error;
    pthread_mutex_unlock(&vm->failure_lock);
    request(vm, VM_REQUEST_FAIL);
}

static void end(struct vm *vm, enum vm_end how)
{
    vm->state = VM_ENDED;
    vm->result.end = how;
    vm->result.value = atomic_load(&vm->exit_value);
    pthread_mutex_lock(&vm->failure_lock);
    vm->result.error = vm->failure;
    pthread_mutex_unlock(&vm->failure_lock);
    loop_stop(vm->loop);
}

/* The CPUs rest first, so nothing is asked twice for one reason. */
static void handle_requests(struct vm *vm)
{
    if (atomic_load(&vm->requests) == 0 || vm->state == VM_ENDED)
        return;
    vcpus_pause(vm->vcpus);
    unsigned requests = atomic_exchange(&vm->requests, 0);
    if (requests & VM_REQUEST_FAIL)
        end(vm, VM_END_FAILED);
    else if (requests & VM_REQUEST_STOP)
        end(vm, VM_END_STOPPED);
    else if (requests & VM_REQUEST_EXIT)
        end(vm, VM_END_EXIT);
    else if (requests & VM_REQUEST_POWER_OFF)
        end(vm, VM_END_POWER_OFF);
    else if (requests & VM_REQUEST_RESET)
        vm_reset(vm);
    else if (vm->state == VM_RUNNING)
        vcpus_resume(vm->vcpus);
}

static void on_request(void *context, uint32_t events)
{
    struct vm *vm = context;
    uint64_t count;
    (void)events;
    ssize_t ignored = read(vm->request_fd, &count, sizeof(count));
    (void)ignored;
    handle_requests(vm);
}

/* --- making it -------------------------------------------------------------------------------- */

static int check_guest(const struct vm_options *options, struct error *err)
{
    const struct guest *guest = options->guest;
    unsigned cpus = guest->sockets * guest->cores * guest->threads;
    if (guest->firmware != GUEST_FIRMWARE_BIOS && !options->kernel)
        return error_set(err, ENOTSUP, "a guest with UEFI firmware");
    if (strcmp(guest->arch, "x86_64") != 0)
        return error_set(err, ENOTSUP, "a guest for %s", guest->arch);
    if (cpus == 0 || cpus > LAYOUT_MAX_CPUS)
        return error_set(err, 0, "%u CPUs: there may be 1 to %d", cpus, LAYOUT_MAX_CPUS);
    return 0;
}

static int read_boot_files(struct vm *vm, struct error *err)
{
    const struct vm_options *options = &vm->options;
    if (options->kernel)
        return kernel_image_read(&vm->kernel, options->kernel, options->initrd,
                                 options->command_line ? options->command_line : "", err);
    if (firmware_read(&vm->firmware, options->firmware, err) != 0)
        return -1;
    return kvm_add_rom(&vm->kvm, vm->firmware.data, vm->firmware.size, err);
}

static int make_loop(struct vm *vm, struct error *err)
{
    vm->loop = loop_new(err);
    if (!vm->loop)
        return -1;
    vm->request_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (vm->request_fd < 0)
        return error_set(err, errno, "make an eventfd");
    vm->request_watch = (struct loop_watch){on_request, vm, vm->request_fd};
    return loop_add(vm->loop, &vm->request_watch, EPOLLIN, err);
}

static int make_cpus(struct vm *vm, struct error *err)
{
    struct vcpus_options options = {.kvm = &vm->kvm,
                                    .ports = &vm->ports,
                                    .memory_bus = &vm->memory_bus,
                                    .topology = vm->topology,
                                    .has_nesting = vm->options.has_nesting,
                                    .triple_fault = on_triple_fault,
                                    .failed = on_failure,
                                    .context = vm};
    vm->vcpus = vcpus_new(&options, err);
    return vm->vcpus ? 0 : -1;
}

static void make_host(struct vm *vm)
{
    vm->interrupts = kvm_interrupts(&vm->kvm);
    vm->doorbells = kvm_doorbells(&vm->kvm);
    vm->host = (struct device_host){.ports = &vm->ports,
                                    .memory_bus = &vm->memory_bus,
                                    .memory = &vm->kvm.memory,
                                    .interrupts = &vm->interrupts,
                                    .loop = vm->loop,
                                    .log = vm->options.log,
                                    .event = on_event,
                                    .context = vm};
}

static int make(struct vm *vm, struct error *err)
{
    const struct guest *guest = vm->options.guest;
    if (check_guest(&vm->options, err) != 0 || kvm_open(&vm->kvm, err) != 0 ||
        kvm_add_ram(&vm->kvm, guest->memory_bytes, err) != 0 || read_boot_files(vm, err) != 0 ||
        make_loop(vm, err) != 0)
        return -1;
    make_host(vm);
    if (vm_make_devices(vm, err) != 0 || make_cpus(vm, err) != 0)
        return -1;
    vm_set_limits(vm, &guest->limits);
    return 0;
}

/* The throttles' clock. */
static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

struct vm *vm_new(const struct vm_options *options, struct error *err)
{
    const struct guest *guest = options->guest;
    struct vm *vm = memory_new(1, sizeof(*vm));
    vm->options = *options;
    vm->topology = cpuid_topology_make(guest->sockets, guest->cores, guest->threads);
    vm->kvm.fd = vm->kvm.vm_fd = vm->request_fd = -1;
    vm->state = VM_PAUSED;
    vm->statm_fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    bus_init(&vm->ports);
    bus_init(&vm->memory_bus);
    pthread_mutex_init(&vm->failure_lock, NULL);
    throttle_init(&vm->disk_throttle, &(struct throttle_rates){0}, now_ns());
    for (size_t i = 0; i < 2 * PCI_SLOTS; i++)
        throttle_init(&vm->throttles[i / 2][i % 2], &(struct throttle_rates){0}, now_ns());
    if (make(vm, err) == 0)
        return vm;
    vm_free(vm);
    return NULL;
}

void vm_free(struct vm *vm)
{
    if (!vm)
        return;
    vcpus_free(vm->vcpus);
    vm_close_devices(vm);
    loop_free(vm->loop);
    kvm_close(&vm->kvm);
    firmware_fini(&vm->firmware);
    kernel_image_fini(&vm->kernel);
    own_close(&vm->request_fd);
    own_close(&vm->statm_fd);
    throttle_fini(&vm->disk_throttle);
    for (size_t i = 0; i < 2 * PCI_SLOTS; i++)
        throttle_fini(&vm->throttles[i / 2][i % 2]);
    pthread_mutex_destroy(&vm->failure_lock);
    bus_fini(&vm->ports);
    bus_fini(&vm->memory_bus);
    free(vm);
}

struct loop *vm_loop(struct vm *vm)
{
    return vm->loop;
}

/* --- running it ------------------------------------------------------------------------------- */

/* What is in memory at the start, and where the CPUs are. */
static int place(struct vm *vm, struct error *err)
{
    struct boot_entry entry = {0};
    unsigned slots[PCI_SLOTS];
    struct firmware_options options = vm_firmware_options(vm, slots);
    int result = vm->kernel.kernel
                     ? kernel_image_place(&vm->kernel, &vm->kvm.memory, &options, &entry, err)
                     : firmware_place(&vm->firmware, &vm->kvm.memory, err);
    return result == 0 ? vcpus_reset(vm->vcpus, &entry, err) : -1;
}

enum device_call { DEVICE_RESET, DEVICE_PAUSE, DEVICE_RESUME };

static void each_device(struct vm *vm, enum device_call what)
{
    for (size_t i = 0; i < vm->device_count; i++) {
        const struct device_ops *ops = vm->devices[i]->ops;
        void (*const calls[])(struct device *) = {ops->reset, ops->pause, ops->resume};
        if (calls[what])
            calls[what](vm->devices[i]);
    }
}

int vm_run(struct vm *vm, struct vm_result *result, struct error *err)
{
    if (place(vm, err) != 0)
        return -1;
    vm->started = clock_seconds();
    vm->state = VM_RUNNING;
    vcpus_resume(vm->vcpus);
    int status = loop_run(vm->loop, err);
    vcpus_pause(vm->vcpus);
    each_device(vm, DEVICE_PAUSE);
    vm->state = VM_ENDED;
    *result = vm->result;
    log_info(vm->options.log, "ran for %.1f s, %.1f s of CPU, %llu exits",
             clock_seconds() - vm->started, vcpus_cpu_seconds(vm->vcpus),
             (unsigned long long)vcpus_exits(vm->vcpus));
    return status;
}

void vm_pause(struct vm *vm)
{
    if (vm->state != VM_RUNNING)
        return;
    vcpus_pause(vm->vcpus);
    each_device(vm, DEVICE_PAUSE);
    vm->state = VM_PAUSED;
    log_info(vm->options.log, "paused");
}

void vm_resume(struct vm *vm)
{
    if (vm->state != VM_PAUSED)
        return;
    vm->state = VM_RUNNING;
    each_device(vm, DEVICE_RESUME);
    if (atomic_load(&vm->requests) == 0)
        vcpus_resume(vm->vcpus);
    else
        handle_requests(vm);
}

void vm_reset(struct vm *vm)
{
    struct error err;
    if (vm->state == VM_ENDED)
        return;
    vcpus_pause(vm->vcpus);
    atomic_fetch_and(&vm->requests, ~(unsigned)VM_REQUEST_RESET);
    each_device(vm, DEVICE_RESET);
    atomic_store(&vm->has_panicked, false);
    vm->resets++;
    log_info(vm->options.log, "reset");
    if (kvm_reset_chips(&vm->kvm, &err) != 0 || place(vm, &err) != 0)
        on_failure(vm, &err);
    else if (vm->state == VM_RUNNING)
        vcpus_resume(vm->vcpus);
}

void vm_power_button(struct vm *vm)
{
    pm_press_power_button(vm->power_button);
}

void vm_stop(struct vm *vm)
{
    request(vm, VM_REQUEST_STOP);
}

/* --- ruling and looking ----------------------------------------------------------------------- */

void vm_set_limits(struct vm *vm, const struct guest_limits *limits)
{
    struct throttle_rates disk = {limits->disk_bytes_per_second,
                                  limits->disk_operations_per_second};
    struct throttle_rates net = {.bytes_per_second = limits->net_bytes_per_second};
    throttle_set(&vm->disk_throttle, &disk, now_ns());
    for (size_t i = 0; i < 2 * PCI_SLOTS; i++)
        throttle_set(&vm->throttles[i / 2][i % 2], &net, now_ns());
    vcpus_set_limit(vm->vcpus, limits->cpu_percent);
}

void vm_set_balloon(struct vm *vm, uint64_t bytes)
{
    virtio_balloon_set(vm->balloon, bytes);
}

static uint64_t resident_bytes(const struct vm *vm)
{
    char text[128] = "";
    unsigned long long pages = 0;
    ssize_t length = pread(vm->statm_fd, text, sizeof(text) - 1, 0);
    if (length <= 0 || sscanf(text, "%*u %llu", &pages) != 1)
        return 0;
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void get_disk_stats(struct virtio_device *device, struct vm_disk_stats *stats)
{
    struct virtio_blk_stats disk;
    virtio_blk_get_stats(device, &disk);
    *stats = (struct vm_disk_stats){disk.read_bytes,     disk.read_requests, disk.written_bytes,
                                    disk.write_requests, disk.flushes,       disk.errors};
}

static void get_nic_stats(struct virtio_device *device, struct vm_nic_stats *stats)
{
    struct virtio_net_stats nic;
    virtio_net_get_stats(device, &nic);
    *stats = (struct vm_nic_stats){nic.received_bytes, nic.received_frames, nic.sent_bytes,
                                   nic.sent_frames, nic.dropped_frames};
}

void vm_get_stats(struct vm *vm, struct vm_stats *stats)
{
    *stats = (struct vm_stats){.state = vm->state,
                               .seconds = vm->started > 0 ? clock_seconds() - vm->started : 0,
                               .cpu_seconds = vcpus_cpu_seconds(vm->vcpus),
                               .exits = vcpus_exits(vm->vcpus),
                               .resets = vm->resets,
                               .has_panicked = atomic_load(&vm->has_panicked),
                               .memory_bytes = vm->options.guest->memory_bytes,
                               .resident_bytes = resident_bytes(vm),
                               .balloon_bytes = virtio_balloon_get(vm->balloon),
                               .disk_count = vm->disk_count,
                               .nic_count = vm->nic_count};
    for (size_t i = 0; i < vm->disk_count; i++)
        get_disk_stats(vm->disks[i], &stats->disks[i]);
    for (size_t i = 0; i < vm->nic_count; i++)
        get_nic_stats(vm->nics[i], &stats->nics[i]);
}
