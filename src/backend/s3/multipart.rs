//! Objects that are sent in parts: begin, send, join, drop, and find again.
//!
//! Creation, parts and completion all go with the same checksum, or all without: Garage refuses a
//! mixture. A completion whose answer was lost is answered `NoSuchUpload` when it is sent again, by
//! most servers; that is `NotFound` here, and whoever retries looks whether the object is there.

use aws_sdk_s3::{
    primitives::ByteStream,
    types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, EncodingType},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::{
    S3,
    answer::{decode, etag, metadata, size, time},
    client::{JOINING, LISTING, SMALL, allowed, has_checksums},
};
use crate::{
    backend::{Error, Kind, Part, PartChecksum, PutOptions, Upload},
    nix::object_key::ObjectKey,
};

/// What separates a part's entity tag from its checksum in our [`Part::etag`], where there is one.
/// No entity tag and no base-64 text has it.
const SEPARATOR: char = ' ';

impl S3 {
    pub(super) async fn begin(
        &self,
        key: &ObjectKey,
        options: &PutOptions,
    ) -> Result<Upload, Error> {
        let act = format!("begin the upload of `{key}`");
        let begun = self.write(&act, SMALL, |client| {
            let request = client
                .create_multipart_upload()
                .bucket(self.bucket())
                .key(self.full_key(key))
                .set_content_type(options.content_type.clone())
                .set_cache_control(options.cache_control.clone())
                .set_content_encoding(options.content_encoding.clone())
                .set_metadata(metadata(&options.user))
                .set_storage_class(self.storage_class())
                .set_checksum_algorithm(self.algorithm());
            Box::pin(request.send())
        });
        let answer = begun.await?;
        let id = answer.upload_id().ok_or_else(|| {
            Error::new(Kind::Malformed, &*act).with_detail("the answer has no upload id")
        })?;
        Ok(Upload {
            key: key.clone(),
            id: id.to_owned(),
            begun: None,
        })
    }

    fn algorithm(&self) -> Option<ChecksumAlgorithm> {
        has_checksums(&self.0.config).then_some(ChecksumAlgorithm::Crc32)
    }

    pub(super) async fn send_part(
        &self,
        upload: &Upload,
        number: u32,
        body: Bytes,
    ) -> Result<Part, Error> {
        let act = format!("put part {number} of `{}`", upload.key);
        let wire = wire_number(number, &act)?;
        let len = u64::try_from(body.len()).unwrap_or(u64::MAX);
        let part = |tag: Option<&str>, crc: Option<&str>| {
            Ok(Part {
                number,
                size: len,
                etag: mark(tag, crc, &act)?,
                checksum: None,
            })
        };
        if let Some(thin) = &self.0.thin {
            let (tag, crc) = self.thin_part(thin, &act, upload, wire, body).await?;
            return part(tag.as_deref(), crc.as_deref());
        }
        let sent = self.write(&act, allowed(body.len()), |client| {
            let request = client
                .upload_part()
                .bucket(self.bucket())
                .key(self.full_key(&upload.key))
                .upload_id(&upload.id)
                .part_number(wire)
                .body(ByteStream::from(body.clone()))
                .set_checksum_algorithm(self.algorithm());
            if self.0.is_unsigned {
                Box::pin(request.customize().disable_payload_signing().send())
            } else {
                Box::pin(request.send())
            }
        });
        let answer = sent.await?;
        part(answer.e_tag(), answer.checksum_crc32())
    }

    pub(super) async fn complete(&self, upload: &Upload, parts: &[Part]) -> Result<(), Error> {
        let act = format!("complete the upload of `{}`", upload.key);
        let mut completed = Vec::with_capacity(parts.len());
        for part in parts {
            let (tag, crc) = match part.etag.split_once(SEPARATOR) {
                Some((tag, crc)) => (tag, Some(crc.to_owned())),
                None => (part.etag.as_str(), None),
            };
            let part = CompletedPart::builder()
                .part_number(wire_number(part.number, &act)?)
                .e_tag(tag)
                .set_checksum_crc32(crc)
                .build();
            completed.push(part);
        }
        let completed = CompletedMultipartUpload::builder()
            .set_parts(Some(completed))
            .build();
        let joined = self.write(&act, JOINING, |client| {
            let request = client
                .complete_multipart_upload()
                .bucket(self.bucket())
                .key(self.full_key(&upload.key))
                .upload_id(&upload.id)
                .multipart_upload(completed.clone());
            Box::pin(request.send())
        });
        joined.await.map(drop)
    }

    pub(super) async fn abort(&self, upload: &Upload) -> Result<(), Error> {
        let act = format!("abort the upload of `{}`", upload.key);
        let dropped = self.write(&act, SMALL, |client| {
            let request = client
                .abort_multipart_upload()
                .bucket(self.bucket())
                .key(self.full_key(&upload.key))
                .upload_id(&upload.id);
            Box::pin(request.send())
        });
        match dropped.await {
            // Garage says so of one that is gone already.
            Err(error) if error.kind == Kind::NotFound => Ok(()),
            other => other.map(drop),
        }
    }

