# SPDX-License-Identifier: GPL-2.0-or-later
"""Who is let in, and what a hostile agent can do: nothing to the server, nothing to other machines,
nothing outside its own folder. The hostile agent is tests/lib/wire.py, not ours.

Each case ends the same way: the server lives, the pool holds what it should, the innocent machine's
files are byte for byte as they were, and a good agent still works.
"""

import hashlib
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import wire  # noqa: E402
from bad_input import noise  # noqa: E402
from sending import (MIB, NOT_AUTHORISED, TRANSFER_ONLY, Disk, Failure, Server,  # noqa: E402
                     check, check_machine, main, missing, read, run, say, send, skip_if, wait_for,
                     write)
from wire import CHUNK, Agent, Ended, Link, chunk_name, data_frame, offer_frame, run_frame  # noqa: E402

PROTOCOL, AUTHORISED, REPLACED, UNKNOWN_SESSION = 3, 4, 6, 7
MEMORY_LIMIT = 160 * MIB


def tree_hash(folder, without=()):
    """Names, sizes and contents of everything in a folder."""
    h = hashlib.sha256()
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if os.path.join(root, f) not in without)
        for name in sorted(files) + folders:
            path = os.path.join(root, name)
            h.update(os.path.relpath(path, folder).encode() + b"\0")
            if os.path.isfile(path) and not os.path.islink(path):
                h.update(hashlib.sha256(read(path)).digest())
    return h.hexdigest()


