#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Partition tables made by sfdisk, sgdisk, fdisk and parted, as we read them and as sfdisk and fdisk
# do; whole, odd and damaged ones.
set -u
here=$(cd "$(dirname "$0")/../.." && pwd)
tool=$here/build/tools/maptool
for need in sfdisk sgdisk fdisk python3; do
    command -v $need >/dev/null || { echo "SKIP: $need is not installed"; exit 77; }
done
[ -x "$tool" ] || make -s -C "$here" build/tools/maptool || exit 1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failed=0 passed=0

fail() { echo "FAIL: $*"; failed=$((failed + 1)); }

# Both as lines: number, first byte, length, type and, for GPT, GUID and name.
theirs() {
    sfdisk --json disk 2>/dev/null | python3 -c '
import json, re, sys
table = json.load(sys.stdin)["partitiontable"]
size = table.get("sectorsize", 512)
kind = {"dos": "mbr", "gpt": "gpt"}[table["label"]]
print("kind", kind)
rows = []
for p in table.get("partitions", []):
    if kind == "mbr" and p["type"] in ("5", "f", "85"):
        continue
    number = int(re.search(r"(\d+)$", p["node"]).group(1))
    row = [p["start"] * size, "partition", number, p["start"] * size, p["size"] * size, p["type"]]
    if kind == "gpt":
        row += [p["uuid"], p.get("name", "")]
    elif p.get("bootable"):
        row += ["bootable"]
    rows.append(row)
for row in sorted(rows):
    print(*row[1:])' | sed 's/ *$//'
}

ours() {
    "$tool" table disk 512 >table
    sed -n 's/ logical$//; /^kind/p; /^partition/p' table | sed 's/ *$//'
}

same() { # name, doubtful, backup
    theirs >theirs
    ours >ours
    grep -q '^kind [mg]' theirs || fail "$1: sfdisk reads nothing"
    cmp -s theirs ours || { fail "$1"; diff theirs ours; }
    grep -q "^doubtful $2" table || { fail "$1: doubtful is not $2"; grep ^warning table; }
    grep -q "^backup $3" table || fail "$1: backup is not $3"
    # The first sector and, for GPT, both headers have to be copied.
    grep -q "^used 0 " table || fail "$1: the first sector is not copied"
    passed=$((passed + 1))
}

new() { rm -f disk; truncate -s "$1" disk; }

make_table() { # name, size, script
    new "$2"
    printf '%s\n' "$3" | sfdisk -q disk >log 2>&1 || { fail "$1: sfdisk: $(tail -1 log)"; return; }
    same "$1" 0 0
}

make_table "one primary" 1G $'label: dos\n,,L,*'
make_table "four primaries" 1G $'label: dos\n,100M,L\n,100M,S\n,200M,7\n,,c,*'
make_table "entries out of order" 1G \
    $'label: dos\nstart=1000000,size=1000,type=83\nstart=2048,size=5000,type=82\n'
make_table "logical partitions" 2G $'label: dos\n,100M,L,*\n,,E\n,100M,L\n,200M,S\n,50M,83\n,,8e'
make_table "container of type 0f" 2G $'label: dos\n,100M,L\n,,Ex\n,100M\n,100M'
make_table "container of type 85" 2G $'label: dos\n,100M,L\n,,85\n,100M\n,100M'
make_table "only a container" 1G $'label: dos\n,,E\n,10M\n,10M\n,10M\n,10M\n,10M\n,10M\n,10M\n,10M'
make_table "cylinder alignment" 1G \
    $'label: dos\nstart=63,size=16002,type=83\nstart=16065,size=1000000,type=5\nstart=16128,size=50000'
make_table "an empty container" 1G $'label: dos\n,100M\n,,E'
make_table "three fits of GPT" 1G $'label: gpt\n,1M,21686148-6449-6E6F-744E-656564454649\n,100M,U\n,,L'
make_table "GPT names" 1G \
    $'label: gpt\nsize=10M,name="EFI System"\nsize=10M,name="Überraschung €"\nsize=10M,name="x"'
make_table "GPT with holes" 1G $'label: gpt\n3: start=500000,size=1000\n1: start=2048,size=99\n7: size=4M'

new 2G
printf 'label: dos\n,100M\n,,E\n,100M\n,100M\n,100M\n,100M\n' | sfdisk -q disk
sfdisk -q --delete disk 6
same "a logical partition deleted in the middle" 0 0
sfdisk -q --delete disk 5
same "the first logical partition deleted" 0 0
echo 'start=500000,size=20000' | sfdisk -q --append disk >/dev/null 2>&1
same "a logical partition added in a gap" 0 0

