//! Documents that are made from the program are what it makes.

use std::{fs, path::Path};

use crate::support::world::World;

#[test]
fn the_reference_is_what_the_program_prints() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli-reference.md");
    let run = World::new().narhaul(["reference"]).run().success();
    assert!(
        run.stdout == fs::read_to_string(file).unwrap(),
        "make it anew: cargo run -- reference > docs/cli-reference.md"
    );
}
