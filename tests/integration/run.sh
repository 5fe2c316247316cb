#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# rehost run and rehost vm with a machine of one boot sector: in the foreground, detached, snapshots,
# every action, on QEMU's emulation and (where /dev/kvm can be opened at all) on rehost-vm. Whole
# systems are other tests' affair.
set -u
here=$(cd "$(dirname "$0")/../.." && pwd)
rehost=$here/build/rehost
for need in as ld qemu-system-x86_64 python3; do
    command -v $need >/dev/null || { echo "skip: no $need"; exit 77; }
done
work=$(mktemp -d)
export XDG_RUNTIME_DIR=$work/runtime
mkdir -m 700 "$XDG_RUNTIME_DIR"
name=run-test-$$
sockets=/run/rehost
[ "$(id -u)" -eq 0 ] || sockets=$XDG_RUNTIME_DIR/rehost
end() {
    "$rehost" -q vm stop $name >/dev/null 2>&1
    "$rehost" -q vm stop $name-vm >/dev/null 2>&1
    rm -rf "$work" "${sockets:?}/$name"*
}
trap end EXIT
cd "$work" || exit 1
# shellcheck source=tests/lib/checks.sh
. "$here/tests/lib/checks.sh"

chmod 755 "$work"
mkdir machine
as --32 -o echo.o "$here/tests/fixtures/payloads/echo.s" &&
    ld -m elf_i386 -e 0 -Ttext 0 --oformat binary -o machine/disk0.raw echo.o || exit 1
truncate -s 4M machine/disk0.raw
definition() { # NAME FIRMWARE
    cat <<END
{"rehost_guest": 1, "name": "$1", "uuid": "00000000-0000-4000-8000-000000000001",
 "arch": "x86_64", "firmware": {"type": "$2"},
 "cpu": {"sockets": 1, "cores": 1, "threads": 1}, "memory_bytes": 134217728, "clock": "utc",
 "disks": [{"path": "disk0.raw", "format": "raw", "size_bytes": 4194304, "bus": "virtio-blk",
            "boot_order": 1}],
 "nics": [{"mac": "52:54:00:00:00:01", "model": "virtio"}], "console": "serial",
 "os": {"type": "linux"}, "limits": {"disk_operations_per_second": 1000}}
END
}
definition $name bios >machine/guest.json

# on_terminal STATUS TEXT... -- COMMAND...: types each TEXT after what it has to see before it
# ("see:type"), on a terminal; the command must end with STATUS.
cat >on-terminal.py <<'END'
import os, pty, select, sys, termios, time
at = sys.argv.index("--")
wanted, steps, command = int(sys.argv[1]), sys.argv[2:at], sys.argv[at + 1:]
child, master = pty.fork()
if child == 0:
    os.execv(command[0], command)
seen = b""
for step in steps:
    see, _, keys = step.partition(":")
    deadline = time.monotonic() + 90
    while see.encode() not in seen:
        if time.monotonic() > deadline or not select.select([master], [], [], 90)[0]:
            sys.exit("no %r in %r" % (see, seen))
        try:
            seen += os.read(master, 4096)
        except OSError:
            sys.exit("it ended before %r: %r" % (see, seen))
    os.write(master, keys.encode().decode("unicode_escape").encode())
while True:
    if not select.select([master], [], [], 90)[0]:
        sys.exit("it does not end: %r" % seen)
    try:
        if not os.read(master, 4096):
            break
    except OSError:
        break
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
if status != wanted:
    sys.exit("status %d, not %d: %r" % (status, wanted, seen))
END
on_terminal() {
    local what="$1"
    shift
    if python3 on-terminal.py "$@" >log 2>&1; then passed=$((passed + 1)); else fail "$what: $(cat log)"; fi
}
state() { "$rehost" vm list --json | jq -r ".[] | select(.name == \"$1\") | .state"; }

# --- wrong usage ---------------------------------------------------------------------------------

