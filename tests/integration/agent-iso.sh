#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The agent's ISO: a simulated server starts from it, sends itself, its copy boots:
# tests/lib/agent_iso.py.
cd "$(dirname "$0")/../.." && exec /usr/bin/python3 tests/lib/agent_iso.py "$@"
