# SPDX-License-Identifier: GPL-2.0-or-later
"""serve and send beside their peers, on the reference disk.

X  nbdcopy over TLS (X.509) into `qemu-nbd` qcow2, the whole disk
F  the same from a copy of the disk whose ext4 was fstrimmed (swap keeps its old pages, as with
   fstrim on the machine)
P  virt-p2v's path: nbdkit beside the disk, one `ssh -R` tunnel, nbdcopy and qemu-nbd on the server;
   from the trimmed copy, since virt-v2v trims in its overlay
C  partclone.ext4 | zstd -1 -T2 | ssh; the ESP by dd on the same way, the swap area not at all

Over loopback, and over a cable of 1 Gb/s (tbf on a veth pair). CPU seconds are user and system time
of every process of both ends. Each run begins with clean dirty pages and a warm source.

    BENCH_SEND=loopback,link,bytes,memory,growth,latency     parts; default: all
    BENCH_LINK_PAIRS=2                                       pairs over the slow cable
"""
import contextlib
import ctypes
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

from figures import MIB, PAIRS, REHOST, ROOT, compare, emit, fixture, median, pretouch

LINK_PAIRS = int(os.environ.get("BENCH_LINK_PAIRS", "2"))
TOOLS = os.path.join(ROOT, "build", "tools")
NEEDED = ("nbdcopy", "nbdkit", "qemu-nbd", "qemu-img", "certtool", "partclone.ext4", "zstd", "ssh",
          "ssh-keygen", "ip", "tc", "losetup", "fstrim", "sfdisk", "dumpe2fs")
SSHD = "/usr/sbin/sshd"


def command(*argv, **keywords):
    done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", check=False,
                          **keywords)
    if done.returncode != 0:
        raise SystemExit("bench: %s: status %d: %s" % (" ".join(map(str, argv)), done.returncode,
                                                       done.stdout[-2000:]))
    return done.stdout


def free_port(address):
    with socket.socket() as s:
        s.bind((address, 0))
        return s.getsockname()[1]


def can_connect(address, port):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex((address, port)) == 0


