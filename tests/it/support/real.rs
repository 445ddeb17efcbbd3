//! The real parts: S3 servers, Nix clients, a closure of real store paths, and the signing proxy.
//!
//! Servers and clients are named by the environment, as `tests/real/servers.sh` prints it:
//! `NARHAUL_TEST_GARAGE` and `NARHAUL_TEST_MINIO` (`endpoint=…,region=…,key=…,secret=…[,web=…]`) and
//! `NARHAUL_TEST_NIX`. A test that finds its variable missing fails; it never passes for want of a part.
//!
//! [`Bucket`] asks the server by the SDK and not by narhaul's own back end, so that what is looked at
//! was not written by what is judged.

#![expect(
    clippy::disallowed_methods,
    reason = "real parts are named by the environment"
)]

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Credentials, Region, RequestChecksumCalculation,
        ResponseChecksumValidation,
    },
    operation::list_parts::ListPartsOutput,
    primitives::ByteStream,
    types::{
        BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule,
        LifecycleRuleFilter,
    },
};

use super::{
    output::shown,
    world::{Run, World},
};

/// A real S3 server.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) key: String,
    pub(crate) secret: String,
    /// Where anonymous readers ask, if that is not the endpoint: buckets by host name.
    web: Option<String>,
    /// The certificate authority of a server with TLS.
    pub(crate) ca_file: Option<PathBuf>,
}

impl Server {
    pub(crate) fn garage() -> Self {
        Self::from_variable("NARHAUL_TEST_GARAGE")
    }

    pub(crate) fn minio() -> Self {
        Self::from_variable("NARHAUL_TEST_MINIO")
    }

    fn from_variable(variable: &str) -> Self {
        let text = env::var(variable)
            .unwrap_or_else(|_| panic!("{variable} is not set; see `tests/real/servers.sh`"));
        let fields: BTreeMap<_, _> = text
            .split(',')
            .map(|pair| pair.split_once('=').unwrap())
            .collect();
        Self {
            endpoint: fields["endpoint"].to_owned(),
            region: fields["region"].to_owned(),
            key: fields["key"].to_owned(),
            secret: fields["secret"].to_owned(),
            web: fields.get("web").map(|web| (*web).to_owned()),
            ca_file: None,
        }
    }

    /// A server with TLS, that a test has started itself.
    pub(crate) fn with_tls(endpoint: String, (key, secret): (&str, &str), ca: PathBuf) -> Self {
        Self {
            endpoint,
            region: "us-east-1".to_owned(),
            key: key.to_owned(),
            secret: secret.to_owned(),
            web: None,
            ca_file: Some(ca),
        }
    }

    /// The same server, for another user.
    pub(crate) fn as_user(&self, key: &str, secret: &str) -> Self {
        Self {
            key: key.to_owned(),
            secret: secret.to_owned(),
            ..self.clone()
        }
    }

    /// The same server behind a signing proxy, where it is spoken to without TLS.
    pub(crate) fn behind(&self, proxy: &Proxy) -> Self {
        Self {
            endpoint: format!("http://127.0.0.1:{}", proxy.port),
            ca_file: None,
            ..self.clone()
        }
    }

    fn authority(&self) -> &str {
        self.endpoint.strip_prefix("http://").unwrap()
    }

    /// The program in a world that has this server's credentials.
    pub(crate) fn narhaul<'w>(&self, world: &'w World, args: &[&str]) -> Run<'w> {
        world
            .narhaul(args)
            .env("AWS_ACCESS_KEY_ID", &self.key)
            .env("AWS_SECRET_ACCESS_KEY", &self.secret)
    }
}

fn nix_folder() -> PathBuf {
    env::var("NARHAUL_TEST_NIX")
        .unwrap_or_else(|_| panic!("NARHAUL_TEST_NIX is not set; see `tests/real/servers.sh`"))
        .into()
}

/// MinIO, its client or Garage: they lie beside the folder of Nix.
pub(crate) fn part(name: &str) -> PathBuf {
    nix_folder().with_file_name("bin").join(name)
}

