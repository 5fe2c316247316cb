# SPDX-License-Identifier: GPL-2.0-or-later
"""The attended way, at the keyboard of the serial console: nothing is filled in, so the medium asks
for the server and a token, shows the server's key, what it found, how it goes and how it ended.

Each page is read from a terminal of 80x25. With REHOST_SCREENS=docs/screens in the environment the
machine's own screen is kept there as NAME.png.
"""

import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import agent_boot  # noqa: E402
import server_test  # noqa: E402
from agent_boot import HOST, Physical, Terminal  # noqa: E402
from sending import (TRANSFER_ONLY, Disk, Server, check, check_machine,  # noqa: E402
                     check_pool, main, skip_if)

KEEP = os.environ.get("REHOST_SCREENS")
TAB, ENTER = "\t", "\r"
LINES, COLUMNS = 25, 80


class Attended:
    """A machine before which somebody sits."""

    def __init__(self, physical):
        self.physical, self.terminal = physical, Terminal(physical)

    def see(self, name, pattern, seconds=300):
        """Waits for a page, and keeps how it looks."""
        found = self.physical.until("the page %s" % name, lambda: self.terminal.find(pattern),
                                    seconds)
        self.physical.listen(1.5)  # it is drawn in pieces
        picture = self.terminal.picture()
        print("%s\n%s" % (name.center(COLUMNS, "-"), picture), flush=True)
        lines = picture.splitlines()
        check(len(lines) <= LINES and max(map(len, lines)) <= COLUMNS, "%s does not fit" % name)
        if KEEP:
            os.makedirs(KEEP, exist_ok=True)
            self.physical.take_picture(os.path.join(KEEP, name + ".png"))
        return found

    def type(self, text):
        self.physical.type(text)
        self.physical.listen(1)


def test_attended(folder):
    """Every page, to a copy that is equal; then it waits to be switched off."""
    disks = [Disk(folder, "sda.img", 64, 40), Disk(folder, "sdb.img", 24, 3)]
    before = [server_test.sha256(d.path) for d in disks]
    medium = agent_boot.plain_medium()
    with Server(os.path.join(folder, "pool"), *TRANSFER_ONLY) as server:
        token = server.token()
        words = "console=tty0 console=ttyS0 rehost.limit=3M rehost.compress=none rehost.then=wait"
        with Physical(folder, [{"path": d.path} for d in disks],
                      ("kernel", medium, words)) as physical:
            person = Attended(physical)
            person.see("form", "Where is this machine to be copied to")
            person.type("%s:%d%s" % (HOST, server.port, TAB))
            person.type("web01" + TAB + token)
            check(person.terminal.find(r"web01"), "the name was not taken")
            person.type(ENTER)
            check(not person.terminal.find(token), "the token stands on the screen")
            person.see("filled", r"\*{20}")
            person.type(TAB + ENTER)  # past the network, which is found by itself
            person.see("pin", "Is it your server")
            digits = "".join(person.terminal.picture().split())
            check(server.pin.split(":")[1] in digits, "the pin is not that of the server")
            person.type(TAB + ENTER)
            person.see("review", "Disks: those that are ticked")
            check(person.terminal.find(r"\[x\] sda") and person.terminal.find(r"\[x\] sdb"),
                  "not both disks go")
            person.type(ENTER)
            person.see("sending", r"sda .*#{14}")
            person.see("done", "has been copied")
            physical.check_never_written()
            check(server.machines()["web01"]["state"] == "done", "status says %s" %
                  server.machines())
            check(not physical.is_off(), "it did not wait")
        check_machine(server, "web01", disks)
        check_pool(server, ["web01"])
    check([server_test.sha256(d.path) for d in disks] == before, "a source changed")


TESTS = {"attended": test_attended}

if __name__ == "__main__":
    skip_if(agent_boot.missing())
    sys.exit(main(TESTS, sys.argv[1:]))
