#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Servers and agents killed, and a network that swallows: tests/lib/send_faults.py. SOAK=1 for the
# long run.
cd "$(dirname "$0")/../.." &&
    exec python3 tests/lib/send_faults.py server-kills agent-kills hole
