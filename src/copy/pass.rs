//! Passes bodies on as the cache that they come from has them, without compressing anything again.
//!
//! Two things are checked on the way: that the body has the file hash that its narinfo says, because its
//! key at the destination says so too; and, unpacking it, that its NAR has the nar hash that is signed,
//! because a signature covers the NAR and not the body, and no client could tell before it has fetched
//! it. [`Options::trust_source`](super::Options::trust_source) leaves the second out.
//!
//! Small bodies are fetched and sent whole. Large ones are fetched in pieces, a few ahead, and go out in
//! parts; nothing of them is visible before both checks are done. A server that gives no parts of
//! objects must give all of it, which is then held in memory.
//!
//! Where one server keeps both caches, it copies what was looked into, instead of being sent it: see
//! [`by_server`].

use std::{
    io::{self, Read},
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream::FuturesOrdered};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{
    Why,
    budget::{Lease, frame_cost},
    by_server,
    commit::Body,
    context::Context,
    cpu::{blocking, on_cpu},
    pack::NarSeen,
    parts::Parts,
    send::{Begin, Compressed, MAX_ANEW, Room, Sent, Way, body_options},
};
use crate::{
    backend::{Kind, Origin},
    meter::Phase,
    nix::{
        compression::Compression,
        hash::{FileHash, Sha256},
        nar::listing::Recorder,
        object_key::ObjectKey,
        path_info::PathInfo,
    },
    plan::copy::PassedBody,
    source::{
        self, Source,
        binary_cache::{BinaryCache, PIECE},
        hashing::Hashing,
        unpack,
    },
};

/// This many pieces of a large body are fetched ahead: enough that the next one is there when one has
/// been unpacked, few enough that small bodies keep their room.
const PIECES_AHEAD: usize = 2;

/// A body that is to be passed on.
#[derive(Clone, Debug)]
pub(super) struct Passing {
    /// Where it goes.
    pub(super) key: ObjectKey,
    /// What it is.
    pub(super) body: PassedBody,
    /// Whether it is there already, and only a look into it is wanted.
    pub(super) is_there: bool,
}

impl Passing {
    fn done(&self, seen: NarSeen, way: Way, n_resumed: u64) -> Sent {
        Sent {
            body: Body {
                file_hash: self.body.file_hash,
                file_size: self.body.file_size,
                nar_size: seen.nar_size,
            },
            listing: seen.listing,
            way,
            n_resumed,
        }
    }

    /// How the body comes there if no server copies it.
    fn way(&self) -> Way {
        if self.is_there { Way::Found } else { Way::Sent }
    }

    fn other_body(&self, hash: FileHash, size: u64) -> Why {
        let PassedBody {
            file_hash,
            file_size,
            ..
        } = &self.body;
        Why::OtherBody {
            found: format!("{hash} and {size} bytes"),
            wanted: format!("{file_hash} and {file_size} bytes"),
        }
    }
}

/// Returns whether a body is fetched and sent whole.
fn is_small(body: &PassedBody) -> bool {
    body.file_size <= PIECE
}

/// Returns whether a body may be passed on beside many others: it is small, or does not come here.
pub(super) fn needs_no_lane(context: &Context, passing: &Passing) -> bool {
    is_small(&passing.body) || by_server::is_unseen(context, passing)
}

/// Returns the room that a body wants before it is fetched. A large one takes its room piece by piece.
pub(super) fn cost(body: &PassedBody) -> usize {
    if is_small(body) { len(body) } else { 0 }
}

fn len(body: &PassedBody) -> usize {
    usize::try_from(body.file_size).unwrap_or(usize::MAX)
}

/// Returns the room that the body of a small NAR wants beside the NAR while it is made anew.
pub(super) fn cost_of_fetched(context: &Context, info: &PathInfo) -> usize {
    let body = context
        .source
        .as_cache()
        .and_then(|cache| cache.body(&info.path).ok());
    let size = body.and_then(|body| body.file_size).unwrap_or(0);
    usize::try_from(size.min(PIECE)).unwrap_or(0)
}

