#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The definition writers against those who read them: libvirt's own schema, shells, and QEMU, which
# is really started with every bus, NIC model, firmware and console, and boots a sector from each
# bus. Between them the definitions have every value that guest.json knows.

set -eu
cd "$(dirname "$0")/../.."
top=$PWD
definetool=$top/${BUILD:-build}/tools/definetool
for tool in qemu-system-x86_64 qemu-img virt-xml-validate; do
    command -v $tool >/dev/null || { echo "skip: no $tool"; exit 77; }
done
[ -r /usr/share/OVMF/OVMF_CODE_4M.ms.fd ] || { echo "skip: no OVMF (package ovmf)"; exit 77; }
[ -x "$definetool" ] || make -s "${definetool#"$top"/}"

work=$(mktemp -d)
trap '[ ! -s "$work/pid" ] || kill "$(cat "$work/pid")"; rm -rf "$work"' EXIT
cd "$work"
export ACCEL=tcg
failures=0
checks=0

fail() { echo "FAIL: $*"; failures=$((failures + 1)); }

# check NAME COMMAND…: runs it, its output is shown only when it fails.
check() {
    local name=$1
    shift
    checks=$((checks + 1))
    "$@" >"$work/log" 2>&1 || { fail "$name: $*"; sed 's/^/    /' "$work/log"; }
}

# contains NAME FILE TEXT: the file has the text, as it is.
contains() {
    checks=$((checks + 1))
    grep -qF -- "$3" "$2" || { fail "$1: no '$3' in $2:"; tail -n 20 "$2" | sed 's/^/    /'; }
}

# --- definitions ---------------------------------------------------------------------------------

# disk BUS [PATH [FORMAT [MORE]]]: one item of 'disks'; PATH as it stands in JSON.
disk() {
    printf '{"path": "%s", "format": "%s", "size_bytes": 1048576, "bus": "%s"%s}' \
        "${2:-disk0.qcow2}" "${3:-qcow2}" "$1" "${4:-}"
}

nic() { # MODEL [MORE]
    nics_made=$((${nics_made:-0} + 1))
    printf '{"mac": "52:54:00:00:00:%02x", "model": "%s"%s}' $nics_made "$1" "${2:-}"
}

# define FOLDER DISKS NICS [MORE]: writes its guest.json; MORE goes before and so replaces nothing.
firmware='{"type": "bios"}' cpu='{"sockets": 1, "cores": 2, "threads": 1}'
define() {
    mkdir -p "$1"
    cat >"$1/guest.json" <<END
{"rehost_guest": 1, "name": "web01", "uuid": "0f7bd2a6-4c1e-8a3f-9b1c-2d3e4f506172",
 "arch": "x86_64", "firmware": $firmware, "cpu": $cpu, "memory_bytes": 268435456,
 "disks": [$2], "nics": [$3]${4:-}}
END
}

# A boot sector: prints "booted from here" on COM1, then resets the machine by its keyboard
# controller (which ends QEMU with -no-reboot).
#     cli; xor ax,ax; mov ds,ax; mov si,0x7c20; mov dx,0x3f8
#     next: lodsb; test al,al; jz end; out dx,al; jmp next;  end: mov al,0xfe; out 0x64,al; hlt
make_sector() { # FILE
    {
        printf '\372\061\300\216\330\276\040\174\272\370\003'
        printf '\254\204\300\164\003\356\353\370\260\376\346\144\364\353\375'
        head -c 6 /dev/zero
        printf 'booted from here\r\n\0'
    } >"$1"
    truncate -s 510 "$1"
    printf '\125\252' >>"$1"
    truncate -s 1M "$1"
}
make_sector sector.raw

put_disks() { # FOLDER: the sector as disk0.qcow2
    qemu-img convert -q -f raw -O qcow2 sector.raw "$1/disk0.qcow2"
}

# --- what is tried with each ---------------------------------------------------------------------

static_checks() { # FOLDER
    "$definetool" json "$1/guest.json" >"$1/again.json"
    "$definetool" libvirt "$1/guest.json" >"$1/libvirt.xml" || fail "$1: no XML"
    "$definetool" qemu "$1/guest.json" >"$1/start.sh" || fail "$1: no script"
    check "$1: XML is what libvirt's schema wants" virt-xml-validate "$1/libvirt.xml" domain
    check "$1: script is one for sh" sh -n "$1/start.sh"
    # SC2016 warns of '$' in single quotes, which is what a path with a '$' has to be.
    ! command -v shellcheck >/dev/null ||
        check "$1: script has nothing doubtful" shellcheck -s sh -e SC2016 "$1/start.sh"
}

