#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A running machine: a disk with a mounted ext4 is sent while somebody writes to it. The copy is
# clean to e2fsck, holds one moment of what was written, and the agent's own output into the file
# system that it freezes does not stop it. What changed since is what crosses the next time.
set -u
cd "$(dirname "$0")/../.." || exit
rehost=$PWD/build/rehost agent=$PWD/build/rehost-agent
[ "$(id -u)" -eq 0 ] || { echo "SKIP: needs root"; exit 77; }
for need in losetup partx mkfs.ext4 sfdisk mount e2fsck debugfs qemu-img python3; do
    command -v $need >/dev/null || { echo "SKIP: $need is not installed"; exit 77; }
done
[ -x "$rehost" ] && [ -x "$agent" ] || { echo "build/rehost or build/rehost-agent is not built"; exit 1; }
work=$(mktemp -d)
# shellcheck source=tests/lib/checks.sh
. tests/lib/checks.sh
# shellcheck source=tests/lib/loops.sh
. tests/lib/loops.sh
server='' writer=''
cleanup() {
    touch "$work/stop"
    [ -n "$server" ] && kill "$server" 2>/dev/null
    [ -n "$writer" ] && wait "$writer" 2>/dev/null
    wait 2>/dev/null
    umount "$work/root" 2>/dev/null
    loop_drop
    rm -rf "$work"
}
trap cleanup EXIT

# --- the machine, and who writes on it -----------------------------------------------------------

truncate -s 512M "$work/disk"
printf 'label: gpt\nsize=480M, type=L\n' | sfdisk -q "$work/disk" || exit 1
loop_disk "$work/disk" 1
mkfs.ext4 -q "${loop}p1" || exit 1
mkdir "$work/root"
mount "${loop}p1" "$work/root" || { echo "SKIP: ext4 cannot be mounted"; exit 77; }
dd if=/dev/urandom of="$work/root/data" bs=1M count=40 status=none

# Number after number into two files, each number safe in the first before it is in the second; and
# files that come and go. A copy of one moment has them equal, or the first one ahead by one.
write_on() {
    local i=0
    while [ ! -e "$work/stop" ]; do
        i=$((i + 1))
        printf '%08d\n' $i | dd of="$work/root/first" oflag=append conv=notrunc,fsync status=none
        printf '%08d\n' $i | dd of="$work/root/second" oflag=append conv=notrunc,fsync status=none
        dd if=/dev/urandom of="$work/root/file$((i % 7))" bs=64k count=4 status=none
    done
}
write_on &
writer=$!

"$rehost" serve --pool "$work/pool" --listen 127.0.0.1:0 --no-fix --no-boot-test --print-token \
    >"$work/serve" 2>"$work/serve.err" &
server=$!
for _ in $(seq 100); do grep -q '^token ' "$work/serve" && break; sleep 0.1; done
address=$(sed -n 's/^listening on \(.*\);.*/\1/p' "$work/serve")
pin=$(sed -n 's/^pin //p' "$work/serve")
sed -n 's/^token //p' "$work/serve" >"$work/token"

# send PROGRAM...: its output goes into the file system that it freezes.
send() {
    timeout 120 "$@" --server "$address" --pin "$pin" --state "$work/state" --name live \
        --progress json -v "$loop" >"$work/root/out" 2>"$work/root/err"
}
in_copy() { debugfs -R "cat $1" "$work/volume" 2>/dev/null; }
is_clean() { e2fsck -fn "$work/volume" >"$work/e2fsck" 2>&1 || { cat "$work/e2fsck"; return 1; }; }
judge() { # WHAT
    qemu-img convert -O raw "$work/pool/live/disk0.qcow2" "$work/raw" || fail "$1: no image"
    dd if="$work/raw" of="$work/volume" bs=1M skip=1 count=480 status=none
    check "$1: e2fsck finds the copy clean" is_clean
    local first second
    first=$(in_copy first | tail -n 1) second=$(in_copy second | tail -n 1)
    check "$1: one moment ($first, $second)" test -n "$first" -a "$((10#$first - 10#$second))" -ge 0 \
        -a "$((10#$first - 10#$second))" -le 1
    in_copy data | cmp -s - "$work/root/data" || fail "$1: data differs"
}
source_of() { # KEY: of what the source said in the report
    python3 -c 'import json, sys
print(json.load(open(sys.argv[1]))["source"][sys.argv[2]])' "$work/pool/live/report.json" "$1"
}

# --- sent while it runs --------------------------------------------------------------------------

send "$rehost" send --token-file "$work/token"
check "exit code 0" test $? -eq 0
check "frozen, by the report" test "$(source_of consistency)" = frozen
judge "first"
check "the disk's last line says it is done" grep -q '"phase": "done"' "$work/root/err"
used=$(python3 -c 'import json, sys
print(json.load(open(sys.argv[1]))["disks"][0]["used_bytes"])' "$work/pool/live/inventory.json")
check "a mounted file system's free space is known ($used)" test "$used" -lt 209715200

# --- and again -----------------------------------------------------------------------------------

send "$agent" --final --json
check "exit code 0 again" test $? -eq 0
judge "second"
wire=$(python3 -c 'import json, sys
print(json.load(open(sys.argv[1]))["bytes_on_wire"])' "$work/root/out")
check "only what changed crossed ($wire bytes)" test "$wire" -lt 31457280

touch "$work/stop"
wait $writer
writer=
echo "$passed checks passed, $failed failed"
[ $failed -eq 0 ]
