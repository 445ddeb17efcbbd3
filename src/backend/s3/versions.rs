//! Makes deleted objects visible again where a bucket keeps versions: a deletion there only puts a
//! marker on top, and removing that undoes it.

use aws_sdk_s3::types::EncodingType;

use super::{
    S3,
    answer::decode,
    client::{LISTING, SMALL},
};
use crate::{
    backend::{Error, Kind},
    nix::object_key::ObjectKey,
};

/// One deletion puts one marker, also over another. More on one key than this nobody put by sweeping.
const MAX_MARKERS: u32 = 1000;

/// What lies on top of a key.
struct Top {
    /// The version id of the marker that hides the object; none if nothing hides it.
    marker: Option<String>,
    /// Whether there is an object below.
    has_version: bool,
}

impl S3 {
    pub(super) async fn remove_markers(&self, key: &ObjectKey) -> Result<bool, Error> {
        let act = format!("undelete `{key}`");
        for n_removed in 0..MAX_MARKERS {
            let top = self.top(key, &act).await?;
            let Some(marker) = top.marker.filter(|_| top.has_version) else {
                return Ok(n_removed > 0 && top.has_version);
            };
            let removed = self.write(&act, SMALL, |client| {
                let request = client.delete_object().bucket(self.bucket());
                let request = request.key(self.full_key(key)).version_id(&marker);
                Box::pin(request.send())
            });
            removed.await?;
        }
        Err(Error::new(Kind::Other, act).with_detail(format!("more than {MAX_MARKERS} markers")))
    }

    /// Looks at all versions of exactly this key.
    async fn top(&self, key: &ObjectKey, act: &str) -> Result<Top, Error> {
        let full = self.full_key(key);
        let mut top = Top {
            marker: None,
            has_version: false,
        };
        let mut from = (None::<String>, None::<String>);
        loop {
            let listed = self.call(act, LISTING, |client| {
                let request = client
                    .list_object_versions()
                    .bucket(self.bucket())
                    .prefix(&full)
                    .encoding_type(EncodingType::Url)
                    .set_key_marker(from.0.clone())
                    .set_version_id_marker(from.1.clone());
                Box::pin(request.send())
            });
            let answer = listed.await.map_err(|failure| failure.error)?;
            let is_encoded = answer.encoding_type() == Some(&EncodingType::Url);
            let is_ours = |name: Option<&str>| {
                name.and_then(|name| decode(name, is_encoded)).as_deref() == Some(&*full)
            };
            top.has_version |= answer.versions().iter().any(|found| is_ours(found.key()));
            let mut markers = answer.delete_markers().iter();
            if let Some(marker) =
                markers.find(|found| found.is_latest() == Some(true) && is_ours(found.key()))
            {
                top.marker = marker.version_id().map(str::to_owned);
            }
            let next = (
                answer
                    .next_key_marker()
                    .and_then(|name| decode(name, is_encoded)),
                answer.next_version_id_marker().map(str::to_owned),
            );
            // In the order of keys: longer ones that begin alike follow, and are not asked about.
            let is_over = next.0.as_deref() != Some(&*full) || next == from;
            if answer.is_truncated() != Some(true) || is_over {
                return Ok(top);
            }
            from = next;
        }
    }
}
