//! Receiving a body, over as many connections as it takes.
//!
//! When a body breaks off, the rest is asked for with `Range`, and with `If-Range` so that the rest of
//! another object is never added to the beginning of this one. That is done as often as each try brings
//! something; a try that brings nothing is a failure, and the wrapper around decides on another.

use std::{ops::Range, sync::atomic::Ordering::Relaxed, time::Duration};

use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use bytes::{Bytes, BytesMut};

use super::{
    MAX_WHOLE, Web,
    answer::{content_range, length, meta, succeeded, validator},
    client::Method,
};
use crate::{
    backend::{Error, Kind, ObjectMeta, net::cause::deepest},
    nix::object_key::ObjectKey,
};

/// How long a body may stand still; as long as one of an S3 server.
const STALL: Duration = Duration::from_secs(30);

/// What is wanted of an object.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    /// All of it.
    Whole,
    /// These bytes; never none.
    Part(Range<u64>),
}

impl Wanted {
    fn start(&self) -> u64 {
        match self {
            Self::Whole => 0,
            Self::Part(range) => range.start,
        }
    }

    /// Returns the header that asks for what is behind `from`.
    fn header(&self, from: u64) -> (&'static str, String) {
        let text = match self {
            Self::Whole => format!("bytes={from}-"),
            Self::Part(range) => format!("bytes={from}-{}", range.end - 1),
        };
        ("range", text)
    }
}

/// What came of an object.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) meta: ObjectMeta,
    pub(super) body: Bytes,
    /// The `Content-Encoding` of the first answer.
    pub(super) encoding: Option<String>,
}

/// The beginning of a body, and what it is the beginning of.
struct Begun {
    got: BytesMut,
    /// What is known of the object; its size as far as told.
    meta: ObjectMeta,
    /// How many bytes are wanted in all, where that is known.
    wanted: Option<u64>,
    /// What asks for the rest of the same object.
    validator: Option<String>,
    /// The `Content-Encoding` of the answer.
    encoding: Option<String>,
}

impl Begun {
    fn len(&self) -> u64 {
        u64::try_from(self.got.len()).unwrap_or(u64::MAX)
    }

    fn is_whole(&self) -> bool {
        self.wanted.is_none_or(|wanted| self.len() >= wanted)
    }
}

impl Web {
    /// Reads what is wanted of an object.
    pub(super) async fn receive(
        &self,
        key: &ObjectKey,
        wanted: Wanted,
        act: &str,
    ) -> Result<Received, Error> {
        let headers = match &wanted {
            Wanted::Whole => Vec::new(),
            Wanted::Part(range) => vec![wanted.header(range.start)],
        };
        let answer = self.send(Method::Get, key, &headers, act).await?;
        let answer = succeeded(answer, act)?;
        let mut begun = begin(&answer, &wanted, act)?;
        let mut broken = pour(answer, &mut begun, act).await;
        while let Err(error) = broken {
            let (before, validator) = (begun.len(), begun.validator.clone());
            let Some(validator) = validator.filter(|_| before > 0) else {
                return Err(error);
            };
            let rest = [
                wanted.header(wanted.start() + before),
                ("if-range", validator),
            ];
            self.0.n_resumed.fetch_add(1, Relaxed);
            let answer = self.send(Method::Get, key, &rest, act).await?;
            let answer = succeeded(answer, act)?;
            let first = content_range(&answer).map(|(first, ..)| first);
            if answer.status().as_u16() != 206 || first != Some(wanted.start() + before) {
                // It is another object by now, or the server gives no parts of it.
                return Err(error);
            }
            broken = pour(answer, &mut begun, act).await;
            if let Err(error) = broken.clone()
                && begun.len() == before
            {
                return Err(error);
            }
        }
        begun.meta.size = begun.meta.size.max(begun.len());
        Ok(Received {
            meta: begun.meta,
            body: begun.got.freeze(),
            encoding: begun.encoding,
        })
    }
}

/// Looks at the head of the first answer.
fn begin(answer: &HttpResponse, wanted: &Wanted, act: &str) -> Result<Begun, Error> {
    let bad = |kind, detail: String| Err(Error::new(kind, act).with_detail(detail));
    let told = length(answer);
    let (size, n_wanted) = match wanted {
        Wanted::Whole => (told.unwrap_or(0), told),
        Wanted::Part(range) => {
            let n_wanted = range.end - range.start;
            let there = if answer.status().as_u16() == 206 {
                content_range(answer)
            } else {
                // The server does not know ranges, and sends all of it.
                told.map(|told| (0, told, Some(told)))
            };
            match there {
                Some((first, _, _)) if first != range.start => {
                    let detail = "the server gives no parts of objects".to_owned();
                    return bad(Kind::Unsupported, detail);
                }
                Some((_, end, _)) if end < range.end => {
                    let detail = format!("the object ends at {end}, want {}", range.end);
                    return bad(Kind::Other, detail);
                }
                Some((_, end, total)) => (total.unwrap_or(end), Some(n_wanted)),
                None => (0, Some(n_wanted)),
            }
        }
    };
    if n_wanted.is_some_and(|n_wanted| n_wanted > MAX_WHOLE) {
        return bad(Kind::Unsupported, too_large());
    }
    Ok(Begun {
        got: BytesMut::new(),
        meta: meta(answer, size),
        wanted: n_wanted,
        validator: validator(answer),
        encoding: answer.headers().get("content-encoding").map(str::to_owned),
    })
}

fn too_large() -> String {
    format!("it has more than {} MiB", MAX_WHOLE >> 20)
}

/// Adds an answer's body to what is there, until there is enough.
async fn pour(answer: HttpResponse, begun: &mut Begun, act: &str) -> Result<(), Error> {
    let lost = |detail: String| Error::new(Kind::Unreachable, act).with_detail(detail);
    let mut stream = ByteStream::new(answer.into_body());
    loop {
        match tokio::time::timeout(STALL, stream.next()).await {
            Err(_elapsed) => {
                let detail = format!("the body stood still for {} s", STALL.as_secs());
                return Err(Error::new(Kind::TimedOut, act).with_detail(detail));
            }
            Ok(Some(Err(source))) => return Err(lost(deepest(&source))),
            Ok(Some(Ok(piece))) => begun.got.extend_from_slice(&piece),
            Ok(None) if begun.is_whole() => return Ok(()),
            Ok(None) => {
                let wanted = begun.wanted.unwrap_or_default();
                return Err(lost(format!("{} bytes came, want {wanted}", begun.len())));
            }
        }
        let Some(wanted) = begun.wanted else {
            if begun.len() > MAX_WHOLE {
                return Err(Error::new(Kind::Unsupported, act).with_detail(too_large()));
            }
            continue;
        };
        if begun.len() >= wanted {
            begun
                .got
                .truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
            return Ok(());
        }
    }
}
