//! S5: keeps what is about to be deleted, and says so.
//!
//! The texts of the condemned narinfos go into one file, which entries of the index point into; both are
//! read back before the marker is written. Only the marker makes them a journal: without it nothing was
//! deleted, and whoever finds them drops them. *Durable before the first delete.*

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use sha2::{Digest as _, Sha256};

use super::{
    Context, Error,
    census::count,
    report::{Fate, Spared},
};
use crate::{
    backend::{Part, Upload},
    graph::{Census, Etag, Node},
    ledger::{
        JournalFile, Name, RunId,
        journal::{Entry, Index, Reason},
        mark,
    },
    meter::Phase,
    nix::object_key::ObjectKey,
};

/// Texts are sent and read back in pieces of this size: S3 takes no smaller parts than 5 MiB, and this
/// is what a hundred deep pipe of narinfos weighs. Ten thousand of them hold 80 million narinfos.
const PIECE: usize = 8 << 20;

/// A journal that is about to be acted on.
#[derive(Clone, Debug)]
pub(super) struct Journal {
    /// Its name: the sweep, or a part of it.
    pub(super) run: RunId,
    /// What it condemns, with the nodes of the census, in the order of burying.
    pub(super) entries: Vec<(Node, Entry)>,
    /// What was to be condemned and is not, and why.
    pub(super) left_out: Vec<(Node, Fate)>,
}

impl Context {
    /// Writes the journal of `condemned`, reads it back, and marks it.
    pub(super) async fn condemn(
        &self,
        run: RunId,
        census: &Census,
        condemned: &[(Node, Reason)],
    ) -> Result<Journal, Error> {
        self.meter
            .expect_more(Phase::Condemn, count(condemned.len()), 0);
        let mut journal = Journal {
            run,
            entries: Vec::with_capacity(condemned.len()),
            left_out: Vec::new(),
        };
        let mut texts = Texts::new(self, Name::journal(&journal.run, JournalFile::Text).key());
        let written = self
            .write_texts(&mut texts, &mut journal, census, condemned)
            .await;
        if let Err(error) = written {
            texts.give_up().await;
            return Err(error);
        }
        let (length, digest) = texts.finish().await?;
        let entries = journal.entries.iter().map(|(_, entry)| entry.clone());
        let index = Index {
            entries: entries.collect(),
        };
        let key = Name::journal(&journal.run, JournalFile::Index).key();
        let bytes = Bytes::from(index.encode());
        self.put(&key, bytes.clone()).await?;
        self.read_back(&key, &bytes).await?;
        self.read_back_texts(&journal.run, length, &digest).await?;
        self.go_on()?;
        self.mark(&journal.run, JournalFile::Condemned).await?;
        Ok(journal)
    }

    async fn write_texts(
        &self,
        texts: &mut Texts<'_>,
        journal: &mut Journal,
        census: &Census,
        condemned: &[(Node, Reason)],
    ) -> Result<(), Error> {
        let mut reading = stream::iter(condemned.iter().copied())
            .map(|(node, reason)| async move {
                self.go_on()?;
                let text = self.text(census, node).await?;
                self.meter.add(Phase::Condemn, 1, 0);
                Ok::<_, Error>((node, reason, text))
            })
            .buffered(self.request.n_requests);
        while let Some(read) = reading.next().await {
            let (node, reason, text) = read?;
            match text {
                Ok((text, body)) => {
                    let entry = Entry {
                        part: census.part(node),
                        body,
                        birth: census.birth(node),
                        reason,
                        text: texts.add(&text).await?,
                    };
                    journal.entries.push((node, entry));
                }
                Err(fate) => journal.left_out.push((node, fate)),
            }
        }
        Ok(())
    }

    /// Reads the narinfo of a condemned node as the census has it, and its body's key.
    async fn text(
        &self,
        census: &Census,
        node: Node,
    ) -> Result<Result<(Bytes, ObjectKey), Fate>, Error> {
        let part = census.part(node);
        let Some(object) = self.get(&ObjectKey::narinfo(part)).await? else {
            return Ok(Err(Fate::Vanished));
        };
        let changed = Ok(Err(Fate::Spared(Spared::Changed)));
        if object.meta.etag.as_deref().map(Etag::of) != census.etag(node) {
            return changed;
        }
        // The same tag is the same text; that it is this path's is what a rescue relies on.
        match (self.parse(part, &object.body), census.body(node)) {
            (Ok(narinfo), Some(body)) if narinfo.body_key().as_ref() == Ok(&body) => {
                Ok(Ok((object.body, body)))
            }
            _ => changed,
        }
    }

