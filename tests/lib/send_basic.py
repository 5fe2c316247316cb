# SPDX-License-Identifier: GPL-2.0-or-later
"""What serve and send promise when nothing goes wrong: equal copies, nothing sent twice, every way
to be let in, and no secret where others could see it. Bytes are counted by a proxy, images are
checked by qemu-img and dumpe2fs.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from sending import (FAILED, MIB, NOT_AUTHORISED, REHOST, TRANSFER_ONLY, USAGE,  # noqa: E402
                     WARNINGS, Disk, Failure, PlainDisk, Proxy, Sending, Server, check,
                     check_machine, check_pool, load, main, missing, raw_copy, read, run, say,
                     send, skip_if, token_file, wait_for, write)
from bad_input import digest, noise  # noqa: E402


def counted(server, disks, *options, **keywords):
    """Sends; the bytes that crossed the wire, both ways."""
    with Proxy(server.port) as proxy:
        output = send(server, disks, *options, port=proxy.port, **keywords)
        stats = proxy.ask()
    return stats["up"] + stats["down"], output


def change_file(disk, name, data):
    """As the machine itself would, with somebody else's tool."""
    start = disk.partitions[2][0]
    source = write(disk.path + ".new", data)
    script = write(disk.path + ".script", "rm /srv/%s\nwrite %s /srv/%s\n" % (name, source, name))
    run("debugfs", "-w", "-f", script, "%s?offset=%d" % (disk.path, start))
    os.unlink(source)
    os.unlink(script)
    disk.look_again()


def test_copies(folder):
    """First copy, again, after a change, a clone, another name: each costs what is new."""
    disk = Disk(folder, "sda.img", 96, 64)
    before = digest(disk.path)
    state = os.path.join(folder, "state")
    with Server(os.path.join(folder, "pool"), *TRANSFER_ONLY) as server:
        first, said = counted(server, [disk.path], "--name", "web", "--compress", "none",
                              token=server.token(), state=state)
        report = check_machine(server, "web", [disk])
        check(digest(disk.path) == before, "the source changed")
        check(first < 1.02 * disk.used_bytes() + 256 * 1024, "%d bytes on the wire for %d used" %
              (first, disk.used_bytes()))
        row = server.machines()["web"]
        check(row["state"] in ("done", "warned"), "status says %s" % row)
        check("web" in said or "received" in said, "send does not say what became of it: %s" % said)
        check(isinstance(report, dict) and report, "an empty report")

        again, _ = counted(server, [disk.path], "--name", "web", "--compress", "none", state=state)
        check_machine(server, "web", [disk])
        check(again <= first / 100, "sent again: %d bytes, the first time %d" % (again, first))

        change_file(disk, "file7", noise(MIB, "changed"))
        changed, _ = counted(server, [disk.path], "--compress", "none", state=state)
        check_machine(server, "web", [disk])
        check(MIB <= changed < 2 * MIB + first / 100,
              "1 MiB changed, %d bytes crossed the wire" % changed)

        clone, _ = counted(server, [disk.path], "--name", "clone", "--compress", "none",
                           token=server.token(), state=os.path.join(folder, "other"))
        check_machine(server, "clone", [disk])
        check(clone <= first / 100, "a clone: %d bytes, the original %d" % (clone, first))

        send(server, [disk.path], "--name", "web", token=server.token(),
             state=os.path.join(folder, "third"))
        check_machine(server, "web-2", [disk])
        check_pool(server, ["clone", "web", "web-2"])
    say("bytes: %d first, %d again, %d after 1 MiB changed, %d clone" %
        (first, again, changed, clone))


def test_disks(folder):
    """Several disks at once, every compression, raw images, an odd size, a disk without a table."""
    disks = [Disk(folder, "sda.img", 24, 3), Disk(folder, "sdb.img", 40, 8)]
    odd = write(os.path.join(folder, "odd.img"), noise(3 * MIB + 5 * 512, "odd"))
    before = [digest(d.path) for d in disks]
    for form in ("qcow2", "raw"):
        pool = os.path.join(folder, form)
        with Server(pool, "--format", form, *TRANSFER_ONLY) as server:
            for compress in ("auto", "none", "1", "3"):
                name = "%s-%s" % (form, compress)
                send(server, [d.path for d in disks] + [odd], "--name", name, "--compress", compress,
                     token=server.token(), state=os.path.join(folder, name))
                check_machine(server, name, disks)
                guest = load(os.path.join(pool, name, "guest.json"))
                check([d["format"] for d in guest["disks"]] == [form] * 3,
                      "guest.json: %s" % guest["disks"])
                check(raw_copy(os.path.join(pool, name), 2) == read(odd),
                      "%s: the disk without a table is another" % name)
    check([digest(d.path) for d in disks] == before, "a source changed")


