#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Images written in place by several threads at once, as a guest with several queues does: QEMU's
# tools find them consistent and equal to a plain file that got the same writes, also when the
# writer is killed in between.

set -eu
cd "$(dirname "$0")/../.."
stress=$PWD/${BUILD:-build}/tools/imgstress
command -v qemu-img >/dev/null || { echo "skip: no qemu-img"; exit 77; }
[ -x "$stress" ] || make -s "${stress#"$PWD"/}"

work=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
failures=0
fail() { echo "FAIL: $*"; failures=$((failures + 1)); }

# What images are made over: more than one cluster, and no whole number of them.
head -c 2999808 /dev/urandom >base.raw
qemu-img convert -q -c -f raw -O qcow2 base.raw base.qcow2
size=10000384

# stressed NAME: image.qcow2 is written to; shown.raw is what it shows before.
stressed() {
    qemu-img convert -q -f qcow2 -O raw image.qcow2 shown.raw
    for seed in 1 2; do
        "$stress" image.qcow2 qcow2 "$work" shown.raw 4 $seed 150 || fail "$1: seed $seed"
        qemu-img check -q -f qcow2 image.qcow2 || fail "$1: check after seed $seed"
        qemu-img compare -q -f qcow2 -F raw image.qcow2 shown.raw || fail "$1: compare, seed $seed"
    done
    echo "$1: done"
}

for cluster in 512 4k 64k 2M; do
    qemu-img create -q -f qcow2 -o cluster_size=$cluster image.qcow2 $size
    stressed "clusters of $cluster"
    qemu-img create -q -f qcow2 -o cluster_size=$cluster -b base.qcow2 -F qcow2 image.qcow2 $size
    stressed "overlay, clusters of $cluster"
done
qemu-img create -q -f qcow2 -o compat=0.10 -b base.raw -F raw image.qcow2 $size
stressed "overlay, version 2"
cp base.qcow2 image.qcow2
stressed "compressed"
qemu-img create -q -f qcow2 image.qcow2 $size
qemu-img snapshot -c before image.qcow2
stressed "snapshot"
sums=$(sha256sum base.raw base.qcow2)

for round in 1 2 3 4 5; do
    qemu-img create -q -f qcow2 -b base.raw -F raw image.qcow2 $size
    qemu-img convert -q -f qcow2 -O raw image.qcow2 shown.raw
    "$stress" image.qcow2 qcow2 "$work" shown.raw 4 "$round" 1000000 2>/dev/null &
    sleep "0.1$round"
    kill -9 $! && wait $! 2>/dev/null || true
    status=0
    qemu-img check -q -f qcow2 image.qcow2 >log 2>&1 || status=$?
    # 3: clusters that are counted and not used, nothing worse
    [ $status -eq 0 ] || [ $status -eq 3 ] || { fail "killed: qemu-img check says $status"; cat log; }
done
[ "$sums" = "$(sha256sum base.raw base.qcow2)" ] || fail "a backing file changed"

echo "$failures failures"
[ "$failures" -eq 0 ]
