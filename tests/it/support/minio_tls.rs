//! A MinIO of the test's own, with TLS by a certificate authority of its own.
//!
//! The servers that `tests/real/servers.sh` starts speak plain http. This one is started in a test's
//! world, on a free port of loopback, and ends with its value. `openssl` makes the certificates; MinIO's
//! client, which knows the server as `cache`, does what only its administrator can.

use std::{
    fs,
    net::TcpListener,
    process::{Child, Stdio},
    time::Duration,
};

use super::{
    output::Output,
    real::{self, Server},
    world::{Run, World},
};

const ADMIN: (&str, &str) = ("minio-admin", "minio-admin-secret");

/// The running server.
#[derive(Debug)]
pub(crate) struct MinioTls {
    pub(crate) server: Server,
    child: Child,
}

impl MinioTls {
    /// Starts it with no data, and waits until it can be asked.
    pub(crate) fn start(world: &World) -> Self {
        make_certificates(world);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let certs = world.text_path("certs");
        let data = world.text_path("minio");
        let mut command = world
            .program(real::part("minio"))
            .args([
                "server",
                "--certs-dir",
                &certs,
                "--address",
                &address,
                &data,
            ])
            .env("MINIO_ROOT_USER", ADMIN.0)
            .env("MINIO_ROOT_PASSWORD", ADMIN.1)
            .env("MINIO_BROWSER", "off")
            .env("MINIO_UPDATE", "off")
            .env("MINIO_CALLHOME_ENABLE", "off")
            .command();
        let log = fs::File::create(world.path("minio.log")).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let ca = world.path("mc/certs/CAs/ca.pem");
        let server = Server::with_tls(format!("https://{address}"), ADMIN, ca);
        let minio = Self { server, child };
        let ready = minio.with_client(world.program(real::part("mc")));
        // A minute, which only a machine that swaps needs.
        let ready = ready.args(["ready", "cache"]);
        ready.run_for(Duration::from_secs(60)).success();
        minio
    }

    /// A program that knows the server as its administrator does, as `cache`, if it is MinIO's client
    /// or runs that.
    pub(crate) fn with_client<'w>(&self, run: Run<'w>) -> Run<'w> {
        let address = self.server.endpoint.strip_prefix("https://").unwrap();
        let host = format!("https://{}:{}@{address}", ADMIN.0, ADMIN.1);
        run.env("MC_CONFIG_DIR", "mc").env("MC_HOST_cache", host)
    }

    /// One command of MinIO's client.
    #[track_caller]
    pub(crate) fn mc(&self, world: &World, args: &[&str]) -> Output {
        let run = self.with_client(world.program(real::part("mc")));
        run.args(args).run().success()
    }
}

impl Drop for MinioTls {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// An authority where MinIO's client looks for it, and a certificate by it where the server does.
fn make_certificates(world: &World) {
    world.write(
        "certs/names",
        "subjectAltName = IP:127.0.0.1, DNS:localhost\n",
    );
    fs::create_dir_all(world.path("mc/certs/CAs")).unwrap();
    for command in [
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 \
         -subj /CN=authority -keyout ca.key -out mc/certs/CAs/ca.pem",
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
         -subj /CN=server -keyout certs/private.key -out certs/request",
        "x509 -req -in certs/request -CA mc/certs/CAs/ca.pem -CAkey ca.key -CAcreateserial -days 365 \
         -extfile certs/names -out certs/public.crt",
    ] {
        let openssl = world.program("openssl");
        openssl.args(command.split_whitespace()).run().success();
    }
}
