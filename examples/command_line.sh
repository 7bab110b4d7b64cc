#!/bin/sh
# The command line. Exit status 0 means allowed, 1 denied, so that a script can branch on a check.
set -eu
FLINT_DATA_DIR=$(mktemp -d)/data
export FLINT_DATA_DIR
trap 'rm -r "$(dirname "$FLINT_DATA_DIR")"' EXIT

flint limit add "backup" "2/day" >/dev/null
for run in 1 2 3; do
    if flint limit check "backup" >/dev/null; then
        echo "run $run: allowed"
    else
        echo "run $run: denied"
    fi
done
flint --json limit status "backup" | python3 -c 'import json, sys; print("remaining:", json.load(sys.stdin)["remaining"])'

# Output:
#   run 1: allowed
#   run 2: allowed
#   run 3: denied
#   remaining: 0
