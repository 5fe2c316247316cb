#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Debian 13: GPT, systemd-networkd, encrypted swap, xz modules.
# Made, booted, converted, booted again: tests/lib/server_test.py.
cd "$(dirname "$0")/../.." && exec python3 tests/lib/server_test.py deb13
