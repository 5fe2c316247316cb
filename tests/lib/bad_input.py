# SPDX-License-Identifier: GPL-2.0-or-later
"""Bad input: whatever lies in the images, on the target or in the timing, `rehost convert` ends
soon, with one clear line and the right exit code, nothing half-made under the final name and the
source's bytes as they were. Where a lying header is taken, no used byte is lost to the lie.
"""

import concurrent.futures
import functools
import hashlib
import itertools
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from server_test import (REHOST, ROOT, Failure, check, free_ranges, missing,  # noqa: E402
                         partitions, run, say, skip_if)

MIB = 1 << 20
SECTOR = 512
LIMIT_SECONDS = 30
LIMIT_MEMORY = 2 << 30
OK, FAILED, USAGE, WARNINGS, NO_SPACE = 0, 1, 2, 3, 6

scratch = None
memory = None  # a folder where fsync costs nothing, for hundreds of small runs


def path(name):
    return os.path.join(scratch, name)


def read(name):
    with open(name, "rb") as f:
        return f.read()


def write(name, data):
    with open(name, "wb") as f:
        f.write(data)
    return name


def digest(name):
    h = hashlib.sha256()
    with open(name, "rb") as f:
        while block := f.read(4 * MIB):
            h.update(block)
    return h.digest()


# --- one run ---------------------------------------------------------------------------------

# Bounded memory: a lie must not make us allocate what it says.
BOUNDED = ("prlimit", "--core=0", "--as=%d" % LIMIT_MEMORY)
COPY_ONLY = ("--no-fix", "--no-boot-test", "--format", "raw")