def test_admission(folder):
    """Tokens made, listed, revoked; an agent without one waits for `approve`."""
    disk = Disk(folder, "sda.img")
    with Server(os.path.join(folder, "pool"), *TRANSFER_ONLY) as server:
        token = server.token()
        check(token not in server.rehost("token list"), "token list shows the token")
        send(server, [disk.path], "--name", "one", token=token, state=os.path.join(folder, "one"))
        for what, bad in (("used", token), ("made-up", "A" * 26)):
            said = send(server, [disk.path], "--name", what, token=bad, codes=(NOT_AUTHORISED,),
                        state=os.path.join(folder, what), seconds=30)
            check(bad not in said, "send shows the token")

        twice = server.token("--uses", "2")
        for name in ("two", "three"):
            send(server, [disk.path], "--name", name, token=twice.lower(),
                 state=os.path.join(folder, name))
        send(server, [disk.path], token=twice, codes=(NOT_AUTHORISED,), seconds=30,
             state=os.path.join(folder, "four"))

        waiting = Sending(server, [disk.path], "--name", "approved",
                          state=os.path.join(folder, "approved"))
        code = wait_for("the agent shows its code", lambda: waiting.lines.find(
            r"\b([A-Z2-7]{4}-[A-Z2-7]{4})\b")).group(1)
        wait_for("status shows the code", lambda: code in json.dumps(server.status()))
        check(code in server.rehost("status"), "status for people does not show %s" % code)
        check(server.rehost("approve", "AAAA-AAAA", status=FAILED), "approve of nobody says nothing")
        check(not os.path.exists(server.folder("approved.partial")), "a folder before the approval")
        server.rehost("approve", code.lower().replace("-", ""))
        waiting.wait()
        check_machine(server, "approved", [disk])
        check_pool(server, ["approved", "one", "three", "two"])


def test_secrets(folder):
    """The token is in no command line, no environment, no log, no file of the pool."""
    disk = Disk(folder, "sda.img")
    seen = []
    with Server(os.path.join(folder, "pool"), *TRANSFER_ONLY) as server:
        token = server.token()
        path = token_file(folder, token)
        done = threading.Event()

        def watch():
            while not done.is_set():
                for pid in filter(str.isdigit, os.listdir("/proc")):
                    for name in ("cmdline", "environ"):
                        try:
                            if token.encode() in read("/proc/%s/%s" % (pid, name)):
                                seen.append(read("/proc/%s/cmdline" % pid))
                        except OSError:
                            pass
                time.sleep(0.01)

        watcher = threading.Thread(target=watch)
        watcher.start()
        said = send(server, [disk.path], "--name", "web", "--token-file", path, "-v",
                    state=os.path.join(folder, "state"))
        said += send(server, [disk.path], "-v", token="B" * 25 + "A", codes=(NOT_AUTHORISED,),
                     state=os.path.join(folder, "other"))
        done.set()
        watcher.join()
        check(not seen, "the token is in the command line or environment of %s" % seen[:1])
        check(token not in said and "B" * 25 + "A" not in said, "send shows a token: %s" % said)
        server.stop()
        check(token not in server.said and "B" * 25 + "A" not in server.said, "serve shows a token")
        for root, _, files in os.walk(server.pool):
            for name in files:
                data = read(os.path.join(root, name))
                check(token.encode() not in data, "the token is in %s/%s" % (root, name))
        for name in ("server.pem", "rehost.db"):
            mode = os.stat(os.path.join(server.pool, ".rehost", name)).st_mode & 0o777
            check(mode & 0o077 == 0, "%s has mode %o" % (name, mode))
        key = [os.path.join(root, f) for root, _, files in os.walk(os.path.join(folder, "state"))
               for f in files if f.endswith(".pem")]
        check(key and all(os.stat(k).st_mode & 0o077 == 0 for k in key),
              "the agent's key: %s" % key)


def test_usage(folder):
    """Wrong usage is told at once, and one server has a pool."""
    disk = write(os.path.join(folder, "disk.img"), bytes(MIB))
    pin = "sha256:" + "0" * 64
    with Server(os.path.join(folder, "pool"), *TRANSFER_ONLY) as server:
        other = run(*server.prefix, REHOST, "serve", "--pool",
                    server.pool, "--listen", "127.0.0.1:0", status=FAILED)
        check("use" in other or "server" in other, "a second server on a pool: %s" % other)
        for arguments in (["send", disk], ["send", "--server", server.address(), disk],
                          ["send", "--server", server.address(), "--pin", "sha256:12", disk],
                          ["send", "--server", "", "--pin", pin, disk],
                          ["send", "--server", server.address(), "--pin", pin, "--limit", "x", disk],
                          ["serve", "--pool", server.pool, "--jobs", "x"],
                          ["token", "--pool", server.pool],
                          ["token", "invent", "--pool", server.pool],
                          ["approve", "--pool", server.pool]):
            run(REHOST, *arguments, status=USAGE, timeout=20)
        missing = run(REHOST, "send", "--server", server.address(), "--pin", server.pin,
                      "--token-file", "-", os.path.join(folder, "no.img"), status=None, timeout=20)
        check("no.img" in missing, "a missing disk is not named: %s" % missing)
        check_pool(server, [])


