#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The boot test on real machines: the Debian 12 server as it is on virtio (must be found in the
# initramfs shell), and on AHCI with its interfaces' names pinned (must be found up, each interface
# by its own proof). Nothing may be written to the disks or left in the scratch folder.
set -u
cd "$(dirname "$0")/../.." || exit
tool=${BUILD:-build}/tools/boottool
for need in qemu-system-x86_64 mmdebstrap sfdisk python3; do
    command -v $need >/dev/null || { echo "SKIP: $need is not installed"; exit 77; }
done
[ "$(id -u)" = 0 ] || { echo "SKIP: needs root, to make the server's disks"; exit 77; }
[ -x "$tool" ] || make -s "$tool" || exit 1
server=$(tests/fixtures/make-server deb12 | tail -n 1)
[ -d "$server" ] || { echo "FAIL: make-server"; exit 1; }
work=$(mktemp -d "${REHOST_TMPDIR:-/var/tmp}/boottest.XXXXXX")
trap 'umount "$work/root" 2>/dev/null; rm -rf "$work"' EXIT
failed=0

fail() { echo "FAIL: $*"; failed=1; }

# define FOLDER BUS MODEL [ADDRESS]: guest.json for the server's disks in FOLDER; ADDRESS is one
# more that the first interface is said to have.
define() {
    python3 - "$server" "$@" <<'EOF'
import json, os, sys
server, folder, bus, model = sys.argv[1:5]
with open(server + "/facts.json") as f:
    facts = json.load(f)
nics = [{"mac": n["mac"], "model": model, "name": n["name"],
         "addresses": ["dhcp" if n["method"] == "dhcp" else n["address"]]} for n in facts["nics"]]
nics[0]["addresses"] += sys.argv[5:]
guest = {
    "rehost_guest": 1, "name": facts["hostname"], "uuid": "6f1f2c1e-0000-4000-8000-000000000012",
    "arch": "x86_64", "firmware": {"type": "bios"},
    "cpu": {"sockets": 1, "cores": 2, "threads": 1}, "memory_bytes": 2 << 30, "clock": "utc",
    "disks": [{"path": os.path.join(folder, d["file"]), "format": "raw", "bus": bus,
               "size_bytes": os.path.getsize(os.path.join(folder, d["file"])),
               "serial": d["serial"], "boot_order": i + 1}
              for i, d in enumerate(facts["disks"])],
    "nics": nics, "console": "both"}
print(json.dumps(guest))
EOF
}

# boot NAME: runs the test on NAME.json; the facts are left in NAME.out.
boot() {
    local status=0
    "$tool" "$work/$1.json" tcg "$work/$1.console" >"$work/$1.out" 2>&1 || status=$?
    echo "$1: $(grep -E '^(problem|seconds)=' "$work/$1.out" | tr '\n' ' ')status=$status"
    echo "status=$status" >>"$work/$1.out"
}

# has NAME LINE...: each is a whole line of what was found.
has() {
    local name=$1 line ok=1
    shift
    for line in "$@"; do
        grep -qxF -- "$line" "$work/$name.out" || { fail "$name: no line '$line'"; ok=0; }
    done
    grep -q '^left=' "$work/$name.out" && fail "$name: something is left in the scratch folder"
    [ $ok = 1 ] || { cat "$work/$name.out"; tail -c 2000 "$work/$name.console"; }
}

stamps() { stat -c '%n %s %y %z' "$1"/disk*.img; }

