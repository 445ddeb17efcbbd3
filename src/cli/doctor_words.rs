//! What `doctor` has found, in words: what was seen, what it means for narhaul and for Nix, what to do.
//!
//! A finding comes in, four texts go out; how they are laid out is the command's business.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    backend::{self, Expiry, s3::Distrust},
    cli::{
        error,
        times::{Moment, Span},
        units::Count,
    },
    doctor::finding::{Finding, Skew},
    ledger::capabilities::{ConditionalDelete, ConditionalPut},
    nix::{cache_info::DEFAULT_PRIORITY, cache_url::Scheme},
};

/// A finding in words; what is empty is not worth saying.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    /// What was seen.
    pub seen: String,
    /// What it means for narhaul.
    pub narhaul: String,
    /// What it means for Nix.
    pub nix: String,
    /// What to do.
    pub action: String,
}

impl Words {
    fn new(seen: impl Into<String>) -> Self {
        Self {
            seen: seen.into(),
            ..Self::default()
        }
    }

    fn narhaul(mut self, text: impl Into<String>) -> Self {
        self.narhaul = text.into();
        self
    }

    fn nix(mut self, text: impl Into<String>) -> Self {
        self.nix = text.into();
        self
    }

    /// The same for both.
    fn both(self, text: &str) -> Self {
        self.narhaul(text).nix(text)
    }

    fn action(mut self, text: impl Into<String>) -> Self {
        self.action = text.into();
        self
    }

    /// The hint that a failed request of this kind has everywhere.
    fn hint(self, url: &str, error: &backend::Error) -> Self {
        match error::backend_hint(url, error) {
            Some(hint) => self.action(hint),
            None => self,
        }
    }
}

/// Puts a finding into words; `url` is the cache's as it was typed, for what is to be pasted.
#[must_use]
pub fn words(finding: &Finding, url: &str) -> Words {
    server(finding, url)
        .or_else(|| address(finding))
        .or_else(|| login(finding, url))
        .or_else(|| clock(finding))
        .or_else(|| rules(finding, url))
        .or_else(|| cache(finding, url))
        .or_else(|| signatures(finding, url))
        .or_else(|| readers(finding, url))
        .or_else(|| writes(finding, url))
        .or_else(|| deletions(finding))
        .or_else(|| rest(finding, url))
        .unwrap_or_default()
}

fn server(finding: &Finding, url: &str) -> Option<Words> {
    Some(match finding {
        Finding::Answers { server } => Words::new(format!("{server} answers")),
        Finding::Unreachable(error) => Words::new(error.to_string())
            .both("cannot be used")
            .hint(url, error),
        Finding::WrongScheme { speaks } => {
            let (speaks, other, said) = match speaks {
                Scheme::Http => ("http", "TLS", "scheme=http"),
                Scheme::Https => ("TLS", "http", "scheme=https"),
            };
            Words::new(format!("the server speaks {speaks}, and was spoken to in {other}"))
                .both("cannot connect")
                .action(format!(
                    "write `{said}` into the URL, or the scheme in front of the endpoint"
                ))
        }
        Finding::NoBucket => Words::new("the bucket does not exist")
            .both("cannot be used")
            .action(format!("create it with `narhaul init '{url}'`")),
        Finding::Secure(secure) => {
            let http = match secure.http.as_deref() {
                Some("h2") => "HTTP/2 if one likes",
                _ => "HTTP/1.1",
            };
            let ends = match secure.ends {
                Some(ends) => format!(", until {}", Moment(ends)),
                None => String::new(),
            };
            let certificates = Count::of(secure.n_certificates, "certificate");
            Words::new(format!("{}, {http}, {certificates}{ends}", secure.version))
                .narhaul("speaks HTTP/1.1 over many connections, whatever is offered")
                .nix("takes HTTP/2 where it is offered")
        }
        Finding::EndsSoon { ends, left } => Words::new(format!(
            "the certificate ends on {}, in {}",
            Moment(*ends),
            rough(*left)
        ))
        .both("cannot connect from then on")
        .action("renew the server's certificate"),
        Finding::Distrusted(why) => distrusted(why),
        Finding::Plain => Words::new("there is no TLS")
            .narhaul("bodies and narinfos are protected by hashes and signatures, requests by theirs")
            .nix("the same; who listens sees what is fetched, and an unsigned cache can be forged on the way"),
        Finding::BehindProxy => {
            Words::new("requests go by a proxy, so the server's TLS was not looked at")
        }
        _ => return None,
    })
}

