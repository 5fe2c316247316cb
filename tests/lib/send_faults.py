# SPDX-License-Identifier: GPL-2.0-or-later
"""Cuts, kills, full pools and sick disks while a machine is sent: afterwards the copy is equal or
the failure is told, never a false success, and nothing crosses the wire twice beyond a window.

SOAK=1 runs the numbers that take an hour; the defaults are a sample of the same.
"""

import concurrent.futures
import contextlib
import os
import random
import shutil
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bad_input import digest  # noqa: E402
from sending import (CHECKPOINT, FAILED, MIB, NO_SPACE, OK, REHOST,  # noqa: E402
                     TRANSFER_ONLY, WARNINGS, WINDOW, Disk, Failure, PlainDisk, Proxy, Sending,
                     Server, check, check_machine, check_pool, check_unreadable, main, missing,
                     raw_copy, read, run, say, send, skip_if, wait_for, write)

SOAK = os.environ.get("SOAK") == "1"
CUTS, SERVER_KILLS, AGENT_KILLS = (1000, 500, 200) if SOAK else (200, 100, 30)
AGENTS = 32
HERE = os.path.dirname(os.path.abspath(__file__))
BESIDE = 12  # most of a run is the wait before the agent connects again


def start_sending(server, disks, *options, **keywords):
    """An agent that has begun to send."""
    sending = Sending(server, disks, *options, **keywords)
    wait_for("it began", lambda: os.path.exists(server.folder("web.partial")) or
             check(sending.process.poll() is None, "send ended: %s" % sending.lines.text[-1000:]))
    return sending


def beside(function, cases):
    """The function over all cases, a few at a time; all the failures together."""
    failures = []
    with concurrent.futures.ThreadPoolExecutor(BESIDE) as pool:
        for future in [pool.submit(function, case) for case in cases]:
            try:
                future.result()
            except (Failure, AssertionError) as e:
                failures.append(str(e))
    check(not failures, "%d of %d went wrong:\n    %s" %
          (len(failures), len(cases), "\n    ".join(f[:1500] for f in failures[:10])))


@contextlib.contextmanager
def served(folder, name, *options):
    """A server of its own, with a pool of its own: what another case sent would not be sent."""
    place = os.path.join(folder, name)
    os.makedirs(place)
    with Server(os.path.join(place, "pool"), *TRANSFER_ONLY, *CHECKPOINT, *options) as server:
        server.state = os.path.join(place, "state")
        yield server
    shutil.rmtree(place)


# --- the network -----------------------------------------------------------------------------

def test_cuts(folder):
    """Cut everywhere: two points in each transfer, all of them spread over all of its bytes."""
    disk = Disk(folder, "sda.img", 12, 1)
    before = digest(disk.path)
    with served(folder, "whole") as server, Proxy(server.port) as proxy:
        send(server, [disk.path], "--name", "web", "--compress", "none", token=server.token(),
             state=server.state, port=proxy.port)
        check_machine(server, "web", [disk])
        stats = proxy.ask()
        total = stats["up"] + stats["down"]
    chance = random.Random(1)
    points = [int(total * (i + chance.random()) / CUTS) for i in range(CUTS)]
    half = CUTS // 2
    cases = [(points[i], points[i + half] + chance.randrange(4096)) for i in range(half)]
    done = []

    def cut(case):
        name = "cut-%d-%d" % case
        with served(folder, name) as server, \
                Proxy(server.port, "--at", "%d,%d" % case, "--how",
                      chance.choice(("rst", "fin")), "--seed", case[0]) as proxy:
            token = server.token()
            send(server, [disk.path], "--name", "web", "--compress", "none", token=token,
                 state=server.state, port=proxy.port, seconds=60)
            stats = proxy.ask()
            try:
                check_machine(server, "web", [disk])
            except Failure as e:
                raise Failure("%s: %s" % (name, e)) from None
            check(stats["cuts"] >= 1, "%s: nothing was cut" % name)
            done.append(stats["cuts"])

    beside(cut, cases)
    check(digest(disk.path) == before, "the source changed")
    say("%d transfers of %d bytes, %d connections cut" % (len(cases), total, sum(done)))


def test_resent(folder):
    """A larger disk, cut every few MiB: each cut costs at most a window."""
    disk = Disk(folder, "sda.img", 96, 72)
    for how in ("rst", "fin"):
        with served(folder, how) as server, \
                Proxy(server.port, "--between", "%d-%d" % (6 * MIB, 24 * MIB), "--cuts", 8,
                      "--how", how, "--seed", 3) as proxy:
            send(server, [disk.path], "--name", "web", "--compress", "none", token=server.token(),
                 state=server.state, port=proxy.port)
            check_machine(server, "web", [disk])
            stats = proxy.ask()
        check(stats["cuts"] >= 3, "only %d cuts" % stats["cuts"])
        most = 1.02 * disk.used_bytes() + stats["cuts"] * (WINDOW + 256 * 1024) + 256 * 1024
        check(stats["up"] < most, "%s: %d bytes up for %d used and %d cuts" %
              (how, stats["up"], disk.used_bytes(), stats["cuts"]))
        say("%s: %.2f times the used bytes with %d cuts" %
            (how, stats["up"] / disk.used_bytes(), stats["cuts"]))


