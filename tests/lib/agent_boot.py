# SPDX-License-Identifier: GPL-2.0-or-later
"""The physical machine that the agent's media boot on: its firmware, controllers, disks, network
card and what it is started from, in QEMU's emulation. Its disks are what they are, without a
snapshot: what the agent wrote would stand there. This host is 10.0.2.2 for it.
"""

import fcntl
import filecmp
import hashlib
import json
import os
import re
import shutil
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import machine  # noqa: E402
import server_test  # noqa: E402
from sending import AGENT, REHOST, check, load, read, run, say  # noqa: E402

CACHE = os.environ.get("REHOST_CACHE", "/var/cache/rehost")
PACKAGES = os.path.join(CACHE, "packages")
HOST = "10.0.2.2"
MAC = "00:00:5e:00:53:d0"
IPXE = {"bios": "/usr/lib/ipxe/qemu/pxe-%s.rom", "uefi": "/usr/lib/ipxe/qemu/efi-%s.rom"}
TOOLS = ("qemu-system-x86_64", "qemu-img", "sfdisk", "mke2fs", "dumpe2fs")


# --- hardware --------------------------------------------------------------------------------

def firmware_arguments(firmware):
    """UEFI with variables that know of nothing."""
    return machine.firmware_arguments(machine.OVMF % "VARS") if firmware == "uefi" else []


def file_node(disk):
    """The image; some of its sectors fail when they are read."""
    node = {"driver": "file", "filename": disk["path"], "cache": {"direct": False}}
    if not disk.get("bad_sectors"):
        return node
    return {"driver": "blkdebug", "image": node, "inject-error": [
        {"event": "none", "iotype": "read", "errno": 5, "sector": sector, "once": False}
        for sector in disk["bad_sectors"]]}


CONTROLLERS = {  # what carries the disks, and one of them
    "ahci": ([], "ide-hd,bus=ide.%d"),
    "nvme": ([], "nvme,addr=0x%x"),
    "megasas": (["-device", "megasas,id=hba"], "scsi-hd,bus=hba.0,scsi-id=%d"),
    "lsi53c895a": (["-device", "lsi53c895a,id=hba"], "scsi-hd,bus=hba.0,scsi-id=%d"),
}


def disk_arguments(controller, disks):
    """Behind the medium in the order to boot from: a machine that has been sent starts it again."""
    arguments, device = CONTROLLERS[controller]
    arguments, first = list(arguments), 8 if controller == "nvme" else 0  # a slot, or a port
    for i, disk in enumerate(disks):
        node = {"driver": "raw", "node-name": "d%d" % i, "file": file_node(disk)}
        arguments += ["-blockdev", json.dumps(node),
                      "-device", "%s,drive=d%d,id=disk%d,serial=%s,bootindex=%d" %
                      (device % (first + i), i, i, disk.get("serial", "REHOST%d" % i), 5 + i)]
    return arguments


def nic_arguments(card, nics, firmware, pxe):
    """Where the fixtures' servers have theirs: enp3s0f0, enp3s0f1. `pxe`: (folder, file) of a TFTP
    server behind the first."""
    arguments = machine.port_arguments()
    for i, nic in enumerate(nics):
        network, device = "user,id=n%d,%s" % (i, nic.get("network", "net=10.0.2.0/24")), ",romfile="
        if pxe and i == 0:
            network += ",tftp=%s,bootfile=%s" % pxe
            device = ",bootindex=0,romfile=" + IPXE[firmware] % card
        place = "bus=rp3,addr=0x0.%d,multifunction=on,id=nic%d" % (i, i)
        arguments += ["-netdev", network,
                      "-device", "%s,%s,netdev=n%d,mac=%s%s" % (card, place, i, nic["mac"], device)]
    return arguments


def medium_arguments(boot):
    """What it is started from: ("cd", ISO), ("usb", ISO), ("kernel", folder, command line)."""
    if boot[0] == "cd":
        return ["-drive", "if=none,id=cd,media=cdrom,readonly=on,format=raw,file=" + boot[1],
                "-device", "ide-cd,bus=ide.5,drive=cd,bootindex=0"]
    if boot[0] == "usb":
        return ["-drive", "if=none,id=stick,readonly=on,format=raw,file=" + boot[1],
                "-device", "qemu-xhci,id=usb",
                "-device", "usb-storage,bus=usb.0,drive=stick,removable=on,bootindex=0"]
    if boot[0] == "kernel":
        return ["-kernel", os.path.join(boot[1], "vmlinuz"),
                "-initrd", os.path.join(boot[1], "initrd.img"), "-append", boot[2]]
    return []  # ("pxe", folder, file): the network card's


