//! Copies that the server makes by itself, of objects of this bucket or of another one of its.
//!
//! An object is named by its bucket, its key and its entity tag; one that has changed since is answered
//! 412. A server may begin a long answer before it knows how it ends, so that an answer of 200 can hold
//! an error: the SDK looks for that, and what does not say what was written is no success either.
//!
//! What the copy is served with is said anew, since the other cache may have had other words for it.

use std::ops::Range;

use aws_sdk_s3::types::MetadataDirective;
use percent_encoding::utf8_percent_encode;

use super::{
    S3,
    answer::{metadata, quoted},
    client::JOINING,
    multipart::{mark, wire_number},
    thin::PLAIN,
};
use crate::{
    backend::{Error, Keeper, Kind, Origin, Part, PutOptions, Upload},
    nix::object_key::ObjectKey,
};

impl S3 {
    /// Returns whose server it is, and who we are there.
    fn keeper(&self) -> Keeper {
        let endpoint = self.0.config.endpoint.as_ref();
        Keeper {
            endpoint: endpoint.map_or_else(|| "AWS".to_owned(), ToString::to_string),
            names: self.0.names.clone(),
        }
    }

    pub(super) fn name_origin(&self, key: &ObjectKey, etag: &str) -> Origin {
        Origin {
            keeper: self.keeper(),
            bucket: self.bucket().to_owned(),
            key: self.full_key(key),
            etag: etag.to_owned(),
        }
    }

    /// Returns an origin's name, as a header has it.
    fn source(&self, from: &Origin, act: &str) -> Result<String, Error> {
        if !from.keeper.is_same(&self.keeper()) {
            let detail = "it is kept by another server, or for somebody else";
            return Err(Error::new(Kind::Unsupported, act).with_detail(detail));
        }
        let (bucket, key) = (&from.bucket, utf8_percent_encode(&from.key, PLAIN));
        Ok(format!("{bucket}/{key}"))
    }

    pub(super) async fn copy_whole(
        &self,
        key: &ObjectKey,
        from: &Origin,
        options: &PutOptions,
    ) -> Result<(), Error> {
        let act = format!("copy `{}` of `{}` to `{key}`", from.key, from.bucket);
        let source = self.source(from, &act)?;
        let copied = self.write(&act, JOINING, |client| {
            let request = client
                .copy_object()
                .bucket(self.bucket())
                .key(self.full_key(key))
                .copy_source(&source)
                .copy_source_if_match(quoted(&from.etag))
                .metadata_directive(MetadataDirective::Replace)
                .set_content_type(options.content_type.clone())
                .set_cache_control(options.cache_control.clone())
                .set_content_encoding(options.content_encoding.clone())
                .set_metadata(metadata(&options.user))
                .set_storage_class(self.storage_class());
            Box::pin(request.send())
        });
        let answer = copied.await?;
        let result = answer.copy_object_result();
        mark(result.and_then(|result| result.e_tag()), None, &act).map(drop)
    }

    pub(super) async fn copy_piece(
        &self,
        upload: &Upload,
        number: u32,
        from: &Origin,
        range: Range<u64>,
    ) -> Result<Part, Error> {
        let act = format!("copy part {number} of `{}`", upload.key);
        let source = self.source(from, &act)?;
        let wire = wire_number(number, &act)?;
        let Some(last) = range.end.checked_sub(1).filter(|last| *last >= range.start) else {
            return Err(Error::new(Kind::Other, act).with_detail("nothing is no part"));
        };
        let copied = self.write(&act, JOINING, |client| {
            let request = client
                .upload_part_copy()
                .bucket(self.bucket())
                .key(self.full_key(&upload.key))
                .upload_id(&upload.id)
                .part_number(wire)
                .copy_source(&source)
                .copy_source_range(format!("bytes={}-{last}", range.start))
                .copy_source_if_match(quoted(&from.etag));
            Box::pin(request.send())
        });
        let answer = copied.await?;
        let result = answer.copy_part_result();
        let (tag, crc) = match result {
            Some(result) => (result.e_tag(), result.checksum_crc32()),
            None => (None, None),
        };
        Ok(Part {
            number,
            size: range.end - range.start,
            etag: mark(tag, crc, &act)?,
            checksum: None,
        })
    }
}
