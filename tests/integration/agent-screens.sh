#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The pages of the agent for somebody who sits before it:
# tests/lib/agent_screens.py.
cd "$(dirname "$0")/../.." && exec /usr/bin/python3 tests/lib/agent_screens.py "$@"
