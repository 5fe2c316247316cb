# SPDX-License-Identifier: GPL-2.0-or-later
"""Another agent, written from docs/wire.md alone: for tests that send what ours never would, and to
show that the description suffices.
"""

import hashlib
import os
import socket
import ssl
import struct
import subprocess
import time

CHUNK = 65536
TYPES = ("HELLO WELCOME TOKEN ADMITTED MACHINE SESSION DISK READY RUN OFFER WANT DATA SAFE PASS "
         "PASSED FINISH STAGE RESULT PAUSE RESUME PING PONG ERROR STATUS").split()
NUMBER = {name: i + 1 for i, name in enumerate(TYPES)}
SKIPPED, ZERO, DATA_STATE, UNREADABLE = range(4)
NO_SESSION = bytes(16)


class Ended(Exception):
    """The server ended the connection: with an ERROR (code and text) or without a word."""

    def __init__(self, code=None, text=""):
        super().__init__("ERROR %s: %s" % (code, text) if code else "ended: %s" % text)
        self.code = code
        self.text = text


def make_key(folder, name):
    """A fresh Ed25519 key in a self-signed certificate: an agent's identity."""
    path = os.path.join(folder, name + ".pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=" + name,
                    "-days", "2", "-keyout", path + ".key", "-out", path], check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return path


def text(string):
    data = string if isinstance(string, bytes) else string.encode()
    return struct.pack("<H", len(data)) + data


def take_text(payload, offset=0):
    length, = struct.unpack_from("<H", payload, offset)
    return payload[offset + 2:offset + 2 + length].decode("utf-8", "replace")


def frame(name, payload=b""):
    kind = NUMBER[name] if isinstance(name, str) else name
    return struct.pack("<IB3x", len(payload), kind) + payload