class Child:
    """A process of one run, killed with it; its output line by line when it is wanted."""

    def __init__(self, argv, log, reads=False, feed=None):
        self.log = open(log, "ab")
        self.process = subprocess.Popen([str(a) for a in argv], stdin=feed or subprocess.DEVNULL,
                                        stdout=subprocess.PIPE if reads else self.log,
                                        stderr=subprocess.STDOUT if reads else self.log,
                                        text=reads or None, errors="replace" if reads else None)
        self.argv, self.path, self.text, self.reader = argv, log, "", None
        if reads:
            self.reader = threading.Thread(target=self._read, daemon=True)
            self.reader.start()

    def fail(self, why):
        self.log.flush()
        with open(self.path, errors="replace") as f:
            sys.stderr.write(f.read()[-2000:])
        raise SystemExit("bench: %s: %s" % (" ".join(map(str, self.argv)), why))

    def _read(self):
        for line in self.process.stdout:
            self.text += line
            self.log.write(line.encode())

    def line(self, pattern, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = re.search(pattern, self.text, re.M)
            if found:
                return found
            if self.process.poll() is not None:
                break
            time.sleep(0.01)
        return self.fail("did not say %r" % pattern)

    def listens(self, address, port):
        for _ in range(200):
            if can_connect(address, port):
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.fail("does not listen")

    def end(self, sig=signal.SIGTERM, ok=(0, -signal.SIGTERM)):
        if self.process.poll() is None:
            self.process.send_signal(sig)
        self.finish(ok, 120)

    def finish(self, ok=(0,), seconds=1200):
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.fail("does not end")
        if self.reader:
            self.reader.join(10)
        if self.process.returncode not in ok:
            self.fail("status %d" % self.process.returncode)
        self.log.close()

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Run:
    """One measured run: wall time between start and stop, CPU of all that was started in between."""

    def __init__(self, lab):
        self.lab, self.children = lab, []

    def __enter__(self):
        os.sync()
        self.cpu = self._cpu()
        self.started = time.monotonic()
        return self

    @staticmethod
    def _cpu():
        """Of every descendant that ended; orphans are adopted by this process."""
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    def child(self, *argv, **keywords):
        child = Child(argv, os.path.join(self.lab.work, "log"), **keywords)
        self.children.append(child)
        return child

    def do(self, *argv, **keywords):
        self.child(*argv, **keywords).finish()

    def stop_clock(self):
        self.wall = time.monotonic() - self.started

    def __exit__(self, *unused):
        for child in self.children:
            child.kill()
        time.sleep(0.2)  # orphans end
        self.result = {"wall_s": getattr(self, "wall", 0), "cpu_s": self._cpu() - self.cpu}


class Lab:
    """Where it happens: work folder, keys, disks; `address` is the server's, `agent` the prefix of
    commands that run on the machine being sent."""

    def __init__(self, work):
        self.work = work
        self.address, self.agent = "127.0.0.1", ()
        self.out = os.path.join(work, "out")
        self.disk = fixture("make-reference-disk")
        self.parts = json.loads(command("sfdisk", "--json", self.disk))["partitiontable"]["partitions"]
        # Orphans of sshd and of ssh are ours to count and to reap.
        ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
        for name in NEEDED:
            if not shutil.which(name):
                raise SystemExit("bench: send: no %s" % name)

    def path(self, name):
        return os.path.join(self.work, name)

    def part(self, number):
        """(offset, size) in bytes."""
        p = self.parts[number - 1]
        return p["start"] * 512, p["size"] * 512

    @contextlib.contextmanager
    def loop(self, number, path=None):
        offset, size = self.part(number)
        device = command("losetup", "--find", "--show", "--offset", offset, "--sizelimit", size,
                         path or self.disk).strip()
        try:
            yield device
        finally:
            command("losetup", "--detach", device)

    def make_trimmed(self):
        self.trimmed = self.path("trimmed.img")
        command("cp", "--sparse=never", self.disk, self.trimmed)
        mount = self.path("mnt")
        os.makedirs(mount, exist_ok=True)
        offset, size = self.part(3)
        command("mount", "-o", "loop,offset=%d,sizelimit=%d" % (offset, size), self.trimmed, mount)
        try:
            command("fstrim", mount)
        finally:
            command("umount", mount)
        holes = os.stat(self.trimmed).st_size - os.stat(self.trimmed).st_blocks * 512
        if holes < 2 << 30:
            raise SystemExit("bench: send: fstrim left only %d MiB of holes" % (holes // MIB))

    def make_keys(self, addresses):
        """The peers': a certificate authority and both ends' certificates, ssh's keys."""
        pki = self.path("pki")
        os.makedirs(pki)

        def template(name, *lines):
            with open(os.path.join(pki, name), "w", encoding="ascii") as f:
                f.write("\n".join(lines) + "\n")
            return os.path.join(pki, name)

        def key(name):
            command("certtool", "--generate-privkey", "--key-type", "rsa", "--bits", "2048",
                    "--outfile", os.path.join(pki, name))
            return os.path.join(pki, name)

        authority = key("ca-key.pem")
        command("certtool", "--generate-self-signed", "--load-privkey", authority, "--template",
                template("ca.info", "cn = bench", "ca", "cert_signing_key", "expiration_days = 2"),
                "--outfile", os.path.join(pki, "ca-cert.pem"))
        for name, use in (("server", "tls_www_server"), ("client", "tls_www_client")):
            command("certtool", "--generate-certificate", "--load-ca-certificate",
                    os.path.join(pki, "ca-cert.pem"), "--load-ca-privkey", authority,
                    "--load-privkey", key(name + "-key.pem"), "--template",
                    template(name + ".info", "cn = localhost", "dns_name = localhost",
                             *("ip_address = %s" % a for a in addresses), use, "signing_key",
                             "encryption_key", "expiration_days = 2"),
                    "--outfile", os.path.join(pki, name + "-cert.pem"))
        self.pki = pki
        for name in ("host", "user"):
            command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.path("ssh-" + name))
        shutil.copy(self.path("ssh-user.pub"), self.path("authorized"))

    def clean_out(self):
        if os.path.isdir(self.out):
            shutil.rmtree(self.out)
        for name in ("out.qcow2", "out.zst", "out.esp.zst"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path(name))

    # --- the peers ---------------------------------------------------------------------------

    def sshd(self, run_of):
        os.makedirs("/run/sshd", exist_ok=True)
        port = free_port(self.address)
        config = self.path("sshd_config")
        with open(config, "w", encoding="ascii") as f:
            f.write("ListenAddress %s\nPort %d\nHostKey %s\nAuthorizedKeysFile %s\nUsePAM no\n"
                    "PasswordAuthentication no\nStrictModes no\nPermitRootLogin yes\nPidFile none\n"
                    "AllowTcpForwarding yes\n" % (self.address, port, self.path("ssh-host"),
                                                  self.path("authorized")))
        sshd = run_of.child(SSHD, "-D", "-e", "-f", config)
        sshd.listens(self.address, port)
        return sshd, port

    def ssh(self, port):
        return ["ssh", "-p", str(port), "-i", self.path("ssh-user"), "-o",
                "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o",
                "LogLevel=INFO", "-o", "BatchMode=yes", "-F", "/dev/null", self.address]

    def new_qcow2(self):
        command("qemu-img", "create", "-q", "-f", "qcow2", self.path("out.qcow2"),
                os.stat(self.disk).st_size)
        return self.path("out.qcow2")

    def nbdcopy_tls(self, source):
        target = self.new_qcow2()
        with Run(self) as r:
            port = free_port(self.address)
            server = r.child("qemu-nbd", "--object",
                             "tls-creds-x509,id=tls0,endpoint=server,verify-peer=on,dir=" + self.pki,
                             "--tls-creds", "tls0", "-f", "qcow2", "-t", "--shared=0",
                             "--discard=unmap", "-b", self.address, "-p", port, target)
            server.listens(self.address, port)
            r.do(*self.agent, "nbdcopy", "--flush", "--destination-is-zero", source,
                 "nbds://%s:%d/?tls-certificates=%s" % (self.address, port, self.pki))
            server.end()
            r.stop_clock()
        self.clean_out()
        return r.result

    def whole(self):
        return self.nbdcopy_tls(self.disk)

    def fstrimmed(self):
        return self.nbdcopy_tls(self.trimmed)

    def p2v(self):
        target, link = self.new_qcow2(), self.path("nbd.sock")
        with Run(self) as r:
            sshd, ssh_port = self.sshd(r)
            disk_socket = self.path("kit.sock")
            kit = r.child(*self.agent, "nbdkit", "-f", "-U", disk_socket, "file", self.trimmed)
            for _ in range(100):
                if os.path.exists(disk_socket):
                    break
                time.sleep(0.05)
            tunnel = self.ssh(ssh_port)
            tunnel = r.child(*self.agent, *tunnel[:-1], "-N", "-R", "0:" + disk_socket, tunnel[-1],
                             reads=True)
            port = tunnel.line(r"Allocated port (\d+)").group(1)
            server = r.child("qemu-nbd", "-f", "qcow2", "-t", "--shared=0", "--discard=unmap", "-k",
                             link, target)
            for _ in range(100):
                if os.path.exists(link):
                    break
                time.sleep(0.05)
            r.do("nbdcopy", "--flush", "--requests=64", "--destination-is-zero",
                 "nbd://127.0.0.1:" + port, "nbd+unix:///?socket=" + link)
            server.end()
            r.stop_clock()
            tunnel.end(ok=(0, 255, -signal.SIGTERM))
            kit.end()
            sshd.end(ok=(0, 255, -signal.SIGTERM))
        for path in (link, disk_socket):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        self.clean_out()
        return r.result

    def partclone(self, sizes=None):
        with self.loop(3) as device, Run(self) as r:
            sshd, port = self.sshd(r)
            offset, size = self.part(1)
            self.through_ssh(r, port, "out.esp.zst", "dd", "if=" + self.disk, "bs=1M", "status=none",
                             "skip=%d" % (offset // MIB), "count=%d" % (size // MIB))
            self.through_ssh(r, port, "out.zst", "partclone.ext4", "-c", "-s", device, "-o", "-",
                             "-L", "/dev/null", "-B", "-F")
            r.stop_clock()
            sshd.end(ok=(0, 255, -signal.SIGTERM))
        if sizes is not None:
            sizes.append(sum(os.stat(self.path(n)).st_size for n in ("out.zst", "out.esp.zst")))
        self.clean_out()
        return r.result

    def through_ssh(self, r, port, name, *reader):
        """reader | zstd | ssh 'cat > name'"""
        with open(self.path("log"), "ab") as log:
            first = subprocess.Popen([*self.agent, *reader], stdout=subprocess.PIPE, stderr=log)
            second = subprocess.Popen([*self.agent, "zstd", "-1", "-T2", "-q", "-c"],
                                      stdin=first.stdout, stdout=subprocess.PIPE, stderr=log)
            first.stdout.close()
            last = r.child(*self.agent, *self.ssh(port), "cat > " + self.path(name),
                           feed=second.stdout)
            second.stdout.close()
            last.finish()
            if first.wait() != 0 or second.wait() != 0:
                last.path = self.path("log")
                raise SystemExit("bench: %s failed: %s" % (reader[0], open(
                    self.path("log"), errors="replace").read()[-1500:]))

    # --- ours --------------------------------------------------------------------------------

    def ours(self, *options, disks=None, check=False, through=None, serve=()):
        """One machine from nothing to 'received and finished'."""
        peak = 0
        disks = disks or [self.disk]
        with Run(self) as r:
            server, port, pin = self.serve(r, *serve)
            pool = self.out
            token = command(REHOST, "token", "create", "-q", "--pool", pool)
            token_file = self.path("token")
            with open(token_file, "w", encoding="ascii") as f:
                f.write(token)
            os.chmod(token_file, 0o600)
            if through:
                port = through(port)
            state = self.path("state")
            r.do(*self.agent, REHOST, "send", "--server", "%s:%d" % (self.address, port), "--pin",
                 pin, "--token-file", token_file, "--state", state, "--name", "bench", "--progress",
                 "none", *options, *disks)
            r.stop_clock()
            with open("/proc/%d/status" % server.process.pid, encoding="ascii") as f:
                peak = int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1)) * 1024
            server.end()
        r.result["peak_bytes"] = peak
        folder = os.path.join(self.out, "bench")
        if not os.path.isdir(folder):
            raise SystemExit("bench: no machine came out: %s" % os.listdir(self.out))
        if check:
            command(REHOST, "verify", folder)
            command("qemu-img", "check", "-q", os.path.join(folder, "disk0.qcow2"))
        shutil.rmtree(self.path("state"), ignore_errors=True)
        self.clean_out()
        return r.result

    def serve(self, r, *options):
        server = r.child(REHOST, "serve", "--pool", self.out, "--listen", self.address + ":0",
                         "--no-fix", "--no-boot-test", *options, reads=True)
        pin = server.line(r"^pin (\S+)$").group(1)
        return server, int(server.line(r"^listening on \S+:(\d+)").group(1)), pin


# --- figures ---------------------------------------------------------------------------------

BARS = (("whole", "nbdcopy TLS, whole disk", 0.35), ("fstrimmed", "nbdcopy TLS, fstrimmed", 0.6),
        ("p2v", "virt-p2v's path, fstrimmed", 0.5), ("partclone", "partclone | zstd | ssh", 0.5))


def against_peers(lab, place, pairs):
    """Ours and the four in turn; the first round warms the page cache and is not counted."""
    ours, peers = [], {name: [] for name, _, _ in BARS}
    for number in range(pairs + 1):
        results = {name: getattr(lab, name)() for name, _, _ in BARS}
        mine = lab.ours(check=number == 0)
        if number > 0:
            ours.append(mine)
            for name in peers:
                peers[name].append(results[name])
    for name, title, bar in BARS:
        compare("send.%s.wall" % place, "wall_s", ours, peers[name], title, bar)
    compare("send.%s.cpu" % place, "cpu_s", ours, peers["fstrimmed"], "nbdcopy TLS, fstrimmed",
            0.6 if place == "loopback" else None)
    compare("send.%s.cpu" % place, "cpu_s", ours, peers["whole"], "nbdcopy TLS, whole disk")


def part_loopback(lab):
    against_peers(lab, "loopback", max(3, PAIRS))


@contextlib.contextmanager
def namespace(lab):
    """The agent in a namespace of its own; gives its name."""
    name = "rehost-bench-%d" % os.getpid()
    command("ip", "netns", "add", name)
    before = lab.address, lab.agent
    try:
        command("nsenter", "--net=/run/netns/" + name, "ip", "link", "set", "lo", "up")
        lab.address, lab.agent = lab.link_address, ("nsenter", "--net=/run/netns/" + name)
        yield name
    finally:
        lab.address, lab.agent = before
        command("ip", "netns", "delete", name)


def set_up(name, here, there, lab):
    command("ip", "address", "add", lab.link_address + "/30", "dev", here)
    command("ip", "link", "set", here, "up")
    inside = ("nsenter", "--net=/run/netns/" + name)
    command(*inside, "ip", "address", "add", lab.link_peer + "/30", "dev", there)
    command(*inside, "ip", "link", "set", there, "up")


def part_link(lab):
    with namespace(lab) as name:
        here = "rhb%d" % os.getpid()
        command("ip", "link", "add", here, "type", "veth", "peer", "name", "cable", "netns", name)
        set_up(name, here, "cable", lab)
        for prefix, device in (((), here), (("nsenter", "--net=/run/netns/" + name), "cable")):
            command(*prefix, "tc", "qdisc", "add", "dev", device, "root", "tbf", "rate", "1gbit",
                    "burst", "256k", "latency", "50ms")
        against_peers(lab, "1gbit", LINK_PAIRS)


def used_and_not_zero(lab):
    """Bytes in blocks of 4 KiB that the file systems use (dumpe2fs; swap: its header) and that hold
    anything but zeroes."""
    skipped = []
    offset, size = lab.part(2)
    skipped.append((offset + 4096, offset + size))
    offset, size = lab.part(3)
    text = command("dumpe2fs", "%s?offset=%d" % (lab.disk, offset))
    block = int(re.search(r"Block size: +(\d+)", text).group(1))
    for line in re.findall(r"^  Free blocks: (.*)$", text, re.M):
        for item in filter(None, (i.strip() for i in line.split(","))):
            first, _, last = item.partition("-")
            skipped.append((offset + int(first) * block, offset + (int(last or first) + 1) * block))
    total, position, zero = 0, 0, bytes(4096)
    with open(lab.disk, "rb") as f:
        for start, end in sorted(skipped) + [(os.stat(lab.disk).st_size, 0)]:
            f.seek(position)
            while position < start:
                data = f.read(min(4 * MIB, start - position))
                if data.count(0) == len(data):
                    position += len(data)
                    continue
                total += sum(4096 for at in range(0, len(data), 4096) if data[at:at + 4096] != zero)
                position += len(data)
            position = end
    return total


def part_bytes(lab):
    """Counted by a proxy between the two: what TCP carries, both ways, TLS included."""
    def sent(*options):
        proxy = []

        def through(port):
            process = subprocess.Popen([os.path.join(TOOLS, "cutproxy"), lab.address, str(port)],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            proxy.append(process)
            return int(process.stdout.readline().split()[1])

        try:
            lab.ours(*options, through=through)
            proxy[0].stdin.write("stats\n")
            proxy[0].stdin.flush()
            stats = json.loads(proxy[0].stdout.readline())
        finally:
            for process in proxy:
                process.stdin.close()
                process.wait()
        return stats["up"] + stats["down"]

    used, sizes = used_and_not_zero(lab), []
    lab.partclone(sizes)
    plain = sent("--compress", "none")
    emit("send.bytes", plain / MIB, "MiB", used / MIB, "used and not zero, by dumpe2fs", plain / used,
         "ratio <= 1.02", plain <= 1.02 * used)
    packed = sent("--compress", "1")
    emit("send.bytes.zstd", packed / MIB, "MiB", sizes[0] / MIB, "partclone | zstd -1",
         packed / sizes[0], "ratio <= 1.05", packed <= 1.05 * sizes[0])


def part_memory(lab):
    """The server's peak with one agent and with eight at once, each with content of its own."""
    block, disks = 256 * MIB, []
    for i in range(8):
        disks.append(lab.path("random%d.img" % i))
        with open(disks[-1], "wb") as f:
            for _ in range(block // (8 * MIB)):
                f.write(os.urandom(8 * MIB))
    try:
        for count in (1, 8):
            peak = agents_at_once(lab, disks[:count])
            bar = 64 + 16 * count
            emit("send.server_memory.%d" % count, peak / MIB, "MiB", bar="<= %d MiB" % bar,
                 met=peak <= bar * MIB)
    finally:
        for disk in disks:
            os.unlink(disk)
        lab.clean_out()


def agents_at_once(lab, disks):
    with Run(lab) as r:
        server, port, pin = lab.serve(r)
        token = command(REHOST, "token", "create", "-q", "--pool", lab.out, "--uses", len(disks))
        with open(lab.path("token"), "w", encoding="ascii") as f:
            f.write(token)
        agents = [r.child(REHOST, "send", "--server", "%s:%d" % (lab.address, port), "--pin", pin,
                          "--token-file", lab.path("token"), "--state", lab.path("state%d" % i),
                          "--name", "m%d" % i, "--progress", "none", disk)
                  for i, disk in enumerate(disks)]
        for agent in agents:
            agent.finish()
        with open("/proc/%d/status" % server.process.pid, encoding="ascii") as f:
            peak = int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1)) * 1024
        server.end()
    for i in range(len(disks)):
        shutil.rmtree(lab.path("state%d" % i), ignore_errors=True)
    lab.clean_out()
    return peak


def part_growth(lab):
    """The reference disk's files on a disk of 8 GiB and on one of 80, both made alike."""
    mount, disks = lab.path("mnt"), {}
    os.makedirs(mount, exist_ok=True)
    offset, size = lab.part(3)
    command("mount", "-o", "ro,loop,offset=%d,sizelimit=%d" % (offset, size), lab.disk, mount)
    try:
        for gib in (8, 80):
            disk = disks[gib] = lab.path("disk%d.img" % gib)
            with open(disk, "wb") as f:
                f.truncate(gib << 30)
            subprocess.run(["sfdisk", "-q", disk], check=True, text=True,
                           input="label: gpt\nstart=2048, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4\n")
            command("mke2fs", "-q", "-F", "-t", "ext4", "-d", mount, "-E",
                    "offset=%d,nodiscard" % MIB, disk, "%dk" % ((gib << 20) - 4096))
    finally:
        command("umount", mount)
    ours = {gib: [] for gib in disks}
    for number in range(max(3, PAIRS) + 1):
        for gib, disk in disks.items():
            result = lab.ours(disks=[disk])
            if number > 0:
                ours[gib].append(result)
    compare("send.growth", "wall_s", ours[80], ours[8], "ours, a tenth of the disk", 1.1,
            note="80 GiB against 8 GiB, the same files")
    for disk in disks.values():
        os.unlink(disk)


def plain_stream(lab, size):
    """Bytes a second of one plain TCP stream from the agent's side, as the kernel is set."""
    listener = socket.create_server((lab.address, 0))
    sender = subprocess.Popen([*lab.agent, sys.executable, "-c",
                               "import socket\nc = socket.create_connection((%r, %d))\n"
                               "b = bytes(1 << 20)\nfor _ in range(%d):\n    c.sendall(b)\n" %
                               (lab.address, listener.getsockname()[1], size // MIB)])
    connection, _ = listener.accept()
    started, got = time.monotonic(), 0
    while data := connection.recv(MIB):
        got += len(data)
    sender.wait()
    listener.close()
    return got / (time.monotonic() - started)


def part_latency(lab):
    """The same 512 MiB through a cable of 0 and of 50 ms there and back."""
    disk, size = lab.path("random.img"), 512 * MIB
    with open(disk, "wb") as f:
        for _ in range(size // (8 * MIB)):
            f.write(os.urandom(8 * MIB))
    rates, plain = {}, {}
    for milliseconds in (0, 50):
        with namespace(lab) as name:
            here = "rhb%d" % os.getpid()
            cable = subprocess.Popen([os.path.join(TOOLS, "delaywire"), "-", here, name, "cable",
                                      str(milliseconds / 2)], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True)
            try:
                if cable.stdout.readline() != "ready\n":
                    raise SystemExit("bench: delaywire does not run")
                set_up(name, here, "cable", lab)
                plain[milliseconds] = plain_stream(lab, size)
                walls = [lab.ours("--compress", "none", disks=[disk])["wall_s"] for _ in range(3)]
                rates[milliseconds] = size / median(walls)
            finally:
                cable.stdin.close()
                cable.wait()
    os.unlink(disk)
    emit("send.latency", rates[50] / MIB, "MiB/s", plain[50] / MIB, "one plain TCP stream, 50 ms",
         rates[50] / plain[50], without_latency=round(rates[0] / MIB, 1),
         plain_without_latency=round(plain[0] / MIB, 1))


PARTS = {"loopback": part_loopback, "bytes": part_bytes, "memory": part_memory,
         "growth": part_growth, "latency": part_latency, "link": part_link}


def bench_send(work):
    wanted = os.environ.get("BENCH_SEND")
    wanted = wanted.split(",") if wanted else list(PARTS)
    for name in wanted:
        if name not in PARTS:
            raise SystemExit("bench: BENCH_SEND takes %s" % ",".join(PARTS))
    lab = Lab(work)
    # Documentation's own networks: nobody's machine is there.
    number = os.getpid() % 16384
    lab.link_address = "198.18.%d.%d" % (number >> 6, (number & 63) * 4 + 1)
    lab.link_peer = "198.18.%d.%d" % (number >> 6, (number & 63) * 4 + 2)
    lab.make_keys(("127.0.0.1", lab.link_address))
    pretouch(work)
    if {"loopback", "link"} & set(wanted):
        lab.make_trimmed()
    for name in wanted:
        PARTS[name](lab)
