#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Debian 11: MBR, logical partitions, separate /boot, device names everywhere, DHCP.
# Made, booted, converted, booted again: tests/lib/server_test.py.
cd "$(dirname "$0")/../.." && exec python3 tests/lib/server_test.py deb11
