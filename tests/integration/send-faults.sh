#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Cuts, kills, full pools and sick disks: tests/lib/send_faults.py. SOAK=1 for the long run.
cd "$(dirname "$0")/../.." && exec python3 tests/lib/send_faults.py "$@"
