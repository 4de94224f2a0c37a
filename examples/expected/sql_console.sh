#!/usr/bin/env bash
# The demonstration; then statements from standard input to a server that is another process.
set -euo pipefail
sql_console

home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
sql_console serve "$home/console.db" --listen 127.0.0.1:0 >"$home/out" &
server=$!
for _ in $(seq 100); do
    grep -q '^listening on ' "$home/out" && break
    sleep 0.1
done
address=$(sed -n 's/^listening on //p' "$home/out")
printf '%s\n' 'SELECT 6 * 7 AS answer' 'SELEC' 'BEGIN' | sql_console connect "http://$address" --user carol
# The hook for the session's end runs on a thread of its own.
for _ in $(seq 100); do
    grep -q '^session 1 ' "$home/out" && break
    sleep 0.1
done
kill -INT "$server"
wait "$server"
cat "$home/out"
