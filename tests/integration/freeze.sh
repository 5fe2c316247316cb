#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Freezing for real, on an ext4 and a FAT of its own in a loop device: whoever writes waits, the map
# of the frozen file system is certain, and it is thawed at the end, when the time is over, when the
# freezing program is killed, and when its watchdog is.
set -u
cd "$(dirname "$0")/../.." || exit
[ "$(id -u)" -eq 0 ] || { echo "SKIP: needs root"; exit 77; }
for need in losetup partx mkfs.ext4 mkfs.vfat sfdisk mount dumpe2fs pgrep; do
    command -v $need >/dev/null || { echo "SKIP: $need is not installed"; exit 77; }
done
make -s build/tools/freezetool || exit 1
tool=$PWD/build/tools/freezetool
work=$(mktemp -d)
# shellcheck source=tests/lib/checks.sh
. tests/lib/checks.sh
# shellcheck source=tests/lib/loops.sh
. tests/lib/loops.sh
cleanup() {
    exec 3>&- 2>/dev/null
    umount "$work/efi" "$work/root" 2>/dev/null
    loop_drop
    rm -rf "$work"
}
trap cleanup EXIT

# --- a disk of two partitions, both mounted ------------------------------------------------------

truncate -s 256M "$work/disk"
printf 'label: gpt\nsize=32M, type=U\nsize=192M, type=L\n' | sfdisk -q "$work/disk" || exit 1
loop_disk "$work/disk" 2
mkfs.vfat "${loop}p1" >/dev/null && mkfs.ext4 -q "${loop}p2" || exit 1
mkdir "$work/root" "$work/efi"
mount "${loop}p2" "$work/root" || { echo "SKIP: ext4 cannot be mounted"; exit 77; }
has_fat=1
mount "${loop}p1" "$work/efi" 2>/dev/null || has_fat=0

# start SECONDS: freezes; descriptor 3 keeps it going, $out has what it says, $pid who it is.
start() {
    rm -f "$work/in"
    mkfifo "$work/in"
    out=$work/out
    "$tool" "$loop" "$1" <"$work/in" >"$out" 2>&1 &
    pid=$!
    exec 3>"$work/in"
    for _ in $(seq 100); do
        grep -q '^frozen=' "$out" && return
        sleep 0.05
    done
    fail "it does not freeze: $(cat "$out")"
}
finish() {
    exec 3>&-
    wait $pid
}
# True when a write into the file system does not come back within a second. The writer cannot be
# killed while it waits, and is not to hold the pipe open that ends the freeze.
waits() {
    { timeout -s KILL 1 sh -c "echo x >'$work/root/written'" 3>&-; } 2>/dev/null
    [ $? -eq 137 ]
}
flows() { timeout -s KILL 5 sh -c "echo x >'$work/root/written' && sync -f '$work/root'" 3>&-; }

# --- frozen and thawed ---------------------------------------------------------------------------

dd if=/dev/urandom of="$work/root/data" bs=1M count=20 status=none
start 60
says "$out" '^live=1 unknown=0 '
says "$out" '^frozen=1$'
says "$out" '^volume ext4 certain=1 '
check "a write waits while frozen" waits
used=$(sed -n 's/^volume ext4 .*used=//p' "$out")
check "the map has the 20 MiB just written, and not the whole" \
    test "$used" -gt 20971520 -a "$used" -lt 100663296
finish
says "$out" '^intact=1$'
check "writes go on after the end" flows

# --- the time limit ------------------------------------------------------------------------------

start 1
sleep 2
check "the time limit thaws" flows
finish
says "$out" '^intact=0$'
says "$out" 'thawed before the copy was complete'

# --- killed --------------------------------------------------------------------------------------

start 60
check "a write waits" waits
kill -9 $pid
wait $pid 2>/dev/null
exec 3>&-
sleep 0.3
check "killing the program thaws" flows

start 60
watchdog=$(pgrep -P $pid | head -n 1)
check "there is a watchdog" test -n "$watchdog"
kill -9 "$watchdog"
finish
check "the program thaws when its watchdog was killed" flows
says "$out" '^intact=0$'

# --- a file system that cannot be frozen ---------------------------------------------------------

if [ $has_fat -eq 1 ]; then
    start 60
    says "$out" '^frozen=1$'
    echo changed >"$work/efi/file" && sync -f "$work/efi"
    finish
    says "$out" '^log .*vfat.*was written to: not consistent'
    says "$out" '^intact=0$'
else
    echo "NOTE: FAT cannot be mounted here: not tested"
fi

# --- frozen by somebody else ---------------------------------------------------------------------

if command -v fsfreeze >/dev/null; then
    fsfreeze -f "$work/root"
    start 60
    says "$out" '^frozen=1$'
    finish
    check "what somebody else froze is left so" waits
    fsfreeze -u "$work/root"
    check "and they thaw it" flows
fi

echo "$passed checks passed, $failed failed"
[ $failed -eq 0 ]
