# SPDX-License-Identifier: GPL-2.0-or-later
"""The whole promise over the network, unattended: a simulated Debian 12 server on its own hardware
(AHCI, e1000e) sends itself while it runs, the conversion server fixes and boot-tests it, and the
copy comes up on virtio with its names, addresses and files. One command on each side.

Everything runs in QEMU's emulation; the agent is the static one, on a third disk.
"""

import json
import mmap
import os
import re
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import machine  # noqa: E402
import server_test  # noqa: E402
from sending import (AGENT, MIB, OK, Server, check, check_pool, load, main,  # noqa: E402
                     make_carrier, missing, run, say, skip_if, wait_for, write)

SEND_SECONDS = 900  # emulated SHA-256 and AES of half a GiB, on a shared core


def reachable(nics):
    """The fixture's interfaces; behind the second one, 10.0.2.2 is this host."""
    return [dict(nic, network=nic["network"] + (",restrict=off" if nic["method"] == "dhcp" else ""))
            for nic in nics]


def send_itself(fixture, facts, server, folder):
    disks = [dict(d, path=os.path.join(fixture, d["file"])) for d in facts["disks"]]
    disks.append({"path": make_carrier(folder, server.token()), "serial": "CARRIER"})
    with machine.Machine("metal", disks, reachable(facts["nics"]),
                         log_path=os.path.join(folder, "metal.log"),
                         extra=("-cpu", "max")) as physical:
        check(physical.wait(machine.LOGIN, 600), "the physical server does not boot: %s" %
              physical.text[-1000:])
        physical.login(facts["root_password"])
        say("the physical server is up")
        for _ in range(20):  # its lease may come after the login prompt
            if "10.0.2." in physical.run("ip -4 -brief addr")[1]:
                break
            time.sleep(2)
        status, said = physical.run("mkdir /run/agent && mount -o ro /dev/sdc /run/agent && "
                                    "cd /run/agent && ls -l")
        check(status == 0, "no agent in the machine: %s" % said)
        started = time.monotonic()
        status, said = physical.run(
            "./rehost-agent --server 10.0.2.2:%d --pin %s --token-file token --final "
            "--compress none --progress none /dev/sda /dev/sdb" % (server.port, server.pin),
            SEND_SECONDS)
        say("the agent: status %d after %.0f s: %s" % (status, time.monotonic() - started,
                                                       said[-1500:]))
        check(status == OK, "the agent's exit status is %d" % status)
        # It thawed what it froze, and the machine still lives.
        status, said = physical.run("touch /root/alive && sync && systemctl is-system-running", 60)
        check(status == 0, "the physical server is not well after it was sent: %s" % said)
        write(os.path.join(folder, "inventory"), physical.run("cat /proc/uptime")[1])


def check_report(folder, facts):
    report = load(os.path.join(folder, "report.json"))
    check(report.get("boot_test") in ("passed", "booted", "ok") or
          re.search(r'"boot_test": *("[^"]*(pass|boot|up)|\{)', json.dumps(report)),
          "the report does not tell of a boot test that passed: %s" %
          json.dumps(report.get("boot_test")))
    check("not tested" not in json.dumps(report.get("boot_test")), "it was not boot-tested")
    guest = load(os.path.join(folder, "guest.json"))
    macs = {n["name"]: n["mac"] for n in guest["nics"]}
    expected = {n["name"]: n["mac"] for n in facts["nics"]}
    check(macs == expected, "guest.json has the interfaces %s, not %s" % (macs, expected))
    check(len(guest["disks"]) == 2, "guest.json has the disks %s" % guest["disks"])
    inventory = load(os.path.join(folder, "inventory.json"))
    text = json.dumps(inventory)
    for wanted in (facts["hostname"], facts["disks"][0]["serial"], facts["nics"][0]["mac"],
                   "e1000e", "bios"):
        check(wanted in text, "the inventory does not tell of %s" % wanted)
    return report


def check_free_space(image, disk, markers, raw):
    """Old data may stand where the running machine has allocated blocks without writing them (its
    own journal does), and nowhere else."""
    run("qemu-img", "check", "-q", image)
    run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", "-W", image, raw)
    unused = server_test.unused_ranges(raw, disk)
    check(sum(end - start for start, end in unused) > 100 * MIB, "no free space in %s" % image)
    with open(raw, "rb") as f:
        view = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
        for marker in markers:
            for start, end in unused:
                at = view.find(marker.encode(), start, end)
                check(at < 0, "old data crossed the wire: %s at 0x%x of %s" % (marker, at, image))
    os.unlink(raw)


def test(folder):
    check(os.access(AGENT, os.X_OK), "build/rehost-agent is not built")
    fixture = server_test.make_server("deb12")
    facts = load(os.path.join(fixture, "facts.json"))
    sources = [os.path.join(fixture, d["file"]) for d in facts["disks"]]
    before = [server_test.sha256(s) for s in sources]
    with Server(os.path.join(folder, "pool"), "--jobs", "1") as server:
        send_itself(fixture, facts, server, folder)
        name = facts["hostname"]
        copy = server.folder(name)
        wait_for("the copy is converted and tested", lambda: os.path.isdir(copy) and
                 server.machines()[name]["state"] in ("done", "warned", "failed"), 600, 2)
        row = server.machines()[name]
        say("the server: %s" % json.dumps(row)[:1000])
        check(row["state"] in ("done", "warned"), "status says %s: %s" % (row["state"], row["text"]))
        check_pool(server, [name])
    report = check_report(copy, facts)
    for number, disk in enumerate(facts["disks"]):
        check_free_space(os.path.join(copy, "disk%d.qcow2" % number), disk,
                         facts["old_data_markers"], os.path.join(folder, "raw"))
    say("the copy on virtio, once more by the test's own harness")
    seen = server_test.boot("--guest", copy, "--fixture", fixture,
                            "--log", os.path.join(folder, "copy.log"))
    server_test.check_machine(seen, facts, {n["name"]: n["mac"] for n in facts["nics"]})
    check([server_test.sha256(s) for s in sources] == before, "the fixture's disks changed")
    say("up with %s; report: %s" % (seen["nics"], json.dumps(report)[:600]))


if __name__ == "__main__":
    skip_if(missing("qemu-system-x86_64", "qemu-img", "mmdebstrap", "sfdisk", "mke2fs",
                    loops="the server's disks"))
    os.environ.setdefault("REHOST_TMPDIR", "/var/tmp")  # too much for memory
    sys.exit(main({"send-server": test}, ()))
