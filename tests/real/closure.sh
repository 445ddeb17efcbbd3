#!/usr/bin/env bash
# Makes a closure of real store paths in this machine's `/nix/store`, and prints its root.
#
# Usage: closure.sh N MB    N store paths and a few more, of about MB megabytes in all
#
# Real Nix builds every path, so references, derivers and hashes are Nix's own, and nothing is signed.
# The same N and MB give the same store paths, and a second run finds them. What the paths hold is said
# in `closure.py`. The root is kept from Nix's garbage collector by a link in the parts folder.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=parts.sh
. "$here/parts.sh"
[ $# = 2 ] || fail "usage: closure.sh N MB"
[ "$1" -ge 20 ] || fail "a closure of $1 paths has no room for the odd ones; 20 is the least"
[ -x "$parts/nix/bin/nix-build-234" ] || fail "Nix is not in \`$parts/nix\`; run setup.sh"

closures=$parts/closures
mkdir -p "$closures"
python3 -S "$here/closure.py" plan "$1" "$2" >"$closures/$1-$2.json"
# Without fsync: the paths can be made again, and half of the time would go into waiting for the disk.
"$parts/nix/bin/nix-build-234" "$here/closure.nix" --argstr plan "$closures/$1-$2.json" \
  -o "$closures/$1-$2" --option fsync-metadata false --quiet 2>"$closures/$1-$2.log" >/dev/null </dev/null ||
  { tail -n 20 "$closures/$1-$2.log" >&2; fail "Nix could not build the closure"; }
readlink "$closures/$1-$2"