fn distrusted(why: &Distrust) -> Words {
    let words = |seen: &str| Words::new(seen).both("cannot connect");
    match why {
        Distrust::UnknownIssuer => words("nobody who is trusted here has signed the certificate")
            .action(
                "name the authority's certificate by `--ca-file FILE`, and to Nix by \
                 `ssl-cert-file` or NIX_SSL_CERT_FILE",
            ),
        Distrust::Expired => {
            words("the certificate's time is over").action("renew the server's certificate")
        }
        Distrust::NotYetValid => words("the certificate's time has not come")
            .action("see whether this machine's clock is right"),
        Distrust::WrongName => words("the certificate is for other names than this host's")
            .action("name the server as its certificate does, or give it one for this name"),
        Distrust::Other(words_of_tls) => words(&format!("no secure connection: {words_of_tls}")),
    }
}

fn address(finding: &Finding) -> Option<Words> {
    Some(match finding {
        Finding::Address { is_path_style } => Words::new(if *is_path_style {
            "the bucket's name is in the path"
        } else {
            "the bucket's name is in the host's name"
        })
        .nix("the same from 2.33 on; up to 2.32 in the path where the URL names an endpoint"),
        Finding::BareEndpoint { full } => Words::new("the endpoint has no scheme of its own")
            .narhaul("takes it for `https` unless `scheme=` says otherwise")
            .nix("the same; later than 2.35 it warns")
            .action(format!(
                "`endpoint={full}`, unless Nix up to 2.32 uses this URL"
            )),
        Finding::BareHostAndPort { full } => {
            Words::new("the endpoint is `host:port` without a scheme")
                .narhaul("takes it for a host and a port")
                .nix("2.33 to 2.35 take the host for a scheme and fail; others do as narhaul")
                .action(format!(
                    "`endpoint={full}` for Nix from 2.33 on; up to 2.32 it wants the bare form"
                ))
        }
        Finding::Prefix => Words::new("the cache lies below a prefix in its bucket")
            .narhaul("nothing of it leaves the prefix")
            .nix("up to 2.32, and Lix, cannot use such an `s3://` URL; by `https://` all can"),
        _ => return None,
    })
}

fn login(finding: &Finding, url: &str) -> Option<Words> {
    Some(match finding {
        Finding::Known(source) => Words::new(format!("from {source}"))
            .nix("from 2.33 on the environment wins over `profile=`; before, the profile did"),
        Finding::NoCredentials { is_refused } => Words::new(if *is_refused {
            "none were found, and the server wants some"
        } else {
            "none were found, so requests are not signed"
        })
        .both("can read what everybody can, and write nothing")
        .action("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile by `profile=`"),
        Finding::BadKey { source, error } => Words::new(format!(
            "the server does not take the key from {source}: {}",
            told(error)
        ))
        .both("every request is refused")
        .hint(url, error),
        Finding::NotYours(error) => Words::new(format!(
            "the bucket is there, and these credentials may neither list nor read it: {}",
            told(error)
        ))
        .both("every request is refused")
        .action(
            "if the bucket is yours, give this key its rights; if not, its name was taken by \
             somebody else: choose another",
        ),
        Finding::Region(region) => Words::new(format!("`{region}`")),
        Finding::RegionElsewhere { said, region } => Words::new(format!(
            "the bucket is in `{region}`, and requests said `{said}`"
        ))
        .narhaul("goes there when the server says so: one request more for each run")
        .nix("does not: every request is refused")
        .action(format!("write `region={region}` into the URL")),
        Finding::RegionUnsaid(region) => {
            Words::new(format!("`{region}`, which the URL does not say"))
                .narhaul("took it from the environment or the profile")
                .nix("takes `us-east-1` where the URL says nothing, and is refused")
                .action(format!("write `region={region}` into the URL"))
        }
        _ => return None,
    })
}

