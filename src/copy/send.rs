//! Sends bodies: small ones in one request, large ones in parts while later frames are still being
//! compressed.
//!
//! Nothing of a large body becomes visible before its NAR was read to the end and found to be the one that
//! the store recorded.

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt as _, stream::FuturesOrdered};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::{
    Why,
    budget::{Lease, frame_cost},
    codec::{self, Stream},
    commit::Body,
    context::Context,
    cpu::{blocking, on_cpu},
    pack::{self, Frame, NarSeen},
    parts::Parts,
    pass::{self, Passing},
    presence::FILE_HASH,
};
use crate::{
    backend::PutOptions,
    meter::Phase,
    nix::{hash::FileHash, nar::listing::Listing, object_key::ObjectKey, path_info::PathInfo},
};

/// What is to become of a body.
#[derive(Clone, Debug)]
pub(super) enum Wish {
    /// It is passed on as its source has it.
    Pass(Box<Passing>),
    /// It is sent.
    Send(ObjectKey),
    /// It is there already; only its hash is wanted. Were its size another, it would be sent.
    Hash(ObjectKey, u64),
}

/// What is to become of a body that is made here.
#[derive(Clone, Debug)]
enum Making {
    Send(ObjectKey),
    Hash(ObjectKey, u64),
}

impl Making {
    /// Returns where the body is to go.
    fn key(&self) -> Option<ObjectKey> {
        match self {
            Self::Send(key) => Some(key.clone()),
            Self::Hash(..) => None,
        }
    }
}

/// What a job was given before it began, so that nothing that holds bytes waits for room.
#[derive(Debug)]
pub(super) enum Room {
    /// Room for a small NAR and its body.
    Lease(Lease),
    /// The one lane for large NARs, which take their leases frame by frame.
    Lane(OwnedSemaphorePermit),
}

/// A body that the cache has, with what was learnt on the way.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) body: Body,
    pub(super) listing: Option<Listing>,
    pub(super) way: Way,
    /// Bytes of it that an interrupted copy had sent before.
    pub(super) n_resumed: u64,
}

/// How the cache came by a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It had it.
    Found,
    /// It was sent.
    Sent,
    /// Its server copied it.
    ByServer,
}

/// How bodies are written: their key says what they are, so readers may keep them for good.
pub(super) fn body_options(file_hash: Option<FileHash>) -> PutOptions {
    let user = file_hash.map(|hash| (FILE_HASH.to_owned(), hash.to_string()));
    PutOptions {
        content_type: Some("application/x-nix-nar".to_owned()),
        cache_control: Some("public, max-age=31536000, immutable".to_owned()),
        user: BTreeMap::from_iter(user),
        sha256: file_hash.map(|hash| hash.0),
        ..PutOptions::default()
    }
}

/// Packs and sends a body of any size.
pub(super) async fn send(
    context: &Arc<Context>,
    info: Arc<PathInfo>,
    wish: Wish,
    room: Room,
) -> Result<Sent, Why> {
    let wish = match wish {
        Wish::Pass(passing) => return pass::pass(context, info, *passing, room).await,
        Wish::Send(key) => Making::Send(key),
        Wish::Hash(key, size) => Making::Hash(key, size),
    };
    match room {
        Room::Lease(lease) => send_small(context, info, wish, lease).await,
        Room::Lane(lane) => {
            let name = info.path.to_string();
            context.meter.enter(&name);
            let sent = send_large(context, &info, wish, lane).await;
            context.meter.leave(&name);
            sent
        }
    }
}

async fn send_small(
    context: &Arc<Context>,
    info: Arc<PathInfo>,
    wish: Making,
    mut lease: Lease,
) -> Result<Sent, Why> {
    let source = pass::readable(context, &info).await?;
    let packing = {
        let (context, info) = (Arc::clone(context), Arc::clone(&info));
        let encoder = context.encoder().await;
        on_cpu(move || {
            let wants_listing = context.wants_contents();
            let packed = pack::pack_small(&*source, &info, context.recipe(), wants_listing);
            drop(encoder);
            packed
        })
    };
    let packed = packing.await?;
    context.meter.add(Phase::Pack, 1, packed.body.nar_size);
    lease.shrink(packed.bytes.len());
    let (key, is_there) = match wish {
        Making::Send(key) => (key, false),
        Making::Hash(key, size) => (key, size == packed.body.file_size),
    };
    if !is_there {
        let options = body_options(Some(packed.body.file_hash));
        context
            .dest
            .put(&key, packed.bytes.into(), &options)
            .await
            .map_err(Why::Cache)?;
        context.meter.add(Phase::Upload, 1, packed.body.file_size);
    }
    drop(lease);
    Ok(Sent {
        body: packed.body,
        listing: packed.listing,
        way: if is_there { Way::Found } else { Way::Sent },
        n_resumed: 0,
    })
}