new 1G
script=$'label: gpt\ntable-length: 128'
for i in $(seq 128); do script+=$'\n'"start=$((2048 * i)),size=2048,name=\"p$i\""; done
printf '%s\n' "$script" | sfdisk -q disk
same "128 partitions" 0 0

new 1G
sgdisk -a 1 -n 1:34:2047 -t 1:ef02 -n 2:2048:+100M -t 2:ef00 -n 5:0:0 -A 5:set:2 disk >/dev/null
same "sgdisk, a first partition right behind the array" 0 0
new 1G
sgdisk -S 512 -n 100:2048:+10M -n 300:0:+1M disk >/dev/null 2>&1
same "512 entries" 0 0

new 1G
sgdisk -n 1:2048:+10M -n 2:0:+100M -t 2:8300 -n 3:0:0 -h 2:3 disk >/dev/null
# sfdisk shows the MBR of a hybrid as it is; only ours and sgdisk's are compared.
"$tool" table disk 512 >table
grep -q '^kind gpt' table && grep -q '^doubtful 0' table && [ "$(grep -c ^partition table)" = 3 ] ||
    fail "hybrid MBR"
passed=$((passed + 1))

if command -v parted >/dev/null; then
    new 1G
    parted -s disk mklabel msdos mkpart primary ext4 1MiB 100MiB mkpart extended 100MiB 100% \
        mkpart logical linux-swap 101MiB 200MiB mkpart logical ext4 201MiB 100% set 1 boot on
    same "parted, MBR" 0 0
    new 1G
    parted -s disk mklabel gpt mkpart bios 1MiB 2MiB mkpart root 2MiB 100% set 1 bios_grub on
    same "parted, GPT" 0 0
fi

# Damage. A broken copy is one thing, two are another.
gpt() { new 1G; printf 'label: gpt\n,10M\n,100M\n,,L\n' | sfdisk -q disk; }
overwrite() { # first sector, count
    dd if=/dev/urandom of=disk bs=512 seek="$1" count="$2" conv=notrunc status=none
}
last=$((1024 * 2048 - 1))
gpt; overwrite 1 1; same "first header broken" 0 1
gpt; overwrite 2 32; same "first array broken" 0 1
gpt; overwrite $last 1; same "backup header broken" 0 0
grep -q 'warning.*backup GPT is broken' table || fail "the broken backup is not told"
gpt; overwrite $((last - 32)) 32; same "backup array broken" 0 0
gpt; truncate -s 2G disk; same "a grown disk" 0 0
grep -q 'warning.*not at the end' table || fail "the grown disk is not told"
gpt; overwrite 1 33; overwrite $((last - 32)) 33
"$tool" table disk >table
grep -q '^kind none' table && grep -q '^warning' table || fail "both GPTs broken"
"$tool" disk disk | grep -q "^used 0 $((1 << 30))\$" || fail "both GPTs broken: not all is used"
gpt; truncate -s 300M disk
"$tool" disk disk >table
grep -q '^warning.*behind the end' table && grep -q "^used 0 $((300 << 20))\$" table ||
    fail "a truncated disk"
passed=$((passed + 2))

# Sectors of 4096 bytes.
new 1G
printf 'g\nn\n1\n\n+10M\nn\n2\n\n\nw\n' | fdisk -b 4096 disk >/dev/null 2>&1
fdisk -b 4096 -l -o Start,Sectors disk 2>/dev/null | awk '/^ *[0-9]+ +[0-9]+$/ { print $1 * 4096, $2 * 4096 }' >theirs
for sector in 0 4096; do
    "$tool" table disk $sector | awk '/^partition/ { print $3, $4 }' >ours
    [ -s ours ] && cmp -s theirs ours || fail "GPT with sectors of 4096 bytes, told $sector"
    passed=$((passed + 1))
done
new 1G
printf 'o\nn\np\n1\n\n+10M\nn\np\n2\n\n\nw\n' | fdisk -b 4096 disk >/dev/null 2>&1
fdisk -b 4096 -l -o Start,Sectors disk 2>/dev/null | awk '/^ *[0-9]+ +[0-9]+$/ { print $1 * 4096, $2 * 4096 }' >theirs
"$tool" table disk 4096 | awk '/^partition/ { print $3, $4 }' >ours
[ -s ours ] && cmp -s theirs ours || fail "MBR with sectors of 4096 bytes"
"$tool" table disk 0 | grep -q '^doubtful 1' || fail "an empty MBR that fits both sizes is believed"
if command -v mkswap >/dev/null; then
    dd if=/dev/zero of=part bs=1M count=10 status=none
    mkswap -q part
    dd if=part of=disk bs=4096 seek="$(awk 'NR == 1 { print $1 / 4096 }' theirs)" conv=notrunc status=none
    "$tool" table disk 0 >table
    awk '/^partition/ { print $3, $4 }' table >ours
    cmp -s theirs ours && grep -q '^doubtful 0' table || fail "MBR with sectors of 4096 by contents"
