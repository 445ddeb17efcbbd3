//! Findings of facts that were written down, without any server.

use std::time::{Duration, SystemTime};

use super::{
    super::{
        facts::{
            Address, Anonymous, Bucket, Cache, Clocks, Facts, Listings, Login, Missing, Races,
            Sample, Stamps, Top, Writes,
        },
        finding::{Finding, Skew, Topic, Verdict},
    },
    capabilities, judge,
};
use crate::{
    backend::{
        Error, Expiry, Kind, Known, Lifecycle, Noncurrent, Rules, Versioning,
        s3::{CredentialSource, Distrust, Handshake, Provider, Secure},
    },
    ledger::capabilities::{ConditionalDelete, ConditionalPut},
    nix::{cache_info::CacheInfo, cache_url::Scheme, store_path::StoreDir},
};

const DAY: Duration = Duration::from_secs(86_400);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + DAY * 20_000
}

/// A server and a cache that nothing is wrong with.
fn healthy() -> Facts {
    Facts {
        address: Some(Address {
            typed_endpoint: Some("https://s3.example.org".to_owned()),
            scheme: Scheme::Https,
            authority: "s3.example.org".to_owned(),
            is_path_style: true,
            has_prefix: false,
        }),
        contact: Ok(()),
        other_scheme: false,
        handshake: Some(Handshake::Secure(Secure {
            version: "TLS 1.3".to_owned(),
            http: Some("h2".to_owned()),
            n_certificates: 2,
            ends: Some(now() + DAY * 60),
        })),
        login: Some(Login {
            source: CredentialSource::Environment,
            typed_region: None,
            first_region: "us-east-1".to_owned(),
            region: "us-east-1".to_owned(),
            provider: Provider::MinIo,
        }),
        clock: Some(Clocks {
            ours: now(),
            theirs: now(),
        }),
        is_read_only: false,
        bucket: Some(Bucket {
            rules: Some(Ok(Rules {
                lifecycle: Known::Told(Lifecycle {
                    abort_uploads_after: Some(7),
                    ..Lifecycle::default()
                }),
                ..Rules::none()
            })),
            policy: Some(Ok(Known::Told(None))),
            missing: Missing::NotFound,
        }),
        cache: Some(cache()),
        writes: Some(writes()),
        left: Vec::new(),
        before: None,
    }
}

fn cache() -> Cache {
    Cache {
        info: Some(Ok(Some(Ok(CacheInfo {
            store_dir: Some(StoreDir::default()),
            want_mass_query: true,
            priority: Some(40),
        })))),
        store_dir: StoreDir::default(),
        top: Some(Ok(Top {
            n_narinfos: 9,
            ..Top::default()
        })),
        sample: Some(Ok(Sample {
            n_read: 9,
            key_names: [("c-1".to_owned(), 9)].into(),
            n_bodies: 9,
            ..Sample::default()
        })),
        anonymous: Some(Anonymous {
            place: "https://s3.example.org/nix-cache".to_owned(),
            info: Ok(()),
            narinfo: Some(Ok(())),
        }),
    }
}

fn writes() -> Writes {
    Writes {
        put: Some(Ok(true)),
        is_public: Some(false),
        condition: Some(Ok(races(true, &[1, 1]))),
        conditional_delete: Some(Ok(ConditionalDelete::Honored)),
        delete_one: Some(Ok(true)),
        delete_md5: Some(Ok(true)),
        delete_crc32: Some(Ok(true)),
        delete_fenced: Some(Ok(true)),
        unequal_parts: Some(Ok(true)),
        listings: Some(Ok(Listings {
            n_asked: 160,
            ..Listings::default()
        })),
        stamps: Some(Ok(Stamps::default())),
    }
}

fn races(refuses_later: bool, winners: &[usize]) -> Races {
    Races {
        refuses_later,
        n_writers: 16,
        winners: winners.to_vec(),
        is_unsupported: false,
    }
}

fn failed(kind: Kind) -> Error {
    Error::new(kind, "list")
}

