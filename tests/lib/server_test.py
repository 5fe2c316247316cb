# SPDX-License-Identifier: GPL-2.0-or-later
"""The first promise, on one simulated server: its disks boot on its own hardware, do not boot on
virtio, and do after `rehost convert`, with the same names, addresses and files.

Every claim is checked with somebody else's tools: QEMU boots, qemu-img and e2fsck check, dumpe2fs
says what was used, the guest's own shell says what came up.
"""

import json
import mmap
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
REHOST = os.environ.get("REHOST") or os.path.join(ROOT, "build", "rehost")
AGENT = os.environ.get("REHOST_AGENT") or os.path.join(ROOT, "build", "rehost-agent")
MIB = 1 << 20
SKIP = 77
VIRTIO = ("virtio_blk", "virtio_pci", "virtio_scsi", "virtio_net")

started = time.monotonic()


class Failure(Exception):
    pass


def say(text):
    print("[%4d s] %s" % (time.monotonic() - started, text), flush=True)


def check(condition, text):
    if not condition:
        raise Failure(text)


def run(*command, status=0, **keywords):
    """Output of a command that must end with this status (None: any)."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, text=True, errors="replace", **keywords)
    if status is not None and done.returncode != status:
        raise Failure("%s: exit status %d, not %d:\n%s" %
                      (" ".join(command), done.returncode, status, done.stdout[-4000:]))
    return done.stdout


def missing(*tools, root=None, loops=None):
    """Why a test has to be left out, or None. `root`, `loops`: what for."""
    for tool in tools:
        if not shutil.which(tool):
            return "no %s" % tool
    if root and os.geteuid() != 0:
        return "no root, for " + root
    if loops and (os.geteuid() != 0 or not os.path.exists("/dev/loop-control")):
        return "no root or no loop devices, for " + loops
    return None


def skip_if(why):
    if why:
        print("skip: " + why)
        sys.exit(SKIP)


def load(path):
    with open(path) as f:
        return json.load(f)


def sha256(path):
    return run("sha256sum", path).split()[0]


# --- the source ------------------------------------------------------------------------------

def make_server(name):
    say("the server %s" % name)
    done = subprocess.run([os.path.join(ROOT, "tests/fixtures/make-server"), name],
                          stdout=subprocess.PIPE, text=True)
    check(done.returncode == 0, "make-server %s failed" % name)
    return done.stdout.splitlines()[-1]


def boot(*arguments, timeout=900):
    done = subprocess.run([os.path.join(HERE, "boot"), *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=timeout * 3)
    check(done.returncode in (0, 1), "the harness failed: %s" % done.stderr.strip())
    return json.loads(done.stdout)


def check_source_boots(fixture, facts):
    """(a) and (b): seen once for each recipe; the stamp lies in the folder that the recipe made."""
    stamp = os.path.join(fixture, "seen.json")
    if os.path.exists(stamp):
        return load(stamp)
    say("the source on its own hardware")
    metal = boot("--fixture", fixture, "--profile", "metal")
    check_machine(metal, facts, {n["name"]: n["mac"] for n in facts["nics"]})
    if facts.get("firmware") == "uefi":
        say("the source without the entry in the firmware's variables: nothing must start")
        forgot = boot("--fixture", fixture, "--profile", "virtio", "--forget", "--want", "firmware")
        check(forgot["reached"] == "firmware",
              "without its boot entry the source reached %s" % forgot["reached"])
    say("the source on virtio: it must not boot")
    virtio = boot("--fixture", fixture, "--profile", "virtio", "--want", "initramfs")
    check(virtio["reached"] == "initramfs",
          "on virtio the source reached %s: it is not hostile enough" % virtio["reached"])
    with open(stamp + ".part", "w") as f:
        json.dump({"metal": metal, "virtio": virtio}, f, indent=1)
    os.rename(stamp + ".part", stamp)
    return {"metal": metal, "virtio": virtio}


def check_machine(seen, facts, macs):
    """What came up, against what the physical machine was."""
    check(seen["reached"] == "login", "reached %s after %s s, not a login: %s" %
          (seen["reached"], seen.get("seconds"), "\n".join(seen.get("last_lines", []))))
    check(seen["failed_units"] == [], "failed units: %s" % seen["failed_units"])
    check(seen["state"] == "running", "systemd is %r" % seen["state"])
    check(seen["hostname"] == facts["hostname"], "hostname is %r" % seen["hostname"])
    check(seen["kernel"] in facts["kernels"], "kernel is %r" % seen["kernel"])
    names = {n["name"] for n in facts["nics"]}
    check(set(seen["nics"]) == names, "interfaces are %s, not %s" % (set(seen["nics"]), names))
    for nic in facts["nics"]:
        now = seen["nics"][nic["name"]]
        check(now["mac"] == macs[nic["name"]], "%s has MAC %s, not %s" %
              (nic["name"], now["mac"], macs[nic["name"]]))
        check(now["addresses"] == [nic["address"]], "%s has addresses %s, not %s" %
              (nic["name"], now["addresses"], nic["address"]))
        if "gateway" in nic:
            route = "default via %s dev %s" % (nic["gateway"], nic["name"])
            check(any(r.startswith(route) for r in seen["routes"]),
                  "no %r in %s" % (route, seen["routes"]))
            check(seen["gateways"][nic["gateway"]], "%s does not answer" % nic["gateway"])
    mounts = {m["target"]: m for m in seen["mounts"]}
    for mount in facts["mounts"]:
        check(mounts.get(mount["target"], {}).get("uuid") == mount["uuid"],
              "%s is %s" % (mount["target"], mounts.get(mount["target"])))
    check(len(seen["swaps"]) == facts["swaps"], "swap areas: %s" % seen["swaps"])
    for live in facts["live_files"]:
        check(seen["live_files"][live["path"]] == live["sha256"], "%s changed" % live["path"])
    check(seen["powered_off"], "it does not power off")


# --- the copy --------------------------------------------------------------------------------

def partitions(image):
    table = json.loads(run("sfdisk", "--json", image))["partitiontable"]
    found = {}
    for p in table["partitions"]:
        number = int(re.search(r"(\d+)$", p["node"]).group(1))
        found[number] = (p["start"] * 512, p["size"] * 512, p["type"])
    return found


def free_ranges(image, offset):
    """(start, end) in bytes of what an ext4 file system does not use, by dumpe2fs."""
    text = run("dumpe2fs", "%s?offset=%d" % (image, offset))
    size = int(re.search(r"Block size: +(\d+)", text).group(1))
    ranges = []
    for line in re.findall(r"^  Free blocks: (.*)$", text, re.M):
        for item in filter(None, (i.strip() for i in line.split(","))):
            first, _, last = item.partition("-")
            ranges.append((offset + int(first) * size, offset + (int(last or first) + 1) * size))
    return sorted(ranges)


def unused_ranges(image, disk):
    """What must not travel: free blocks of ext4, and of swap all but its header page."""
    parts = partitions(image)
    ranges = []
    for number in disk["ext4"]:
        ranges += free_ranges(image, parts[number][0])
    for number in disk["swap"]:
        start, size, _ = parts[number]
        ranges.append((start + 4096, start + size))
    return sorted(ranges)


def is_zero(view, start, end):
    for at in range(start, end, MIB):
        piece = view[at:min(at + MIB, end)]
        if piece.count(0) != len(piece):
            return False
    return True


def is_same(a, b, start, end):
    for at in range(start, end, 4 * MIB):
        stop = min(at + 4 * MIB, end)
        if a[at:stop] != b[at:stop]:
            return False
    return True


def first_difference(a, b, start, end):
    return next(i for i in range(start, end) if a[i] != b[i])


def check_copied(source, raw, disk):
    """Used bytes equal, unused bytes zero."""
    check(os.path.getsize(raw) == os.path.getsize(source), "%s changed its size" % disk["file"])
    with open(source, "rb") as f, open(raw, "rb") as g:
        a = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
        b = mmap.mmap(g.fileno(), 0, prot=mmap.PROT_READ)
        position = 0
        for start, end in unused_ranges(source, disk) + [(len(a), len(a))]:
            if not is_same(a, b, position, start):
                raise Failure("%s: used byte at 0x%x is not the source's" %
                              (disk["file"], first_difference(a, b, position, start)))
            check(is_zero(b, start, end), "%s: not all zero in the unused range 0x%x to 0x%x" %
                  (disk["file"], start, end))
            position = end


def search(path, marker):
    """Whether the marker is in the bytes of a file."""
    return subprocess.run(["grep", "-q", "-a", "-F", marker, path]).returncode == 0


def outputs(folder):
    guest = load(os.path.join(folder, "guest.json"))
    return [(os.path.join(folder, d["path"]), d["format"]) for d in guest["disks"]]


def to_raw(image, form, raw):
    run("qemu-img", "convert", "-f", form, "-O", "raw", "-W", image, raw)
    return raw


def check_images(folder, facts, scratch, visit):
    """qemu-img check and old data, on every output; `visit` sees each as raw."""
    found = outputs(folder)
    check(len(found) == len(facts["disks"]), "%d disks came out" % len(found))
    for (image, form), disk in zip(found, facts["disks"]):
        if form == "qcow2":
            run("qemu-img", "check", "-f", "qcow2", image)
        raw = to_raw(image, form, os.path.join(scratch, "raw"))
        for marker in facts["old_data_markers"]:
            check(not search(raw, marker), "%s holds old data: %s" % (image, marker))
            check(not search(image, marker), "%s holds old data in its file: %s" % (image, marker))
        visit(raw, disk)
        os.unlink(raw)


def check_file_systems(raw, disk):
    parts = partitions(raw)
    for number in disk["ext4"]:
        run("e2fsck", "-fn", "%s?offset=%d" % (raw, parts[number][0]))


def check_own_rebuild(raw, disk, facts):
    """The guest's own next initramfs keeps the drivers: its tools, run natively in a chroot."""
    if facts["disks"][facts["root"]["disk"]]["file"] != disk["file"]:
        return
    folder = tempfile.mkdtemp(prefix="rehost-root.", dir=os.path.dirname(raw))
    start, size, _ = partitions(raw)[facts["root"]["partition"]]
    mounted = []

    def mount(*arguments):
        run("mount", *arguments)
        mounted.append(arguments[-1])

    try:
        mount("-o", "loop,offset=%d,sizelimit=%d" % (start, size), raw, folder)
        if 1 in disk["ext4"] and facts["root"]["partition"] != 1:
            boot_start, boot_size, _ = partitions(raw)[1]
            mount("-o", "loop,offset=%d,sizelimit=%d" % (boot_start, boot_size), raw,
                  folder + "/boot")
        mount("-t", "tmpfs", "tmpfs", folder + "/dev")
        mount("-t", "proc", "proc", folder + "/proc")
        mount("-t", "tmpfs", "tmpfs", folder + "/tmp")
        for name, minor in (("null", "3"), ("zero", "5"), ("urandom", "9")):
            run("mknod", "-m", "666", folder + "/dev/" + name, "c", "1", minor)
        os.symlink("/proc/self/fd", folder + "/dev/fd")
        for kernel in facts["kernels"]:
            path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
            run("chroot", folder, "env", "-i", path, "mkinitramfs", "-o", "/tmp/initrd", kernel)
            listing = run("chroot", folder, "env", "-i", path, "lsinitramfs", "/tmp/initrd")
            for module in VIRTIO:
                check("/%s.ko" % module in listing or builtin(folder, kernel, module),
                      "the guest's own rebuild for %s loses %s" % (kernel, module))
    finally:
        for path in reversed(mounted):
            subprocess.run(["umount", path])
        os.rmdir(folder)


