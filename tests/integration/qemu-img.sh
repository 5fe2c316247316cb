#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Our image drivers against qemu-img: what it writes, with every option, we read alike or refuse by
# name; what we write, it finds clean and equal. Locks are tried against each other too.

set -eu
cd "$(dirname "$0")/../.."
imgtool=$PWD/${BUILD:-build}/tools/imgtool
for tool in qemu-img qemu-io; do
    command -v $tool >/dev/null || { echo "skip: no $tool"; exit 77; }
done
[ -x "$imgtool" ] || make -s "${imgtool#"$PWD"/}"

# In memory where possible: every image that is finished is synced, twice.
work=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d)
holder=
loop=
cleanup() {
    [ -z "$holder" ] || kill "$holder" 2>/dev/null || true
    [ -z "$loop" ] || losetup -d "$loop" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
cd "$work"
failures=0
checks=0

fail() { echo "FAIL: $*"; failures=$((failures + 1)); }

# check NAME COMMAND…: runs it, its output is shown only when it fails.
check() {
    local name=$1
    shift
    checks=$((checks + 1))
    "$@" >log 2>&1 || { fail "$name: $*"; sed 's/^/    /' log; }
}

# refused NAME TEXT COMMAND…: fails with exactly one line, which has TEXT in it.
refused() {
    local name=$1 text=$2
    shift 2
    checks=$((checks + 1))
    if "$@" >log 2>&1; then
        fail "$name: was not refused: $*"
    elif [ "$(wc -l <log)" -ne 1 ] || ! grep -qF -- "$text" log; then
        fail "$name: refused otherwise than by '$text':"
        sed 's/^/    /' log
    fi
}

# Random writes by qemu-io: the same for the same seed.
patterns() {
    awk -v seed="$1" -v size="$2" -v zeroes="${3:-1}" 'BEGIN {
        srand(seed)
        for (i = 0; i < 60; i++) {
            length_ = (int(rand() * 256) + 1) * 512
            at = int(rand() * (size - length_) / 512) * 512
            if (zeroes && rand() < 0.2) printf "write -z %d %d\n", at, length_
            else printf "write -P %d %d %d\n", int(rand() * 255) + 1, at, length_
        }
    }'
}

# reads_alike NAME FILE: our bytes and our map of a qcow2 are what qemu-img converts it to.
reads_alike() {
    rm -f theirs.raw ours.raw mapped.raw
    check "$1: qemu-img convert" qemu-img convert -f qcow2 -O raw "$2" theirs.raw
    check "$1: read" "$imgtool" read "$2" qcow2 "$work" ours.raw
    check "$1: equal" cmp theirs.raw ours.raw
    check "$1: read by the map" "$imgtool" convert "$2" qcow2 "$work" mapped.raw raw none
    check "$1: equal by the map" cmp theirs.raw mapped.raw
}

# writes_alike NAME FILE: the same writes in place, ours on the qcow2 and on a raw copy.
writes_alike() {
    rm -f copy.raw
    cp --sparse=always theirs.raw copy.raw
    check "$1: scribble" "$imgtool" scribble "$2" qcow2 "$work" "${3:-7}" 150
    check "$1: scribble raw" "$imgtool" scribble copy.raw raw "$work" "${3:-7}" 150
    check "$1: clean after writes" qemu-img check -q -f qcow2 "$2"
    check "$1: equal after writes" qemu-img compare -q -f qcow2 -F raw "$2" copy.raw
}

one() { # one NAME SIZE OPTIONS: made by qemu-img with these options
    local size=$2
    rm -f one.qcow2
    check "$1: create" qemu-img create -q -f qcow2 -o "$3" one.qcow2 "$size"
    patterns 1 "$size" > commands
    qemu-io -f qcow2 one.qcow2 <commands >/dev/null 2>&1
    reads_alike "$1" one.qcow2
    writes_alike "$1" one.qcow2
}

size=20000256 # a multiple of 512 and of nothing larger

echo "= cluster sizes, versions, refcount widths"
for cluster in 512 1k 4k 16k 64k 256k 1M 2M; do
    one "cluster $cluster" $size cluster_size=$cluster
done
one "version 2" $size compat=0.10
one "version 2, 512" $size compat=0.10,cluster_size=512
one "lazy refcounts" $size lazy_refcounts=on
for bits in 1 2 4 8 32 64; do
    one "refcount bits $bits" $size refcount_bits=$bits
