# SPDX-License-Identifier: GPL-2.0-or-later
"""An agent that can keep nothing, killed in the middle and started again, as a boot medium is after a
loss of power: with the same token, or by a person's word, it is the same machine, and what was safe
is not sent again.
"""

import os
import re
import shutil
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from sending import (CHECKPOINT, MIB, NOT_AUTHORISED, TRANSFER_ONLY, WINDOW,  # noqa: E402
                     Failure, PlainDisk, Proxy, Sending, Server, check, check_machine,
                     check_pool, main, say, send, wait_for)

SIZE = 48
SAFE = 12 * MIB  # before the power is lost


def serve(folder):
    return Server(os.path.join(folder, "pool"), *TRANSFER_ONLY, *CHECKPOINT)


def safe_bytes(server, name):
    found = server.machines().get(name)
    return found["disks"][0]["safe_bytes"] if found and found["disks"] else 0


def approve(server, sending, *options):
    """Lets it in; its code."""
    code = wait_for("a code", lambda: sending.lines.find(r"approve ([A-Z2-7]{4}-[A-Z2-7]{4})$"))
    server.rehost("approve", *options, code.group(1))
    return code.group(1)


def lose_power(server, disk, *options, **keywords):
    """Sends until some of it is safe; how much that was."""
    sending = Sending(server, [disk.path], "--name", "web", "--limit", "16M", "--compress", "none",
                      *options, **keywords)
    try:
        if "token" not in keywords:
            approve(server, sending)
        wait_for("%d bytes are safe" % SAFE, lambda: safe_bytes(server, "web") >= SAFE or
                 check(sending.process.poll() is None, "send ended: %s" % sending.lines.text))
    finally:
        sending.kill()
    return safe_bytes(server, "web")


def check_sent(disk, safe, up):
    """What was safe has not crossed the wire again."""
    most = 1.02 * (disk.used_bytes() - safe) + WINDOW + 256 * 1024
    check(up < most, "%d bytes crossed the wire of %d, %d were safe" %
          (up, disk.used_bytes(), safe))
    say("of %d bytes %d were safe, %d crossed the wire then" % (disk.used_bytes(), safe, up))


def go_on(server, disk, safe, *options, **keywords):
    """All the rest; what crossed the wire is no more than that."""
    with Proxy(server.port) as proxy:
        text = send(server, [disk.path], "--name", "web", "--compress", "none", *options,
                    port=proxy.port, **keywords)
        check_sent(disk, safe, proxy.ask()["up"])
    return text


def test_token(folder):
    """The key comes of the token, which is used up, and revoked meanwhile."""
    disk = PlainDisk(folder, "sda.img", SIZE)
    state = os.path.join(folder, "state")
    with serve(folder) as server:
        token = server.token()
        safe = lose_power(server, disk, "--key-from-token", token=token, state=state)
        check(not os.path.exists(state), "something was kept in the state folder")
        listed = re.search(r"^(\w{5})\s", server.rehost("token list"), re.M)
        server.rehost("token revoke", listed.group(1))
        go_on(server, disk, safe, "--key-from-token", token=token, state=state)
        check(not os.path.exists(state), "something was kept in the state folder")
        names = list(server.machines())
        check(names == ["web"], "there are other machines: %s" % names)
        check_machine(server, "web", [disk])
        check_pool(server, ["web"])

        # Another token is another agent; this one has ended with all that it let in.
        server.rehost("token revoke", "--agents", listed.group(1))
        text = send(server, [disk.path], "--key-from-token", token=token, state=state,
                    codes=(NOT_AUTHORISED,))
        check("not authorised" in text, "it does not say so: %s" % text)


def test_approved(folder):
    """Without a token the key is lost; a person hands the machine to the new one."""
    disk = PlainDisk(folder, "sda.img", SIZE)
    with serve(folder) as server:
        safe = lose_power(server, disk, state=os.path.join(folder, "state"))
        shutil.rmtree(os.path.join(folder, "state"))
        with Proxy(server.port) as proxy:
            sending = Sending(server, [disk.path], "--name", "web", "--compress", "none",
                              state=os.path.join(folder, "state"), port=proxy.port)
            approve(server, sending, "--for", "web")
            sending.wait()
            check_sent(disk, safe, proxy.ask()["up"])
        check_machine(server, "web", [disk])
        check_pool(server, ["web"])


def test_other_token(folder):
    """Another token makes another key: it is another machine to the server."""
    disk = PlainDisk(folder, "sda.img", 4)
    with serve(folder) as server:
        for _ in range(2):
            send(server, [disk.path], "--name", "web", "--key-from-token", token=server.token(),
                 state=os.path.join(folder, "state"))
        check_pool(server, ["web", "web-2"])


TESTS = {"token": test_token, "approved": test_approved, "other-token": test_other_token}

if __name__ == "__main__":
    try:
        sys.exit(main(TESTS, sys.argv[1:]))
    except Failure as e:
        sys.exit(str(e))
