#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The agent's boot media without booting them: the same bytes twice, what xorriso, sfdisk, mtools,
# cpio and modprobe see in them, secrets, refusals, and work without a network. agent-iso.sh and
# agent-pxe.sh boot them.
set -u
here=$(cd "$(dirname "$0")/../.." && pwd)
rehost=$(realpath -m "${REHOST:-$here/build/rehost}")
for need in apt-get cpio depmod grub-mkimage mcopy mkfs.fat modprobe sfdisk xorriso zstd; do
    command -v $need >/dev/null || { echo "SKIP: $need is not installed"; exit 77; }
done
[ -x "$rehost" ] || { echo "$rehost is not built"; exit 1; }
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/rehost/packages
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
# shellcheck source=tests/lib/checks.sh
. "$here/tests/lib/checks.sh"

check() { # WHAT COMMAND..., whose output is of no concern when it does not fail
    local what=$1
    shift
    if "$@" >check.out 2>&1; then passed=$((passed + 1)); else fail "$what:" "$(head -n 5 check.out)"; fi
}

# A copy of the agent: nothing that is built meanwhile gets in between.
cp "$(dirname "$rehost")/rehost-agent" agent || exit 1
token=ABCDEFGHIJKLMNOPQRSTUVWXYA
pin=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
echo $token >token

# --- refusals, before anything is fetched ----------------------------------------------------------

while read -r line; do
    # shellcheck disable=SC2086 # words
    status 2 $line && check "nothing on stdout ($line)" test ! -s out
done <<END
make-iso
make-iso -o x.iso extra
make-iso -o x.iso --pin $pin
make-iso -o x.iso --server conv --token-file token
make-iso -o x.iso --server conv --pin sha256:12
make-iso -o x.iso --append rehost.token=$token
make-iso -o x.iso --append rehost.name='x'
make-iso -o x.iso --append rehost.name=\$x
make-pxe
make-pxe -o pxe --base-url conv/rehost
make-pxe -o pxe --base-url http://conv/\${net}
END
touch there.iso
status 1 make-iso -o there.iso && says err 'exists already \(--force replaces it\)'
status 1 make-iso -o no/such/folder/x.iso && says err 'no/such/folder'
mkdir bin
for tool in grub-mkimage mcopy depmod env; do ln -s "$(command -v $tool)" bin; done
PATH=$work/bin status 1 make-iso -o x.iso && says err 'xorriso is not installed: apt-get install xorriso$'
mkdir broken && echo nonsense >broken/udev_1_amd64.deb
status 1 make-iso -o x.iso --packages broken && says err 'broken/udev_1_amd64.deb: '
status 1 make-iso -o x.iso --agent token && says err 'the agent, token: not a program'
check "nothing is left behind" sh -c '! ls -A | grep -E "x.iso|partial"'

# --- one ISO, twice ---------------------------------------------------------------------------------

if ! "$rehost" make-iso -q -o one.iso --agent agent --server '[2001:db8::7]:7443' --pin $pin \
    --token-file token --append rehost.then=wait >out 2>err; then
    grep -q 'apt-' err || { cat err; exit 1; }
    echo "SKIP: apt has no packages: $(cat err)"
    exit 77
fi
check "-q is quiet" test ! -s out
check "readable by the owner only" test "$(stat -c %a one.iso)" = 600
check "the token is nobody else's" sh -c "! grep -r $token out err"

# Without a network, and without an apt that works; elsewhere, with one core, in another zone.
mkdir tmp apt
printf '#!/bin/sh\necho "E: no network" >&2\nexit 100\n' >apt/apt-get
cp apt/apt-get apt/apt-cache && chmod +x apt/*
TMPDIR=$work/tmp TZ=Asia/Tokyo PATH=$work/apt:$PATH taskset -c 0 "$rehost" make-iso -o two.iso \
    --packages "$cache" --agent agent --server '[2001:db8::7]:7443' --pin $pin --token-file - \
    --append rehost.then=wait <token >out 2>err || fail "without apt:" "$(cat err)"
check "the same inputs give the same bytes" cmp one.iso two.iso
check "temporary files are gone" sh -c "! ls -A tmp | grep ."
says out 'two.iso: [0-9.]+ MiB, kernel .* sends to \[2001:db8::7\]:7443; holds a token$'
check "under 150 MB" test "$(stat -c %s one.iso)" -lt 150000000

# --- what others see in it ---------------------------------------------------------------------------

xorriso -indev one.iso -report_el_torito plain >torito 2>/dev/null
check "the volume's name" sh -c 'xorriso -indev one.iso -pvd_info 2>/dev/null | grep -q "^Volume Id *: REHOST_AGENT$"'
says torito '^El Torito boot img : *1 *BIOS *y *none'
says torito '^El Torito boot img : *2 *UEFI *y *none'
sfdisk -d one.iso >table 2>/dev/null
says table '^label: dos'
says table 'type=ef'
start=$(sed -n 's/.*start= *\([0-9]*\),.*type=ef.*/\1/p' table)
check "shim in the EFI partition" mdir -i "one.iso@@$((start * 512))" ::/EFI/BOOT/BOOTX64.EFI
check "GRUB in the EFI partition" mdir -i "one.iso@@$((start * 512))" ::/EFI/BOOT/grubx64.efi
xorriso -osirrox on -indev one.iso -extract /boot/grub/grub.cfg grub.cfg \
    -extract /boot/initrd.img initrd.img -extract /boot/vmlinuz vmlinuz >/dev/null 2>&1
