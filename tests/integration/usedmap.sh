#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The used maps of ext2/3/4 against e2fsprogs and partclone: file systems made with many sets of
# options are copied with every byte that the map calls free poisoned; the copy must still be
# without errors and hold the same files. No block that others call used may be missing.
set -u
here=$(cd "$(dirname "$0")/../.." && pwd)
tool=$here/build/tools/maptool
for need in mke2fs e2fsck debugfs dumpe2fs partclone.extfs sha256sum; do
    command -v $need >/dev/null || { echo "SKIP: $need is not installed"; exit 77; }
done
[ -x "$tool" ] || make -s -C "$here" build/tools/maptool || exit 1
work=$(mktemp -d)
trap 'umount "$work/mnt" 2>/dev/null; rm -rf "$work"' EXIT
cd "$work" || exit 1
failed=0 passed=0

fail() { echo "FAIL: $*"; failed=$((failed + 1)); }

# Files of many sizes, holes, links, a deep folder and one with many names.
make_tree() {
    mkdir -p tree/deep/er/still tree/many
    for i in $(seq 1 45); do
        head -c $((i * i * 97)) /dev/urandom >tree/file$i
    done
    truncate -s 3M tree/hole
    head -c 70000 /dev/urandom | dd of=tree/hole bs=1 seek=1000000 conv=notrunc status=none
    for i in $(seq 1 150); do echo $i >tree/many/a_rather_long_name_number_$i; done
    ln -s file1 tree/link
    ln -s "$(printf 'x%.0s' $(seq 1 200))" tree/long_link
    echo end >tree/deep/er/still/end
}

# Every file's name, kind and content, as debugfs reads them.
hash_files() {
    rm -rf dump && mkdir dump && debugfs -R "rdump / dump" "$1" >/dev/null 2>&1
    (cd dump && find . -type l -printf '%p -> %l\n' -o -type d -printf '%p/\n' | sort
     find . -type f -print0 | sort -z | xargs -0 sha256sum)
}

# What dumpe2fs calls free, in bytes: start and end. With bigalloc it names clusters by their first
# block.
free_ranges() { # image
    dumpe2fs "$1" 2>/dev/null | awk '
        /^Block size:/ { size = unit = $3 }
        /^Cluster size:/ { unit = $3 }
        /^  Free blocks: / { sub(/^  Free blocks: /, ""); count = split($0, list, ", ")
            for (i = 1; i <= count; i++) { split(list[i], ends, "-")
                if (ends[1] != "") print ends[1] * size,
                    (ends[2] == "" ? ends[1] : ends[2]) * size + unit } }'
}

# Does our map leave out anything that dumpe2fs does not call free?
compare_dumpe2fs() { # image, map
    free_ranges "$1" | sort -n >free
    awk -v total="$(stat -c %s "$1")" '/^used / { if ($2 > at) print at, $2; at = $2 + $3 }
        END { if (at < total) print at, total }' "$2" >skipped
    awk 'BEGIN { n = 0 } NR == FNR { start[n] = $1; end[n++] = $2; next }
        { at = $1
          for (i = 0; i < n && at < $2; i++) if (start[i] <= at && end[i] > at) at = end[i]
          if (at < $2) { print "skipped but not free:", $1, $2, "at", at; bad = 1 } }
        END { exit bad }' free skipped
}

# partclone writes a map of its own, in the form of ddrescue: + is used.
compare_partclone() { # image, map
    rm -f domain
    case $name in *cluster* | *bigalloc*) return 0 ;; esac # partclone fails on these
    if ! partclone.extfs -D -s "$1" -o domain -L /dev/null >log 2>&1 || ! grep -q '+$' domain; then
        echo "partclone: $(tail -1 log)"
        return 1
    fi
    compared=$((compared + 1))
    awk '/^0x.*\+$/ { print $1, $2 }' domain | while read -r at length; do
        echo $((at)) $((at + length))
    done >theirs
    awk 'BEGIN { n = m = j = 0 } FILENAME == "theirs" { start[n] = $1; end[n++] = $2; next }
        /^used / { from[m] = $2; to[m++] = $2 + $3 }
        END { for (i = 0; i < n; i++) { while (j < m && to[j] <= start[i]) j++
            if (j == m || from[j] > start[i] || to[j] < end[i]) {
                print "partclone uses", start[i], end[i]; bad = 1 } }
            exit bad }' theirs "$2"
}

compared=0
check() { # name, size, mke2fs options...
    local name=$1 size=$2
    shift 2
    rm -f image copy
    # Old data everywhere: what the map says must not rest on zeroes.
    while cat garbage 2>/dev/null; do :; done | head -c "$(numfmt --from=iec "$size")" >image
    if ! mke2fs -q -F -E nodiscard "$@" -d tree image 2>log; then
        echo "  (this mke2fs cannot make: $name: $(head -1 log))"
        return
    fi
    debugfs -w -R "rm many/a_rather_long_name_number_7" image >/dev/null 2>&1
    debugfs -w -R "rm file44" image >/dev/null 2>&1
    # debugfs leaves counts and checksums behind that e2fsck would change.
    e2fsck -fy image >/dev/null 2>&1
    check_image "$name" certain
}

