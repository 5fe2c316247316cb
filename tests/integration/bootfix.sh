#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# bootfix on a simulated server's disks and on small ones: what is found, what an apply leaves
# behind (seen through this host's e2fsck, mount, cpio and modprobe, not through ourselves), that a second
# run plans nothing, and disks with two systems.
set -eu
cd "$(dirname "$0")/../.."
server=${1:-deb11}

for tool in guestfish qemu-img cpio modprobe e2fsck sfdisk losetup; do
    command -v "$tool" >/dev/null || {
        echo "skipped: $tool is not installed"
        exit 77
    }
done
make --no-print-directory build/tools/fixtool >/dev/null
fixtool=$PWD/build/tools/fixtool
disks=$(tests/fixtures/make-server "$server" | tail -n 1)
work=$(mktemp -d)
mounted=()
clean_up() {
    for folder in ${mounted[@]+"${mounted[@]}"}; do
        umount "$folder"
    done
    rm -rf "$work"
}
trap clean_up EXIT

fail() {
    echo "FAIL: $*" >&2
    exit 1
}
fact() { python3 -c 'import json, sys; f = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' \
    "$disks/facts.json" "$1"; }
has() { grep -qF -- "$2" "$1" || fail "$1 lacks \"$2\": $(cat "$1")"; }

# --- the server --------------------------------------------------------------------------------

overlays=() nics=()
for image in "$disks"/disk?.img; do
    overlay=$work/$(basename "$image").qcow2
    qemu-img create -q -f qcow2 -F raw -b "$image" "$overlay"
    overlays+=("qcow2:$overlay")
done
while read -r name mac; do
    nics+=(--nic "$name=$mac")
done < <(fact '"\n".join(n["name"] + " " + n["mac"] for n in f["nics"])')

"$fixtool" inspect "${overlays[@]}" >"$work/found"
root=$(fact '"/dev/sd%s%d" % ("ab"[f["root"]["disk"]], f["root"]["partition"])')
has "$work/found" "root $root"
has "$work/found" "hostname $(fact 'f["hostname"]')"
has "$work/found" "version $(fact 'f["version"]')"
has "$work/found" "arch x86_64"
has "$work/found" "initramfs initramfs-tools"
for kernel in $(fact '" ".join(f["kernels"])'); do
    has "$work/found" "kernel $kernel /boot/vmlinuz-$kernel /boot/initrd.img-$kernel blk net pci scsi"
done

"$fixtool" plan "${nics[@]}" "${overlays[@]}" >"$work/planned" 2>/dev/null || [ $? = 3 ]
status=0
"$fixtool" apply "${nics[@]}" "${overlays[@]}" >"$work/diff" || status=$?
[ $status = 0 ] || [ $status = 3 ] || fail "apply: exit status $status"
cmp "$work/planned" "$work/diff" || fail "what was planned and what was applied differ"
for overlay in "${overlays[@]}"; do
    qemu-img check -q "${overlay#*:}"
done