# Starts QEMU by the script, halted, and asks it what it has; the answers are in FOLDER/answers.
ask() { # FOLDER [OPTION…]
    local folder=$1
    shift
    printf '%s\n' '{"execute": "qmp_capabilities"}' '{"execute": "query-name"}' \
        '{"execute": "query-uuid"}' '{"execute": "query-block"}' \
        '{"execute": "query-memory-size-summary"}' \
        '{"execute": "human-monitor-command", "arguments": {"command-line": "info network"}}' \
        '{"execute": "human-monitor-command", "arguments": {"command-line": "info qtree"}}' \
        '{"execute": "quit"}' |
        SERIAL=null timeout 60 sh "$folder/start.sh" -S -qmp stdio "$@" >"$folder/answers" 2>"$folder/errors" ||
        fail "$folder: QEMU does not start"
    checks=$((checks + 1))
    [ ! -s "$folder/errors" ] || { fail "$folder: QEMU says:"; sed 's/^/    /' "$folder/errors"; }
    contains "$folder" "$folder/answers" '{"name": "web01"}'
    contains "$folder" "$folder/answers" '{"UUID": "0f7bd2a6-4c1e-8a3f-9b1c-2d3e4f506172"}'
    contains "$folder" "$folder/answers" '{"base-memory": 268435456'
}

# Lets the guest run; what came over its serial port is in FOLDER/serial.
boot() { # FOLDER SECONDS [OPTION…]
    local folder=$1 seconds=$2
    shift 2
    SERIAL=file:$folder/serial timeout "$seconds" sh "$folder/start.sh" -no-reboot "$@" \
        >"$folder/errors" 2>&1 </dev/null || [ $? -eq 124 ] || fail "$folder: QEMU failed"
}

# The same, ended as soon as TEXT came.
boot_until() { # FOLDER SECONDS TEXT
    SERIAL=file:$1/serial timeout "$2" sh "$1/start.sh" >"$1/errors" 2>&1 </dev/null &
    while kill -0 $! 2>/dev/null && ! grep -qF -- "$3" "$1/serial" 2>/dev/null; do
        sleep 0.2
    done
    kill $! 2>/dev/null || :
    wait $! || :
}

# --- every bus with every NIC model --------------------------------------------------------------

for bus in virtio-blk virtio-scsi sata ide; do
    for model in virtio e1000 e1000e rtl8139; do
        folder=$bus-$model nics_made=0
        define "$folder" "$(disk $bus disk0.qcow2 qcow2 ', "serial": "S-1"')" "$(nic $model)"
        put_disks "$folder"
        static_checks "$folder"
        ask "$folder"
        contains "$folder" "$folder/answers" 'macaddr=52:54:00:00:00:01'
        contains "$folder" "$folder/answers" 'serial = \"S-1\"'
        contains "$folder" "$folder/answers" "\"$work/$folder/disk0.qcow2\""
    done
    boot "$bus-virtio" 60
    contains "$bus boots" "$bus-virtio/serial" 'booted from here'
done

# --- firmware, consoles, clocks, limits ----------------------------------------------------------

for console in serial vga both; do
    for clock in utc localtime; do
        folder=$console-$clock nics_made=0
        define "$folder" "$(disk virtio-blk)" "$(nic virtio)" \
            ", \"console\": \"$console\", \"clock\": \"$clock\",
             \"os\": {\"type\": \"linux\", \"distro\": \"debian\", \"version\": \"12\"}"
        put_disks "$folder"
        static_checks "$folder"
        ask "$folder" -display none
    done
done

uefi() { # FOLDER FIRMWARE STORE
    firmware=$2
    define "$1" "$(disk virtio-blk)" ""
    firmware='{"type": "bios"}'
    put_disks "$1"
    static_checks "$1"
    ask "$1"
    checks=$((checks + 1))
    [ "$(stat -c %s "$1/$3")" = 540672 ] || fail "$1: no variable store $3"
}
uefi uefi '{"type": "uefi"}' web01.nvram
boot_until uefi 120 'starting Boot'
contains "UEFI" uefi/serial 'EFI Internal Shell'
uefi uefi-nvram '{"type": "uefi", "nvram": "its own.fd"}' "its own.fd"
# Secure Boot is on when what is not signed, the firmware's own shell, is not let in.
uefi secure '{"type": "uefi", "secure_boot": true}' web01.nvram
boot_until secure 120 'Security Violation'
contains "Secure Boot" secure/serial 'Security Violation'

nics_made=0
define limits "$(disk virtio-blk), $(disk sata other.raw raw)" "$(nic virtio)" \
    ', "limits": {"cpu_percent": 150, "net_bytes_per_second": 1500,
                  "disk_bytes_per_second": 1000000, "disk_operations_per_second": 500}'
put_disks limits
truncate -s 1M limits/other.raw
static_checks limits
ask limits
contains "limits" limits/answers '"bps": 1000000'
contains "limits" limits/answers '"iops": 500'

cpu='{"sockets": 2, "cores": 2, "threads": 2, "model": "Nehalem"}'
define model "$(disk virtio-blk)" ""
put_disks model
static_checks model
ask model
cpu='{"sockets": 1, "cores": 2, "threads": 1}'

