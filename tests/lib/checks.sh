# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# For scripts of many small checks: what is counted, and how it is told.
failed=0 passed=0

fail() { echo "FAIL: $*"; failed=$((failed + 1)); }
check() { # WHAT COMMAND...
    local what=$1
    shift
    if "$@"; then passed=$((passed + 1)); else fail "$what"; fi
}

# status WANTED COMMAND...: runs $rehost, output in out and err; complains of another exit code.
status() {
    local wanted=$1 got=0
    shift
    # shellcheck disable=SC2154 # the script's
    "$rehost" "$@" >out 2>err </dev/null || got=$?
    if [ $got -eq "$wanted" ]; then passed=$((passed + 1)); return 0; fi
    fail "rehost $*: exit code $got, not $wanted"
    sed 's/^/    | /' out err
    return 1
}
says() { # FILE PATTERN
    if grep -qE -- "$2" "$1"; then passed=$((passed + 1)); else fail "no '$2' in:" "$(cat "$1")"; fi
}
same() { # WHAT A B
    if [ "$2" = "$3" ]; then passed=$((passed + 1)); else fail "$1: '$2' is not '$3'"; fi
}
