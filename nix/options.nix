# The options that the services which copy and sweep have in common.
{
  lib,
  pkgs,
  name,
}:
{
  package = lib.mkOption {
    type = lib.types.package;
    default = pkgs.callPackage ./package.nix { };
    defaultText = lib.literalExpression "pkgs.callPackage ./package.nix { }";
    description = "The narhaul to run.";
  };

  url = lib.mkOption {
    type = lib.types.str;
    example = "s3://nix-cache?endpoint=s3.homelab.local";
    description = "The cache.";
  };

  environmentFile = lib.mkOption {
    type = lib.types.nullOr lib.types.str;
    default = null;
    example = "/run/secrets/${name}";
    description = "A file of variables with the credentials, one `NAME=value` a line and without quotes.";
  };
}
