//! The parts of a body that is larger than one: gathered, sent, and joined when all of it is known to be
//! right.
//!
//! Parts are cut by bytes and are all equal but the last (R2 insists). A body that turns out to fit into one
//! part is sent as one object after all.
//!
//! A body's key determines its bytes, so an upload that an earlier copy has left unfinished is gone on with:
//! a part that the server has is not sent again if it is as long as ours and has the same checksum. Not
//! being able to find that out costs the bytes, and nothing else.

use std::sync::Arc;

use sha2::Digest as _;
use tokio::task::JoinSet;

use super::{
    Why,
    budget::Lease,
    context::Context,
    cpu::on_cpu,
    resume::{self, Left},
    send::{Compressed, body_options},
};
use crate::{
    backend::{self, Kind, Part},
    meter::Phase,
    nix::{
        hash::{FileHash, Sha256},
        object_key::ObjectKey,
    },
    tasks::joined,
};

/// A part that the server has, and whether it had it before.
type Acknowledged = (Part, bool);

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
    /// Whether an upload that was left unfinished is gone on with.
    goes_on: bool,
    upload: Option<Arc<Left>>,
    /// Whether all parts were sent.
    completes: bool,
    n_begun: u32,
    /// Parts under way. Dropped with this: requests that nobody waits for any more are cut off.
    sending: JoinSet<Result<Acknowledged, Why>>,
    sent: Vec<Part>,
    /// Bytes of parts that the server had before.
    n_resumed: u64,
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
            goes_on: false,
            upload: None,
            completes: false,
            n_begun: 0,
            sending: JoinSet::new(),
            sent: Vec::new(),
            n_resumed: 0,
        }
    }

    /// Goes on with an upload that an earlier copy has left unfinished, if there is one. For bodies whose
    /// key determines their bytes.
    pub(super) fn going_on(mut self) -> Self {
        self.goes_on = true;
        self
    }

    /// Returns how many bytes the server had before.
    pub(super) fn n_resumed(&self) -> u64 {
        self.n_resumed
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

    /// Returns the upload that parts are sent to: one that was left, or a new one.
    async fn open(&mut self, key: &ObjectKey) -> Result<Arc<Left>, backend::Error> {
        if let Some(upload) = &self.upload {
            return Ok(Arc::clone(upload));
        }
        let dest = &*self.context.dest;
        let left = match self.goes_on {
            true => Left::find(dest, key).await,
            false => None,
        };
        let left = match left {
            Some(left) => left,
            None => Left::nothing(dest.begin_upload(key, &body_options(None)).await?),
        };
        if left.is_ours {
            self.context.note_upload(&left.upload);
        }
        Ok(Arc::clone(self.upload.insert(Arc::new(left))))
    }

    /// Sends the part that has been filled off.
    async fn begin_part(&mut self) -> Result<(), Why> {
        let Some(key) = self.key.clone() else {
            return Ok(());
        };
        let left = self.open(&key).await.map_err(Why::Cache)?;
        self.n_begun += 1;
        let (number, context) = (self.n_begun, Arc::clone(&self.context));
        let (bytes, lease) = self.take_filled();
        self.sending.spawn(async move {
            let sent = send_part(&context, &left, number, bytes).await;
            drop(lease);
            sent
        });
        Ok(())
    }

    /// Takes in what has been acknowledged so far, without waiting.
    fn look_at_sent(&mut self) -> Result<(), Why> {
        while let Some(ended) = self.sending.try_join_next() {
            self.acknowledge(joined(ended)?);
        }
        Ok(())
    }

    fn acknowledge(&mut self, (part, was_there): Acknowledged) {
        if was_there {
            self.n_resumed += part.size;
        }
        self.sent.push(part);
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
        self.finish_upload().await?;
        Ok((file_hash, self.file_size))
    }

    async fn finish_upload(&mut self) -> Result<(), Why> {
        if !self.filling.is_empty() {
            self.begin_part().await?;
        }
        while let Some(ended) = self.sending.join_next().await {
            self.acknowledge(joined(ended)?);
        }
        self.sent.sort_by_key(|part| part.number);
        // Invariant: what is made visible is all that was compressed.
        let n_sent: u64 = self.sent.iter().map(|part| part.size).sum();
        assert_eq!(
            n_sent, self.file_size,
            "parts sent against bytes compressed"
        );
        let Some(left) = &self.upload else {
            return Ok(());
        };
        self.completes = true;
        let completed = self.context.dest.complete_upload(&left.upload, &self.sent);
        completed.await.map_err(Why::Cache)?;
        self.context.forget_upload(&left.upload);
        Ok(())
    }

    /// Gives the body up: for good if `why` says that it is wrong, and such that another copy can go on with
    /// it if the cache has failed. Returns whether another copy may be to blame that goes on with the same
    /// upload, so that it is to be begun anew.
    pub(super) async fn give_up(&mut self, why: &Why) -> bool {
        let has_ended = |kind: &Kind| match &self.upload {
            None => false,
            // Completed by another copy, or dropped by a rule.
            Some(_) if *kind == Kind::NotFound => true,
            // A part is another than was sent, or whatever else there is about what others have begun.
            Some(left) => *kind == Kind::Other && (self.completes || !left.is_ours),
        };
        match why {
            Why::Cache(error) if has_ended(&error.kind) => {
                self.abort().await;
                return true;
            }
            Why::Cache(_) => self.leave().await,
            _ => self.abort().await,
        }
        false
    }

    /// Leaves what was sent for another copy to go on with.
    pub(super) async fn leave(&mut self) {
        self.sending.shutdown().await;
    }

    /// Drops what was sent, unless another copy has begun it and may still be at it.
    pub(super) async fn abort(&mut self) {
        self.sending.shutdown().await;
        match self.upload.take() {
            Some(left) if left.is_ours => self.context.abort_upload(&left.upload).await,
            Some(left) => self.context.forget_upload(&left.upload),
            None => {}
        }
    }
}

/// Sends a part unless the server has it already.
async fn send_part(
    context: &Context,
    left: &Left,
    number: u32,
    mut bytes: Vec<u8>,
) -> Result<Acknowledged, Why> {
    let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if let Some(there) = left.candidate(number, bytes.len()) {
        let (part, is_same);
        (bytes, part, is_same) = on_cpu(move || {
            let is_same = resume::is_of(&there, &bytes);
            (bytes, there, is_same)
        })
        .await;
        if is_same {
            context.note_part(&left.upload, size);
            return Ok((part, true));
        }
    }
    let part = context
        .dest
        .put_part(&left.upload, number, bytes.into())
        .await;
    let part = part.map_err(Why::Cache)?;
    context.note_part(&left.upload, size);
    Ok((part, false))
}
