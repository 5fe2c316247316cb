#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# rehost finish on a small machine that was received without a network: fixed, described and put in
# its place; updated; ended by kill -9 on the way; an update that does not boot; what is refused.
# The result is compared with the source by qemu-img and e2fsck.
set -eu
cd "$(dirname "$0")/../.."

for tool in qemu-img mkfs.ext4 debugfs e2fsck guestfish jq flock; do
    command -v "$tool" >/dev/null || {
        echo "skipped: $tool is not installed"
        exit 77
    }
done
make --no-print-directory all build/tools/intaketool >/dev/null
rehost=$PWD/build/rehost receive=$PWD/build/tools/intaketool
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() {
    echo "FAIL: $*" >&2
    exit 1
}
expect() { # CODE COMMAND...: its output is in $work/out and $work/err
    local wanted=$1 got=0
    shift
    "$@" >out 2>err || got=$?
    [ "$got" = "$wanted" ] || fail "$*: exit status $got, not $wanted: $(cat out err)"
}
fact() { # FILE FILTER WANTED
    [ "$(jq -c "$2" "$1")" = "$3" ] || fail "$1: $2 is $(jq -c "$2" "$1"), not $3"
}
same() { # the machine's disk reads as the source's
    qemu-img compare -q -f raw -F qcow2 source.img pool/web/disk0.qcow2 || fail "$*: not the same"
    "$rehost" verify -q pool/web >/dev/null || fail "$*: verify"
}
only() { # nothing but a complete machine is in the pool
    [ "$(ls -A pool | tr '\n' ' ')" = ".rehost web " ] || fail "$*: $(ls -A pool)"
    [ "$(ls -A pool/web | tr '\n' ' ')" = \
        "disk0.manifest disk0.qcow2 guest.json inventory.json report.json " ] ||
        fail "$*: $(ls -A pool/web)"
}

# --- a small machine: just what inspection takes for a Linux ------------------------------------

mkdir -p tree/etc/network tree/boot tree/lib/modules/6.1.0-9-amd64 tree/var/lib tree/usr
printf 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n' \
    >tree/etc/os-release
printf '/dev/sda / ext4 errors=remount-ro 0 1\n' >tree/etc/fstab
printf 'auto lo eno1\niface lo inet loopback\niface eno1 inet dhcp\n' >tree/etc/network/interfaces
echo web >tree/etc/hostname
echo 0123456789abcdef0123456789abcdef >tree/etc/machine-id
head -c 300000 /dev/urandom >tree/boot/vmlinuz-6.1.0-9-amd64
printf 'kernel/drivers/virtio/virtio.ko\n' >tree/lib/modules/6.1.0-9-amd64/modules.builtin
: >tree/lib/modules/6.1.0-9-amd64/modules.dep
truncate -s 200M source.img
mkfs.ext4 -q -F -b 4096 -d tree -U 12121212-0001-4000-8000-0000000000ff source.img 48M
printf 'REHOST' | dd of=source.img bs=1 seek=150M conv=notrunc status=none
inventory='{"rehost_inventory": 1, "made_from": "machine", "memory_bytes": 17179869184,
 "cpu": {"sockets": 2, "cores": 4, "threads": 2}, "firmware": {"type": "bios"}, "clock": "utc",
 "dmi": {"uuid": "4C4C4544-0051-3810-8052-B4C04F4B3132"},
 "nics": [{"name": "eno1", "mac": "00:25:90:aa:bb:01"}, {"name": "eno2", "mac": "00:25:90:aa:bb:02"}]}'

# --- fixed, described, in its place ---------------------------------------------------------------

$receive pool web same "$inventory" source.img >sent
expect 1 "$rehost" finish pool/other
expect 3 "$rehost" finish --no-boot-test --stages pool/web
grep -qx '{"stage":"fixing"}' err || fail "no stage: $(cat err)"
grep -qx '{"stage":"describing"}' err || fail "no stage: $(cat err)"
only "a new machine"
fact pool/web/report.json .fix.result '"fixed"'
fact pool/web/report.json .transfer.machine '"web"'
fact pool/web/report.json '.disks[0].source' '"sda"'
fact pool/web/guest.json '[.memory_bytes, .cpu.sockets, .cpu.cores, .cpu.threads]' '[17179869184,2,4,2]'
fact pool/web/guest.json '[.nics[] | [.name, .mac]]' \
    '[["eno1","00:25:90:aa:bb:01"],["eno2","00:25:90:aa:bb:02"]]'
fact pool/web/guest.json '[.name, .uuid, .os.distro]' \
    '["web","4c4c4544-0051-3810-8052-b4c04f4b3132","debian"]'