/// What is said after one thing was changed, apart from what is said of a healthy cache.
fn new(change: impl FnOnce(&mut Facts)) -> Vec<Finding> {
    let mut facts = healthy();
    let before = judge(&facts);
    change(&mut facts);
    let found = judge(&facts).into_iter();
    found.filter(|one| !before.contains(one)).collect()
}

/// The same where the server cannot be used, so that nothing else was asked.
fn refused(kind: Kind, change: impl FnOnce(&mut Facts)) -> Vec<Finding> {
    new(|facts| {
        facts.contact = Err(failed(kind));
        (facts.bucket, facts.cache, facts.writes) = (None, None, None);
        change(facts);
    })
}

#[test]
fn a_healthy_cache_has_nothing_but_good_findings() {
    let found = judge(&healthy());
    for finding in &found {
        assert_eq!(finding.verdict(), Verdict::Ok, "{finding:?}");
    }
    let topics: Vec<_> = found.iter().map(Finding::topic).collect();
    assert!(topics.is_sorted());
    assert_eq!(found.len(), 23, "{topics:?}");
}

#[test]
fn each_wrong_way_to_a_bucket_has_its_own_finding() {
    let source = CredentialSource::Environment;
    let error = failed(Kind::Credentials);
    let found = refused(Kind::Credentials, |_| ());
    assert_eq!(found, [Finding::BadKey { source, error }]);

    let found = refused(Kind::Denied, |_| ());
    assert_eq!(found, [Finding::NotYours(failed(Kind::Denied))]);

    let found = refused(Kind::NoBucket, |_| ());
    assert_eq!(found, [Finding::NoBucket]);

    let found = refused(Kind::Tls, |facts| {
        facts.handshake = Some(Handshake::Distrusted(Distrust::UnknownIssuer));
    });
    assert!(found.contains(&Finding::Distrusted(Distrust::UnknownIssuer)));

    let found = refused(Kind::Tls, |facts| {
        (facts.clock, facts.handshake) = (None, Some(Handshake::NotTls));
        facts.other_scheme = true;
    });
    let speaks = Scheme::Http;
    assert_eq!(found, [Finding::WrongScheme { speaks }]);

    let found = refused(Kind::Unreachable, |facts| facts.clock = None);
    assert_eq!(found, [Finding::Unreachable(failed(Kind::Unreachable))]);

    let elsewhere = Finding::RegionElsewhere {
        said: "us-east-1".to_owned(),
        region: "garage".to_owned(),
    };
    let found = refused(Kind::Region("garage".to_owned()), |_| ());
    assert_eq!(found, std::slice::from_ref(&elsewhere));
    // The same where the server was followed there.
    let found = new(|facts| {
        let login = facts.login.as_mut().unwrap();
        login.region = "garage".to_owned();
    });
    assert_eq!(found, [elsewhere]);
}

#[test]
fn a_region_that_only_we_know_is_pointed_out() {
    let set = |typed: Option<&str>| {
        new(|facts| {
            let login = facts.login.as_mut().unwrap();
            login.typed_region = typed.map(str::to_owned);
            login.first_region = "eu-1".to_owned();
            login.region = "eu-1".to_owned();
        })
    };
    assert_eq!(set(None), [Finding::RegionUnsaid("eu-1".to_owned())]);
    assert_eq!(set(Some("eu-1")), [Finding::Region("eu-1".to_owned())]);
}

#[test]
fn a_clock_that_is_20_minutes_off_is_a_failure_and_2_minutes_are_a_warning() {
    let turned = |minutes: u64| {
        new(|facts| {
            let clock = facts.clock.as_mut().unwrap();
            clock.ours = clock.theirs + Duration::from_secs(60 * minutes);
        })
    };
    let skew = |minutes: u64| Skew::Behind(Duration::from_secs(60 * minutes));
    let off = |minutes, is_refused| Finding::ClockOff {
        skew: skew(minutes),
        is_refused,
    };
    assert_eq!(turned(2), [off(2, false)]);
    assert_eq!(off(2, false).verdict(), Verdict::Warning);
    assert_eq!(turned(20), [off(20, true)]);
    assert_eq!(off(20, true).verdict(), Verdict::Failure);
    let garage = new(|facts| {
        facts.clock.as_mut().unwrap().ours = now() + Duration::from_secs(1200);
        facts.login.as_mut().unwrap().provider = Provider::Garage;
    });
    assert!(garage.contains(&off(20, false)), "{garage:?}");
    // What such a server refuses is not taken for a server that is away.
    let found = refused(Kind::Unreachable, |facts| {
        facts.clock.as_mut().unwrap().ours = now() + Duration::from_secs(1200);
    });
    assert_eq!(found, [off(20, true)]);
}

