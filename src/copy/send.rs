//! Sends bodies: small ones in one request, large ones in parts while later frames are still being
//! compressed.
//!
//! Parts are cut by bytes and are all equal but the last (R2 insists). A body that turns out to fit
//! into one part is sent as one object after all. Nothing of a large body becomes visible before its
//! NAR was read to the end and found to be the one that the store recorded.

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt as _, stream::FuturesOrdered};
use sha2::Digest as _;
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    task::JoinSet,
};

use super::{
    Why,
    budget::{Lease, frame_cost},
    codec::{self, Stream},
    commit::Body,
    context::Context,
    cpu::{blocking, on_cpu},
    pack::{self, Frame, NarSeen},
    pass::{self, Passing},
    presence::FILE_HASH,
};
use crate::{
    backend::{Part, PutOptions, Upload},
    meter::Phase,
    nix::{
        hash::{FileHash, Sha256},
        nar::listing::Listing,
        object_key::ObjectKey,
        path_info::PathInfo,
    },
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
    let mut attempt = send_frames(context, info, &wish, lane).await?;
    if let Attempt::OtherSize = attempt {
        let (Making::Send(key) | Making::Hash(key, _)) = wish;
        wish = Making::Send(key);
        let lane = context.large_lane().await;
        attempt = send_frames(context, info, &wish, lane).await?;
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
        attempt = send_frames(context, info, &wish, lane).await?;
    }
    match attempt {
        Attempt::Done(sent) => Ok(sent),
        Attempt::OtherNar(seen) => Err(seen.corrupt(info)),
        // The body that was found was made by the same recipe from another NAR, or cut off; what was
        // read now is not to be trusted either.
        Attempt::OtherSize => Err(Why::Unsteady),
    }
}

/// How one reading of a large NAR ended.
enum Attempt {
    Done(Sent),
    /// The NAR is not what the store recorded. Nothing of it is visible.
    OtherNar(NarSeen),
    /// The body that was there is not as long as this one.
    OtherSize,
}

