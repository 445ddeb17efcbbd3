# Evaluates the flake and its package with stand-ins for nixpkgs, which cannot be had without a network.
# Shows that both parse, that every file they name is there, and that the functions fit their arguments;
# a build is not shown by it.
{ clone }:
let
  present = path: if builtins.pathExists path then path else throw "no ${toString path}";
  lib = {
    importTOML = path: builtins.fromTOML (builtins.readFile path);
    fileset.unions = map (path: builtins.baseNameOf (present path));
    fileset.toSource = source: source // { root = builtins.baseNameOf source.root; };
    optionalString = condition: text: if condition then text else "";
    licenses = { mit = "MIT"; asl20 = "Apache-2.0"; };
    platforms.unix = [ "x86_64-linux" ];
    genAttrs = names: make: builtins.listToAttrs (map (name: { inherit name; value = make name; }) names);
  };
  pkgs = {
    inherit lib;
    installShellFiles = "installShellFiles";
    stdenv.buildPlatform.canExecute = _: true;
    stdenv.hostPlatform.system = "x86_64-linux";
    rustPlatform.buildRustPackage = package: package // { cargoLock = present package.cargoLock.lockFile != null; };
    mkShell = shell: shell;
    callPackage = file: arguments:
      let function = import file;
      in function (builtins.intersectAttrs (builtins.functionArgs function) pkgs // arguments);
  };
  flake = import (clone + "/flake.nix");
  # The systems are those of the flake; the stand-in is the same for all.
  systems = [ "x86_64-linux" "aarch64-linux" "x86_64-darwin" "aarch64-darwin" ];
  evaluated = flake.outputs {
    self = evaluated;
    nixpkgs = { inherit lib; legacyPackages = lib.genAttrs systems (_: pkgs); };
  };
in
{
  inherit (evaluated) packages devShells;
  overlay = (evaluated.overlays.default pkgs { }).narhaul;
}