# blank NAME FIRMWARE BUSES DISKS MODELS NICS: a machine with empty disks, which QEMU must take and
# its firmware give up on.
blank() {
    python3 - "$work" "$@" <<'EOF'
import json, sys
work, name, firmware, buses, disks, models, nics = sys.argv[1:]
buses, models = buses.split(), models.split()
guest = {
    "rehost_guest": 1, "name": name, "uuid": "6f1f2c1e-0000-4000-8000-000000000001",
    "arch": "x86_64", "firmware": {"type": "uefi" if firmware == "secure" else firmware},
    "cpu": {"sockets": 1, "cores": 2, "threads": 1}, "memory_bytes": 1 << 30,
    "clock": "localtime", "console": "both", "disks": [], "nics": []}
if firmware == "secure":
    guest["firmware"]["secure_boot"] = True
for i in range(int(disks)):
    with open("%s/blank%d.raw" % (work, i), "wb") as f:
        f.truncate(1 << 20)
    guest["disks"].append({"path": "blank%d.raw" % i, "format": "raw", "bus": buses[i % len(buses)],
                           "size_bytes": 1 << 20, "serial": "s,%d" % i, "boot_order": i + 1})
for i in range(int(nics)):
    guest["nics"].append({"mac": "52:54:00:00:01:%02x" % i, "model": models[i % len(models)],
                          "name": "n%d" % i, "addresses": ["192.0.2.%d/24" % (i + 5)]})
with open("%s/%s.json" % (work, name), "w") as f:
    json.dump(guest, f)
EOF
    boot "$1"
    has "$1" status=4 emergency=0
    grep -q '^problem=the firmware found nothing to boot: ' "$work/$1.out" || fail "$1: $(cat "$work/$1.out")"
}

blank mixed bios 'virtio-blk virtio-scsi sata' 12 'virtio e1000 e1000e rtl8139' 6
blank ide bios ide 4 'virtio rtl8139' 2
blank crowd bios 'virtio-blk sata' 64 'virtio e1000e' 64
if [ -e /usr/share/OVMF/OVMF_CODE_4M.ms.fd ]; then
    blank uefi uefi virtio-blk 1 virtio 1
    blank secure secure sata 1 e1000e 1
else
    echo "UEFI not tried: ovmf is not installed"
fi

before=$(stamps "$server")
define "$server" virtio-blk virtio >"$work/virtio.json"
boot virtio
has virtio status=4 ok=0 stage=kernel emergency=1 \
    'problem=stopped in the initramfs shell: ALERT! UUID=12121212-0001-4000-8000-000000000012 does not exist.'
[ "$before" = "$(stamps "$server")" ] || fail "virtio: a disk was written to"

# A copy whose interfaces keep their names on any slot, and whose disks may come in any order.
cp --sparse=always "$server"/disk*.img "$work" || exit 1
read -r start size < <(sfdisk --json "$work/disk0.img" | python3 -c '
import json, sys
part = json.load(sys.stdin)["partitiontable"]["partitions"][1]
print(part["start"] * 512, part["size"] * 512)')
mkdir "$work/root"
mount -o "loop,offset=$start,sizelimit=$size" "$work/disk0.img" "$work/root" || exit 1
for port in 0 1; do
    printf '[Match]\nMACAddress=00:00:5e:00:53:c%d\n[Link]\nName=enp3s0f%d\n' $port $port \
        >"$work/root/etc/systemd/network/10-port$port.link"
done
for part in sda2:0001 sda3:0002 sdb1:0003; do
    sed -i "s|^/dev/${part%:*} |UUID=12121212-${part#*:}-4000-8000-000000000012 |" \
        "$work/root/etc/fstab"
done
umount "$work/root"

before=$(stamps "$work")
define "$work" sata e1000e >"$work/sata.json"
boot sata
has sata status=0 ok=1 stage=login emergency=0 problem= accelerator=tcg failed=0 \
    'nic=00:00:5e:00:53:c0 seen=1 dhcp=0 ok=1 missing= kernel=' \
    'nic=00:00:5e:00:53:c1 seen=1 dhcp=1 ok=1 missing= kernel='

# The same machine, of which more is expected than it has.
define "$work" sata e1000e 192.0.2.77/24 >"$work/missing.json"
boot missing
has missing status=4 ok=0 stage=login emergency=0 \
    'problem=login reached, but 192.0.2.77 (enp3s0f0) did not answer' \
    'nic=00:00:5e:00:53:c0 seen=1 dhcp=0 ok=0 missing=192.0.2.77 kernel=' \
    'nic=00:00:5e:00:53:c1 seen=1 dhcp=1 ok=1 missing= kernel='
[ "$before" = "$(stamps "$work")" ] || fail "sata: a disk was written to"

exit $failed
