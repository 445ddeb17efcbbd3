//! Rewrites a lot of narinfos beside whatever else works in the cache.
//!
//! A rewrite reads a narinfo and puts it back, so it relies on the path as a copy does, and does as a
//! copy does: it writes an intent that names each path with its body, *then* waits for sweeps that are
//! in the middle of something with one of them, and reads the journals, *then* reads each narinfo again
//! and writes it behind the intent's fence. Of this intent before that reading, and a sweep's `condemned`
//! before its look at the intents, one always sees the other:
//!
//! - A path that a sweep has condemned before it could see the intent is waited for until it is buried,
//!   and then either gone, so that nothing is written, or was published since and is nobody's to delete.
//!   What a dead sweep left condemned is not touched.
//! - A path that a sweep would condemn after that is relied on, and spared.
//! - The body is relied on, too. Where a journal or a doom list makes it doubtful it is asked for, and a narinfo
//!   without one is left alone. So what is written has its body, even if it takes the place of a text
//!   that somebody else has just put there.
//!
//! Writing depends on what was read, where the server can do that; where not, it was read a moment ago.
//! Either way it is read once more and verified.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::SystemTime,
};

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{
    Error, Left, Report, Shared, Stopped, Why,
    read::{self, Narinfo},
};
use crate::{
    backend::{self, Fence, Kind, ObjectMeta, PutOptions},
    ledger::{
        IntentId,
        intent::{Intent, Relied},
    },
    meter::Phase,
    nix::{
        object_key::ObjectKey,
        store_path::{HashPart, StorePath},
    },
    plan::{check::Judged, sign::Verdict},
    tasks::joined,
    tomb::{self, Books, Concern, Held, books, narinfo_options},
};

/// A narinfo that changes under the hands is read this often.
const MAX_LOOKS: usize = 4;

/// A lot whose intent lapses is begun anew; one that lapses every time is on a machine that sleeps more
/// than it works.
const MAX_TRIES: usize = 3;

/// What is said while a sweep is waited for.
const WAITING: &str = "a running sweep";

/// A narinfo that is not as wanted, with the body that it named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Change {
    pub(super) relied: Relied,
}

impl Change {
    pub(super) fn of(part: HashPart, body: ObjectKey) -> Self {
        let relied = Relied { part, body };
        Self { relied }
    }
}

/// What became of one narinfo.
#[derive(Debug)]
enum Done {
    Written,
    /// It needs nothing any more: it is as wanted, or gone.
    Settled,
    /// It names another body than the intent does.
    Moved(Change),
    /// The intent has lapsed.
    Late,
    Left(Option<StorePath>, Why),
}

/// What sweeps have written that bears on a lot.
#[derive(Debug)]
struct Outlook {
    /// Condemned by a sweep that died.
    condemned: BTreeSet<HashPart>,
    /// Whose bodies are to be asked for.
    doubts: BTreeSet<HashPart>,
    /// Narinfos written after this may name bodies that are on doom lists without a path.
    nameless_since: Option<SystemTime>,
    /// Bodies that a living sweep is about to delete.
    going: HashSet<ObjectKey>,
}

/// Rewrites a lot; returns what names another body by now than it did.
pub(super) async fn rewrite(
    shared: &Arc<Shared>,
    lot: &[Change],
    number: usize,
    report: &mut Report,
) -> Result<Vec<Change>, Error> {
    let relies: Vec<Relied> = lot.iter().map(|change| change.relied.clone()).collect();
    let mut held = hold(shared, relies.clone(), number).await?;
    let mut todo: BTreeMap<HashPart, Change> = lot
        .iter()
        .map(|change| (change.relied.part, change.clone()))
        .collect();
    let mut moved = Vec::new();
    for n_tries in 1..=MAX_TRIES {
        let books = match wait(shared, &relies).await {
            Err(Error::Stopped) => {
                report.stopped = Some(Stopped::Asked);
                break;
            }
            books => books?,
        };
        report.has_journals |= books.unfinished().next().is_some();
        let outlook = Arc::new(Outlook::of(shared, &books, &relies));
        pass(shared, &held, &outlook, (&mut todo, &mut moved), report).await?;
        if todo.is_empty() || report.stopped.is_some() {
            break;
        }
        if n_tries < MAX_TRIES {
            held.renew().await?;
        }
    }
    // A narinfo that was sent and not answered may still be stored: until that is over the intent stays.
    let is_in_doubt = held.fence().doubted().is_some();
    if is_in_doubt || held.end().await.is_err() {
        report.has_left_intent = true;
    }
    if report.stopped.is_none() {
        report.left.extend(todo.into_keys().map(|part| Left {
            part,
            path: None,
            why: Why::Restless,
        }));
    }
    Ok(moved)
}