/// Returns what a small NAR is read from: a body that was fetched, so that no thread that computes waits
/// for a server.
pub(super) async fn readable(context: &Context, info: &PathInfo) -> Result<Arc<dyn Source>, Why> {
    let Some(cache) = context.source.as_cache() else {
        return Ok(Arc::clone(&context.source));
    };
    let body = cache.body(&info.path).map_err(of_source)?;
    if body.file_size.is_none_or(|size| size > PIECE) {
        return Ok(Arc::clone(&context.source));
    }
    Ok(Arc::new(cache.fetched(&body).await.map_err(of_source)?))
}

/// Passes a body of any size on.
pub(super) async fn pass(
    context: &Arc<Context>,
    info: Arc<PathInfo>,
    passing: Passing,
    room: Room,
) -> Result<Sent, Why> {
    if !context.unpacks()
        && let Some(from) = by_server::look(context, &passing).await
        && by_server::copy(context, &passing, &from).await
    {
        let seen = unseen(&info);
        context.meter.add(Phase::Pack, 1, seen.nar_size);
        context.meter.add(Phase::Upload, 1, 0);
        return Ok(passing.done(seen, Way::ByServer, 0));
    }
    let lane = match room {
        Room::Lease(lease) if is_small(&passing.body) => {
            return pass_small(context, &info, passing, lease).await;
        }
        // What was not to come here comes after all.
        Room::Lease(_) => context.large_lane().await,
        Room::Lane(lane) => lane,
    };
    let name = info.path.to_string();
    context.meter.enter(&name);
    let sent = pass_large(context, &info, passing, lane).await;
    context.meter.leave(&name);
    sent
}

fn cache(context: &Context) -> &BinaryCache {
    match context.source.as_cache() {
        Some(cache) => cache,
        None => unreachable!("only bodies of caches are passed on"),
    }
}

fn of_source(error: source::Error) -> Why {
    Why::Source(Arc::new(error))
}

async fn pass_small(
    context: &Arc<Context>,
    info: &Arc<PathInfo>,
    passing: Passing,
    lease: Lease,
) -> Result<Sent, Why> {
    // What came in disorder once may have done so on the way.
    let mut looked = fetch_whole(context, info, &passing).await;
    if let Err(Why::OtherBody { .. } | Why::Corrupt { .. }) = looked {
        looked = fetch_whole(context, info, &passing).await;
    }
    let Looked { bytes, etag, seen } = looked?;
    context.meter.add(Phase::Pack, 1, seen.nar_size);
    let origin = etag.and_then(|etag| by_server::origin(context, &passing, &etag));
    let way = if passing.is_there {
        Way::Found
    } else if let Some(from) = origin
        && by_server::copy(context, &passing, &from).await
    {
        context.meter.add(Phase::Upload, 1, 0);
        Way::ByServer
    } else {
        let options = body_options(Some(passing.body.file_hash));
        let put = context.dest.put(&passing.key, bytes, &options).await;
        put.map_err(Why::Cache)?;
        context.meter.add(Phase::Upload, 1, passing.body.file_size);
        Way::Sent
    };
    drop(lease);
    Ok(passing.done(seen, way, 0))
}

/// A small body that was looked into.
struct Looked {
    bytes: Bytes,
    /// What its server marks it by.
    etag: Option<String>,
    seen: NarSeen,
}

