#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The machine's ACPI tables before the compiler of those who wrote the specification: it reads every
# table, and compiles what it made of the DSDT without a word of complaint.
set -eu
cd "$(dirname "$0")/../.."
command -v iasl >/dev/null || {
    echo "skip: no iasl (acpica-tools)"
    exit 77
}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

for cpus in 1 2 64; do
    build/tools/acpi_tables "$cpus" "$folder"
    for table in XSDT FACP APIC DSDT; do
        iasl -d "$folder/$table.dat" >"$folder/log" 2>&1
        if grep -iE 'incorrect checksum|invalid|error|warning|exceeds' "$folder/log" "$folder/$table.dsl"; then
            exit 1
        fi
    done
    iasl -we -p "$folder/again" "$folder/DSDT.dsl" >"$folder/log" 2>&1
    grep -q ' 0 Errors, 0 Warnings, 0 Remarks' "$folder/log" || {
        cat "$folder/log"
        exit 1
    }
    [ "$(grep -c 'Processor Local APIC' "$folder/APIC.dsl")" -eq "$cpus" ]
done
echo "tables for 1, 2 and 64 CPUs: ok"
