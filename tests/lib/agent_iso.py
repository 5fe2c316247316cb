# SPDX-License-Identifier: GPL-2.0-or-later
"""The whole way by ISO. A simulated Debian 12 server (AHCI, two disks, e1000e, BIOS, 512 MiB) is
started from the agent's CD, sends itself without a hand on it, is fixed and boot-tested by the
server, and powers itself off. Then the same ISO as a USB stick before a SAS controller, and as a CD
of a machine with UEFI and NVMe; and the same bytes when it is made again.
"""

import filecmp
import os
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import agent_boot  # noqa: E402
import server_test  # noqa: E402
from agent_boot import HOST, Physical, Terminal, send_itself, send_server  # noqa: E402
from sending import (MIB, TRANSFER_ONLY, Disk, Failure, Server, check,  # noqa: E402
                     check_machine, check_pool, main, say, skip_if, token_file)

SEND_SECONDS = 900  # emulated SHA-256 and ChaCha20 of half a GiB, on a shared core
ISO_MOST = 150 * MIB


def make_iso(server, token, path):
    return agent_boot.make_media("make-iso", path, "--server", "%s:%d" % (HOST, server.port),
                                 "--pin", server.pin, "--token-file", token)


class MadeAgain(threading.Thread):
    """The same ISO, while something else goes on."""

    def __init__(self, *arguments):
        super().__init__()
        self.arguments, self.path, self.error = arguments, arguments[-1], None
        self.start()

    def run(self):
        try:
            make_iso(*self.arguments)
        except Failure as e:
            self.error = e

    def check(self, iso):
        self.join()
        check(not self.error, "making it again: %s" % self.error)
        check(filecmp.cmp(iso, self.path, shallow=False), "made twice, the ISO differs")
        check(os.stat(self.path).st_mode & 0o077 == 0, "an ISO with a token is open to all")
        os.unlink(self.path)


def check_data_disk(folder, copy, fixture, facts):
    """It is not touched by any fix: equal where it is used, and zero elsewhere."""
    disk = facts["disks"][1]
    raw = server_test.to_raw(os.path.join(copy, "disk1.qcow2"), "qcow2",
                             os.path.join(folder, "raw"))
    server_test.check_copied(os.path.join(fixture, disk["file"]), raw, disk)


def send_small(folder, server, boot, **hardware):
    """Two small disks: sent, equal, the source as it was."""
    os.makedirs(folder)
    disks = [Disk(folder, "sda.img", 48, 24), Disk(folder, "sdb.img", 24, 3)]
    before = [server_test.sha256(d.path) for d in disks]
    with Physical(folder, [{"path": d.path} for d in disks], boot, **hardware) as physical:
        Terminal(physical)
        name, row = send_itself(physical, server, 300)
    check(row["state"] in ("done", "warned"), "status says %s: %s" % (row["state"], row["text"]))
    check_machine(server, name, disks)
    check([server_test.sha256(d.path) for d in disks] == before, "a source changed")
    return name


def test_iso(folder):
    """One ISO for all: as a CD, as a stick, from BIOS and UEFI."""
    with Server(os.path.join(folder, "pool")) as server:
        token = token_file(folder, server.token("--uses", "3"))
        iso = make_iso(server, token, os.path.join(folder, "agent.iso"))
        size = os.path.getsize(iso)
        check(size < ISO_MOST, "the ISO has %d MiB" % (size // MIB))
        say("the ISO has %.1f MiB" % (size / MIB))
        again = MadeAgain(server, token, os.path.join(folder, "again.iso"))
        try:
            names = [send_server(folder, server, "deb12", ("cd", iso), SEND_SECONDS,
                                 check_data_disk)]
        finally:
            again.join()
        again.check(iso)
        server.stop()
        server.options = TRANSFER_ONLY
        server.start()
        say("as a USB stick, which is not a disk of the machine; a SAS controller")
        names.append(send_small(os.path.join(folder, "stick"), server, ("usb", iso),
                                controller="megasas", serial="STICK1"))
        say("from UEFI; NVMe")
        names.append(send_small(os.path.join(folder, "uefi"), server, ("cd", iso),
                                controller="nvme", firmware="uefi", serial="UEFI1"))
        check_pool(server, names)


TESTS = {"iso": test_iso}

if __name__ == "__main__":
    skip_if(agent_boot.missing("mmdebstrap", "cp", loops="the server's disks"))
    os.environ.setdefault("REHOST_TMPDIR", "/var/tmp")  # too much for memory
    sys.exit(main(TESTS, sys.argv[1:]))
