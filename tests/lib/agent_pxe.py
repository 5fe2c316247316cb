# SPDX-License-Identifier: GPL-2.0-or-later
"""The whole way by PXE. A simulated server with UEFI, an NVMe disk and nothing else starts over the
network (QEMU's own DHCP and TFTP, the network card's own iPXE, the script of `rehost make-pxe`),
sends itself without a hand on it and powers itself off. Then once more from a BIOS, with kernel and
initramfs by HTTP.
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
from agent_boot import HOST, Physical, Terminal, send_itself, token_file  # noqa: E402
from sending import (SKIP, TRANSFER_ONLY, Disk, Server, check, check_machine,  # noqa: E402
                     check_pool, main)

SCRIPT = "rehost.ipxe"


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


def send_over_network(folder, disk, make, **hardware):
    before = server_test.sha256(disk.path)
    with Server(os.path.join(folder, "pool"), *TRANSFER_ONLY) as server:
        tftp = make(server)
        with Physical(folder, [{"path": disk.path}], ("pxe", tftp, SCRIPT), **hardware) as physical:
            Terminal(physical)
            name, row = send_itself(physical, server, 300)
        check(row["state"] == "done", "status says %s" % row)
        check_machine(server, name, [disk])
        check_pool(server, [name])
    check(server_test.sha256(disk.path) == before, "the source changed")


def test_uefi(folder):
    """UEFI, NVMe, everything by TFTP."""
    send_over_network(folder, Disk(folder, "disk.img", 96, 64),
                      lambda server: make_pxe(folder, server), firmware="uefi", controller="nvme")


def test_bios(folder):
    """BIOS, SATA, the script by TFTP and the rest by HTTP."""
    with web_server(folder) as port:
        send_over_network(
            folder, Disk(folder, "disk.img", 24, 3),
            lambda server: make_pxe(folder, server, "--base-url", "http://%s:%d/tftp" % (HOST, port)))


TESTS = {"uefi": test_uefi, "bios": test_bios}

if __name__ == "__main__":
    if why := agent_boot.missing():
        print("skip: " + why)
        sys.exit(SKIP)
    sys.exit(main(TESTS, sys.argv[1:]))
