//! A server whose clock is wrong: what it says the time is, and which requests it refuses for theirs.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Request, Response, header};
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

use crate::clock::Clock;

/// S3 refuses what was signed a quarter of an hour beside its own clock.
const MAX_SKEW: SignedDuration = SignedDuration::from_mins(15);

/// How a server's clock goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Skew {
    /// As this machine's.
    #[default]
    None,
    /// Ahead of this machine's.
    Ahead(Duration),
    /// Behind this machine's.
    Behind(Duration),
}

impl Skew {
    fn now(self) -> Timestamp {
        let now = Clock::system().now();
        let now = match self {
            Self::None => Some(now),
            Self::Ahead(by) => now.checked_add(by),
            Self::Behind(by) => now.checked_sub(by),
        };
        now.and_then(|now| Timestamp::try_from(now).ok())
            .unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Returns whether a request was signed too far from what this clock shows.
    pub(super) fn refuses<T>(self, request: &Request<T>) -> bool {
        if self == Self::None {
            return false;
        }
        let signed = signed_at(request.headers());
        signed.is_some_and(|signed| self.now().duration_since(signed).abs() > MAX_SKEW)
    }

    /// Dates an answer. Without a skew the HTTP library does.
    pub(super) fn date<T>(self, mut answer: Response<T>) -> Response<T> {
        if self != Self::None {
            let now = self.now().to_zoned(TimeZone::UTC);
            let date = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            if let Ok(date) = HeaderValue::from_str(&date) {
                answer.headers_mut().insert(header::DATE, date);
            }
        }
        answer
    }
}

fn signed_at(headers: &HeaderMap) -> Option<Timestamp> {
    let date = headers.get("x-amz-date")?.to_str().ok()?;
    let date = DateTime::strptime("%Y%m%dT%H%M%SZ", date).ok()?;
    Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp())
}