/// Sends a large body; a NAR that is not what was recorded is looked at once more before that is said,
/// and sent again if it is now.
async fn send_large(
    context: &Arc<Context>,
    info: &Arc<PathInfo>,
    mut wish: Making,
    lane: OwnedSemaphorePermit,
) -> Result<Sent, Why> {
    let mut attempt = send_frames(context, info, &wish, lane, Begin::WhereLeft).await?;
    for _ in 0..MAX_ANEW {
        let Attempt::CannotGoOn = attempt else {
            break;
        };
        if let Making::Send(key) = &wish
            && let Some(size) = context.size_there(key).await
        {
            wish = Making::Hash(key.clone(), size);
        }
        let lane = context.large_lane().await;
        attempt = send_frames(context, info, &wish, lane, Begin::Anew).await?;
    }
    if let Attempt::OtherSize = attempt {
        let (Making::Send(key) | Making::Hash(key, _)) = wish;
        wish = Making::Send(key);
        let lane = context.large_lane().await;
        attempt = send_frames(context, info, &wish, lane, Begin::Anew).await?;
    }
    if let Attempt::OtherNar(_) = attempt {
        let (source, looked_at) = (Arc::clone(&context.source), Arc::clone(info));
        let looking = blocking(move || pack::look_at(&*source, &looked_at));
        let seen = looking
            .await
            .map_err(|error| Why::Source(Arc::new(error)))?;
        if !seen.is_of(info) {
            return Err(seen.corrupt(info));
        }
        let lane = context.large_lane().await;
        attempt = send_frames(context, info, &wish, lane, Begin::Anew).await?;
    }
    match attempt {
        Attempt::Done(sent) => Ok(sent),
        Attempt::OtherNar(seen) => Err(seen.corrupt(info)),
        // The body that was found was made by the same recipe from another NAR, or cut off; what was
        // read now is not to be trusted either. Nor does what begins anew go on with anything.
        Attempt::OtherSize | Attempt::CannotGoOn => Err(Why::Unsteady),
    }
}

/// How often a body is begun anew whose upload another copy has ended. Once does, unless that happens again.
pub(super) const MAX_ANEW: usize = 3;

/// Where an upload in parts begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begin {
    /// Where an interrupted copy has left it, if one has.
    WhereLeft,
    /// At its first byte.
    Anew,
}

/// How one reading of a large NAR ended.
enum Attempt {
    Done(Sent),
    /// The NAR is not what the store recorded. Nothing of it is visible.
    OtherNar(NarSeen),
    /// The body that was there is not as long as this one.
    OtherSize,
    /// The upload has come to an end meanwhile, by another copy or by a rule, or has another copy's parts.
    CannotGoOn,
}

async fn send_frames(
    context: &Arc<Context>,
    info: &Arc<PathInfo>,
    wish: &Making,
    lane: OwnedSemaphorePermit,
    begin: Begin,
) -> Result<Attempt, Why> {
    // One large NAR is read at a time: all encoders work on it, and what one reader may hold back is
    // what the budget keeps room for. A stream has one encoder of its own, which is for one as well.
    let (until_read, _until_sent) = if context.recipe().has_frames() {
        (Some(lane), None)
    } else {
        (None, Some(lane))
    };
    let (send, frames) = mpsc::channel(1);
    let reading = {
        let (context, info) = (Arc::clone(context), Arc::clone(info));
        blocking(move || {
            let wants_listing = context.wants_contents();
            let (budget, spares) = (context.budget.clone(), context.spares.clone());
            let seen =
                pack::read_large(&*context.source, &info, budget, spares, send, wants_listing);
            drop(until_read);
            seen
        })
    };
    let mut parts = Parts::new(context, wish.key(), info.nar_size);
    if begin == Begin::WhereLeft {
        parts = parts.going_on();
    }
    let (seen, packed) = tokio::join!(reading, compress_all(context, frames, &mut parts));
    let seen = match (seen, packed) {
        // A reader that failed because the sender did is not to blame.
        (_, Err(why)) => return cannot(why, &mut parts).await,
        (Err(error), Ok(())) => {
            parts.abort().await;
            return Err(Why::Source(Arc::new(error)));
        }
        (Ok(seen), Ok(())) => seen,
    };
    if !seen.is_of(info) {
        parts.abort().await;
        return Ok(Attempt::OtherNar(seen));
    }
    let (file_hash, file_size) = match parts.finish().await {
        Ok(finished) => finished,
        Err(why) => return cannot(why, &mut parts).await,
    };
    context.meter.add(Phase::Pack, 1, 0);
    let body = Body {
        file_hash,
        file_size,
        nar_size: seen.nar_size,
    };
    match wish {
        Making::Hash(_, size) if *size != file_size => Ok(Attempt::OtherSize),
        Making::Hash(..) => Ok(Attempt::Done(Sent {
            body,
            listing: seen.listing,
            way: Way::Found,
            n_resumed: 0,
        })),
        Making::Send(_) => {
            context.meter.add(Phase::Upload, 1, 0);
            Ok(Attempt::Done(Sent {
                body,
                listing: seen.listing,
                way: Way::Sent,
                n_resumed: parts.n_resumed(),
            }))
        }
    }
}

