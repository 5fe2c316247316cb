#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# serve and send when nothing goes wrong: tests/lib/send_basic.py.
cd "$(dirname "$0")/../.." && exec python3 tests/lib/send_basic.py "$@"
