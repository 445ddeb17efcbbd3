//! What is written with a path's narinfo and is not its body: its listing, and where its debugging
//! symbols lie.
//!
//! Both are made of the NAR's table of contents, which is recorded while the NAR is read, and written
//! before the narinfo, as Nix does, so that whoever sees the narinfo finds them. An index of symbols is
//! written over an older one: the older may name a body that is gone, and this one's is there.

use futures::{TryStreamExt as _, stream};

use super::{codec, context::Context, cpu::on_cpu};
use crate::{
    backend::{self, Backend, Kind, PutOptions},
    nix::{
        debug_info::{DebugFile, debug_files},
        encoding::Encoding,
        nar::listing::Listing,
        object_key::ObjectKey,
        store_path::HashPart,
    },
    plan::recipe::Recipe,
};

/// Requests under way at once for the symbols of one path. Chosen: a path with symbols often has
/// hundreds of files, and others want to be written meanwhile.
const N_INDEXING: usize = 8;

/// What is to be written with a narinfo.
#[derive(Debug, Default)]
pub(super) struct Companions {
    listing: Option<String>,
    debug_files: Vec<DebugFile>,
}

impl Companions {
    /// Makes what `context` asks for out of a NAR's listing; the second is whether nothing is missing.
    pub(super) fn of(context: &Context, listing: Option<&Listing>) -> (Self, bool) {
        let options = context.request.options;
        let mut made = Self::default();
        if options.index_debug_info {
            made.debug_files = listing.map(debug_files).unwrap_or_default();
        }
        if options.write_listing {
            made.listing = listing.and_then(|listing| listing.to_json().ok());
        }
        let is_whole = made.listing.is_some() || !options.write_listing;
        (made, is_whole && listing.is_some())
    }

    /// Writes them; `body` is the key of the path's body.
    pub(super) async fn write(
        self,
        context: &Context,
        hash_part: HashPart,
        body: &ObjectKey,
    ) -> Result<(), backend::Error> {
        let dest = &*context.dest;
        if let Some(listing) = self.listing {
            let key = ObjectKey::listing(hash_part);
            let encoding = context.request.options.listing_encoding;
            put(dest, &key, listing.into_bytes(), encoding, json()).await?;
        }
        let files = self.debug_files.iter().map(Ok);
        let writing = stream::iter(files).try_for_each_concurrent(N_INDEXING, |file| async move {
            let text = file.to_json(body).into();
            dest.put(&file.key(), text, &json()).await
        });
        writing.await
    }
}

/// How listings and indexes are written.
pub(super) fn json() -> PutOptions {
    PutOptions {
        content_type: Some("application/json".to_owned()),
        ..PutOptions::default()
    }
}

/// Writes `bytes`, encoded if `encoding` says so.
pub(super) async fn put(
    dest: &dyn Backend,
    key: &ObjectKey,
    mut bytes: Vec<u8>,
    encoding: Option<Encoding>,
    mut options: PutOptions,
) -> Result<(), backend::Error> {
    let Some(encoding) = encoding else {
        return dest.put(key, bytes.into(), &options).await;
    };
    options.content_encoding = Some(encoding.name().to_owned());
    let failed =
        |why: String| backend::Error::new(Kind::Other, format!("encode `{key}`")).with_detail(why);
    let recipe =
        Recipe::new(encoding.compression(), None).map_err(|error| failed(error.to_string()))?;
    let encoded = on_cpu(move || codec::compress_frame(&recipe, &mut bytes)).await;
    let encoded = encoded.map_err(|error| failed(error.to_string()))?;
    dest.put(key, encoded.into(), &options).await
}