def test_hole(folder):
    """A network that takes everything and gives nothing: noticed after a minute, not never."""
    disk = Disk(folder, "sda.img", 32, 12)
    with served(folder, "hole") as server, \
            Proxy(server.port, "--at", 3 * MIB, "--how", "hole") as proxy:
        started = time.monotonic()
        send(server, [disk.path], "--name", "web", "--compress", "none", token=server.token(),
             state=server.state, port=proxy.port)
        seconds = time.monotonic() - started
        check_machine(server, "web", [disk])
        check(proxy.ask()["cuts"] >= 1, "there was no hole")
        check(30 < seconds < 100, "a silent network was noticed after %.0f s" % seconds)


# --- kills -----------------------------------------------------------------------------------

def test_server_kills(folder):
    """kill -9 of the server at random moments, and a new one on the same pool."""
    disk = Disk(folder, "sda.img", 48, 32)
    lanes = 5
    killed = []

    def lane(number):
        chance, kills, run_number = random.Random(number), 0, 0
        while kills < SERVER_KILLS // lanes:
            run_number += 1
            with served(folder, "lane%d-%d" % (number, run_number)) as server:
                sending = Sending(server, [disk.path], "--name", "web", "--limit", "4M",
                                  token=server.token(), state=server.state)
                # The agent connects again after a second and a quarter at most.
                while sending.process.poll() is None and kills < SERVER_KILLS // lanes:
                    time.sleep(chance.uniform(0.1, 2.2))
                    if sending.process.poll() is not None:
                        break
                    server.kill()
                    server.start()
                    kills += 1
                sending.wait(seconds=120)
                check_machine(server, "web", [disk])
                check_pool(server, ["web"])
        killed.append(kills)

    beside(lane, range(lanes))
    say("the server was killed %d times" % sum(killed))


