//! `narhaul doctor` as a person meets it: the embedded server in each of its modes, each wrong set-up,
//! and that nothing stays. Real servers are in `doctor_real`.

use std::{
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::Arc,
    thread,
    time::Duration,
};

use narhaul::{
    backend::{
        Backend, Error, Expiry, Kind, Known, Lifecycle, Rules, Versioning,
        memory::{Memory, Modes},
        s3::{self, CaBundle, CredentialChoice, Distrust, Handshake, S3Config},
        wrap::{
            around::{Around, Asked, Attempt},
            count::Verb,
        },
    },
    clock::Clock,
    ledger::capabilities::{Capabilities, ConditionalPut},
    nix::{
        cache_url::{Endpoint, Scheme},
        object_key::ObjectKey,
    },
    serve::{Conditional, Config, Faults, Server, Skew},
};

use crate::support::{output::Output, world::World};

/// A server, and a world whose programs have its key.
struct Clinic {
    world: World,
    config: Config,
    server: Server,
    memory: Memory,
}

impl Clinic {
    async fn new(config: Config) -> Self {
        let server = Server::start(config.clone()).await.unwrap();
        let memory = server.add_memory_bucket("nix-cache");
        Self {
            world: World::new(),
            config,
            server,
            memory,
        }
    }

    /// The same with something in front of the bucket.
    async fn behind(wrap: impl FnOnce(Memory) -> Arc<dyn Backend>) -> Self {
        let clinic = Self::new(Config::default()).await;
        let wrapped = wrap(clinic.memory.clone());
        clinic.server.add_bucket("nix-cache", wrapped);
        clinic
    }

    fn url(&self) -> String {
        format!("s3://nix-cache?endpoint={}", self.server.endpoint())
    }

    fn narhaul(&self, args: &[&str]) -> Output {
        let keys = (&*self.config.access_key, &*self.config.secret_key);
        self.narhaul_as(keys, args)
    }

    fn narhaul_as(&self, (key, secret): (&str, &str), args: &[&str]) -> Output {
        let run = self.world.narhaul(args);
        let run = run
            .env("AWS_ACCESS_KEY_ID", key)
            .env("AWS_SECRET_ACCESS_KEY", secret);
        // The server's tasks need a thread of their own meanwhile.
        tokio::task::block_in_place(|| run.run())
    }

    /// Makes the bucket a cache with one signed path.
    fn fill(&self) {
        self.narhaul(&["init", "--quiet", &self.url()]).success();
        self.world.write("hello/file", "hello");
        let args = ["copy", "--quiet", "--add", "hello", "--to", &self.url()];
        self.narhaul(&args).success();
    }

    fn doctor(&self, args: &[&str]) -> Output {
        let url = self.url();
        self.narhaul(&[&["doctor", &url], args].concat())
    }

    /// Fails if an examination has left anything but its result.
    #[track_caller]
    fn is_tidy(&self) {
        let names = self.memory.names().into_iter();
        let left: Vec<_> = names.filter(|name| name.contains("doctor")).collect();
        assert_eq!(left, Vec::<String>::new());
        assert_eq!(self.memory.unfinished(""), []);
    }
}

/// The findings that are worse than "ok", a line each.
#[track_caller]
fn findings(output: &Output) -> String {
    let mut lines = String::new();
    for line in output.stdout.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        if event["event"] == "finding" && event["verdict"] != "ok" {
            let text = |name: &str| event[name].as_str().unwrap().to_owned();
            writeln!(
                lines,
                "{} {}: {}",
                text("verdict"),
                text("topic"),
                text("seen")
            )
            .unwrap();
        }
    }
    writeln!(lines, "exit {}", output.code.unwrap()).unwrap();
    crate::support::output::redact(&lines, &output.folder)
}

