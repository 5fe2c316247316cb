#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Pins, tokens and hostile agents: tests/lib/wire_trust.py.
cd "$(dirname "$0")/../.." && exec python3 tests/lib/wire_trust.py "$@"
