#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A running machine on LVM sends itself by way of snapshots: tests/lib/snapshot.py.
cd "$(dirname "$0")/../.." && exec python3 tests/lib/snapshot.py