#[test]
fn endpoints_that_some_nix_misunderstands_are_pointed_out() {
    let typed = |endpoint: &str| {
        new(|facts| {
            let address = facts.address.as_mut().unwrap();
            address.typed_endpoint = Some(endpoint.to_owned());
            address.authority = endpoint.to_owned();
        })
    };
    let full = |host: &str| format!("https://{host}");
    let host_and_port = Finding::BareHostAndPort {
        full: full("minio:9000"),
    };
    assert_eq!(typed("minio:9000"), [host_and_port]);
    for host in ["s3.example.org", "127.0.0.1:9000", "[::1]:9000"] {
        let bare = Finding::BareEndpoint { full: full(host) };
        assert_eq!(typed(host), [bare]);
    }
    assert_eq!(typed("https://minio:9000"), []);
}

#[test]
fn a_certificate_that_ends_soon_is_a_warning() {
    let found = new(|facts| {
        let Some(Handshake::Secure(secure)) = &mut facts.handshake else {
            unreachable!()
        };
        secure.ends = Some(now() + DAY * 3);
    });
    let (ends, left) = (now() + DAY * 3, DAY * 3);
    assert_eq!(found, [Finding::EndsSoon { ends, left }]);
}

fn with_lifecycle(lifecycle: Lifecycle) -> Vec<Finding> {
    new(|facts| {
        facts.bucket.as_mut().unwrap().rules = Some(Ok(Rules {
            lifecycle: Known::Told(lifecycle),
            ..Rules::none()
        }));
    })
}

#[test]
fn an_expiry_rule_is_a_failure_where_a_sweep_refuses_it() {
    let rule = |prefix: &str| Expiry {
        id: "r".to_owned(),
        prefix: prefix.to_owned(),
        days: Some(30),
        is_enabled: true,
        wants_tags: false,
    };
    let found = |rule: Expiry| {
        with_lifecycle(Lifecycle {
            expiries: vec![rule],
            abort_uploads_after: Some(7),
            ..Lifecycle::default()
        })
    };
    for prefix in ["", "nar/", "narhaul/", "3", "nix-cache"] {
        assert_eq!(found(rule(prefix)), [Finding::Expiry(rule(prefix))]);
    }
    assert_eq!(
        found(rule("log/")),
        [Finding::ExpiryElsewhere(rule("log/"))]
    );
    let (mut off, mut tagged) = (rule(""), rule(""));
    (off.is_enabled, tagged.wants_tags) = (false, true);
    assert_eq!(found(off), []);
    assert_eq!(found(tagged), []);
    assert_eq!(with_lifecycle(Lifecycle::default()), [Finding::UploadsStay]);
}

#[test]
fn versions_that_are_never_freed_are_a_warning() {
    let versions = |noncurrent: Vec<Noncurrent>| {
        new(|facts| {
            facts.bucket.as_mut().unwrap().rules = Some(Ok(Rules {
                lifecycle: Known::Told(Lifecycle {
                    noncurrent,
                    abort_uploads_after: Some(7),
                    ..Lifecycle::default()
                }),
                versioning: Known::Told(Versioning::On),
                has_object_lock: Known::Told(true),
            }));
        })
    };
    let rule = Noncurrent {
        id: String::new(),
        prefix: String::new(),
        days: Some(30),
        is_enabled: true,
    };
    let (is_freed, lock) = (false, Finding::ObjectLock);
    assert_eq!(versions(Vec::new()), [Finding::Versions { is_freed }, lock]);
    let is_freed = true;
    assert_eq!(versions(vec![rule])[0], Finding::Versions { is_freed });
}

