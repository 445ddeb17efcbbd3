# Builds narhaul, as nixpkgs would: `callPackage ./nix/package.nix { }`.
#
# Everything comes from the lock file, so there is no hash to keep up to date. The C that the crates bring
# (SQLite, zstd, liblzma, ring) is compiled by the crates themselves; no system library is linked.
# The unit and integration tests run in the build; those that need a real server or a real Nix are
# ignored there, as in any `cargo test`.
{
  lib,
  rustPlatform,
  installShellFiles,
  stdenv,
}:
let
  manifest = lib.importTOML ../Cargo.toml;
in
rustPlatform.buildRustPackage {
  pname = manifest.package.name;
  inherit (manifest.package) version;

  # Only what the build and its tests read: a change of a dotfile does not build anew.
  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../Cargo.toml
      ../Cargo.lock
      ../README.md
      ../LICENSE
      ../benches
      ../docs
      ../src
      ../tests
    ];
  };
  cargoLock.lockFile = ../Cargo.lock;

  # The tidy test judges the whole clone, of which the source above is a part.
  checkFlags = [ "--skip=tidy::" ];

  nativeBuildInputs = [ installShellFiles ];
  postInstall = lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    installShellCompletion --cmd narhaul \
      --bash <($out/bin/narhaul completions bash) \
      --fish <($out/bin/narhaul completions fish) \
      --zsh <($out/bin/narhaul completions zsh)
    $out/bin/narhaul man man1
    installManPage man1/*
  '';

  meta = {
    inherit (manifest.package) description;
    license = with lib.licenses; [
      mit
      asl20
    ];
    mainProgram = "narhaul";
    platforms = lib.platforms.unix;
  };
}
