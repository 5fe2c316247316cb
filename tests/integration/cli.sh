#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The command line without an appliance and without a guest: usage errors, listings, exit codes,
# JSON, and a small data disk through convert, verify and define. Takes seconds.
set -u
here=$(cd "$(dirname "$0")/../.." && pwd)
rehost=$(realpath -m "${REHOST:-$here/build/rehost}")
for need in sfdisk mke2fs e2fsck debugfs dumpe2fs qemu-img python3 cc; do
    command -v $need >/dev/null || { echo "SKIP: $need is not installed"; exit 77; }
done
[ -x "$rehost" ] || { echo "$rehost is not built"; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
# shellcheck source=tests/lib/checks.sh
. "$here/tests/lib/checks.sh"

is_json() { # FILE
    if python3 -m json.tool <"$1" >/dev/null; then passed=$((passed + 1)); else fail "no JSON: $(cat "$1")"; fi
}

# --- usage ---------------------------------------------------------------------------------------

head -c 1M /dev/zero >some.img
while read -r line; do
    # shellcheck disable=SC2086 # words
    status 2 $line && same "one line of error ($line)" "$(wc -l <err)" 1 && says err '^rehost: .*--help\)$'
    same "nothing on stdout ($line)" "$(wc -c <out)" 0
done <<'END'

nonsense
--nonsense
convert
convert some.img
convert -o out
convert some.img -o
convert some.img -o out --format vhdx2
convert some.img -o out --format raw --compress
convert some.img -o out --nic eth0
convert some.img -o out --nic eth0=52:54:00:00:00:0g
convert some.img -o out --nic eth0=52:54:00:00:00:01 --nic eth0=52:54:00:00:00:02
convert some.img -o out --memory 3
convert some.img -o out --memory lots
convert some.img -o out --cpus 0
convert some.img -o out --cpus 513
convert some.img -o out --name two/parts
convert some.img -o out --progress sometimes
convert some.img -o out --source-format raw --source-format raw
convert some.img -o out --source-format doc
convert some.img -o out --json=yes
fix
fix some.img other.img
fix some.img --dry-run --in-place
fix some.img --in-place -o overlay
define out
define out --for nothing
verify
verify a b
inspect
inspect some.img --nic x
serve
serve --pool pool extra
serve --pool pool --format vmdk
serve --pool pool --checkpoint 1K
serve --pool pool --jobs 65
formats all
END
[ ! -e out.partial ] || fail "wrong usage left out.partial"

# --- listings ------------------------------------------------------------------------------------

status 0 --version && says out '^rehost [0-9]'
status 0 --help && says out '^  convert '
for list in formats filesystems fixers targets; do
    status 0 $list && same "$list: lines" "$(wc -l <out)" "$(cut -c1-18 out | sort -u | wc -l)"
    cut -d' ' -f1 out >names
    status 0 $list --json && is_json out
    same "$list: JSON names what the table does" \
        "$(python3 -c 'import json, sys; print(*[r["name"] for r in json.load(sys.stdin)])' <out)" \
        "$(paste -sd' ' names)"
done
status 0 --list-commands
cp out commands
while read -r command; do
    status 0 "$command" --help && says out "^Usage: rehost $command"
    cp out help
    status 0 --list-options "$command"
    while read -r option; do
        grep -qE -- "(^| )$option(,| |\$)" help || fail "$command --help does not show $option"
    done <out
done <commands
status 2 --list-options nonsense

# --- a data disk ---------------------------------------------------------------------------------

truncate -s 64M disk.img
python3 - <<'END'
import random  # every byte of the disk was something else before
with open("disk.img", "r+b") as f:
    f.write(random.Random(1).randbytes(64 << 20).replace(b"\0", b"O"))
END
sfdisk -q disk.img <<'END' || exit 1
label: gpt
size=1MiB, type=21686148-6449-6E6F-744E-656564454649
size=40MiB
END
mkdir tree && head -c 3000000 /dev/urandom >tree/file && echo hello >tree/small
mke2fs -q -F -t ext4 -b 4096 -d tree -E offset=$((2 << 20)),nodiscard,lazy_itable_init=0 disk.img 40M || exit 1
sum=$(sha256sum <disk.img)

status 0 inspect --disks-only disk.img && says out 'gpt table' && says out 'ext4 .*used'
status 0 inspect --disks-only --json disk.img && is_json out && says out '"type": "ext4"'

for form in qcow2 raw; do
    status 0 convert disk.img -o "$form" --format $form --no-fix --no-boot-test --name data1 \
        --nic eth5=52:54:00:00:00:05 --memory 1G --cpus 3 && says out '^not tested$'
    [ ! -e $form.partial ] || fail "$form.partial is still there"
    for file in guest.json inventory.json report.json; do is_json $form/$file; done
    says $form/guest.json '"name": "data1"'
    says $form/guest.json '"mac": "52:54:00:00:00:05"'
    says $form/guest.json '"memory_bytes": 1073741824'
    says $form/guest.json '"cores": 3'
    says $form/report.json '"boot_test": "not tested"'
    qemu-img convert -O raw $form/disk0.$form copy.raw || fail "qemu-img does not read $form"
    e2fsck -fn 'copy.raw?offset=2097152' >/dev/null 2>&1 || fail "$form: e2fsck"
    debugfs -R 'dump /file dumped' 'copy.raw?offset=2097152' 2>/dev/null
    cmp -s dumped tree/file || fail "$form: a file's content differs"
    # The free blocks of the file system and what no partition covers stayed behind.
    same "$form: zeroes at the disk's unused end" \
        "$(tail -c 16M copy.raw | head -c 8M | tr -d '\0' | wc -c)" 0
    status 0 verify $form && says out "disk0.$form: verified"
    status 0 verify $form --json && is_json out && says out '"is_verified": true'
    status 0 define $form --for libvirt && says out '<name>data1</name>'
    status 0 define $form --for qemu && says out '^#!'
    status 0 define $form --for qemu -o $form/start.sh
    [ -x $form/start.sh ] || fail "start.sh cannot be executed"
done
qemu-img check -q qcow2/disk0.qcow2 || fail "qemu-img check"
same "the source is as it was" "$(sha256sum <disk.img)" "$sum"

status 0 convert disk.img -o packed --compress --no-fix --no-boot-test --progress json
grep -q '^{' err && while read -r line; do echo "$line" >line; is_json line; done < <(grep '^{' err)
qemu-img check -q packed/disk0.qcow2 || fail "qemu-img check, compressed"
qemu-img compare -q packed/disk0.qcow2 qcow2/disk0.qcow2 || fail "compressed is not the same"
status 0 verify packed
status 0 convert disk.img -o quiet -q --no-fix --no-boot-test && same "-q" "$(cat out err | wc -c)" 0
status 0 convert disk.img -o json --json --no-fix --no-boot-test && is_json out
status 0 convert qcow2/disk0.qcow2 disk.img -o two --no-fix --no-boot-test
status 0 verify two && same "two disks" "$(grep -c verified out)" 2

# --- refusals ------------------------------------------------------------------------------------

status 1 convert disk.img -o qcow2 --no-fix --no-boot-test && says err 'exists already \(--force'
status 0 convert disk.img -o qcow2 --no-fix --no-boot-test --force
status 1 convert qcow2/disk0.qcow2 -o qcow2 --no-fix --no-boot-test --force && says err 'inside'
status 1 convert disk.img -o disk.img --no-fix --no-boot-test && says err 'the target .* is the source'
mkdir mine && touch mine/precious
status 1 convert disk.img -o mine --no-fix --no-boot-test --force && says err 'not replaced'
[ -e mine/precious ] || fail "a folder of somebody else's was replaced"
status 1 convert missing.img -o out && says err '^rehost: convert missing.img: '
: >empty.img
status 1 convert empty.img -o out && says err 'empty'
head -c 30M disk.img >cut.img
status 1 convert cut.img -o out --no-fix --no-boot-test && says err 'cut off'
status 1 verify tree && says err 'no converted machine'
status 1 define qcow2 --for qemu -o no/such/folder/start.sh
qemu-img create -q -f qcow2 -b disk.img -F raw over.qcow2
status 1 convert over.qcow2 -o out --no-fix --no-boot-test && says err 'backing'
status 0 convert over.qcow2 -o backed --backing-folder . --no-fix --no-boot-test
qemu-img compare -q backed/disk0.qcow2 qcow2/disk0.qcow2 || fail "through a backing file: not the same"

# A machine's folder is one command's at a time.
exec 9<raw
flock -x 9
status 1 verify raw && says err 'in use'
exec 9<&-

# --- damage --------------------------------------------------------------------------------------

printf X | dd of=raw/disk0.raw bs=1 seek=$((2 << 20 | 1100)) conv=notrunc status=none
status 4 verify raw && says err 'disk0.raw: chunk at 0x200000 differs'
status 4 verify raw --json && is_json out && says out '"is_verified": false'
printf X | dd of=backed/disk0.manifest bs=1 seek=600 conv=notrunc status=none
status 1 verify backed && says err 'manifest'

# --- a disk that cannot be read everywhere -------------------------------------------------------

cat >bad.c <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
/* The sectors of sick.img at the offsets in $BAD give EIO. */
static int is_bad(int fd, size_t length, off64_t offset)
{
    char link[64], path[4096];
    off64_t bad[2] = {0};
    sscanf(getenv("BAD"), "%ld %ld", &bad[0], &bad[1]);
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t got = readlink(link, path, sizeof(path) - 1);
    path[got < 0 ? 0 : got] = 0;
    for (int i = 0; strstr(path, "sick.img") && i < 2; i++)
        if (offset < bad[i] + 512 && bad[i] < offset + (off64_t)length)
            return 1;
    return 0;
}
ssize_t pread64(int fd, void *buffer, size_t length, off64_t offset)
{
    ssize_t (*real)(int, void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pread64");
    if (is_bad(fd, length, offset)) { errno = EIO; return -1; }
    return real(fd, buffer, length, offset);
}
ssize_t __pread64_chk(int fd, void *buffer, size_t length, off64_t offset, size_t room)
{
    (void)room;
    return pread64(fd, buffer, length, offset);
}
END
cc -w -shared -fPIC -o bad.so bad.c -ldl || fail "cannot compile the shim"
head -c 20M /dev/urandom >tree/file
printf 'label: dos\nsize=40MiB,type=83\n' | { cp disk.img sick.img; sfdisk -q sick.img; } || fail sfdisk
mke2fs -q -F -t ext4 -b 4096 -d tree -E offset=$((1 << 20)),nodiscard,lazy_itable_init=0 sick.img 40M
# One in a file's last block, one in free space, where nobody is to miss it.
block=$(debugfs -R 'blocks /file' 'sick.img?offset=1048576' 2>/dev/null | tr ' ' '\n' | grep . | tail -1)
free=$(dumpe2fs 'sick.img?offset=1048576' 2>/dev/null | sed -n 's/^  Free blocks: .*[-]\([0-9]*\)$/\1/p' | tail -1)
bad=$(((1 << 20) + block * 4096)) unused=$(((1 << 20) + (free - 500) * 4096))
ASAN_OPTIONS=verify_asan_link_order=0 BAD="$bad $unused" LD_PRELOAD=$work/bad.so status 3 convert sick.img -o sick --format raw --no-fix --no-boot-test
says err "warning: sick.img: 512 bytes in 1 ranges could not be read.* $(printf '0x%x' $bad)"
says sick/report.json '"unreadable_bytes": 512'
sector=$((bad / 512))
same "the bad sector is zero" "$(dd if=sick/disk0.raw bs=512 skip=$sector count=1 status=none | tr -d '\0' | wc -c)" 0
for around in $((sector - 100)) $((sector + 1)); do
    cmp -s <(dd if=sick/disk0.raw bs=512 skip=$around count=7 status=none) \
        <(dd if=sick.img bs=512 skip=$around count=7 status=none) || fail "sectors beside the bad one are lost"
done
status 0 verify sick

# --- interruption --------------------------------------------------------------------------------

head -c 900M /dev/urandom >big.img
for signal in INT TERM; do
    code=0
    env --default-signal=INT "$rehost" convert big.img -o stopped --compress --no-fix --no-boot-test >out 2>err &
    child=$!
    for _ in $(seq 100); do [ -e stopped.partial/disk0.qcow2 ] && break; sleep 0.02; done
    kill -$signal $child
    wait $child || code=$?
    same "SIG$signal: exit code" $code 130
    [ ! -e stopped.partial ] && [ ! -e stopped ] || fail "SIG$signal left something: $(ls -d stopped*)"
done

echo "$passed checks passed, $failed failed"
[ $failed -eq 0 ]