done
for how in metadata falloc full; do
    one "preallocation $how" $size preallocation=$how
done
one "preallocation, 512" $size preallocation=metadata,cluster_size=512

echo "= compressed clusters"
qemu-img create -q -f raw source.raw $size
patterns 2 $size | qemu-io -f raw source.raw >/dev/null 2>&1
head -c 3000000 /dev/urandom | dd of=source.raw bs=64k seek=40 conv=notrunc status=none
for type in zlib zstd; do
    for cluster in 512 4k 64k 2M; do
        name="$type $cluster"
        rm -f one.qcow2
        check "$name: make" qemu-img convert -c -f raw -O qcow2 \
            -o compression_type=$type,cluster_size=$cluster source.raw one.qcow2
        reads_alike "$name" one.qcow2
        writes_alike "$name" one.qcow2
    done
done
check "zlib, version 2: make" qemu-img convert -c -f raw -O qcow2 -o compat=0.10 source.raw v2.qcow2
reads_alike "zlib, version 2" v2.qcow2
writes_alike "zlib, version 2" v2.qcow2

echo "= backing chains"
for pair in "30000128 10000384" "10000384 30000128"; do
    set -- $pair
    rm -f base.qcow2 middle.qcow2 top.qcow2
    qemu-img create -q -f qcow2 -o cluster_size=4k base.qcow2 "$2"
    patterns 3 "$2" | qemu-io -f qcow2 base.qcow2 >/dev/null 2>&1
    qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 middle.qcow2 "$1"
    patterns 4 10000384 | qemu-io -f qcow2 middle.qcow2 >/dev/null 2>&1
    for version in 1.1 0.10; do
        rm -f top.qcow2
        qemu-img create -q -f qcow2 -o compat=$version,cluster_size=32k -b middle.qcow2 -F qcow2 \
            top.qcow2 "$1"
        patterns 5 10000384 "$([ $version = 1.1 ] && echo 1 || echo 0)" |
            qemu-io -f qcow2 top.qcow2 >/dev/null 2>&1
        sums=$(sha256sum base.qcow2 middle.qcow2)
        reads_alike "chain $1 over $2, $version" top.qcow2
        writes_alike "chain $1 over $2, $version" top.qcow2
        [ "$sums" = "$(sha256sum base.qcow2 middle.qcow2)" ] || fail "chain: a backing file changed"
    done
done
qemu-img create -q -f qcow2 -b source.raw -F raw overraw.qcow2
patterns 6 $size | qemu-io -f qcow2 overraw.qcow2 >/dev/null 2>&1
reads_alike "over raw" overraw.qcow2
writes_alike "over raw" overraw.qcow2
cp source.raw notmultiple.raw
truncate -s 10000001 notmultiple.raw
qemu-img create -q -f qcow2 -b notmultiple.raw -F raw overodd.qcow2 $size
reads_alike "over raw of odd size" overodd.qcow2

echo "= internal snapshots"
qemu-img create -q -f qcow2 snap.qcow2 $size
patterns 8 $size | qemu-io -f qcow2 snap.qcow2 >/dev/null 2>&1
qemu-img snapshot -c first snap.qcow2
qemu-img convert -f qcow2 -O raw -l first snap.qcow2 first.raw
patterns 9 $size | qemu-io -f qcow2 snap.qcow2 >/dev/null 2>&1
reads_alike "snapshot" snap.qcow2
writes_alike "snapshot" snap.qcow2
check "snapshot: counted" sh -c "$imgtool info snap.qcow2 - $work | grep -q 'snapshots 1'"
check "snapshot: left as it was" qemu-img convert -f qcow2 -O raw -l first snap.qcow2 now.raw
check "snapshot: equal to before" cmp first.raw now.raw
qemu-img create -q -f qcow2 -o refcount_bits=64,cluster_size=512 snap512.qcow2 1000448
patterns 8 1000448 | qemu-io -f qcow2 snap512.qcow2 >/dev/null 2>&1
qemu-img snapshot -c a snap512.qcow2
qemu-img snapshot -c b snap512.qcow2
reads_alike "two snapshots" snap512.qcow2
writes_alike "two snapshots" snap512.qcow2

echo "= a refcount table that must grow"
qemu-img create -q -f qcow2 -o cluster_size=512,refcount_bits=64 grow.qcow2 64M
qemu-img convert -q -n -f qcow2 -O raw grow.qcow2 theirs.raw 2>/dev/null ||
    qemu-img convert -q -f qcow2 -O raw grow.qcow2 theirs.raw
