//! Which store `nix.conf` names, as three versions of real Nix and narhaul say.
//!
//! Each scene is a world with files and variables, which both programs are given. Nix prints its setting
//! `store`, and narhaul its own with where it comes from.

use std::os::unix::fs::chown;

use crate::support::{
    real::Nix,
    world::{Run, World},
};

/// Variables of a scene; `@` stands for the world's folder.
type Variables<'a> = &'a [(&'a str, &'a str)];

fn given<'w>(run: Run<'w>, world: &World, variables: Variables<'_>) -> Run<'w> {
    let usual = [("NIX_CONF_DIR", "@etc"), ("XDG_CONFIG_DIRS", "@dirs")];
    let all = usual.iter().chain(variables);
    all.fold(run, |run, (name, value)| {
        run.env(name, value.replace('@', &world.text_path("")))
    })
}

/// What Nix takes for its store; newer ones write a folder as a URL.
fn nix_says(nix: Nix, world: &World, variables: Variables<'_>) -> String {
    let flags = ["--extra-experimental-features", "nix-command"];
    let run = nix
        .without_settings(world)
        .args(flags)
        .args(["show-config"]);
    let shown = given(run, world, variables).run().success().stdout;
    let line = shown.lines().find_map(|line| line.strip_prefix("store ="));
    let store = line.unwrap().trim();
    match store.strip_prefix("local://").unwrap_or(store) {
        "" => "auto".to_owned(),
        store => store.to_owned(),
    }
}

fn narhaul_says(world: &World, variables: Variables<'_>) -> String {
    let run = given(world.narhaul(["config"]), world, variables);
    let shown = run.run().success().stdout;
    let line = shown.lines().find_map(|line| line.strip_prefix("store = "));
    match line.map(|line| line.split('"').nth(1).unwrap()) {
        None | Some("") => "auto".to_owned(),
        Some(store) => store.to_owned(),
    }
}

/// Holds both against what is expected, with each of these versions.
#[track_caller]
fn all_say(versions: &[Nix], world: &World, variables: Variables<'_>, store: &str) {
    for nix in versions {
        assert_eq!(
            nix_says(*nix, world, variables),
            store,
            "{nix:?} {variables:?}"
        );
    }
    assert_eq!(
        narhaul_says(world, variables),
        store,
        "narhaul {variables:?}"
    );
}

/// A world in which every file that Nix might read names a store after itself.
fn full_world() -> World {
    let world = World::new();
    for (file, store) in [
        ("etc/nix.conf", "/system"),
        ("dirs/nix/nix.conf", "/dirs"),
        ("home/.config/nix/nix.conf", "/home"),
        ("config/nix/nix.conf", "/xdg"),
        ("own/nix.conf", "/own"),
        ("own/nix/nix.conf", "/no"),
        ("a", "/a"),
        ("b", "/b"),
    ] {
        world.write(file, format!("store = {store}\n"));
    }
    world
}

#[test]
#[ignore = "real: needs three versions of Nix"]
fn the_files_of_settings_have_the_order_that_nix_gives_them() {
    let world = full_world();
    let say = |variables: Variables<'_>, store| all_say(&Nix::ALL, &world, variables, store);
    say(&[], "/xdg");
    say(&[("NIX_REMOTE", "/remote")], "/xdg");
    say(&[("NIX_USER_CONF_FILES", "@missing:@b:@a")], "/b");
    say(&[("NIX_USER_CONF_FILES", ":@a:")], "/a");
    say(&[("NIX_USER_CONF_FILES", "")], "/system");
    say(&[("NIX_USER_CONF_FILES", ":")], "/system");
    say(&[("XDG_CONFIG_HOME", "@nowhere")], "/dirs");
    let nowhere = [("XDG_CONFIG_HOME", "@nowhere"), ("XDG_CONFIG_DIRS", "")];
    say(&nowhere, "/system");
    say(&[("NIX_CONFIG", "store = /var\nstore = /again")], "/again");
    say(&[("NIX_CONFIG", "include @a")], "/a");
    say(&[("NIX_CONFIG", "extra-store = /a")], "/xdg");
    say(&[("NIX_CONFIG", "store =")], "auto");
}

#[test]
#[ignore = "real: needs three versions of Nix"]
fn the_newer_ones_have_a_folder_for_their_settings_alone() {
    let world = full_world();
    let newer = [Nix::V2_26, Nix::V2_34];
    let own = ("NIX_CONFIG_HOME", "@own");
    all_say(&newer, &world, &[own], "/own");
    // Older ones do not know it, and narhaul goes by the newer.
    assert_eq!(nix_says(Nix::V2_8, &world, &[own]), "/xdg");
    all_say(&newer, &world, &[("NIX_CONFIG_HOME", "@nowhere")], "/dirs");
}

#[test]
#[ignore = "real: needs three versions of Nix, and root"]
fn a_home_of_somebody_else_is_not_asked() {
    let world = full_world();
    let home = world.path("home");
    // Without XDG folders the home counts; `env` cannot take a variable away, so a shell does.
    let unset = |run: Run<'_>| {
        let mut command = run.command();
        command.env_remove("XDG_CONFIG_HOME");
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let nix = |nix: Nix| {
        let args = [
            "--extra-experimental-features",
            "nix-command",
            "show-config",
        ];
        unset(given(nix.without_settings(&world).args(args), &world, &[]))
    };
    let ours = || unset(given(world.narhaul(["config"]), &world, &[]));
    for client in Nix::ALL {
        assert!(nix(client).contains("/home\n"), "{client:?}");
    }
    assert!(ours().contains("store = \"/home\""), "{}", ours());
    chown(&home, Some(65534), None).unwrap();
    for client in [Nix::V2_26, Nix::V2_34] {
        let shown = nix(client);
        let line = shown
            .lines()
            .find(|line| line.starts_with("store ="))
            .unwrap();
        assert!(line.ends_with("/dirs"), "{client:?} {line}");
    }
    assert!(ours().contains("store = \"/dirs\""), "{}", ours());
}

#[test]
#[ignore = "real: needs three versions of Nix"]
fn lines_and_files_within_files_are_read_as_nix_reads_them() {
    let world = World::new();
    world.write("etc/more/inner.conf", "store = /inner\n");
    let say = |text: &[u8], store| {
        world.write("etc/nix.conf", text);
        all_say(&Nix::ALL, &world, &[], store);
    };
    say(b"store = /before\ninclude more/inner.conf\n", "/inner");
    say(b"include more/inner.conf\nstore = /after\n", "/after");
    say(b"store = /b\n!include missing\n", "/b");
    say(b"!include more/inner.conf # comment\n", "/inner");
    say(b"store = /a#b\n", "/a");
    say(b"store\t=  /a\r\n", "/a");
    say(b"# caf\xe9\nstore = /latin\n", "/latin");
    say(b"cores = 1\n# store = /no\n", "auto");
}

#[test]
#[ignore = "real: needs three versions of Nix"]
fn what_nix_refuses_names_no_store() {
    let world = World::new();
    world.write("etc/nix.conf", "store = /system\n");
    world.write("relative", "store = /relative\n");
    for text in ["include relative", "store=/a", "store /a", "include a b"] {
        let variables = [("NIX_CONFIG", text)];
        for nix in Nix::ALL {
            let run = nix.without_settings(&world).args(["show-config"]);
            let run = run.args(["--extra-experimental-features", "nix-command"]);
            assert_eq!(given(run, &world, &variables).run().code, Some(1), "{text}");
        }
        assert_eq!(narhaul_says(&world, &variables), "/system", "{text}");
    }
}
