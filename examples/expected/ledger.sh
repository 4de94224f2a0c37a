#!/usr/bin/env bash
# Runs the two programs of the ledger example against each other and shows what both print.
set -euo pipefail
out=$(mktemp)
trap 'rm -f "$out"' EXIT
ledger-server 127.0.0.1:0 >"$out" &
server=$!
for _ in $(seq 100); do
    grep -q '^listening on ' "$out" && break
    sleep 0.1
done
address=$(sed -n 's/^listening on //p' "$out")
ledger-client "http://$address"
ledger-client "http://$address" carol 5000
kill -INT "$server"
wait "$server"
cat "$out"
