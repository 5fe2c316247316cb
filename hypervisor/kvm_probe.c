/* SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Whether KVM runs a guest here, found out by running one: a few pages with long-mode code that
 * takes an exception, computes with SSE and loops. There are systems whose /dev/kvm opens and makes
 * machines, but interprets their code, and that slowly, or not in long mode.
 */
#include "base/bytes.h"
#include "base/own.h"
#include "base/text.h"
#include "hypervisor/kvm.h"
#include "hypervisor/vcpu_state.h"
#include "hypervisor/vm.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* The loop's 20 million instructions are some 10 ms; in emulation of emulation 0.5 s. */
#define PROBE_SECONDS 2
#define PROBE_SIGNAL (SIGRTMIN + 1)
#define PROBE_MEMORY MIB
#define PROBE_PORT 0xf4
#define PROBE_RESULT UINT32_C(0x2468acf1)

/* Where things are in the probe's memory. */
enum { PML4 = 0x1000, PDPT = 0x2000, PD = 0x3000, IDT = 0x4000, GDT = 0x5000, CODE = 0x6000 };
enum { STACK = 0x8000, CODE_SELECTOR = 8, DATA_SELECTOR = 16, HANDLER_OFFSET = 0x80 };

static const uint8_t code[] = {
    0x48, 0xb8, 0xf0, 0xde, 0xbc, 0x9a, 0x78, 0x56, 0x34, 0x12, /* mov rax, 0x123456789abcdef0 */
    0x66, 0x48, 0x0f, 0x6e, 0xc0,                               /* movq xmm0, rax */
    0x66, 0x0f, 0xd4, 0xc0,                                     /* paddq xmm0, xmm0 */
    0x66, 0x48, 0x0f, 0x7e, 0xc0,                               /* movq rax, xmm0 */
    0x0f, 0x0b,                                                 /* ud2 */
    0xb9, 0x80, 0x96, 0x98, 0x00,                               /* mov ecx, 10000000 */
    0xff, 0xc9,                                                 /* dec ecx */
    0x75, 0xfc,                                                 /* jnz back */
    0xef,                                                       /* out dx, eax */
    0xf4,                                                       /* hlt */
};

/* Of the invalid instruction: passes over it. */
static const uint8_t handler[] = {
    0x48, 0x83, 0x04, 0x24, 0x02, /* add qword [rsp], 2 */
    0x48, 0xc1, 0xe8, 0x20,       /* shr rax, 32 */
    0x66, 0xba, 0xf4, 0x00,       /* mov dx, 0xf4 */
    0x48, 0xcf,                   /* iretq */
};

struct probe {
    struct kvm kvm;
    int cpu_fd;
    struct kvm_run *run;
};

static void fill_memory(uint8_t *memory)
{
    enum { PRESENT_WRITABLE = 3, LARGE = 0x80, INTERRUPT_GATE = 0x8e, INVALID_OPCODE = 6 };
    uint64_t address = CODE + HANDLER_OFFSET;
    store_le64(memory + PML4, PDPT | PRESENT_WRITABLE);
    store_le64(memory + PDPT, PD | PRESENT_WRITABLE);
    store_le64(memory + PD, PRESENT_WRITABLE | LARGE);
    store_le64(memory + GDT + CODE_SELECTOR, UINT64_C(0x00af9b000000ffff));
    store_le64(memory + GDT + DATA_SELECTOR, UINT64_C(0x00cf93000000ffff));
    store_le64(memory + IDT + INVALID_OPCODE * 16,
               address | CODE_SELECTOR << 16 | (uint64_t)INTERRUPT_GATE << 40);
    memcpy(memory + CODE, code, sizeof(code));
    memcpy(memory + CODE + HANDLER_OFFSET, handler, sizeof(handler));
}