class Physical(machine.Qemu):
    """Stays when it has powered itself off, so that one can look at what it did to its disks."""

    def __init__(self, folder, disks, boot, firmware="bios", controller="ahci", card="e1000e",
                 nics=({"mac": MAC},), memory_mib=512, cpus=1, processor="qemu64",
                 serial="4XK2", is_counted=False):
        """`is_counted`: its clock counts its instructions, 250 million a second, and stands still
        while this host has no time for it: what it takes does not depend on who else is here."""
        self.place, self.disks, self.terminal = folder, disks, None
        super().__init__(
            ["-cpu", processor, "-smp", str(cpus), "-m", str(memory_mib), "-no-shutdown",
             *(["-icount", "shift=2,sleep=on"] if is_counted else []),
             "-smbios", "type=1,manufacturer=Example Computers,product=Rack 720,serial=" + serial,
             *firmware_arguments(firmware), *disk_arguments(controller, disks),
             *nic_arguments(card, nics, firmware, boot[1:] if boot[0] == "pxe" else None),
             *medium_arguments(boot)], os.path.join(folder, "serial.log"))

    def received(self, data):
        if self.terminal:
            self.terminal.feed(data)

    def until(self, what, condition, seconds):
        """Listens until condition() is true, and returns what it gave."""
        deadline = time.monotonic() + seconds
        while True:
            value = condition()
            if value:
                return value
            if self.process.poll() is not None:
                raise machine.MachineError("QEMU ended before: %s" % what)
            check(time.monotonic() < deadline, "%s: not within %d s; the serial line:\n%s" %
                  (what, seconds, self.last_words()))
            self.listen(1)

    def last_words(self):
        if self.terminal:
            return self.terminal.picture()
        return self.text[-2500:]

    def is_off(self):
        return self.command("query-status")["status"] == "shutdown"

    def pull_cable(self, is_out=True):
        self.command("set_link", name="nic0", up=not is_out)

    def reset(self):
        self.command("system_reset")

    def take_picture(self, path):
        """The screen, as a PNG."""
        self.command("screendump", filename=path, format="png")

    def see_log(self, pattern, seconds):
        """The match of a line on the second console, in the screen's text mode: no UEFI's."""
        self.command("send-key", keys=[{"type": "qcode", "data": key} for key in ("alt", "f2")])
        return self.until("the log has %s" % pattern,
                          lambda: re.search(pattern, self.screen()), seconds)

    def check_never_written(self):
        """No write, flush or trim has reached a disk since the machine was switched on."""
        seen = {}
        for row in self.command("query-blockstats"):
            name = row.get("qdev", "")
            found = re.search(r"\bdisk(\d+)\b", name)
            if not found:
                continue
            stats = row["stats"]
            seen[found.group(1)] = stats["rd_bytes"]
            for kind in ("wr_operations", "wr_bytes", "unmap_operations", "failed_wr_operations",
                         "invalid_wr_operations"):
                check(stats[kind] == 0, "disk%s: %s is %d" % (found.group(1), kind, stats[kind]))
        check(len(seen) == len(self.disks), "statistics of %s, not of %d disks" %
              (sorted(seen), len(self.disks)))
        return seen


def own_copy(fixture, disk, folder):
    """The fixture's disk for this test alone: what the agent wrote would stand in it."""
    path = os.path.join(folder, disk["file"])
    run("cp", "--sparse=always", "--reflink=auto", os.path.join(fixture, disk["file"]), path)
    return {"path": path, "serial": disk["serial"]}


# --- terminals -------------------------------------------------------------------------------

class Terminal:
    """A terminal of 80x25 on the serial line: what a person would see there."""

    def __init__(self, physical):
        import pyte
        self.screen = pyte.Screen(80, 25)
        self.stream = pyte.ByteStream(self.screen)
        physical.terminal = self

    def feed(self, data):
        self.stream.feed(data)

    def picture(self):
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip("\n") + "\n"

    def find(self, pattern):
        return re.search(pattern, self.picture(), re.M)


# --- media -----------------------------------------------------------------------------------

