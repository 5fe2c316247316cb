# SPDX-License-Identifier: GPL-2.0-or-later
"""A server, its pool, machines that are sent to it and what must hold of the copies; for the tests
of serve and send.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bad_input  # noqa: E402
from server_test import (AGENT, REHOST, ROOT, Failure, check, load,  # noqa: E402,F401
                         missing, partitions, run, say, skip_if)

MIB = 1 << 20
OK, FAILED, USAGE, WARNINGS, UNVERIFIED, NOT_AUTHORISED, NO_SPACE = range(7)
CUTPROXY = os.path.join(os.path.dirname(REHOST), "tools", "cutproxy")
if not os.path.exists(CUTPROXY):  # a program from elsewhere is under test
    CUTPROXY = os.path.join(ROOT, "build", "tools", "cutproxy")
# What only a conversion has: these tests are about the transfer.
TRANSFER_ONLY = ("--no-fix", "--no-boot-test")
# A window is four checkpoints: small enough that a small disk has many.
CHECKPOINT = ("--checkpoint", "1M")
WINDOW = 4 * MIB


def wait_for(what, condition, seconds=30, step=0.05):
    """The first true value of condition()."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        check(time.monotonic() < deadline, "%s: not within %d s" % (what, seconds))
        time.sleep(step)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def write(path, data):
    with open(path, "wb") as f:
        f.write(data if isinstance(data, bytes) else data.encode())
    return path


class Lines:
    """What a child says, as it comes."""

    def __init__(self, stream):
        self.text = ""
        self.thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self.thread.start()

    def _read(self, stream):
        for line in stream:
            self.text += line

    def find(self, pattern):
        return re.search(pattern, self.text, re.M)