def builtin(root, kernel, module):
    with open("%s/lib/modules/%s/modules.builtin" % (root, kernel)) as f:
        return any(line.rstrip().endswith("/%s.ko" % module) for line in f)


# --- the conversion --------------------------------------------------------------------------

class Conversion:
    def __init__(self, name, kept_macs):
        """`kept_macs`: interface name to the MAC given with --nic."""
        self.kept_macs = kept_macs
        base = os.environ.get("REHOST_TMPDIR", "/var/tmp")
        self.scratch = tempfile.mkdtemp(prefix="rehost-%s." % name, dir=base)
        self.fixture = make_server(name)
        self.facts = load(os.path.join(self.fixture, "facts.json"))
        self.sources = [os.path.join(self.fixture, d["file"]) for d in self.facts["disks"]]
        self.hashes = None

    def path(self, name):
        return os.path.join(self.scratch, name)

    def convert(self, target, *options, status=0):
        nics = []
        for name, mac in self.kept_macs.items():
            nics += ["--nic", "%s=%s" % (name, mac)]
        begin = time.monotonic()
        out = run(REHOST, "convert", *self.sources, "-o", target, *nics, *options, status=status)
        say("rehost convert %s: status %d in %.0f s" %
            (" ".join(options), status, time.monotonic() - begin))
        return out

    def remember_sources(self):
        self.hashes = [sha256(s) for s in self.sources]
        for marker in self.facts["old_data_markers"]:
            check(any(search(s, marker) for s in self.sources), "no old data %s" % marker)

    def check_sources(self):
        check([sha256(s) for s in self.sources] == self.hashes, "the source's bytes changed")

    def check_faithful_copy(self):
        """(e) without fixes: every used byte as it was, nothing else."""
        target = self.path("plain")
        self.convert(target, "--no-fix", "--no-boot-test")
        pairs = dict(zip((d["file"] for d in self.facts["disks"]), self.sources))
        check_images(target, self.facts, self.scratch,
                     lambda raw, disk: check_copied(pairs[disk["file"]], raw, disk))
        shutil.rmtree(target)

    def check_definition(self, folder):
        guest = load(os.path.join(folder, "guest.json"))
        nics = {n["name"]: n for n in guest["nics"]}
        check(list(nics) == [n["name"] for n in self.facts["nics"]],
              "guest.json has the interfaces %s" % list(nics))
        for nic in self.facts["nics"]:
            expected = "dhcp" if nic["method"] == "dhcp" else nic["address"]
            check(nics[nic["name"]]["addresses"] == [expected],
                  "guest.json: %s has %s" % (nic["name"], nics[nic["name"]]["addresses"]))
            if nic["name"] in self.kept_macs:
                check(nics[nic["name"]]["mac"] == self.kept_macs[nic["name"]],
                      "guest.json: %s has MAC %s" % (nic["name"], nics[nic["name"]]["mac"]))
        check(guest["firmware"]["type"] == self.facts.get("firmware", "bios"),
              "guest.json: the firmware is %s" % guest["firmware"])
        check(guest["os"]["distro"] == "debian" and
              guest["os"]["version"].startswith(self.facts["version"]),
              "guest.json: os is %s" % guest["os"])
        return {name: n["mac"] for name, n in nics.items()}

    def check_boot(self, folder, macs):
        say("the copy on virtio")
        log = self.path("serial.log")
        seen = boot("--guest", folder, "--fixture", self.fixture, "--log", log)
        check_machine(seen, self.facts, macs)
        with open(log, errors="replace") as f:
            check("Gave up waiting" not in f.read(), "it waited for a device that is gone")
        cmdline = seen["cmdline"].split()
        check("console=ttyS0" in seen["cmdline"], "no serial console in %s" % cmdline)
        check("console=tty0" in cmdline, "the screen is no console any more: %s" % cmdline)
        check(not re.search(r"=/dev/sd", seen["cmdline"]), "names of the old disk: %s" % cmdline)
        check("enabled" not in seen["metal_units"].values(),
              "still watching hardware that is not there: %s" % seen["metal_units"])
        say("login after %s s; %s" % (seen["login_seconds"], ", ".join(
            "%s %s" % (n, i["addresses"]) for n, i in seen["nics"].items())))

    def check_result(self, folder):
        """(e) after the fixes."""
        def visit(raw, disk):
            check_file_systems(raw, disk)
            check_own_rebuild(raw, disk, self.facts)
        check_images(folder, self.facts, self.scratch, visit)

    def check_failure_is_noticed(self):
        """The product's own boot test must see what we saw: the unfixed copy stops."""
        folder = self.path("unfixed")
        out = self.convert(folder, "--no-fix", status=4)
        wanted = r"(?i)initramfs|emergency|root file system"
        if self.facts.get("firmware") == "uefi":
            wanted = "the firmware found nothing to boot"
        check(re.search(wanted, out),
              "it does not say what the machine did: %s" % out[-1000:])
        shutil.rmtree(folder, ignore_errors=True)

    def check_fix_again(self, folder):
        """(f): what is fixed stays as it is."""
        before = [sha256(image) for image, _ in outputs(folder)]
        out = run(REHOST, "fix", folder, "--dry-run", status=0)
        check(not re.search(r"^(---|\+\+\+|@@) ", out, re.M),
              "fix --dry-run wants to change a fixed machine:\n%s" % out[-3000:])
        check([sha256(image) for image, _ in outputs(folder)] == before,
              "fix --dry-run wrote to an image")

    def check_verify(self, folder):
        """(g): verify believes nothing."""
        run(REHOST, "verify", folder, status=0)
        image, form = outputs(folder)[0]
        # A byte of the boot sector's code: for sure used, and in the first data cluster.
        if form == "raw":
            offset = 0x50
        else:
            maps = json.loads(run("qemu-img", "map", "-f", form, "--output=json", image))
            offset = next(m["offset"] for m in maps if m["data"] and "offset" in m) + 0x50
        with open(image, "r+b") as f:
            f.seek(offset)
            byte = f.read(1)
            f.seek(offset)
            f.write(bytes([byte[0] ^ 0xFF]))
        try:
            out = run(REHOST, "verify", folder, status=4)
            check(os.path.basename(image) in out, "verify does not name the disk: %s" % out)
        finally:
            with open(image, "r+b") as f:
                f.seek(offset)
                f.write(byte)

    def check_report(self, folder):
        report = load(os.path.join(folder, "report.json"))
        check("boot" in json.dumps(report), "report.json does not tell of the boot test")
        for name in ("inventory.json", "guest.json"):
            load(os.path.join(folder, name))

    def close(self):
        shutil.rmtree(self.scratch, ignore_errors=True)


