# SPDX-License-Identifier: GPL-2.0-or-later
#
# bash completion for rehost. Commands and options are asked from the program itself, so they are
# those of the version that is installed.

_rehost() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
    local program=${COMP_WORDS[0]} command=${COMP_WORDS[1]}
    local words=

    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="$("$program" --list-commands 2>/dev/null) help --help --version"
    else
        case $previous in
        --for)
            [ "$command" != define ] || words=$("$program" targets 2>/dev/null | cut -d' ' -f1)
            ;;
        --format | --source-format) words=$("$program" formats 2>/dev/null | cut -d' ' -f1) ;;
        --progress) words="auto bar json none" ;;
        --snapshots) words="auto no" ;;
        --hypervisor) words="auto rehost-vm qemu" ;;
        --backing-folder | --packages | --pool | --state)
            mapfile -t COMPREPLY < <(compgen -d -- "$current")
            return
            ;;
        *)
            case $current in
            -*) words=$("$program" --list-options "$command" 2>/dev/null) ;;
            *)
                if [ "$command" = token ] && [ "$COMP_CWORD" -eq 2 ]; then
                    mapfile -t COMPREPLY < <(compgen -W "create list revoke" -- "$current")
                    return
                fi
                if [ "$command" = vm ] && [ "$COMP_CWORD" -le 3 ]; then
                    words="list console pause resume powerdown reset stop stats limits"
                    [ "$COMP_CWORD" -eq 2 ] ||
                        words=$("$program" vm list 2>/dev/null | awk 'NR > 1 { print $1 }')
                    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
                    return
                fi
                compopt -o filenames 2>/dev/null
                mapfile -t COMPREPLY < <(compgen -f -- "$current")
                return
                ;;
            esac
            ;;
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _rehost rehost
