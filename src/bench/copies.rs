//! Whole copies: into an empty cache, again, and again after some of the closure was built anew.

use std::sync::Arc;

use super::{
    Bench, Error,
    ground::Ground,
    report::Run,
    watch::{Seen, Watch},
};
use crate::{
    backend::Backend,
    copy::{self, Options},
    meter::Meter,
    nix::store_path::StorePath,
    source::Source,
};

/// The names of the phases, in the order of one repetition.
pub(super) const NAMES: [&str; 3] = ["cold", "again", "changed"];

/// What is copied in each of the three.
#[derive(Clone, Debug)]
pub struct Closures {
    /// The closure.
    pub whole: Part,
    /// The same after some of it was built anew. Without one, the third copy is left out.
    pub changed: Option<Part>,
}

/// A source, and what of it is copied.
#[derive(Clone, Debug)]
pub struct Part {
    /// Where it comes from.
    pub source: Arc<dyn Source>,
    /// The paths whose closure is copied.
    pub roots: Vec<StorePath>,
}

/// Copies once into an empty corner, again, and what has changed.
pub(super) async fn repeat(
    bench: &Bench,
    ground: &Ground,
    corner: &str,
) -> Result<Vec<Seen>, Error> {
    let closures = &bench.request.closures;
    let parts = [
        Some(&closures.whole),
        Some(&closures.whole),
        closures.changed.as_ref(),
    ];
    let mut runs = Vec::new();
    for (name, part) in NAMES.into_iter().zip(parts) {
        if let Some(part) = part {
            runs.push(once(bench, ground, corner, part, name).await?);
        }
    }
    // Between repetitions, so that it costs no run anything.
    ground.clear(corner).await?;
    Ok(runs)
}

/// Copies once into an empty corner, and clears it.
pub(super) async fn cold(bench: &Bench, ground: &Ground, corner: &str) -> Result<Run, Error> {
    let whole = &bench.request.closures.whole;
    let seen = once(bench, ground, corner, whole, NAMES[0]).await?;
    ground.clear(corner).await?;
    Ok(seen.run)
}

/// Copies the closure into a cache of this run's own, unmeasured.
pub(super) async fn fill(bench: &Bench, dest: Arc<dyn Backend>) -> Result<(), Error> {
    let whole = &bench.request.closures.whole;
    let (source, copying) = (Arc::clone(&whole.source), request(bench, whole));
    let copied = copy::run(source, dest, copying, Arc::default(), bench.stop.clone());
    whole_or_error(copied.await?).map(drop)
}

/// Copies once, and says what was seen.
pub(super) async fn once(
    bench: &Bench,
    ground: &Ground,
    corner: &str,
    part: &Part,
    name: &'static str,
) -> Result<Seen, Error> {
    // A fresh stack, which has learnt nothing about the server yet: every run begins alike.
    let stack = bench.stack();
    let dest: Arc<dyn Backend> = Arc::new(ground.corner(stack.top(), corner)?);
    let meter = Arc::new(Meter::default());
    let copying = request(bench, part);
    let watch = Watch::begin(bench, &stack, Some(Arc::clone(&meter)));
    let source = Arc::clone(&part.source);
    let copied = copy::run(source, dest, copying, meter, bench.stop.clone()).await;
    let mut seen = watch.end(name);
    let report = whole_or_error(copied?)?;
    seen.run.items = u64::try_from(report.closure.len()).unwrap_or(u64::MAX);
    seen.run.bytes = report.nar_bytes;
    seen.run.wire_bytes = report.body_bytes;
    Ok(seen)
}

fn request(bench: &Bench, part: &Part) -> copy::Request {
    let request = &bench.request;
    copy::Request {
        roots: part.roots.clone(),
        keys: request.keys.clone(),
        recipe: request.recipe.clone(),
        memory: request.memory,
        n_threads: request.n_threads,
        n_requests: usize::try_from(request.n_requests).unwrap_or(usize::MAX),
        group: request.group.clone(),
        run_id: request.run_id.clone(),
        clock: request.clock.clone(),
        timing: request.timing,
        upstreams: Vec::new(),
        options: Options {
            allow_unsigned: true,
            create_cache: true,
            part_size: Some(request.part_size),
            ..Options::default()
        },
    }
}

/// Figures of a copy that left something out are of something else.
fn whole_or_error(mut report: copy::Report) -> Result<copy::Report, Error> {
    if let Some(stopped) = report.stopped {
        return Err(match stopped {
            copy::Stopped::Asked => Error::Stopped,
            other => Error::Cut(format!("{other:?}")),
        });
    }
    match report.failures.pop() {
        None => Ok(report),
        Some(failure) => Err(Error::LeftOut {
            path: failure.path,
            why: Box::new(failure.why),
        }),
    }
}