fn clock(finding: &Finding) -> Option<Words> {
    let by = |skew: &Skew| match skew {
        Skew::Ahead(amount) => format!("the server's clock is {} ahead of ours", rough(*amount)),
        Skew::Behind(amount) => format!("the server's clock is {} behind ours", rough(*amount)),
    };
    Some(match finding {
        Finding::Clock { skew } if skew.amount() < Duration::from_secs(2) => {
            Words::new("the server's clock and ours agree")
        }
        Finding::Clock { skew } => Words::new(by(skew)),
        Finding::ClockOff {
            skew,
            is_refused: false,
        } => Words::new(by(skew))
            .narhaul("ages are told by the server's clock alone, so nothing goes too early")
            .nix("requests are taken; other servers than Garage refuse them from 15 min on")
            .action("let both keep the time by NTP"),
        Finding::ClockOff { skew, .. } => Words::new(by(skew))
            .narhaul("the first request of each run is refused; later ones go by the server's clock")
            .nix("every request is refused: `RequestTimeTooSkewed`")
            .action("set the clock that is wrong, and let both keep the time by NTP"),
        Finding::StampsOff(amount) => Words::new(format!(
            "objects are dated {} beside the server's own clock: its machines do not agree",
            rough(*amount)
        ))
        .narhaul("a sweep allows for an hour, a copy takes other copies and sweeps for dead too soon or too late")
        .action("let the server's machines keep the time by NTP"),
        _ => return None,
    })
}

fn rules(finding: &Finding, url: &str) -> Option<Words> {
    Some(match finding {
        Finding::MissingIs404 => Words::new("a key that cannot exist is answered with 404"),
        Finding::MissingIs403 => Words::new("a key that cannot exist is answered with 403")
            .narhaul("a copy takes 403 for \"not there\", and a sweep cannot run")
            .nix("takes it for \"not there\", except for `nix-cache-info`, since 2.28")
            .action("give this key `s3:ListBucket`"),
        Finding::MissingIsFound => Words::new("a key that cannot exist is said to be there")
            .both("believes that everything is there, and uploads nothing")
            .action("what answers is no S3 server, or a proxy that answers everything: see `endpoint=`"),
        Finding::NoExpiry => Words::new("no rule removes what a cache needs by its age"),
        Finding::Expiry(rule) => Words::new(format!(
            "{} removes {} by age alone, in use or not",
            name(rule),
            about(rule)
        ))
        .narhaul("refuses to sweep beside it: it breaks closures, and may eat the ledger")
        .nix("finds closures with holes, and pushers believe for 30 days that what went is there")
        .action(format!(
            "remove {}, and let `narhaul sweep '{url}' --window {}` take its place",
            name(rule),
            rule.days.map_or_else(|| "30d".to_owned(), |days| format!("{days}d"))
        )),
        Finding::ExpiryElsewhere(rule) => Words::new(format!(
            "{} removes {} by age; a closure needs none of that",
            name(rule),
            about(rule)
        )),
        Finding::LifecycleUnknown { is_denied: true } => {
            Words::new("whether a rule removes objects by age may not be known to these credentials")
                .narhaul("a sweep warns, and cannot tell a rule that breaks closures")
                .action("examine it with a sweeper's key, which has `s3:GetLifecycleConfiguration`")
        }
        Finding::LifecycleUnknown { is_denied: false } => {
            Words::new("the server has no rules that remove objects by age")
                .narhaul("unfinished uploads of copies that died stay until a sweep removes them")
        }
        Finding::UploadsGo { days } => Words::new(format!("are dropped after {days} d")),
        Finding::UploadsStay => Words::new("no rule drops them")
            .narhaul("those of copies that died stay, and are paid for, until a sweep removes them")
            .nix("leaves some too when it dies, with `multipart-upload=true`")
            .action("a rule that aborts unfinished uploads after 7 days"),
        Finding::NoVersions => Words::new("what is deleted or overwritten is not kept"),
        Finding::Versions { is_freed: true } => {
            Words::new("what is deleted is kept for a while, and then freed by a rule")
                .narhaul("`sweep --undo` can take delete markers off; space comes free late")
        }
        Finding::Versions { is_freed: false } => {
            Words::new("what is deleted is kept, and no rule ever frees it")
                .narhaul("a sweep frees no space")
                .action("a rule that removes noncurrent versions, after as many days as mistakes take to be noticed")
        }
        Finding::ObjectLock => Words::new("objects can be protected against deletion")
            .narhaul("a sweep leaves what is protected, and ends with code 3"),
        Finding::Policy { is_there } => Words::new(if *is_there {
            "the bucket has one"
        } else {
            "the bucket has none"
        }),
        Finding::NoPolicies => Words::new("the server has none")
            .narhaul("rights of keys and anonymous reading are set by the server's own tools"),
        Finding::PolicyDenied => Words::new("it may not be known to these credentials"),
        Finding::VersionsUnknown { is_denied: true } => {
            Words::new("whether what is deleted is kept may not be known to these credentials")
        }
        Finding::VersionsUnknown { is_denied: false } => {
            Words::new("the server has no versions, or does not tell")
        }
        _ => return None,
    })
}