"$rehost" verify -q pool/web >/dev/null || fail "the manifest does not tell what the fix wrote"
qemu-img convert -O raw pool/web/disk0.qcow2 fixed.img
truncate -s 48M fixed.img
e2fsck -fn fixed.img >fsck 2>&1 || fail "$(cat fsck)"
debugfs -R 'cat /etc/fstab' fixed.img 2>/dev/null | grep -q '^UUID=12121212-0001' ||
    fail "the fstab was not fixed: $(debugfs -R 'cat /etc/fstab' fixed.img)"
expect 1 "$rehost" finish pool/web

# --- an update: what the source has, also where the fix had written --------------------------------

head -c 400000 /dev/urandom >new
debugfs -w -R 'write new new' source.img 2>/dev/null
printf 'HOST' | dd of=source.img bs=1 seek=150M conv=notrunc status=none
$receive pool web same "$inventory" source.img >sent
read -r folder sent had <sent
[[ $folder == */web.update ]] || fail "an update went to $folder"
[ "$sent" -lt 1600000 ] && [ "$had" -gt 0 ] || fail "the update sent $sent bytes, $had were there"
jq '.limits.cpu_percent = 150 | .nics[0].network = "lab"' pool/web/guest.json >guest.new
mv guest.new pool/web/guest.json
expect 0 "$rehost" finish --no-fix --no-boot-test pool/web
only "an update"
same "an update"
fact pool/web/guest.json '[.limits.cpu_percent, .nics[0].network]' '[150,"lab"]'

# --- ended anywhere --------------------------------------------------------------------------------

kill_until_done() { # FOLDER: each time a little later, until it comes through
    local delay=0 kills=0 pid
    while [ -e "$1/received.json" ] || [ -e "$1/.rehost-finishing" ]; do
        "$rehost" finish --no-fix --no-boot-test pool/web >out 2>err &
        pid=$!
        sleep "0.0$(printf %02d $delay)"
        kill -9 $pid 2>/dev/null || true
        wait $pid 2>/dev/null || true
        [ $delay -gt 97 ] || delay=$((delay + 2))
        kills=$((kills + 1))
        [ $kills -lt 200 ] || fail "it does not come to its end: $(cat err)"
    done
    [ $kills -gt 1 ] || fail "it was not killed once"
}
for round in 1 2 3; do
    head -c 2000000 /dev/urandom | dd of=source.img bs=64K seek=$((1000 + round)) conv=notrunc status=none
    $receive pool web same "$inventory" source.img >sent
    kill_until_done pool/web.update
    same "an update that was killed"
done
for round in 1 2 3; do
    head -c 2000000 /dev/urandom | dd of=source.img bs=64K seek=$((1100 + round)) conv=notrunc status=none
    $receive pool web renewed "$inventory" source.img >sent
    [ -d pool/web.partial ] || fail "other disks did not go beside"
    kill_until_done pool/web.partial
    same "a machine that was replaced, and killed"
done
$receive pool web same "$inventory" source.img >sent
expect 0 "$rehost" finish --no-fix --no-boot-test pool/web
only "what was killed"

# --- an update that does not boot ------------------------------------------------------------------

before=$(sha256sum pool/web/*)
head -c 100000 /dev/urandom | dd of=source.img bs=64K seek=2000 conv=notrunc status=none
$receive pool web same "$inventory" source.img >sent
expect 4 "$rehost" finish --no-fix --timeout 5 pool/web
grep -q 'stays as it was' err || fail "nobody was told: $(cat err)"
[ "$(sha256sum pool/web/*)" = "$before" ] || fail "an update that did not boot was merged"
fact pool/web.update/report.json .boot_test '"failed"'
$receive pool web same "$inventory" source.img >sent
read -r folder sent had <sent
[ "$sent" = 0 ] || fail "$sent bytes were sent again after a failed boot test"
expect 0 "$rehost" finish --no-fix --no-boot-test pool/web.update
only "an update after one that failed"
same "an update after one that failed"

# --- what is refused -------------------------------------------------------------------------------

head -c 70000 /dev/urandom | dd of=source.img bs=64K seek=2100 conv=notrunc status=none
$receive pool web same "$inventory" source.img >sent
expect 1 flock pool/web.update "$rehost" finish --no-fix --no-boot-test pool/web
grep -q 'in use' err || fail "a folder that is held was taken: $(cat err)"
cp pool/web/disk0.manifest pool/web.update/disk0.manifest
expect 1 "$rehost" finish --no-fix --no-boot-test pool/web
grep -q 'not of what was received' err || fail "another manifest was believed: $(cat err)"
rm pool/web.update/received.json
expect 1 "$rehost" finish --no-fix --no-boot-test pool/web
grep -q 'no transfer that is complete' err || fail "$(cat err)"
$receive pool web same "$inventory" source.img >sent
dd if=/dev/zero of=pool/web/disk0.qcow2 bs=1 count=1 seek=900000 conv=notrunc status=none
expect 1 "$rehost" finish --no-fix --no-boot-test pool/web
grep -q 'was changed since' err || fail "an update went over another state: $(cat err)"
