#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The man pages and the completion say what the program says: every command has its page, every
# option stands in it and no other, and bash completes both.
set -u
cd "$(dirname "$0")/../.." || exit
failed=0
complain() {
    echo "$*"
    failed=1
}

commands=$(build/rehost --list-commands)
[ -n "$commands" ] || complain "rehost --list-commands says nothing"
for command in $commands; do
    page=docs/man/rehost-$command.1
    [ "$command" != vm ] || page=docs/man/rehost-vm-command.1 # rehost-vm(1) is the hypervisor's
    [ -f "$page" ] || { complain "$page is missing"; continue; }
    text=$(mandoc -T ascii "$page" | col -bx)
    options=$(build/rehost --list-options "$command")
    [ -n "$options" ] || complain "rehost --list-options $command says nothing"
    for option in $options; do
        grep -qE -- "(^|[ ,])$option([ ,=]|\$)" <<<"$text" || complain "$page lacks $option"
    done
    for option in $(grep -oE '^ +--[a-z-]+|^ +-[a-z], --[a-z-]+' <<<"$text" | grep -oE -- '--[a-z-]+'); do
        grep -qxF -- "$option" <<<"$options" || complain "$page has $option, the program has not"
    done
    help=$(build/rehost "$command" --help) || complain "rehost $command --help failed"
    for option in $options; do
        grep -qF -- "$option" <<<"$help" || complain "rehost $command --help lacks $option"
    done
done

complete_line() { # WORDS...: what bash would offer for the last of them
    bash -c '
        source docs/completion/rehost.bash
        COMP_WORDS=(build/rehost "$@") COMP_CWORD=$#
        _rehost 2>/dev/null
        printf "%s\n" "${COMPREPLY[@]}"' - "$@"
}
complete_line conv | grep -qx convert || complain "completion does not offer 'convert'"
complete_line convert --no-b | grep -qx -- --no-boot-test || complain "no completion of options"
complete_line define x --for lib | grep -qx libvirt || complain "no completion of targets"

exit $failed