# --- as many devices as there may be -------------------------------------------------------------

many() { # FOLDER BUS…: 64 disks over these buses, 64 NICs of all models
    local folder=$1 disks="" nics="" i models=(virtio e1000 e1000e rtl8139)
    shift
    local buses=("$@")
    nics_made=0
    mkdir -p "$folder"
    for i in $(seq 0 63); do
        disks+="${disks:+, }$(disk "${buses[$((i % ${#buses[@]}))]}" disk$i.raw raw)"
        nics+="${nics:+, }{\"mac\": \"52:54:00:00:01:$(printf %02x $i)\", \"model\": \"${models[$((i % 4))]}\"}"
        truncate -s 1M "$folder/disk$i.raw"
    done
    define "$folder" "$disks" "$nics"
    static_checks "$folder"
    ask "$folder"
    contains "$folder" "$folder/answers" "$work/$folder/disk63.raw"
    contains "$folder" "$folder/answers" 'macaddr=52:54:00:00:01:3f'
}
many many-virtio virtio-blk
many many-mixed virtio-blk virtio-scsi sata

nics_made=0
define ide "$(disk ide), $(disk ide 1.raw raw), $(disk sata 2.raw raw), $(disk ide 3.raw raw), $(disk virtio-scsi 4.raw raw)" ""
put_disks ide
for i in 1 2 3 4; do truncate -s 1M ide/$i.raw; done
static_checks ide
ask ide

# --- booting in order, from a backing file, with writes discarded --------------------------------

define order "$(disk virtio-blk empty.raw raw ', "boot_order": 2'), $(disk sata disk0.qcow2 qcow2 ', "boot_order": 1')" ""
put_disks order
truncate -s 1M order/empty.raw
static_checks order
boot order 60
contains "boot order" order/serial 'booted from here'

mkdir overlay
cp sector.raw overlay/base.raw
(cd overlay && qemu-img create -q -f qcow2 -b base.raw -F raw disk0.qcow2)
define overlay "$(disk virtio-blk disk0.qcow2 qcow2 ', "backing": "base.raw"')" ""
static_checks overlay
boot overlay 60 -snapshot
contains "overlay with -snapshot boots" overlay/serial 'booted from here'

mkdir elsewhere
cp overlay/start.sh elsewhere
boot elsewhere 60 -snapshot
contains "a script put elsewhere finds its disks" elsewhere/serial 'booted from here'

# --- in the background, UEFI with writes discarded -----------------------------------------------

cp uefi/web01.nvram store
ask uefi -snapshot
check "-snapshot leaves the variables alone" cmp store uefi/web01.nvram
check "-daemonize" env SERIAL=null sh virtio-blk-virtio/start.sh -S -daemonize \
    -pidfile "$work/pid" -qmp "unix:$work/qmp,server=on,wait=off"
check "it runs in the background" test -S qmp
[ ! -s pid ] || kill "$(cat pid)"

# --- hostile texts -------------------------------------------------------------------------------

# The folder too: commas, quotes, blanks, '$'. In JSON a backslash and a double quote are escaped.
hostile="a, b'c\"d \$(touch owned) \`touch owned\`"
name='it'\''s $(touch owned) `touch owned`; \"a\",b\\ <&> ]]> *,file.locking=off.raw'
plain='it'\''s $(touch owned) `touch owned`; "a",b\ <&> ]]> *,file.locking=off.raw'
nics_made=0
define "$hostile" "$(disk virtio-blk "$name" raw ', "serial": "$(touch owned),bus=x"')" \
    "$(nic virtio ', "name": "$(touch owned)", "network": "`touch owned`; <a> & \"b\""')"
cp sector.raw "$hostile/$plain"
static_checks "$hostile"
ask "$hostile"
contains "hostile path" "$hostile/answers" 'file.locking=off.raw"'
boot "$hostile" 60
checks=$((checks + 1))
[ ! -s "$hostile/errors" ] || { fail "hostile: QEMU says:"; cat "$hostile/errors"; }
contains "hostile path boots" "$hostile/serial" 'booted from here'
checks=$((checks + 1))
[ -z "$(find "$work" -name owned)" ] || fail "a text of the definition was run"

# --- the accelerator is found out, NET is refused by name ----------------------------------------

(unset ACCEL; ask virtio-blk-virtio)
checks=$((checks + 1))
if NET=wrong sh virtio-blk-virtio/start.sh -S </dev/null >log 2>&1; then
    fail "NET=wrong was taken"
fi
contains "NET" log 'NET=wrong: must be user, isolated, bridge or tap'
NET=isolated ask virtio-blk-e1000
NETDEV0='user,id=net0,hostname=a' ask virtio-blk-e1000

echo "$checks checks, $failures failures"
[ $failures -eq 0 ]