async fn send_frames(
    context: &Arc<Context>,
    info: &Arc<PathInfo>,
    wish: &Making,
    lane: OwnedSemaphorePermit,
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
            let budget = context.budget.clone();
            let seen = pack::read_large(&*context.source, &info, budget, send, wants_listing);
            drop(until_read);
            seen
        })
    };
    let mut parts = Parts::new(context, wish.key(), info.nar_size);
    let (seen, packed) = tokio::join!(reading, compress_all(context, frames, &mut parts));
    let seen = match (seen, packed) {
        // A reader that failed because the sender did is not to blame.
        (_, Err(why)) => {
            parts.abort().await;
            return Err(why);
        }
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
    let (file_hash, file_size) = parts.finish().await?;
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
        })),
        Making::Send(_) => {
            context.meter.add(Phase::Upload, 1, 0);
            Ok(Attempt::Done(Sent {
                body,
                listing: seen.listing,
                way: Way::Sent,
            }))
        }
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
    let Frame { bytes, mut lease } = frame;
    let encoder = context.encoder().await;
    let worker = Arc::clone(context);
    let n_read = bytes.len();
    let compressed = on_cpu(move || {
        let compressed = codec::compress_frame(worker.recipe(), bytes);
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

/// Gathers compressed frames into parts and sends them.
pub(super) struct Parts {
    context: Arc<Context>,
    /// Where the body goes; none if only its hash is wanted.
    key: Option<ObjectKey>,
    part_size: usize,
    file_hash: sha2::Sha256,
    file_size: u64,
    filling: Vec<u8>,
    lease: Option<Lease>,
    upload: Option<Upload>,
    n_begun: u32,
    /// Parts under way. Dropped with this: requests that nobody waits for any more are cut off.
    sending: JoinSet<Result<Part, Why>>,
    sent: Vec<Part>,
}

impl Parts {
    /// Begins a body of a NAR of `nar_size` bytes, which goes to `key`, or nowhere.
    pub(super) fn new(context: &Arc<Context>, key: Option<ObjectKey>, nar_size: u64) -> Self {
        Self {
            part_size: context.part_size(nar_size),
            context: Arc::clone(context),
            key,
            file_hash: sha2::Sha256::new(),
            file_size: 0,
            filling: Vec::new(),
            lease: None,
            upload: None,
            n_begun: 0,
            sending: JoinSet::new(),
            sent: Vec::new(),
        }
    }

    /// Takes the next bytes of the body.
    pub(super) async fn push(&mut self, piece: Compressed) -> Result<(), Why> {
        let Compressed { bytes, mut lease } = piece;
        self.file_size += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let mut hash = std::mem::take(&mut self.file_hash);
        let (hash, bytes) = on_cpu(move || {
            hash.update(&bytes);
            (hash, bytes)
        })
        .await;
        self.file_hash = hash;
        if self.key.is_none() {
            return Ok(());
        }
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            if self.filling.len() == self.part_size {
                self.begin_part().await?;
            }
            if self.filling.capacity() == 0 {
                self.filling.reserve_exact(self.part_size);
            }
            let n_taken = rest.len().min(self.part_size - self.filling.len());
            self.filling.extend_from_slice(&rest[..n_taken]);
            rest = &rest[n_taken..];
            self.keep(lease.split(n_taken));
        }
        self.keep(Some(lease));
        self.look_at_sent()
    }

    /// Returns the hash and the length of what was taken so far.
    pub(super) fn so_far(&self) -> (FileHash, u64) {
        let hash = self.file_hash.clone().finalize();
        let hash = FileHash(Sha256::from_bytes(hash.into()));
        (hash, self.file_size)
    }

    /// Keeps a lease with the part that is being filled.
    fn keep(&mut self, lease: Option<Lease>) {
        match (&mut self.lease, lease) {
            (Some(own), Some(lease)) => own.merge(lease),
            (own @ None, lease) => *own = lease,
            (Some(_), None) => {}
        }
    }

    /// Takes what has been filled, with its lease.
    fn take_filled(&mut self) -> (Vec<u8>, Option<Lease>) {
        let mut bytes = std::mem::take(&mut self.filling);
        // The room for a whole part belongs to the part that is being filled; the last one is shorter.
        bytes.shrink_to_fit();
        (bytes, self.lease.take())
    }

    /// Sends the part that has been filled off.
    async fn begin_part(&mut self) -> Result<(), Why> {
        let Some(key) = &self.key else { return Ok(()) };
        let upload = match &self.upload {
            Some(upload) => upload.clone(),
            None => {
                let dest = &self.context.dest;
                let upload = dest.begin_upload(key, &body_options(None)).await;
                let upload = upload.map_err(Why::Cache)?;
                self.context.note_upload(&upload);
                self.upload.insert(upload).clone()
            }
        };
        self.n_begun += 1;
        let (number, context) = (self.n_begun, Arc::clone(&self.context));
        let (bytes, lease) = self.take_filled();
        self.sending.spawn(async move {
            let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            let part = context.dest.put_part(&upload, number, bytes.into()).await;
            let part = part.map_err(Why::Cache)?;
            context.meter.add(Phase::Upload, 0, size);
            drop(lease);
            Ok(part)
        });
        Ok(())
    }

    /// Takes in what has been acknowledged so far, without waiting.
    fn look_at_sent(&mut self) -> Result<(), Why> {
        while let Some(joined) = self.sending.try_join_next() {
            self.sent.push(joined_part(joined)?);
        }
        Ok(())
    }

    /// Sends the rest and makes the body visible; returns its hash and its length.
    pub(super) async fn finish(&mut self) -> Result<(FileHash, u64), Why> {
        let file_hash = std::mem::take(&mut self.file_hash).finalize();
        let file_hash = FileHash(Sha256::from_bytes(file_hash.into()));
        let Some(key) = self.key.clone() else {
            return Ok((file_hash, self.file_size));
        };
        if self.upload.is_none() {
            let (bytes, lease) = self.take_filled();
            let options = body_options(Some(file_hash));
            let put = self.context.dest.put(&key, bytes.into(), &options).await;
            put.map_err(Why::Cache)?;
            self.context.meter.add(Phase::Upload, 0, self.file_size);
            drop(lease);
            return Ok((file_hash, self.file_size));
        }
        let result = self.finish_upload().await;
        if result.is_err() {
            self.abort().await;
        }
        result.map(|()| (file_hash, self.file_size))
    }

    async fn finish_upload(&mut self) -> Result<(), Why> {
        if !self.filling.is_empty() {
            self.begin_part().await?;
        }
        while let Some(joined) = self.sending.join_next().await {
            self.sent.push(joined_part(joined)?);
        }
        self.sent.sort_by_key(|part| part.number);
        // Invariant: what is made visible is all that was compressed.
        let n_sent: u64 = self.sent.iter().map(|part| part.size).sum();
        assert_eq!(
            n_sent, self.file_size,
            "parts sent against bytes compressed"
        );
        let Some(upload) = &self.upload else {
            return Ok(());
        };
        let completed = self.context.dest.complete_upload(upload, &self.sent).await;
        completed.map_err(Why::Cache)?;
        self.context.forget_upload(upload);
        Ok(())
    }

    /// Drops what was sent.
    pub(super) async fn abort(&mut self) {
        self.sending.shutdown().await;
        if let Some(upload) = self.upload.take() {
            self.context.abort_upload(&upload).await;
        }
    }
}

fn joined_part(joined: Result<Result<Part, Why>, tokio::task::JoinError>) -> Result<Part, Why> {
    match joined {
        Ok(part) => part,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
