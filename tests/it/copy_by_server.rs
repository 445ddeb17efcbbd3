//! Copies between two caches of one server, which copies bodies by itself, or does not.

use std::{collections::BTreeSet, sync::Arc};

use narhaul::{
    backend::{
        Backend, Kind, Limits,
        memory::Memory,
        s3::{self, CredentialChoice, Keys, S3Config},
        wrap::{
            around::{Around, Asked, Attempt},
            count::{Counting, Counts, Verb},
        },
    },
    clock::Clock,
    copy::{self, Options, Report, Request, Warning, Why},
    ledger::Timing,
    nix::{
        cache_url::{Endpoint, Scheme},
        compression::Compression,
        store_path::StorePath,
    },
    plan::recipe::Recipe,
    serve::{self, Copies, Server},
    source::{
        self, Source,
        binary_cache::{BinaryCache, Urls},
        synthetic::Synthetic,
    },
    stop::Stop,
};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

const CLOSURE: &str = "app (200 KiB) -> lib app; lib (100 KiB) -> glibc; glibc (300 KiB)";

/// A server with two buckets, of which the first holds a cache with everybody's paths.
struct Ends {
    server: Server,
    old: Memory,
    new: Memory,
    source: Arc<Synthetic>,
    from: Arc<Counts>,
    to: Arc<Counts>,
}

impl Ends {
    async fn new(closure: &str, copies: Copies) -> Self {
        let config = serve::Config {
            copies,
            ..serve::Config::default()
        };
        let server = Server::start(config).await.unwrap();
        let (old, new) = (
            server.add_memory_bucket("old"),
            server.add_memory_bucket("new"),
        );
        let source = Arc::new(Synthetic::from_text(closure).unwrap());
        let reader: Arc<dyn Source> = Arc::<Synthetic>::clone(&source);
        let filled = copy::run(
            reader,
            Arc::new(old.clone()),
            request(source.all_paths().unwrap(), false),
            Arc::default(),
            Stop::default(),
        );
        assert!(filled.await.unwrap().failures.is_empty());
        Self {
            server,
            old,
            new,
            source,
            from: Arc::default(),
            to: Arc::default(),
        }
    }

    async fn open(&self, bucket: &str) -> Arc<dyn Backend> {
        let mut config = S3Config::new(format!("s3://{bucket}"), bucket);
        config.endpoint = Some(Endpoint {
            scheme: Scheme::Http,
            authority: self.server.address().to_string(),
            base_path: String::new(),
        });
        config.credentials = CredentialChoice::Keys(Keys {
            access_key_id: "narhaul".to_owned(),
            secret_access_key: "narhaul-secret".to_owned(),
        });
        Arc::new(s3::open(config).await.unwrap())
    }

    /// Copies everything from the old bucket to the new one, through what a test puts around either.
    async fn copy_through<F: Backend, T: Backend>(
        &self,
        trusts: bool,
        from: impl FnOnce(Arc<dyn Backend>) -> F,
        to: impl FnOnce(Arc<dyn Backend>) -> T,
    ) -> Report {
        let from = from(self.open("old").await);
        let from = Counting::new(Arc::new(from), Arc::clone(&self.from));
        let to = Counting::new(Arc::new(to(self.open("new").await)), Arc::clone(&self.to));
        let cache = BinaryCache::open(Arc::new(from), Urls::Keys, 8, None)
            .await
            .unwrap();
        let request = request(self.source.all_paths().unwrap(), trusts);
        let copied = copy::run(
            Arc::new(cache),
            Arc::new(to),
            request,
            Arc::default(),
            Stop::default(),
        );
        copied.await.unwrap()
    }

    async fn copy(&self, trusts: bool) -> Report {
        let plain = |backend| Counting::new(backend, Arc::default());
        self.copy_through(trusts, plain, plain).await
    }

    /// Whether both buckets have the same bodies, all written as bodies are.
    fn are_alike(&self) -> bool {
        let bodies = |memory: &Memory| -> BTreeSet<(Vec<u8>, Option<String>)> {
            let names = memory.names().into_iter();
            let stored = names
                .filter(|name| name.starts_with("nar/"))
                .map(|name| memory.stored(&name).unwrap());
            let told =
                stored.map(|stored| (stored.body.to_vec(), stored.options.content_type.clone()));
            told.collect()
        };
        bodies(&self.old) == bodies(&self.new)
    }