def test_server(name, kept_macs, second_run=False):
    conversion = Conversion(name, kept_macs)
    try:
        check_source_boots(conversion.fixture, conversion.facts)
        check(os.access(REHOST, os.X_OK), "build/rehost is not built")
        conversion.remember_sources()
        conversion.check_faithful_copy()
        folder = conversion.path(conversion.facts["hostname"])
        conversion.convert(folder)
        macs = conversion.check_definition(folder)
        conversion.check_report(folder)
        conversion.check_boot(folder, macs)
        conversion.check_result(folder)
        say("fix again, verify")
        conversion.check_fix_again(folder)
        conversion.check_verify(folder)
        if conversion.facts["serial_console"]:
            conversion.check_failure_is_noticed()
        if second_run:
            say("a second run")
            again = conversion.path("again") + "/" + conversion.facts["hostname"]
            os.mkdir(os.path.dirname(again))
            conversion.convert(again, "--no-boot-test")
            check(conversion.check_definition(again) == macs,
                  "a second run gives other MACs: %s" % macs)
        conversion.check_sources()
        say("done")
    finally:
        conversion.close()


def main(name, kept_macs, second_run=False):
    skip_if(missing("qemu-system-x86_64", "qemu-img", "mmdebstrap", "sfdisk", "e2fsck", "dumpe2fs",
                    loops="the server's disks"))
    try:
        test_server(name, kept_macs, second_run)
    except Failure as e:
        say("server-%s: %s" % (name, e))
        return 1
    return 0


SERVERS = {
    # Nobody gives a MAC: it is made up, and stays.
    "deb11": ({}, True),
    # The physical ones are kept.
    "deb12": ({"enp3s0f0": "00:00:5e:00:53:c0", "enp3s0f1": "00:00:5e:00:53:c1"}, False),
    "deb12-uefi": ({"enp3s0f0": "00:00:5e:00:53:e0", "enp3s0f1": "00:00:5e:00:53:e1"}, False),
    "deb13": ({"enp3s0f0": "52:54:00:13:13:d0"}, False),
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *SERVERS[sys.argv[1]]))
