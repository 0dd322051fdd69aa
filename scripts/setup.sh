#!/bin/sh
# Creates .venv with the pinned dependencies and duologue itself. `make` calls it when .venv is missing or out of date.
# Everything it says goes to stderr, so that `make demo ARGS=--json` prints one JSON document on stdout.
set -eu
exec 1>&2

is_usable() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

find_python() {
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if is_usable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "set-up: no usable Python found (looked for: ${PYTHON:-python3 python3.13 python3.12 python3.11})." >&2
    echo "  Needed: Python 3.11, 3.12 or 3.13 with the venv module (Debian and Ubuntu: apt install python3-venv)." >&2
    echo "  Then run the same command again, or name one: make PYTHON=/path/to/python3.12 install" >&2
    return 1
}

step() {
    echo "set-up: $1"
}

started=$(date +%s)
rm -f .venv/.installed
if ! is_usable .venv/bin/python; then
    python=$(find_python)
    step "creating .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
fi
pip=".venv/bin/python -m pip --disable-pip-version-check"

# torch comes first and by version: which build fits depends on the machine, so it has no hash here. What its build
# asks for beyond the lock (CUDA libraries, where it is a CUDA build) follows in step 3.
torch=$(sed -n 's/^ *"\(torch==[^"]*\)".*/\1/p' pyproject.toml)
step "1 of 4: $torch"
# shellcheck disable=SC2086  # TORCH_ARGS is a list of options
$pip install --no-deps ${TORCH_ARGS:-} "$torch"

step "2 of 4: the other packages, every file checked against its hash"
$pip install --no-deps --require-hashes -r requirements/lock.txt -r requirements/bundled.txt

step "3 of 4: what this build of torch needs besides"
# shellcheck disable=SC2086
$pip install --quiet ${TORCH_ARGS:-} "$torch"

step "4 of 4: duologue"
$pip install --quiet --no-deps --no-build-isolation --editable .
.venv/bin/python -m compileall -q src  # pip does this for packages, not for an editable one; a start is twice as fast

: >.venv/.installed
step "done in $(($(date +%s) - started)) seconds; it is not repeated until pyproject.toml or requirements/ change"