    fn asked(&self, counts: &Counts, verb: Verb) -> u64 {
        counts.read(verb).requests
    }
}

fn request(roots: Vec<StorePath>, trust_source: bool) -> Request {
    Request {
        roots,
        keys: Vec::new(),
        recipe: Recipe::new(Compression::None, None).unwrap(),
        memory: 512 << 20,
        n_threads: 2,
        n_requests: 8,
        group: "test".parse().unwrap(),
        run_id: "run1".to_owned(),
        clock: Clock::system(),
        timing: Timing::default(),
        upstreams: Vec::new(),
        options: Options {
            trust_source,
            allow_unsigned: true,
            ..Options::default()
        },
    }
}

#[test]
fn a_trusted_body_does_not_leave_its_server() {
    runtime().block_on(async {
        let ends = Ends::new(CLOSURE, Copies::Made).await;
        let report = ends.copy(true).await;
        assert!(report.failures.is_empty(), "{:?}", report.failures);
        assert_eq!((report.n_published, report.n_bodies), (3, 0));
        assert_eq!(report.by_server.0, 3);
        assert!(ends.are_alike());
        assert_eq!(
            ends.asked(&ends.from, Verb::Get),
            1 + 3,
            "cache info and narinfos"
        );
        assert_eq!(ends.asked(&ends.from, Verb::Head), 3);
        assert_eq!(ends.asked(&ends.to, Verb::Copy), 3);
        assert!(
            report
                .warnings
                .iter()
                .all(|warning| *warning == Warning::WroteCacheInfo)
        );
    });
}

#[test]
fn what_is_to_be_looked_into_is_read_and_not_sent() {
    runtime().block_on(async {
        let ends = Ends::new(&format!("{CLOSURE}; big (9 MiB) -> app"), Copies::Made).await;
        let report = ends.copy(false).await;
        assert!(report.failures.is_empty(), "{:?}", report.failures);
        assert_eq!((report.n_bodies, report.by_server.0), (0, 4));
        assert!(ends.are_alike());
        assert_eq!(ends.asked(&ends.to, Verb::Copy), 4);
        assert_eq!(ends.asked(&ends.to, Verb::Begin), 0);
        assert!(
            ends.from.read(Verb::Get).bytes > 600 << 10,
            "bodies were read"
        );
    });
}

#[test]
fn a_body_that_is_not_what_it_should_be_is_not_copied_by_anybody() {
    runtime().block_on(async {
        let ends = Ends::new("app (100 KiB)", Copies::Made).await;
        let name = ends
            .old
            .names()
            .into_iter()
            .find(|name| name.starts_with("nar/"))
            .unwrap();
        let mut body = ends.old.stored(&name).unwrap().body.to_vec();
        *body.last_mut().unwrap() ^= 1;
        ends.old.plant(&name, body);
        let report = ends.copy(false).await;
        assert!(matches!(report.failures[0].why, Why::OtherBody { .. }));
        // Of one that is believed, the length is all that is compared.
        ends.old.plant(&name, "short");
        let report = ends.copy(true).await;
        assert!(matches!(report.failures[0].why, Why::OtherBody { .. }));
        assert_eq!(ends.asked(&ends.to, Verb::Copy), 0);
        assert!(!ends.new.names().iter().any(|name| name.starts_with("nar/")));
    });
}

#[test]
fn a_server_that_does_not_copy_is_sent_the_bodies_with_a_word() {
    for copies in [Copies::Unknown, Copies::Denied, Copies::FailingLate] {
        for trusts in [true, false] {
            runtime().block_on(async {
                let ends = Ends::new(&format!("{CLOSURE}; big (9 MiB) -> app"), copies).await;
                let report = ends.copy(trusts).await;
                assert!(report.failures.is_empty(), "{:?}", report.failures);
                assert_eq!((report.n_bodies, report.by_server.0), (4, 0));
                assert!(ends.are_alike());
                let is_told = |warning: &&Warning| matches!(warning, Warning::NoServerCopies(_));
                assert_eq!(report.warnings.iter().filter(is_told).count(), 1);
                // Those that were under way together; nobody asks again after an answer.
                assert!(ends.asked(&ends.to, Verb::Copy) <= 4);
            });
        }
    }
}

