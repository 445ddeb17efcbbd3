//! What a person is told when a run fails, and with which code it ends.
//!
//! Every error of the rooms below becomes a [`Failure`] here: what was attempted, why it failed (the
//! chain of causes, once), and what to do. Hints are made in this file alone, by looking at what an
//! error means; each is one action with its literal command or flag, and none is better than a vague
//! one. How a failure looks is [`ui`](crate::cli::ui)'s business.

use std::{
    error::Error,
    io, iter,
    panic::{self, AssertUnwindSafe},
    path::Path,
    process::ExitCode,
};

use crate::{
    backend::{self, Kind},
    nix::{
        cache_url::{CacheUrl, Scheme},
        signature,
    },
};

/// How a run ended, as its exit code tells. These numbers are a promise to scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Done, also when there was nothing to do, and when the reader of our output went away.
    Done = 0,
    /// Failed: something in the world or in the input prevented it.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// Partly done: some items failed, the rest is safe; repeat to continue.
    Partly = 3,
    /// Refused for safety; nothing was changed.
    Refused = 4,
    /// Done, and what was found should be looked at.
    Warned = 5,
    /// A bug in narhaul; nothing more was changed after it was noticed.
    Bug = 70,
    /// Interrupted; the cache is closed, repeat to continue.
    Interrupted = 130,
}

impl Exit {
    /// All of them, for the reference.
    pub const ALL: [Self; 8] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::Partly,
        Self::Refused,
        Self::Warned,
        Self::Bug,
        Self::Interrupted,
    ];

    /// Returns the number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// Returns what it means, as the reference says it.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done (also: nothing to do)",
            Self::Failed => "failed: something in the world or in the input prevented it",
            Self::Usage => {
                "wrong usage: of flags, of values, or a URL that is none or cannot be what is asked of it"
            }
            Self::Partly => "partly done: some items failed, the rest is safe; repeat to continue",
            Self::Refused => "refused for safety; nothing was changed",
            Self::Warned => "done, and what was found should be looked at (`doctor`)",
            Self::Bug => "a bug in narhaul; nothing more was changed after it was noticed",
            Self::Interrupted => "interrupted; the cache is closed, repeat to continue",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// A run that failed, as a person is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The code that the program ends with.
    pub exit: Exit,
    /// What failed: a fragment that stands behind `error:`. Empty if nothing is to be said.
    pub message: String,
    /// Why, the nearest cause first.
    pub causes: Vec<String>,
    /// What to do, one action each.
    pub hints: Vec<String>,
}

impl Failure {
    /// Says what failed.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Failed,
            message: message.into(),
            causes: Vec::new(),
            hints: Vec::new(),
        }
    }

    /// Says what was refused; `message` begins with "refusing to".
    #[must_use]
    pub fn refused(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Refused,
            ..Self::new(message)
        }
    }

    /// Says what was wrong with the usage.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            ..Self::new(message)
        }
    }

    /// An error and the chain of its causes.
    #[must_use]
    pub fn from_error(error: &(dyn Error + 'static)) -> Self {
        Self {
            causes: chain(error).skip(1).collect(),
            ..Self::new(error.to_string())
        }
    }

    /// Nobody reads our output any more. That is no failure, and nothing is to be said.
    #[must_use]
    pub fn broken_pipe() -> Self {
        Self {
            exit: Exit::Done,
            ..Self::new("")
        }
    }

    /// Adds an error and the chain of its causes.
    #[must_use]
    pub fn because(mut self, error: &(dyn Error + 'static)) -> Self {
        self.causes.extend(chain(error));
        self
    }

    /// Adds one cause in words.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// Adds one action.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Makes a bug of what was noticed: `message` says what must not be.
    #[must_use]
    pub fn bug(message: impl Into<String>) -> Self {
        Self {
            exit: Exit::Bug,
            ..Self::new(message)
        }
        .hint("please report it with the lines above")
    }
}

/// Returns an error and its causes in words, one each, the nearest first.
pub fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = String> + 'a {
    iter::successors(Some(error), |&error| error.source()).map(ToString::to_string)
}

/// Returns an error and its causes in one line.
#[must_use]
pub fn in_a_line(error: &(dyn Error + 'static)) -> String {
    chain(error).collect::<Vec<_>>().join(": ")
}

/// Runs `work`; a panic in it becomes a failure that says so, instead of the end of the process.
///
/// Where it happened has been printed by then, as Rust does at once. What `work` had begun was dropped
/// on the way here, bars among it, and is not used again.
pub fn catch_panic<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let message = match payload.downcast::<String>() {
            Ok(message) => *message,
            Err(payload) => payload.downcast::<&'static str>().map_or_else(
                |_| "a panic without words".to_owned(),
                |text| text.to_string(),
            ),
        };
        Err(Failure::bug(message))
    })
}