/// What a bucket holds: key to ETag and time of the last write, so that a second write shows.
pub(crate) type Listing = BTreeMap<String, (String, String)>;

/// A bucket on a real server; it stays there, since servers are started empty.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) server: Server,
    pub(crate) name: String,
    client: Client,
    runtime: tokio::runtime::Runtime,
}

impl Bucket {
    /// Names a bucket of this run of the tests; nothing is made.
    pub(crate) fn new(server: Server, name: &str) -> Self {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&server.endpoint)
            .region(Region::new(server.region.clone()))
            .credentials_provider(Credentials::new(
                &server.key,
                &server.secret,
                None,
                None,
                "test",
            ))
            .force_path_style(true)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        Self {
            server,
            name: format!("{name}-{}", std::process::id()),
            client: Client::from_conf(config),
            runtime,
        }
    }

    /// The cache's URL for writers.
    pub(crate) fn url(&self) -> String {
        self.url_at(self.server.authority())
    }

    /// The cache's URL through a proxy that signs.
    pub(crate) fn url_by(&self, proxy: &Proxy) -> String {
        self.url_at(&format!("127.0.0.1:{}", proxy.port))
    }

    fn url_at(&self, authority: &str) -> String {
        let (name, region) = (&self.name, &self.server.region);
        format!("s3://{name}?endpoint={authority}&scheme=http&region={region}")
    }

    /// The cache's URL for readers without credentials.
    pub(crate) fn http_url(&self) -> String {
        match self
            .server
            .web
            .as_deref()
            .and_then(|web| web.rsplit_once(':'))
        {
            Some((_, port)) => format!("http://{}.web.localhost:{port}", self.name),
            None => format!("{}/{}", self.server.endpoint, self.name),
        }
    }

    pub(crate) fn create(&self) {
        let request = self.client.create_bucket().bucket(&self.name);
        self.runtime.block_on(request.send()).unwrap();
    }

    /// Lets everybody read, in the way that the server has.
    pub(crate) fn let_everybody_read(&self) {
        if self.server.web.is_some() {
            // Garage has no policies: only its own program opens a bucket.
            let output = Command::new(script("servers.sh"))
                .args(["website", &self.name])
                .output();
            let output = output.unwrap();
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        } else {
            let policy = serde_json::json!({
                "Version": "2012-10-17",
                "Statement": [{
                    "Effect": "Allow",
                    "Principal": {"AWS": ["*"]},
                    "Action": ["s3:GetObject"],
                    "Resource": [format!("arn:aws:s3:::{}/*", self.name)],
                }],
            });
            let request = self.client.put_bucket_policy().bucket(&self.name);
            self.runtime
                .block_on(request.policy(policy.to_string()).send())
                .unwrap();
        }
    }

    /// Lets everybody do these things with the bucket, on a server that has policies.
    pub(crate) fn let_everybody(&self, actions: &[&str]) {
        let bucket = format!("arn:aws:s3:::{}", self.name);
        let policy = serde_json::json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": {"AWS": ["*"]},
                "Action": actions,
                "Resource": [bucket, format!("{bucket}/*")],
            }],
        });
        let request = self.client.put_bucket_policy().bucket(&self.name);
        let request = request.policy(policy.to_string());
        self.runtime.block_on(request.send()).unwrap();
    }

    /// Makes a key of Garage that has these rights on the bucket: the key and its secret.
    pub(crate) fn new_key(&self, rights: &[&str]) -> (String, String) {
        let output = Command::new(script("servers.sh"))
            .args(["key", &self.name])
            .args(rights)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let (key, secret) = told.trim().split_once(' ').unwrap();
        (key.to_owned(), secret.to_owned())
    }

    /// Lets the server remove everything after so many days: what breaks a cache.
    pub(crate) fn expire_after(&self, days: i32) {
        let expiration = LifecycleExpiration::builder().days(days).build();
        let rule = LifecycleRule::builder()
            .id("expire")
            .status(ExpirationStatus::Enabled)
            .filter(LifecycleRuleFilter::builder().prefix("").build())
            .expiration(expiration)
            .build()
            .unwrap();
        let rules = BucketLifecycleConfiguration::builder().rules(rule).build();
        let request = self.client.put_bucket_lifecycle_configuration();
        let request = request
            .bucket(&self.name)
            .lifecycle_configuration(rules.unwrap());
        self.runtime.block_on(request.send()).unwrap();
    }

    pub(crate) fn get(&self, key: &str) -> Vec<u8> {
        let request = self.client.get_object().bucket(&self.name).key(key);
        self.runtime.block_on(async {
            request
                .send()
                .await
                .unwrap()
                .body
                .collect()
                .await
                .unwrap()
                .to_vec()
        })
    }

    pub(crate) fn put(&self, key: &str, body: impl Into<Vec<u8>>) {
        let request = self.client.put_object().bucket(&self.name).key(key);
        let request = request.body(ByteStream::from(body.into()));
        self.runtime.block_on(request.send()).unwrap();
    }

    pub(crate) fn delete(&self, key: &str) {
        let request = self.client.delete_object().bucket(&self.name).key(key);
        self.runtime.block_on(request.send()).unwrap();
    }

    /// Begins an upload that nobody finishes.
    pub(crate) fn begin_upload(&self, key: &str) {
        let request = self.client.create_multipart_upload();
        let request = request.bucket(&self.name).key(key);
        self.runtime.block_on(request.send()).unwrap();
    }

    /// How many uploads of a key are unfinished.
    pub(crate) fn n_uploads(&self, key: &str) -> usize {
        let request = self.client.list_multipart_uploads();
        let request = request.bucket(&self.name).prefix(key);
        let answer = self.runtime.block_on(request.send()).unwrap();
        answer.uploads().len()
    }

    /// The bytes of the parts that unfinished uploads of a key have.
    pub(crate) fn bytes_in_parts(&self, key: &str) -> u64 {
        let request = self.client.list_multipart_uploads();
        let request = request.bucket(&self.name).prefix(key);
        let answer = self.runtime.block_on(request.send()).unwrap();
        let mut bytes = 0;
        for upload in answer.uploads() {
            let request = self.client.list_parts().bucket(&self.name).key(key);
            let request = request.set_upload_id(upload.upload_id().map(str::to_owned));
            // One that is completed meanwhile has none.
            let parts = self.runtime.block_on(request.send());
            let sizes = parts.iter().flat_map(ListPartsOutput::parts);
            bytes += sizes
                .filter_map(|part| u64::try_from(part.size()?).ok())
                .sum::<u64>();
        }
        bytes
    }

    /// All objects but narhaul's own records, which change with every copy.
    pub(crate) fn list(&self) -> Listing {
        let mut listing = self.list_all();
        listing.retain(|key, _| !key.starts_with("narhaul/"));
        listing
    }

    /// All objects.
    pub(crate) fn list_all(&self) -> Listing {
        let mut pages = self
            .client
            .list_objects_v2()
            .bucket(&self.name)
            .into_paginator()
            .send();
        let mut listing = Listing::new();
        self.runtime.block_on(async {
            while let Some(page) = pages.next().await {
                for object in page.unwrap().contents() {
                    let etag = object.e_tag().unwrap().to_owned();
                    let written = format!("{:?}", object.last_modified().unwrap());
                    listing.insert(object.key().unwrap().to_owned(), (etag, written));
                }
            }
        });
        listing
    }

    /// One line of a narinfo, after its key.
    pub(crate) fn field(&self, store_path: &str, field: &str) -> String {
        let narinfo = String::from_utf8(self.get(&narinfo_key(store_path))).unwrap();
        field_of(&narinfo, field)
    }
}