says grub.cfg "rehost.server=\[2001:db8::7\]:7443 rehost.pin=$pin rehost.token=$token rehost.then=wait$"
says grub.cfg 'rehost.then=wait rehost.confirm$'
says grub.cfg 'rehost.then=wait rehost.shell$'

# --- PXE, and the initramfs --------------------------------------------------------------------------

status 0 make-pxe -o pxe --packages "$cache" --agent agent --json --base-url http://conv/rehost
says out '"unpacked_bytes": [0-9]{8},?$'
says pxe/grub.cfg 'linux \(http,conv\)/rehost/vmlinuz console='
says pxe/pxelinux.cfg 'KERNEL http://conv/rehost/vmlinuz'
says pxe/rehost.ipxe '^kernel http://conv/rehost/vmlinuz initrd=initrd.img '
status 1 make-pxe -o pxe && says err 'exists already'
check "the same kernel as on the ISO" cmp vmlinuz pxe/vmlinuz
check "the same initramfs as on the ISO" cmp initrd.img pxe/initrd.img

mkdir root
zstd -dcq pxe/initrd.img 2>/dev/null | (cd root && cpio -idm --quiet) 2>/dev/null # zeroes follow
check "the agent is /init" cmp agent root/init
check "it leaves room in 512 MiB" test "$(du -sm root | cut -f1)" -lt 128
kernel=$(basename root/usr/lib/modules/*)
for module in ahci nvme sd_mod megaraid_sas mpt3sas virtio_blk virtio_net e1000e igb tg3 r8169 \
    bonding 8021q usb_storage xhci_pci hid_generic vmd raid1; do
    check "module $module and what it needs" modprobe -d root -S "$kernel" --dry-run --ignore-install $module
done
check "sd_mod brings t10-pi" sh -c "modprobe -d root -S $kernel --show-depends sd_mod | grep -q t10-pi"
check "no library is missing" sh -c '
    for program in root/usr/bin/busybox root/usr/bin/kmod root/usr/bin/udevadm root/usr/bin/ip \
        root/usr/sbin/lvm root/usr/sbin/mdadm root/usr/sbin/cryptsetup root/usr/sbin/dmsetup; do
        /lib64/ld-linux-x86-64.so.2 --inhibit-cache \
            --library-path root/usr/lib/x86_64-linux-gnu --list $program >list || exit 1
        ! grep -q "not found" list || { echo $program; cat list; exit 1; }
    done'
# Nothing there that assembles, activates or writes without being asked.
check "no rule assembles or activates" sh -c '
    ! grep -rE "(RUN|PROGRAM|program).*(mdadm|lvm|dmsetup|pvscan|vgchange|cryptsetup|bcache)|btrfs ready" \
        root/usr/lib/udev/rules.d'
check "no driver of a journalling file system" sh -c '
    ! find root -name "ext4.ko*" -o -name "xfs.ko*" -o -name "btrfs.ko*" -o -name "ntfs3.ko*" | grep .'
check "mdadm assembles nothing by itself" grep -q '^AUTO -all' root/etc/mdadm/mdadm.conf
check "LVM writes no metadata" grep -q 'metadata_read_only = 1' root/etc/lvm/lvm.conf
for name in linux vt100 vt220; do
    check "terminfo of $name" sh -c "find root/usr -path '*/terminfo/?/$name' -size +0 | grep ."
done
check "every link leads somewhere" sh -c '
    cd root && find . -type l | while read -r link; do
        target=$(readlink $link)
        case $target in
        /*) target=.$target ;;
        *) target=${link%/*}/$target ;;
        esac
        case $target in */proc/* | */run/* | */run) continue ;; esac
        [ -e $target ] || { echo $link; exit 1; }
    done'

echo "$passed checks passed, $failed failed"
[ $failed -eq 0 ]
