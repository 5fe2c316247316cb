# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# A disk with partitions in a loop device, for scripts that mount them.
loop=''

loop_disk() { # FILE COUNT: $loop with its partitions; skips where there are no such
    loop=$(losetup -P --show -f "$1" 2>/dev/null) || { echo "SKIP: no loop devices"; exit 77; }
    partx -u "$loop" 2>/dev/null # where the kernel does not read tables by itself
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        [ -b "${loop}p$2" ] && return
        sleep 0.1
    done
    echo "SKIP: no partitions on loop devices"
    exit 77
}

loop_drop() {
    [ -n "$loop" ] || return 0
    partx -d "$loop" 2>/dev/null
    losetup -d "$loop"
    loop=''
}