def test_agent_kills(folder):
    """kill -9 of the agent, and the same command again: no token, nothing twice."""
    disk = Disk(folder, "sda.img", 64, 48)
    lanes = 3

    def lane(number):
        chance = random.Random(number)
        with served(folder, "lane%d" % number) as server, Proxy(server.port) as proxy:
            token = server.token()
            for _ in range(AGENT_KILLS // lanes):
                sending = Sending(server, [disk.path], "--name", "web", "--limit", "6M",
                                  "--compress", "none", token=token, state=server.state,
                                  port=proxy.port)
                if token:
                    wait_for("it was let in",
                             lambda: os.path.exists(server.folder("web.partial")))
                    token = None
                time.sleep(chance.uniform(0.02, 0.8))
                ended = sending.process.poll()
                sending.kill()
                if ended is not None:
                    check(ended == OK, "send: status %d: %s" % (ended, sending.lines.text[-2000:]))
                    break
            send(server, [disk.path], "--name", "web", "--compress", "none", state=server.state,
                 port=proxy.port)
            check_machine(server, "web", [disk])
            stats = proxy.ask()
            most = 1.02 * disk.used_bytes() + (AGENT_KILLS // lanes) * (WINDOW + 256 * 1024)
            check(stats["up"] < most, "%d bytes up for %d used" % (stats["up"], disk.used_bytes()))
            check(server.memory()[1] < 128 * MIB, "the server took %d MiB" %
                  (server.memory()[1] // MIB))

    beside(lane, range(lanes))


# --- the pool --------------------------------------------------------------------------------

@contextlib.contextmanager
def small_pool(folder, megabytes):
    pool = os.path.join(folder, "small")
    os.makedirs(pool)
    run("mount", "-t", "tmpfs", "-o", "size=%dm" % megabytes, "tmpfs", pool)
    try:
        yield pool
    finally:
        subprocess.run(["umount", pool], check=False)


def test_full(folder):
    """Refused before anything is sent; or paused in the middle, and on when there is room."""
    disk = Disk(folder, "sda.img", 64, 40)
    state = os.path.join(folder, "state")
    with small_pool(folder, 24) as pool, Server(pool, *TRANSFER_ONLY, *CHECKPOINT) as server:
        with Proxy(server.port) as proxy:
            said = send(server, [disk.path], "--name", "web", token=server.token(), state=state,
                        port=proxy.port, codes=(NO_SPACE,), seconds=30)
            check(proxy.ask()["up"] < MIB, "it was refused after %d bytes" % proxy.ask()["up"])
        check("space" in said, "send does not say why: %s" % said)
        check(not os.path.exists(server.folder("web")), "a machine that has no room")
    with small_pool(folder + "/b", 80) as pool, \
            Server(pool, *TRANSFER_ONLY, *CHECKPOINT) as server:
        sending = Sending(server, [disk.path], "--name", "web", "--limit", "8M", "--compress",
                          "none", token=server.token(), state=state + ".b")
        wait_for("it began", lambda: os.path.exists(server.folder("web.partial")))
        time.sleep(1)
        filler = os.path.join(pool, ".filler")
        with open(filler, "wb", buffering=0) as f, contextlib.suppress(OSError):
            while True:
                f.write(bytes(MIB))
        wait_for("the server pauses", lambda: server.lines.find("paused"), 30)
        wait_for("status tells", lambda: server.machines()["web"]["state"] == "paused", 30)
        check(sending.process.poll() is None, "send did not wait: %s" % sending.lines.text[-1000:])
        check(server.is_alive(), "the server died of a full disk")
        time.sleep(2)
        check(not os.path.exists(server.folder("web")), "complete on a full disk")
        os.unlink(filler)
        sending.wait(seconds=90)
        check_machine(server, "web", [disk])


# --- sick disks and machines -----------------------------------------------------------------

def shim(folder):
    path = os.path.join(folder, "faults.so")
    if not os.path.exists(path):
        run("cc", "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC", "-o", path,
            os.path.join(HERE, "faults.c"), "-ldl")
    return path


def sick(folder, **faults):
    return {"LD_PRELOAD": shim(folder), "ASAN_OPTIONS": "verify_asan_link_order=0", **faults}


def test_bad_sectors(folder):
    """Unreadable sectors: status 3, exactly those, the rest equal; and healed by the next run."""
    disk = Disk(folder, "sda.img", 32, 16)
    first = disk.block_offset("/srv/file3", 5)
    bad = [(first, 512), (first + 3 * 4096, 4096), (first + 5 * MIB + 512, 1024)]
    # In the free space behind the files, away from where labels are looked for.
    free = max(b for _, b in disk.kept if b < sum(disk.partitions[2][:2])) + 256 * 1024
    spec = "sda.img " + " ".join("%d:%d" % r for r in bad + [(free, 4096)])
    used = [r for r in bad if any(a <= r[0] and r[0] + r[1] <= b for a, b in disk.kept)]
    check(len(used) == 3, "the bad sectors are not in use")
    with served(folder, "bad") as server:
        said = send(server, [disk.path], "--name", "web", token=server.token(), state=server.state,
                    codes=(WARNINGS,), environment=sick(folder, FAULT_READ=spec))
        check("converted, with 3 unreadable ranges" in said,
              "send does not tell of bad sectors: %s" % said)
        check_unreadable(server.folder("web"), disk, used)
        row = server.machines()["web"]
        check(row["state"] == "warned", "status says %s" % row)
        send(server, [disk.path], "--name", "web", state=server.state)
        check_machine(server, "web", [disk])


def test_pulled_out(folder):
    """One of two disks goes away while it is read: the other arrives, and nothing is called done."""
    # The first is more than the agent reads ahead.
    disks = [PlainDisk(folder, "sda.img", 192), Disk(folder, "sdb.img", 24, 8)]
    flag = os.path.join(folder, "flag")
    with served(folder, "gone") as server:
        sending = Sending(server, [d.path for d in disks], "--name", "web", "--limit", "16M",
                          token=server.token(), state=server.state,
                          environment=sick(folder, FAULT_GONE="sda.img " + flag))
        wait_for("it began", lambda: os.path.exists(server.folder("web.partial")))
        time.sleep(1.5)
        check(sending.process.poll() is None, "it was over too soon")
        write(flag, b"")
        sending.wait(FAILED, seconds=60)
        check("sda" in sending.lines.text, "the lost disk is not named: %s" % sending.lines.text)
        check(not os.path.exists(server.folder("web")), "a machine without its disk")
        wait_for("status tells", lambda: server.machines()["web"]["state"] == "interrupted", 75)
        with Proxy(server.port) as proxy:
            send(server, [d.path for d in disks], "--name", "web", "--compress", "none",
                 state=server.state, port=proxy.port)
            up = proxy.ask()["up"]
        check_machine(server, "web", disks)
        check(up < disks[0].used_bytes(), "what had arrived was sent again: %d bytes" % up)


def test_truncated(folder):
    """An image that becomes shorter while it is read."""
    disk = PlainDisk(folder, "sda.img", 192)  # more than the agent reads ahead
    whole = read(disk.path)
    with served(folder, "cut") as server:
        sending = Sending(server, [disk.path], "--name", "web", "--limit", "16M",
                          token=server.token(), state=server.state)
        wait_for("it began", lambda: os.path.exists(server.folder("web.partial")))
        time.sleep(1.5)
        check(sending.process.poll() is None, "it was over too soon")
        os.truncate(disk.path, 8 * MIB)
        code = sending.wait(FAILED, WARNINGS, seconds=60)
        check(code == FAILED or "cannot be read" in sending.lines.text or
              "unreadable" in sending.lines.text, "no word of it: %s" % sending.lines.text[-1000:])
        write(disk.path, whole)
        send(server, [disk.path], "--name", "web", state=server.state)
        check_machine(server, "web", [disk])


def check_waits(server, disk, **keywords):
    """Who sleeps until a moment of 2040 by today's clock says nothing while it waits."""
    waiting = Sending(server, [disk.path], "--name", "asks", "--progress", "json",
                      state=server.state + "asks", **keywords)
    try:
        wait_for("the agent shows its code", lambda: waiting.lines.find(r"approve [A-Z2-7]{4}-"))
        before = waiting.lines.text.count('"action"')
        wait_for("the agent goes on telling",
                 lambda: waiting.lines.text.count('"action"') >= before + 3, 20)
    finally:
        waiting.kill()


def test_clock(folder):
    """An agent that thinks it is 1970, and one from 2040: trust knows no dates."""
    disk = Disk(folder, "sda.img", 12, 1)
    with served(folder, "clock") as server:
        for name, epoch in (("past", "86400"), ("future", "2208988800")):
            send(server, [disk.path], "--name", name, token=server.token(),
                 state=server.state + name, environment=sick(folder, FAULT_CLOCK=epoch))
            check_machine(server, name, [disk])
        check_waits(server, disk, environment=sick(folder, FAULT_CLOCK=epoch))
    # And a server whose clock is reset between the agent's two runs.
    place = os.path.join(folder, "reset")
    environment = sick(folder, FAULT_CLOCK="86400")
    with Server(place, *TRANSFER_ONLY, environment=environment) as server:
        token = run(*("env", *("%s=%s" % e for e in environment.items())), *server_token(server))
        send(server, [disk.path], "--name", "web", token=token.strip(), state=folder + "/reset.key")
        server.stop()
        server.environment = None
        server.start()
        send(server, [disk.path], "--name", "web", state=folder + "/reset.key")
        check_machine(server, "web", [disk])


def server_token(server):
    return (REHOST, "token", "create", "-q", "--pool", server.pool)


# --- many ------------------------------------------------------------------------------------

def test_many(folder):
    """32 agents at once, all of the same name, serial and UUID: each its own machine, all equal."""
    disks = [Disk(folder, "sda%d.img" % i, 12, 1) for i in range(AGENTS)]
    with served(folder, "many") as server:
        token = server.token("--uses", str(AGENTS))
        started = time.monotonic()
        sendings = [Sending(server, [d.path], "--name", "twin", token=token,
                            state="%s.%d" % (server.state, i)) for i, d in enumerate(disks)]
        for sending in sendings:
            sending.wait(seconds=100)
        say("%d agents in %.1f s" % (AGENTS, time.monotonic() - started))
        names = ["twin"] + ["twin-%d" % i for i in range(2, AGENTS + 1)]
        check_pool(server, names)
        left = [(d.kept, read(d.path)) for d in disks]
        for name in names:
            copy = raw_copy(server.folder(name))
            same = [i for i, (kept, truth) in enumerate(left)
                    if all(copy[a:b] == truth[a:b] for a, b in kept)]
            check(len(same) == 1, "%s is the copy of %d disks" % (name, len(same)))
            del left[same[0]]
        rows = server.status()["machines"]
        check(len(rows) == AGENTS and all(m["state"] in ("done", "warned") for m in rows),
              "status: %s" % [(m["name"], m["state"]) for m in rows])
        peak = server.memory()[1]
        check(peak < (64 + 16 * AGENTS) * MIB, "the server took %d MiB" % (peak // MIB))
        say("server's peak: %d MiB" % (peak // MIB))


TESTS = {"cuts": test_cuts, "resent": test_resent, "server-kills": test_server_kills,
         "agent-kills": test_agent_kills, "full": test_full, "bad-sectors": test_bad_sectors,
         "pulled-out": test_pulled_out, "truncated": test_truncated, "clock": test_clock,
         "many": test_many, "hole": test_hole}

if __name__ == "__main__":
    skip_if(missing("sfdisk", "mke2fs", "dumpe2fs", "debugfs", "qemu-img", "cc",
                    root="the small tmpfs of a full pool"))
    sys.exit(main(TESTS, sys.argv[1:]))
