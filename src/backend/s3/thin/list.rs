//! LIST: a thousand names in a page of XML.

use aws_sdk_s3::primitives::{ByteStream, DateTime, DateTimeFormat};
use bytes::BytesMut;
use serde::Deserialize;

use super::{
    super::{
        S3,
        answer::{decode, etag, time},
        client::LISTING,
    },
    Ask, Thin,
    verbs::next,
};
use crate::{
    backend::{Error, Kind, ListPage, ListQuery, ObjectMeta},
    nix::object_key::ObjectKey,
};

/// How long an answer may be. S3's pages have a thousand names of at most 1,024 bytes, three times that
/// when they are encoded, and some hundred bytes about each.
const MAX_PAGE: usize = 16 << 20;

/// The answer to a LIST, as far as it matters.
#[derive(Debug, Deserialize)]
enum Answer {
    ListBucketResult(Listing),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listing {
    #[serde(default)]
    contents: Vec<Content>,
    #[serde(default)]
    common_prefixes: Vec<Folder>,
    is_truncated: Option<bool>,
    next_continuation_token: Option<String>,
    encoding_type: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    key: String,
    #[serde(rename = "ETag")]
    tag: Option<String>,
    size: u64,
    last_modified: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Folder {
    prefix: String,
}

impl S3 {
    /// Asks for a page; `behind` is the whole name that it begins behind.
    pub(in super::super) async fn thin_list(
        &self,
        thin: &Thin,
        act: &str,
        query: &ListQuery,
        behind: Option<String>,
    ) -> Result<ListPage, Error> {
        // Of a bucket as a whole something is asked.
        let mut ask = Ask::new("GET", String::new());
        let mut say = |name, value| ask.query.push((name, value));
        say("list-type", "2".to_owned());
        if let Some(token) = &query.token {
            say("continuation-token", token.clone());
        }
        if query.is_shallow {
            say("delimiter", "/".to_owned());
        }
        say("encoding-type", "url".to_owned());
        say("prefix", format!("{}{}", self.0.prefix, query.prefix));
        if let Some(name) = behind {
            say("start-after", name);
        }
        let answer = self.ask(thin, act, LISTING, &ask).await;
        let mut answer = answer.map_err(|failure| failure.error)?;
        let mut body = BytesMut::new();
        let mut stream = ByteStream::new(answer.take_body());
        let lost = |detail| Error::new(Kind::Unreachable, act).with_detail(detail);
        while let Some(piece) = next(&mut stream).await.map_err(lost)? {
            body.extend_from_slice(&piece);
            if body.len() > MAX_PAGE {
                return Err(lost(format!("a page of more than {MAX_PAGE} bytes")));
            }
        }
        // What is cut off, or comes from something in between, may be right the next time.
        let Answer::ListBucketResult(listing) =
            quick_xml::de::from_reader(&*body).map_err(|source| lost(source.to_string()))?;
        self.page(listing, act)
    }

    fn page(&self, listing: Listing, act: &str) -> Result<ListPage, Error> {
        let is_encoded = listing.encoding_type.as_deref() == Some("url");
        let relative = |name: &str| {
            let name = decode(name, is_encoded)?;
            name.strip_prefix(&self.0.prefix).map(str::to_owned)
        };
        let mut page = ListPage {
            token: listing.next_continuation_token,
            ..ListPage::default()
        };
        for object in listing.contents {
            let key = relative(&object.key).and_then(|key| ObjectKey::parse(&key).ok());
            let Some(key) = key else {
                page.n_foreign += 1;
                continue;
            };
            let date = object.last_modified.as_deref();
            let date = date.and_then(|d| DateTime::from_str(d, DateTimeFormat::DateTime).ok());
            let meta = ObjectMeta {
                size: object.size,
                etag: etag(object.tag.as_deref()),
                last_modified: time(date.as_ref()),
                user: std::collections::BTreeMap::new(),
            };
            page.objects.push((key, meta));
        }
        for folder in listing.common_prefixes {
            match relative(&folder.prefix) {
                Some(folder) => page.folders.push(folder),
                None => page.n_foreign += 1,
            }
        }
        super::super::has_an_end(&page, listing.is_truncated, act)?;
        Ok(page)
    }
}
