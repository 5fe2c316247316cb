# SPDX-License-Identifier: GPL-2.0-or-later
"""Trouble on the way of the agent's medium, without a hand on it: the cable is pulled, the server
dies, the machine loses its power and starts again with its used token, sectors cannot be read.
Bytes are counted by a proxy; the machine is started from the kernel and initramfs of `make-pxe`.
"""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import agent_boot  # noqa: E402
import server_test  # noqa: E402
from agent_boot import HOST, Physical, Terminal, sent_bytes  # noqa: E402
from sending import (CHECKPOINT, MIB, TRANSFER_ONLY, WINDOW, Disk, Proxy,  # noqa: E402
                     Server, check, check_machine, check_pool, check_unreadable, main, say,
                     skip_if)

SLACK = 512 * 1024  # connections, offers, names
CABLE_SECONDS = 40
PAGE = 4096


class Journey:
    """A server with a proxy before it, a disk, and the machine that has it."""

    def __init__(self, folder, disk, *options, **disk_options):
        self.folder, self.disk = folder, disk
        self.before = server_test.sha256(disk.path)
        self.server = Server(os.path.join(folder, "pool"), *TRANSFER_ONLY, *CHECKPOINT)
        self.proxy = Proxy(self.server.port)
        medium = agent_boot.plain_medium()
        words = ["console=tty0", "console=ttyS0", "rehost.server=%s:%d" % (HOST, self.proxy.port),
                 "rehost.pin=" + self.server.pin, "rehost.token=" + self.server.token(),
                 "rehost.name=web", "rehost.compress=none", *options]
        # QEMU's e1000e does not tell Linux that its link went down.
        self.physical = Physical(folder, [{"path": disk.path, **disk_options}],
                                 ("kernel", medium, " ".join(words)), card="e1000")
        Terminal(self.physical)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.physical.stop()
        self.proxy.__exit__()
        self.server.stop()

    def wait_for_bytes(self, count, seconds=300):
        """Until the server has so many."""
        self.physical.until("%d MiB are there" % (count // MIB),
                            lambda: sent_bytes(self.server) >= count, seconds)
        say("%d MiB are there" % (sent_bytes(self.server) // MIB))

    def finish(self, seconds=300):
        """To the end: off by itself, complete, the source as it was. The server's row."""
        self.physical.until("the machine powers itself off", self.physical.is_off, seconds)
        self.physical.check_never_written()
        row = self.server.machines()["web"]
        say("the server: %s: %s" % (row["state"], row["text"]))
        check(server_test.sha256(self.disk.path) == self.before, "the source changed")
        check_pool(self.server, ["web"])
        return row

    def check_sent(self, times):
        """Nothing twice but a window each time that it was cut off."""
        up, used = self.proxy.ask()["up"], self.disk.used_bytes()
        say("%.2f times the used bytes crossed the wire" % (up / used))
        check(up < 1.02 * used + times * (WINDOW + SLACK) + SLACK,
              "%d bytes up for %d used and %d cuts" % (up, used, times))


def test_cable_and_server(folder):
    """The cable is out for a while; later the server is killed and started anew."""
    disk = Disk(folder, "sda.img", 96, 56)
    with Journey(folder, disk, "rehost.limit=3M") as journey:
        journey.wait_for_bytes(8 * MIB)
        journey.physical.pull_cable()
        say("the cable is out")
        journey.physical.listen(CABLE_SECONDS)
        had = sent_bytes(journey.server)
        check(had < disk.used_bytes() / 2, "it went on without a cable: %d bytes" % had)
        said = journey.physical.last_words()
        say(said)
        check("cable" in said, "nobody is told of the cable")
        journey.physical.pull_cable(False)
        say("the cable is in again")
        journey.wait_for_bytes(had + 12 * MIB)
        journey.server.kill()
        journey.physical.listen(5)
        journey.server.start()
        say("the server is there again")
        row = journey.finish()
        check(row["state"] == "done", "status says %s" % row)
        check_machine(journey.server, "web", [disk])
        journey.check_sent(2)


def test_reset(folder):
    """The power fails in the middle; the second boot goes on, though its token was for one use."""
    disk = Disk(folder, "sda.img", 56, 40)
    with Journey(folder, disk, "rehost.limit=3M") as journey:
        journey.wait_for_bytes(20 * MIB)
        journey.physical.reset()
        say("the machine starts again")
        row = journey.finish()
        check(row["state"] == "done", "status says %s" % row)
        check_machine(journey.server, "web", [disk])
        journey.check_sent(1)


def test_bad_sectors(folder):
    """Two sectors of a file cannot be read: the rest arrives, and both are told."""
    disk = Disk(folder, "sda.img", 24, 8)
    bad = [disk.block_offset("/srv/file3", 20), disk.block_offset("/srv/file5", 100)]
    with Journey(folder, disk, bad_sectors=[offset // 512 for offset in bad]) as journey:
        row = journey.finish()
        check(row["state"] == "warned" and
              row["text"].startswith("converted, with 2 unreadable ranges"), "status says %s" % row)
        # Read through the page cache, which gives whole pages or nothing.
        check_unreadable(journey.server.folder("web"), disk,
                         [(offset // PAGE * PAGE, PAGE) for offset in bad])


TESTS = {"bad-sectors": test_bad_sectors, "reset": test_reset,
         "cable-and-server": test_cable_and_server}

if __name__ == "__main__":
    skip_if(agent_boot.missing("debugfs"))
    sys.exit(main(TESTS, sys.argv[1:]))
