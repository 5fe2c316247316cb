# SPDX-License-Identifier: GPL-2.0-or-later
"""rehost-vm runs a converted server: from SeaBIOS through its own boot loader to its login prompt,
with its network, to the power button; in L1 (nested.py). --snapshot leaves the images as they were.
With SOAK set it reboots on the way, which takes as long again.
"""

import json
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import machine  # noqa: E402
import nested  # noqa: E402
import server_test  # noqa: E402
from server_test import REHOST, Failure, check, say, skip_if  # noqa: E402

BUILD = os.path.dirname(REHOST)
VM = os.path.join(BUILD, "rehost-vm")
CONTROLTOOL = os.path.join(BUILD, "tools", "controltool")
LOGIN_SECONDS = 900
TAP, CONTROL = "t0", "/run/control"
START = ("(TMPDIR=/var/tmp rehost-vm -v --snapshot --memory 768M --cpus 2 --control %s /machine "
         "</dev/ttyS0 >/dev/ttyS0 2>/tmp/vm.log; echo $? >/tmp/status) & true" % CONTROL)


def wait_for(l1, what, condition, seconds):
    """The first true value of condition(). The guest's console is read meanwhile."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        check(time.monotonic() < deadline, "%s: not within %d s" % (what, seconds))
        l1.listen(2)
    return value


def connect_cards(folder):
    """The first card to a TAP of L1, the second to passt."""
    path = os.path.join(folder, "guest.json")
    guest = server_test.load(path)
    for nic, network in zip(guest["nics"], ("tap:" + TAP, "user")):
        nic["network"] = network
    with open(path, "w") as f:
        json.dump(guest, f)


def status_of_vm(l1):
    status, text = l1.shell("cat /tmp/status 2>/dev/null")
    return text if status == 0 and text else None


def until_prompt(l1, what):
    begin = time.monotonic()
    deadline = begin + LOGIN_SECONDS
    while not (found := l1.wait("(%s)|(%s)" % (machine.LOGIN, machine.EMERGENCY), 20)):
        check(status_of_vm(l1) is None, "%s: rehost-vm ended" % what)
        check(time.monotonic() < deadline, "%s: no login prompt: %s" % (what, l1.text[-1500:]))
    check(found.group(1), "%s: %s" % (what, l1.text[-1500:]))
    say("%s: login prompt after %.0f s" % (what, time.monotonic() - begin))


def give_tap_an_address(l1, gateway):
    wait_for(l1, "rehost-vm makes the TAP interface", lambda: status_of_vm(l1) or
             l1.shell("ip link show " + TAP)[0] == 0, 120)
    status, text = l1.shell("ip addr add %s/24 dev %s && ip link set %s up" % (gateway, TAP, TAP))
    check(status == 0, "the TAP interface: %s" % text)


def check_guest(l1, facts, macs):
    l1.login(facts["root_password"], timeout=200)
    seen = l1.run("nproc")
    check(seen == (0, "2"), "nproc: %s" % (seen,))
    for name, mac in macs.items():
        seen = l1.run("cat /sys/class/net/%s/address" % name)
        check(seen == (0, mac), "%s has %s, not %s" % (name, seen, mac))
    addresses = l1.run("ip -br -4 addr")[1]
    for nic in facts["nics"]:
        check(nic["address"] in addresses, "%s is not among %s" % (nic["address"], addresses))
    # What --snapshot has to keep out of the images.
    status, text = l1.run("dd if=/dev/urandom of=/root/written bs=1M count=8 && sync")
    check(status == 0, "the guest cannot write: %s" % text)


def check_answers(l1, address):
    wait_for(l1, "%s answers" % address,
             lambda: l1.shell("ping -c 3 -W 10 " + address)[0] == 0, 120)
    say("%s answers over the TAP interface" % address)


def reboot(l1):
    l1.type("systemctl reboot\r")
    check(l1.wait(r"SeaBIOS|GRUB", 400), "no firmware after the reboot: %s" % l1.text[-1500:])
    until_prompt(l1, "after the reboot")


def press_power_button(l1):
    """Again and again: who presses it before somebody listens is not heard."""
    def press():
        if status_of_vm(l1) is None:
            l1.shell("controltool %s '{\"do\":\"powerdown\"}'" % CONTROL)
        for _ in range(15):
            if (status := status_of_vm(l1)) is not None:
                return status
            l1.listen(2)
        return None
    status = wait_for(l1, "it powers itself off", press, 500)
    check(status == "0", "rehost-vm ended with status %s" % status)
    say("powered off by its button, status 0")


def in_l1(l1, facts, macs):
    try:
        l1.shell(START)
        nic = facts["nics"][0]
        give_tap_an_address(l1, nic["gateway"])
        until_prompt(l1, "a converted server")
        check_guest(l1, facts, macs)
        check_answers(l1, nic["address"].split("/")[0])
        if os.environ.get("SOAK"):
            reboot(l1)
        press_power_button(l1)
    except (Failure, machine.MachineError) as e:
        if l1.death():
            raise
        raise Failure("%s\nrehost-vm says:\n%s" % (e, l1.shell("tail -n 30 /tmp/vm.log")[1])) from e


def test(conversion):
    folder = conversion.path("machine")
    conversion.convert(folder, "--no-boot-test")
    connect_cards(folder)
    macs = {n["name"]: n["mac"] for n in server_test.load(folder + "/guest.json")["nics"]}
    images = {os.path.basename(path): server_test.sha256(path)
              for path, _ in server_test.outputs(folder)}
    disk = nested.run_in_l1(conversion.scratch, (VM, CONTROLTOOL), folder,
                            lambda l1: in_l1(l1, conversion.facts, macs))
    for path in nested.files_of(disk, images, conversion.scratch):
        check(server_test.sha256(path) == images[os.path.basename(path)],
              "--snapshot changed %s" % os.path.basename(path))
        os.unlink(path)
    say("done")


def main():
    skip_if(nested.missing("qemu-img", "mmdebstrap", "sfdisk", "e2fsck",
                           loops="the server's disks"))
    for program in (REHOST, VM, CONTROLTOOL):
        skip_if(None if os.access(program, os.X_OK) else "%s is not built" % program)
    try:
        conversion = server_test.Conversion("deb12", server_test.SERVERS["deb12"][0])
        try:
            test(conversion)
        finally:
            conversion.close()
    except Failure as e:
        say("vm-boot: %s" % e)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