#[test]
fn a_policy_that_nobody_may_see_and_a_ledger_that_everybody_may_are_noted() {
    for (policy, finding) in [
        (Known::Denied, Finding::PolicyDenied),
        (Known::Unsupported, Finding::NoPolicies),
        (
            Known::Told(Some("{}".to_owned())),
            Finding::Policy { is_there: true },
        ),
    ] {
        let found = new(|facts| facts.bucket.as_mut().unwrap().policy = Some(Ok(policy)));
        assert_eq!(found, [finding]);
    }
    let found = new(|facts| facts.writes.as_mut().unwrap().is_public = Some(true));
    assert_eq!(found, [Finding::PublicLedger]);
}

#[test]
fn what_the_server_does_with_conditions_is_told_from_races() {
    let found = |seen: Races, provider: Provider| {
        let found = new(|facts| {
            facts.login.as_mut().unwrap().provider = provider;
            facts.writes.as_mut().unwrap().condition = Some(Ok(seen));
        });
        let mut found = found.into_iter();
        found.find_map(|finding| match finding {
            Finding::ConditionalPut { found, .. } => Some((found, finding.verdict())),
            _ => None,
        })
    };
    let racy = races(true, &[1, 3, 1]);
    let odd = races(true, &[1, 0]);
    let refused = Races {
        is_unsupported: true,
        ..Races::default()
    };
    use ConditionalPut as C;
    let garage = Provider::Garage;
    assert_eq!(
        found(races(false, &[]), garage),
        Some((C::Ignored, Verdict::Note))
    );
    assert_eq!(found(racy.clone(), garage), Some((C::Racy, Verdict::Note)));
    assert_eq!(found(refused, garage), Some((C::Refused, Verdict::Note)));
    assert_eq!(found(odd, garage), Some((C::Unknown, Verdict::Note)));
    // narhaul goes by MinIO's being atomic.
    assert_eq!(
        found(racy, Provider::MinIo),
        Some((C::Racy, Verdict::Failure))
    );
}

#[test]
fn who_may_not_write_or_delete_is_told_so_and_nothing_else() {
    let found = new(|facts| {
        facts.writes = Some(Writes {
            put: Some(Err(failed(Kind::Denied))),
            ..Writes::default()
        });
    });
    assert_eq!(found, [Finding::ReadOnlyKey]);
    let found = new(|facts| {
        facts.writes = Some(Writes {
            put: Some(Ok(true)),
            delete_one: Some(Err(failed(Kind::Denied))),
            ..Writes::default()
        });
        facts.left = vec!["narhaul/doctor/x/plain-0".to_owned()];
    });
    let left = Finding::LeftOver(vec!["narhaul/doctor/x/plain-0".to_owned()]);
    assert_eq!(found, [Finding::MayNotDelete, left]);
    // Somebody without credentials is told that those are missing.
    let found = new(|facts| {
        facts.writes = Some(Writes {
            put: Some(Err(failed(Kind::Credentials))),
            ..Writes::default()
        });
    });
    assert_eq!(found, [Finding::ReadOnlyKey]);
}

#[test]
fn deletions_that_a_sweep_needs_and_listings_that_lie_are_failures() {
    let of = |change: fn(&mut Writes)| new(|facts| change(facts.writes.as_mut().unwrap()));
    let error = failed(Kind::Other);
    let found = of(|seen| seen.delete_fenced = Some(Err(failed(Kind::Other))));
    assert_eq!(found, [Finding::NoFencedDeletes(error.clone())]);
    let found = of(|seen| seen.delete_md5 = Some(Err(failed(Kind::Other))));
    assert_eq!(found, [Finding::NoBatchDeletes(error)]);
    let found = of(|seen| seen.delete_crc32 = Some(Err(failed(Kind::Other))));
    let is_crc32_enough = false;
    assert_eq!(found, [Finding::BatchDeletes { is_crc32_enough }]);
    let found = of(|seen| {
        seen.listings = Some(Ok(Listings {
            n_asked: 160,
            n_missing: 2,
            n_stale: 1,
        }));
    });
    let (n_missing, n_stale, of_all) = (2, 1, 160);
    let stale = Finding::StaleListings {
        n_missing,
        n_stale,
        of: of_all,
    };
    assert_eq!(stale.verdict(), Verdict::Failure);
    assert_eq!(found, [stale]);
    let late = Duration::from_secs(90);
    let mut facts = healthy();
    facts.writes.as_mut().unwrap().stamps = Some(Ok(Stamps { largest: late }));
    assert!(judge(&facts).contains(&Finding::StampsOff(late)));
}

