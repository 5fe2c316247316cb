# SPDX-License-Identifier: GPL-2.0-or-later
"""The boot medium's network with real links, a real udhcpc and a real DHCP server: a machine with two
ports in one network namespace, the switch with the server in another. Cables are pulled at the
switch. The machine's /sys/class/net is drawn from what the kernel says, because mounting another
sysfs is not allowed everywhere.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from sending import check, main, missing, run, say, skip_if, wait_for  # noqa: E402

NETTOOL = "build/tools/nettool"
ROUTER = "192.0.2.1"
PORTS = ("eno1", "eno2")


class Machine:
    """Two namespaces, two cables, and the drawn sysfs."""

    def __init__(self, folder):
        self.folder = os.path.join(folder, "root")
        self.names = tuple("rh%s%d" % (what, os.getpid()) for what in ("machine", "switch"))
        self.stop = threading.Event()
        self.server = None

    def ip(self, which, *words):
        run(*self.inside(which), "ip", *words)

    def inside(self, which):
        """Not `ip -n`, which mounts and therefore fails in a chroot."""
        return ("nsenter", "--net=/run/netns/" + self.names[which])

    def __enter__(self):
        with contextlib.ExitStack() as undo:
            self.set_up(undo)
            self.undo = undo.pop_all()
        return self

    def __exit__(self, *_):
        self.undo.close()

    def set_up(self, undo):
        for name in self.names:
            run("ip", "netns", "add", name)
            undo.callback(subprocess.run, ["ip", "netns", "del", name], check=False)
        self.ip(1, "link", "add", "name", "br0", "type", "bridge")
        self.ip(1, "address", "add", ROUTER + "/24", "dev", "br0")
        for port in PORTS:
            run("ip", "link", "add", "name", "to-" + port, "netns", self.names[1], "type", "veth",
                "peer", "name", port, "netns", self.names[0])
            self.ip(1, "link", "set", "to-" + port, "master", "br0")
        self.ip(1, "link", "set", "br0", "up")
        self.ip(0, "link", "set", "lo", "up")
        for part in ("sys/class/net", "etc", "run"):
            os.makedirs(os.path.join(self.folder, part))
        os.symlink("/proc", os.path.join(self.folder, "proc"))
        drawer = threading.Thread(target=self.draw)
        drawer.start()
        undo.callback(drawer.join)
        undo.callback(self.stop.set)
        self.start_server()
        undo.callback(self.stop_server)

    def start_server(self):
        path = os.path.join(self.folder, "udhcpd.conf")
        leases = os.path.join(self.folder, "leases")
        with open(path, "w") as f:
            f.write("start 192.0.2.100\nend 192.0.2.120\ninterface br0\nlease_file %s\n"
                    "option subnet 255.255.255.0\noption router %s\noption dns 192.0.2.53\n"
                    "option lease 600\nmin_lease 60\n" % (leases, ROUTER))
        open(leases, "w").close()
        self.server = subprocess.Popen([*self.inside(1), "busybox", "udhcpd", "-f", path],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop_server(self):
        if self.server:
            self.server.kill()
            self.server.wait()
            self.server = None

    def draw(self):
        while not self.stop.is_set():
            text = subprocess.run([*self.inside(0), "ip", "-j", "link"], check=True,
                                  stdout=subprocess.PIPE, text=True).stdout
            for link in json.loads(text):
                if link.get("link_type") == "ether":
                    self.draw_link(link)
            self.stop.wait(0.05)

    def draw_link(self, link):
        place = os.path.join(self.folder, "sys/class/net", link["ifname"])
        os.makedirs(os.path.join(place, "device"), exist_ok=True)
        for name, text in (("type", "1"), ("address", link["address"]),
                           ("carrier", "1" if "LOWER_UP" in link["flags"] else "0")):
            aside = os.path.join(place, "." + name)
            with open(aside, "w") as f:
                f.write(text + "\n")
            os.rename(aside, os.path.join(place, name))

    def plug(self, port, is_in=True):
        self.ip(1, "link", "set", "to-" + port, "up" if is_in else "down")

    def mac(self, port):
        text = subprocess.run([*self.inside(0), "ip", "-j", "link", "show", port], check=True,
                              stdout=subprocess.PIPE, text=True).stdout
        return json.loads(text)[0]["address"]

    def addresses(self, port):
        text = subprocess.run([*self.inside(0), "ip", "-4", "-j", "address", "show", port],
                              check=True, stdout=subprocess.PIPE, text=True).stdout
        return ["%s/%d" % (a["local"], a["prefixlen"])
                for link in json.loads(text) for a in link.get("addr_info", [])]

    def routes(self):
        text = subprocess.run([*self.inside(0), "ip", "-4", "-j", "route", "show", "default"],
                              check=True, stdout=subprocess.PIPE, text=True).stdout
        return [(r.get("gateway"), r["dev"]) for r in json.loads(text)]

    def resolv_conf(self):
        with open(os.path.join(self.folder, "etc/resolv.conf")) as f:
            return f.read()

    def check_reachable(self):
        """A connection from the machine to the switch, by what the kernel has now."""
        code = ("import socket,sys; s = socket.create_connection(('%s', int(sys.argv[1])), 5); "
                "print(s.recv(9).decode())" % ROUTER)
        greeter = subprocess.Popen([*self.inside(1), "python3", "-c",
                                    "import socket; l = socket.create_server(('', 0)); "
                                    "print(l.getsockname()[1], flush=True); "
                                    "c, _ = l.accept(); c.send(b'hello')"],
                                   stdout=subprocess.PIPE, text=True)
        try:
            port = greeter.stdout.readline().strip()
            said = subprocess.run([*self.inside(0), "python3", "-c", code, port], check=False,
                                  stdout=subprocess.PIPE, text=True).stdout
        finally:
            greeter.kill()
            greeter.wait()
        check(said == "hello\n", "the other side cannot be reached")


class Agent:
    """nettool, which is what the boot medium's session runs."""

    def __init__(self, machine, line):
        self.machine = machine
        self.state = {"links": {}, "up": False, "problem": ""}
        self.process = subprocess.Popen(
            [*machine.inside(0), NETTOOL, machine.folder, line], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.readers = [threading.Thread(target=self.read_states),
                        threading.Thread(target=self.read_log)]
        self.log = []
        for reader in self.readers:
            reader.start()

    def read_states(self):
        for line in self.process.stdout:
            self.state = json.loads(line)

    def read_log(self):
        for line in self.process.stderr:
            self.log.append(line)

    def change(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.process.stdin.close()
        self.process.wait()
        for reader in self.readers:
            reader.join()
        if kind:
            say("state: %s\n%s" % (json.dumps(self.state), "".join(self.log)))

    def address(self, port):
        return self.state["links"].get(port, {}).get("address", "")

    def wait_for_address(self, port, start, seconds=10):
        wait_for("an address on %s" % port, lambda: self.address(port).startswith(start), seconds)

    def wait_for_problem(self, words, seconds=10):
        wait_for("'%s'" % words, lambda: words in self.state["problem"], seconds)


def test_dhcp(folder):
    """An address from whichever port has a cable; the cable is moved to the other one."""
    with Machine(folder) as machine, Agent(machine, "quiet") as agent:
        agent.wait_for_problem("no cable in any of eno1, eno2")
        machine.plug("eno2")
        agent.wait_for_address("eno2", "192.0.2.1")
        check(machine.addresses("eno2") == [agent.address("eno2")], "another address")
        check(machine.routes() == [(ROUTER, "eno2")], "routes: %s" % machine.routes())
        check(machine.resolv_conf() == "nameserver 192.0.2.53\n", machine.resolv_conf())
        check(agent.state["problem"] == "", agent.state["problem"])
        machine.check_reachable()
        started = time.monotonic()
        machine.plug("eno2", False)
        machine.plug("eno1")
        agent.wait_for_address("eno1", "192.0.2.1")
        wait_for("eno2 without its address", lambda: machine.addresses("eno2") == [])
        check(machine.routes() == [(ROUTER, "eno1")], "routes: %s" % machine.routes())
        machine.check_reachable()
        check(time.monotonic() - started < 10, "it took %.1f s" % (time.monotonic() - started))


def test_flap(folder):
    """A link that is back within a second keeps its address."""
    with Machine(folder) as machine, Agent(machine, "ip=dhcp") as agent:
        machine.plug("eno1")
        agent.wait_for_address("eno1", "192.0.2.1")
        kept = machine.addresses("eno1")
        machine.plug("eno1", False)
        time.sleep(0.3)
        machine.plug("eno1")
        time.sleep(1.5)
        check(machine.addresses("eno1") == kept, "it lost its address")
        check(not any("no address any more" in line for line in agent.log), "".join(agent.log))
        machine.check_reachable()


def test_both_plugged(folder):
    """Two ports in one network: the first is used, and the second when the first is pulled."""
    with Machine(folder) as machine, Agent(machine, "") as agent:
        machine.plug("eno1")
        machine.plug("eno2")
        agent.wait_for_address("eno1", "192.0.2.1")
        agent.wait_for_address("eno2", "192.0.2.1")
        machine.check_reachable()
        machine.plug("eno1", False)
        wait_for("eno1 without its address", lambda: machine.addresses("eno1") == [])
        check(machine.routes() == [(ROUTER, "eno2")], "routes: %s" % machine.routes())
        machine.check_reachable()


def test_static(folder):
    """By MAC, and nothing else is touched; the kernel's ip=; a change of plan."""
    with Machine(folder) as machine:
        machine.plug("eno1")
        machine.plug("eno2")
        line = "rehost.net=%s,192.0.2.5/24,gw=192.0.2.1,dns=192.0.2.7" % machine.mac("eno2").upper()
        with Agent(machine, line) as agent:
            agent.wait_for_address("eno2", "192.0.2.5/24")
            check(machine.addresses("eno2") == ["192.0.2.5/24"], "not as asked for")
            check(machine.addresses("eno1") == [], "eno1 was touched")
            check(machine.routes() == [(ROUTER, "eno2")], "routes: %s" % machine.routes())
            check(machine.resolv_conf() == "nameserver 192.0.2.7\n", machine.resolv_conf())
            machine.check_reachable()
            agent.change("ip=192.0.2.6::192.0.2.1:255.255.255.0::eno1:off")
            agent.wait_for_address("eno1", "192.0.2.6/24")
            wait_for("eno2 to be given up", lambda: machine.addresses("eno2") == [])
            check(machine.routes() == [(ROUTER, "eno1")], "routes: %s" % machine.routes())
            machine.check_reachable()
            agent.change("rehost.net=eno7,dhcp")
            agent.wait_for_problem("no link eno7 as rehost.net= names it; there are eno1, eno2")


def test_static_follows_the_cable(folder):
    """An address that is bound to no port goes where the cable is."""
    with Machine(folder) as machine, Agent(machine, "rehost.net=192.0.2.9/24") as agent:
        machine.plug("eno1")
        agent.wait_for_address("eno1", "192.0.2.9/24")
        agent.wait_for_problem("no default route: only 192.0.2.0/24 can be reached")
        machine.plug("eno1", False)
        machine.plug("eno2")
        agent.wait_for_address("eno2", "192.0.2.9/24")
        check(machine.addresses("eno1") == [], "the address is on both")
        machine.check_reachable()


def test_silent_server(folder):
    """Nobody answers; then somebody does."""
    with Machine(folder) as machine:
        machine.stop_server()
        with Agent(machine, "rehost.server=198.51.100.9") as agent:
            machine.plug("eno1")
            wait_for("asking", lambda: agent.state["links"].get("eno1", {}).get("state") ==
                     "asking for an address")
            agent.wait_for_problem("eno1: no DHCP server answered for", 40)
            check("rehost.net=eno1,ADDRESS/PREFIX,gw=GATEWAY" in agent.state["problem"], "no advice")
            machine.start_server()
            agent.wait_for_address("eno1", "192.0.2.1", 20)
            check(agent.state["problem"] == "", agent.state["problem"])


def test_dead_end(folder):
    """A cable that is pulled behind the next switch: the link stays up and leads nowhere."""
    with Machine(folder) as machine, Agent(machine, "rehost.server=" + ROUTER) as agent:
        machine.plug("eno1")
        machine.plug("eno2")
        agent.wait_for_address("eno1", "192.0.2.1")
        agent.wait_for_address("eno2", "192.0.2.1")
        machine.check_reachable()
        machine.ip(1, "link", "set", "to-eno1", "nomaster")
        machine.ip(1, "link", "set", "to-eno1", "arp", "off")
        machine.ip(0, "neigh", "flush", "dev", "eno1")

        def is_given_up():
            subprocess.run([*machine.inside(0), "python3", "-c",
                            "import socket; socket.create_connection(('%s', 9), 1)" % ROUTER],
                           check=False, stderr=subprocess.DEVNULL)
            return machine.addresses("eno1") == []

        wait_for("eno1 to be given up", is_given_up, 30)
        check(agent.state["links"]["eno1"]["carrier"], "it had a cable")
        machine.check_reachable()


TESTS = {
    "dhcp": test_dhcp,
    "flap": test_flap,
    "both-plugged": test_both_plugged,
    "static": test_static,
    "static-follows": test_static_follows_the_cable,
    "dead-end": test_dead_end,
    "silent-server": test_silent_server,
}

if __name__ == "__main__":
    skip_if(missing("busybox", "ip", "nsenter", root="network namespaces"))
    sys.exit(main(TESTS, sys.argv[1:]))
