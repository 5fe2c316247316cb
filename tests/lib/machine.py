# SPDX-License-Identifier: GPL-2.0-or-later
"""One machine in QEMU's emulation, driven over its serial line. The accelerator is always named: an
openable /dev/kvm proves nothing.

`Machine` is one of two kinds of hardware: 'metal' (AHCI disks, e1000e behind PCI Express root ports,
so that the interfaces are called enp3s0f0, enp3s0f1) is the physical server that the fixtures
pretend to be; 'virtio' is what a converted copy finds. Every disk is used through QEMU's own
snapshot: nothing here ever writes to one. The guest's clock counts its instructions: on a busy host
it waits longer, not in vain.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time

ESCAPES = re.compile(rb"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][0-9A-Za-z]"
                     rb"|[=>78cDEHMZ])|[\x00\x07\x0e\x0f]|\r")
SCREEN_ADDRESS, SCREEN_BYTES = 0xB8000, 32 * 1024

EMERGENCY = r"\(initramfs\)|emergency mode|Give root password for maintenance|Kernel panic"
FIRMWARE = r"UEFI Interactive Shell|BdsDxe: No bootable option"
LOGIN = r"\S+ login: *$"


OVMF = "/usr/share/OVMF/OVMF_%s_4M.fd"


class MachineError(Exception):
    pass


def firmware_arguments(variables):
    """UEFI with these variables, which stay as they are."""
    return ["-drive", "if=pflash,unit=0,format=raw,readonly=on,file=" + OVMF % "CODE",
            "-drive", "if=pflash,unit=1,format=raw,snapshot=on,file=" +
            variables.replace(",", ",,")]


def disk_arguments(profile, disks):
    args = []
    for i, disk in enumerate(disks):
        # Read-only below a throw-away overlay, unlocked: tests may boot one source twice.
        args += ["-drive", "if=none,id=d%d,file=%s,format=%s,snapshot=on,file.locking=off,"
                 "cache=unsafe" % (i, disk["path"].replace(",", ",,"), disk.get("format", "raw"))]
        boot = ",bootindex=%d" % (i + 1)
        if profile == "metal":
            device = "ide-hd,bus=ide.%d,drive=d%d" % (i, i)
            for key in ("model", "serial"):
                if key in disk:
                    device += ",%s=%s" % (key, disk[key])
        else:
            device = "virtio-blk-pci,drive=d%d,addr=0x%x" % (i, 8 + i)
        args += ["-device", device + boot]
    return args


def port_arguments():
    """Buses 1 and 2 are other people's cards; no hotplug, or udev prefers the slot's name."""
    args = ["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"]
    for port in (1, 2, 3):
        args += ["-device", "pcie-root-port,id=rp%d,bus=pcie.0,addr=0x%x,chassis=%d,slot=%d,"
                 "hotplug=off" % (port, 0x10 + port, port, port)]
    return args


def nic_arguments(profile, nics):
    args = port_arguments() if profile == "metal" else []
    for i, nic in enumerate(nics):
        network = nic.get("network", "net=10.0.2.0/24")
        args += ["-netdev", "user,id=n%d,restrict=on,%s" % (i, network)]
        if profile == "metal":
            device = "e1000e,bus=rp3,addr=0x0.%d" % i
            if i == 0:
                device += ",multifunction=on"
        else:
            device = "virtio-net-pci,addr=0x%x" % (2 + i)
        args += ["-device", "%s,netdev=n%d,mac=%s,romfile=" % (device, i, nic["mac"])]
    return args


class Qemu:
    """QEMU with these arguments, its serial line and its monitor."""

    def __init__(self, arguments, log_path=None):
        self.folder = tempfile.mkdtemp(prefix="rehost-machine.")
        self.text = ""
        self.mark = 0
        self.partial = b""
        self.log = open(log_path or os.path.join(self.folder, "serial.log"), "wb")
        serial, monitor = (os.path.join(self.folder, n) for n in ("serial", "monitor"))
        command = ["qemu-system-x86_64", "-nodefaults", "-machine", "q35", "-accel", "tcg",
                   "-vga", "std", "-display", "none", "-rtc", "base=utc",
                   "-chardev", "socket,id=s0,path=%s,server=on,wait=off" % serial,
                   "-serial", "chardev:s0",
                   "-qmp", "unix:%s,server=on,wait=off" % monitor, *arguments]
        self.started = time.monotonic()
        self.errors = open(os.path.join(self.folder, "qemu.err"), "w+b")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.errors,
                                        stderr=self.errors,
                                        env=dict(os.environ, TMPDIR=os.environ.get(
                                            "REHOST_TMPDIR", "/var/tmp")))
        self.serial = self._connect(serial)
        self.serial.setblocking(False)
        self.monitor = self._connect(monitor)
        self.monitor_file = self.monitor.makefile("rw")
        self.monitor_file.readline()
        self.command("qmp_capabilities")

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.stop()

    def _connect(self, path):
        for _ in range(300):
            if self.process.poll() is not None:
                break
            s = socket.socket(socket.AF_UNIX)
            try:
                s.connect(path)
                return s
            except OSError:
                s.close()
                time.sleep(0.1)
        self.errors.seek(0)
        raise MachineError("QEMU did not start: %s" % self.errors.read().decode().strip())

    def command(self, name, /, **arguments):
        message = {"execute": name}
        if arguments:
            message["arguments"] = arguments
        self.monitor_file.write(json.dumps(message) + "\n")
        self.monitor_file.flush()
        while True:
            line = self.monitor_file.readline()
            if not line:
                raise MachineError("QEMU died: %s" % name)
            answer = json.loads(line)
            if "error" in answer:
                raise MachineError("%s: %s" % (name, answer["error"]["desc"]))
            if "return" in answer:
                return answer["return"]

    def screen(self):
        """The text of the VGA text mode; nonsense while a graphics mode is on."""
        path = os.path.join(self.folder, "screen")
        self.command("pmemsave", val=SCREEN_ADDRESS, size=SCREEN_BYTES, filename=path)
        with open(path, "rb") as f:
            cells = f.read()[::2]
        text = cells.decode("cp437").replace("\0", " ")
        lines = (text[i:i + 80].rstrip() for i in range(0, len(text), 80))
        return "\n".join(line for line in lines if line)

    def _read(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                data = self.serial.recv(65536)
            except BlockingIOError:
                time.sleep(0.05)
                continue
            except ConnectionError:
                data = b""  # QEMU has gone
            if not data:
                if self.process.poll() is not None:
                    return False
                time.sleep(0.05)
                continue
            self.log.write(data)
            self.log.flush()
            self.received(data)
            data = self.partial + data
            # An escape sequence may be cut in two by the read.
            cut = data.rfind(b"\x1b")
            if cut >= 0 and len(data) - cut < 16 and not ESCAPES.match(data, cut):
                data, self.partial = data[:cut], data[cut:]
            else:
                self.partial = b""
            self.text += ESCAPES.sub(b"", data).decode("utf-8", "replace")
            return True
        return True

    def received(self, data):
        """For who wants the serial line's bytes as they are."""

    def wait(self, pattern, timeout, screen=False):
        """The match of the pattern in what came since the last wait, or None after the timeout."""
        compiled = re.compile(pattern, re.M)
        end = time.monotonic() + timeout
        next_look = 0
        while True:
            found = compiled.search(self.text, self.mark)
            if found:
                self.mark = found.end()
                return found
            if screen and time.monotonic() > next_look:
                next_look = time.monotonic() + 3
                found = compiled.search(self.screen())
                if found:
                    return found
            if time.monotonic() > end:
                return None
            if not self._read(0.5):
                raise MachineError("QEMU ended while waiting for %r" % pattern)

    def type(self, text):
        self.serial.setblocking(True)
        self.serial.sendall(text.encode())
        self.serial.setblocking(False)

    def settle(self, quiet=1.0, at_most=10):
        """Until nothing was said for a while: what is typed earlier is lost."""
        end = time.monotonic() + at_most
        while time.monotonic() < end:
            before = len(self.text)
            self.listen(quiet)
            if len(self.text) == before:
                return

    def listen(self, seconds):
        """Takes what the serial line says, for a while: one that nobody reads stops who writes."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._read(min(left, 0.2))

    def login(self, password, user="root", timeout=120):
        for _ in range(3):
            self.settle()
            self.mark = len(self.text)
            self.type(user + "\r")
            if not self.wait(r"[Pp]assword:", timeout):
                self.type("\r")
                continue
            self.settle(0.5)
            self.type(password + "\r")
            if self.wait(r"[#$] *$", timeout):
                break
        else:
            raise MachineError("nobody could log in: %s" % self.text[-300:])
        self.settle(0.5)
        self.mark = len(self.text)
        self.type("stty -echo cols 4000; PS1=; PS2=; export TERM=dumb SYSTEMD_COLORS=0 "
                  "SYSTEMD_PAGER=cat LC_ALL=C; dmesg -n 1; echo re''ady\r")
        if not self.wait(r"^ready$", timeout):
            raise MachineError("no shell after login: %s" % self.text[-300:])

    def run(self, shell_command, timeout=300):
        """(exit code, output) of a command in the logged-in shell."""
        start = len(self.text)
        self.mark = start
        self.type(shell_command + "; status=$?; echo; echo 'end of' output $status\r")
        found = self.wait(r"^end of output (\d+)$", timeout)
        if not found:
            raise MachineError("%r did not end in %d s: %s" %
                               (shell_command, timeout, self.text[start:][-300:]))
        return int(found.group(1)), self.text[start:found.start()].strip("\n")

    def power_off(self, timeout=400):
        self.type("systemctl poweroff\r")
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self.process.poll() is not None:
                return True
            # A serial line that nobody reads stops the guest that writes to it.
            self._read(0.2)
        return False

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for f in (self.serial, self.monitor, self.log, self.errors):
            f.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Machine(Qemu):
    """One of the two kinds of hardware, with disks that nothing is written to."""

    def __init__(self, profile, disks, nics, memory_mib=1024, log_path=None, variables=None,
                 extra=()):
        """`variables`: of UEFI; a BIOS without."""
        assert profile in ("metal", "virtio")
        super().__init__(["-icount", "shift=2,sleep=on", "-smp", "1", "-m", str(memory_mib),
                          "-boot", "strict=on",
                          *(firmware_arguments(variables) if variables else []),
                          *disk_arguments(profile, disks), *nic_arguments(profile, nics), *extra],
                         log_path)
