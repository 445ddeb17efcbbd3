# A NixOS module: copies paths to a cache by a timer, and what the machine builds as it is built.
#
# In a flake: `imports = [ narhaul.nixosModules.copy ]; services.narhaul-copy = { enable = true; url = …; }`.
# The timer's service is a user of its own without rights: the store is read through the Nix daemon. The hook
# runs as root, as every hook of Nix's. Credentials and the secret key are read from files that must not lie
# in the store; see `docs/guides/post-build-hook.md`.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.narhaul-copy;
  narhaul = lib.getExe cfg.package;
in
{
  options.services.narhaul-copy = import ./options.nix { inherit lib pkgs; name = "narhaul-copy"; } // {
    enable = lib.mkEnableOption "copies to a Nix binary cache by a timer";

    paths = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ "/run/current-system" ];
      description = "What the timer copies, each with all that it refers to: store paths, or links to them.";
    };

    keyFile = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = null;
      example = "/etc/nix/cache.example.org-1.secret";
      description = "The secret key that signs what is copied.";
    };

    flags = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [ "--logs" ];
      description = "Further flags of `narhaul copy`, for timer and hook.";
    };

    startAt = lib.mkOption {
      type = lib.types.str;
      default = "hourly";
      description = "When the timer copies, as systemd's calendar has it.";
    };

    hook.enable = lib.mkEnableOption "copying of what is built on this machine, as Nix's post-build-hook";

    hook.flags = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [ "--hook-timeout=1m" ];
      description = "Flags for the hook alone.";
    };
  };

  config = lib.mkMerge [
    (lib.mkIf cfg.enable {
      systemd.services.narhaul-copy = {
        description = "Copy to the Nix binary cache";
        wants = [ "network-online.target" ];
        after = [ "network-online.target" ];
        environment.NARHAUL_TO = cfg.url;
        serviceConfig = import ./hardening.nix // {
          Type = "oneshot";
          DynamicUser = true;
          ExecStart = lib.escapeShellArgs (
            [
              narhaul
              "copy"
              "--store=daemon"
            ]
            # A copy of the file, which only this service can read.
            ++ lib.optional (cfg.keyFile != null) "--key-file=%d/secret-key"
            ++ cfg.flags
            ++ cfg.paths
          );
          LoadCredential = lib.mkIf (cfg.keyFile != null) "secret-key:${cfg.keyFile}";
          EnvironmentFile = lib.mkIf (cfg.environmentFile != null) cfg.environmentFile;
        };
      };
      systemd.timers.narhaul-copy = {
        wantedBy = [ "timers.target" ];
        timerConfig = {
          OnCalendar = cfg.startAt;
          RandomizedDelaySec = "5m";
          Persistent = true;
        };
      };
    })

    (lib.mkIf cfg.hook.enable {
      nix.settings.post-build-hook = pkgs.writeShellScript "narhaul-post-build-hook" ''
        ${lib.optionalString (cfg.environmentFile != null) ''
          if [ -r ${lib.escapeShellArg cfg.environmentFile} ]; then
            set -a
            . ${lib.escapeShellArg cfg.environmentFile}
            set +a
          fi
        ''}
        exec ${
          lib.escapeShellArgs (
            [
              narhaul
              "copy"
              "--hook"
              "--to=${cfg.url}"
            ]
            ++ lib.optional (cfg.keyFile != null) "--key-file=${cfg.keyFile}"
            ++ cfg.flags
            ++ cfg.hook.flags
          )
        }
      '';
    })
  ];
}
