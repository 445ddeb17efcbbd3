//! Bodies that go while nobody knows all the paths that have them.

use narhaul::{
    backend::wrap::count::Verb,
    ledger::{
        JournalFile,
        doom::{DoomList, Doomed},
    },
    nix::object_key::ObjectKey,
};

use super::{CLOSURE, MINUTE, Scene, sweep};

#[tokio::test(start_paused = true)]
async fn a_young_narinfo_beside_a_list_of_orphans_is_looked_at_with_its_body() {
    let theirs = ObjectKey::parse("nar/theirs.nar.xz").unwrap();
    a_body_that_goes_counts_as_gone(Doomed {
        body: theirs,
        part: None,
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_two_paths_have_goes_with_the_other_one_and_counts_as_gone() {
    // A writer that names bodies by the hash of the file; `other` had the same contents as `lib`.
    let theirs = format!("nar/{}.nar.xz", "0".repeat(52));
    a_body_that_goes_counts_as_gone(Doomed {
        body: ObjectKey::parse(&theirs).unwrap(),
        part: Some("3n58xw4373jp0ljirf06d8077j15pc4j".parse().unwrap()),
    })
    .await;
}

async fn a_body_that_goes_counts_as_gone(doomed: Doomed) {
    let scene = Scene::copied(CLOSURE).await;
    // Long after the copy, a sweep deletes bodies that no narinfo names. Meanwhile somebody publishes
    // one path again with such a body.
    tokio::time::sleep(MINUTE * 600).await;
    let run = sweep("a");
    let theirs = doomed.body.clone();
    let list = DoomList {
        bodies: vec![doomed],
    };
    scene.plant(&run, JournalFile::Doom(0), list.encode());
    scene.beat(&run);
    let (key, ours) = (scene.narinfo_key("lib"), scene.narinfo_text("lib"));
    let text = ours.replace(scene.body("lib").as_str(), theirs.as_str());
    scene.memory.plant(&key, text);
    scene.memory.plant(theirs.as_str(), "still there");
    scene.memory.take_log();
    let report = scene.copy("new").await;
    assert_eq!((report.n_published, report.counts().n_skip), (1, 2));
    assert_eq!(
        scene.narinfo_text("lib"),
        ours,
        "what is about to go counts as gone"
    );
    let old = scene.narinfo_key("base");
    let log = scene.memory.take_log();
    assert!(!log.iter().any(|r| r.verb == Verb::Get && r.name == old));
    scene.assert_whole();
}
