# SPDX-License-Identifier: GPL-2.0-or-later
"""The whole way by PXE. A simulated Debian 12 server with UEFI starts over the network (QEMU's own
DHCP and TFTP, the network card's own iPXE, the script of `rehost make-pxe`), sends itself without a
hand on it, is fixed and boot-tested by the server, and powers itself off. Then a machine with a
BIOS, with kernel and initramfs by HTTP, which shows how long it takes to be connected.
"""

import contextlib
import functools
import http.server
import os
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import agent_boot  # noqa: E402
import server_test  # noqa: E402
from agent_boot import HOST, Physical, Terminal, send_itself, send_server  # noqa: E402
from sending import (TRANSFER_ONLY, Disk, Server, check, check_machine, check_pool,  # noqa: E402
                     load, main, say, skip_if, token_file)

SCRIPT = "rehost.ipxe"
SEND_SECONDS = 900  # on a shared core; two minutes on one of its own
CONNECTED_SECONDS = 20


def make_pxe(folder, server, *options):
    return agent_boot.make_media("make-pxe", os.path.join(folder, "tftp"),
                                 "--server", "%s:%d" % (HOST, server.port), "--pin", server.pin,
                                 "--token-file", token_file(folder, server.token()), *options)


@contextlib.contextmanager
def web_server(folder):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *unused):
            pass

    with http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        try:
            yield web.server_address[1]
        finally:
            web.shutdown()
            thread.join()


def send_small(folder, disk, make, seen, **hardware):
    """`seen` sees the machine when it is connected."""
    before = server_test.sha256(disk.path)
    with Server(os.path.join(folder, "pool"), *TRANSFER_ONLY) as server:
        tftp = make(server)
        with Physical(folder, [{"path": disk.path}], ("pxe", tftp, SCRIPT), **hardware) as physical:
            Terminal(physical)
            name, row = send_itself(physical, server, 300, seen)
        check(row["state"] == "done", "status says %s" % row)
        check_machine(server, name, [disk])
        check_pool(server, [name])
    check(server_test.sha256(disk.path) == before, "the source changed")


def check_path_filled(unused_folder, copy, unused_fixture, unused_facts):
    """What the copy's own firmware starts was not there: the report says where it came from."""
    edits = load(os.path.join(copy, "report.json"))["fix"]["edits"]
    sources = {e["path"]: e.get("source") for e in edits}
    check(sources.get("/boot/efi/EFI/BOOT/BOOTX64.EFI") == "/boot/efi/EFI/debian/shimx64.efi",
          "the report does not tell what the firmware starts: %s" % sources)


def test_uefi(folder):
    """A server with UEFI, all by TFTP, to a copy that boots by UEFI with its network."""
    with Server(os.path.join(folder, "pool")) as server:
        name = send_server(folder, server, "deb12-uefi",
                           ("pxe", make_pxe(folder, server), SCRIPT), SEND_SECONDS,
                           check_path_filled)
        check_pool(server, [name])


def test_bios(folder):
    """BIOS, the script by TFTP and the rest by HTTP; how long it takes to be connected."""
    def be_quick(physical):
        seconds = float(physical.see_log(r"connected (\S+) s after the kernel was started",
                                         60).group(1))
        say("connected %.1f s after the kernel was started" % seconds)
        check(seconds < CONNECTED_SECONDS, "connected only after %.1f s" % seconds)

    with web_server(folder) as port:
        send_small(
            folder, Disk(folder, "disk.img", 24, 3),
            lambda server: make_pxe(folder, server, "--base-url", "http://%s:%d/tftp" % (HOST, port)),
            be_quick, is_counted=True)


TESTS = {"uefi": test_uefi, "bios": test_bios}

if __name__ == "__main__":
    skip_if(agent_boot.missing("mmdebstrap", "cp", loops="the server's disks"))
    os.environ.setdefault("REHOST_TMPDIR", "/var/tmp")  # too much for memory
    sys.exit(main(TESTS, sys.argv[1:]))