async fn hold(shared: &Shared, relies: Vec<Relied>, number: usize) -> Result<Held, Error> {
    let request = &shared.request;
    let id: IntentId = format!("{}-s{number}", request.run_id).parse()?;
    let intent = Intent {
        store_dir: shared.cache.store_dir.clone(),
        roots: Vec::new(),
        relies,
    };
    let (dest, clock) = (Arc::clone(&shared.cache.dest), request.clock.clone());
    Ok(Held::take(dest, clock, request.timing, id, intent).await?)
}

/// Reads the books until no sweep is in the middle of something with the lot.
async fn wait(shared: &Shared, relies: &[Relied]) -> Result<Books, Error> {
    let concern = Concern::of(relies);
    let mut reader = books::Reader::default();
    let mut is_waiting = false;
    let read = loop {
        let read = reader
            .read(&*shared.cache.dest, &shared.request.timing)
            .await;
        let is_busy = |books: &Books| {
            concern.must_wait_to_look(books) || concern.must_wait_to_look_again(books)
        };
        if !read.as_ref().is_ok_and(is_busy) {
            break read.map_err(Error::from);
        }
        if shared.cache.stop.is_set() {
            break Err(Error::Stopped);
        }
        if !is_waiting {
            shared.cache.meter.enter(WAITING);
            is_waiting = true;
        }
        tokio::time::sleep(shared.request.timing.poll).await;
    };
    if is_waiting {
        shared.cache.meter.leave(WAITING);
    }
    read
}

/// Goes through what is left of a lot once; takes off it what is done.
async fn pass(
    shared: &Arc<Shared>,
    held: &Held,
    outlook: &Arc<Outlook>,
    (todo, moved): (&mut BTreeMap<HashPart, Change>, &mut Vec<Change>),
    report: &mut Report,
) -> Result<(), Error> {
    let mut queue: Vec<Change> = todo.values().cloned().collect();
    let fence = held.fence();
    let mut tasks = JoinSet::new();
    loop {
        if shared.cache.stop.is_set() {
            report.stopped.get_or_insert(Stopped::Asked);
        }
        let may_begin = report.stopped.is_none() && !fence.is_past();
        while may_begin
            && tasks.len() < shared.cache.n_requests
            && let Some(change) = queue.pop()
        {
            let (shared, outlook) = (Arc::clone(shared), Arc::clone(outlook));
            let fence = fence.clone();
            tasks.spawn(async move {
                let done = one(&shared, &outlook, &change, &fence).await;
                (change.relied.part, done)
            });
        }
        // What is under way is waited for, also after a stop: narinfos are small.
        let (part, done) = match tasks.join_next().await {
            None => return Ok(()),
            Some(ended) => joined(ended),
        };
        let done = done?;
        if matches!(done, Done::Late) {
            continue;
        }
        todo.remove(&part);
        shared.cache.meter.add(Phase::Sign, 1, 0);
        note(report, moved, part, done);
    }
}

fn note(report: &mut Report, moved: &mut Vec<Change>, part: HashPart, done: Done) {
    match done {
        Done::Late => {}
        Done::Written => report.n_written += 1,
        Done::Settled => report.n_settled += 1,
        Done::Moved(change) => moved.push(change),
        Done::Left(_, Why::Cache(error)) if is_hopeless(&error) => {
            report.stopped.get_or_insert(Stopped::Cache(error));
        }
        Done::Left(path, why) => report.left.push(Left { part, path, why }),
    }
}

/// Returns whether the next write would fail in the same way.
fn is_hopeless(error: &backend::Error) -> bool {
    matches!(
        error.kind,
        Kind::Denied
            | Kind::Credentials
            | Kind::NoBucket
            | Kind::Region(_)
            | Kind::Full
            | Kind::Tls
    )
}

