#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Debian 12: GPT, two disks, static and DHCP interfaces, zstd modules.
# Made, booted, converted, booted again: tests/lib/server_test.py.
cd "$(dirname "$0")/../.." && exec python3 tests/lib/server_test.py deb12
