#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Debian 12 started by UEFI: an EFI system partition without the removable-media path.
# Made, booted, converted, booted again: tests/lib/server_test.py.
cd "$(dirname "$0")/../.." && exec python3 tests/lib/server_test.py deb12-uefi