status 2 run
status 2 run machine --hypervisor xen
status 1 run nowhere && says err 'nowhere'
status 2 vm
status 2 vm dance $name
status 2 vm pause
status 2 vm pause ../evil
status 1 vm pause $name && says err 'no machine of this name runs'
mkdir broken && echo '{"rehost_guest": 1, "surprise": true}' >broken/guest.json
status 1 run broken && says err 'surprise'

# --- QEMU, in the foreground ---------------------------------------------------------------------

before=$(sha256sum <machine/disk0.raw)
on_terminal 'typing, then off' 0 'ready:abc' 'abc:q' -- \
    "$rehost" run --hypervisor qemu --network none machine
on_terminal '^] ends it' 130 'ready:\x1d' -- \
    "$rehost" run --hypervisor qemu --network none --snapshot machine
same 'the disk after a snapshot' "$before" "$(sha256sum <machine/disk0.raw)"

# --- QEMU, detached ------------------------------------------------------------------------------

status 0 run --detach --hypervisor qemu machine && says out "$name runs"
same 'it runs' "$(state $name)" running
status 1 run --detach --hypervisor qemu machine && says err 'runs already'
for action in pause resume; do status 0 vm $action $name; done
same 'resumed' "$(state $name)" running
status 0 vm stats $name && says out 'program +qemu'
status 1 vm limits $name --cpu 50 && says err 'cannot change limits'
(sleep 3 && "$rehost" vm reset $name) &
on_terminal 'the console, a reset, left by ^]' 0 'ready:xyz' 'xyz:\x1d' -- "$rehost" vm console $name
wait $!
same 'still there' "$(state $name)" running
status 0 vm stop $name
for _ in $(seq 50); do [ -n "$(state $name)" ] || break; sleep 0.1; done
same 'gone' "$(state $name)" ''

# What keeps it from starting is told.
definition $name bios | sed 's/disk0.raw/missing.raw/' >machine/other.json
status 1 run --detach --hypervisor qemu machine/other.json && says err 'did not start: .*missing.raw'

# --- which program -------------------------------------------------------------------------------

definition $name uefi >machine/uefi.json
status 1 run --hypervisor rehost-vm machine/uefi.json && says err 'rehost-vm cannot run it: it starts by UEFI'

# --- rehost-vm -----------------------------------------------------------------------------------

if [ -w /dev/kvm ]; then
    name2=$name-vm
    [ -d "$sockets" ] || mkdir -m 700 "$sockets"
    definition $name2 bios >machine/guest.json
    timeout 300 "$here/build/rehost-vm" --network none --control "$sockets/$name2.sock" --detached \
        machine </dev/null >vm.log 2>&1 &
    vm=$!
    for _ in $(seq 100); do [ -n "$(state $name2)" ] && break; sleep 0.1; done
    same 'rehost-vm runs' "$(state $name2)" running
    status 0 vm pause $name2
    same 'rehost-vm is paused' "$(state $name2)" paused
    status 0 vm resume $name2
    status 0 vm limits $name2 --cpu 90 --disk 10M --operations 0
    status 1 vm limits $name2 --net many && says err "'many' is no number"
    status 0 vm stats $name2 --json
    same 'its memory' "$(jq .memory_bytes out)" 134217728
    # SeaBIOS holds the first letter back, where its own line ends.
    on_terminal 'its console' 0 'eady:abc' 'abc:\x1d' -- "$rehost" vm console $name2
    same 'it read its disk' "$("$rehost" vm stats $name2 --json | jq '.disks[0].read_requests > 0')" true
    on_terminal 'off by the guest' 0 'abc:q' -- "$rehost" vm console $name2
    code=0
    wait $vm || code=$?
    same 'its status' $code 0
    same 'rehost-vm is gone' "$(state $name2)" ''
    [ ! -e "$sockets/$name2.sock" ] || fail 'the dead socket is still there'
else
    echo "without rehost-vm: /dev/kvm cannot be opened"
fi

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