    /// Writes a large file of the ledger.
    pub(super) async fn put_in_parts(&self, key: &ObjectKey, bytes: &Bytes) -> Result<(), Error> {
        let mut parts = Texts::new(self, key.clone());
        for piece in bytes.chunks(PIECE) {
            if let Err(error) = parts.add(piece).await {
                parts.give_up().await;
                return Err(error);
            }
        }
        parts.finish().await?;
        Ok(())
    }

    /// Writes a marker of a journal.
    pub(super) async fn mark(&self, run: &RunId, file: JournalFile) -> Result<(), Error> {
        self.put(&Name::journal(run, file).key(), mark::marker())
            .await
    }

    /// Fails unless a file of the ledger is what was written.
    pub(super) async fn read_back(&self, key: &ObjectKey, written: &Bytes) -> Result<(), Error> {
        match self.get(key).await? {
            Some(object) if object.body == *written => Ok(()),
            _ => Err(Error::NotKept(key.clone())),
        }
    }

    async fn read_back_texts(&self, run: &RunId, length: u64, digest: &[u8]) -> Result<(), Error> {
        let key = Name::journal(run, JournalFile::Text).key();
        let (mut found, mut at) = (Sha256::new(), 0);
        while at < length {
            self.go_on()?;
            let end = length.min(at + count(PIECE));
            let piece = self.dest.get_range(&key, at..end).await;
            found.update(piece.map_err(|error| self.fail(error))?);
            at = end;
        }
        if found.finalize().as_slice() == digest {
            Ok(())
        } else {
            Err(Error::NotKept(key))
        }
    }
}

/// The texts of a journal while they are written: at most one piece of them is in memory.
struct Texts<'a> {
    context: &'a Context,
    key: ObjectKey,
    piece: BytesMut,
    length: u64,
    digest: Sha256,
    /// Begun when the first piece is full.
    upload: Option<Upload>,
    parts: Vec<Part>,
}

impl<'a> Texts<'a> {
    fn new(context: &'a Context, key: ObjectKey) -> Self {
        Self {
            context,
            key,
            piece: BytesMut::new(),
            length: 0,
            digest: Sha256::new(),
            upload: None,
            parts: Vec::new(),
        }
    }

    /// Adds a text; returns where it lies.
    async fn add(&mut self, text: &[u8]) -> Result<Range<u64>, Error> {
        self.piece.extend_from_slice(text);
        self.digest.update(text);
        let start = self.length;
        self.length += count(text.len());
        if self.piece.len() >= PIECE {
            self.send().await?;
        }
        Ok(start..self.length)
    }

    /// Sends the piece as a part.
    async fn send(&mut self) -> Result<(), Error> {
        let dest = &self.context.dest;
        let fail = |error| self.context.fail(error);
        let upload = match self.upload.take() {
            Some(upload) => upload,
            None => {
                let options = self.context.ledger_file();
                dest.begin_upload(&self.key, &options).await.map_err(fail)?
            }
        };
        let number = u32::try_from(self.parts.len() + 1).unwrap_or(u32::MAX);
        let body = self.piece.split().freeze();
        let sent = dest.put_part(&upload, number, body).await;
        self.upload = Some(upload);
        self.parts.push(sent.map_err(fail)?);
        Ok(())
    }

    /// Makes the file whole; returns its length and its digest.
    async fn finish(mut self) -> Result<(u64, Vec<u8>), Error> {
        if self.upload.is_some() && !self.piece.is_empty() {
            self.send().await?;
        }
        match &self.upload {
            None => self.context.put(&self.key, self.piece.freeze()).await?,
            Some(upload) => {
                let dest = &self.context.dest;
                let complete = dest.complete_upload(upload, &self.parts).await;
                complete.map_err(|error| self.context.fail(error))?;
            }
        }
        Ok((self.length, self.digest.finalize().to_vec()))
    }

    /// Drops what was sent; what cannot be dropped is aborted by its age later.
    async fn give_up(self) {
        if let Some(upload) = &self.upload {
            self.context.dest.abort_upload(upload).await.ok();
        }
    }
}
