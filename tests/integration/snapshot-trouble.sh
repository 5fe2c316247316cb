#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A running machine on LVM whose sending is interrupted, whose snapshots become full, and whose
# volume group has no room: tests/lib/snapshot.py.
cd "$(dirname "$0")/../.." && exec python3 tests/lib/snapshot.py interrupted overflowed no_room
