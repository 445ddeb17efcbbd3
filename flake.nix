{
  description = "Moves Nix closures into S3 binary caches at the speed of the hardware, and removes garbage without breaking a closure";

  # Any nixpkgs with Rust 1.95 will do; a user's own is taken by `inputs.nixpkgs.follows`.
  inputs.nixpkgs.url = "nixpkgs";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
        "x86_64-darwin"
        "aarch64-darwin"
      ];
      forEach = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
    in
    {
      packages = forEach (
        pkgs:
        {
          default = pkgs.callPackage ./nix/package.nix { };
        }
        # One file that needs nothing of the machine it runs on.
        // nixpkgs.lib.optionalAttrs pkgs.stdenv.hostPlatform.isLinux {
          static = pkgs.pkgsStatic.callPackage ./nix/package.nix { };
        }
      );

      devShells = forEach (pkgs: {
        default = pkgs.mkShell { inputsFrom = [ self.packages.${pkgs.stdenv.hostPlatform.system}.default ]; };
      });

      checks = forEach (pkgs: {
        default = self.packages.${pkgs.stdenv.hostPlatform.system}.default;
      });

      nixosModules = {
        copy = import ./nix/copy.nix;
        sweep = import ./nix/sweep.nix;
        default.imports = [
          ./nix/copy.nix
          ./nix/sweep.nix
        ];
      };

      overlays.default = final: _: { narhaul = final.callPackage ./nix/package.nix { }; };
    };
}
