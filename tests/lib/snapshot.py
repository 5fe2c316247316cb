# SPDX-License-Identifier: GPL-2.0-or-later
"""A running machine on LVM sends itself, by way of snapshots; everything in QEMU's emulation.

Somebody writes numbers all the time, each first into one logical volume and then into another: a
copy of one moment has both equal, or the first one ahead by one.
"""

import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import machine  # noqa: E402
import server_test  # noqa: E402
from sending import (AGENT, MIB, OK, ROOT, TRANSFER_ONLY, Server, check, load,  # noqa: E402
                     main, make_carrier, missing, raw_copy, run, say, skip_if, write)

NIC = {"mac": "00:00:5e:00:53:d0", "network": "net=10.0.2.0/24,restrict=off"}
OLD = b"REHOST-OLD-FREE-lvm"
# Where things are on the fixture's disk: extents of 4 MiB from 1 MiB behind a partition's start.
FIRST, SECOND = 133120 * 512 + MIB, 1132544 * 512 + MIB
DATA = FIRST + 128 * MIB
LOG = (FIRST + 224 * MIB, SECOND)
FREE_EXTENTS = ((FIRST + 256 * MIB, SECOND - MIB), (SECOND + 32 * MIB, 700 * MIB))
WRITER = r"""
i=0
while [ ! -e /run/stop ]; do
    i=$((i + 1))
    printf '%08d\n' $i | dd of=/srv/data/first oflag=append conv=notrunc,fsync status=none
    printf '%08d\n' $i | dd of=/srv/log/second oflag=append conv=notrunc,fsync status=none
    [ $((i % 8)) -ne 0 ] || printf '%08d\n' $i | dd of=/boot/third conv=fsync status=none
    [ $((i % 8)) -ne 4 ] || printf '%08d\n' $i | dd of=/root/fourth conv=fsync status=none
done
touch /run/stopped
"""


class LvmMachine(machine.Qemu):
    """The fixture, started by its own kernel; a shell waits on the serial line."""

    def __init__(self, fixture, carrier, log_path):
        disks = [{"path": os.path.join(fixture, "disk.img")}, {"path": carrier}]
        super().__init__(
            ["-smp", "1", "-m", "768", "-cpu", "max",
             *machine.disk_arguments("virtio", disks), *machine.nic_arguments("virtio", [NIC]),
             "-kernel", os.path.join(fixture, "vmlinuz"),
             "-initrd", os.path.join(fixture, "initrd"),
             "-append", "root=/dev/mapper/rack-root ro console=ttyS0 quiet"], log_path)

    def start(self):
        check(self.wait(r"^the machine is up", 180), "the machine does not start: %s" %
              self.text[-1500:])
        self.settle(0.5)
        self.type("stty -echo cols 4000; PS1=; PS2=; echo re''ady\r")
        check(self.wait(r"^ready$", 60), "no shell: %s" % self.text[-500:])

    def must(self, command, seconds=120):
        status, said = self.run(command, seconds)
        check(status == 0, "%s: status %d: %s" % (command, status, said))
        return said

    def snapshots(self):
        """What of ours there is, as LVM tells it."""
        return self.must("lvs --noheadings -o lv_name,lv_tags rack | grep -c rehost || :").strip()


def lvm_report(path):
    """The volume group on a disk, as LVM reads it without a device mapper."""
    loops = []
    try:
        for start in (FIRST - MIB, SECOND - MIB):
            loops.append(run("losetup", "--show", "-r", "-f", "-o", str(start), path).strip())
        names = {loop: "PV%d" % i for i, loop in enumerate(loops)}
        said = run("lvs", "--devices", ",".join(loops), "--driverloaded", "n", "-a", "-q", "-q",
                   "--readonly", "--noheadings", "-o",
                   "vg_name,vg_free,lv_name,lv_uuid,lv_tags,lv_size,seg_pe_ranges")
    finally:
        for loop in loops:
            run("losetup", "-d", loop)
    for loop, name in names.items():
        said = said.replace(loop, name)
    return sorted(line.strip() for line in said.splitlines() if "WARNING" not in line)