/// Fetches a small body and looks into it.
async fn fetch_whole(
    context: &Arc<Context>,
    info: &Arc<PathInfo>,
    passing: &Passing,
) -> Result<Looked, Why> {
    let fetched = cache(context).fetch_object(&passing.body.from).await;
    let object = fetched.map_err(of_source)?;
    let bytes = object.body;
    // What came out of a content encoding is not what the server would copy.
    let is_stored = u64::try_from(bytes.len()) == Ok(object.meta.size);
    let etag = object.meta.etag.filter(|_| is_stored);
    let decoder = context.encoder().await;
    let (info, passing) = (Arc::clone(info), passing.clone());
    let (unpacks, wants_listing) = (context.unpacks(), context.wants_contents());
    on_cpu(move || {
        let hash = FileHash(Sha256::of(&bytes));
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if hash != passing.body.file_hash || size != passing.body.file_size {
            return Err(passing.other_body(hash, size));
        }
        let seen = if unpacks {
            look_into(&passing.body.compression, bytes.as_ref(), wants_listing)
                .map_err(|error| unreadable(&info, error))?
        } else {
            unseen(&info)
        };
        drop(decoder);
        if seen.is_of(&info) {
            Ok(Looked { bytes, etag, seen })
        } else {
            Err(seen.corrupt(&info))
        }
    })
    .await
}

/// What is believed of a NAR that nobody has looked into.
fn unseen(info: &PathInfo) -> NarSeen {
    NarSeen {
        nar_hash: info.nar_hash,
        nar_size: info.nar_size,
        listing: None,
    }
}

fn unreadable(info: &PathInfo, error: io::Error) -> Why {
    of_source(source::Error::Malformed {
        place: "its body".to_owned(),
        path: info.path.to_string(),
        source: Box::new(error),
    })
}

/// Unpacks a body only to see what its NAR is. Blocks.
fn look_into(
    compression: &Compression,
    body: impl Read,
    wants_listing: bool,
) -> io::Result<NarSeen> {
    let mut nar = unpack::reader(compression, body).map_err(io::Error::other)?;
    let mut hashing = Hashing::default();
    let mut recorder = wants_listing.then(Recorder::new);
    let mut buffer = vec![0; 128 << 10];
    loop {
        let n = match nar.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        io::Write::write_all(&mut hashing, &buffer[..n])?;
        // A NAR that has no listing is a NAR all the same.
        if let Some(mut kept) = recorder.take() {
            recorder = io::Write::write_all(&mut kept, &buffer[..n])
                .is_ok()
                .then_some(kept);
        }
    }
    let (nar_hash, nar_size) = hashing.finish();
    Ok(NarSeen {
        nar_hash,
        nar_size,
        listing: recorder.and_then(|recorder| recorder.finish().ok()),
    })
}

/// A piece of a body, with the room for it and for its place in a part.
struct Piece {
    bytes: Bytes,
    lease: Lease,
}

/// A large body that has been looked into, and is where it was to go.
struct Passed {
    seen: NarSeen,
    way: Way,
    /// Bytes of it that an interrupted copy had sent before.
    n_resumed: u64,
}

async fn pass_large(
    context: &Arc<Context>,
    info: &Arc<PathInfo>,
    passing: Passing,
    lane: OwnedSemaphorePermit,
) -> Result<Sent, Why> {
    let Passed {
        seen,
        way,
        n_resumed,
    } = match by_server::look(context, &passing).await {
        Some(from) => pass_by_server(context, info, &passing, &from).await?,
        None => pass_through(context, info, &passing).await?,
    };
    drop(lane);
    context.meter.add(Phase::Pack, 1, seen.nar_size);
    if !passing.is_there {
        context.meter.add(Phase::Upload, 1, 0);
    }
    Ok(passing.done(seen, way, n_resumed))
}

/// Looks into a large body, and has the server copy it; sends it where the server does not.
async fn pass_by_server(
    context: &Arc<Context>,
    info: &Arc<PathInfo>,
    passing: &Passing,
    from: &Origin,
) -> Result<Passed, Why> {
    let only_looked_into = Passing {
        is_there: true,
        ..passing.clone()
    };
    let looked = pass_through(context, info, &only_looked_into).await?;
    if by_server::copy(context, passing, from).await {
        return Ok(Passed {
            way: Way::ByServer,
            ..looked
        });
    }
    pass_through(context, info, passing).await
}