/// What to do where a server's dates do not agree.
pub const CLOCKS_HINT: &str = "set the clocks of the server and of whatever stands before it by NTP, then run the same command again";

/// A request to a cache failed: `act` is what was attempted as a whole, such as "cannot set up".
#[must_use]
pub fn of_backend(act: &str, url: &str, error: &backend::Error) -> Failure {
    let failure = Failure::new(format!("{act} `{url}`")).because(error);
    match backend_hint(url, error) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Returns what to do about a failed request to the cache at `url`.
#[must_use]
pub fn backend_hint(url: &str, error: &backend::Error) -> Option<String> {
    let is_folder = url.starts_with("file:") || url.starts_with('/');
    Some(match &error.kind {
        Kind::NoBucket => format!("create it with `narhaul init '{url}'`"),
        Kind::Denied if is_folder => {
            "the folder's owner or mode does not let you write; see `ls -ld`".into()
        }
        // Servers say no more to this question: the key may be unknown, or the bucket somebody else's.
        Kind::Denied if error.act.starts_with("look for bucket") => format!(
            "the key may be unknown here, lack `s3:ListBucket`, or the bucket be somebody else's: \
             `narhaul doctor '{url}'` says which"
        ),
        Kind::Denied => format!(
            "these credentials need {} here; `profile=` in the URL or AWS_ACCESS_KEY_ID chooses others",
            permission_for(&error.act),
        ),
        Kind::Credentials => {
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile of \
             `~/.aws/credentials` by `profile=` in the URL; the environment wins over the profile"
                .into()
        }
        Kind::Region(region) => format!("add `region={region}` to the URL's parameters"),
        Kind::Tls => return tls_hint(url, error),
        Kind::Unreachable if is_without_tls(url) => {
            "see whether host and port are right: `endpoint=` in the URL".into()
        }
        Kind::Unreachable => "see whether host and port are right: `endpoint=` in the URL, and \
             `scheme=http` for a server without TLS"
            .into(),
        Kind::Throttled => {
            "the server's limit is lower than what was tried: repeat with `--requests 8`, \
             or less"
                .into()
        }
        Kind::TimedOut => {
            "repeat the command: what was written stays; `--requests` and `--limit-upload` \
             ask less of a slow line"
                .into()
        }
        Kind::Full => {
            "make room at the cache and repeat the command: what was written stays".into()
        }
        Kind::Malformed => {
            "what answers there may not be an S3 server: see `endpoint=` in the URL".into()
        }
        Kind::NotFound | Kind::Exists | Kind::TooLate | Kind::Unsupported | Kind::Other => {
            return None;
        }
    })
}

/// Returns what to do about TLS that failed, by what has failed of it; rustls has words for each.
fn tls_hint(url: &str, error: &backend::Error) -> Option<String> {
    let detail = error.detail.as_deref().unwrap_or_default();
    let is_web = url.starts_with("http");
    if error.act.starts_with("use the certificate authorities") {
        return Some("wanted are certificates in PEM: `-----BEGIN CERTIFICATE-----`".into());
    }
    if detail.contains("UnknownIssuer") {
        return Some(
            "name the authority that has signed the server's certificate by `--ca-file FILE`, or by \
             NIX_SSL_CERT_FILE, which Nix obeys too"
                .into(),
        );
    }
    if detail.contains("corrupt message") {
        return Some(if is_web {
            "the server speaks no TLS there: write `http://` instead of `https://`".into()
        } else {
            "the server speaks no TLS there: write `scheme=http` into the URL".into()
        });
    }
    (!is_web).then(|| format!("`narhaul doctor '{url}'` says what is wrong with its certificate"))
}

/// Returns whether a URL asks for a server without TLS.
fn is_without_tls(url: &str) -> bool {
    let url = url.parse::<CacheUrl>().ok();
    url.and_then(|url| url.params.endpoint())
        .is_some_and(|endpoint| endpoint.scheme == Scheme::Http)
}

/// Returns the permission that an act needs, by the verb that it begins with.
fn permission_for(act: &str) -> &'static str {
    match act.split_whitespace().next() {
        Some("list") => "`s3:ListBucket`",
        Some("put" | "write" | "begin" | "complete" | "send") => "`s3:PutObject`",
        Some("delete") => "`s3:DeleteObject`",
        Some("create") => "`s3:CreateBucket`",
        Some("abort") => "`s3:AbortMultipartUpload`",
        Some("find") => "`s3:ListBucketMultipartUploads` and `s3:ListMultipartUploadParts`",
        Some("undelete") => "`s3:ListBucketVersions` and `s3:DeleteObjectVersion`",
        Some("get" | "read" | "head" | "look") => "`s3:GetObject` and `s3:ListBucket`",
        _ => "`s3:GetObject`, `s3:PutObject` and `s3:ListBucket`",
    }
}

