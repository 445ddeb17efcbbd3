# A closure of real store paths, one derivation per node of a plan that `closure.py plan` has written.
# The builder's script is a store path itself, so that the same plan gives the same paths in every clone.
{ plan, python ? "/usr/bin/python3" }:
let
  nodes = builtins.fromJSON (builtins.readFile plan);
  script = builtins.path { path = ./closure.py; name = "closure.py"; };
  # Two content-addressed paths, of which one refers to the other; they hang on the nodes that have no
  # reference of their own.
  text = builtins.toFile "a-text" "a text that refers to ${script}\n";
  paths = map (node: derivation {
    inherit (node) name;
    builder = python;
    args = [ "-S" script "build" ];
    system = builtins.currentSystem;
    PATH = "/usr/bin:/bin";
    node = builtins.toJSON node;
    references =
      if node.references == [ ] then [ text ] else map (builtins.elemAt paths) node.references;
  }) nodes;
in
builtins.elemAt paths (builtins.length nodes - 1)