def wait_shell(condition, seconds):
    """A loop for the machine's shell."""
    return "for i in $(seq %d); do %s && break; sleep 0.2; done; %s" % (seconds * 5, condition,
                                                                       condition)


class Test:
    def __init__(self, folder, disk, server, physical):
        self.folder, self.disk, self.server, self.machine = folder, disk, server, physical
        self.send = ("/run/agent/rehost-agent --server 10.0.2.2:%d --pin %s --token-file "
                     "/run/agent/token --state /run/state --compress none --progress none -v" %
                     (server.port, server.pin))

    def begin(self, options):
        """In the background, until it has snapshots; $agent is its process."""
        self.machine.must("rm -f /run/out; %s %s /dev/vda >/run/out 2>&1 & agent=$!; %s" %
                          (self.send, options, wait_shell("grep -q 'snapshots of' /run/out", 60)))
        check(self.machine.snapshots() == "3", "not three snapshots: %s" %
              self.machine.must("lvs -a rack; cat /run/out"))

    def end(self):
        """(exit status, what it said)"""
        status, _ = self.machine.run("wait $agent", 560)
        return status, self.machine.must("cat /run/out")

    def check_none_left(self):
        check(self.machine.snapshots() == "0", "snapshots are left: %s" %
              self.machine.must("lvs -a rack"))
        said = self.machine.must("dmsetup table")
        check(not re.search("snapshot|error|zero", said), "device mapper: %s" % said)
        self.machine.must("touch /root/alive /srv/data/alive /srv/log/alive && sync")

    def killed(self):
        self.begin("--limit 1M")
        self.machine.must("kill -9 $agent; wait $agent; true")
        check(self.machine.snapshots() == "3", "a killed agent left nothing to be found?")
        say("killed, with its snapshots left behind")

    def interrupted(self):
        self.begin("--limit 1M")
        self.machine.must("kill -INT $agent")
        status, said = self.end()
        check(status == 130, "interrupted, it ends with status %d: %s" % (status, said))
        self.check_none_left()
        say("interrupted, and none left")

    def sent(self):
        self.begin("")
        status, said = self.end()
        say("sent: status %d: %s" % (status, said))
        check(status == OK, "the exit status is %d" % status)
        check(said.count("of an earlier run") == 3, "the killed run's snapshots were not found")
        self.check_none_left()
        source = self.source()
        check(source["consistency"] == "frozen", "the report says %s" % source["consistency"])
        check(source["disks"][0]["passes"] == 1, "it took %d passes" % source["disks"][0]["passes"])
        check(sorted(s["volume"] for s in source["snapshots"]) ==
              ["rack/data", "rack/log", "rack/root"], "snapshots: %s" % source["snapshots"])
        self.check_copy("from snapshots")

    def overflowed(self):
        """Little room, and more is written than it holds."""
        self.machine.must("lvcreate -qq -an -Zn -Wn -n filler -l $(($(vgs --noheadings -o "
                          "vg_free_count rack) - 17)) rack")
        self.begin("")
        self.machine.must("dd if=/dev/urandom of=/srv/data/big bs=1M count=40 conv=fsync "
                          "status=none")
        status, said = self.end()
        say("overflowed: status %d: %s" % (status, said))
        check("is full" in said and "gone over in passes" in said,
              "a snapshot without room was not noticed")
        self.check_none_left()
        source = self.source()
        check(source["disks"][0]["passes"] > 1, "one pass, from a snapshot that did not last")
        check(source["snapshots"] == [], "snapshots: %s" % source["snapshots"])
        check(status == 3, "status %d, and there was a warning" % status)
        if source["consistency"] == "frozen":
            first, second = self.numbers(self.raw())
            check(0 <= first - second <= 1, "from passes: two moments: %d, %d" % (first, second))

    def no_room(self):
        self.machine.must("lvcreate -qq -an -Zn -Wn -n filler2 -l 100%FREE rack")
        said = self.machine.run("%s --give-up 1 --server 10.0.2.2:1 /dev/vda 2>&1" % self.send)[1]
        check(re.search(r"no snapshots: the volume group rack has 0 bytes free, and \S+ MiB "
                        "would be needed", said), "no room, and it says: %s" % said)

    def source(self):
        return load(self.server.folder("rack01/report.json"))["source"]

    def check_copy(self, what):
        """By LVM, e2fsck, debugfs and the numbers."""
        raw = self.raw()
        path = write(os.path.join(self.folder, "raw"), raw)
        copied, original = lvm_report(path), lvm_report(self.disk)
        os.unlink(path)
        check(copied == original, "%s: the volume group was\n%s\nand is\n%s" % (what, original,
                                                                               copied))
        first, second = self.numbers(raw)
        third = self.number(raw[MIB:65 * MIB], "third")
        fourth = self.number(raw[FIRST:DATA], "root/fourth")
        say("%s: the copy has %d, %d, %d, %d" % (what, first, second, third, fourth))
        check(0 <= first - second <= 1, "%s: two moments: %d and %d" % (what, first, second))
        check(third == second // 8 * 8 or (second % 8 == 0 and third == second - 8),
              "%s: /boot is of another moment: %d and %d" % (what, third, second))
        expected = (second + 4) // 8 * 8 - 4
        check(fourth == expected or (second % 8 == 4 and fourth == expected - 8),
              "%s: the root is of another moment: %d and %d" % (what, fourth, second))
        self.check_free_space(what, raw)

    def number(self, content, name):
        """The last line of a file in a file system, which must be clean."""
        volume = write(os.path.join(self.folder, "volume"), content)
        run("e2fsck", "-fn", volume)
        return int(run("debugfs", "-R", "cat /" + name, volume).split()[-1])

    def numbers(self, raw):
        """Of the two volumes that are written in turn, taken from their extents by hand."""
        halves = [raw[start:start + 32 * MIB] for start in LOG]
        log = b"".join(half[at:at + 65536] for at in range(0, 32 * MIB, 65536) for half in halves)
        return self.number(raw[DATA:DATA + 64 * MIB], "first"), self.number(log, "second")

    def check_free_space(self, what, raw):
        """No extent that holds nothing has come along, and of the blocks only those that a file
        system has taken without writing them yet (of a journal, of descriptors to come)."""
        for start, end in FREE_EXTENTS:
            at = raw.find(OLD, start, end)
            check(at < 0, "%s: old data came along at 0x%x" % (what, at))
        count = raw.count(OLD)
        check(count * 20 < 4 * MIB, "%s: old data came along %d times" % (what, count))

    def raw(self):
        return raw_copy(self.server.folder("rack01"), scratch=self.folder)