    /// Returns the uploads whose keys begin so. MinIO lists nothing unless that is a whole key.
    pub(super) async fn find_uploads(&self, prefix: &str) -> Result<Vec<Upload>, Error> {
        let act = format!("find uploads of `{prefix}`");
        let full = format!("{}{prefix}", self.0.prefix);
        let mut found = Vec::new();
        let (mut key_marker, mut id_marker) = (None::<String>, None::<String>);
        loop {
            let listed = self.call(&act, LISTING, |client| {
                let request = client
                    .list_multipart_uploads()
                    .bucket(self.bucket())
                    .prefix(&full)
                    .encoding_type(EncodingType::Url)
                    .set_key_marker(key_marker.clone())
                    .set_upload_id_marker(id_marker.clone());
                Box::pin(request.send())
            });
            let answer = listed.await.map_err(|failure| failure.error)?;
            let is_encoded = answer.encoding_type() == Some(&EncodingType::Url);
            for upload in answer.uploads() {
                let name = upload.key().and_then(|name| decode(name, is_encoded));
                let name = name
                    .as_deref()
                    .and_then(|name| name.strip_prefix(&*self.0.prefix));
                let key = name.and_then(|name| ObjectKey::parse(name).ok());
                // A name that no key can have is somebody else's.
                if let (Some(id), Some(key)) = (upload.upload_id(), key) {
                    found.push(Upload {
                        key,
                        id: id.to_owned(),
                        begun: time(upload.initiated()),
                    });
                }
            }
            let next_key = answer
                .next_key_marker()
                .and_then(|name| decode(name, is_encoded));
            let next = (next_key, answer.next_upload_id_marker().map(str::to_owned));
            let is_stuck = next == (key_marker, id_marker);
            if answer.is_truncated() != Some(true) || is_stuck {
                break;
            }
            (key_marker, id_marker) = next;
        }
        found.sort_by(|a, b| (a.begun, &a.id).cmp(&(b.begun, &b.id)));
        Ok(found)
    }

    pub(super) async fn find_parts(&self, upload: &Upload) -> Result<Vec<Part>, Error> {
        let act = format!("find parts of `{}`", upload.key);
        let mut found = Vec::new();
        let mut marker = None::<String>;
        loop {
            let listed = self.call(&act, LISTING, |client| {
                let request = client
                    .list_parts()
                    .bucket(self.bucket())
                    .key(self.full_key(&upload.key))
                    .upload_id(&upload.id)
                    .set_part_number_marker(marker.clone());
                Box::pin(request.send())
            });
            let answer = listed.await.map_err(|failure| failure.error)?;
            for part in answer.parts() {
                let number = part
                    .part_number()
                    .and_then(|number| u32::try_from(number).ok())
                    .ok_or_else(|| {
                        Error::new(Kind::Malformed, &*act).with_detail("a part has no number")
                    })?;
                found.push(Part {
                    number,
                    size: size(part.size(), &act)?,
                    etag: mark(part.e_tag(), part.checksum_crc32(), &act)?,
                    checksum: checksum(part.checksum_sha256(), part.e_tag()),
                });
            }
            let next = answer.next_part_number_marker().map(str::to_owned);
            if answer.is_truncated() != Some(true) || next.is_none() || next == marker {
                break;
            }
            marker = next;
        }
        found.sort_by_key(|part| part.number);
        Ok(found)
    }
}

/// Returns what can be compared with the bytes of a part.
///
/// An entity tag of 32 digits is an MD5 on most servers; where it is something else, no bytes have it, and the
/// part is sent again.
fn checksum(sha256: Option<&str>, tag: Option<&str>) -> Option<PartChecksum> {
    if let Some(digest) = sha256.and_then(|text| STANDARD.decode(text).ok()) {
        return digest.try_into().ok().map(PartChecksum::Sha256);
    }
    md5_of_tag(&etag(tag)?).map(PartChecksum::Md5)
}

/// Joins what completion needs of a part into the one opaque mark that callers hand back.
pub(super) fn mark(tag: Option<&str>, crc: Option<&str>, act: &str) -> Result<String, Error> {
    let tag = etag(tag).ok_or_else(|| {
        Error::new(Kind::Malformed, act).with_detail("the answer has no entity tag")
    })?;
    Ok(match crc {
        Some(crc) => format!("{tag}{SEPARATOR}{crc}"),
        None => tag,
    })
}

/// Reads an entity tag that is an MD5: 32 hexadecimal digits and nothing else.
fn md5_of_tag(tag: &str) -> Option<[u8; 16]> {
    if tag.len() != 32 || !tag.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(tag, 16).ok().map(u128::to_be_bytes)
}

pub(super) fn wire_number(number: u32, act: &str) -> Result<i32, Error> {
    i32::try_from(number)
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| {
            Error::new(Kind::Other, act).with_detail(format!("{number} is no number of a part"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_md5_counts_as_one() {
        let tag = "d41d8cd98f00b204e9800998ecf8427e";
        assert_eq!(md5_of_tag(tag).map(|digest| digest[0]), Some(0xd4));
        for other in ["", &tag[1..], &format!("{tag}-3"), &tag.replace('d', "+")] {
            assert_eq!(md5_of_tag(other), None, "{other}");
        }
    }
}