/// Gives a body up, or has it begun anew if what was gone on with is to blame.
async fn cannot(why: Why, parts: &mut Parts) -> Result<Attempt, Why> {
    match parts.give_up(&why).await {
        true => Ok(Attempt::CannotGoOn),
        false => Err(why),
    }
}

/// A frame after compression, with the lease that it needs from now on.
pub(super) struct Compressed {
    pub(super) bytes: Vec<u8>,
    pub(super) lease: Lease,
}

/// Compresses frames on all encoders and passes them on in order.
async fn compress_all(
    context: &Arc<Context>,
    mut frames: mpsc::Receiver<Frame>,
    parts: &mut Parts,
) -> Result<(), Why> {
    if !context.recipe().has_frames() {
        return compress_stream(context, frames, parts).await;
    }
    let mut under_way = FuturesOrdered::new();
    let mut has_more = true;
    loop {
        tokio::select! {
            // One more than there are encoders, so that none waits for the reader.
            frame = frames.recv(), if has_more && under_way.len() <= context.n_encoders() => {
                match frame {
                    Some(frame) => under_way.push_back(compress(context, frame)),
                    None => has_more = false,
                }
            }
            Some(compressed) = under_way.next() => parts.push(compressed?).await?,
            else => return Ok(()),
        }
    }
}

async fn compress(context: &Arc<Context>, frame: Frame) -> Result<Compressed, Why> {
    let Frame {
        mut bytes,
        mut lease,
    } = frame;
    let encoder = context.encoder().await;
    let worker = Arc::clone(context);
    let n_read = bytes.len();
    let compressed = on_cpu(move || {
        let compressed = codec::compress_frame(worker.recipe(), &mut bytes);
        worker.spares.give(bytes, &worker.budget);
        drop(encoder);
        compressed
    });
    let bytes = compressed
        .await
        .map_err(|error| Why::Compress(Arc::new(error)))?;
    context
        .meter
        .add(Phase::Pack, 0, n_read.try_into().unwrap_or(u64::MAX));
    lease.shrink(bytes.len());
    Ok(Compressed { bytes, lease })
}

/// Compresses what cannot be cut: one frame after the other, by the encoder that streams have.
async fn compress_stream(
    context: &Arc<Context>,
    mut frames: mpsc::Receiver<Frame>,
    parts: &mut Parts,
) -> Result<(), Why> {
    let mut stream = Stream::new(context.recipe());
    let mut last_lease = None;
    while let Some(Frame { bytes, mut lease }) = frames.recv().await {
        let n_read = bytes.len();
        let (next, out) = on_cpu(move || {
            let out = stream.push(&bytes);
            (stream, out)
        })
        .await;
        stream = next;
        context
            .meter
            .add(Phase::Pack, 0, n_read.try_into().unwrap_or(u64::MAX));
        let bytes = out.map_err(|error| Why::Compress(Arc::new(error)))?;
        lease.shrink(bytes.len());
        // The end of the stream has no frame of its own to pay for it.
        last_lease = lease.split(0);
        parts.push(Compressed { bytes, lease }).await?;
    }
    let bytes = on_cpu(move || stream.finish()).await;
    let lease = match last_lease {
        Some(lease) => lease,
        None => context.budget.lease(frame_cost(0)).await,
    };
    parts.push(Compressed { bytes, lease }).await
}
