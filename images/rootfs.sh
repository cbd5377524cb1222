#!/usr/bin/env bash
# Make the image that pinoctl's base image can be built on where no image registry can be reached (`--base NAME`):
# a minimal Debian from this machine's own package mirror. Needs root, docker and mmdebstrap; takes about a minute.
# Usage: images/rootfs.sh [NAME]      prints NAME, by default pinoctl-rootfs:bookworm; does nothing where it is there
set -euo pipefail
name=${1:-pinoctl-rootfs:bookworm}
suite=${name##*:}
if ! docker image inspect "$name" >/dev/null 2>&1; then
  sources=(/etc/apt/sources.list.d/*.sources)
  [ -e "${sources[0]}" ] || sources=(/etc/apt/sources.list)
  # What the machine needs to reach its mirror (certificates, settings of apt) is needed inside as well.
  keep=$(mktemp -d)
  trap 'rm -rf "$keep"' EXIT
  mkdir -p "$keep/certificates" "$keep/apt"
  cp -f /usr/local/share/ca-certificates/*.crt "$keep/certificates/" 2>/dev/null || true
  cp -f /etc/apt/apt.conf.d/99* "$keep/apt/" 2>/dev/null || true
  mmdebstrap --quiet --variant=minbase --mode=root --include=ca-certificates \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook="copy-in $keep/apt /" \
    --customize-hook='chroot "$1" sh -c "cp -f /apt/* /etc/apt/apt.conf.d/ 2>/dev/null; rm -rf /apt"' \
    --customize-hook="copy-in $keep/certificates /" \
    --customize-hook='chroot "$1" sh -c "cp -f /certificates/* /usr/local/share/ca-certificates/ 2>/dev/null; rm -rf /certificates; update-ca-certificates"' \
    "$suite" - "${sources[@]}" | docker import - "$name" >/dev/null
fi
echo "$name"