static int set_registers(struct probe *probe, struct error *err)
{
    enum { CR0 = 0x80000011u /* PG, ET, PE */, CR0_MP_NE = 0x22, CR4 = 0x620 /* PAE, SSE */ };
    struct kvm_sregs sregs;
    struct kvm_regs regs = {.rip = CODE, .rsp = STACK, .rflags = 2};
    if (ioctl(probe->cpu_fd, KVM_GET_SREGS, &sregs) != 0)
        return error_set(err, errno, "KVM: read a CPU's registers");
    vcpu_set_flat(&sregs, CODE_SELECTOR, DATA_SELECTOR, true);
    sregs.gdt = (struct kvm_dtable){.base = GDT, .limit = 23};
    sregs.idt = (struct kvm_dtable){.base = IDT, .limit = 32 * 16 - 1};
    sregs.cr0 = CR0 | CR0_MP_NE;
    sregs.cr3 = PML4;
    sregs.cr4 = CR4;
    sregs.efer = 0x500; /* LME, LMA */
    if (ioctl(probe->cpu_fd, KVM_SET_SREGS, &sregs) != 0 ||
        ioctl(probe->cpu_fd, KVM_SET_REGS, &regs) != 0)
        return error_set(err, 0, "KVM on this system cannot run 64-bit code");
    return 0;
}

static int make(struct probe *probe, struct error *err)
{
    struct cpuid_options cpuid = {.topology = {1, 1, 1}};
    if (kvm_open(&probe->kvm, err) != 0 || kvm_add_ram(&probe->kvm, PROBE_MEMORY, err) != 0)
        return -1;
    fill_memory(probe->kvm.memory.regions[0].host);
    probe->cpu_fd = ioctl(probe->kvm.vm_fd, KVM_CREATE_VCPU, 0);
    if (probe->cpu_fd < 0)
        return error_set(err, errno, "KVM: make a CPU");
    void *run =
        mmap(NULL, probe->kvm.run_size, PROT_READ | PROT_WRITE, MAP_SHARED, probe->cpu_fd, 0);
    if (run == MAP_FAILED)
        return error_set(err, errno, "KVM: map a CPU");
    probe->run = run;
    if (vcpu_set_cpuid(&probe->kvm, probe->cpu_fd, &cpuid, err) != 0)
        return -1;
    return set_registers(probe, err);
}

static int run(struct probe *probe, struct error *err)
{
    const struct kvm_run *state = probe->run;
    if (ioctl(probe->cpu_fd, KVM_RUN, 0) != 0)
        return errno == EINTR
                   ? error_set(err, 0,
                               "KVM on this system runs 64-bit code too slowly to be of use (it "
                               "interprets it)")
                   : error_set(err, errno, "KVM: run a CPU");
    if (state->exit_reason == KVM_EXIT_IO && state->io.port == PROBE_PORT &&
        load_le32((const uint8_t *)state + state->io.data_offset) == PROBE_RESULT)
        return 0;
    return error_set(err, 0, "KVM on this system cannot run 64-bit code (exit %u)",
                     state->exit_reason);
}

static _Thread_local struct kvm_run *timed_run;

static void on_timeout(int number)
{
    (void)number;
    if (timed_run)
        __atomic_store_n(&timed_run->immediate_exit, 1, __ATOMIC_SEQ_CST);
}

/* The signal comes to this thread, at the end of the time and then again and again: one that comes
 * before KVM_RUN sets immediate_exit. */
static int run_timed(struct probe *probe, struct error *err)
{
    struct sigaction action = {.sa_handler = on_timeout}, before;
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = PROBE_SIGNAL};
    struct itimerspec time = {.it_value.tv_sec = PROBE_SECONDS};
    sigset_t unblocked, mask;
    timer_t timer;
    event._sigev_un._tid = gettid();
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0)
        return error_set(err, errno, "make a timer");
    sigemptyset(&unblocked);
    sigaddset(&unblocked, PROBE_SIGNAL);
    timed_run = probe->run;
    sigaction(PROBE_SIGNAL, &action, &before);
    pthread_sigmask(SIG_UNBLOCK, &unblocked, &mask);
    timer_settime(timer, 0, &time, NULL);
    int result = run(probe, err);
    timer_delete(timer);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    sigaction(PROBE_SIGNAL, &before, NULL);
    timed_run = NULL;
    return result;
}

int kvm_probe(struct error *err)
{
    struct probe probe = {.cpu_fd = -1, .kvm = {.fd = -1, .vm_fd = -1}};
    int result = make(&probe, err) == 0 ? run_timed(&probe, err) : -1;
    if (probe.run)
        munmap(probe.run, probe.kvm.run_size);
    own_close(&probe.cpu_fd);
    kvm_close(&probe.kvm);
    return result;
}