class Server:
    """`rehost serve`, on a port of the kernel's choice that it keeps over restarts."""

    def __init__(self, pool, *options, host="127.0.0.1", prefix=(), environment=None):
        self.pool, self.options, self.host = pool, options, host
        self.prefix, self.environment = list(prefix), environment
        self.port = 0
        self.process = None
        self.said = ""
        self.start()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.stop()

    def start(self):
        address = "%s:%d" % (self.host, self.port)
        self.process = subprocess.Popen(
            [*self.prefix, REHOST, "serve", "--pool", self.pool, "--listen", address,
             *self.options],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", env={**os.environ, **(self.environment or {})})
        self.lines = Lines(self.process.stdout)
        wait_for("the server listens", lambda: self.lines.find(r"^pin sha256:[0-9a-f]{64}$") and
                 self.lines.find(r"listening on \S+:\d+") or self._is_gone())
        self.pin = self.lines.find(r"^pin (sha256:[0-9a-f]{64})$").group(1)
        self.port = int(self.lines.find(r"listening on \S+:(\d+)").group(1))

    def _is_gone(self):
        check(self.process.poll() is None, "rehost serve ended with status %s: %s" %
              (self.process.poll(), self.lines.text[-2000:]))

    def is_alive(self):
        return self.process.poll() is None

    def kill(self):
        self.process.kill()
        self._ended()

    def _ended(self):
        self.process.wait()
        self.lines.thread.join(5)
        self.said += self.lines.text

    def stop(self):
        """Ends it as an init system does; it must end by itself, soon."""
        if self.process.poll() is not None:
            self._ended()
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self._ended()
            raise Failure("the server does not end on SIGTERM") from None
        self._ended()

    def address(self):
        return "%s:%d" % (self.host, self.port)

    def rehost(self, command, *arguments, status=0):
        return run(*self.prefix, REHOST, *command.split(), "--pool", self.pool, *arguments,
                   status=status)

    def token(self, *options):
        token = self.rehost("token create", "-q", *options).strip()
        check(re.fullmatch("[A-Z2-7]{26}", token), "token create printed %r" % token)
        return token

    def status(self):
        return json.loads(self.rehost("status", "--json"))

    def machines(self):
        """What it says of each, by name."""
        return {m["name"]: m for m in self.status()["machines"]}

    def memory(self):
        """(resident now, peak) in bytes."""
        text = read("/proc/%d/status" % self.process.pid).decode()
        values = [int(re.search(r"%s:\s+(\d+) kB" % name, text).group(1)) * 1024
                  for name in ("VmRSS", "VmHWM")]
        return tuple(values)

    def forget_peak(self):
        with contextlib.suppress(OSError):
            write("/proc/%d/clear_refs" % self.process.pid, "5")

    def folder(self, name):
        return os.path.join(self.pool, name)


class Sending:
    """A running `rehost send`."""

    def __init__(self, server, disks, *options, token=None, state=None, port=None, scratch=None,
                 prefix=(), environment=None, pin=None, host=None):
        self.arguments = [REHOST, "send", "--server",
                          "%s:%d" % (host or server.host, port or server.port),
                          "--pin", pin or server.pin]
        if state:
            self.arguments += ["--state", state]
        if token is not None:
            self.arguments += ["--token-file", "-"]
        self.arguments += [*options, *disks]
        self.process = subprocess.Popen(
            [*prefix, *self.arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace", cwd=scratch,
            env={**os.environ, **(environment or {})})
        self.lines = Lines(self.process.stdout)
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write((token or "") + "\n")
            self.process.stdin.close()

    def wait(self, *codes, seconds=120):
        """Its exit code, which must be one of these."""
        codes = codes or (OK,)
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failure("send: not done in %d s: %s" % (seconds, self.lines.text[-3000:])) from None
        self.lines.thread.join(5)
        check(code in codes, "send: exit status %d, not %s:\n%s" %
              (code, codes, self.lines.text[-3000:]))
        return code

    def kill(self):
        self.process.kill()
        self.process.wait()


def send(server, disks, *options, codes=(OK,), seconds=120, **keywords):
    """One transfer to its end; what it said."""
    sending = Sending(server, disks, *options, **keywords)
    sending.wait(*codes, seconds=seconds)
    return sending.lines.text


class Proxy:
    """tests/tools/cutproxy before a server."""

    def __init__(self, port, *options):
        self.process = subprocess.Popen([CUTPROXY, "127.0.0.1", str(port), *map(str, options)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().split()[1])

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def ask(self, command="stats"):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


# --- disks -----------------------------------------------------------------------------------

class Disk:
    """A GPT disk of which every byte was something else before: a boot partition, ext4 with the
    files of `tree`, swap. `kept` are the ranges that have to travel, by dumpe2fs."""

    def __init__(self, folder, name, megabytes=24, files=3, seed=None):
        tree = os.path.join(folder, name + ".tree")
        os.makedirs(os.path.join(tree, "srv"))
        for i in range(files):
            write(os.path.join(tree, "srv", "file%d" % i),
                  bad_input.noise(MIB, "%s %d" % (seed or name, i)))
        self.path = write(os.path.join(folder, name), bad_input.noise(megabytes * MIB, name))
        subprocess.run(["sfdisk", "-q", self.path], check=True, text=True,
                       input=bad_input.GPT.replace("16MiB", "%dMiB" % (megabytes - 8)))
        self.partitions = partitions(self.path)
        start, length, _ = self.partitions[2]
        run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-d", tree, "-E",
            "offset=%d,nodiscard,lazy_itable_init=0" % start, self.path, "%dk" % (length // 1024))
        self._make_swap(self.partitions[3])
        shutil.rmtree(tree)
        self.look_again()

    def _make_swap(self, partition):
        page = bytearray(4096)
        struct.pack_into("<III", page, 1024, 1, partition[1] // 4096 - 1, 0)
        page[1036:1052] = bad_input.noise(16, "uuid")
        page[4086:] = b"SWAPSPACE2"
        with open(self.path, "r+b") as f:
            f.seek(partition[0])
            f.write(page)

    def used_bytes(self):
        return sum(end - start for start, end in self.kept)

    def block_offset(self, name, number):
        """Where a block of a file begins, on the disk."""
        start = self.partitions[2][0]
        volume = "%s?offset=%d" % (self.path, start)
        size = int(re.search(r"Block size: +(\d+)", run("dumpe2fs", "-h", volume)).group(1))
        said = run("debugfs", "-R", "blocks " + name, volume)
        blocks = re.findall(r"\b\d+\b", said.split("\n", 1)[1])
        return start + int(blocks[number]) * size

    def look_again(self):
        """The file system was changed."""
        kept = {n: bad_input.used_ranges(self.path, p, n == 2, n == 3)
                for n, p in self.partitions.items()}
        self.kept = bad_input.everything(kept)


class PlainDisk:
    """A disk without a table: all of it has to travel."""

    def __init__(self, folder, name, megabytes):
        self.path = write(os.path.join(folder, name), bad_input.noise(megabytes * MIB, name))
        self.kept, self.partitions = [(0, megabytes * MIB)], {}

    def used_bytes(self):
        return self.kept[0][1]


def raw_copy(folder, number=0, scratch=None):
    """The bytes of one disk of a machine's folder, as an independent reader sees them."""
    raw = os.path.join(folder, "disk%d.raw" % number)
    if os.path.exists(raw):
        return read(raw)
    image = os.path.join(folder, "disk%d.qcow2" % number)
    check(os.path.exists(image), "no disk%d in %s: %s" % (number, folder, os.listdir(folder)))
    run("qemu-img", "check", "-q", image)
    with tempfile.NamedTemporaryFile(dir=scratch) as out:
        run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, out.name)
        return read(out.name)


def check_equal(folder, disk, number=0, scratch=None):
    """Used bytes equal; what no one uses did not come along."""
    copy, truth = raw_copy(folder, number, scratch), read(disk.path)
    check(len(copy) == len(truth), "%s: %d bytes became %d" % (folder, len(truth), len(copy)))
    position = 0
    for start, end in sorted(disk.kept) + [(len(truth), len(truth))]:
        if copy[start:end] != truth[start:end]:
            at = next(i for i in range(start, end) if copy[i] != truth[i])
            raise Failure("%s: used byte at 0x%x is not the source's" % (folder, at))
        # Unpartitioned space holds the tables, so look only inside the partitions.
        for first, length, _ in disk.partitions.values():
            free = copy[max(position, first):min(start, first + length)]
            check(free.count(0) == len(free), "%s: unused bytes between 0x%x and 0x%x came along" %
                  (folder, position, start))
        position = end


def find_ranges(value, key="unreadable"):
    """Every list of ranges below such a key of a report, as (offset, length)."""
    found = []
    if isinstance(value, dict):
        for name, item in value.items():
            if name.startswith(key) and isinstance(item, list):
                found += [(r["offset"], r["length"]) for r in item]
            else:
                found += find_ranges(item, key)
    elif isinstance(value, list):
        for item in value:
            found += find_ranges(item, key)
    return found


def check_unreadable(folder, disk, lost):
    """The report tells of these (offset, length) and no others; they are zero, and the other used
    bytes equal."""
    report = load(os.path.join(folder, "report.json"))
    ranges = sorted(set(find_ranges(report)))
    check(ranges == sorted(lost), "the report has %s, not %s" % (ranges, sorted(lost)))
    own = report["disks"][0]
    check(sorted(find_ranges(own)) == sorted(lost) and
          own["unreadable_bytes"] == sum(length for _, length in lost),
          "the disk's own entry has %s" % own)
    copy, truth = raw_copy(folder), bytearray(read(disk.path))
    for start, length in lost:
        check(copy.count(0, start, start + length) == length,
              "bytes at 0x%x were made up" % start)
        truth[start:start + length] = bytes(length)
    for start, end in disk.kept:
        check(copy[start:end] == truth[start:end], "a good sector near 0x%x was lost" % start)


def check_machine(server, name, disks):
    """A complete machine: its images, its manifest by the product, its report."""
    folder = server.folder(name)
    check(os.path.isdir(folder), "no %s in the pool: %s" % (name, os.listdir(server.pool)))
    for number, disk in enumerate(disks):
        check_equal(folder, disk, number)
    run(REHOST, "verify", folder)
    return load(os.path.join(folder, "report.json"))


def check_pool(server, names):
    """Nothing in the pool but these machines and the server's own folder."""
    found = sorted(os.listdir(server.pool))
    check(found == sorted([".rehost", *names]), "the pool holds %s, not %s" % (found, sorted(names)))


# --- what an agent is given ------------------------------------------------------------------

def token_file(folder, token):
    path = write(os.path.join(folder, "token"), token + "\n")
    os.chmod(path, 0o600)
    return path


def make_carrier(folder, token, **files):
    """A disk with the agent, its token and other files, for a machine that is up."""
    tree = os.path.join(folder, "carrier")
    os.makedirs(tree)
    shutil.copy(AGENT, os.path.join(tree, "rehost-agent"))
    token_file(tree, token)
    for name, content in files.items():
        write(os.path.join(tree, name), content)
    image = os.path.join(folder, "carrier.img")
    run("mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, image, "64m")
    return image


# --- tests -----------------------------------------------------------------------------------

@contextlib.contextmanager
def scratch_folder(name):
    """In memory when there is room: hundreds of small transfers, each with its fsyncs."""
    base = os.environ.get("REHOST_TMPDIR")
    if not base:
        base = "/dev/shm" if os.access("/dev/shm", os.W_OK) and \
            shutil.disk_usage("/dev/shm").free > 2 << 30 else "/var/tmp"
    folder = tempfile.mkdtemp(prefix="rehost-%s." % name, dir=base)
    try:
        yield folder
    finally:
        if "REHOST_KEEP" not in os.environ:
            shutil.rmtree(folder, ignore_errors=True)


def main(tests, names):
    """Runs the tests (name: function of a scratch folder), all or those named."""
    check(os.access(REHOST, os.X_OK), "build/rehost is not built")
    check(os.access(CUTPROXY, os.X_OK), "build/tools/cutproxy is not built")
    failures = 0
    for name in names or tests:
        with scratch_folder(name) as folder:
            try:
                tests[name](folder)
                say("%s: ok" % name)
            except (Failure, AssertionError) as e:
                failures += 1
                say("%s: FAILED: %s" % (name, e))
            except Exception as e:  # pylint: disable=broad-except
                failures += 1
                say("%s: FAILED: %s: %s" % (name, type(e).__name__, e))
                import traceback
                traceback.print_exc()
    return 1 if failures else 0
