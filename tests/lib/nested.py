# SPDX-License-Identifier: GPL-2.0-or-later
"""L1: a small machine in QEMU's emulation that has a KVM which runs any kernel, for `rehost-vm` and
its guests. (A /dev/kvm of the host proves nothing; the emulated processor has SVM.)

L1 is a kernel of this host and an initramfs: busybox, KVM's modules, SeaBIOS, passt, the programs
under test. Its first serial line is the guest's console, so that everything of machine.Qemu works
on the guest; on its second one it does what `shell` tells it. Its disk is an ext4 with the
machine's folder, on /machine.

QEMU may abort and L1's kernel may panic: that is no word on the guest, and L1 is started once more.
"""

import glob
import os
import re
import shutil
import socket
import subprocess
import threading
import time

import machine
import server_test
from server_test import Failure, check, run, say

HERE = os.path.dirname(os.path.abspath(__file__))
SEABIOS = "/usr/share/seabios/bios-256k.bin"
MODULES = ("kvm-amd", "virtio_pci", "virtio_blk", "ext4", "tun")
# passt replaces itself by the variant for AVX2.
SYSTEM_PROGRAMS = ("/bin/busybox", "/usr/bin/passt", "/usr/bin/passt.avx2")
TOOLS = ("qemu-system-x86_64", "mke2fs", "debugfs", "cpio", "gzip", "ldd", "busybox", "passt",
         "modprobe")
READY_SECONDS = 300
ANSWER_SECONDS = 120
ATTEMPTS = 2


class Died(Exception):
    """L1, not its guest."""


# --- what L1 is made of ----------------------------------------------------------------------

