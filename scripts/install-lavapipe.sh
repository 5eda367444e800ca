#!/usr/bin/env bash
# Install a software Vulkan driver (Mesa's lavapipe) so that WebGPU runs for real on a machine without a GPU.
# Debian 12's own Mesa 22.3 is refused by Dawn, so it comes from bookworm-backports of the mirror apt already uses.
# Needs root. Prints the driver file to put into VK_DRIVER_FILES.
set -euo pipefail
driver() { ls /usr/share/vulkan/icd.d/lvp_icd*.json 2>/dev/null | head -n 1; }
if [ -z "$(driver)" ]; then
  . /etc/os-release
  target=()
  if [ "${VERSION_CODENAME:-}" = bookworm ]; then
    uri=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -n 1)
    [ -n "$uri" ] || uri=$(awk '$1 == "deb" && $3 ~ /^bookworm/ {print $2; exit}' /etc/apt/sources.list)
    printf 'Types: deb\nURIs: %s\nSuites: bookworm-backports\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' "$uri" \
      >/etc/apt/sources.list.d/adder-backports.sources
    target=(-t bookworm-backports)
  fi
  apt-get -qq update >&2
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${target[@]}" mesa-vulkan-drivers libvulkan1 >&2
fi
driver
