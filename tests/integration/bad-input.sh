#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Lying headers, odd targets, kills and systems that are none: tests/lib/bad_input.py.
cd "$(dirname "$0")/../.." && exec python3 tests/lib/bad_input.py "$@"