writes_alike "growing" grow.qcow2 11
writes_alike_again() { # the pattern is replayed with other seeds on what is there
    for seed in 12 13 14; do
        check "growing: scribble $seed" "$imgtool" scribble grow.qcow2 qcow2 "$work" $seed 400
        check "growing: scribble raw $seed" "$imgtool" scribble copy.raw raw "$work" $seed 400
        check "growing: clean $seed" qemu-img check -q -f qcow2 grow.qcow2
        check "growing: equal $seed" qemu-img compare -q -f qcow2 -F raw grow.qcow2 copy.raw
    done
}
writes_alike_again

echo "= what we write"
for how in none zlib zstd; do
    rm -f ours.qcow2 overlay.qcow2
    check "new $how" "$imgtool" convert source.raw raw "$work" ours.qcow2 qcow2 $how
    check "new $how: clean" qemu-img check -q -f qcow2 ours.qcow2
    check "new $how: equal" qemu-img compare -q -f qcow2 -F raw ours.qcow2 source.raw
    check "new $how: overlay" "$imgtool" overlay overlay.qcow2 ours.qcow2 qcow2 $size
    check "new $how: overlay equal" qemu-img compare -q -f qcow2 -F raw overlay.qcow2 source.raw
    cp source.raw theirs.raw
    writes_alike "new $how: overlay" overlay.qcow2
    writes_alike "new $how: in place" ours.qcow2
    # QEMU goes on writing to what we wrote.
    patterns 10 $size | qemu-io -f qcow2 ours.qcow2 >/dev/null 2>&1
    check "new $how: clean after QEMU" qemu-img check -q -f qcow2 ours.qcow2
done
qemu-img create -q -f qcow2 empty.qcow2 3T
check "3 TiB of nothing" "$imgtool" convert empty.qcow2 qcow2 "$work" ours3T.qcow2 qcow2 none
check "3 TiB of nothing: clean" qemu-img check -q -f qcow2 ours3T.qcow2
check "3 TiB of nothing: small" test "$(stat -c %s ours3T.qcow2)" -lt 300000

echo "= killed while writing in place"
"$imgtool" convert source.raw raw "$work" killed.qcow2 qcow2 zstd
for round in 1 2 3 4 5 6 7 8; do
    "$imgtool" scribble killed.qcow2 qcow2 "$work" "$round" 100000 >/dev/null 2>&1 &
    holder=$!
    sleep "0.$((round * 7 % 10))$round"
    kill -9 "$holder" && wait "$holder" 2>/dev/null || true
    holder=
    checks=$((checks + 1))
    status=0
    qemu-img check -q -f qcow2 killed.qcow2 >log 2>&1 || status=$?
    # 3: clusters that are counted and not used, nothing worse
    [ $status -eq 0 ] || [ $status -eq 3 ] || { fail "killed: qemu-img check says $status"; cat log; }
    reads_alike "killed" killed.qcow2
done
"$imgtool" convert source.raw raw "$work" killednew.qcow2 qcow2 zstd &
holder=$!
sleep 0.03
kill -9 "$holder" 2>/dev/null && wait "$holder" 2>/dev/null || true
holder=
if ! qemu-img check -q -f qcow2 killednew.qcow2 >/dev/null 2>&1; then
    refused "killed before it was finished" "killednew.qcow2" \
        "$imgtool" info killednew.qcow2 qcow2 "$work"
fi

echo "= raw on a block device"
truncate -s 24M disk
loop=$(losetup --show -f disk 2>/dev/null) || loop=
if [ -n "$loop" ]; then
    dd if=/dev/urandom of="$loop" bs=1M count=24 conv=fsync status=none # what it held before
    check "device: write" "$imgtool" convert source.raw raw "$work" "$loop" raw none
    check "device: equal" cmp -n $size source.raw "$loop"
    rm -f theirs.raw
    check "device: read" "$imgtool" read "$loop" raw "$work" theirs.raw
    check "device: read equal" cmp "$loop" theirs.raw
    check "device: in place" "$imgtool" scribble "$loop" raw "$work" 3 50
    check "device: in place, raw" "$imgtool" scribble theirs.raw raw "$work" 3 50
    check "device: in place equal" cmp "$loop" theirs.raw
    refused "device: too small" "No space left" "$imgtool" convert empty.qcow2 qcow2 "$work" "$loop" raw none
    losetup -d "$loop"
