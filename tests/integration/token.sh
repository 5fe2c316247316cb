#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# rehost token, status and approve beside a running server: what scripts read, what is refused, and
# that no token stands in a file of the pool, in the server's output or in a process's arguments.
set -u
here=$(cd "$(dirname "$0")/../.." && pwd)
rehost=$(realpath -m "${REHOST:-$here/build/rehost}")
for need in python3 script; do
    command -v $need >/dev/null || { echo "SKIP: $need is not installed"; exit 77; }
done
[ -x "$rehost" ] || { echo "$rehost is not built"; exit 1; }
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; wait; rm -rf "$work"' EXIT
cd "$work" || exit 1
export TZ=UTC
# shellcheck source=tests/lib/checks.sh
. "$here/tests/lib/checks.sh"

field() { python3 -c 'import json, sys; print(eval("d" + sys.argv[1], {"d": json.load(sys.stdin)}))' "$1" <out; }
valid='^[A-Z2-7]{26}$'

# --- usage, and places that are no pool ----------------------------------------------------------

status 1 status --pool nothing && says err 'No such file'
mkdir empty
status 1 status --pool empty && says err 'it is no pool'
status 1 token create --pool empty && same "no token was printed" "$(cat out)" ""
[ -e empty/.rehost ] && fail "token made a pool"
if [ ! -e /srv/rehost ]; then
    status 2 status && says err '--pool'
fi
while read -r arguments; do
    # shellcheck disable=SC2086
    status 2 token $arguments --pool empty
done <<'END'
make
create x
list x
revoke
revoke a b
create --ttl 8
create --ttl 0h
create --ttl 9999w
create --uses 0
create --uses 5000000
create --uses 2 --for web01
create --agents
list --uses 2
list --for web01
revoke abc --note x
revoke abc --json
END
status 2 token --pool empty
status 2 approve --pool empty

# --- a server ------------------------------------------------------------------------------------

"$rehost" serve --pool pool --listen 127.0.0.1:0 --no-fix --no-boot-test >served 2>&1 &
server=$!
for _ in $(seq 100); do grep -q '^pin ' served && break; sleep 0.1; done
says served '^pin sha256:[0-9a-f]{64}$'
same "the private folder's mode" "$(stat -c %a pool/.rehost)" 700
same "the database's mode" "$(stat -c %a pool/.rehost/rehost.db)" 600
status 1 serve --pool pool --listen 127.0.0.1:0 && says err 'another server'

status 0 status --pool pool && says out '^no machines yet'
status 0 status --pool pool --json
same "JSON of an empty pool" "$(field "['machines'] + d['waiting']")" "[]"

status 0 token create --pool pool
same "one line, nothing else" "$(wc -l <out)" 1
says out "$valid"
says err 'token [a-z2-7]{5}: 1 use, until '
tokens=$(cat out)
status 0 token create --pool pool -q --uses 3 --ttl 30m --note $'rack 7\e[31m' && says out "$valid"
same "quiet" "$(cat err)" ""
tokens="$tokens $(cat out)"
status 0 token create --pool pool --json
tokens="$tokens $(field "['token']")"
id=$(field "['id']") expires=$(field "['expires']")
left=$((expires - $(date +%s) - 86400))
[ $left -ge -5 ] && [ $left -le 5 ] || fail "it does not expire in a day: $left"

status 0 token list --pool pool
same "three tokens" "$(grep -c ' valid  ' out)" 3
says out '0 of 3 +20.* rack 7\\x1b\[31m$'
status 0 token revoke --pool pool "${id^^}"
status 0 token list --pool pool --json
same "it is revoked" "$(field "[[t['id'] for t in d].index('$id')]['state']")" revoked
status 0 token revoke --pool pool "$id" --agents && says err '0 agents are refused'
status 1 token revoke --pool pool abcde && says err 'no token abcde'
status 1 token create --pool pool --for web01 && says err 'web01: there is no such machine'
status 1 approve --pool pool ABCD-EFGH && says err 'no agent waits'
status 1 approve --pool pool 'rm -rf' && says err 'no code'

# --- an agent that waits -------------------------------------------------------------------------

pin=$(sed -n 's/^pin //p' served) port=$(sed -n 's/^listening on 127.0.0.1:\([0-9]*\);.*/\1/p' served)
head -c 3000000 /dev/urandom >disk.img && truncate -s 4M disk.img
"$rehost" send disk.img --server "127.0.0.1:$port" --pin "$pin" --name web01 --state "$work/key" \
    >sent 2>&1 </dev/null &
agent=$!
for _ in $(seq 100); do
    status 0 status --pool pool --json
    [ "$(field "['waiting']")" != "[]" ] && break
    sleep 0.1
done
code=$(field "['waiting'][0]['code']")
says sent "$code"
status 0 status --pool pool && says out "rehost approve --pool $work/pool $code"
says out "$code  from 127.0.0.1"
status 0 approve --pool pool "${code,,}"
wait $agent
same "the agent's exit code" $? 0
for _ in $(seq 100); do
    status 0 status --pool pool --json
    [ "$(field "['machines'][0]['exit_code']")" != None ] && break
    sleep 0.1
done
same "the machine" "$(field "['machines'][0]['name']")" web01
same "its code" "$(field "['machines'][0]['code']")" "$code"
same "its disk" "$(field "['machines'][0]['disks'][0]['size_bytes']")" 4194304
same "nobody waits" "$(field "['waiting']")" "[]"
status 0 status --pool pool && says out '^web01 +(done|warned|failed) '
[ "$(wc -L <out)" -le 80 ] || fail "wider than 80 columns: $(cat out)"

# --- the same machine with a new key -------------------------------------------------------------

status 0 token create --pool pool --for web01
tokens="$tokens $(cat out)"
"$rehost" send disk.img --server "127.0.0.1:$port" --pin "$pin" --name web01 --state "$work/key2" \
    --token-file out >sent 2>&1 </dev/null || fail "with a new key: $(cat sent)"
status 0 status --pool pool --json
same "no second machine" "$(field "['machines'][1:]")" "[]"
"$rehost" send disk.img --server "127.0.0.1:$port" --pin "$pin" --name web01 --state "$work/key" \
    >sent 2>&1 </dev/null
same "the old key is refused" $? 5

# --- watching, and no token anywhere -------------------------------------------------------------

timeout --preserve-status -s INT 2.5 "$rehost" status --pool pool --watch --json >out || fail "watch: $?"
[ "$(wc -l <out)" -ge 2 ] || fail "it was not repeated: $(cat out)"
same "each line is a document" "$(while read -r line; do python3 -m json.tool <<<"$line" >/dev/null || echo no; done <out)" ""
script -qec "timeout --foreground --preserve-status -s INT 1.5 '$rehost' status --pool pool --watch" /dev/null >out || fail "watch on a terminal"
says out $'\e\\[H'

kill -TERM "$server" && wait "$server" || fail "the server ended with $?"
server=
for token in $tokens; do
    grep -rqi "$token" pool served sent && fail "a token stands in $(grep -rli "$token" pool served sent)"
    passed=$((passed + 1))
done
status 0 status --pool pool --json && same "without a server" "$(field "['machines'][0]['name']")" web01

echo "$passed checks passed, $failed failed"
[ $failed -eq 0 ]
