#!/bin/sh
# What the image does, where no Docker engine is at hand: installs an exported folder into a bare Debian by the very
# script the image runs, starts it as the image would (user 1000, no capabilities, root read-only, /tmp in memory, only
# /data and /models writable), and talks to it.
#
#   sh scripts/check_image.sh EXPORTED_FOLDER     what `duologue export docker` wrote
#
# Needs root, debootstrap, unshare and setpriv; ends with 77 where one is missing. Besides what deploy/install.sh takes:
#   PYTHON=python3       a Python with pip on this machine; what its pip is configured to use is used inside, too
#   DEBIAN_ROOT=FOLDER   a bare Debian with python3 and python3-venv made before; else debootstrap makes one
#   WORK=FOLDER          where to build (3 GB); else a folder under /tmp
set -eu

[ $# = 1 ] && [ -f "$1/compose.yaml" ] || { echo "check: give a folder that 'duologue export docker' wrote" >&2; exit 2; }
exported=$(cd "$1" && pwd)
scripts=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" = 0 ] || { echo "check: skipped, only root may change the root folder" >&2; exit 77; }
for tool in unshare setpriv chroot; do
    command -v $tool >/dev/null || { echo "check: skipped, $tool is not installed" >&2; exit 77; }
done
[ -n "${DEBIAN_ROOT:-}" ] || command -v debootstrap >/dev/null || { echo "check: skipped, debootstrap is not installed" >&2; exit 77; }

work=${WORK:-$(mktemp -d /tmp/duologue-image.XXXXXX)}
root=$work/root
mkdir -p "$work"
trap 'rm -rf "$root" "$work/volumes"; rmdir "$work" 2>/dev/null || true' EXIT
trap 'exit 130' INT TERM
rm -rf "$root" "$work/volumes"
if [ -n "${DEBIAN_ROOT:-}" ]; then
    cp -a "$DEBIAN_ROOT" "$root"
else
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$root" >"$work/debootstrap.log"
    rm "$work/debootstrap.log"
fi
mkdir -p "$root/source" "$root/data" "$root/models" "$root/bundled" "$work/volumes/models"
# What the build gets: .dockerignore lets nothing else through.
cp -r "$exported/deploy" "$exported/requirements" "$exported"/duologue-*.whl "$root/source/"
cp -r "$exported/home" "$work/volumes/data"
cp -r "$exported/bundled" "$work/volumes/bundled"
chown -R 1000:1000 "$work/volumes/data" "$work/volumes/models"
cp /etc/resolv.conf "$root/etc/resolv.conf"

# Mounts in a name space of their own: they end with it.
unshare --mount --pid --fork --kill-child sh "$scripts/check_image_inside.sh" "$root" "$work/volumes"
