#!/usr/bin/env bash
# Runs the two programs of the ledger example against each other, kills the server in between, and shows what they print.
set -euo pipefail
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT

start() {
    ledger-server "$1" "$home/store" >"$home/out" &
    server=$!
    for _ in $(seq 100); do
        grep -q '^listening on ' "$home/out" && break
        sleep 0.1
    done
    address=$(sed -n 's/^listening on //p' "$home/out")
}

start 127.0.0.1:0
ledger-client "http://$address"
ledger-client "http://$address" carol 5000
{ kill -KILL "$server" && wait "$server"; } 2>/dev/null || true
echo "the server is killed, and started again"
start "$address"
ledger-client "http://$address"
kill -INT "$server"
wait "$server"
cat "$home/out"
