# A NixOS module: sweeps a cache every night.
#
# In a flake: `imports = [ narhaul.nixosModules.sweep ]; services.narhaul-sweep = { enable = true; url = …; }`.
# The credentials are read from a file with `AWS_ACCESS_KEY_ID=…` and `AWS_SECRET_ACCESS_KEY=…` lines, which
# must not lie in the store. What is kept is said by `flags`; see `docs/guides/sweep-nightly.md`.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.narhaul-sweep;
in
{
  options.services.narhaul-sweep = import ./options.nix { inherit lib pkgs; name = "narhaul-sweep"; } // {
    enable = lib.mkEnableOption "the nightly sweep of a Nix binary cache";

    flags = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [
        "--window=14d"
        "--keep-last=3"
        "--keep=ci:within=14d"
      ];
      description = "What is kept; without any, what the cache's own settings say.";
    };

    startAt = lib.mkOption {
      type = lib.types.str;
      default = "03:30";
      description = "When to sweep, as systemd's calendar has it.";
    };
  };

  config = lib.mkIf cfg.enable {
    systemd.services.narhaul-sweep = {
      description = "Sweep of the Nix binary cache";
      wants = [ "network-online.target" ];
      after = [ "network-online.target" ];
      environment.NARHAUL_TO = cfg.url;
      serviceConfig = import ./hardening.nix // {
        Type = "oneshot";
        DynamicUser = true;
        StateDirectory = "narhaul-sweep";
        # The report of the last night, and figures for `node_exporter`'s text collector.
        ExecStart = lib.escapeShellArgs (
          [
            (lib.getExe cfg.package)
            "sweep"
            "--html=/var/lib/narhaul-sweep/sweep.html"
            "--metrics=/var/lib/narhaul-sweep/narhaul.prom"
          ]
          ++ cfg.flags
        );
        EnvironmentFile = lib.mkIf (cfg.environmentFile != null) cfg.environmentFile;
      };
    };
    systemd.timers.narhaul-sweep = {
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnCalendar = cfg.startAt;
        RandomizedDelaySec = "30m";
        Persistent = true;
      };
    };
  };
}
