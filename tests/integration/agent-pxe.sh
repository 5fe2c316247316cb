#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The agent over PXE: a simulated server starts from the network and sends itself:
# tests/lib/agent_pxe.py.
cd "$(dirname "$0")/../.." && exec /usr/bin/python3 tests/lib/agent_pxe.py "$@"
