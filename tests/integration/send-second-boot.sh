#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# An agent that keeps nothing, killed and started again: tests/lib/send_second_boot.py.
cd "$(dirname "$0")/../.." && exec python3 tests/lib/send_second_boot.py "$@"