/// One line of a narinfo, after its key.
pub(crate) fn field_of(narinfo: &str, field: &str) -> String {
    let prefix = format!("{field}: ");
    let line = narinfo.lines().find_map(|line| line.strip_prefix(&prefix));
    line.unwrap_or_else(|| panic!("no {field} in\n{narinfo}"))
        .to_owned()
}

/// The object key of a store path's narinfo.
pub(crate) fn narinfo_key(store_path: &str) -> String {
    let base_name = store_path.strip_prefix("/nix/store/").unwrap();
    format!("{}.narinfo", &base_name[..32])
}

/// A running signing proxy, for a client that cannot sign.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    child: Child,
    log: PathBuf,
}

impl Proxy {
    pub(crate) fn start(server: &Server, world: &World) -> Self {
        let log = world.path("proxy.log");
        let mut command = Command::new(script("sigproxy.py"));
        if let Some(ca_file) = &server.ca_file {
            command.env("SSL_CERT_FILE", ca_file);
        }
        let mut child = command
            .args([
                &server.endpoint,
                &server.region,
                &server.key,
                &server.secret,
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        Self {
            port: line.trim().parse().unwrap(),
            child,
            log,
        }
    }

    /// The requests so far that changed something.
    pub(crate) fn writes(&self) -> Vec<String> {
        let log = fs::read_to_string(&self.log).unwrap();
        let is_write = |line: &&str| !line.starts_with("GET ") && !line.starts_with("HEAD ");
        log.lines().filter(is_write).map(str::to_owned).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The proxy ends with its standard input.
        drop(self.child.stdin.take());
        self.child.wait().ok();
    }
}

/// A real Nix client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nix {
    suffix: &'static str,
}

impl Nix {
    pub(crate) const V2_8: Self = Self { suffix: "28" };
    pub(crate) const V2_26: Self = Self { suffix: "226" };
    pub(crate) const V2_34: Self = Self { suffix: "234" };
    pub(crate) const ALL: [Self; 3] = [Self::V2_8, Self::V2_26, Self::V2_34];