def test(folder, names):
    check(os.access(AGENT, os.X_OK), "build/rehost-agent is not built")
    made = subprocess.run([os.path.join(ROOT, "tests/fixtures/make-lvm-machine")],
                          stdout=subprocess.PIPE, text=True)
    check(made.returncode == 0, "make-lvm-machine failed")
    fixture = made.stdout.splitlines()[-1]
    before = server_test.sha256(os.path.join(fixture, "disk.img"))
    with Server(os.path.join(folder, "pool"), *TRANSFER_ONLY) as server:
        carrier = make_carrier(folder, server.token(), writer=WRITER)
        with LvmMachine(fixture, carrier, os.path.join(folder, "metal.log")) as physical:
            physical.start()
            say("the machine is up")
            physical.must("bash /run/agent/writer >/dev/null 2>&1 & %s" %
                          wait_shell("[ -s /boot/third -a -s /root/fourth ]", 60))
            tests = Test(folder, os.path.join(fixture, "disk.img"), server, physical)
            for name in names:
                getattr(tests, name)()
    check(server_test.sha256(os.path.join(fixture, "disk.img")) == before, "the fixture changed")


if __name__ == "__main__":
    skip_if(missing("qemu-system-x86_64", "qemu-img", "supermin", "sfdisk", "mke2fs", "pvcreate",
                    "debugfs", "lsinitramfs", loops="the machine's disk"))
    os.environ.setdefault("REHOST_TMPDIR", "/var/tmp")  # too much for memory
    NAMES = sys.argv[1:] or ("killed", "sent")
    sys.exit(main({"snapshot": lambda folder: test(folder, NAMES)}, ()))