impl Outlook {
    fn of(shared: &Shared, books: &Books, relies: &[Relied]) -> Self {
        let concern = Concern::of(relies);
        let margin = shared.request.timing.margin;
        let tombstones = books.tombstones(concern.parts());
        let mut doubts = concern.doubts(books, relies);
        doubts.extend(tombstones.keys());
        let standing = tombstones.iter().filter(|(_, stone)| !stone.is_buried);
        Self {
            condemned: standing.map(|(part, _)| *part).collect(),
            doubts,
            nameless_since: books
                .nameless_since()
                .map(|since| since.checked_sub(margin).unwrap_or(SystemTime::UNIX_EPOCH)),
            going: books.nameless_doomed(),
        }
    }

    /// Returns whether a narinfo's body may be gone though it is there.
    fn doubts(&self, part: HashPart, meta: &ObjectMeta) -> bool {
        let is_younger = |since: SystemTime| meta.last_modified.is_none_or(|date| date >= since);
        self.doubts.contains(&part) || self.nameless_since.is_some_and(is_younger)
    }
}

/// Rewrites one narinfo, and reads it again.
async fn one(
    shared: &Shared,
    outlook: &Outlook,
    change: &Change,
    fence: &Fence,
) -> Result<Done, Error> {
    let Relied { part, body } = &change.relied;
    let key = ObjectKey::narinfo(*part);
    if outlook.condemned.contains(part) {
        return Ok(Done::Left(None, Why::Condemned));
    }
    let (mut was_written, mut last) = (false, None);
    for _look in 0..MAX_LOOKS {
        let object = match shared.cache.dest.get(&key).await {
            Ok(object) => object,
            Err(error) if error.kind == Kind::NotFound => return Ok(Done::Settled),
            Err(error) => return Ok(Done::Left(None, Why::Cache(error))),
        };
        let narinfo = match read::parse(&shared.cache.store_dir, *part, &object) {
            Ok(narinfo) => narinfo,
            Err(why) => return Ok(Done::Left(None, Why::Unreadable(why))),
        };
        let path = Some(narinfo.parsed.path_info.path.clone());
        let wish = &shared.request.wish;
        let text = match wish.judge(&shared.cache.store_dir, &narinfo.parsed, &narinfo.text) {
            Verdict::AsWanted if was_written => return Ok(Done::Written),
            Verdict::AsWanted => return Ok(Done::Settled),
            Verdict::Leave(why) => return Ok(Done::Left(path, Why::Unwilling(why))),
            Verdict::Rewrite(text) => text,
        };
        if narinfo.body != *body {
            return Ok(Done::Moved(Change::of(*part, narinfo.body)));
        }
        if !has_body(shared, outlook, *part, &narinfo, &object.meta).await? {
            return Ok(Done::Left(path, Why::BodyGone));
        }
        let (store_dir, old) = (&shared.cache.store_dir, &narinfo.parsed);
        let text = Judged::rewrite(store_dir, old, &narinfo.text, text)?;
        match put(shared, &key, text, object.meta, fence).await {
            Ok(()) => was_written = true,
            Err(error) if error.kind == Kind::TooLate => return Ok(Done::Late),
            Err(error) if is_hopeless(&error) => return Ok(Done::Left(path, Why::Cache(error))),
            // It changed in between, or nobody knows; the next look shows.
            Err(error) => last = Some(error),
        }
    }
    Ok(Done::Left(None, last.map_or(Why::Restless, Why::Cache)))
}

/// Asks for the body where it is in doubt.
async fn has_body(
    shared: &Shared,
    outlook: &Outlook,
    part: HashPart,
    narinfo: &Narinfo,
    meta: &ObjectMeta,
) -> Result<bool, Error> {
    if outlook.going.contains(&narinfo.body) {
        return Ok(false);
    }
    if !outlook.doubts(part, meta) {
        return Ok(true);
    }
    let there = tomb::restore::has_body(&*shared.cache.dest, &narinfo.body).await;
    Ok(there?)
}

/// Writes a narinfo over the one that was read, with what its writer had said of it.
async fn put(
    shared: &Shared,
    key: &ObjectKey,
    text: Judged<String>,
    read: ObjectMeta,
    fence: &Fence,
) -> Result<(), backend::Error> {
    let compares = shared.compares.load(Relaxed);
    let options = PutOptions {
        user: read.user,
        if_same: read.etag.filter(|_| compares),
        fence: Some(fence.clone()),
        ..narinfo_options()
    };
    let put = shared
        .cache
        .dest
        .put(key, Bytes::from(text.into_inner()), &options)
        .await;
    if compares && matches!(&put, Err(error) if error.kind == Kind::Unsupported) {
        shared.compares.store(false, Relaxed);
    }
    put
}