class Siege:
    """A server with an innocent machine in its pool, and what must hold after every attack."""

    def __init__(self, folder, *options):
        self.folder = folder
        # Deep enough that a few '..' still land where they are seen.
        self.around = os.path.join(folder, "a/b/c")
        os.makedirs(self.around)
        self.server = Server(os.path.join(self.around, "pool"), *TRANSFER_ONLY, *options)
        self.keys = 0
        self.names = {"innocent"}
        disk = Disk(folder, "sda.img", 16, 2)
        send(self.server, [disk.path], "--name", "innocent", token=self.server.token(),
             state=os.path.join(folder, "state"))
        check_machine(self.server, "innocent", [disk])
        self.innocent = tree_hash(self.server.folder("innocent"))
        self.good_key = wire.make_key(folder, "good")
        self.good_runs = 0
        self.good()
        self.outside = tree_hash(self.around, (self.server.pool,))
        self.server.forget_peak()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.server.stop()

    def key(self):
        self.keys += 1
        return wire.make_key(self.folder, "key%d" % self.keys)

    def agent(self, size=64 * CHUNK, name="hostile", disks=1, used=0):
        """An agent that was let in, with a machine of its own."""
        agent = Agent(self.server.port, self.key(), self.server.token(),
                      [(size, used, "sd%c" % (97 + i), "") for i in range(disks)], name)
        self.names.add(agent.name)
        return agent

    def good(self):
        image = noise(20 * CHUNK + 512, "good %d" % self.good_runs)
        token = self.server.token() if self.good_runs == 0 else None
        with Agent(self.server.port, self.good_key, token, [(len(image), len(image), "sda", "")],
                   "good") as agent:
            check(agent.name == "good", "the good agent's machine is called %s" % agent.name)
            sent = agent.send_disk(image, is_last=False)
        check(sent == len(image), "the good agent sent %d of %d bytes" % (sent, len(image)))
        self.names.add("good")
        self.good_runs += 1

    def holds(self, what):
        check(self.server.is_alive(), "%s: the server died: %s" %
              (what, self.server.lines.text[-2000:]))
        now, peak = self.server.memory()
        check(peak < MEMORY_LIMIT, "%s: the server took %d MiB (now %d)" %
              (what, peak // MIB, now // MIB))
        check(tree_hash(self.server.folder("innocent")) == self.innocent,
              "%s: another machine was changed" % what)
        check(tree_hash(self.around, (self.server.pool,)) == self.outside,
              "%s: something is outside of the pool" % what)
        for name in os.listdir(self.server.pool):
            base = name.removesuffix(".partial").removesuffix(".update")
            check(name == ".rehost" or base in self.names, "%s: %r in the pool" % (what, name))
        self.good()

    def refused(self, what, attack, codes=(PROTOCOL,), quick=True):
        """The attack must end in an ERROR of these codes, or in a cut."""
        started = time.monotonic()
        try:
            result = attack()
        except Ended as e:
            check(e.code in (None, *codes), "%s: %s, not ERROR %s" % (what, e, codes))
            check("silent" not in e.text, "%s: the server says nothing" % what)
        else:
            raise Failure("%s: was taken (%r)" % (what, result))
        check(not quick or time.monotonic() - started < 8, "%s: refused after %.0f s" %
              (what, time.monotonic() - started))
        check(self.server.is_alive(), "%s: the server died: %s" %
              (what, self.server.lines.text[-2000:]))


def drain(link):
    """Reads until the server ends it."""
    while True:
        link.receive()


def all_refused(siege, cases, **keywords):
    """Every case, and all the failures together."""
    failures = []
    for what, attack in cases:
        try:
            siege.refused(what, attack, **keywords)
        except (Failure, AssertionError) as e:
            failures.append(str(e))
            if not siege.server.is_alive():
                break
    check(not failures, "%d of %d went wrong:\n    %s" %
          (len(failures), len(cases), "\n    ".join(failures)))


# --- who is let in ---------------------------------------------------------------------------

class Impostor:
    """A server with another key, that takes whatever comes and keeps it."""

    def __init__(self, key, wants_certificate=False):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.context.load_cert_chain(key, key + ".key")
        self.context.set_alpn_protocols(["rehost/1"])
        if wants_certificate:
            self.context.verify_mode = ssl.CERT_OPTIONAL
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.heard, self.calls = b"", 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            self.calls += 1
            raw.settimeout(10)
            try:
                with self.context.wrap_socket(raw, server_side=True) as link:
                    while data := link.recv(65536):
                        self.heard += data
            except (ssl.SSLError, OSError):
                pass


def test_pin(folder):
    """Another key than the pinned one: the agent stops before it says a word, with exit code 5."""
    disk = write(os.path.join(folder, "disk.img"), bytes(MIB))
    key = wire.make_key(folder, "impostor")
    for wants in (False, True):
        impostor = Impostor(key, wants)
        with Server(os.path.join(folder, "pool"), *TRANSFER_ONLY) as server:
            started = time.monotonic()
            said = send(server, [disk], token="C" * 25 + "A", port=impostor.port, codes=(NOT_AUTHORISED,),
                        seconds=30, state=os.path.join(folder, "state"))
        check(impostor.calls >= 1, "nobody called")
        check(impostor.heard == b"", "the agent told an impostor %r" % impostor.heard[:200])
        check(time.monotonic() - started < 15, "it took %.0f s" % (time.monotonic() - started))
        check("C" * 25 + "A" not in said, "send shows the token")
        check(server.pin[7:23] in said and "sha256:" in said.replace(server.pin, ""),
              "send does not tell both fingerprints: %s" % said)
        impostor.listener.close()


def test_tokens(folder):
    """Wrong, used, expired and revoked tokens: the same words after the same time."""
    with Server(os.path.join(folder, "pool"), *TRANSFER_ONLY) as server:
        used, revoked = server.token(), server.token()
        expired = server.token("--ttl", "1s")
        Agent(server.port, wire.make_key(folder, "first"), used).control.close()
        tokens = server.rehost("token list --json")
        rows = __import__("json").loads(tokens)
        rows = rows.get("tokens", rows) if isinstance(rows, dict) else rows
        check(len(rows) == 3, "token list: %s" % tokens)
        victim = next(r["id"] for r in rows if not r["used"] and r["expires"] ==
                      max(q["expires"] for q in rows if not q["used"]))
        server.rehost("token revoke", victim)
        time.sleep(2.1)
        answers, times = {}, {}
        for what, token in (("wrong", "A" * 26), ("used", used), ("expired", expired),
                            ("revoked", revoked)):
            started = time.monotonic()
            try:
                Agent(server.port, wire.make_key(folder, what), token)
                answers[what] = "let in"
            except Ended as e:
                answers[what] = (e.code, e.text)
            times[what] = time.monotonic() - started
        check(len(set(answers.values())) == 1 and answers["wrong"][0] == AUTHORISED,
              "not all the same: %s" % answers)
        check(max(times.values()) - min(times.values()) < 0.5, "times differ: %s" % times)
        # One token, many agents at the same moment: one of them is let in.
        once, admitted = server.token(), []
        keys = [wire.make_key(folder, "racer%d" % i) for i in range(8)]

        def race(key):
            try:
                Agent(server.port, key, once).control.close()
                admitted.append(key)
            except Ended:
                pass

        racers = [threading.Thread(target=race, args=(k,)) for k in keys]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        check(len(admitted) == 1, "%d agents were let in with one token" % len(admitted))
        Agent(server.port, admitted[0]).control.close()  # the key alone, from now on
        for text in ("A" * 25 + "1", "a" * 20 + "      ", "A" * 25 + "\0"):
            try:
                Agent(server.port, wire.make_key(folder, "odd"), text)
                raise Failure("the token %r was taken" % text)
            except Ended as e:
                check(e.code in (None, PROTOCOL, AUTHORISED), "token %r: %s" % (text, e))
        check(server.is_alive(), "the server died")


def handshake(server, what, context, wanted):
    """Tries one; it must not get a WELCOME."""
    raw = socket.create_connection(("127.0.0.1", server.port), timeout=15)
    try:
        with context.wrap_socket(raw) as link:
            link.sendall(wire.frame("HELLO", wire.hello()))
            data = link.recv(100)
            check(data == b"", "%s: the server answers %r" % (what, data))
    except (ssl.SSLError, ConnectionError) as e:
        check(not wanted or any(w in str(e).lower() for w in wanted), "%s: %s" % (what, e))


def client_context(key=None, alpn="rehost/1", newest=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols([alpn])
    if key:
        context.load_cert_chain(key, key + ".key")
    if newest:
        context.maximum_version = newest
    return context


def test_handshakes(folder):
    """TLS 1.2, plain text, no certificate, another protocol, half handshakes: no WELCOME."""
    with Siege(folder) as siege:
        server = siege.server
        key = siege.key()
        handshake(server, "TLS 1.2", client_context(key, newest=ssl.TLSVersion.TLSv1_2),
                  ("version", "unsupported"))
        handshake(server, "no certificate", client_context(), ())
        handshake(server, "no ALPN", client_context(key, alpn=None), ())
        handshake(server, "another ALPN", client_context(key, alpn="http/1.1"), ())
        said = subprocess.run(["openssl", "s_client", "-tls1_2", "-connect",
                               "127.0.0.1:%d" % server.port], input=b"", capture_output=True,
                              timeout=20, check=False)
        check(said.returncode != 0 and b"Cipher is (NONE)" in said.stdout,
              "openssl s_client -tls1_2: %r" % said.stdout[-500:])
        for what, data in (("plain text", b"GET / HTTP/1.0\r\n\r\n"), ("a frame without TLS",
                           wire.frame("HELLO", wire.hello())), ("noise", noise(4096, "x"))):
            with socket.create_connection(("127.0.0.1", server.port), timeout=15) as raw:
                try:
                    raw.sendall(data)
                    answer = raw.recv(1000)
                    check(b"RHST" not in answer and len(answer) < 100, "%s: %r" % (what, answer))
                except ConnectionError:
                    pass
        # Two hundred that never finish their handshake, and one that works meanwhile.
        silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(200)]
        started = time.monotonic()
        siege.good()
        check(time.monotonic() - started < 8, "silent clients keep a good agent waiting for %.0f s" %
              (time.monotonic() - started))
        _, peak = server.memory()
        check(peak < MEMORY_LIMIT, "200 silent clients take %d MiB" % (peak // MIB))
        silent[0].settimeout(25)
        try:
            check(silent[0].recv(1) == b"", "a silent client hears something")
        except ConnectionError:
            pass
        for s in silent:
            s.close()
        siege.holds("handshakes")


# --- frames ----------------------------------------------------------------------------------

def test_before_admission(folder):
    """What a stranger may send: HELLO, a token, nothing else, and little of it."""
    with Siege(folder) as siege:
        key = siege.key()

        def stranger(*frames, hello=wire.hello()):
            def attack():
                with Link(siege.server.port, key) as link:
                    link.send("HELLO", hello)
                    for f in frames:
                        link.send_raw(f)
                    drain(link)
            return attack

        big = wire.machine([(MIB, 0, "sda", "")], inventory=b"[" + b"1," * 5000 + b"1]")
        cases = [
            ("a wrong magic", stranger(hello=wire.hello(magic=b"RSHT"))),
            ("HELLO with control characters", stranger(hello=wire.hello(program=b"a\nb"))),
            ("HELLO for a third purpose", stranger(hello=wire.hello(role=2))),
            ("HELLO with reserved bytes", stranger(
                hello=wire.hello()[:8] + b"\1" + wire.hello()[9:])),
            ("a second HELLO", stranger(wire.frame("HELLO", wire.hello()))),
            ("MACHINE of a stranger", stranger(wire.frame("MACHINE", wire.machine(
                [(MIB, 0, "sda", "")])))),
            ("a large MACHINE of a stranger", stranger(wire.frame("MACHINE", big))),
            ("STATUS of a stranger", stranger(wire.frame("STATUS", bytes(18)))),
            ("FINISH of a stranger", stranger(wire.frame("FINISH", bytes(6)))),
            ("OFFER of a stranger", stranger(wire.frame("OFFER", bytes(50)))),
            ("the server's own frame", stranger(wire.frame("ADMITTED", bytes(3)))),
            ("an unknown type", stranger(wire.frame(25, b"x"))),
            ("type 0", stranger(wire.frame(0, b"x"))),
            ("a header's zeroes not zero", stranger(struct.pack("<IB", 0, 21) + b"\0\0\1")),
            ("4 GiB announced", stranger(struct.pack("<IB3x", 0xffffffff, 5))),
            ("PING with a payload", stranger(wire.frame("PING", b"x"))),
            ("a token too short", stranger(wire.frame("TOKEN", b"A" * 25))),
            ("a token too long", stranger(wire.frame("TOKEN", b"A" * 27))),
        ]
        all_refused(siege, cases, codes=(PROTOCOL, AUTHORISED))
        siege.refused("version 9", stranger(hello=wire.hello(version=9)), codes=(2,))
        siege.refused("a disk connection of a stranger", stranger(hello=wire.hello(
            role=1, session=os.urandom(16))), codes=(PROTOCOL, AUTHORISED, UNKNOWN_SESSION))
        siege.holds("strangers")


def test_machines(folder):
    """What a machine may be, and what its name may do."""
    with Siege(folder) as siege:
        def control(*frames):
            def attack():
                with Agent(siege.server.port, siege.key(), siege.server.token()) as agent:
                    for f in frames:
                        agent.control.send_raw(f)
                    drain(agent.control)
            return attack

        def announced(*frames):
            def attack():
                with siege.agent() as agent:
                    for f in frames:
                        agent.control.send_raw(f)
                    drain(agent.control)
            return attack

        def one(size=MIB, used=0, name="sda", serial="", **keywords):
            return wire.frame("MACHINE", wire.machine([(size, used, name, serial)], **keywords))

        good = wire.machine([(MIB, 0, "sda", "")])
        cases = [
            ("no disks", control(wire.frame("MACHINE", wire.machine([]) + bytes(64)))),
            ("65 disks", control(wire.frame("MACHINE", wire.machine([(MIB, 0, "sda", "")] * 65)))),
            ("an empty disk", control(one(size=0))),
            ("a disk of 16 EiB", control(one(size=(1 << 64) - 512))),
            ("more used than there is", control(one(used=MIB + 1))),
            ("a nameless disk", control(one(name=""))),
            ("a long disk name", control(one(name="s" * 65))),
            ("NUL in a disk's name", control(one(name="sd\0a"))),
            ("control characters in a serial", control(one(serial="a\x1b[2J"))),
            ("a name that is no UTF-8", control(one(name=b"sd\xff\xfe"))),
            ("more disks announced than sent", control(wire.frame("MACHINE", b"\2\0" + good[2:]))),
            ("bytes behind the inventory", control(wire.frame("MACHINE", good + b"x"))),
            ("an inventory longer than the frame", control(wire.frame("MACHINE", good[:-6] +
                                                           struct.pack("<I", 1 << 30) + b"{}"))),
            ("an inventory that is no JSON", control(one(inventory=b"{not json"))),
            ("an inventory that is no object", control(one(inventory=b"[]"))),
            ("an inventory 10^5 deep", control(one(inventory=b"[" * 100000 + b"]" * 100000))),
            ("a wanted name of 64 bytes", control(one(name="sda") if False else wire.frame(
                "MACHINE", wire.machine([(MIB, 0, "sda", "")], name="n" * 64)))),
            ("two MACHINEs", announced(one())),
            ("FINISH of nothing", announced(wire.frame("FINISH", bytes(6)))),
            ("FINISH with a report that is no JSON", announced(wire.frame(
                "FINISH", b"\0\0" + struct.pack("<I", 4) + b"nope"))),
            ("DISK on the control connection", announced(wire.frame("DISK", bytes(6)))),
            ("OFFER on the control connection", announced(wire.frame("OFFER", bytes(50)))),
            ("STATUS of disk 7", announced(wire.frame("STATUS", struct.pack("<HQQ", 7, 0, 0)))),
        ]
        all_refused(siege, cases)
        siege.holds("machines")
        # Names that are paths become names, or are refused.
        for wanted in ("../../escaped", "/etc/escaped", "a/b", "..", ".", ".rehost", "-rf",
                       "innocent", "INNOCENT/../innocent", "innocent.partial", "innocent.update",
                       "good", "x" * 63, "\u202egnp.web", "con\ttrol"):
            try:
                with Agent(siege.server.port, siege.key(), siege.server.token(),
                           [(MIB, 0, "../../sda", "../serial")], wanted) as agent:
                    check(agent.name not in ("innocent", "good", ".", "..", ".rehost"),
                          "%r became %r" % (wanted, agent.name))
                    check(all(c.isalnum() and c.isascii() or c in "._-" for c in agent.name) and
                          agent.name[0].isalnum(), "%r became %r" % (wanted, agent.name))
                    check(not agent.name.endswith((".partial", ".update")),
                          "%r became %r" % (wanted, agent.name))
                    siege.names.add(agent.name)
            except Ended as e:
                check(e.code in (None, PROTOCOL), "%r: %s" % (wanted, e))
        siege.holds("names")


def pass_frame(terms=(), number=0, is_last=1):
    return struct.pack("<IB", number, is_last) + wire.digest_of(terms)


def compressed(data, *options, sized=True):
    """A frame of the zstd command, with its content size or without."""
    command = ["zstd", "-q", "-c", "--no-check", *options]
    if sized:
        command.append("--stream-size=%d" % len(data))
    else:
        command.append("--no-content-size")
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout


def test_disks(folder):
    """Offers and data that lie about where, how long, how often and what."""
    with Siege(folder) as siege:
        size = 64 * CHUNK - 512
        content = noise(CHUNK, "content")
        name = chunk_name(content)

        def disk(*frames, **keywords):
            def attack():
                with siege.agent(size) as agent, agent.disk(**keywords) as link:
                    for f in frames:
                        link.send_raw(f)
                    drain(link)
            return attack

        def offer(sequence=0, first=0, names=(name,), count=None):
            return wire.frame("OFFER", offer_frame(sequence, first, names, count))

        def data(sequence=0, first=0, parts=(content,), **keywords):
            return wire.frame("DATA", data_frame(sequence, first, parts, **keywords))

        def area(sequence=0, first=0, count=1, state=wire.ZERO):
            return wire.frame("RUN", run_frame(sequence, first, count, state))

        def zstd(frame):
            return disk(offer(), data(parts=(frame,), encoding=1))

        def joined(*parts):
            return disk(offer(names=(name,) * 2), data(parts=parts, encoding=2))

        zeroes, top = bytes(CHUNK), (1 << 64) - 1
        cases = [
            ("an offer behind the disk", disk(offer(first=64))),
            ("an offer across the end", disk(offer(first=63, names=(name, name)))),
            ("an offer whose end overflows", disk(offer(first=top, names=(name, name)))),
            ("an empty offer", disk(offer(names=(), count=0))),
            ("an offer of 257", disk(offer(names=(name,) * 257))),
            ("an offer that counts wrong", disk(offer(count=2))),
            ("sequence 1 first", disk(offer(sequence=1))),
            ("a sequence twice", disk(offer(), offer())),
            ("a sequence left out", disk(area(), area(sequence=2))),
            ("a run behind the disk", disk(area(first=64))),
            ("a run across the end", disk(area(first=60, count=5))),
            ("a run of 2^64", disk(area(count=top))),
            ("a run whose end overflows", disk(area(first=1, count=top))),
            ("an empty run", disk(area(count=0))),
            ("a run of data", disk(area(state=wire.DATA_STATE))),
            ("a run of state 4", disk(area(state=4))),
            ("data that nobody asked for", disk(data())),
            ("data before its offer's answer, of another chunk", disk(offer(), data(first=1))),
            ("data twice", disk(offer(), data(), data())),
            ("data of another sequence", disk(offer(), data(sequence=1))),
            ("data behind its offer", disk(offer(), data(parts=(content, content)))),
            ("data out of order", disk(offer(names=(name, chunk_name(zeroes))),
                                       data(first=1, parts=(zeroes,)))),
            ("17 chunks in a frame", disk(offer(names=(name,) * 17), data(parts=(content,) * 17))),
            ("no chunk in a frame", disk(offer(), data(parts=()))),
            ("a short chunk", disk(offer(), data(parts=(content[:-1],)))),
            ("a long chunk", disk(offer(), data(parts=(content + b"x",)))),
            ("a length of 0", disk(offer(), data(parts=(b"",)))),
            ("a length of 4 GiB", disk(offer(), data(lengths=(top >> 32,)))),
            ("lengths that do not add up", disk(offer(), data(lengths=(CHUNK - 1,)))),
            ("encoding 3", disk(offer(), data(encoding=3))),
            ("the last chunk too long", disk(offer(first=63), data(first=63))),
            ("a frame that is no zstd", zstd(noise(1000, "garbage"))),
            ("zstd: 1 GiB in a chunk", zstd(compressed(bytes(1 << 30))[:CHUNK])),
            ("zstd: a chunk and a byte", zstd(compressed(zeroes + b"x"))),
            ("zstd: a byte less", zstd(compressed(zeroes[1:]))),
            ("zstd: no content size", zstd(compressed(zeroes, sized=False))),
            ("zstd: 1 GiB and no content size", zstd(compressed(bytes(1 << 30), sized=False)[:CHUNK])),
            ("joined: one chunk of two", joined(compressed(zeroes), b"")),
            ("joined: two chunks and a byte", joined(compressed(zeroes * 2 + b"x"), b"")),
            ("joined: 1 GiB", joined(compressed(bytes(1 << 30)), b"")),
            ("joined: a second length", joined(compressed(zeroes * 2), b"x")),
            ("joined: nothing", joined(b"", b"")),
            ("zstd: cut", zstd(compressed(content[:20000] * 3 + content[:5536])[:-3])),
            ("zstd: two frames", zstd(compressed(zeroes[:32768]) * 2)),
            ("zstd: a frame and more", zstd(compressed(zeroes) + b"more")),
            ("zstd: a frame to be skipped", zstd(struct.pack("<II", 0x184d2a50, 8) + bytes(8))),
            ("zstd: lying about its size", zstd(lying_size(zeroes))),
            ("PASS with result 2", disk(wire.frame("PASS", pass_frame(is_last=2)))),
            ("READY from the agent", disk(wire.frame("READY", bytes(12)))),
            ("WANT from the agent", disk(wire.frame("WANT", bytes(11)))),
            ("MACHINE on a disk's connection", disk(wire.frame("MACHINE", wire.machine(
                [(MIB, 0, "sda", "")])))),
            ("FINISH on a disk's connection", disk(wire.frame("FINISH", bytes(6)))),
            ("a second DISK", disk(wire.frame("DISK", bytes(6)))),
            ("disk 1 of one", disk(number=1)),
            ("disk 65535", disk(number=65535)),
        ]
        all_refused(siege, cases)
        siege.holds("disks")
        # Sessions: of nobody, and of another.
        with siege.agent() as mine, siege.agent() as other:
            for what, session in (("a made-up session", os.urandom(16)), ("no session", bytes(16)),
                                  ("another agent's session", other.session)):
                siege.refused(what, lambda s=session: mine.disk(session=s),
                              codes=(UNKNOWN_SESSION, PROTOCOL))
        siege.holds("sessions")


def lying_size(data):
    """A frame whose header says 64 KiB and that inflates to half of it, and to more."""
    frame = bytearray(compressed(data[:CHUNK // 2]))
    at = frame.find(struct.pack("<H", CHUNK // 2 - 256), 4, 12)
    check(at > 0, "the frame's header is not as RFC 8878 has it: %s" % bytes(frame[:12]).hex())
    frame[at:at + 2] = struct.pack("<H", CHUNK - 256)
    return bytes(frame)


def test_replays(folder):
    """Overlapping and repeated offers are legal and mean 'the last one counts'."""
    with Siege(folder) as siege:
        first, second = noise(CHUNK, "one"), noise(CHUNK, "two")
        with siege.agent(4 * CHUNK) as agent, agent.disk() as link:
            sequence = 0
            for content in (first, second, first, second):
                link.send("OFFER", offer_frame(sequence, 1, [chunk_name(content)]))
                want = link.expect("WANT")
                if want[10] & 1:
                    link.send("DATA", data_frame(sequence, 1, [content]))
                sequence += 1
            link.send("RUN", run_frame(sequence, 0, 1, wire.ZERO))
            link.send("RUN", run_frame(sequence + 1, 2, 2, wire.SKIPPED))
            link.send("PASS", pass_frame([wire.term(1, wire.DATA_STATE, chunk_name(second))]))
            check(link.expect("PASSED")[4] == 0, "the last offer of a chunk does not count")
        # A digest that is wrong is told, not believed.
        with siege.agent(4 * CHUNK) as agent, agent.disk() as link:
            link.send("RUN", run_frame(0, 0, 4, wire.ZERO))
            link.send("PASS", pass_frame([wire.term(1, wire.DATA_STATE, chunk_name(second))]))
            check(link.expect("PASSED")[4] == 1, "a wrong digest is the same as the right one")
            link.close()
            siege.refused("FINISH after a wrong digest", agent.finish)
        siege.holds("replays")


def test_poison(folder):
    """An agent lies about a content's name: no other machine gets what it sent."""
    with Siege(folder) as siege:
        truth, lie = noise(CHUNK, "truth"), noise(CHUNK, "lie")
        with siege.agent(CHUNK, "liar") as liar:
            with liar.disk() as link:
                link.send("OFFER", offer_frame(0, 0, [chunk_name(truth)]))
                check(link.expect("WANT")[10] & 1, "the first of its kind is not wanted")
                link.send("DATA", data_frame(0, 0, [lie]))
                link.send("PASS", pass_frame([wire.term(0, wire.DATA_STATE, chunk_name(truth))]))
                try:
                    link.expect("PASSED")
                except Ended:
                    pass  # it may notice
            try:
                liar.finish()
                liar_done = liar.name
                wait_for("the liar's machine", lambda: os.path.exists(
                    siege.server.folder(liar_done)), 60)
            except Ended:
                pass
        with siege.agent(CHUNK, "honest") as honest:
            honest.send_disk(truth)
            honest.finish()
            wait_for("the honest machine", lambda: os.path.exists(
                siege.server.folder(honest.name)), 60)
            raw = os.path.join(folder, "raw")
            run("qemu-img", "convert", "-O", "raw",
                os.path.join(siege.server.folder(honest.name), "disk0.qcow2"), raw)
            check(read(raw)[:CHUNK] == truth, "a liar's chunk stands in an honest machine")
        siege.holds("poison")


def test_floods(folder):
    """Many, slow and silent: the server's memory is bounded and the others are served."""
    with Siege(folder) as siege:
        chunks = 100000
        with siege.agent(chunks * CHUNK, "tiny") as agent, agent.disk() as link:
            started = time.monotonic()
            frames = b"".join(wire.frame("RUN", run_frame(i, i, 1, wire.ZERO))
                              for i in range(chunks))
            link.send_raw(frames)
            link.send("PASS", pass_frame())
            link.socket.settimeout(60)
            check(link.expect("PASSED")[4] == 0, "10^5 runs: another digest")
            say("10^5 tiny frames in %.1f s" % (time.monotonic() - started))
        siege.holds("tiny frames")
        with siege.agent() as agent, agent.disk() as link:
            flood(link, wire.frame("PING") * 1000, 400)
        siege.holds("pings that nobody reads the answers of")
        with siege.agent(1 << 40) as agent, agent.disk() as link:
            names = b"".join(chunk_name(b"%d" % i) for i in range(256))
            flood(link, None, 12000, lambda i: wire.frame("OFFER", struct.pack(
                "<QQH", i, i * 256, 256) + names))
        siege.holds("offers without end, their answers unread")
        with siege.agent() as agent:
            status = wire.frame("STATUS", struct.pack("<HQQ", 0xffff, 0, 0) + b"x" * 1000)
            flood(agent.control, status * 10, 2000)
        siege.holds("a flood of status")
        key, links = siege.key(), []
        for _ in range(40):
            links.append(Agent(siege.server.port, key, siege.server.token() if not links else None))
        siege.holds("forty control connections of one key")
        try:
            links[0].control.receive()
            raise Failure("a control connection outlives its successor")
        except Ended as e:
            check(e.code in (None, REPLACED), "replaced: %s" % e)
        for agent in links:
            agent.control.close()
        slow = [slow_client(siege) for _ in range(20)]
        siege.holds("slow clients")
        for thread in slow:
            thread.join(50)
            check(not thread.is_alive(), "a slow client is still there after its 30 seconds")


def flood(link, frame, count, make=None):
    """Sends and never reads, for at most ten seconds or until it is ended."""
    link.socket.settimeout(3)
    end = time.monotonic() + 10
    try:
        for i in range(count):
            link.socket.sendall(make(i) if make else frame)
            if time.monotonic() > end:
                break
    except (OSError, ssl.SSLError):
        pass


def slow_client(siege):
    """HELLO one byte in two seconds."""
    def run_slowly():
        try:
            with Link(siege.server.port, siege.good_key, timeout=60) as link:
                for byte in wire.frame("HELLO", wire.hello()):
                    link.send_raw(bytes([byte]))
                    time.sleep(2)
        except (Ended, OSError):
            pass

    thread = threading.Thread(target=run_slowly, daemon=True)
    thread.start()
    return thread


def test_other_agent(folder):
    """An agent written from docs/wire.md alone sends a machine from the beginning to the end."""
    image = noise(7 * CHUNK + 512, "other")
    with Server(os.path.join(folder, "pool"), *TRANSFER_ONLY) as server:
        with Agent(server.port, wire.make_key(folder, "other"), server.token(),
                   [(len(image), len(image), "sda", "S1"), (CHUNK, 0, "sdb", "S2")], "other",
                   b'{"hostname": "other"}') as agent:
            check(agent.send_disk(image) == len(image), "not all was wanted")
            check(agent.send_disk(bytes(CHUNK), 1) <= CHUNK, "?")
            check(agent.finish()[0] == 0, "the first STAGE is not 'received'")
            while True:
                kind, payload = agent.control.receive()
                if kind == "RESULT":
                    break
                check(kind == "STAGE", "%s after FINISH" % kind)
            check(payload[0] == 0, "result %d: %s" % (payload[0], wire.take_text(payload, 1)))
        raw = os.path.join(folder, "raw")
        run("qemu-img", "convert", "-O", "raw", os.path.join(server.pool, "other/disk0.qcow2"), raw)
        check(read(raw) == image, "the copy is another")


TESTS = {"other-agent": test_other_agent, "pin": test_pin, "tokens": test_tokens,
         "handshakes": test_handshakes, "before-admission": test_before_admission,
         "machines": test_machines, "disks": test_disks, "replays": test_replays,
         "poison": test_poison, "floods": test_floods}

if __name__ == "__main__":
    skip_if(missing("openssl", "zstd", "sfdisk", "mke2fs", "qemu-img"))
    sys.exit(main(TESTS, sys.argv[1:]))