def convert(what, source, target, *options, codes=(FAILED,), seconds=LIMIT_SECONDS, bounded=True,
            says=None, quiet=True):
    """Runs it and checks what holds for every outcome. Returns the exit code."""
    options = (*options, "--progress", "none", *(("-q",) if quiet else ()))
    before = digest(source) if os.path.isfile(source) else None
    try:
        done = subprocess.run([*(BOUNDED if bounded else ()), REHOST, "convert", source, "-o",
                               target, *options],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, errors="replace",
                              timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Failure("%s: not done in %d s" % (what, seconds)) from None
    code, text = done.returncode, done.stderr.rstrip("\n")
    check(code in codes, "%s: exit status %d, not %s:\n%s" % (what, code, codes, text[-2000:]))
    lines = text.splitlines()
    check(all(l.isprintable() for l in lines), "%s: unprintable bytes in %r" % (what, text))
    check(all(l.startswith("rehost: ") for l in lines), "%s: odd lines: %r" % (what, text))
    if code not in (OK, WARNINGS):
        check(len(lines) == 1 or not quiet and lines, "%s: not one clear line: %r" % (what, text))
    if code == WARNINGS and not quiet:
        check(any("warning" in l for l in lines), "%s: status 3 without a word" % what)
    check(not says or re.search(says, text), "%s: no %r in %r" % (what, says, text))
    check(before is None or digest(source) == before, "%s: the source changed" % what)
    check(not os.path.exists(target + ".partial"), "%s: %s.partial was left" % (what, target))
    return code


def refused(what, source, *options, codes=(FAILED,), says=None, **keywords):
    target = path("out")
    convert(what, source, target, *options, codes=codes, says=says, **keywords)
    check(not os.path.lexists(target), "%s: something is under the final name" % what)


def tell(title, cases):
    """taken_or_refused for all of them, a few at a time."""
    failures, count = [], 0

    def one(case):
        try:
            taken_or_refused(*case)
        except Failure as e:
            failures.append(str(e))

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        while batch := list(itertools.islice(cases, 16)):
            list(pool.map(one, batch))
            count += len(batch)
    check(not failures, "%s: %d of %d lies went wrong:\n  %s" %
          (title, len(failures), count, "\n  ".join(failures[:20])))
    say("%s: %d lies" % (title, count))


def copied(folder, number=0):
    guest = json.loads(read(os.path.join(folder, "guest.json")))
    return os.path.join(folder, guest["disks"][number]["path"])


def taken_or_refused(what, image, kept, reference=None):
    """A lie is either refused, or no byte of `kept` is lost to it: ranges used in truth, or what
    finds them in the image."""
    name = os.path.join(memory, "lie.%d" % threading.get_ident())
    source, target = write(name, image), name + ".out"
    if callable(kept):
        kept = kept(source)
    code = convert(what, source, target, *COPY_ONLY, codes=(OK, FAILED, WARNINGS))
    if code == FAILED:
        check(not os.path.lexists(target), "%s: something is under the final name" % what)
        return code
    out = read(copied(target))
    shutil.rmtree(target)
    truth = image if reference is None else reference
    if reference is None:
        check(len(out) == len(image), "%s: %d bytes became %d" % (what, len(image), len(out)))
    for start, end in kept:
        check(out[start:end] == truth[start:end], "%s: used bytes between 0x%x and 0x%x are lost" %
              (what, start, end))
    return code


# --- images ----------------------------------------------------------------------------------

def noise(size, seed):
    source = random.Random(seed)
    return b"".join(source.randbytes(min(64 * MIB, size - at)) for at in range(0, size, 64 * MIB))


def make_tree(folder, megabytes):
    os.makedirs(os.path.join(folder, "srv"))
    for i in range(megabytes):
        write(os.path.join(folder, "srv", "file%d" % i), noise(MIB, i))
    return folder


def make_disk(name, size, script, ext4, swap, tree):
    """A disk whose every byte was something else before: 'unused' can be told from 'zero'."""
    image = write(path(name), noise(size, name))
    subprocess.run(["sfdisk", "-q", image], input=script, text=True, check=True,
                   stderr=subprocess.DEVNULL)
    parts = partitions(image)
    for number in ext4:
        start, length, _ = parts[number]
        run("mke2fs", "-q", "-F", "-t", "ext4", "-d", tree, "-E",
            "offset=%d,nodiscard,lazy_itable_init=0" % start, image, "%dk" % (length // 1024))
    for number in swap:
        start, length, _ = parts[number]
        page = bytearray(4096)
        struct.pack_into("<III", page, 1024, 1, length // 4096 - 1, 0)
        page[1036:1052] = noise(16, "uuid")
        page[4086:] = b"SWAPSPACE2"
        with open(image, "r+b") as f:
            f.seek(start)
            f.write(page)
    kept = {number: used_ranges(image, parts[number], number in ext4, number in swap)
            for number, part in parts.items() if part[2] != "5"}
    return image, kept, parts


def used_ranges(image, part, is_ext4, is_swap):
    """What of a partition has to travel."""
    start, length, _ = part
    if is_swap:
        return [(start, start + 4096)]
    if not is_ext4:
        return [(start, start + length)]
    kept, position = [], start
    for free, end in free_ranges(image, start) + [(start + length, 0)]:
        kept.append((position, free))
        position = end
    return kept


def everything(kept):
    return [r for ranges in kept.values() for r in ranges]


def still_there(image, kept, parts):
    """The used ranges of the partitions that another reader finds where they were."""
    try:
        found = partitions(image)
    except (Failure, KeyError, ValueError):
        return [(0, 440)]
    ranges = [(0, 440)]
    for number, (start, length, _) in found.items():
        for was, (old_start, old_length, _) in parts.items():
            if (start, length) == (old_start, old_length):
                ranges += kept.get(was, [])
    return ranges


GPT = """label: gpt
size=1MiB, type=21686148-6449-6E6F-744E-656564454649
size=16MiB, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4
size=4MiB, type=0657FD6D-A4AB-43C4-84E5-0933C84B4F4F
"""

MBR = """label: dos
1: start=2048, size=7MiB, type=83, bootable
2: type=5
5: size=7MiB, type=83
6: type=82
"""


# --- lies ------------------------------------------------------------------------------------

def values(size, now):
    top = (1 << 8 * size) - 1
    return sorted({0, top, top >> 1, (now + 1) & top, (now * 2) & top} - {now})


def lies(image, fields, base, finish=None):
    """(what, image) for every field and odd value; `finish` makes checksums right again."""
    for name, (offset, size) in fields.items():
        now = int.from_bytes(image[base + offset:base + offset + size], "little")
        for value in values(size, now):
            lie = bytearray(image)
            lie[base + offset:base + offset + size] = value.to_bytes(size, "little")
            if finish:
                finish(lie)
            yield "%s = 0x%x" % (name, value), bytes(lie)


def mbr_lies(disk):
    image_path, kept, parts = disk
    image = read(image_path)
    entry = {"status": (0, 1), "first CHS": (1, 2), "type": (4, 1), "last CHS": (5, 2),
             "start": (8, 4), "size": (12, 4)}
    ebr = struct.unpack_from("<I", image, 446 + 16 + 8)[0] * SECTOR
    for label, base in (("MBR", 0), ("EBR", ebr)):
        for number in (0, 1):
            for what, lie in lies(image, entry, base + 446 + 16 * number):
                # sfdisk follows an empty link; the kernel, whose word counts, does not.
                seen = {} if what == "size = 0x0" else kept
                yield ("%s entry %d: %s" % (label, number + 1, what), lie,
                       functools.partial(still_there, kept=seen, parts=parts))
        for what, lie in lies(image, {"signature": (510, 2)}, base):
            yield ("%s %s" % (label, what), lie,
                   functools.partial(still_there, kept=kept, parts=parts))


def test_cyclic_ebr(disk):
    image_path, kept, parts = disk
    image = read(image_path)
    ebr = struct.unpack_from("<I", image, 446 + 16 + 8)[0] * SECTOR
    # The link of the first EBR, relative to the extended partition: to itself.
    loop = bytearray(image)
    loop[ebr + 446 + 16:ebr + 446 + 32] = struct.pack("<B3sB3sII", 0, b"", 5, b"", 0, 8)
    taken_or_refused("an EBR that is its own successor", bytes(loop), kept[1])
    second = ebr + struct.unpack_from("<I", image, ebr + 446 + 16 + 8)[0] * SECTOR
    loop = bytearray(image)
    loop[second + 446 + 16:second + 446 + 32] = struct.pack("<B3sB3sII", 0, b"", 5, b"", 0, 8)
    taken_or_refused("two EBRs in a circle", bytes(loop), kept[1])


GPT_HEADER = {"signature": (0, 8), "revision": (8, 4), "header size": (12, 4), "CRC": (16, 4),
              "reserved": (20, 4), "my LBA": (24, 8), "alternate LBA": (32, 8),
              "first usable": (40, 8), "last usable": (48, 8), "entries LBA": (72, 8),
              "entry count": (80, 4), "entry size": (84, 4), "entries CRC": (88, 4)}


def sign_gpt(image, header):
    size = struct.unpack_from("<I", image, header + 12)[0]
    if not 92 <= size <= 512:
        return
    image[header + 16:header + 20] = bytes(4)
    struct.pack_into("<I", image, header + 16, zlib.crc32(image[header:header + size]))


def sign_gpt_entries(image, header):
    lba, count, size = struct.unpack_from("<QII", image, header + 72)
    entries = image[lba * SECTOR:lba * SECTOR + count * size]
    struct.pack_into("<I", image, header + 88, zlib.crc32(entries))
    sign_gpt(image, header)


def gpt_lies(disk):
    image_path, kept, parts = disk
    image = read(image_path)
    first, last = SECTOR, len(image) - SECTOR
    alone = bytearray(image)
    alone[last:last + 8] = b"NOT PART"
    entry = {"first LBA": (32, 8), "last LBA": (40, 8), "attributes": (48, 8), "type": (0, 4)}
    for label, source, fields, base, finish in (
            ("GPT header", image, GPT_HEADER, first, None),
            ("GPT header, CRC right", image, GPT_HEADER, first, lambda i: sign_gpt(i, first)),
            ("only GPT header, CRC right", alone, GPT_HEADER, first, lambda i: sign_gpt(i, first)),
            ("backup GPT header, CRC right", image, GPT_HEADER, last, lambda i: sign_gpt(i, last)),
            ("GPT entry 2, CRCs right", alone, entry, 2 * SECTOR + 128,
             lambda i: sign_gpt_entries(i, first))):
        for what, lie in lies(source, fields, base, finish):
            yield ("%s: %s" % (label, what), lie,
                   functools.partial(still_there, kept=kept, parts=parts))


EXT4_FIELDS = {
    "inodes_count": (0x0, 4), "blocks_count_lo": (0x4, 4), "free_blocks_count_lo": (0xC, 4),
    "first_data_block": (0x14, 4), "log_block_size": (0x18, 4), "log_cluster_size": (0x1C, 4),
    "blocks_per_group": (0x20, 4), "clusters_per_group": (0x24, 4), "inodes_per_group": (0x28, 4),
    "magic": (0x38, 2), "state": (0x3A, 2), "rev_level": (0x4C, 4), "first_ino": (0x54, 4),
    "inode_size": (0x58, 2), "block_group_nr": (0x5A, 2), "feature_compat": (0x5C, 4),
    "feature_incompat": (0x60, 4), "feature_ro_compat": (0x64, 4),
    "reserved_gdt_blocks": (0xCE, 2), "journal_inum": (0xE0, 4), "desc_size": (0xFE, 2),
    "first_meta_bg": (0x104, 4), "blocks_count_hi": (0x150, 4), "flags": (0x160, 4),
    "log_groups_per_flex": (0x174, 1), "checksum_type": (0x175, 1), "backup_bgs": (0x24C, 4),
    "checksum": (0x3FC, 4),
}

CRC32C = []
for n in range(256):
    for _ in range(8):
        n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
    CRC32C.append(n)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC32C[(crc ^ byte) & 0xFF]
    return crc


def ext4_lies(disk):
    image_path, kept, parts = disk
    image = read(image_path)
    superblock = parts[2][0] + 1024

    def sign(lie):
        struct.pack_into("<I", lie, superblock + 0x3FC,
                         crc32c(lie[superblock:superblock + 0x3FC]))

    check(bytes(image) == bytes(signed(image, sign)), "the test's own crc32c is wrong")
    for label, finish in (("ext4", None), ("ext4, checksum right", sign)):
        for what, lie in lies(image, EXT4_FIELDS, superblock, finish):
            yield "%s: %s" % (label, what), lie, everything(kept)


def signed(image, sign):
    copy = bytearray(image)
    sign(copy)
    return copy


QCOW2_FIELDS = {  # big-endian: name, offset, size
    "magic": (0, 4), "version": (4, 4), "backing_file_offset": (8, 8),
    "backing_file_size": (16, 4), "cluster_bits": (20, 4), "size": (24, 8),
    "crypt_method": (32, 4), "l1_size": (36, 4), "l1_table_offset": (40, 8),
    "refcount_table_offset": (48, 8), "refcount_table_clusters": (56, 4), "nb_snapshots": (60, 4),
    "snapshots_offset": (64, 8), "incompatible_features": (72, 8), "compatible_features": (80, 8),
    "autoclear_features": (88, 8), "refcount_order": (96, 4), "header_length": (100, 4),
    "compression_type": (104, 1), "first extension's type": (112, 4),
    "first extension's length": (116, 4),
}


def qcow2_lies(disk):
    """Each header field, then entries of the tables behind it."""
    image_path, kept, _ = disk
    qcow2 = path("good.qcow2")
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", image_path, qcow2)
    image, truth = read(qcow2), read(image_path)
    l1 = struct.unpack_from(">Q", image, 40)[0]
    l2 = struct.unpack_from(">Q", image, l1)[0] & 0x00FFFFFFFFFFFE00
    fields = dict(QCOW2_FIELDS)
    fields.update({"L1 entry 0": (l1, 8), "L2 entry 0": (l2, 8), "L2 entry 100": (l2 + 800, 8)})
    # A changed size, table entry or cluster size describes another disk: there is no truth to
    # compare with, only a process that must not fall over.
    harmless = {"compatible_features", "autoclear_features", "refcount_table_offset",
                "refcount_table_clusters", "nb_snapshots", "snapshots_offset", "refcount_order"}
    for name, (offset, size) in fields.items():
        now = int.from_bytes(image[offset:offset + size], "big")
        for value in values(size, now) + ([1 << 60] if name == "size" else []):
            lie = bytearray(image)
            lie[offset:offset + size] = value.to_bytes(size, "big")
            yield ("qcow2: %s = 0x%x" % (name, value), bytes(lie),
                   everything(kept) if name in harmless else [], truth)
    for name, length in (("half of the file", len(image) // 2), ("its header", 72),
                         ("30 bytes", 30)):
        yield "qcow2: only %s" % name, image[:length], [], truth


# --- plain refusals --------------------------------------------------------------------------

def test_small_things(disk):
    image_path = disk[0]
    refused("an empty file", write(path("empty.img"), b""), *COPY_ONLY)
    refused("a missing file", path("missing.img"), *COPY_ONLY)
    refused("a folder as the source", scratch, *COPY_ONLY, codes=(FAILED, USAGE))
    run(REHOST, "convert", status=USAGE)
    run(REHOST, "convert", image_path, status=USAGE)
    run(REHOST, "convert", image_path, "-o", path("out"), "--no-such-option", status=USAGE)
    run(REHOST, "convert", image_path, "-o", path("out"), "--format", "vhdx2", status=USAGE)
    run(REHOST, "convert", image_path, "-o", path("out"), "--nic", "eth0=01:00:00:00:00:00",
        status=USAGE)
    run(REHOST, "no-such-command", status=USAGE)
    check(not os.path.lexists(path("out")), "wrong usage left something under the final name")


def test_truncated(disk):
    """The table says more than there is: the copy would not boot, and nobody may find out later."""
    image = read(disk[0])
    for name, length in (("half", len(image) // 2), ("all but a sector", len(image) - SECTOR),
                         ("its first sector", SECTOR), ("a byte", 1)):
        source = write(path("cut.img"), image[:length])
        target = path("out")
        code = convert("a raw image cut to %s" % name, source, target, *COPY_ONLY,
                       codes=(FAILED, WARNINGS))
        if code == WARNINGS:
            check(read(copied(target))[:SECTOR] == image[:min(length, SECTOR)],
                  "cut to %s: not even the first sector" % name)
            shutil.rmtree(target)
        check(not os.path.lexists(target), "something is under the final name")


def test_huge(disk):
    qcow2 = path("huge.qcow2")
    run("qemu-img", "create", "-q", "-f", "qcow2", qcow2, "1M")
    image = bytearray(read(qcow2))
    struct.pack_into(">Q", image, 24, 1 << 60)
    refused("a virtual size of 1 EiB", write(path("huge.qcow2"), image), *COPY_ONLY)


def test_backing(disk):
    os.makedirs(path("inside"))
    secret = write(path("secret.img"), noise(MIB, "secret"))
    for name, backing in (("absolute", secret), ("by ..", "../secret.img"),
                          ("a device", "/dev/zero"), ("a protocol", "nbd://127.0.0.1/x")):
        overlay = path("inside/overlay.qcow2")
        run("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", backing, overlay,
            "1M")
        refused("a backing file outside its folder: " + name, overlay, *COPY_ONLY, says="backing")
    os.symlink(secret, path("inside/link.img"))
    run("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", "link.img",
        path("inside/overlay.qcow2"), "1M")
    refused("a backing file that is a link out of its folder", path("inside/overlay.qcow2"),
            *COPY_ONLY)


def test_target(disk):
    source = disk[0]
    target = path("there")
    os.makedirs(target)
    write(target + "/precious", b"precious")
    for options in ((), ("--force",)):
        # What is no machine's folder is not replaced, force or not.
        convert("an existing folder %s" % "".join(options), source, target, *COPY_ONLY, *options,
                codes=(FAILED, USAGE))
        check(read(target + "/precious") == b"precious", "an existing folder was touched")
    shutil.rmtree(target)

    # The target is the source's own folder, or the source itself.
    os.makedirs(target)
    inside = shutil.copy(source, target + "/disk0.raw")
    for options in ((), ("--force",)):
        convert("a target that holds the source %s" % "".join(options), inside, target, *COPY_ONLY,
                *options, codes=(FAILED, USAGE))
        check(os.listdir(target) == ["disk0.raw"], "the source's folder is no longer as it was")
        convert("a target that is the source %s" % "".join(options), inside, inside, *COPY_ONLY,
                *options, codes=(FAILED, USAGE))
        check(os.path.isfile(inside), "the source is gone")
    shutil.rmtree(target)

    # A machine's own disk may not be converted onto that machine.
    convert("the first conversion", source, target, *COPY_ONLY, codes=(OK, WARNINGS))
    again = copied(target)
    before = digest(again)
    convert("a machine onto itself, by force", again, target, *COPY_ONLY, "--force",
            codes=(FAILED, USAGE))
    check(digest(again) == before, "a machine was overwritten by itself")
    # Force means a new folder in place of the old machine's.
    convert("no force", source, target, *COPY_ONLY, codes=(FAILED, USAGE))
    convert("force", source, target, *COPY_ONLY, "--force", codes=(OK, WARNINGS))
    shutil.rmtree(target)

    convert("a target in a folder that is not there", source, path("no/such/folder"), *COPY_ONLY,
            codes=(FAILED, USAGE))


def test_full_target(disk):
    if os.geteuid() != 0:
        raise Failure("a full target needs a small tmpfs, and that needs root")
    small = path("small")
    os.makedirs(small)
    run("mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", small)
    try:
        for form in ("raw", "qcow2"):
            convert("a full target, " + form, disk[0], small + "/out", "--no-fix",
                    "--no-boot-test", "--format", form, codes=(NO_SPACE,))
            check(os.listdir(small) == [], "a full target keeps %s" % os.listdir(small))
    finally:
        run("umount", small)


# --- systems that are none, or broken --------------------------------------------------------

def guest_tree(name, release, modules):
    """What inspection looks at, of a Debian that nobody could boot."""
    root = path(name)
    for folder in ("bin", "boot/grub", "dev", "etc/default", "etc/network", "lib/modules",
                   "proc", "root", "run", "sbin", "sys", "tmp", "usr/lib", "var/lib/dpkg"):
        os.makedirs(os.path.join(root, folder))
    files = {"etc/os-release": release, "etc/hostname": "phony\n",
             "etc/fstab": "/dev/sda2 / ext4 defaults 0 1\n",
             "etc/network/interfaces": "auto eth0\niface eth0 inet dhcp\n",
             "var/lib/dpkg/status": "Package: base-files\nStatus: install ok installed\n"
                                    "Version: 12\nArchitecture: amd64\n\n"}
    if modules is not None:
        kernel = "6.1.0-1-amd64"
        base = "lib/modules/%s/" % kernel
        os.makedirs(os.path.join(root, base + "kernel"))
        files.update({base + "modules.builtin": "", base + "modules.order": "",
                      base + "modules.dep": "", base + "modules.builtin.modinfo": "",
                      "etc/debian_version": "12.0\n",
                      "boot/grub/grub.cfg": "menuentry 'x' {\n linux /boot/vmlinuz-%s "
                      "root=/dev/sda2 ro\n initrd /boot/initrd.img-%s\n}\n" % (kernel, kernel),
                      "etc/default/grub": 'GRUB_CMDLINE_LINUX=""\n'})
        write(os.path.join(root, "boot/vmlinuz-" + kernel), noise(MIB, "kernel"))
        archive = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], input=b"etc\n",
                                 cwd=root, stdout=subprocess.PIPE, check=True).stdout
        write(os.path.join(root, "boot/initrd.img-" + kernel), archive)
    for name, text in files.items():
        write(os.path.join(root, name), text.encode())
    return root


def system_disk(name, tree):
    return make_disk(name, 24 * MIB, GPT, (2,), (3,), tree)


def converted(what, disk, says, codes=(WARNINGS,)):
    """Copied faithfully, with a warning, or refused with nothing left."""
    image, kept, _ = disk
    target = path("out")
    code = convert(what, image, target, "--no-boot-test", "--format", "raw", codes=codes, says=says,
                   seconds=240, bounded=False, quiet=False)
    if code == FAILED:
        check(not os.path.lexists(target), "%s: something is under the final name" % what)
        return
    out, truth = read(copied(target)), read(image)
    if what != "no kernel with virtio":  # there fstab may well be fixed
        check(all(out[a:b] == truth[a:b] for a, b in everything(kept)),
              "%s: used bytes are lost" % what)
    check(json.loads(read(target + "/report.json")), "%s: an empty report" % what)
    shutil.rmtree(target)


def test_systems(data_disk):
    converted("an image that is no system disk", data_disk, r"(?i)no (known )?(operating )?system")
    plan9 = guest_tree("plan10", 'ID=plan10\nNAME="Plan 10"\nVERSION_ID=1\n', None)
    converted("an unknown system", system_disk("plan10.img", plan9), r"(?i)plan10|unknown|system")
    debian = 'ID=debian\nNAME="Debian GNU/Linux"\nVERSION_ID="12"\n'
    disk = system_disk("bare.img", guest_tree("bare", debian, ()))
    converted("no kernel with virtio", disk, "virtio", codes=(FAILED, WARNINGS))
    image, _, parts = disk
    # A folder's inode gone, and the flag that the kernel sets when it meets such a thing.
    broken = shutil.copy(image, path("broken.img"))
    run("debugfs", "-w", "-R", "clri /tmp", "%s?offset=%d" % (broken, parts[2][0]))
    run("debugfs", "-w", "-R", "ssv state 2", "%s?offset=%d" % (broken, parts[2][0]))
    refused("a root file system with errors", broken, "--no-boot-test", "--format", "raw",
            seconds=240, bounded=False, says="(?i)error|e2fsck|fsck")


# --- kill ------------------------------------------------------------------------------------

def processes_about(text):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            command = read("/proc/%s/cmdline" % pid)
        except OSError:
            continue
        if text.encode() in command and int(pid) != os.getpid():
            found.append((pid, command.replace(b"\0", b" ").decode(errors="replace")[:200]))
    return found


def kill_after(what, source, options, seconds):
    """True when it was killed and not done already."""
    target = path("killed")
    process = subprocess.Popen([REHOST, "convert", "-q", source, "-o", target, *options],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    time.sleep(seconds)
    was_running = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    if was_running:
        check(not os.path.lexists(target) or os.path.exists(target + "/report.json"),
              "%s: killed after %.2f s, half a machine is under the final name" % (what, seconds))
    deadline = time.monotonic() + 20
    while processes_about(target) and time.monotonic() < deadline:
        time.sleep(0.3)
    check(not processes_about(target), "%s: children live on: %s" %
          (what, processes_about(target)))
    if os.path.lexists(target):
        shutil.rmtree(target)
    return was_running


def test_kill():
    tree = make_tree(path("big"), 300)
    big, kept, _ = make_disk("big.img", 400 * MIB, GPT.replace("16MiB", "360MiB"), (2,), (3,), tree)
    shutil.rmtree(tree)
    before = digest(big)
    begin = time.monotonic()
    target = path("whole")
    convert("the whole copy", big, target, "--no-fix", "--no-boot-test", "--compress",
            codes=(OK, WARNINGS))
    whole = time.monotonic() - begin
    shutil.rmtree(target)
    killed, tries, longest = 0, 0, whole
    while killed < 10:
        tries += 1
        check(tries <= 60, "only %d of %d were killed in time" % (killed, tries))
        if kill_after("copy", big, ("--no-fix", "--no-boot-test", "--compress"),
                      longest * (tries % 8 + 0.5) / 8):
            killed += 1
        else:
            longest *= 0.8  # the first run was not typical
    check(digest(big) == before, "the source changed")
    # What a killed run left behind does not stop the next one.
    target = path("killed")
    convert("after the kills", big, target, *COPY_ONLY, codes=(OK, WARNINGS))
    out = read(copied(target))
    truth = read(big)
    check(all(out[a:b] == truth[a:b] for a, b in everything(kept)),
          "the copy after the kills is wrong")
    shutil.rmtree(target)
    say("killed %d times while copying (%.1f s)" % (killed, whole))
    server = run(os.path.join(ROOT, "tests/fixtures/make-server"),
                 "deb11").splitlines()[-1] + "/disk0.img"
    before = digest(server)
    for seconds in (9, 25):  # while the appliance runs; while fixes are made or the guest boots
        kill_after("fix or boot test", server, (), seconds)
    check(digest(server) == before, "the server's disk changed")
    say("killed while fixing and booting")


def main():
    global scratch, memory
    check(os.access(REHOST, os.X_OK), "build/rehost is not built")
    base = os.environ.get("REHOST_TMPDIR", "/var/tmp")
    scratch = tempfile.mkdtemp(prefix="rehost-bad-input.", dir=base)
    memory = scratch
    if os.access("/dev/shm", os.W_OK):
        memory = tempfile.mkdtemp(prefix="rehost-bad-input.", dir="/dev/shm")
    try:
        return run_tests(sys.argv[1:])
    finally:
        shutil.rmtree(memory, ignore_errors=True)
        shutil.rmtree(scratch, ignore_errors=True)


def run_tests(names):
    tree = make_tree(path("tree"), 3)
    gpt = make_disk("gpt.img", 24 * MIB, GPT, (2,), (3,), tree)
    mbr = make_disk("mbr.img", 20 * MIB, MBR, (1, 5), (6,), tree)
    tests = {
        "small": lambda: test_small_things(gpt), "truncated": lambda: test_truncated(gpt),
        "huge": lambda: test_huge(gpt), "backing": lambda: test_backing(gpt),
        "target": lambda: test_target(gpt), "full": lambda: test_full_target(gpt),
        "mbr": lambda: tell("MBR", mbr_lies(mbr)), "cyclic": lambda: test_cyclic_ebr(mbr),
        "gpt": lambda: tell("GPT", gpt_lies(gpt)), "ext4": lambda: tell("ext4", ext4_lies(gpt)),
        "qcow2": lambda: tell("qcow2", qcow2_lies(gpt)), "kill": test_kill,
        "systems": lambda: test_systems(gpt),
    }
    failures = 0
    for name in names or tests:
        try:
            tests[name]()
            say("%s: ok" % name)
        except Failure as e:
            failures += 1
            say("%s: FAILED: %s" % (name, e))
            for left in ("out", "killed", "there"):
                shutil.rmtree(path(left), ignore_errors=True)
                shutil.rmtree(path(left + ".partial"), ignore_errors=True)
    return 1 if failures else 0


if __name__ == "__main__":
    skip_if(missing(loops="the server's disk and a full target"))
    sys.exit(main())