# The result, by other programs: clean file systems, the old bytes of the initramfs still there with
# owner and mode, and an archive behind them whose drivers modprobe finds by a device's alias.
qemu-img convert -O raw "$work/disk0.img.qcow2" "$work/after.img"
after=$work/after
for number in $(fact '" ".join(str(n) for n in f["disks"][0]["ext4"])'); do
    read -r offset size < <(sfdisk --json "$work/after.img" | python3 -c '
import json, sys
for p in json.load(sys.stdin)["partitiontable"]["partitions"]:
    if p["node"].endswith("img" + sys.argv[1]):
        print(p["start"] * 512, p["size"] * 512)' "$number")
    e2fsck -fn "$work/after.img?offset=$offset" >"$work/fsck" 2>&1 || fail "$(cat "$work/fsck")"
    for side in before after; do
        image=$work/after.img
        [ $side = after ] || image=$disks/disk0.img
        mkdir -p "$work/$side/$number"
        mount -o "ro,noload,loop,offset=$offset,sizelimit=$size" "$image" "$work/$side/$number"
        mounted+=("$work/$side/$number")
    done
done
kernel=$(fact 'f["kernels"][0]')
new=$(find "$after" -maxdepth 3 -name "initrd.img-$kernel" -type f)
old=$work/before${new#"$after"}
[ "$(stat -c '%a %u %g' "$new")" = "$(stat -c '%a %u %g' "$old")" ] || fail "$new: other owner or mode"
length=$(stat -c %s "$old")
[ "$(stat -c %s "$new")" -gt "$length" ] || fail "$new was not added to"
cmp -n "$length" "$old" "$new" || fail "$new: its old bytes are not there"
! grep '^/dev/sd' "$after"/*/etc/fstab || fail "/etc/fstab still names /dev/sd*"
tail -c "+$((length / 4 * 4 + (length % 4 ? 4 : 0) + 1))" "$new" >"$work/added"

mkdir "$work/tree"
(cd "$work/tree" && cpio -idm --quiet --no-absolute-filenames <"$work/added")
[ -d "$work/tree/lib" ] || ln -s usr/lib "$work/tree/lib"
for alias in pci:v00001AF4d00001042sv00001AF4sd00001100bc01sc00i00 virtio:d00000002v00001AF4 \
    virtio:d00000001v00001AF4 virtio:d00000008v00001AF4; do
    modprobe -d "$work/tree" -S "$kernel" --resolve-alias "$alias" >"$work/alias" 2>&1 || :
    grep -q virtio "$work/alias" || fail "no driver for $alias: $(cat "$work/alias")"
done

"$fixtool" plan "${nics[@]}" "${overlays[@]}" >"$work/again" 2>/dev/null || [ $? = 3 ]
[ ! -s "$work/again" ] || fail "a second run plans: $(cat "$work/again")"

# --- two systems on one disk -------------------------------------------------------------------

mkdir -p "$work/guest/etc" "$work/guest/bin"
echo 'ID=tiny' >"$work/guest/etc/os-release"
echo '/dev/sda2 / ext4 defaults 0 1' >"$work/guest/etc/fstab"
truncate -s 40M "$work/two.img"
printf 'label: dos\nsize=16MiB\nsize=16MiB\n' | sfdisk -q "$work/two.img"
for start in 1 17; do
    mke2fs -q -F -t ext4 -E "offset=$((start * 1048576))" -d "$work/guest" "$work/two.img" 16m
done
if "$fixtool" inspect "raw:$work/two.img" >"$work/two" 2>&1; then
    fail "two systems were taken for one"
fi
has "$work/two" "several operating systems found (/dev/sda1, /dev/sda2): choose one with --root"
"$fixtool" inspect --root /dev/sda2 "raw:$work/two.img" >"$work/two" 2>&1
has "$work/two" "root /dev/sda2"
has "$work/two" "distro tiny"
# --- a root on LVM, started by UEFI ------------------------------------------------------------

rm "$work/guest/etc/fstab"
printf '/dev/mapper/vg0-root / ext4 defaults 0 1\n/dev/vg0/boot /boot ext4 defaults 0 2\n' \
    >"$work/guest/etc/fstab"
tar -C "$work/guest" -cf "$work/guest.tar" .
truncate -s 100M "$work/lvm.img"
printf 'label: gpt\nsize=8MiB, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\ntype=E6D6D379-F507-44C2-A23C-238F2A3DF928\n' |
    sfdisk -q "$work/lvm.img"
LIBGUESTFS_BACKEND_SETTINGS=force_tcg guestfish --format=raw -a "$work/lvm.img" <<END
run
pvcreate /dev/sda2
vgcreate vg0 /dev/sda2
lvcreate root vg0 32
lvcreate boot vg0 16
mkfs ext4 /dev/vg0/root
mkfs ext4 /dev/vg0/boot
mount /dev/vg0/root /
tar-in $work/guest.tar /
mkdir /boot
END
"$fixtool" inspect "raw:$work/lvm.img" >"$work/lvm" 2>&1
has "$work/lvm" "root /dev/vg0/root"
has "$work/lvm" "firmware uefi"
grep -q '^volume /dev/vg0/boot ext4 .* /boot ' "$work/lvm" || fail "$(cat "$work/lvm")"
echo "passed: bootfix on $server"
