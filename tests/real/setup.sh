#!/usr/bin/env bash
# Installs the real parts that tests compare with: three Nix clients, Garage, MinIO
# with its client, s5cmd, CI's tools, and C compilers for other kinds of machine.
#
# Usage: setup.sh [nix|garage|minio|s5cmd|tools|cross]…      (everything, without arguments)
#
# Idempotent: what is there in the wanted version is left alone, so a second run takes a second.
# Needs Rust, a C compiler and a Debian 12 with root; the rest comes by apt, cargo and go. Cold, on two
# cores: Nix half a minute, Garage six minutes, MinIO five, the tools four.
# Not here: starting servers (`servers.sh`) and making store paths (`closure.sh`).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=parts.sh
. "$here/parts.sh"
export DEBIAN_FRONTEND=noninteractive
mkdir -p "$parts"/{bin,logs}

# Says whether cargo's own record under the parts folder, and the program, are there in this version.
has_crate() { # program version
  [ -x "$parts/bin/$1" ] && grep -qF "\"$1 $2 " "$parts/.crates.toml" 2>/dev/null
}

# Builds one program with cargo, into a target folder that is dropped afterwards.
install_crate() { # program version extra-arguments…
  local program=$1 version=$2
  shift 2
  if has_crate "$program" "$version"; then return 0; fi
  note "building $program $version"
  # Tests want a correct server soon, not a fast one late: LTO alone would double the build.
  CARGO_TARGET_DIR=$parts/target-$program CARGO_PROFILE_RELEASE_LTO=off \
    CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    cargo install "$program" --version "$version" --locked --force --root "$parts" "$@" \
    >"$parts/logs/setup-$program.log" 2>&1 </dev/null ||
    { tail -n 30 "$parts/logs/setup-$program.log" >&2; fail "cannot build $program $version"; }
  rm -rf "$parts/target-$program"
}

setup_garage() {
  # One metadata engine and bundled libraries are enough, and need no system package.
  install_crate garage "$garage_version" --no-default-features --features bundled-libs,lmdb
}

setup_tools() {
  install_crate cargo-machete "$machete_version"
  install_crate cargo-deny "$deny_version"
}

# Prints the file of a Go that is new enough, and unpacks Debian's where there is none.
find_go() {
  local go
  go=$(PATH=$PATH:/usr/local/go/bin command -v go) || go=
  if [ -z "$go" ]; then
    # Debian 12's own Go is too old for this source.
    go=$(find "$parts/go/usr/lib" -path '*/bin/go' 2>/dev/null | sort | tail -n 1)
    if [ -z "$go" ]; then
      "$here/nix.sh" unpack forky golang-go 'golang-' "$parts/go" >&2
      go=$(find "$parts/go/usr/lib" -path '*/bin/go' | sort | tail -n 1)
    fi
    [ -x "$go" ] || fail "cannot find Go in Debian's golang packages; install Go and run again"
  fi
  printf '%s\n' "$go"
}

# Builds one program of MinIO's with Go.
install_go() { # program version
  local program=$1 version=$2 go
  # The programs do not know their own version; Go writes the module's into the file.
  if [ -x "$parts/bin/$program" ] && grep -aqF "$version" "$parts/bin/$program"; then return 0; fi
  go=$(find_go)
  note "building $program $version with $("$go" version)"
  GOBIN=$parts/bin GOFLAGS=-buildvcs=false CGO_ENABLED=0 \
    "$go" install -trimpath -ldflags "-s -w" "github.com/minio/$program@$version" \
    >"$parts/logs/setup-$program.log" 2>&1 </dev/null ||
    { tail -n 30 "$parts/logs/setup-$program.log" >&2; fail "cannot build $program $version"; }
}

setup_minio() {
  install_go minio "$minio_version"
  install_go mc "$mc_version"
}

# A module that names it, and no `go install`: that wants a list of versions which not every proxy has.
setup_s5cmd() {
  local module=github.com/peak/s5cmd/v2 log=$parts/logs/setup-s5cmd.log source go
  if [ -x "$parts/bin/s5cmd" ] && "$parts/bin/s5cmd" version | grep -qF "$s5cmd_version"; then return 0; fi
  go=$(find_go)
  note "building s5cmd $s5cmd_version with $("$go" version)"
  source=$(mktemp -d)
  printf 'module parts\n\ngo 1.22\n\nrequire %s %s\n' "$module" "$s5cmd_version" >"$source/go.mod"
  printf 'package parts\n\nimport _ "%s/command"\n' "$module" >"$source/parts.go"
  (cd "$source" && "$go" mod tidy && CGO_ENABLED=0 GOFLAGS=-buildvcs=false "$go" build -trimpath \
    -ldflags "-s -w -X $module/version.Version=$s5cmd_version" -o "$parts/bin/s5cmd" "$module") \
    >"$log" 2>&1 </dev/null || { tail -n 30 "$log" >&2; fail "cannot build s5cmd $s5cmd_version"; }
  rm -rf "$source"
}

setup_nix() { "$here/nix.sh" install; }

# What the crates' C is compiled and the program linked with, for musl and for Linux on ARM.
setup_cross() {
  local need=()
  command -v musl-gcc >/dev/null || need+=(musl-tools)
  command -v aarch64-linux-gnu-gcc >/dev/null || need+=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
  ((${#need[@]})) || return 0
  note "installing ${need[*]}"
  install_packages "${need[@]}" >"$parts/logs/setup-cross.log" 2>&1 </dev/null ||
    { tail -n 30 "$parts/logs/setup-cross.log" >&2; fail "cannot install ${need[*]}"; }
}

[ $# -gt 0 ] || set -- nix garage minio s5cmd tools cross
for part in "$@"; do
  case $part in
    nix | garage | minio | s5cmd | tools | cross) "setup_$part" ;;
    *) fail "unknown part \`$part\`: nix, garage, minio, s5cmd, tools or cross" ;;
  esac
done
note "real parts are in $parts"