/// A file that cannot be read or written.
#[must_use]
pub fn of_file(act: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot {act} `{}`", path.display())).because(error)
}

/// A key that is none. The key itself is never shown.
#[must_use]
pub fn of_key(place: &str, error: &signature::ParseError) -> Failure {
    let failure = Failure::new(format!("cannot use the secret key in {place}")).because(error);
    match error {
        signature::ParseError::Length {
            name, found: 32, ..
        } => failure.hint(format!(
            "this is the length of a public key; make a pair with `narhaul key generate {name}`"
        )),
        signature::ParseError::Shape | signature::ParseError::Base64(_) => failure.hint(
            "a secret key is one line, `<key name>:<base-64>`; make one with \
             `narhaul key generate cache.example.org-1`",
        ),
        signature::ParseError::KeyName(_)
        | signature::ParseError::Length { .. }
        | signature::ParseError::Halves(_)
        | signature::ParseError::Point(_) => failure,
    }
}

/// Returns the candidate that is nearest to `word`, if one is near enough to have been meant.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    // A third of the letters may be wrong: `compresion` is `compression`, `foo` is nothing.
    let bound = (word.chars().count() / 3).max(1);
    candidates
        .iter()
        .map(|candidate| (edit_distance(word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= bound)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Counts the insertions, deletions and replacements between two words (Levenshtein).
fn edit_distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, character) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (column, &other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(character != other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_strange_one_is_not_guessed_at() {
        let names = ["compression", "memory", "requests"];
        assert_eq!(nearest("compresion", &names), Some("compression"));
        assert_eq!(nearest("request", &names), Some("requests"));
        assert_eq!(nearest("profile", &names), None);
    }

    #[test]
    fn every_cause_is_told_once() {
        let inner = io::Error::other("disk on fire");
        let outer = crate::source::Error::Read {
            path: "/x".into(),
            source: inner,
        };
        let failure = Failure::new("cannot copy").because(&outer);
        assert_eq!(failure.causes, ["cannot read `/x`", "disk on fire"]);
    }

    #[test]
    fn a_panic_is_a_bug_with_its_own_words_and_code() {
        let ended = catch_panic(|| -> Result<(), Failure> { panic!("two and {} are five", 2) });
        let failure = ended.unwrap_err();
        assert_eq!(failure.exit.code(), 70);
        assert_eq!(failure.message, "two and 2 are five");
        let ended = catch_panic(|| -> Result<(), Failure> { panic!("plain") });
        assert_eq!(ended.unwrap_err().message, "plain");
        assert_eq!(catch_panic(|| Ok(1)), Ok(1));
    }

    #[test]
    fn every_kind_that_a_person_can_mend_has_a_hint() {
        let hint = |kind| backend_hint("s3://cache", &backend::Error::new(kind, "list `x`"));
        for kind in [
            Kind::NoBucket,
            Kind::Denied,
            Kind::Credentials,
            Kind::Region("eu-west-1".into()),
            Kind::Tls,
            Kind::Unreachable,
            Kind::Throttled,
            Kind::Full,
        ] {
            assert!(hint(kind.clone()).is_some(), "{kind}");
        }
        assert!(hint(Kind::Denied).unwrap().contains("`s3:ListBucket`"));
    }

    #[test]
    fn a_hint_about_tls_names_what_is_wrong_of_authority_and_scheme() {
        use rustls::{CertificateError, Error as Tls, InvalidMessage};
        let hint = |url, problem: Tls| {
            let error = backend::Error::new(Kind::Tls, "list `x`").with_detail(problem.to_string());
            backend_hint(url, &error).unwrap()
        };
        let unknown = || Tls::InvalidCertificate(CertificateError::UnknownIssuer);
        let plain = || Tls::InvalidMessage(InvalidMessage::InvalidContentType);
        let expired = || Tls::InvalidCertificate(CertificateError::Expired);
        for url in ["s3://cache", "https://cache.example.org"] {
            let words = hint(url, unknown());
            assert!(words.contains("NIX_SSL_CERT_FILE") && !words.contains("scheme"));
            let words = hint(url, plain());
            assert!(words.contains("no TLS there") && !words.contains("CERT_FILE"));
        }
        assert!(hint("s3://cache", plain()).contains("`scheme=http`"));
        assert!(hint("https://cache.example.org", plain()).contains("`http://`"));
        assert!(hint("s3://cache", expired()).contains("narhaul doctor"));
    }
}