/// Looks into a large body, and sends it meanwhile if it is not there.
async fn pass_through(
    context: &Arc<Context>,
    info: &Arc<PathInfo>,
    passing: &Passing,
) -> Result<Passed, Why> {
    match pass_pieces(context, info, passing, None).await {
        Err(Why::Source(error)) if gives_no_parts(&error) => {
            let (whole, lease) = hold_whole(context, passing, error).await?;
            let passed = pass_pieces(context, info, passing, Some(whole)).await;
            drop(lease);
            passed
        }
        passed => passed,
    }
}

fn gives_no_parts(error: &source::Error) -> bool {
    matches!(error, source::Error::Cache { source, .. } if source.kind == Kind::Unsupported)
}

/// Fetches a large body into memory, if there is room for it beside what its parts want.
async fn hold_whole(
    context: &Arc<Context>,
    passing: &Passing,
    error: Arc<source::Error>,
) -> Result<(Bytes, Lease), Why> {
    let size = len(&passing.body);
    // A part that is being filled, and the piece that comes next.
    let piece = usize::try_from(PIECE).unwrap_or(usize::MAX);
    let beside = context.part_size(passing.body.file_size) + frame_cost(piece);
    if size > context.shares.bytes.saturating_sub(beside) {
        return Err(Why::Source(error));
    }
    let lease = context.budget.lease(size).await;
    let whole = cache(context).fetch(&passing.body.from).await;
    Ok((whole.map_err(of_source)?, lease))
}

/// Fetches a large body in pieces, or takes them from `whole`; sends it, unpacking it meanwhile. What an
/// interrupted copy has sent of it is not sent again: the key has the body's hash in it.
async fn pass_pieces(
    context: &Arc<Context>,
    info: &Arc<PathInfo>,
    passing: &Passing,
    whole: Option<Bytes>,
) -> Result<Passed, Why> {
    let (mut passing, mut begin) = (passing.clone(), Begin::WhereLeft);
    for _ in 0..=MAX_ANEW {
        let passed = pass_from(context, info, &passing, whole.clone(), begin).await?;
        if let Some(passed) = passed {
            return Ok(passed);
        }
        begin = Begin::Anew;
        passing.is_there = context.size_there(&passing.key).await == Some(passing.body.file_size);
    }
    Err(Why::Unsteady)
}

/// Passes pieces on once. Returns nothing if the upload has come to an end meanwhile, by another copy or by
/// a rule.
async fn pass_from(
    context: &Arc<Context>,
    info: &Arc<PathInfo>,
    passing: &Passing,
    whole: Option<Bytes>,
    begin: Begin,
) -> Result<Option<Passed>, Why> {
    let (send, receive) = mpsc::channel(1);
    let looking = look_at_pieces(context, info, passing, receive);
    let wanted = (!passing.is_there).then(|| passing.key.clone());
    let size = info.nar_size.max(passing.body.file_size);
    let mut parts = Parts::new(context, wanted, size);
    if begin == Begin::WhereLeft {
        parts = parts.going_on();
    }
    let sending = send_pieces(context, passing, whole, send, &mut parts);
    let (seen, sent) = tokio::join!(looking, sending);
    if let Err(why @ Why::Source(_)) = sent {
        // The source could not be read on: what was sent of it is right, as far as it goes.
        parts.leave().await;
        return Err(why);
    }
    let checked = sent.and_then(|()| {
        let (hash, size) = parts.so_far();
        if hash != passing.body.file_hash || size != passing.body.file_size {
            return Err(passing.other_body(hash, size));
        }
        let seen = seen.map_err(|error| unreadable(info, error))?;
        if seen.is_of(info) {
            Ok(seen)
        } else {
            Err(seen.corrupt(info))
        }
    });
    let ended = match checked {
        Ok(seen) => parts.finish().await.map(|_| seen),
        Err(why) => Err(why),
    };
    match ended {
        Ok(seen) => Ok(Some(Passed {
            seen,
            way: passing.way(),
            n_resumed: parts.n_resumed(),
        })),
        Err(why) if parts.give_up(&why).await => Ok(None),
        Err(why) => Err(why),
    }
}

