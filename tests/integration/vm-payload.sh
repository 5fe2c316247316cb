#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# rehost-vm with payloads of a few instructions, in place of a firmware or as a boot sector behind
# SeaBIOS. A /dev/kvm that interprets is enough for these.

set -eu
cd "$(dirname "$0")/../.."
vm=$PWD/${BUILD:-build}/rehost-vm
payloads=$PWD/tests/fixtures/payloads
for tool in as ld qemu-img; do
    command -v $tool >/dev/null || { echo "skip: no $tool"; exit 77; }
done
[ -w /dev/kvm ] || { echo "skip: no /dev/kvm that can be opened"; exit 77; }
[ -x "$vm" ] || make -s "${vm#"$PWD"/}"
# It drops its privileges, and a snapshot is made before that: anybody's folder.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
failures=0

fail() { echo "FAIL: $*"; failures=$((failures + 1)); }

# assemble NAME ADDRESS: NAME.bin, as it lies at that address.
assemble() {
    as --32 -o "$1.o" "$payloads/$1.s"
    ld -m elf_i386 -e 0 -Ttext "$2" --oformat binary -o "$1.bin" "$1.o"
}

# firmware NAME: NAME.rom, of a size that firmware has.
firmware() {
    assemble "$1" 0
    { head -c 65536 /dev/zero; cat "$1.bin"; } >"$1.rom"
}

# runs NAME STATUS TEXT OPTION...: rehost-vm ends with the status; its output has the text.
runs() {
    local name=$1 status=$2 text=$3 result=0
    shift 3
    timeout 60 "$vm" -v --test-exit --network none "$@" </dev/null >out 2>log || result=$?
    [ "$result" = "$status" ] || { fail "$name: status $result, not $status"; tail -5 log; }
    [ -z "$text" ] || tr -d '\r\n' <out | grep -qF -- "$text" ||
        { fail "$name: no '$text'"; tr -d '\r' <out; }
}

definition() {
    cat <<END
{"rehost_guest": 1, "name": "payload", "uuid": "00000000-0000-4000-8000-000000000001",
 "arch": "x86_64", "firmware": {"type": "bios"},
 "cpu": {"sockets": 1, "cores": 1, "threads": 1}, "memory_bytes": 134217728, "clock": "utc",
 "disks": [{"path": "$1", "format": "$2", "size_bytes": 4194304, "bus": "virtio-blk",
            "boot_order": 1 ${3:+, \"backing\": \"$3\"}}],
 "nics": [], "console": "serial", "os": {"type": "linux"}}
END
}

firmware hello
firmware resets
firmware second-cpu
runs 'a firmware of our own' 7 'hello from the firmware' --bios hello.rom --memory 64M
runs 'resets' 6 123456 --bios resets.rom --memory 64M --cpus 2
grep -q 'triple fault' log || fail 'resets: the log does not tell of the triple fault'
runs 'a second CPU' 42 2 --bios second-cpu.rom --memory 64M --cpus 2

# Every port and BAR offset at every width, hostile queues, a second CPU that races: no harm.
firmware hostile
truncate -s 4M hostile.raw
definition hostile.raw raw | sed 's/"cores": 1/"cores": 2/' >hostile.json
runs 'a hostile payload' 11 'still here' --bios hostile.rom hostile.json
grep -q 'broke queue' log || fail 'a hostile payload: the log does not tell of the broken queue'
cmp -s -n 4194304 hostile.raw /dev/zero || fail 'a hostile payload wrote to the disk'

assemble boot-sector 0x7c00
truncate -s 4M boot-sector.bin
definition boot-sector.bin raw >raw.json
# The serial console holds back what is on its screen's line, so the text comes in pieces.
runs 'a boot sector behind SeaBIOS' 9 'rom the second sector' raw.json
qemu-img convert -q -O qcow2 boot-sector.bin disk.qcow2
definition disk.qcow2 qcow2 >qcow2.json
before=$(sha256sum <disk.qcow2)
runs 'a snapshot of qcow2' 9 'rom the second sector' --snapshot qcow2.json
[ "$before" = "$(sha256sum <disk.qcow2)" ] || fail 'a snapshot changed its image'

# What a header names is not followed unless the definition names it too.
qemu-img create -q -f qcow2 -b disk.qcow2 -F qcow2 overlay.qcow2
definition overlay.qcow2 qcow2 >unpinned.json
runs 'a backing file that the definition does not name' 1 '' unpinned.json
grep -q 'backing' log || fail "the refusal does not name the backing file: $(cat log)"
definition overlay.qcow2 qcow2 disk.qcow2 >pinned.json
runs 'a backing file that it names' 9 'rom the second sector' pinned.json

# Locked: two machines never share a disk.
mkfifo held
"$vm" --network none raw.json <held >/dev/null 2>&1 &
first=$!
exec 9>held
sleep 1
runs 'a disk in use' 1 '' raw.json
grep -q 'another program is using it' log || fail "a disk in use: $(cat log)"
kill -TERM $first
result=0
wait $first || result=$?
exec 9>&-
[ "$result" = 130 ] || fail "SIGTERM: status $result, not 130"

# On a terminal ^C is the guest's, ^] ends it, and the terminal is as it was.
cat >on-terminal.py <<'END'
import os, pty, select, sys, termios
master, slave = pty.openpty()
before = termios.tcgetattr(slave)
child = os.fork()
if child == 0:
    os.setsid()
    for fd in (0, 1, 2):
        os.dup2(slave, fd)
    os.execv(sys.argv[1], sys.argv[1:])
def wait_for(text):
    seen = b""
    while text not in seen:
        if not select.select([master], [], [], 20)[0]:
            sys.exit("no %r, only %r" % (text, seen))
        seen += os.read(master, 4096)
wait_for(b".")
if termios.tcgetattr(slave) == before:
    sys.exit("the terminal is not raw")
os.write(master, b"\x03")
if os.waitpid(child, os.WNOHANG) != (0, 0):
    sys.exit("^C ended it")
os.write(master, b"\x1d")
wait_for(b"ended by ^]")
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
if status != 130:
    sys.exit("status %d" % status)
if termios.tcgetattr(slave) != before:
    sys.exit("the terminal was not restored")
END
firmware waiting
python3 on-terminal.py "$vm" --bios waiting.rom --memory 64M >log 2>&1 ||
    fail "on a terminal: $(cat log)"

"$vm" >/dev/null 2>&1 && fail 'no definition was no error'
result=0
"$vm" --memory lots raw.json >/dev/null 2>log || result=$?
[ "$result" = 2 ] || fail "wrong usage: status $result, not 2"
[ "$failures" = 0 ] && echo "ok"
exit "$((failures != 0))"
