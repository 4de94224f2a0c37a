#!/usr/bin/env bash
# Runs each example that has a file `examples/expected/NAME.txt` and compares what it prints with that file.
#
# Examples print what a reader should see, so the comparison is exact. Where a value must differ from run to run,
# `examples/expected/NAME.sed` replaces it in the output before the comparison. An executable
# `examples/expected/NAME.sh` is run instead of the program of that name, for examples of several processes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bin="$(cd "${CARGO_TARGET_DIR:-target}/debug" && pwd)"
export PATH="$bin:$PATH"
seconds_max=60
ran=0
failed=0

for expected in examples/expected/*.txt; do
    [ -e "$expected" ] || continue
    name=$(basename "$expected" .txt)
    command="$bin/$name"
    [ -x "examples/expected/$name.sh" ] && command="examples/expected/$name.sh"
    script=/dev/null
    [ -e "examples/expected/$name.sed" ] && script="examples/expected/$name.sed"
    ran=$((ran + 1))
    if timeout "$seconds_max" "$command" </dev/null | sed -E -f "$script" | diff -u "$expected" -; then
        echo "$name: as expected"
    else
        echo "$name: DIFFERS, failed, or took more than $seconds_max s"
        failed=$((failed + 1))
    fi
done

echo "$ran examples, $failed failed"
if [ "$ran" -eq 0 ]; then
    echo "no file in examples/expected: nothing was compared"
    exit 1
fi
[ "$failed" -eq 0 ]