fn name(rule: &Expiry) -> String {
    match rule.id.as_str() {
        "" => "the expiry rule without a name".to_owned(),
        id => format!("the expiry rule `{id}`"),
    }
}

fn about(rule: &Expiry) -> String {
    let what = match rule.prefix.as_str() {
        "" => "every object".to_owned(),
        prefix => format!("what begins with `{prefix}`"),
    };
    match rule.days {
        Some(days) => format!("{what} after {days} d"),
        None => what,
    }
}

fn cache(finding: &Finding, url: &str) -> Option<Words> {
    Some(match finding {
        Finding::CacheInfo { priority } => {
            Words::new(format!("priority {priority}")).nix(match priority {
                ..40 => "asked before cache.nixos.org, which has 40",
                40 => "asked as early as cache.nixos.org",
                _ => "asked after cache.nixos.org, which has 40",
            })
        }
        Finding::NoCacheInfo => Words::new("there is none")
            .narhaul("the first copy writes it")
            .nix("a client that may not write finds no cache here")
            .action(format!("`narhaul init '{url}'`")),
        Finding::BadCacheInfo(words) => Words::new(format!("nobody can understand it: {words}"))
            .both("cannot use the cache")
            .action(format!(
                "remove or mend that object, then `narhaul init '{url}'`"
            )),
        Finding::OtherStore { found, wanted } => {
            Words::new(format!("it is for the store `{found}`, not `{wanted}`"))
                .narhaul("refuses to copy other paths into it")
                .nix("refuses it: \"is for Nix stores with prefix\"")
                .action(format!(
                    "if the cache is for `{found}`, say `store={found}` in the URL"
                ))
        }
        Finding::NoPriority => Words::new("it has no `Priority`, which means 0")
            .nix("asks this cache before cache.nixos.org, which has 40, for everything")
            .action(format!(
                "add the line `Priority: {DEFAULT_PRIORITY}`; clients notice within a week"
            )),
        Finding::NoMassQuery => Words::new("`WantMassQuery: 1` is missing")
            .nix("asks for paths one by one, where it asks for many")
            .action("add that line; clients notice within a week"),
        Finding::TopLevel { n_narinfos, is_cut } => Words::new(format!(
            "{}{}, and nothing that is no cache's",
            if *is_cut { "at least " } else { "" },
            Count(*n_narinfos, "narinfo")
        )),
        Finding::Junk { n, first } => Words::new(format!(
            "{}, no cache's: {}{}",
            Count(*n, "name"),
            quoted(first),
            if u64::try_from(first.len()) == Ok(*n) {
                ""
            } else {
                ", …"
            }
        ))
        .narhaul("leaves it alone: it does not read, count or remove it")
        .nix("never asks for it"),
        _ => return None,
    })
}

