#!/usr/bin/env bash
# Installs three real Nix clients side by side, from Debian's archives only.
#
# Usage: nix.sh install                                called by setup.sh
#        nix.sh unpack SUITE PACKAGE PATTERN FOLDER    fetches a newer suite's package
#
# The oldest client is this Debian's own package. The newer ones come from newer suites: unpacked into
# folders of their own and made to find their libraries there, so that no file of the system changes.
# All three share `/nix/store` without trouble and get one `nix.conf`: root, no sandbox, no daemon.
# `nix-28`, `nix-store-226`, `nix-build-234`, … lie in `$parts/nix/bin`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=parts.sh
. "$here/parts.sh"
export DEBIAN_FRONTEND=noninteractive
nix=$parts/nix
mkdir -p "$nix"/{opt,bin,conf,apt/archives/partial} "$parts/logs"

is_version() { # program beginning
  "$1" --version 2>/dev/null | grep -qF " $2"
}

system_packages() {
  local need=() p
  for p in nix-bin patchelf python3 debian-archive-keyring; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || need+=("$p")
  done
  # libFuzzer is written in C++.
  command -v c++ >/dev/null || need+=(g++)
  ((${#need[@]} == 0)) || install_packages "${need[@]}"
}

# Downloads a package of a newer suite with all it needs, by an apt configuration that does not know
# the system's state, and unpacks those files that match a pattern.
unpack() { # suite package pattern folder
  local suite=$1 package=$2 pattern=$3 folder=$4 root=$nix/apt/$1-$2 mirror deb
  update_lists
  # The archive that this machine's apt uses already, so that mirrors and proxies are respected.
  mirror=$(apt-get indextargets --format '$(SITE) $(CODENAME)' | awk '$2 == "bookworm" && !seen++ { print $1 }')
  [ -n "$mirror" ] || fail "apt knows no archive of Debian bookworm, which the parts are taken from"
  mkdir -p "$root"/{etc,state/lists/partial,cache/archives/partial}
  : >"$root/state/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" \
    >"$root/etc/sources.list"
  cat >"$root/apt.conf" <<CONF
Dir::Etc::sourcelist "$root/etc/sources.list";
Dir::Etc::sourceparts "-";
Dir::Etc::preferencesparts "-";
Dir::State "$root/state";
Dir::State::status "$root/state/status";
Dir::Cache "$root/cache";
Acquire::Languages "none";
CONF
  APT_CONFIG=$root/apt.conf apt-get -q update
  APT_CONFIG=$root/apt.conf apt-get -q -y --no-install-recommends --download-only install "$package"
  rm -rf "$folder.tmp"
  mkdir -p "$folder.tmp"
  for deb in "$root"/cache/archives/*.deb; do
    [[ $(basename "$deb") =~ ^($pattern) ]] || continue
    dpkg-deb -x "$deb" "$folder.tmp"
  done
  rm -rf "$root" "$folder" "$folder.tmp"/usr/share/{doc,man,locale}
  mv "$folder.tmp" "$folder"
}

# Makes an unpacked Nix use the C library and the libraries that lie beside it.
relink() { # folder
  local libraries loader file
  libraries=$(dirname "$(find "$1/usr/lib" -name 'libc.so.6' -print -quit)")
  loader=$(find "$libraries" -maxdepth 1 -name 'ld-linux-*.so.*' -print -quit)
  while IFS= read -r file; do
    patchelf --force-rpath --set-rpath "$1/usr/lib/nix:$libraries" "$file"
  done < <(find "$1/usr/lib" -type f -name 'libnix*.so*')
  patchelf --set-interpreter "$loader" --force-rpath --set-rpath "$1/usr/lib/nix:$libraries" \
    "$1/usr/bin/nix"
}

# One short program per command and client, which sets the configuration and nothing else.
wrappers() { # suffix folder-with-programs
  local command
  for command in nix nix-store nix-build nix-instantiate nix-daemon nix-hash nix-collect-garbage; do
    printf '#!/bin/sh\nexport NIX_CONF_DIR=%s/conf\nexec %s/%s "$@"\n' "$nix" "$2" "$command" \
      >"$nix/bin/.new"
    chmod +x "$nix/bin/.new"
    mv -f "$nix/bin/.new" "$nix/bin/$command-$1"
  done
}

configure() {
  # `narinfo-cache-negative-ttl`: a test that adds an object must not meet yesterday's "absent".
  # No build user group: root builds. No substituter: what is not made here is not there.
  cat >"$nix/conf/nix.conf" <<'CONF'
experimental-features = nix-command flakes ca-derivations
sandbox = false
build-users-group =
substituters =
substitute = true
max-jobs = 2
cores = 1
auto-optimise-store = false
keep-derivations = true
narinfo-cache-negative-ttl = 0
warn-dirty = false
CONF
}

install() {
  system_packages
  configure
  local client suffix beginning suite folder
  for client in "${nix_clients[@]}"; do
    read -r suffix beginning suite <<<"$client"
    if is_version "$nix/bin/nix-$suffix" "$beginning"; then continue; fi
    note "installing Nix ${beginning}x from Debian $suite"
    folder=/usr
    if [ "$suite" != bookworm ]; then
      folder=$nix/opt/nix-$suite
      # Libraries and the shell that Nix builds with; nothing of Perl or of the base system.
      unpack "$suite" nix-bin '(lib|zlib1g|nix-bin|bash-static)' "$folder" \
        >"$parts/logs/setup-nix-$suffix.log" 2>&1 </dev/null ||
        { tail -n 30 "$parts/logs/setup-nix-$suffix.log" >&2; fail "cannot fetch Nix from $suite"; }
      relink "$folder"
      folder=$folder/usr
    fi
    wrappers "$suffix" "$folder/bin"
    is_version "$nix/bin/nix-$suffix" "$beginning" ||
      fail "Debian $suite has $("$nix/bin/nix-$suffix" --version 2>&1 | head -n 1), wanted ${beginning}x"
  done
}

case ${1:-} in
  install) install ;;
  unpack) shift; unpack "$@" ;;
  *) fail "usage: nix.sh install | unpack SUITE PACKAGE PATTERN FOLDER" ;;
esac