check_image() { # name, certain|doubt
    local name=$1 hash
    hash=$(sha256sum <image)
    "$tool" used image >map || { fail "$name: maptool"; return; }
    if [ "$2" = doubt ]; then
        grep -q '^certain 0' map || fail "$name: no doubt was said"
        grep -q "^used 0 $(stat -c %s image)\$" map || fail "$name: not all is used"
        passed=$((passed + 1))
        return
    fi
    grep -q '^certain 1' map || { fail "$name: $(grep ^doubt map)"; return; }
    "$tool" poison image copy >/dev/null || fail "$name: poison"
    e2fsck -fn copy >fsck 2>&1 || { fail "$name: e2fsck"; head -20 fsck; }
    hash_files image >files.image
    hash_files copy >files.copy
    [ "$(wc -l <files.image)" -gt 150 ] || fail "$name: the test read too few files"
    cmp -s files.image files.copy || fail "$name: files differ"
    compare_dumpe2fs image map || fail "$name: against dumpe2fs"
    compare_partclone image map || fail "$name: blocks that partclone copies are missing"
    [ "$(awk '/^total/ { print $2 }' map)" -lt "$(stat -c %s image)" ] || fail "$name: no byte saved"
    [ "$(sha256sum <image)" = "$hash" ] || fail "$name: the source changed"
    passed=$((passed + 1))
}

make_tree
head -c 16M /dev/urandom >garbage
check "ext2" 24M -t ext2
check "ext2 1k" 24M -t ext2 -b 1024
check "ext2 revision 0" 24M -t ext2 -r 0
check "ext2 no sparse_super" 40M -t ext2 -b 1024 -O ^sparse_super,^resize_inode
check "ext3" 40M -t ext3
check "ext4 defaults" 32M -t ext4
for block in 1024 2048 4096; do
    check "ext4 $block" 32M -t ext4 -b $block
    check "ext4 $block ^flex_bg" 32M -t ext4 -b $block -O ^flex_bg
    check "ext4 $block meta_bg" 32M -t ext4 -b $block -O meta_bg,^resize_inode
    check "ext4 $block meta_bg ^flex_bg" 32M -t ext4 -b $block -O meta_bg,^resize_inode,^flex_bg
    check "ext4 $block sparse_super2" 32M -t ext4 -b $block -O sparse_super2,^resize_inode
    check "ext4 $block 64bit" 32M -t ext4 -b $block -O 64bit
    check "ext4 $block ^64bit ^metadata_csum" 32M -t ext4 -b $block -O ^64bit,^metadata_csum
    check "ext4 $block uninit_bg" 32M -t ext4 -b $block -O ^metadata_csum,uninit_bg
    check "ext4 $block bigalloc" 64M -t ext4 -b $block -O bigalloc
    check "ext4 $block small groups" 32M -t ext4 -b $block -g 1024
    check "ext4 $block small groups ^flex_bg" 32M -t ext4 -b $block -g 1024 -O ^flex_bg
done
check "many groups" 100M -t ext4 -b 1024
check "many groups, uninit_bg, ^flex_bg" 100M -t ext4 -b 1024 -O ^metadata_csum,uninit_bg,^flex_bg
check "many groups, meta_bg, uninit_bg" 100M -t ext4 -b 1024 -g 256 \
    -O ^metadata_csum,uninit_bg,meta_bg,^resize_inode
check "many groups, bigalloc" 150M -t ext4 -b 1024 -O bigalloc -C 8192
check "big clusters" 128M -t ext4 -O bigalloc -C 65536
check "packed groups" 100M -t ext4 -b 1024 -O ^resize_inode -E packed_meta_blocks=1
check "quota and project" 32M -t ext4 -O quota,project
check "inline data, ea_inode, encrypt" 32M -t ext4 -O inline_data,ea_inode,encrypt
check "casefold, verity" 32M -t ext4 -O casefold,verity
check "orphan_file, fast_commit" 32M -t ext4 -O orphan_file,fast_commit
check "metadata_csum_seed, large_dir" 32M -t ext4 -O metadata_csum_seed,large_dir
check "mmp" 32M -t ext4 -O mmp
check "no journal" 32M -t ext4 -O ^has_journal
check "128-byte inodes" 32M -t ext4 -I 128
check "an odd size" $((32 * 1048576 + 7 * 512)) -t ext4
check "a half last group" 37M -t ext4 -b 1024
check "more reserved descriptors" 32M -t ext4 -b 1024 -E resize=4194304