fn signatures(finding: &Finding, url: &str) -> Option<Words> {
    Some(match finding {
        Finding::NoNarinfos => Words::new("there are no narinfos yet"),
        Finding::BadNarinfos { n, of } => Words::new(format!("{n} of {of} narinfos make no sense"))
            .narhaul("a sweep deletes nothing while there are such")
            .nix("fails on them: \"NAR info file is corrupt\"")
            .action("find them with `narhaul sweep --dry-run`, and remove or mend them"),
        Finding::Signed {
            key_names,
            is_checked,
            n_content_addressed,
        } => {
            let mut seen = match key_names.is_empty() {
                true => "none is needed".to_owned(),
                false => format!("by {}", keys(key_names)),
            };
            if *n_content_addressed > 0 {
                seen = format!("{seen}; {n_content_addressed} content-addressed");
            }
            Words::new(seen).nix(if *is_checked {
                "accepts all that were looked at"
            } else {
                "accepts them if it trusts these keys; name those by `--public-key-file` to have them checked"
            })
        }
        Finding::Unsigned { n, of } => Words::new(format!("{n} of {of} paths have no signature"))
            .nix("refuses them, unless it trusts every path of this cache")
            .action(format!(
                "sign them: `narhaul sign --store '{url}' --all --key-file FILE`"
            )),
        Finding::NotTrusted {
            n,
            of,
            key_names,
            trusted,
        } => Words::new(format!(
            "{n} of {of} paths are signed by none of the given keys ({}), but by {}",
            quoted(trusted),
            keys(key_names)
        ))
        .nix("refuses them")
        .action("let clients trust the other key too, or sign the paths with this one"),
        Finding::Forged { n, of } => Words::new(format!(
            "{n} of {of} paths bear a given key's name, and are not signed by that key"
        ))
        .nix("refuses them")
        .action("see whether two keys have the same name, or the narinfos were changed"),
        Finding::Bodies(n) => Words::new(format!("all of {n} that were asked for are there")),
        Finding::NoBodies { n, of } => Words::new(format!(
            "{n} of {of} narinfos name a body that is not there"
        ))
        .narhaul("a sweep takes such narinfos away")
        .nix("fails on them, or builds from source")
        .action("copy those paths again; if a rule of the bucket took the bodies, remove it first"),
        _ => return None,
    })
}

fn readers(finding: &Finding, url: &str) -> Option<Words> {
    Some(match finding {
        Finding::Anonymous(place) => {
            Words::new(format!("by `{place}`")).nix("clients need no credentials")
        }
        Finding::NotAnonymous { place, error } => {
            Words::new(format!("not by `{place}`: {}", told(error)))
                .nix("clients need credentials, or another way to the bucket")
                .action(format!(
                    "if everybody is to read it: `narhaul init '{url}'` says how with this server"
                ))
        }
        Finding::PublicLedger => {
            Words::new("everybody can read narhaul's own files below `narhaul/` too")
                .narhaul("they name groups, pins, store paths and times, and no secrets")
                .action("where the server knows policies, let everybody read Nix's objects alone")
        }
        Finding::HalfAnonymous { place, error } => Words::new(format!(
            "`nix-cache-info` by `{place}`, but no narinfo: {}",
            told(error)
        ))
        .nix("takes it for a cache, and finds nothing in it")
        .action("let everybody read `*.narinfo` and `nar/*` too"),
        _ => return None,
    })
}

fn writes(finding: &Finding, url: &str) -> Option<Words> {
    Some(match finding {
        Finding::NotWritten => Words::new(
            "not tried, for `--read-only`; neither are deletions, conditions, parts and listings",
        ),
        Finding::Writes => Words::new("what is written is read back"),
        Finding::WritesDiffer => Words::new("what is read back is not what was written")
            .both("nothing here can be relied on")
            .action("something between here and the server changes what it carries"),
        Finding::ReadOnlyKey => Words::new("these credentials may not write below `narhaul/doctor/`")
            .narhaul("what the server does with writes was not tried; who may write nowhere can neither copy nor sweep")
            .nix("`nix copy` fails for who may write nowhere")
            .action(format!(
                "what a key needs to copy: `narhaul init '{url}' --print-policy writer`"
            )),
        Finding::ConditionalPut { found, is_surprise } => conditional_put(*found, *is_surprise),
        Finding::UnequalParts => Words::new("parts of an object may have different lengths"),
        Finding::EqualParts => {
            Words::new("all parts of an object but the last must be equally long")
                .both("sends them so")
        }
        Finding::Listings(n) => Words::new(format!(
            "{n} right after writes and deletions have shown what is there"
        )),
        Finding::StaleListings {
            n_missing,
            n_stale,
            of,
        } => Words::new(format!(
            "of {of} right after writes and deletions {n_missing} lacked what was written and \
             {n_stale} had what was deleted"
        ))
        .narhaul("sweeping is not safe here: it rests on listings that show what is there")
        .nix("does not list")
        .action("do not sweep this cache; see whether the server has a consistent mode"),
        _ => return None,
    })
}

