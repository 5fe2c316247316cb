#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# A simulated server sends itself while it runs, and its copy boots: tests/lib/send_server.py.
cd "$(dirname "$0")/../.." && exec python3 tests/lib/send_server.py