class Link:
    """One connection: TLS 1.3, ALPN, a client's certificate, frames."""

    def __init__(self, port, key, host="127.0.0.1", timeout=12):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols(["rehost/1"])
        if key:
            context.load_cert_chain(key, key + ".key")
        raw = socket.create_connection((host, port), timeout=timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.socket = context.wrap_socket(raw)
        except (ssl.SSLError, OSError) as e:
            raw.close()
            raise Ended(text=str(e)) from None
        self.buffer = b""
        self.timeout = timeout

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def close(self):
        self.socket.close()

    def send_raw(self, data):
        try:
            self.socket.sendall(data)
        except (ssl.SSLError, OSError) as e:
            raise self._why(e) from None

    def _why(self, error):
        """What the server said before it ended the connection, if it still can be read."""
        try:
            while True:
                self.receive()
        except Ended as e:
            return e if e.code else Ended(text=str(error))

    def send(self, name, payload=b""):
        self.send_raw(frame(name, payload))

    def _read(self, length):
        while len(self.buffer) < length:
            try:
                data = self.socket.recv(1 << 20)
            except socket.timeout:
                raise Ended(text="the server is silent") from None
            except (ssl.SSLError, OSError) as e:
                raise Ended(text=str(e)) from None
            if not data:
                raise Ended(text="closed")
            self.buffer += data
        data, self.buffer = self.buffer[:length], self.buffer[length:]
        return data

    def receive(self):
        """(name, payload) of the next frame that is not PING or PONG."""
        deadline = time.monotonic() + self.timeout
        while time.monotonic() < deadline:
            length, kind = struct.unpack("<IB3x", self._read(8))
            payload = self._read(length)
            name = TYPES[kind - 1]
            if name == "PING":
                self.send("PONG")
            elif name == "ERROR":
                raise Ended(struct.unpack_from("<H", payload)[0], take_text(payload, 2))
            elif name != "PONG":
                return name, payload
        raise Ended(text="the server is silent")

    def expect(self, name):
        while True:
            got, payload = self.receive()
            if got == name:
                return payload
            if got not in ("SAFE", "PAUSE", "RESUME", "STAGE"):
                raise AssertionError("%s came instead of %s" % (got, name))


def hello(role=0, session=NO_SESSION, version=1, magic=b"RHST", program=b"phony 1"):
    return magic + struct.pack("<HB6x", version, role) + session + program


def machine(disks, name="", inventory=b"{}"):
    """disks: (size, used, name, serial)"""
    payload = struct.pack("<H", len(disks))
    for size, used, disk, serial in disks:
        payload += struct.pack("<QIQ", size, 512, used) + text(disk) + text(serial)
    return payload + text(name) + struct.pack("<I", len(inventory)) + inventory


def data_frame(sequence, first, parts, encoding=0, lengths=None, count=None):
    lengths = [len(p) for p in parts] if lengths is None else lengths
    payload = struct.pack("<QQHBx", sequence, first, len(parts) if count is None else count, encoding)
    return payload + b"".join(struct.pack("<I", n) for n in lengths) + b"".join(parts)


def offer_frame(sequence, first, names, count=None):
    return struct.pack("<QQH", sequence, first, len(names) if count is None else count) + \
        b"".join(names)


def run_frame(sequence, first, count, state):
    return struct.pack("<QQQB", sequence, first, count, state)


def chunk_name(data):
    return hashlib.sha256(data).digest()


def term(index, state, name=bytes(32)):
    return int.from_bytes(hashlib.sha256(struct.pack("<QB", index, state) + name).digest(), "little")


def digest_of(terms):
    return (sum(terms) % (1 << 256)).to_bytes(32, "little")


class Agent:
    """A control connection, admitted, with its machine announced."""

    def __init__(self, port, key, token=None, disks=(), name="", inventory=b"{}"):
        self.port, self.key = port, key
        self.control = Link(port, key)
        self.control.send("HELLO", hello())
        self.welcome = self.control.expect("WELCOME")
        if self.welcome[2] == 1:
            if token is not None:
                self.control.send("TOKEN", token.encode())
            self.admitted = self.control.expect("ADMITTED")
        self.session = None
        if disks:
            self.control.send("MACHINE", machine(disks, name, inventory))
            payload = self.control.expect("SESSION")
            self.session, self.name = payload[:16], take_text(payload, 16)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.control.close()

    def disk(self, number=0, number_of_pass=0, session=None):
        """A disk connection, ready for its first frame."""
        link = Link(self.port, self.key)
        link.send("HELLO", hello(1, session or self.session))
        link.expect("WELCOME")
        link.send("DISK", struct.pack("<HI", number, number_of_pass))
        link.expect("READY")
        return link

    def send_disk(self, image, number=0, is_last=True):
        """A whole pass over a small disk. Returns the bytes of content that the server wanted."""
        chunks = [image[i:i + CHUNK] for i in range(0, len(image), CHUNK)]
        terms, sent, sequence = [], 0, 0
        with self.disk(number) as link:
            for first in range(0, len(chunks), 16):
                batch = chunks[first:first + 16]
                names = [chunk_name(c) for c in batch]
                terms += [term(first + i, DATA_STATE, n) for i, n in enumerate(names)]
                link.send("OFFER", offer_frame(sequence, first, names))
                want = link.expect("WANT")
                wanted = [i for i in range(len(batch)) if want[10 + i // 8] >> (i % 8) & 1]
                for i in wanted:
                    link.send("DATA", data_frame(sequence, first + i, [batch[i]]))
                    sent += len(batch[i])
                sequence += 1
            link.send("PASS", struct.pack("<IB", 0, is_last) + digest_of(terms))
            passed = link.expect("PASSED")
            if passed[4] != 0 or passed[5:] != digest_of(terms):
                raise AssertionError("the server's digest is another: %s" % passed.hex())
        return sent

    def finish(self, report=b"{}"):
        self.control.send("FINISH", struct.pack("<BBI", 0, 0, len(report)) + report)
        _, payload = self.control.receive()
        return payload