fn conditional_put(found: ConditionalPut, is_surprise: bool) -> Words {
    let words = Words::new(match found {
        ConditionalPut::Atomic => "of many at once exactly one wins",
        ConditionalPut::Racy => "one that comes later is refused, but of many at once several win",
        ConditionalPut::Ignored => "`If-None-Match` is not heeded, and nobody is told",
        ConditionalPut::Refused => "`If-None-Match` is refused",
        ConditionalPut::Unknown => "nobody won, which says nothing",
    });
    let words = words.nix("does not use them");
    if is_surprise {
        return words
            .narhaul("goes by atomic ones with this server: two first copies may write `nix-cache-info` over each other")
            .action("please report this server and its version");
    }
    words.narhaul(match found {
        ConditionalPut::Atomic => "`nix-cache-info` is never written over another's",
        ConditionalPut::Racy
        | ConditionalPut::Ignored
        | ConditionalPut::Refused
        | ConditionalPut::Unknown => {
            "does without: what it writes twice is the same bytes, or has a name of its own"
        }
    })
}

fn deletions(finding: &Finding) -> Option<Words> {
    Some(match finding {
        Finding::Deletes => Words::new("what is deleted is gone"),
        Finding::MayNotDelete => Words::new("these credentials may not delete")
            .narhaul("a copy works and leaves its intents behind; a sweep cannot run; the rest about writes was not tried")
            .nix("never deletes")
            .action("give a sweeper's key `s3:DeleteObject`; a writer's needs it below `narhaul/` alone"),
        Finding::DeletesNothing => Words::new("what was deleted is still there")
            .narhaul("sweeping is not safe here, and frees nothing")
            .nix("never deletes"),
        Finding::BatchDeletes { is_crc32_enough } => Words::new(if *is_crc32_enough {
            "many in one request, with a newer checksum alone too"
        } else {
            "many in one request, but only with `Content-MD5`"
        })
        .narhaul("sends `Content-MD5`, except to AWS"),
        Finding::NoBatchDeletes(error) => {
            Words::new(format!("many in one request are refused: {}", told(error)))
                .narhaul("cannot sweep this cache")
                .nix("never deletes")
        }
        Finding::NoFencedDeletes(error) => Words::new(format!(
            "deletions that are signed in the query, for a minute, are refused: {}",
            told(error)
        ))
        .narhaul("cannot sweep this cache: late deletions could not be kept out")
        .nix("never deletes")
        .action("see whether a proxy in front of the server removes the query"),
        Finding::ConditionalDelete(found) => Words::new(match found {
            ConditionalDelete::Honored => "one that names another entity tag is refused",
            ConditionalDelete::Ignored => "`If-Match` is not heeded, and the object is deleted",
            ConditionalDelete::Refused => "`If-Match` is refused",
            ConditionalDelete::Unknown => "nobody knows",
        })
        .narhaul("does without: deletions are signed for a minute instead")
        .nix("never deletes"),
        _ => return None,
    })
}

fn rest(finding: &Finding, url: &str) -> Option<Words> {
    Some(match finding {
        Finding::NotKnown(_, error) => Words::new(format!("not known: {error}"))
            .action("run `narhaul doctor` again")
            .hint(url, error),
        Finding::LeftOver(names) => Words::new(format!(
            "this examination could not remove {}",
            quoted(names)
        ))
        .both("nobody reads them")
        .action("run `narhaul doctor` with a key that may delete: it removes what is a day old"),
        Finding::Changed { before } => Words::new(format!(
            "the server does something else than on {}",
            Moment(*before)
        ))
        .action("was it changed or updated? what it does now is written down"),
        _ => return None,
    })
}

/// What the server said, or what it means.
fn told(error: &backend::Error) -> String {
    match &error.detail {
        Some(detail) => format!("{} ({detail})", error.kind),
        None => error.kind.to_string(),
    }
}

fn quoted(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// Key names with how often each was seen.
fn keys(names: &BTreeMap<String, u64>) -> String {
    let names: Vec<_> = names
        .iter()
        .map(|(name, n)| format!("`{name}` ({n})"))
        .collect();
    match names.is_empty() {
        true => "nobody".to_owned(),
        false => names.join(", "),
    }
}

/// A span without seconds that nobody wants to know.
fn rough(span: Duration) -> Span {
    let seconds = span.as_secs();
    let unit = match seconds {
        0..120 => 1,
        120..7200 => 60,
        7200..172_800 => 3600,
        _ => 86_400,
    };
    Span(Duration::from_secs((seconds + unit / 2) / unit * unit))
}