/// Meddles with the old cache behind each look at a body.
#[derive(Debug)]
struct Behind {
    inner: Arc<dyn Backend>,
    memory: Memory,
    /// What is put there; nothing takes the body away.
    body: Option<&'static str>,
}

impl Around for Behind {
    fn inner(&self) -> &dyn Backend {
        &*self.inner
    }

    async fn around<'a, T: Send + 'a>(
        &'a self,
        asked: Asked<'a>,
        attempt: impl Attempt<'a, T> + 'a,
    ) -> Result<T, narhaul::backend::Error> {
        let answer = attempt().await;
        if asked.verb == Verb::Head {
            match self.body {
                Some(body) => self.memory.plant(asked.name, body),
                None => {
                    self.memory.remove(asked.name);
                }
            }
        }
        answer
    }
}

#[test]
fn a_body_that_changes_or_goes_after_the_look_is_not_copied() {
    for (body, closure) in [
        (Some("another"), "app"),
        (None, "app"),
        (None, "app (9 MiB)"),
    ] {
        runtime().block_on(async {
            let ends = Ends::new(closure, Copies::Made).await;
            let memory = ends.old.clone();
            let from = |inner| Behind {
                inner,
                memory,
                body,
            };
            let to = |backend| Counting::new(backend, Arc::default());
            let report = ends.copy_through(true, from, to).await;
            let is_why = match (&report.failures[0].why, body) {
                (Why::OtherBody { .. }, Some(_)) => true,
                (Why::Source(error), None) => {
                    matches!(&**error, source::Error::Cache { source, .. } if source.kind == Kind::NotFound)
                }
                _ => false,
            };
            assert!(is_why, "{:?}", report.failures[0].why);
            assert!(!ends.new.names().iter().any(|name| name.starts_with("nar/")));
            assert!(
                report
                    .warnings
                    .iter()
                    .all(|warning| *warning == Warning::WroteCacheInfo)
            );
        });
    }
}

/// Takes little in one request.
#[derive(Debug)]
struct Narrow(Arc<dyn Backend>);

impl Around for Narrow {
    fn inner(&self) -> &dyn Backend {
        &*self.0
    }

    fn limits_around(&self) -> Limits {
        Limits {
            max_put_size: 1 << 20,
            ..self.0.limits()
        }
    }

    async fn around<'a, T: Send + 'a>(
        &'a self,
        _: Asked<'a>,
        attempt: impl Attempt<'a, T> + 'a,
    ) -> Result<T, narhaul::backend::Error> {
        attempt().await
    }
}

#[test]
fn what_one_request_cannot_copy_is_copied_in_parts() {
    for (copies, n_by_server) in [(Copies::Made, 1), (Copies::Unknown, 0)] {
        runtime().block_on(async {
            let ends = Ends::new("app (9 MiB)", copies).await;
            let from = |backend| Counting::new(backend, Arc::default());
            let report = ends.copy_through(true, from, Narrow).await;
            assert!(report.failures.is_empty(), "{:?}", report.failures);
            assert_eq!(report.by_server.0, n_by_server);
            assert_eq!(ends.asked(&ends.to, Verb::CopyPart), 1);
            assert!(ends.are_alike());
            assert!(ends.new.unfinished("").is_empty());
        });
    }
}

#[test]
fn who_may_not_read_the_origin_has_it_copied_by_nobody() {
    runtime().block_on(async {
        let ends = Ends::new("app", Copies::Made).await;
        let policy = serde_json::json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Action": ["s3:*"],
                "Resource": ["arn:aws:s3:::new", "arn:aws:s3:::new/*"],
            }],
        });
        let name = ends
            .old
            .names()
            .into_iter()
            .find(|name| name.starts_with("nar/"))
            .unwrap();
        let key = narhaul::nix::object_key::ObjectKey::parse(&name).unwrap();
        let (old, new) = (ends.open("old").await, ends.open("new").await);
        let etag = old.head(&key).await.unwrap().etag.unwrap();
        let origin = old.origin(&key, &etag).unwrap();
        new.copy(&key, &origin, &narhaul::backend::PutOptions::default())
            .await
            .unwrap();
        ends.server.restrict_key(Some(&policy.to_string())).unwrap();
        let denied = new
            .copy(&key, &origin, &narhaul::backend::PutOptions::default())
            .await;
        assert_eq!(denied.unwrap_err().kind, Kind::Denied);
    });
}
