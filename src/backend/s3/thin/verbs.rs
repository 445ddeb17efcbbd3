//! The verbs: what each asks, and what it reads out of the answer.

use std::{borrow::Cow, collections::BTreeMap, ops::Range, time::Duration};

use aws_sdk_s3::{
    config::http::HttpResponse,
    primitives::{ByteStream, DateTime, DateTimeFormat, SdkBody},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};

use super::{
    super::{
        S3,
        answer::{etag, quoted, time},
        client::{Connection, SMALL, STALL, allowed, has_checksums},
        errors::Failure,
    },
    Ask, Thin,
};
use crate::{
    backend::{Error, Kind, Object, ObjectMeta, PutOptions, Upload, encoding::decoded},
    nix::object_key::ObjectKey,
};

impl S3 {
    /// Sends a request within its deadline; once more if the server names another region.
    pub(super) async fn ask(
        &self,
        thin: &Thin,
        act: &str,
        allowed: Duration,
        ask: &Ask<'_>,
    ) -> Result<HttpResponse, Failure> {
        let before = self.connection();
        match self.once_thin(thin, act, allowed, &before, ask).await {
            Err(failure) if self.is_elsewhere(&before.region, &failure) => {
                let there = self.connection();
                self.once_thin(thin, act, allowed, &there, ask).await
            }
            other => other,
        }
    }

    async fn once_thin(
        &self,
        thin: &Thin,
        act: &str,
        allowed: Duration,
        connection: &Connection,
        ask: &Ask<'_>,
    ) -> Result<HttpResponse, Failure> {
        let sent = tokio::time::timeout(allowed, thin.send(act, connection, ask));
        let answer = sent
            .await
            .unwrap_or_else(|_elapsed| Err(Failure::timed_out(act, allowed)))?;
        self.note_bucket();
        Ok(answer)
    }

    pub(in super::super) async fn thin_head(
        &self,
        thin: &Thin,
        act: &str,
        key: &ObjectKey,
    ) -> Result<ObjectMeta, Failure> {
        let ask = Ask::new("HEAD", self.full_key(key));
        let answer = match self.ask(thin, act, SMALL, &ask).await {
            Err(failure) => {
                self.find_region(act, failure).await?;
                self.ask(thin, act, SMALL, &ask).await?
            }
            Ok(answer) => answer,
        };
        meta(&answer, act).map_err(Failure::without_answer)
    }

    pub(in super::super) async fn thin_get(
        &self,
        thin: &Thin,
        act: &str,
        key: &ObjectKey,
    ) -> Result<Object, Error> {
        let ask = Ask::new("GET", self.full_key(key));
        let answer = self.ask(thin, act, SMALL, &ask).await;
        let mut answer = answer.map_err(|failure| failure.error)?;
        let meta = meta(&answer, act)?;
        let body = whole(answer.take_body(), meta.size, act).await?;
        let body = decoded(body, answer.headers().get("content-encoding"), act)?;
        Ok(Object { meta, body })
    }

    /// Reads `range`, which is not empty.
    pub(in super::super) async fn thin_get_range(
        &self,
        thin: &Thin,
        act: &str,
        key: &ObjectKey,
        range: Range<u64>,
    ) -> Result<Bytes, Error> {
        let mut ask = Ask::new("GET", self.full_key(key));
        let last = range.end.saturating_sub(1);
        ask.headers
            .push(("range".into(), format!("bytes={}-{last}", range.start)));
        let answer = self.ask(thin, act, SMALL, &ask).await;
        let mut answer = answer.map_err(|failure| failure.error)?;
        let told = length(&answer, act)?;
        super::super::is_all(told, &range, act)?;
        whole(answer.take_body(), told, act).await
    }

    pub(in super::super) async fn thin_put(
        &self,
        thin: &Thin,
        act: &str,
        key: &ObjectKey,
        body: Bytes,
        options: &PutOptions,
    ) -> Result<(), Error> {
        let deadline = allowed(body.len());
        let mut ask = self.ask_with_body(self.full_key(key), body);
        let content_type = options.content_type.as_deref();
        let content_type = content_type.unwrap_or("application/octet-stream");
        let optional = [
            ("cache-control", options.cache_control.clone()),
            ("content-encoding", options.content_encoding.clone()),
            ("x-amz-storage-class", self.0.config.storage_class.clone()),
            ("if-none-match", options.if_absent.then(|| "*".to_owned())),
            ("if-match", options.if_same.as_deref().map(quoted)),
        ];
        ask.headers
            .push(("content-type".into(), content_type.to_owned()));
        for (name, value) in optional {
            ask.headers
                .extend(value.map(|value| (Cow::Borrowed(name), value)));
        }
        for (name, value) in &options.user {
            let name = format!("x-amz-meta-{name}");
            ask.headers.push((name.into(), value.clone()));
        }
        ask.sha256 = options.sha256;
        ask.fence = options.fence.as_ref();
        let put = self.ask(thin, act, deadline, &ask).await;
        let put = put.map_err(|failure| self.of_writing(failure))?;
        finish(put).await;
        Ok(())
    }