class Network:
    """A namespace for the agent, and a cable to it."""

    def __init__(self):
        self.name = "rehost-%d" % os.getpid()
        number = os.getpid() % 16384
        net = "198.%d.%d." % (18 + (number >> 13), (number >> 5) & 255)
        base = (number & 31) * 8 & 0xf8
        self.server, self.agent = net + str(base + 1), net + str(base + 2)

    def __enter__(self):
        run("ip", "netns", "add", self.name)
        try:
            link = "rh%d" % os.getpid()
            run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", self.name)
            run("ip", "address", "add", self.server + "/29", "dev", link)
            run("ip", "link", "set", link, "up")
            inside = ("nsenter", "--net=/run/netns/" + self.name, "ip")
            run(*inside, "link", "set", "lo", "up")
            run(*inside, "address", "add", self.agent + "/29", "dev", "eth0")
            run(*inside, "link", "set", "eth0", "up")
        except Failure:
            self.__exit__()
            raise
        return self

    def __exit__(self, *unused):
        subprocess.run(["ip", "netns", "delete", self.name], check=False)


def test_namespaces(folder):
    """Across two network namespaces, with a limit that is kept."""
    disk = Disk(folder, "sda.img", 48, 32)
    with Network() as network, Server(os.path.join(folder, "pool"), *TRANSFER_ONLY,
                                      host=network.server) as server:
        started = time.monotonic()
        send(server, [disk.path], "--name", "far", "--limit", "8M", "--compress", "none",
             token=server.token(), state=os.path.join(folder, "state"),
             prefix=("nsenter", "--net=/run/netns/" + network.name))
        seconds = time.monotonic() - started
        check_machine(server, "far", [disk])
        expected = disk.used_bytes() / (8 * MIB)
        check(0.6 * expected < seconds < 2.5 * expected + 3,
              "%.1f s for %d bytes at 8 MiB a second" % (seconds, disk.used_bytes()))


def test_ends(folder):
    """SIGINT and SIGTERM end an agent with 130, a server at once; both go on afterwards."""
    disk = Disk(folder, "sda.img", 48, 32)
    state = os.path.join(folder, "state")
    with Server(os.path.join(folder, "pool"), *TRANSFER_ONLY) as server:
        token = server.token()
        for number, kind in enumerate((signal.SIGINT, signal.SIGTERM)):
            # (bash and make start background children with SIGINT ignored)
            sending = Sending(server, [disk.path], "--name", "web", "--limit", "2M", state=state,
                              token=token if number == 0 else None,
                              prefix=("env", "--default-signal=INT"))
            wait_for("it is being received", lambda: os.path.exists(server.folder("web.partial")))
            time.sleep(0.5)
            sending.process.send_signal(kind)
            sending.wait(130, seconds=10)
            wait_for("status tells of the interruption",
                     lambda: server.machines()["web"]["state"] == "interrupted", 75)
            check(not os.path.exists(server.folder("web")), "a half machine under its final name")
        server.stop()
        server.start()
        send(server, [disk.path], "--name", "web", state=state)
        check_machine(server, "web", [disk])


def test_wanted(folder):
    """What is wanted of the guest is in its definition; what cannot be is a warning."""
    disk = PlainDisk(folder, "sda.img", 4)
    state = os.path.join(folder, "state")
    with Server(os.path.join(folder, "pool"), *TRANSFER_ONLY) as server:
        options = ("--name", "web", "--memory", "3G", "--vcpus", "6", "--network", "lab")
        send(server, [disk.path], *options, token=server.token(), state=state)
        guest = load(server.folder("web/guest.json"))
        report = load(server.folder("web/report.json"))
        cpu = guest["cpu"]
        check(guest["memory_bytes"] == 3 << 30 and
              cpu["sockets"] * cpu["cores"] * cpu["threads"] == 6, "the guest is %s" % guest)
        check([n["network"] for n in guest["nics"]] == ["lab"], "the NICs are %s" % guest["nics"])
        check(report["wanted"] == {"name": "web", "memory_bytes": 3 << 30, "vcpus": 6, "networks": [
            {"nic": None, "network": "lab", "is_applied": True}]}, "said: %s" % report["wanted"])

        # Somebody has put it elsewhere since; an interface is wanted that it has not.
        guest["nics"][0]["network"] = "dmz"
        write(server.folder("web/guest.json"), json.dumps(guest))
        send(server, [disk.path], *options, "--network", "eth7:wired", state=state,
             codes=(WARNINGS,))
        guest = load(server.folder("web/guest.json"))
        check([n["network"] for n in guest["nics"]] == ["dmz"], "the NICs are %s" % guest["nics"])


TESTS = {"copies": test_copies, "disks": test_disks, "admission": test_admission,
         "secrets": test_secrets, "usage": test_usage, "namespaces": test_namespaces,
         "ends": test_ends, "wanted": test_wanted}

if __name__ == "__main__":
    skip_if(missing("sfdisk", "mke2fs", "dumpe2fs", "debugfs", "qemu-img", "ip",
                    root="network namespaces"))
    sys.exit(main(TESTS, sys.argv[1:]))