else
    echo "  (no loop device here: left out)"
fi

echo "= refused by name"
try() { "$imgtool" info "$1" - "$work"; }
qemu-img create -q -f qcow2 -o extended_l2=on extended.qcow2 1M
refused "extended L2" "extended L2" try extended.qcow2
qemu-img create -q -f qcow2 -o data_file=data.raw external.qcow2 1M
refused "external data file" "external data file" try external.qcow2
# For LUKS qemu-img measures how fast it is itself, and gives up ("Unable to get accurate CPU usage")
# where the kernel counts a thread's CPU time coarsely: that is chance, and tried again.
encrypted() { # METHOD
    for _ in $(seq 20); do
        qemu-img create -q -f qcow2 --object secret,id=s,data=password \
            -o encrypt.format="$1",encrypt.key-secret=s "$1.qcow2" 1M 2>log && return
        grep -q "accurate CPU usage" log || break
    done
    fail "qemu-img makes no image encrypted with $1: $(cat log)"
}
for method in aes luks; do
    encrypted $method
    refused "encryption, $method" "encrypted" try $method.qcow2
done
damage() { cp empty.qcow2 bad.qcow2; printf "$2" | dd of=bad.qcow2 bs=1 seek="$1" conv=notrunc status=none; }
damage 79 '\002'; refused "corrupt" "marked corrupt" try bad.qcow2
damage 72 '\200'; refused "unknown feature" "unknown incompatible feature bits: 63" try bad.qcow2
damage 79 '\001'; check "dirty is read" try bad.qcow2
refused "dirty is not written" "marked dirty" "$imgtool" scribble bad.qcow2 qcow2 "$work" 1 1
mkdir inside
qemu-img create -q -f qcow2 -b ../source.raw -F raw inside/out.qcow2
refused "backing file outside" "outside of the folder" \
    "$imgtool" info inside/out.qcow2 qcow2 "$work/inside"
ln -s ../source.raw inside/link.raw
qemu-img create -q -f qcow2 -b link.raw -F raw inside/link.qcow2
refused "backing file by a link outside" "outside of the folder" \
    "$imgtool" info inside/link.qcow2 qcow2 "$work/inside"
check "backing file above, allowed" "$imgtool" info inside/out.qcow2 qcow2 "$work"
qemu-img create -q -f qcow2 -u -b nbd:localhost:1 -F raw nbd.qcow2 1M
refused "backing over the network" "protocol" try nbd.qcow2
qemu-img create -q -f qcow2 -u -b 'json:{"driver":"null-co"}' -F raw json.qcow2 1M
refused "backing in JSON" "protocol" try json.qcow2
qemu-img create -q -f qcow2 -u -b circle2.qcow2 -F qcow2 circle1.qcow2 1M
qemu-img create -q -f qcow2 -u -b circle1.qcow2 -F qcow2 circle2.qcow2 1M
refused "circle" "circle" try circle1.qcow2
qemu-img create -q -f qcow2 -u -b source.raw -F vmdk vmdk.qcow2 1M
refused "backing of unknown format" "unknown image format" try vmdk.qcow2

echo "= locks"
"$imgtool" hold empty.qcow2 qcow2 "$work" w 30 >held &
holder=$!
until [ -s held ]; do sleep 0.05; done
refused "our second writer" "another program" "$imgtool" hold empty.qcow2 qcow2 "$work" w 0
refused "our reader beside our writer" "another program" try empty.qcow2
checks=$((checks + 1))
! qemu-img info empty.qcow2 >/dev/null 2>&1 || fail "QEMU opens what we write to"
kill $holder; wait $holder 2>/dev/null || true
"$imgtool" hold empty.qcow2 qcow2 "$work" r 30 >held2 &
holder=$!
until [ -s held2 ]; do sleep 0.05; done
check "two readers" try empty.qcow2
refused "a writer beside our reader" "another program" "$imgtool" hold empty.qcow2 qcow2 "$work" w 0
kill $holder; wait $holder 2>/dev/null || true
mkfifo commands.fifo
qemu-io -f qcow2 empty.qcow2 <commands.fifo >qemu.out 2>&1 &
holder=$!
exec 9>commands.fifo
echo "write 0 512" >&9
until grep -q wrote qemu.out; do sleep 0.05; done
refused "an image that QEMU writes to" "another program" try empty.qcow2
exec 9>&-
wait $holder || true
holder=

echo "$checks checks, $failures failures"
[ "$failures" -eq 0 ]