#[test]
fn a_question_that_failed_is_no_answer() {
    let error = failed(Kind::TimedOut);
    let found = new(|facts| {
        facts.writes.as_mut().unwrap().listings = Some(Err(error.clone()));
        facts.cache.as_mut().unwrap().top = Some(Err(error.clone()));
    });
    let unknown = |topic| Finding::NotKnown(topic, error.clone());
    assert_eq!(found, [unknown(Topic::TopLevel), unknown(Topic::Listings)]);
}

#[test]
fn signatures_are_judged_by_what_clients_trust() {
    let of = |change: fn(&mut Sample)| {
        new(|facts| {
            let sample = facts.cache.as_mut().unwrap().sample.as_mut();
            change(sample.unwrap().as_mut().unwrap());
        })
    };
    let of_all = 9;
    let found = of(|sample| sample.n_unsigned = 2);
    assert_eq!(found, [Finding::Unsigned { n: 2, of: of_all }]);
    let found = of(|sample| sample.n_forged = 1);
    assert_eq!(found, [Finding::Forged { n: 1, of: of_all }]);
    let found = of(|sample| sample.n_unreadable = 3);
    assert_eq!(found, [Finding::BadNarinfos { n: 3, of: of_all }]);
    let found = of(|sample| sample.n_without_body = 1);
    assert_eq!(found, [Finding::NoBodies { n: 1, of: of_all }]);
    let found = of(|sample| {
        sample.n_not_trusted = 9;
        sample.trusted = vec!["other-1".to_owned()];
    });
    assert!(matches!(&*found, [Finding::NotTrusted { n: 9, .. }]));
    let found = of(|sample| *sample = Sample::default());
    assert_eq!(found, [Finding::NoNarinfos]);
}

#[test]
fn a_description_that_misleads_clients_is_pointed_out() {
    let of = |info: Option<Result<CacheInfo, String>>| {
        new(|facts| facts.cache.as_mut().unwrap().info = Some(Ok(info)))
    };
    assert_eq!(of(None), [Finding::NoCacheInfo]);
    let words = "line 1".to_owned();
    assert_eq!(of(Some(Err(words.clone()))), [Finding::BadCacheInfo(words)]);
    let nix = CacheInfo::parse("StoreDir: /gnu/store\n").unwrap();
    let other = Finding::OtherStore {
        found: "/gnu/store".to_owned(),
        wanted: "/nix/store".to_owned(),
    };
    let found = of(Some(Ok(nix)));
    assert_eq!(found, [other, Finding::NoPriority, Finding::NoMassQuery]);
}

#[test]
fn what_is_remembered_is_compared_with_what_is_found() {
    let mut facts = healthy();
    let before = capabilities(&facts, "MinIO").unwrap();
    assert_eq!(before.conditional_put, ConditionalPut::Atomic);
    facts.before = Some(before);
    assert!(judge(&facts).iter().all(|one| one.topic() != Topic::Change));
    // What was not found out this time is no change.
    facts.writes.as_mut().unwrap().listings = None;
    assert!(judge(&facts).iter().all(|one| one.topic() != Topic::Change));
    facts.writes.as_mut().unwrap().condition = Some(Ok(races(false, &[])));
    let changed = judge(&facts);
    let before = SystemTime::UNIX_EPOCH;
    assert!(changed.contains(&Finding::Changed { before }));
}
