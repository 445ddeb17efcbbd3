//! What another cache serves is no hole: neither to a repair nor to an undo.

use std::collections::BTreeSet;

use narhaul::{
    ledger::{IntentFile, Name},
    plan::sweep::Imported,
    sweep::{Report, report::WhyMissing},
};

use super::{
    beside::{Beside, intend, puts},
    world::{World, part},
};

/// A cache with a root and something young that refers to a path which is not here.
fn with_reference_upstream() -> World {
    let world = World::new();
    world.push("sys; app -> up");
    world.root("web", &["sys"]);
    world
}

async fn repair(world: &World) -> Report {
    let mut request = world.request();
    request.options.repair = true;
    world.sweep_as(request).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn repair_leaves_alone_what_a_copy_reports_beside_it() {
    // The copy ends after intents and roots were looked at; once more when all is condemned.
    for end in ["narhaul/config", "-f/condemned"] {
        let world = with_reference_upstream();
        if end == "narhaul/config" {
            intend(&world.memory, "copy1", &["app"]);
        }
        let (key, bytes) = world.root_record("other", &["app"], &["up"]);
        let dest = Beside::after(&world, puts(end), move |memory| {
            memory.plant(&key, bytes);
            let name = Name::intent(&"copy1".parse().unwrap(), IntentFile::Closure);
            memory.remove(name.key().as_str());
        });
        let mut request = world.request();
        request.options.repair = true;
        world.sweep_over(dest, request).await.unwrap();
        assert!(world.has("app"), "{end}");
        assert!(
            world.ledger().iter().any(|name| name.contains("/other/")),
            "{end}: the copy has ended"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn repair_only_tells_what_something_lacks_that_is_named() {
    let world = with_reference_upstream();
    let mut request = world.request();
    request.options.repair = true;
    request.imported = vec![Imported {
        label: "list".to_owned(),
        parts: vec![part("app")],
    }];
    let report = world.sweep_as(request).await.unwrap();
    let missing = report.missing.iter();
    let missing: Vec<_> = missing.map(|item| (item.part, item.why)).collect();
    assert_eq!(missing, [(part("up"), WhyMissing::Unknown)]);
    assert!(world.has("app") && report.dangling.is_empty());
    // Named by nothing, it may go.
    let world = with_reference_upstream();
    repair(&world).await;
    assert!(!world.has("app"));
}

#[tokio::test(start_paused = true)]
async fn undo_puts_back_what_refers_to_another_cache() {
    let world = World::new();
    world.push("sys -> up; tool -> app; app -> up; odd -> nowhere");
    world.root_beside("web", &["sys"], &["up"]);
    world.days(32).await;
    let report = world.sweep().await;
    assert!(!world.has("app") && !world.has("tool"));
    let undone = world.undo(&report.run).await;
    assert_eq!(undone.put_back, BTreeSet::from([part("app"), part("tool")]));
    assert_eq!(undone.lost.into_keys().collect::<Vec<_>>(), [part("odd")]);
}
