#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Pulled cables, dead servers, lost power and bad sectors on the way of the agent:
# tests/lib/agent_trouble.py.
cd "$(dirname "$0")/../.." && exec /usr/bin/python3 tests/lib/agent_trouble.py "$@"