# A file system that was grown and one that was shrunk.
rm -f image; truncate -s 30M image; mke2fs -q -F -t ext4 -b 1024 -d tree image
truncate -s 150M image; resize2fs image >/dev/null 2>&1; e2fsck -fy image >/dev/null 2>&1
check_image "grown" certain
rm -f image; truncate -s 30M image
mke2fs -q -F -t ext4 -b 1024 -g 256 -O 64bit,^resize_inode,meta_bg -d tree image
truncate -s 150M image; resize2fs image >/dev/null 2>&1; e2fsck -fy image >/dev/null 2>&1
check_image "grown with meta_bg" certain
rm -f image; truncate -s 200M image; mke2fs -q -F -t ext4 -d tree image
e2fsck -fy image >/dev/null 2>&1; resize2fs image 60M >/dev/null 2>&1
head -c 1M /dev/urandom | dd of=image bs=1M seek=150 conv=notrunc status=none
check_image "smaller than its volume" certain
grep -q "^used .*" map && cmp -s <(tail -c +$((60 * 1048576 + 1)) image | sha256sum) \
    <(tail -c +$((60 * 1048576 + 1)) copy | sha256sum) || fail "the tail behind it is lost"

# What the kernel leaves behind: groups initialised on first use, deletions, growing while mounted.
# A mounted file system must be doubted, the same one unmounted must not.
kernel() { # name, size, grown size or empty, options
    local name="kernel: $1" size=$2 grown=$3
    shift 3
    rm -f image
    while cat garbage 2>/dev/null; do :; done | head -c "$(numfmt --from=iec "$size")" >image
    mke2fs -q -F -E nodiscard,lazy_itable_init=0 "$@" image 2>log || return
    if ! mount -o loop image mnt 2>log; then
        echo "  (no loop mounts here: $(head -1 log))"
        return
    fi
    if [ -n "$grown" ]; then
        umount mnt
        truncate -s "$grown" image
        mount -o loop image mnt
        if ! resize2fs "$(findmnt -no SOURCE mnt)" >log 2>&1; then
            umount mnt
            grep -q "Permission denied" log || fail "$name: $(tail -1 log)"
            echo "  (not allowed to grow a mounted file system here: $name)"
            return
        fi
    fi
    cp -r tree mnt/a
    sync
    for i in 1 2 3 4; do cp -r tree "mnt/copy$i"; done
    rm -rf mnt/copy2 mnt/copy4
    sync mnt/a/file1
    cp image mounted
    umount mnt || { fail "$name: umount"; return; }
    check_image "$name" certain
    mv mounted image
    check_image "$name, mounted" doubt
}
mkdir mnt
kernel "ext4 defaults" 128M "" -t ext4
kernel "ext4 1k" 128M "" -t ext4 -b 1024
kernel "ext4 small groups, uninit_bg" 128M "" -t ext4 -b 1024 -g 1024 -O ^metadata_csum,uninit_bg
kernel "ext4 meta_bg" 128M "" -t ext4 -b 1024 -g 1024 -O meta_bg,^resize_inode
kernel "ext4 bigalloc" 192M "" -t ext4 -O bigalloc -C 16384
kernel "ext4 grown while mounted" 96M 200M -t ext4 -b 1024
kernel "ext4 64bit grown past its reserved descriptors" 96M 400M -t ext4 -b 1024 -g 256 \
    -O 64bit,^resize_inode,meta_bg
kernel "ext3" 128M "" -t ext3
kernel "ext2" 128M "" -t ext2

# What must be doubted.
doubt() { # name, a debugfs command, options
    rm -f image; truncate -s 16M image; mke2fs -q -F -t ext4 ${3:-} -d tree image
    debugfs -w -R "$2" image >/dev/null 2>&1
    check_image "$1" doubt
}
doubt "needs_recovery" "feature needs_recovery"
doubt "errors" "ssv state 2"
doubt "not clean" "ssv state 0"
doubt "an unknown feature" "ssv feature_incompat 0x80000000"
doubt "too many blocks" "ssv blocks_count 4294967"
doubt "a bitmap outside" "set_bg 0 block_bitmap 400000"
doubt "a false free count" "set_bg 0 free_blocks_count 3" "-O ^metadata_csum"
rm -f image journal; truncate -s 16M image journal
mke2fs -q -F -b 4096 -O journal_dev journal
"$tool" used journal | grep -q "^driver unknown" || fail "a journal device"
mke2fs -q -F -t ext4 -b 4096 -d tree image && debugfs -w -R "ssv journal_inum 0" image >/dev/null 2>&1
check_image "an external journal" doubt

echo "$passed file systems, $compared also compared with partclone, $failed failures"
[ "$passed" -gt 40 ] || { echo "FAIL: too few file systems were made"; exit 1; }
[ "$failed" -eq 0 ]