    /// One of Nix's commands (`nix`, `nix-store`) in a world.
    pub(crate) fn command<'w>(self, world: &'w World, name: &str, args: &[&str]) -> Run<'w> {
        world.program(self.program(name)).args(args)
    }

    /// The file of one of Nix's commands.
    pub(crate) fn program(self, name: &str) -> PathBuf {
        nix_folder().join(format!("bin/{name}-{}", self.suffix))
    }

    /// The client without the settings that its short program gives it.
    pub(crate) fn without_settings(self, world: &World) -> Run<'_> {
        let wrapper = nix_folder().join(format!("bin/nix-{}", self.suffix));
        let text = fs::read_to_string(wrapper).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("exec "));
        world.program(line.unwrap().strip_suffix(" \"$@\"").unwrap())
    }

    /// What a command prints, one item a line, if it goes well.
    #[track_caller]
    pub(crate) fn lines(self, world: &World, name: &str, args: &[&str]) -> Vec<String> {
        let output = self.command(world, name, args).run().success();
        output.stdout.lines().map(str::to_owned).collect()
    }
}

/// The root of a closure of 302 real store paths, of which one is larger than 64 MiB.
pub(crate) fn closure() -> &'static str {
    static ROOT: OnceLock<String> = OnceLock::new();
    ROOT.get_or_init(|| {
        let output = Command::new(script("closure.sh"))
            .args(["300", "100"])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    })
}

/// The root of a closure of 1,003 store paths: texts, a path of 12 MB, and one that was built.
pub(crate) fn texts(world: &World) -> String {
    let mut seed = 1_u64;
    let large: Vec<u8> = std::iter::repeat_with(|| {
        // Xorshift: numbers that no codec makes smaller.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.to_le_bytes()
    })
    .take(12_000_000 / 8)
    .flatten()
    .collect();
    let large = world.write("large", large);
    let expression = script("texts.nix");
    let link = world.path("texts");
    let [expression, large, link] = [expression, large, link].map(|path| shown(&path));
    let args = [&expression, "--arg", "large", &large, "-o", &link];
    let built = Nix::V2_34.lines(world, "nix-build", &args);
    built[0].clone()
}

/// The store paths of the closure of a root, references first, as the machine's own Nix says.
pub(crate) fn closure_of(world: &World, root: &str) -> Vec<String> {
    Nix::V2_34.lines(world, "nix-store", &["--query", "--requisites", root])
}

/// A file of `tests/real`.
fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/real")
        .join(name)
}