def make_media(command, output, *options):
    """`rehost make-iso` or `make-pxe`, with packages that are kept between runs."""
    os.makedirs(PACKAGES, exist_ok=True)
    started = time.monotonic()
    said = run(REHOST, command, "-o", output, "--agent", AGENT, "--packages", PACKAGES, *options)
    say("%s: %.0f s: %s" % (command, time.monotonic() - started, said.strip()[-300:]))
    return output


def plain_medium():
    """The folder of a `make-pxe` that was told nothing; kept while the programs are the same."""
    folder = os.path.join(CACHE, "media")
    os.makedirs(folder, exist_ok=True)
    key = hashlib.sha256()
    for program in (REHOST, AGENT):
        key.update(read(program))
    final = os.path.join(folder, key.hexdigest()[:16])
    with open(os.path.join(folder, ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(final):
            for name in filter(lambda n: not n.startswith("."), os.listdir(folder)):
                shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
            shutil.rmtree(final + ".part", ignore_errors=True)
            os.rename(make_media("make-pxe", final + ".part"), final)
    return final


def sent_bytes(server):
    """What the server has of all disks of all machines."""
    return sum(d["done_bytes"] for m in server.machines().values() for d in m["disks"])


def send_itself(physical, server, seconds, seen=None):
    """From the switch to the end, and nothing written on the way: the name and the server's row of
    a machine that is new. `seen` sees it when it is connected."""
    known = set(server.machines())
    name = physical.until("the machine is connected",
                          lambda: next(iter(set(server.machines()) - known), None), 300)
    say("connected after %.1f s, as %s" % (time.monotonic() - physical.started, name))
    if seen:
        seen(physical)
    physical.until("the machine powers itself off", physical.is_off, seconds)
    row = server.machines()[name]
    say("the server: %s: %s" % (row["state"], row["text"]))
    physical.check_never_written()
    return name, row


def check_copy(copy, facts):
    """What the server made of a fixture's server."""
    report = load(os.path.join(copy, "report.json"))
    check(report["boot_test"] == "passed", "the boot test: %s" % report["boot_test"])
    guest = load(os.path.join(copy, "guest.json"))
    macs = {n["name"]: n["mac"] for n in guest["nics"]}
    check(macs == {n["name"]: n["mac"] for n in facts["nics"]}, "guest.json has %s" % macs)
    check(len(guest["disks"]) == len(facts["disks"]), "guest.json has %s" % guest["disks"])
    firmware = facts.get("firmware", "bios")
    check(guest["firmware"]["type"] == firmware, "guest.json has %s" % guest["firmware"])
    run(REHOST, "verify", copy)
    inventory = json.dumps(load(os.path.join(copy, "inventory.json")))
    for part in (facts["disks"][0]["serial"], facts["nics"][0]["mac"], "e1000e", firmware,
                 "Rack 720"):
        check(part in inventory, "the inventory does not tell of %s" % part)


def send_server(folder, server, fixture_name, boot, seconds, look=None):
    """The server of a fixture, from the agent's medium to a copy that boots and has its network.
    `look` sees the copy too."""
    fixture = server_test.make_server(fixture_name)
    facts = load(os.path.join(fixture, "facts.json"))
    disks = [own_copy(fixture, d, folder) for d in facts["disks"]]
    with Physical(folder, disks, boot, firmware=facts.get("firmware", "bios"),
                  nics=facts["nics"]) as physical:
        Terminal(physical)
        name, row = send_itself(physical, server, seconds)
    check(row["state"] in ("done", "warned"), "status says %s: %s" % (row["state"], row["text"]))
    for wanted in ["booted to login"] + ["%s up" % n["name"] for n in facts["nics"]]:
        check(wanted in row["text"], "the boot test does not tell of '%s': %s" %
              (wanted, row["text"]))
    check_copy(server.folder(name), facts)
    if look:
        look(folder, server.folder(name), fixture, facts)
    for disk in disks:
        check(filecmp.cmp(disk["path"], os.path.join(fixture, os.path.basename(disk["path"])),
                          shallow=False), "%s changed" % disk["path"])
        os.unlink(disk["path"])
    return name


def missing(*tools, **needs):
    """Why a test has to be left out, or None."""
    if not os.access(AGENT, os.X_OK):
        return "build/rehost-agent is not built"
    return server_test.missing(*TOOLS, *tools, **needs)
