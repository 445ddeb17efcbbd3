# Evaluates the flake, its package and its modules with stand-ins for nixpkgs, which cannot be had without a
# network. Shows that all parse, that every file they name is there, that the functions fit their arguments,
# and what services and hook the modules make; a build is not shown by it.
{ clone }:
let
  present = path: if builtins.pathExists path then path else throw "no ${toString path}";
  merge = a: b: a // builtins.mapAttrs (
    name: value:
    if a ? ${name} && builtins.isAttrs value && builtins.isAttrs a.${name} then merge a.${name} value else value
  ) b;
  lib = {
    importTOML = path: builtins.fromTOML (builtins.readFile path);
    fileset.unions = map (path: builtins.baseNameOf (present path));
    fileset.toSource = source: source // { root = builtins.baseNameOf source.root; };
    optionalString = condition: text: if condition then text else "";
    optional = condition: value: if condition then [ value ] else [ ];
    optionalAttrs = condition: set: if condition then set else { };
    licenses = { mit = "MIT"; asl20 = "Apache-2.0"; };
    platforms.unix = [ "x86_64-linux" ];
    genAttrs = names: make: builtins.listToAttrs (map (name: { inherit name; value = make name; }) names);
    # Of modules: an option is what it was declared with, a definition that does not hold is empty.
    mkOption = option: { isOption = true; } // option;
    mkEnableOption = what: { isOption = true; default = false; description = what; };
    mkIf = condition: value: if condition then value else { };
    mkMerge = builtins.foldl' merge { };
    literalExpression = text: text;
    types = { package = 0; str = 0; listOf = type: [ type ]; nullOr = type: [ type ]; };
    getExe = package: "/narhaul-${package.version}/bin/${package.meta.mainProgram}";
    escapeShellArg = text: "'${text}'";
    escapeShellArgs = texts: builtins.concatStringsSep " " (map lib.escapeShellArg texts);
  };
  pkgs = {
    inherit lib;
    installShellFiles = "installShellFiles";
    stdenv.buildPlatform.canExecute = _: true;
    stdenv.hostPlatform = { system = "x86_64-linux"; isLinux = true; };
    pkgsStatic = pkgs;
    rustPlatform.buildRustPackage = package: package // { cargoLock = present package.cargoLock.lockFile != null; };
    mkShell = shell: shell;
    writeShellScript = name: text: "#! ${name}\n${text}";
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
  defaults = builtins.mapAttrs (
    _: option: if option ? isOption then option.default or null else defaults option
  );
  # What a module makes of these settings of its service.
  module = name: service: settings:
    let
      options = (evaluated.nixosModules.${name} { inherit lib pkgs; config = { }; }).options.services.${service};
      config.services.${service} = merge (defaults options) settings;
    in
    (evaluated.nixosModules.${name} { inherit lib pkgs config; }).config;
  settings = {
    enable = true;
    url = "s3://nix-cache";
    environmentFile = "/run/secrets/narhaul";
  };
in
{
  inherit (evaluated) packages devShells checks;
  overlay = (evaluated.overlays.default pkgs { }).narhaul;
  imports = map (file: builtins.baseNameOf (present file)) evaluated.nixosModules.default.imports;
  copy = module "copy" "narhaul-copy" (settings // { keyFile = "/etc/nix/key"; hook.enable = true; });
  copyWithoutKey = module "copy" "narhaul-copy" settings;
  copyOff = module "copy" "narhaul-copy" { };
  sweep = module "sweep" "narhaul-sweep" settings;
}
