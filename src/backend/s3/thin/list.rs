//! LIST: a thousand names in a page of XML.

use aws_sdk_s3::primitives::{ByteStream, DateTime, DateTimeFormat, SdkBody};
use bytes::{Bytes, BytesMut};

use super::{
    super::{
        S3,
        answer::{decode, etag, time},
        client::LISTING,
        errors::Failure,
    },
    Ask, Thin,
    page::{Page, read},
    verbs::next,
};
use crate::{
    backend::{Error, Kind, ListPage, ListQuery, ObjectMeta},
    nix::object_key::ObjectKey,
};

/// How long an answer may be. S3's pages have a thousand names of at most 1,024 bytes, three times that
/// when they are encoded, and some hundred bytes about each.
const MAX_PAGE: usize = 16 << 20;

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
        // The deadline is for the page, not only for its beginning.
        let asked = tokio::time::timeout(LISTING, async {
            let answer = self.ask(thin, act, LISTING, &ask).await;
            let mut answer = answer.map_err(|failure| failure.error)?;
            collect(answer.take_body(), act).await
        });
        let body = asked
            .await
            .unwrap_or_else(|_elapsed| Err(Failure::timed_out(act, LISTING).error))?;
        // What is cut off, or comes from something in between, may be right the next time.
        let page = read(&body).map_err(|detail| lost(act, detail))?;
        self.page(page, act)
    }

    fn page(&self, listing: Page, act: &str) -> Result<ListPage, Error> {
        let relative = |name: &str| {
            let name = decode(name, listing.is_encoded)?;
            name.strip_prefix(&self.0.prefix).map(str::to_owned)
        };
        let mut page = ListPage {
            token: listing.token,
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
                size: object.size.ok_or_else(|| unsized_object(act))?,
                etag: etag(object.etag.as_deref()),
                last_modified: time(date.as_ref()),
                user: std::collections::BTreeMap::new(),
            };
            page.objects.push((key, meta));
        }
        for folder in listing.folders {
            match relative(&folder) {
                Some(folder) => page.folders.push(folder),
                None => page.n_foreign += 1,
            }
        }
        super::super::has_an_end(&page, listing.is_truncated, act)?;
        Ok(page)
    }
}

/// Receives a page.
async fn collect(body: SdkBody, act: &str) -> Result<Bytes, Error> {
    let mut whole = BytesMut::new();
    let mut stream = ByteStream::new(body);
    while let Some(piece) = next(&mut stream)
        .await
        .map_err(|detail| lost(act, detail))?
    {
        whole.extend_from_slice(&piece);
        if whole.len() > MAX_PAGE {
            let detail = format!("a page of more than {MAX_PAGE} bytes");
            return Err(lost(act, detail));
        }
    }
    Ok(whole.freeze())
}

fn lost(act: &str, detail: String) -> Error {
    Error::new(Kind::Unreachable, act).with_detail(detail)
}

fn unsized_object(act: &str) -> Error {
    Error::new(Kind::Malformed, act).with_detail("the answer has no length")
}
