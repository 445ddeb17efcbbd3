//! Caches behind web servers: the read half of the contract, broken bodies, redirects, logins.

use std::{ops::Range, sync::Arc, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use narhaul::{
    backend::{
        Backend, Created, Error, Fence, Kind, Limits, ListPage, ListQuery, Object, ObjectMeta,
        Part, PutOptions, Rules, Upload,
        http::{Address, HttpConfig, Login, Web, open},
        memory::Memory,
    },
    nix::object_key::ObjectKey,
    serve::{Config, Fault, Server},
};

use super::{Traits, conformance};
use crate::support::web::{Asked, Bend, WebServer, answer, cut};

fn web(url: &str) -> Web {
    let address = Address::parse(url).unwrap();
    open(HttpConfig::new(url, address)).unwrap()
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::parse(text).unwrap()
}

async fn get(web: &Web, name: &str) -> Result<Bytes, Kind> {
    let object = web.get(&key(name)).await;
    object.map(|object| object.body).map_err(|error| error.kind)
}

/// Reads by the web what is written behind the server.
#[derive(Debug)]
struct Split {
    web: Web,
    memory: Memory,
}

#[async_trait]
impl Backend for Split {
    fn place(&self) -> &str {
        self.web.place()
    }

    fn limits(&self) -> Limits {
        self.memory.limits()
    }

    async fn now(&self) -> Result<SystemTime, Error> {
        self.web.now().await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Object, Error> {
        self.web.get(key).await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, Error> {
        self.web.get_range(key, range).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, Error> {
        self.web.head(key).await
    }

    async fn list(&self, query: &ListQuery) -> Result<ListPage, Error> {
        self.memory.list(query).await
    }

    async fn put(&self, key: &ObjectKey, body: Bytes, options: &PutOptions) -> Result<(), Error> {
        self.memory.put(key, body, options).await
    }

    async fn delete(
        &self,
        keys: &[ObjectKey],
        fence: Option<&Fence>,
    ) -> Result<Vec<(ObjectKey, Error)>, Error> {
        self.memory.delete(keys, fence).await
    }

    async fn begin_upload(&self, key: &ObjectKey, options: &PutOptions) -> Result<Upload, Error> {
        self.memory.begin_upload(key, options).await
    }

    async fn put_part(&self, upload: &Upload, number: u32, body: Bytes) -> Result<Part, Error> {
        self.memory.put_part(upload, number, body).await
    }

    async fn complete_upload(&self, upload: &Upload, parts: &[Part]) -> Result<(), Error> {
        self.memory.complete_upload(upload, parts).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), Error> {
        self.memory.abort_upload(upload).await
    }

    async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>, Error> {
        self.memory.uploads(prefix).await
    }

    async fn parts(&self, upload: &Upload) -> Result<Vec<Part>, Error> {
        self.memory.parts(upload).await
    }

    async fn rules(&self) -> Result<Rules, Error> {
        self.memory.rules().await
    }

    async fn undelete(&self, key: &ObjectKey) -> Result<bool, Error> {
        self.memory.undelete(key).await
    }

    async fn create(&self) -> Result<Created, Error> {
        self.memory.create().await
    }
}

async fn public_server() -> (Server, Web, Memory) {
    let server = Server::start(Config {
        allows_anonymous_reads: true,
        ..Config::default()
    })
    .await
    .unwrap();
    let memory = server.add_memory_bucket("cache");
    let web = web(&format!("{}/cache", server.endpoint()));
    (server, web, memory)
}

#[tokio::test]
async fn what_is_read_by_the_web_keeps_the_contract() {
    let (_server, web, memory) = public_server().await;
    let traits = Traits {
        copies: false,
        keeps_user: true,
        finds_uploads: true,
        has_queries: true,
        ..Traits::default()
    };
    conformance(Arc::new(Split { web, memory }), traits).await;
}

#[tokio::test]
async fn a_web_server_takes_and_lists_nothing() {
    let web = web("http://127.0.0.1:9");
    let options = PutOptions::default();
    let put = web.put(&key("a"), Bytes::new(), &options).await;
    assert_eq!(put.unwrap_err().kind, Kind::Unsupported);
    let list = web.list(&ListQuery::default()).await;
    assert_eq!(list.unwrap_err().kind, Kind::Unsupported);
    let delete = web.delete(&[key("a")], None).await;
    assert_eq!(delete.unwrap_err().kind, Kind::Unsupported);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_gone_on_with() {
    let (server, web, memory) = public_server().await;
    let body: Bytes = (0..500_000_u32).flat_map(u32::to_le_bytes).collect();
    let options = PutOptions::default();
    memory
        .put(&key("nar/x"), body.clone(), &options)
        .await
        .unwrap();
    server.script([Some(Fault::Truncated), Some(Fault::Truncated), None]);
    assert_eq!(get(&web, "nar/x").await, Ok(body.clone()));
    assert_eq!(web.resumed(), 2);
    server.script([Some(Fault::Truncated), None]);
    let part = web.get_range(&key("nar/x"), 1000..1_900_000).await.unwrap();
    assert_eq!(part, body[1000..1_900_000]);
    assert_eq!(web.resumed(), 3);
}

#[tokio::test]
async fn the_rest_of_another_object_is_never_added() {
    let new = [b"new ".repeat(300)].concat();
    let server = WebServer::start(move |asked| match asked.range() {
        None => cut(200, &[("ETag", "\"1\"")], &[b'o'; 1200], 700),
        // It has changed, so all of it comes.
        Some(_) if asked.header("if-range") == Some("\"1\"") => {
            answer(200, &[("ETag", "\"2\"")], &new)
        }
        Some(_) => answer(500, &[], b""),
    });
    let web = web(&server.url());
    assert_eq!(get(&web, "nar/x").await, Err(Kind::Unreachable));
    let range = server.asked()[1].header("range").unwrap().to_owned();
    assert_eq!(range, "bytes=700-");
}

#[tokio::test]
async fn without_a_tag_or_progress_nothing_is_gone_on_with() {
    let server = WebServer::start(|asked| match asked.target.as_str() {
        "/untagged" => cut(200, &[], &[1; 100], 50),
        "/weak" => cut(200, &[("ETag", "W/\"1\"")], &[1; 100], 50),
        _ if asked.range().is_some() => {
            let headers = [("ETag", "\"1\""), ("Content-Range", "bytes 50-99/100")];
            cut(206, &headers, &[1; 50], 0)
        }
        _ => cut(200, &[("ETag", "\"1\"")], &[1; 100], 50),
    });
    let web = web(&server.url());
    for name in ["untagged", "weak", "stuck"] {
        assert_eq!(get(&web, name).await, Err(Kind::Unreachable), "{name}");
    }
    assert_eq!(web.resumed(), 1);
}

#[tokio::test]
async fn a_server_without_ranges_gives_the_beginning_only() {
    let server = WebServer::start(|_| answer(200, &[], b"0123456789"));
    let web = web(&server.url());
    let beginning = web.get_range(&key("x"), 0..4).await.unwrap();
    assert_eq!(beginning, "0123");
    let rest = web.get_range(&key("x"), 4..8).await.unwrap_err();
    assert_eq!(rest.kind, Kind::Unsupported);
    assert_eq!(
        rest.to_string(),
        "cannot get a part of `x`: not supported here (the server gives no parts of objects)"
    );
}

#[tokio::test]
async fn what_a_status_means_is_told_by_its_kind() {
    let server = WebServer::start(|asked| {
        let status = asked.target[1..].parse().unwrap();
        answer(status, &[("Retry-After", "7")], b"<html>")
    });
    let web = web(&server.url());
    for (status, kind) in [
        ("404", Kind::NotFound),
        ("410", Kind::NotFound),
        ("401", Kind::Credentials),
        ("403", Kind::Denied),
        ("429", Kind::Throttled),
        ("500", Kind::Unreachable),
        ("503", Kind::Throttled),
        ("416", Kind::Other),
        ("302", Kind::Malformed),
    ] {
        let error = web.get(&key(status)).await.unwrap_err();
        assert_eq!(error.kind, kind, "{status}");
    }
    let busy = web.head(&key("503")).await.unwrap_err();
    assert_eq!(busy.retry_after.unwrap().as_secs(), 7);
    let nobody = self::web("http://127.0.0.1:9");
    assert_eq!(get(&nobody, "x").await, Err(Kind::Unreachable));
}

#[tokio::test]
async fn redirects_are_followed_and_a_password_stays_at_home() {
    let there = WebServer::start(|_| answer(200, &[], b"body"));
    let target = format!("{}/bodies/x?sig=%2F", there.url());
    let here = WebServer::start(move |asked: &Asked| match asked.target.as_str() {
        "/c/nar/x" => answer(302, &[("Location", "/moved/x")], b""),
        "/moved/x" => answer(307, &[("Location", &target)], b""),
        "/c/circle" => answer(301, &[("Location", "/c/circle")], b""),
        _ => answer(404, &[], b""),
    });
    let address = Address::parse(&format!("{}/c/", here.url())).unwrap();
    let login = Login {
        name: "me".to_owned(),
        password: "secret".to_owned(),
    };
    let config = HttpConfig {
        login: Some(login),
        ..HttpConfig::new("cache", address)
    };
    let web = open(config).unwrap();
    assert_eq!(get(&web, "nar/x").await.unwrap(), "body");
    for asked in here.asked() {
        assert_eq!(asked.header("authorization"), Some("Basic bWU6c2VjcmV0"));
    }
    let there = there.asked();
    assert_eq!(there[0].target, "/bodies/x?sig=%2F");
    assert_eq!(there[0].header("authorization"), None);
    assert_eq!(get(&web, "circle").await, Err(Kind::Malformed));
}

#[tokio::test]
async fn a_folder_that_is_served_with_resets_is_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let body: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(folder.path().join("x"), &body).unwrap();
    let server = WebServer::folder(folder.path().to_owned(), |n, _, len| match (n, len) {
        (1, _) => Bend::Reset,
        // Every answer ends early, until the rest is small.
        (_, 100_000..) => Bend::Cut(90_000),
        _ => Bend::Honest,
    });
    let web = web(&server.url());
    assert_eq!(get(&web, "x").await, Err(Kind::Unreachable));
    assert_eq!(get(&web, "x").await.unwrap(), body);
    assert_eq!(web.resumed(), 4);
}
