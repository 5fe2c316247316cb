#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Cuts, full pools, sick disks, odd clocks, many agents: tests/lib/send_faults.py (send-kills.sh has
# the rest of it). SOAK=1 for the long run.
cd "$(dirname "$0")/../.." &&
    exec python3 tests/lib/send_faults.py cuts resent full bad-sectors pulled-out truncated clock many