fn capabilities(memory: &Memory) -> Capabilities {
    let stored = memory.stored("narhaul/capabilities").unwrap();
    Capabilities::decode(&stored.body).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_is_well_is_told_so_and_nothing_stays_behind() {
    let clinic = Clinic::new(Config {
        allows_anonymous_reads: true,
        ..Config::default()
    })
    .await;
    clinic.fill();
    let before = clinic.memory.names();
    insta::assert_snapshot!(clinic.doctor(&[]).text(), @r"
    --- stdout
    server                 ok       an S3 server answers
    TLS                    note     there is no TLS
                                    narhaul: bodies and narinfos are protected by hashes and signatures, requests by theirs
                                    Nix: the same; who listens sees what is fetched, and an unsigned cache can be forged on the way
    address                ok       the bucket's name is in the path
    credentials            ok       from the environment
    region                 ok       `us-east-1`
    clock                  ok       the server's clock and ours agree
    missing keys           ok       a key that cannot exist is answered with 404
    lifecycle              ok       no rule removes what a cache needs by its age
    unfinished uploads     ok       are dropped after 7 d
    versioning             ok       what is deleted or overwritten is not kept
    policy                 ok       the bucket has none
    nix-cache-info         ok       priority 40
    top level              ok       1 narinfo, and nothing that is no cache's
    signatures             ok       none is needed; 1 content-addressed
    bodies                 ok       all of 1 that were asked for are there
    anonymous reads        ok       by `http://127.0.0.1:[PORT]/nix-cache`
    anonymous reads        note     everybody can read narhaul's own files below `narhaul/` too
                                    narhaul: they name groups, pins, store paths and times, and no secrets
                                    to do: where the server knows policies, let everybody read Nix's objects alone
    writes                 ok       what is written is read back
    conditional writes     ok       of many at once exactly one wins
    deletions              ok       what is deleted is gone
    batch deletions        ok       many in one request, with a newer checksum alone too
    conditional deletions  note     `If-Match` is not heeded, and the object is deleted
                                    narhaul: does without: deletions are signed for a minute instead
                                    Nix: never deletes
    parts                  ok       parts of an object may have different lengths
    listings               ok       160 right after writes and deletions have shown what is there
    --- stderr
    `s3://nix-cache`: 21 ok, 3 notes
    --- exit 0
    ");
    clinic.is_tidy();
    let kept = capabilities(&clinic.memory);
    assert_eq!(kept.conditional_put, ConditionalPut::Atomic);
    assert_eq!(kept.lists_what_is_there, Some(true));
    clinic.memory.remove("narhaul/capabilities");
    assert_eq!(clinic.memory.names(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn details_say_what_good_findings_mean_too() {
    let clinic = Clinic::new(Config::default()).await;
    let verbose = clinic.doctor(&["--verbose"]);
    assert!(verbose.says("narhaul: sends `Content-MD5`, except to AWS"));
    let report = clinic.doctor(&["--json"]);
    let report = report.stdout.lines().last().unwrap();
    let report: serde_json::Value = serde_json::from_str(report).unwrap();
    insta::assert_snapshot!(report["capabilities"], @r#"{"conditionalDelete":"ignored","conditionalPut":"atomic","deletesBatches":true,"listsWhatIsThere":true,"takesUnequalParts":true}"#);
    assert_eq!(report["verdict"], "warning");
}

/// Examines an empty server of a kind.
async fn examined(config: Config) -> (Clinic, String) {
    let clinic = Clinic::new(config).await;
    clinic.fill();
    let found = findings(&clinic.doctor(&["--json"]));
    clinic.is_tidy();
    (clinic, found)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_heed_conditions_is_found_out() {
    let (clinic, found) = examined(Config {
        modes: Modes::garage(),
        conditional: Conditional::Ignored,
        region: "garage".to_owned(),
        checks_region: true,
        ..Config::default()
    })
    .await;
    insta::assert_snapshot!(found, @r"
    note TLS: there is no TLS
    warning region: the bucket is in `garage`, and requests said `us-east-1`
    note policy: the server has none
    note anonymous reads: not by `http://127.0.0.1:[PORT]/nix-cache`: access denied (403 AccessDenied)
    note conditional writes: `If-None-Match` is not heeded, and nobody is told
    note conditional deletions: `If-Match` is not heeded, and the object is deleted
    exit 5
    ");
    let kept = capabilities(&clinic.memory);
    assert_eq!(kept.conditional_put, ConditionalPut::Ignored);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_looks_before_it_writes_is_found_out_by_a_race() {
    let (clinic, found) = examined(Config {
        conditional: Conditional::Racy,
        ..Config::default()
    })
    .await;
    insta::assert_snapshot!(found, @r"
    note TLS: there is no TLS
    note anonymous reads: not by `http://127.0.0.1:[PORT]/nix-cache`: access denied (403 AccessDenied)
    note conditional writes: one that comes later is refused, but of many at once several win
    note conditional deletions: `If-Match` is not heeded, and the object is deleted
    exit 0
    ");
    let kept = capabilities(&clinic.memory);
    assert_eq!(kept.conditional_put, ConditionalPut::Racy);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wants_equal_parts_is_found_out() {
    let (clinic, found) = examined(Config {
        modes: Modes::r2(),
        ..Config::default()
    })
    .await;
    insta::assert_snapshot!(found, @r"
    note TLS: there is no TLS
    note policy: the server has none
    note anonymous reads: not by `http://127.0.0.1:[PORT]/nix-cache`: access denied (403 AccessDenied)
    note conditional deletions: `If-Match` is not heeded, and the object is deleted
    note parts: all parts of an object but the last must be equally long
    exit 0
    ");
    assert_eq!(
        capabilities(&clinic.memory).takes_unequal_parts,
        Some(false)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_and_expiry_rules_are_found() {
    let clinic = Clinic::new(Config {
        modes: Modes::versioned(),
        ..Config::default()
    })
    .await;
    clinic.fill();
    clinic.memory.set_rules(Rules {
        versioning: Known::Told(Versioning::On),
        lifecycle: Known::Told(Lifecycle {
            expiries: vec![Expiry {
                id: "expire-30".to_owned(),
                prefix: String::new(),
                days: Some(30),
                is_enabled: true,
                wants_tags: false,
            }],
            abort_uploads_after: Some(7),
            ..Lifecycle::default()
        }),
        ..Rules::none()
    });
    insta::assert_snapshot!(findings(&clinic.doctor(&["--json"])), @r"
    note TLS: there is no TLS
    failure lifecycle: the expiry rule `expire-30` removes every object after 30 d by age alone, in use or not
    warning versioning: what is deleted is kept, and no rule ever frees it
    note anonymous reads: not by `http://127.0.0.1:[PORT]/nix-cache`: access denied (403 AccessDenied)
    note conditional deletions: `If-Match` is not heeded, and the object is deleted
    exit 1
    ");
    clinic.is_tidy();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_wrong_or_missing_is_told_from_a_bucket_of_somebody_else() {
    let clinic = Clinic::new(Config::default()).await;
    let url = clinic.url();
    let found =
        |keys: (&str, &str)| findings(&clinic.narhaul_as(keys, &["doctor", &url, "--json"]));
    insta::assert_snapshot!(found(("nobody", "narhaul-secret")), @r"
    note TLS: there is no TLS
    failure credentials: the server does not take the key from the environment: credentials missing or not accepted (403 NotSignedUp: Your account is not signed up)
    exit 1
    ");
    insta::assert_snapshot!(found(("narhaul", "wrong")), @r"
    note TLS: there is no TLS
    failure credentials: the server does not take the key from the environment: credentials missing or not accepted (403 SignatureDoesNotMatch)
    exit 1
    ");
    let run = clinic.world.narhaul(["doctor", &url, "--json"]);
    let without = tokio::task::block_in_place(|| run.run());
    insta::assert_snapshot!(findings(&without), @r"
    note TLS: there is no TLS
    failure credentials: none were found, and the server wants some
    exit 1
    ");
    let foreign = Clinic::behind(|memory| Arc::new(Forbidding(memory, |_| true))).await;
    insta::assert_snapshot!(findings(&foreign.doctor(&["--json"])), @r"
    note TLS: there is no TLS
    failure credentials: the bucket is there, and these credentials may neither list nor read it: access denied (403 AccessDenied)
    exit 1
    ");
    let none = clinic.url().replace("nix-cache", "no-cache");
    insta::assert_snapshot!(findings(&clinic.narhaul(&["doctor", &none, "--json"])), @r"
    failure server: the bucket does not exist
    note TLS: there is no TLS
    exit 1
    ");
}

/// A bucket in which some things may not be done.
#[derive(Debug)]
struct Forbidding(Memory, fn(Verb) -> bool);

impl Around for Forbidding {
    fn inner(&self) -> &dyn Backend {
        &self.0
    }

    async fn around<'a, T: Send + 'a>(
        &'a self,
        asked: Asked<'a>,
        attempt: impl Attempt<'a, T> + 'a,
    ) -> Result<T, Error> {
        if (self.1)(asked.verb) {
            return Err(Error::new(Kind::Denied, asked.verb.words()));
        }
        attempt().await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_may_not_delete_is_told_so_and_leaves_one_object() {
    let clinic =
        Clinic::behind(|memory| Arc::new(Forbidding(memory, |verb| verb == Verb::Delete))).await;
    clinic.fill();
    let found = findings(&clinic.doctor(&["--json"]));
    let names = clinic.memory.names();
    let left: Vec<_> = names
        .iter()
        .filter(|name| name.contains("/doctor/"))
        .collect();
    assert_eq!(left.len(), 1);
    insta::assert_snapshot!(found.replace(left[0], "[KEY]"), @r"
    note TLS: there is no TLS
    note unfinished uploads: no rule drops them
    note anonymous reads: not by `http://127.0.0.1:[PORT]/nix-cache`: access denied (403 AccessDenied)
    warning deletions: these credentials may not delete
    warning left over: this examination could not remove `[KEY]`
    exit 5
    ");
}
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_may_not_write_is_told_so() {
    let clinic =
        Clinic::behind(|memory| Arc::new(Forbidding(memory, |verb| verb == Verb::Put))).await;
    insta::assert_snapshot!(findings(&clinic.doctor(&["--json"])), @r"
    note TLS: there is no TLS
    note unfinished uploads: no rule drops them
    warning nix-cache-info: there is none
    note signatures: there are no narinfos yet
    note writes: these credentials may not write below `narhaul/doctor/`
    exit 5
    ");
    clinic.is_tidy();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_region_is_named_with_the_right_one() {
    let clinic = Clinic::new(Config {
        region: "here".to_owned(),
        checks_region: true,
        ..Config::default()
    })
    .await;
    let url = format!("{}&region=there", clinic.url());
    let found = clinic.narhaul(&["doctor", &url, "--json"]);
    insta::assert_snapshot!(findings(&found), @r"
    note TLS: there is no TLS
    warning region: the bucket is in `here`, and requests said `there`
    note unfinished uploads: no rule drops them
    warning nix-cache-info: there is none
    note signatures: there are no narinfos yet
    note conditional deletions: `If-Match` is not heeded, and the object is deleted
    exit 5
    ");
    let run = clinic.world.narhaul(["doctor", &clinic.url(), "--json"]);
    let run = run
        .env("AWS_REGION", "here")
        .env("AWS_ACCESS_KEY_ID", "narhaul")
        .env("AWS_SECRET_ACCESS_KEY", "narhaul-secret");
    let found = tokio::task::block_in_place(|| run.run());
    insta::assert_snapshot!(findings(&found), @r"
    note TLS: there is no TLS
    warning region: `here`, which the URL does not say
    note unfinished uploads: no rule drops them
    warning nix-cache-info: there is none
    note signatures: there are no narinfos yet
    note conditional deletions: `If-Match` is not heeded, and the object is deleted
    exit 5
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_20_minutes_off_is_recognized_both_ways() {
    for (skew, words) in [
        (Skew::Ahead(Duration::from_secs(1200)), "ahead of"),
        (Skew::Behind(Duration::from_secs(1200)), "behind"),
    ] {
        let config = Config {
            skew,
            ..Config::default()
        };
        let clinic = Clinic::new(config).await;
        let found = findings(&clinic.doctor(&["--json"]));
        let line = format!("failure clock: the server's clock is 20 minutes {words} ours");
        assert!(found.contains(&line), "{found}");
        assert!(!found.contains("failure server"), "{found}");
    }
    // Two minutes are not refused, so everything else is looked at too.
    let clinic = Clinic::new(Config {
        skew: Skew::Ahead(Duration::from_secs(120)),
        ..Config::default()
    })
    .await;
    let found = findings(&clinic.doctor(&["--json"]));
    assert!(found.contains("warning clock: "), "{found}");
    assert!(found.contains("note conditional deletions"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_endpoint_and_the_wrong_scheme_are_recognized() {
    let clinic = Clinic::new(Config::default()).await;
    let port = clinic.server.address().port();
    let found = |query: &str| {
        let url = format!("s3://nix-cache?{query}");
        findings(&clinic.narhaul(&["doctor", &url, "--json", "--read-only"]))
    };
    // Without a scheme it is taken for `https`.
    insta::assert_snapshot!(found(&format!("endpoint=localhost:{port}")), @r"
    failure server: the server speaks http, and was spoken to in TLS
    warning address: the endpoint is `host:port` without a scheme
    exit 1
    ");
    insta::assert_snapshot!(found(&format!("endpoint=localhost:{port}&scheme=http")), @r"
    note TLS: there is no TLS
    warning address: the endpoint is `host:port` without a scheme
    note unfinished uploads: no rule drops them
    warning nix-cache-info: there is none
    note signatures: there are no narinfos yet
    note writes: not tried, for `--read-only`; neither are deletions, conditions, parts and listings
    exit 5
    ");
    let tls = Tls::start();
    insta::assert_snapshot!(found(&format!("endpoint=http://localhost:{}", tls.port)), @r"
    failure server: the server speaks TLS, and was spoken to in http
    note TLS: there is no TLS
    exit 1
    ");
    insta::assert_snapshot!(found(&format!("endpoint=https://localhost:{}", tls.port)), @r"
    failure TLS: nobody who is trusted here has signed the certificate
    exit 1
    ");
    // Nobody is there.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    insta::assert_snapshot!(found(&format!("endpoint=http://{address}")), @r"
    failure server: cannot list: the server could not be reached or failed (Connection refused (os error 111))
    note TLS: there is no TLS
    exit 1
    ");
}

/// Shakes hands by TLS for `localhost`, and says nothing after that.
struct Tls {
    port: u16,
}

impl Tls {
    fn start() -> Self {
        use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
        let certificate = include_bytes!("../vectors/tls/server.pem");
        let key = include_bytes!("../vectors/tls/server.key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate).unwrap()],
                PrivateKeyDer::from_pem_slice(key).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut shaken = Ok((0, 0));
                while session.is_handshaking() && shaken.is_ok() {
                    shaken = session.complete_io(&mut stream);
                }
                if shaken.is_err() {
                    // What Go's servers say to who does not speak TLS.
                    stream
                        .write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nno TLS\n")
                        .ok();
                } else {
                    session.send_close_notify();
                    session.complete_io(&mut stream).ok();
                }
                stream.read_exact(&mut [0]).ok();
            }
        });
        Self { port }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_tells_what_is_spoken_or_why_nobody_is_trusted() {
    let tls = Tls::start();
    let ca = CaBundle {
        origin: "ca.pem".to_owned(),
        pem: include_bytes!("../vectors/tls/ca.pem").to_vec(),
    };
    let shake = async |host: &str, bundles: Vec<CaBundle>| {
        let mut config = S3Config::new("s3://b", "b");
        config.endpoint = Some(Endpoint {
            scheme: Scheme::Https,
            authority: format!("{host}:{}", tls.port),
            base_path: String::new(),
        });
        (config.ca_bundles, config.credentials) = (bundles, CredentialChoice::Anonymous);
        s3::open(config).await.unwrap().handshake().await.unwrap()
    };
    let Handshake::Secure(secure) = shake("localhost", vec![ca.clone()]).await else {
        panic!("not secure");
    };
    assert_eq!(secure.version, "TLS 1.3");
    assert_eq!(secure.http.as_deref(), Some("h2"));
    assert_eq!(secure.n_certificates, 1);
    assert!(secure.ends.unwrap() > Clock::system().now());
    assert_eq!(
        shake("localhost", Vec::new()).await,
        Handshake::Distrusted(Distrust::UnknownIssuer)
    );
    assert_eq!(
        shake("127.0.0.1", vec![ca]).await,
        Handshake::Distrusted(Distrust::WrongName)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hint_about_tls_says_whether_authority_or_scheme_is_wrong() {
    let (clinic, tls) = (Clinic::new(Config::default()).await, Tls::start());
    let hint = |command: &[&str], port: u16| {
        let url = format!("s3://nix-cache?endpoint=https://localhost:{port}&retry-attempts=1");
        let run = clinic.narhaul(&[command, &[&url]].concat()).expect_code(1);
        let hint = run.stderr.rsplit_once("hint: ").unwrap().1;
        hint.trim().to_owned()
    };
    let copy = ["copy", "--unsigned", "--add", ".", "--to"];
    for command in [&["init"][..], &copy] {
        insta::allow_duplicates! {
            insta::assert_snapshot!(hint(command, tls.port), @"name the authority that has signed the server's certificate by `--ca-file FILE`, or by NIX_SSL_CERT_FILE, which Nix obeys too");
            insta::assert_snapshot!(hint(command, clinic.server.address().port()), @"the server speaks no TLS there: write `scheme=http` into the URL");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_examination_that_is_to_write_nothing_writes_nothing() {
    let clinic = Clinic::new(Config::default()).await;
    clinic.fill();
    let before = clinic.memory.names();
    clinic.memory.take_log();
    insta::assert_snapshot!(findings(&clinic.doctor(&["--json", "--read-only"])), @r"
    note TLS: there is no TLS
    note anonymous reads: not by `http://127.0.0.1:[PORT]/nix-cache`: access denied (403 AccessDenied)
    note writes: not tried, for `--read-only`; neither are deletions, conditions, parts and listings
    exit 0
    ");
    let log = clinic.memory.take_log();
    let reads = [
        Verb::Now,
        Verb::Get,
        Verb::Head,
        Verb::List,
        Verb::Rules,
        Verb::Policy,
    ];
    for request in log {
        assert!(reads.contains(&request.verb), "{request:?}");
    }
    assert_eq!(clinic.memory.names(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_examination_that_is_interrupted_leaves_nothing() {
    let clinic = Clinic::new(Config::default()).await;
    clinic.fill();
    clinic.server.set_faults(Faults {
        max_delay: Duration::from_millis(60),
        ..Faults::default()
    });
    let url = clinic.url();
    let run = clinic.world.narhaul(["doctor", &url]);
    let run = run
        .env("AWS_ACCESS_KEY_ID", &clinic.config.access_key)
        .env("AWS_SECRET_ACCESS_KEY", &clinic.config.secret_key);
    let memory = clinic.memory.clone();
    let has_begun = move || memory.names().iter().any(|name| name.contains("/doctor/"));
    let output = tokio::task::block_in_place(|| run.interrupted_when(has_begun));
    assert_eq!(output.code, Some(130), "{}", output.stderr);
    assert!(output.says("was interrupted"), "{}", output.stderr);
    clinic.is_tidy();
    assert!(clinic.memory.stored("narhaul/capabilities").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dead_examination_has_left_goes_after_a_day() {
    let day = Duration::from_secs(86_400);
    let clock = Clock::by_hand(Clock::system().now() - day * 2);
    let clinic = Clinic::new(Config {
        clock: clock.clone(),
        ..Config::default()
    })
    .await;
    let foreign = "narhaul/doctor/not/ours/at/all";
    clinic.memory.plant("narhaul/doctor/old/race-1", "x");
    clinic.memory.plant(foreign, "x");
    clock.turn(day * 2);
    clinic.memory.plant("narhaul/doctor/new/race-1", "x");
    clinic.doctor(&[]);
    let names = clinic.memory.names().into_iter();
    let left: Vec<_> = names.filter(|name| name.contains("/doctor/")).collect();
    assert_eq!(left, ["narhaul/doctor/new/race-1", foreign]);
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_bodies_and_junk_are_looked_at() {
    let clinic = Clinic::new(Config::default()).await;
    clinic.fill();
    let part = "0000000000000000000000000000000";
    let narinfo = |n: usize, name: &str, signature: &str| {
        let text = format!(
            "StorePath: /nix/store/{part}{n}-{name}\nURL: nar/none.nar\nCompression: none\n\
             NarHash: sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s\nNarSize: 120\n\
             References: \n{signature}"
        );
        clinic.memory.plant(&format!("{part}{n}.narinfo"), text);
    };
    narinfo(1, "unsigned", "");
    let signature = "A".repeat(86);
    narinfo(2, "signed", &format!("Sig: c-1:{signature}==\n"));
    clinic.memory.plant(&format!("{part}3.narinfo"), "junk");
    clinic.memory.plant("index.html", "junk");
    clinic.memory.plant("backups/2026/x", "junk");
    let key = "c-1:m0J/oDlLEuG6ezc6MzmpLCN2MYjssO3NMIlr9JdxkTs=";
    let found = clinic.doctor(&["--json", "--read-only", "--trusted-public-keys", key]);
    insta::assert_snapshot!(findings(&found), @r"
    note TLS: there is no TLS
    note top level: 2 names, no cache's: `backups/`, `index.html`
    failure signatures: 1 of 4 narinfos make no sense
    failure signatures: 1 of 4 paths bear a given key's name, and are not signed by that key
    warning signatures: 1 of 4 paths have no signature
    failure bodies: 2 of 3 narinfos name a body that is not there
    note anonymous reads: not by `http://127.0.0.1:[PORT]/nix-cache`: access denied (403 AccessDenied)
    note writes: not tried, for `--read-only`; neither are deletions, conditions, parts and listings
    exit 1
    ");
    let key = key.replace("c-1", "d-1");
    let found = clinic.doctor(&["--read-only", "--trusted-public-keys", &key]);
    assert!(found.says("signed by none of the given keys (`d-1`), but by `c-1` (1)"));
    let found = clinic.doctor(&["--read-only", "--trusted-public-keys", "c-1"]);
    assert_eq!(found.code, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_changed_is_noticed() {
    let clinic = Clinic::new(Config::default()).await;
    clinic.doctor(&[]);
    let mut kept = capabilities(&clinic.memory);
    assert!(!clinic.doctor(&[]).says("since last time"));
    kept.conditional_put = ConditionalPut::Ignored;
    clinic.memory.plant("narhaul/capabilities", kept.encode());
    assert!(clinic.doctor(&[]).says("since last time"));
    // What cannot be read is as good as none.
    clinic
        .memory
        .plant("narhaul/capabilities", "narhaul capabilities 2\n{}\n");
    assert!(!clinic.doctor(&[]).says("since last time"));
    let kept = capabilities(&clinic.memory);
    assert_eq!(kept.conditional_put, ConditionalPut::Atomic);
    assert!(ObjectKey::parse("narhaul/capabilities").is_ok());
}

#[test]
fn a_folder_is_examined_as_far_as_it_goes() {
    let world = World::new();
    let url = format!("file://{}", world.text_path("cache"));
    world.narhaul(["init", "--quiet", &url]).run().success();
    let run = world.narhaul(["doctor", &url]).run();
    insta::assert_snapshot!(run.text(), @r"
    --- stdout
    server          ok       a folder answers
    missing keys    ok       a key that cannot exist is answered with 404
    nix-cache-info  ok       priority 40
    top level       ok       0 narinfos, and nothing that is no cache's
    signatures      note     there are no narinfos yet
    writes          ok       what is written is read back
    deletions       ok       what is deleted is gone
    --- stderr
    `file://[DIR]/cache`: 6 ok, 1 note
    --- exit 0
    ");
    assert!(!world.path("cache/narhaul/capabilities").exists());
}

#[test]
fn a_web_server_is_named_as_where_clients_read() {
    let world = World::new();
    let run = world.narhaul(["doctor", "https://cache.example.org"]).run();
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: cannot examine `https://cache.example.org`: a web server shows no more than what is asked for by name

    hint: name the bucket or folder behind it, and this as where clients read: `narhaul doctor --reader 'https://cache.example.org' 's3://bucket?endpoint=…'`
    --- exit 2
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_clients_read_may_be_elsewhere_than_the_server() {
    let open = Clinic::new(Config {
        allows_anonymous_reads: true,
        ..Config::default()
    })
    .await;
    let closed = Clinic::new(Config::default()).await;
    open.fill();
    closed.fill();
    // As a CDN or a website would: by another address than the one that is written to.
    let (cdn, secret) = (open.server.endpoint(), closed.server.endpoint());
    let found = |reader: &str| {
        let output = closed.doctor(&["--json", "--read-only", "--reader", reader]);
        let lines: Vec<_> = output
            .stdout
            .lines()
            .filter(|line| line.contains("\"anonymous reads\""))
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .map(|event| format!("{} {}", event["verdict"], event["seen"]))
            .collect();
        let text = lines.join("\n");
        text.replace(cdn, "CDN").replace(secret, "SERVER")
    };
    insta::assert_snapshot!(found(&format!("{cdn}/nix-cache")), @r#""ok" "by `CDN/nix-cache`""#);
    insta::assert_snapshot!(found(&format!("{secret}/nix-cache")), @r#""note" "not by `SERVER/nix-cache`: access denied (403)""#);
    insta::assert_snapshot!(found(&format!("{cdn}/nothing")), @r#""note" "not by `CDN/nothing`: not found (404)""#);
    let s3 = closed
        .doctor(&["--reader", "s3://nix-cache"])
        .expect_code(2);
    assert!(
        s3.stderr.contains("is no `http(s)://` URL"),
        "{}",
        s3.stderr
    );
}