    /// Sends a part; returns its tag and its checksum.
    pub(in super::super) async fn thin_part(
        &self,
        thin: &Thin,
        act: &str,
        upload: &Upload,
        number: i32,
        body: Bytes,
    ) -> Result<(Option<String>, Option<String>), Error> {
        let deadline = allowed(body.len());
        let mut ask = self.ask_with_body(self.full_key(&upload.key), body);
        ask.query = vec![
            ("partNumber", number.to_string()),
            ("uploadId", upload.id.clone()),
        ];
        let sent = self.ask(thin, act, deadline, &ask).await;
        let answer = sent.map_err(|failure| self.of_writing(failure))?;
        let header = |name| answer.headers().get(name).map(str::to_owned);
        let told = (header("etag"), header(CRC32));
        finish(answer).await;
        Ok(told)
    }

    fn ask_with_body(&self, key: String, body: Bytes) -> Ask<'static> {
        let mut ask = Ask::new("PUT", key);
        // Of an empty body HTTP's library says nothing, and AWS wants to know.
        ask.headers
            .push(("content-length".into(), body.len().to_string()));
        if has_checksums(&self.0.config) {
            let crc = STANDARD.encode(crc32fast::hash(&body).to_be_bytes());
            ask.headers.push((CRC32.into(), crc));
        }
        ask.is_unsigned = self.0.is_unsigned;
        ask.body = body;
        ask
    }
}

/// The checksum that parts and wholes are sent with, where the server knows it. The same for both: an
/// upload is begun with its name.
const CRC32: &str = "x-amz-checksum-crc32";

/// How long the end of an answer that says nothing is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

fn meta(answer: &HttpResponse, act: &str) -> Result<ObjectMeta, Error> {
    let headers = answer.headers();
    let date = headers.get("last-modified");
    let date = date.and_then(|date| DateTime::from_str(date, DateTimeFormat::HttpDate).ok());
    let user = headers.iter().filter_map(|(name, value)| {
        let name = name.strip_prefix("x-amz-meta-")?;
        Some((name.to_ascii_lowercase(), value.to_owned()))
    });
    Ok(ObjectMeta {
        size: length(answer, act)?,
        etag: etag(headers.get("etag")),
        last_modified: time(date.as_ref()),
        user: user.collect::<BTreeMap<_, _>>(),
    })
}

fn length(answer: &HttpResponse, act: &str) -> Result<u64, Error> {
    let length = answer.headers().get("content-length");
    length
        .and_then(|length| length.parse().ok())
        .ok_or_else(|| Error::new(Kind::Malformed, act).with_detail("the answer has no length"))
}

/// Receives a body. There is no deadline for all of it, but for each piece.
async fn whole(body: SdkBody, wanted: u64, act: &str) -> Result<Bytes, Error> {
    let lost = |detail| Error::new(Kind::Unreachable, act).with_detail(detail);
    let mut stream = ByteStream::new(body);
    let Some(mut first) = next(&mut stream).await.map_err(lost)? else {
        return super::super::is_whole(Bytes::new(), wanted, act);
    };
    // Most are one piece, and need no copy.
    if u64::try_from(first.len()) != Ok(wanted) {
        let mut pieces = BytesMut::from(first);
        while let Some(piece) = next(&mut stream).await.map_err(lost)? {
            pieces.extend_from_slice(&piece);
        }
        first = pieces.freeze();
    }
    super::super::is_whole(first, wanted, act)
}

/// Receives what is left of an answer that says nothing, so that its connection can be used again. What
/// was asked for is done, so nothing is made of an end that does not come.
async fn finish(mut answer: HttpResponse) {
    let mut stream = ByteStream::new(answer.take_body());
    let rest = async { while let Ok(Some(_)) = next(&mut stream).await {} };
    tokio::time::timeout(PATIENCE, rest).await.ok();
}

/// Receives the next piece of a body.
pub(super) async fn next(stream: &mut ByteStream) -> Result<Option<Bytes>, String> {
    match tokio::time::timeout(STALL, stream.next()).await {
        Err(_elapsed) => Err(format!("nothing came for {} s", STALL.as_secs())),
        Ok(None) => Ok(None),
        Ok(Some(Ok(bytes))) => Ok(Some(bytes)),
        Ok(Some(Err(source))) => Err(crate::backend::net::cause::deepest(&source)),
    }
}
