# Where the real parts live, which versions are wanted, and how a package of the system is installed;
# sourced by the other scripts here.
#
# Nothing is run by this file. Parts are kept outside the clone, so that a fresh clone finds them again
# and `git status` stays clean. Every part is looked up by its version: a newer line below builds anew.
# shellcheck shell=bash disable=SC2034

parts=${NARHAUL_PARTS:-$HOME/.cache/narhaul-parts}

# Garage ignores conditional requests and policies: the server that self-hosters run.
garage_version=2.5.0
# The last source release of MinIO, which the self-hosting guides name: conditional requests, policies.
minio_version=v0.0.0-20260212201848-7aac2a2c5b7c
# MinIO's client, which makes users and gives them policies; the version that MinIO's own source names.
mc_version=v0.0.0-20250313080218-cf909e1063a9
# The fastest sender of files, which `bench --compare` takes turns with.
s5cmd_version=v2.3.0
# Cargo subcommands of `.ci/run`; both build with the toolchain that `Cargo.toml` names.
machete_version=0.9.2
deny_version=0.20.2

# Suffix of the client's name, what its version must begin with, and the Debian suite that has it.
# 2.8 is the oldest Nix in use that reads zstd, 2.26 the last with the old S3 code, 2.34 the present.
nix_clients=(
  "28 2.8. bookworm"
  "226 2.26. trixie"
  "234 2.34. forky"
)

note() { printf '  %s\n' "$*" >&2; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# The package lists, once, when this machine has none: images are often shipped without.
update_lists() {
  if ! apt-cache show patchelf >/dev/null 2>&1; then
    apt-get -q -o DPkg::Lock::Timeout=300 update
  fi
}

# Installs packages of the system, from an archives folder of our own: another apt process on the machine
# may empty the common one while this one is downloading into it.
install_packages() { # package…
  mkdir -p "$parts/nix/apt/archives/partial"
  update_lists
  DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 \
    -o Dir::Cache::Archives="$parts/nix/apt/archives" install -y --no-install-recommends "$@"
}
