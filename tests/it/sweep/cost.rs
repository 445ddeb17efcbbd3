//! What a dry run says that a sweep costs, held against the sweep: requests by the kinds that providers
//! bill.

use narhaul::{
    backend::{
        memory::{Memory, Modes},
        wrap::count::Verb,
    },
    plan::cost::{Cost, Rehearsal, sweep},
    sweep::Report,
};

use super::{
    crash::everything,
    with_garbage,
    world::{World, body_key, part},
};

/// What the cache was asked so far.
fn asked(memory: &Memory) -> Cost {
    let n = |verb: Verb| memory.counts().read(verb).requests;
    Cost {
        n_puts: n(Verb::Put) + n(Verb::Begin) + n(Verb::PutPart) + n(Verb::Complete),
        n_lists: n(Verb::List) + n(Verb::Uploads),
        n_gets: n(Verb::Get) + n(Verb::Head) + n(Verb::Rules),
        n_deletes: n(Verb::Delete) + n(Verb::Abort),
        bytes_in: memory.counts().read(Verb::Put).bytes,
        bytes_out: memory.counts().read(Verb::Get).bytes,
        ..Cost::default()
    }
}

fn since(now: Cost, before: Cost) -> Cost {
    Cost {
        n_puts: now.n_puts - before.n_puts,
        n_lists: now.n_lists - before.n_lists,
        n_gets: now.n_gets - before.n_gets,
        n_deletes: now.n_deletes - before.n_deletes,
        bytes_in: now.bytes_in - before.bytes_in,
        bytes_out: now.bytes_out - before.bytes_out,
        ..Cost::default()
    }
}

fn requests(cost: Cost) -> [(&'static str, u64); 4] {
    [
        ("PUT", cost.n_puts),
        ("LIST", cost.n_lists),
        ("GET", cost.n_gets),
        ("DELETE", cost.n_deletes),
    ]
}

/// Runs dry, then sweeps; returns what the dry run foresees, what the sweep asked, and its report.
async fn both(world: &World) -> (Cost, Cost, Report) {
    let start = asked(&world.memory);
    let dry = world.dry_run().await;
    let between = asked(&world.memory);
    let foreseen = sweep(&Rehearsal {
        asked: since(between, start),
        ..dry.rehearsal
    });
    let report = world.sweep().await;
    (foreseen, since(asked(&world.memory), between), report)
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_foresees_every_request_of_the_sweep() {
    let world = with_garbage().await;
    world.memory.plant(&body_key("nobody"), "left by a copy");
    for name in ["old", "lib"] {
        world.memory.plant(&format!("{}.ls", part(name)), "{}");
    }
    world.days(8).await;
    let mut seen = Vec::new();
    // The first night buries, later ones delete, find orphans, drop what is worn out, and rest.
    for days in [1, 31, 8, 32, 1] {
        let (foreseen, done, report) = both(&world).await;
        assert_eq!(requests(foreseen), requests(done), "{report:?}");
        seen.push((
            report.condemned.len(),
            report.bodies.len(),
            report.dropped.len(),
        ));
        world.days(days).await;
    }
    assert_eq!(
        seen,
        [(2, 0, 0), (0, 0, 1), (0, 3, 6), (0, 0, 3), (0, 0, 1)]
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_put_back_and_what_dangles_is_foreseen_too() {
    let world = everything().await;
    let (foreseen, done, report) = both(&world).await;
    assert!(!report.healed.is_empty() && !report.dangling.is_empty() && !report.bodies.is_empty());
    assert_eq!(requests(foreseen), requests(done));
}

#[tokio::test(start_paused = true)]
async fn where_writes_cannot_be_conditional_the_questions_before_them_are_foreseen() {
    let world = World::with_modes(Modes::garage());
    world.push("sys -> glibc; glibc; old -> lib glibc; lib -> glibc");
    world.root("web", &["sys"]);
    world.days(32).await;
    world.sweep().await;
    world.push("app -> lib glibc");
    let (foreseen, done, report) = both(&world).await;
    assert_eq!(report.healed.len(), 1);
    assert_eq!(requests(foreseen), requests(done));
}

/// Pages of a listing may be cut elsewhere, and each batch looks at the intents on its own.
#[tokio::test(start_paused = true)]
async fn of_thousands_of_paths_the_requests_are_foreseen_within_a_twentieth() {
    let world = World::new();
    world.push("sys -> glibc; glibc");
    world.root("web", &["sys"]);
    for number in 0..2_600 {
        let references = format!("lib{}", number % 1_300);
        world.push(&format!(
            "app{number} -> {references}; lib{}",
            number % 1_300
        ));
    }
    let mut seen = Vec::new();
    for days in [32, 32, 8] {
        world.days(days).await;
        let (foreseen, done, report) = both(&world).await;
        for ((kind, foreseen), (_, done)) in requests(foreseen).into_iter().zip(requests(done)) {
            let apart = foreseen.abs_diff(done);
            assert!(apart <= done / 20 + 2, "{kind}: {foreseen} for {done}");
        }
        seen.push((report.condemned.len(), report.bodies.len()));
    }
    assert_eq!(seen, [(3_900, 0), (0, 3_900), (0, 0)]);
}
