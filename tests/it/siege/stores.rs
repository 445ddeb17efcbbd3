//! The store paths of a siege: closures that overlap, in this machine's store and in two others.
//!
//! Six layers of eight paths; each path refers to some of the layer below it, so that any two closures
//! of the upper layers share most of their lower ones. Real Nix builds them, and copies some of them
//! into stores of their own, as other hosts would have them.

use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use crate::support::{real::Nix, world::World};

/// Files of 64 hexadecimal digits and more, which refer to what they were made from.
const CLOSURES: &str = r#"
let
  node = layer: n: builtins.elemAt (builtins.elemAt layers layer) n;
  rest = n: n - n / 8 * 8;
  make = layer: n: derivation {
    name = "siege-${toString layer}-${toString n}";
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-c" "echo $references $contents > $out" ];
    references =
      if layer == 0 then [ ] else map (k: node (layer - 1) (rest (n * k + layer + k))) [ 1 2 3 ];
    contents = builtins.genList (k: builtins.hashString "sha256" "${toString layer} ${toString n} ${toString k}") 40;
  };
  layers = builtins.genList (layer: builtins.genList (make layer) 8) 6;
in builtins.concatLists layers
"#;

/// Layers from this one on are copied by themselves; those below are what they share.
const FIRST_ROOT: usize = 3 * 8;

/// What can be copied, and from where.
pub(super) struct Stores {
    paths: Vec<String>,
    /// Roots of stores beside this machine's.
    others: [String; 2],
}

impl Stores {
    pub(super) fn new(world: &World) -> Self {
        world.write("siege.nix", CLOSURES);
        let paths = Nix::V2_34.lines(world, "nix-build", &["siege.nix", "--no-out-link"]);
        assert_eq!(paths.len(), 48, "{paths:?}");
        let others = ["store-a", "store-b"].map(|name| world.text_path(name));
        for store in &others {
            let all: Vec<&str> = paths[FIRST_ROOT..].iter().map(String::as_str).collect();
            let args = [&["copy", "--no-check-sigs", "--to", store], &all[..]].concat();
            Nix::V2_34.command(world, "nix", &args).run().success();
        }
        Self { paths, others }
    }

    /// All that is ever copied by itself.
    pub(super) fn all(&self) -> &[String] {
        &self.paths[FIRST_ROOT..]
    }

    pub(super) fn root(&self, random: &mut ChaCha8Rng) -> &str {
        &self.all()[random.random_range(0..self.all().len())]
    }

    /// The root of another store, or none for this machine's own.
    pub(super) fn store(&self, random: &mut ChaCha8Rng) -> Option<&str> {
        let number: usize = random.random_range(0..3);
        self.others.get(number).map(String::as_str)
    }
}