/// Unpacks what comes in pieces, on a thread of its own.
async fn look_at_pieces(
    context: &Arc<Context>,
    info: &Arc<PathInfo>,
    passing: &Passing,
    pieces: mpsc::Receiver<(Bytes, Lease)>,
) -> io::Result<NarSeen> {
    let (info, unpacks) = (Arc::clone(info), context.unpacks());
    let (compression, wants_listing) = (passing.body.compression.clone(), context.wants_contents());
    let looking = blocking(move || {
        let mut body = Received {
            pieces,
            piece: Bytes::new(),
            lease: None,
        };
        if unpacks {
            let seen = look_into(&compression, &mut body, wants_listing);
            // What lies behind the end of the last stream is part of the body all the same.
            io::copy(&mut body, &mut io::sink()).and(seen)
        } else {
            io::copy(&mut body, &mut io::sink()).map(|_| unseen(&info))
        }
    });
    looking.await
}

/// Fetches pieces in order, a few ahead; hands each to whoever unpacks it and to the parts.
async fn send_pieces(
    context: &Arc<Context>,
    passing: &Passing,
    whole: Option<Bytes>,
    unpacking: mpsc::Sender<(Bytes, Lease)>,
    parts: &mut Parts,
) -> Result<(), Why> {
    let mut under_way = FuturesOrdered::new();
    let mut offset = 0;
    loop {
        while offset < passing.body.file_size && under_way.len() < PIECES_AHEAD {
            let end = passing.body.file_size.min(offset + PIECE);
            // Room is taken here, in the order of the pieces, before any of them is waited for.
            let room = frame_cost(usize::try_from(end - offset).unwrap_or(usize::MAX));
            let lease = match under_way.is_empty() {
                true => context.budget.lease(room).await,
                // Whoever holds a piece does not wait for more room.
                false => match context.budget.try_lease(room) {
                    Some(lease) => lease,
                    None => break,
                },
            };
            let whole = whole.clone();
            under_way.push_back(async move {
                let bytes = match whole {
                    Some(whole) => slice(&whole, offset, end),
                    None => {
                        let cache = cache(context);
                        let fetched = cache.fetch_piece(&passing.body.from, offset..end).await;
                        fetched.map_err(of_source)?
                    }
                };
                Ok(Piece { bytes, lease })
            });
            offset = end;
        }
        let Some(piece) = under_way.next().await else {
            return Ok(());
        };
        let Piece { bytes, mut lease } = piece?;
        // In a part a piece is once, and whoever waits for the next one holds no room but that.
        let place = lease.split(bytes.len());
        let copy = bytes.to_vec();
        // Whoever unpacks has found it wrong, and will say so; the rest is sent to nobody.
        if unpacking.send((bytes, lease)).await.is_err() {
            return Ok(());
        }
        if let Some(lease) = place {
            parts.push(Compressed { bytes: copy, lease }).await?;
        }
    }
}

fn slice(whole: &Bytes, start: u64, end: u64) -> Bytes {
    let at = |place: u64| {
        usize::try_from(place)
            .unwrap_or(usize::MAX)
            .min(whole.len())
    };
    whole.slice(at(start)..at(end))
}

/// A body that comes in pieces. Blocks.
struct Received {
    /// Closed after the last one, and where there is no next one.
    pieces: mpsc::Receiver<(Bytes, Lease)>,
    piece: Bytes,
    /// For the piece.
    lease: Option<Lease>,
}

impl Read for Received {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() {
            (self.piece, self.lease) = match self.pieces.blocking_recv() {
                Some((piece, lease)) => (piece, Some(lease)),
                None => (Bytes::new(), None),
            };
        }
        let n = out.len().min(self.piece.len());
        out[..n].copy_from_slice(&self.piece.split_to(n));
        Ok(n)
    }
}
