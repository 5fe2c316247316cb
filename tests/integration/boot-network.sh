#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The boot medium's network against a real DHCP server, with cables pulled: tests/lib/boot_network.py.
cd "$(dirname "$0")/../.." && exec python3 tests/lib/boot_network.py "$@"