def modules_of(kernel):
    """The files to load, in this order; None if the kernel lacks one."""
    files = []
    for name in MODULES:
        done = subprocess.run(["modprobe", "-S", kernel, "--show-depends", name],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        if done.returncode != 0:
            return None
        for path in re.findall(r"^insmod (\S+)", done.stdout, re.M):
            if path not in files:
                files.append(path)
    return files


def find_kernel():
    """A kernel of this host that has all modules uncompressed, or None; a small one rather."""
    found = [path.split("vmlinuz-", 1)[1] for path in glob.glob("/boot/vmlinuz-*")]
    for kernel in sorted(found, key=lambda k: ("cloud" not in k, k)):
        files = modules_of(kernel)
        if files and all(f.endswith(".ko") for f in files):
            return kernel
    return None


def missing(*tools, **needs):
    """Why a test has to be left out, or None."""
    why = server_test.missing(*TOOLS, *tools, **needs)
    if why or os.path.exists(SEABIOS):
        return why or (None if find_kernel() else "no kernel in /boot with KVM's modules")
    return "no " + SEABIOS


def add_program(root, program):
    """To /bin, and its libraries where the loader looks for them."""
    shutil.copy(program, os.path.join(root, "bin"))
    listing = subprocess.run(["ldd", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                             text=True).stdout
    for library in re.findall(r"(/\S+) \(0x", listing):
        target = root + library
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy(library, target)


def make_initrd(folder, kernel, programs):
    root, initrd = os.path.join(folder, "l1"), os.path.join(folder, "l1.gz")
    for name in ("bin", "etc", "lib", "lib64", "modules", "proc", "sys", "dev", "usr"):
        os.makedirs(os.path.join(root, name))
    for program in (*SYSTEM_PROGRAMS, *programs):
        if os.path.exists(program):
            add_program(root, program)
    os.makedirs(os.path.dirname(root + SEABIOS))
    shutil.copy(SEABIOS, root + SEABIOS)
    files = modules_of(kernel)
    for path in files:
        shutil.copy(path, os.path.join(root, "modules"))
    for name, text in (
            ("modules/order", "".join(os.path.basename(f) + "\n" for f in files)),
            ("etc/passwd", "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"),
            ("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
            ("etc/resolv.conf", "nameserver 192.0.2.53\n")):
        with open(os.path.join(root, name), "w") as f:
            f.write(text)
    shutil.copy(os.path.join(HERE, "nested", "init"), root)
    run("sh", "-c", "set -e; cd \"$1\"; find . | cpio -o -H newc --quiet | gzip -1 >\"$2\"", "sh",
        root, initrd)
    shutil.rmtree(root)
    return initrd


def make_disk(path, folder):
    """An ext4 with the folder's files."""
    used = sum(entry.stat().st_size for entry in os.scandir(folder))
    with open(path, "wb") as f:
        f.truncate((used + used // 10 + (64 << 20)) & ~0xfff)
    run("mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-d", folder, path)


# --- the machine -----------------------------------------------------------------------------

class L1(machine.Qemu):
    def __init__(self, folder, kernel, initrd, disk, cpus=2, memory_mib=3072):
        control = os.path.join(folder, "l1.shell")
        self.answers, self.commands = "", 0
        super().__init__(
            ["-cpu", "max", "-smp", str(cpus), "-m", str(memory_mib), "-no-reboot",
             "-kernel", "/boot/vmlinuz-" + kernel, "-initrd", initrd,
             "-append", "console=ttyS1 loglevel=1 panic=-1",
             "-drive", "if=virtio,format=raw,cache=unsafe,file=" + disk.replace(",", ",,"),
             "-chardev", "socket,id=s1,path=%s,server=on,wait=off" % control,
             "-serial", "chardev:s1"], os.path.join(folder, "serial.log"))
        self.told = self._connect(control)
        threading.Thread(target=self._take_answers, args=(self.told,), daemon=True).start()

    def _take_answers(self, told):
        try:
            while data := told.recv(65536):
                self.answers += data.decode("utf-8", "replace")
        except OSError:
            pass  # stopped

    def stop(self):
        self.told.close()
        super().stop()

    def _answer(self, pattern, seconds):
        """Its match in what L1 says. The guest's console is read meanwhile."""
        end = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.answers, re.M)
            if found:
                return found
            if self.process.poll() is not None:
                raise Died("QEMU ended with status %s" % self.process.returncode)
            if time.monotonic() > end:
                raise Died("it does not answer")
            self.listen(0.2)

    def until_ready(self):
        self._answer(r"^L1 is ready$", READY_SECONDS)
        say("L1 is ready after %.0f s" % (time.monotonic() - self.started))
        status, text = self.shell("ls /dev/kvm && mount -t ext4 /dev/vda /machine")
        if status != 0:
            raise Died("it has no KVM or no disk: %s%s" % (self.answers[-2000:], text))

    def shell(self, command, seconds=ANSWER_SECONDS):
        """(exit status, output) of a command in L1."""
        self.commands += 1
        start = len(self.answers)
        self.told.sendall(("{ %s; }; echo; echo \"command %d: $?\"\n" %
                           (command, self.commands)).encode())
        found = self._answer(r"^command %d: (\d+)$" % self.commands, seconds)
        return int(found.group(1)), self.answers[start:found.start()].strip()

    def death(self):
        """Why nothing that went wrong is the guest's fault, or None: L1 lives."""
        try:
            self.shell("true")
            return None
        except (Died, OSError) as e:
            self.errors.seek(0)
            return "%s; QEMU: %s; L1: %s" % (e, self.errors.read().decode(errors="replace")[-1000:],
                                             self.answers[-2000:])

    def power_off(self, timeout=120):
        """L1 itself; its disk is whole then."""
        self.told.sendall(b"umount /machine && sync && poweroff -f\n")
        end = time.monotonic() + timeout
        while self.process.poll() is None:
            if time.monotonic() > end:
                raise Died("it does not power off: %s" % self.answers[-500:])
            self.listen(0.2)


def run_in_l1(folder, programs, machine_folder, test):
    """test(l1) in an L1 with the programs and the machine's folder; the disk's path, as it is when
    L1 has powered off. An L1 that died is started again once."""
    kernel = find_kernel()
    initrd = make_initrd(folder, kernel, programs)
    disk = os.path.join(folder, "l1.disk")
    for left in reversed(range(ATTEMPTS)):
        make_disk(disk, machine_folder)
        try:
            with L1(folder, kernel, initrd, disk) as l1:
                try:
                    l1.until_ready()
                    test(l1)
                    l1.power_off()
                    return disk
                except (Failure, machine.MachineError, OSError) as e:
                    why = l1.death()
                    if not why:
                        raise
                    raise Died(why) from e
        except Died as e:
            say("L1 died, which says nothing about its guest: %s" % e)
            check(left, "L1 died %d times" % ATTEMPTS)


def files_of(disk, names, folder):
    """Takes files out of L1's disk."""
    for name in names:
        run("debugfs", "-R", "dump /%s %s" % (name, os.path.join(folder, name)), disk)
        yield os.path.join(folder, name)
