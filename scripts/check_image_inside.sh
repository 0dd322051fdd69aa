#!/bin/sh
# The part of check_image.sh that mounts: installs into the root given first, then runs the program from it.
set -eu
root=$1
volumes=$2
here=$(cd "$(dirname "$0")" && pwd)
host_python=${PYTHON:-python3}

mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/dev"
for device in null zero random urandom; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm"
mount -t tmpfs tmpfs "$root/dev/shm"

# The folders with packages that this machine's pip looks into are there, too, read-only and only to install.
find_links=$("$host_python" -m pip config get global.find-links 2>/dev/null || true)
extra_index=$("$host_python" -m pip config get global.extra-index-url 2>/dev/null || true)
index=$("$host_python" -m pip config get global.index-url 2>/dev/null || true)
bound=""
for place in $find_links $extra_index $index; do
    folder=${place#file://}
    case $folder in */simple) folder=${folder%/simple} ;; esac
    if [ -d "$folder" ]; then
        mkdir -p "$root$folder"
        mount --bind "$folder" "$root$folder"
        mount -o remount,ro,bind "$root$folder"
        bound="$bound $folder"
    fi
done
certificates=/etc/ssl/certs/ca-certificates.crt
[ ! -f $certificates ] || { touch "$root$certificates"; mount --bind $certificates "$root$certificates"; }
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LANG=C.UTF-8 \
    PIP_FIND_LINKS="${PIP_FIND_LINKS:-$find_links}" PIP_EXTRA_INDEX_URL="${PIP_EXTRA_INDEX_URL:-$extra_index}" \
    ${index:+PIP_INDEX_URL="$index"} TORCH_ARGS="${TORCH_ARGS:-}" LLAMA_ARGS="${LLAMA_ARGS:-}" \
    chroot "$root" sh /source/deploy/install.sh /opt/duologue
for folder in $bound; do umount "$root$folder"; done
[ ! -f $certificates ] || umount "$root$certificates"
echo "check: the whole root, with Debian and Python, has $(du -smx "$root" | cut -f 1) MB"
rm -rf "$root/source" # the image copies /opt/duologue alone

mount --bind "$volumes/data" "$root/data"
mount --bind "$volumes/models" "$root/models"
mount --bind "$volumes/bundled" "$root/bundled"
mount -o remount,ro,bind "$root/bundled"
mount -o remount,ro,bind "$root"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
exec "$host_python" "$here/check_image_talks.py" "$root"
