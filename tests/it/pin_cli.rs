//! `narhaul pin`, `unpin`, `pins` and `roots` as a person meets them, on a cache in a folder.

use crate::support::{output::Output, world::World};

/// A cache in the folder `served` that has one path, and the path.
fn cache(world: &World) -> (String, String) {
    world.write("docs/a.txt", "a");
    let url = format!("file://{}", world.text_path("served"));
    let run = world
        .narhaul([
            "copy", "--quiet", "--group", "g", "--add", "docs", "--to", &url,
        ])
        .run()
        .success();
    (url, run.stdout.trim().to_owned())
}

fn narhaul(world: &World, args: &[&str]) -> Output {
    world.narhaul(args).run()
}

#[test]
fn a_pin_is_set_listed_and_taken_off() {
    let world = World::new();
    let (url, docs) = cache(&world);
    let run = narhaul(&world, &["pin", "release", &docs, "--to", &url]);
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    pinned 1 path of `file://[DIR]/served` as `release`, until it is taken off
    --- exit 0
    ");
    let run = narhaul(
        &world,
        &["pin", "old", &docs, "--to", &url, "--until", "2999-12-31"],
    );
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    pinned 1 path of `file://[DIR]/served` as `old`, until 3000-01-01 00:00 UTC
    --- exit 0
    ");
    insta::assert_snapshot!(narhaul(&world, &["pins", &url]).text(), @r"
    --- stdout
    old: holds until 3000-01-01 00:00 UTC
      /nix/store/n2lql1ihz361krfz12fsf5s80miqkz14-docs
    release: holds
      /nix/store/n2lql1ihz361krfz12fsf5s80miqkz14-docs
    --- exit 0
    ");
    let run = narhaul(&world, &["unpin", "release", "--to", &url]);
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    took the pin `release` off `file://[DIR]/served`; its path goes by the rules again
    --- exit 0
    ");
    insta::assert_snapshot!(narhaul(&world, &["pins", &url]).text(), @r"
    --- stdout
    old: holds until 3000-01-01 00:00 UTC
      /nix/store/n2lql1ihz361krfz12fsf5s80miqkz14-docs
    release: taken off; the next sweep removes it
      /nix/store/n2lql1ihz361krfz12fsf5s80miqkz14-docs
    --- exit 0
    ");
    let run = narhaul(&world, &["pins", &url, "--json"]).success();
    let pins: Vec<serde_json::Value> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(pins[0]["name"], "old");
    assert_eq!(pins[0]["until"], "3000-01-01T00:00:00Z");
    assert_eq!(pins[0]["holds"], true);
    assert_eq!(pins[1]["until"], serde_json::Value::Null);
    assert_eq!(pins[1]["holds"], false);
    assert_eq!(pins[1]["paths"][0], docs.as_str());
}

#[test]
fn what_the_cache_does_not_have_cannot_be_pinned() {
    let world = World::new();
    let (url, _) = cache(&world);
    let hello = "/nix/store/3n58xw4373jp0ljirf06d8077j15pc4j-hello-2.12";
    let run = narhaul(&world, &["pin", "release", hello, "--to", &url]);
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: `file://[DIR]/served` does not have `/nix/store/3n58xw4373jp0ljirf06d8077j15pc4j-hello-2.12`

    hint: copy it first: `narhaul copy --to 'file://[DIR]/served' /nix/store/3n58xw4373jp0ljirf06d8077j15pc4j-hello-2.12`
    --- exit 1
    ");
    insta::assert_snapshot!(narhaul(&world, &["pins", &url]).text(), @r"
    --- stderr
    `file://[DIR]/served` has no pins
    --- exit 0
    ");
}

#[test]
fn a_pin_is_not_replaced_by_mistake() {
    let world = World::new();
    let (url, docs) = cache(&world);
    world.write("more/b.txt", "b");
    let more = world
        .narhaul([
            "copy", "--quiet", "--group", "g", "--add", "more", "--to", &url,
        ])
        .run()
        .success();
    let more = more.stdout.trim();
    narhaul(&world, &["pin", "release", &docs, "--to", &url]).success();
    let run = narhaul(&world, &["pin", "release", more, "--to", &url]);
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: refusing to replace the pin `release`: it holds `/nix/store/n2lql1ihz361krfz12fsf5s80miqkz14-docs`

    hint: choose another name, or let go of its paths by `--replace`
    --- exit 4
    ");
    // The same paths and more let go of nothing.
    narhaul(&world, &["pin", "release", &docs, more, "--to", &url]).success();
    narhaul(&world, &["pin", "release", more, "--to", &url, "--replace"]).success();
    narhaul(&world, &["unpin", "release", "--to", &url]).success();
    narhaul(&world, &["pin", "release", &docs, "--to", &url]).success();
}

#[test]
fn mistakes_in_pins_are_explained() {
    let world = World::new();
    let (url, docs) = cache(&world);
    let words = |args: &[&str]| narhaul(&world, args).text();
    insta::assert_snapshot!(words(&["pin", "a b", &docs, "--to", &url]), @r"
    --- stderr
    error: cannot use the pin's name
    cause: `a b` is no pin's name, which has 1 to 64 letters, digits, `.`, `_` and `-`
    --- exit 2
    ");
    let hash = &docs["/nix/store/".len()..][..32];
    insta::assert_snapshot!(words(&["pin", "a", hash, "--to", &url]), @r"
    --- stderr
    error: `n2lql1ihz361krfz12fsf5s80miqkz14` is the hash of a store path alone, and a pin is of whole paths

    hint: see which path it is: `narhaul why n2lql1ihz361krfz12fsf5s80miqkz14 URL`
    --- exit 2
    ");
    insta::assert_snapshot!(words(&["pin", "a", &docs, "--to", &url, "--until", "soon"]), @r"
    --- stderr
    error: cannot use `--until soon`
    cause: `soon` is neither a date such as `2027-01-31` nor a span of time such as `90d`
    --- exit 2
    ");
    insta::assert_snapshot!(words(&["pin", "a", &docs, "--to", &url, "--until", "2020-01-01"]), @r"
    --- stderr
    error: cannot use `--until 2020-01-01`
    cause: `2020-01-01` is over
    --- exit 2
    ");
    insta::assert_snapshot!(words(&["unpin", "a", "--to", &url]), @r"
    --- stderr
    error: `file://[DIR]/served` has no pin `a`

    hint: see which it has: `narhaul pins 'file://[DIR]/served'`
    --- exit 1
    ");
    insta::assert_snapshot!(words(&["pins"]), @r"
    --- stderr
    error: no cache is named

    hint: say which: `narhaul pins 's3://bucket?endpoint=…'`, or `file://$PWD/cache`
    --- exit 2
    ");
    world.write("served/narhaul/pins/x", "narhaul pin 9\n{}");
    insta::assert_snapshot!(words(&["pins", &url]), @r"
    --- stderr
    error: cannot understand `narhaul/pins/x` of `file://[DIR]/served`
    cause: it is a `pin` of version 9, and version 1 is the newest known here
    --- exit 1
    ");
}

#[test]
fn roots_are_listed_by_group_and_time() {
    let world = World::new();
    let (url, docs) = cache(&world);
    let run = narhaul(&world, &["roots", &url]).success();
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert!(lines[0].starts_with("g: 20"), "{run:?}");
    assert!(lines[0].ends_with(" UTC"), "{run:?}");
    assert_eq!(lines[1..], [format!("  {docs}")]);
    let run = narhaul(&world, &["roots", &url, "--json"]).success();
    let root: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(root["event"], "root");
    assert_eq!(root["group"], "g");
    assert_eq!(root["paths"], serde_json::json!([docs]));
    let run = narhaul(&world, &["roots", &url, "--group", "other"]);
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    `file://[DIR]/served` has no roots; a finished `narhaul copy` leaves one
    --- exit 0
    ");
}