fi
passed=$((passed + 2))

# A block device says its sector size itself.
new 1G
printf 'o\nn\np\n1\n\n+10M\nn\np\n2\n\n\nw\n' | fdisk -b 4096 disk >/dev/null 2>&1
if loop=$(losetup --find --show --read-only --sector-size 4096 disk 2>log); then
    "$tool" table "$loop" >table
    losetup -d "$loop"
    grep -q "^sector 4096" table || fail "a device with sectors of 4096 bytes"
    "$tool" table disk 4096 | grep '^partition' | cmp -s - <(grep '^partition' table) ||
        fail "a device with sectors of 4096 bytes: its partitions"
    passed=$((passed + 1))
else
    echo "  (no loop devices here: $(head -1 log))"
fi

# The disk of every real server has a GRUB in its first sectors: neither a doubt nor another kind.
if [ -r /usr/lib/grub/i386-pc/boot.img ]; then
    new 1G
    printf 'label: dos\n,,L,*\n' | sfdisk -q disk
    dd if=/usr/lib/grub/i386-pc/boot.img of=disk bs=1 count=440 conv=notrunc status=none
    overwrite 1 100
    same "MBR with GRUB" 0 0
    "$tool" disk disk | grep -q '^warning' && fail "MBR with GRUB is doubted"
fi

# Whole disks: after every byte that is not to be copied was poisoned, the table and each file system
# are what they were, and swap is still swap.
whole_disk() { # name, script; ext4 goes into type L partitions, swap into type S
    local name=$1 start size type
    new 600M
    printf '%s\n' "$2" | sfdisk -q disk >log 2>&1 || { fail "$name: $(tail -1 log)"; return; }
    sfdisk --json disk | python3 -c '
import json, sys
for p in json.load(sys.stdin)["partitiontable"]["partitions"]:
    print(p["start"], p["size"], p["type"])' >places
    while read -r start size type; do
        case $type in
        83 | 0FC63DAF*) mke2fs -q -F -t ext4 -E offset=$((start * 512)) -d "$here/disk" disk $((size / 2))k ;;
        82 | 0657FD6D*)
            rm -f part; truncate -s $((size * 512)) part; mkswap -q part
            dd if=part of=disk bs=512 seek="$start" conv=notrunc,sparse status=none ;;
        esac
    done <places >log 2>&1
    "$tool" poison-disk disk copy >log || fail "$name: $(tail -1 log)"
    grep -q ^warning log && { fail "$name: a doubt"; grep ^warning log; }
    [ "$(sfdisk --json disk | sed s/disk//g)" = "$(sfdisk --json copy | sed s/copy//g)" ] ||
        fail "$name: the tables differ"
    while read -r start size type; do
        case $type in
        83 | 0FC63DAF*) e2fsck -fn "copy?offset=$((start * 512))" >log 2>&1 ||
            { fail "$name: e2fsck at $start"; head -5 log; } ;;
        82 | 0657FD6D*) [ "$(blkid -p -O $((start * 512)) -S $((size * 512)) -o value -s TYPE copy)" = swap ] ||
            fail "$name: swap at $start" ;;
        esac
    done <places
    # Something was poisoned, and not little.
    [ "$(awk '/^total/ { print $2 }' <("$tool" disk disk))" -lt $((100 << 20)) ] || fail "$name: no byte saved"
    cmp -s disk copy && fail "$name: nothing was poisoned"
    passed=$((passed + 1))
}
if command -v mkswap >/dev/null; then
    whole_disk "MBR disk" $'label: dos\n,300M,L,*\n,,S'
    whole_disk "MBR disk, logical" $'label: dos\n,100M,L,*\n,,E\n,100M,S\n,200M,L\n,,L'
    whole_disk "GPT disk" $'label: gpt\n,100M,L\n,100M,S\n,200M,L'
    whole_disk "GPT disk with a hole" $'label: gpt\n4: start=300000,size=200M,type=L\n2: size=100M,type=S'
fi

echo "$passed tables, $failed failures"
[ "$passed" -gt 30 ] || { echo "FAIL: too few tables were made"; exit 1; }
[ "$failed" -eq 0 ]
