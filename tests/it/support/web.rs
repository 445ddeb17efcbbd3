//! A web server that answers each request as a test says, and closes the connection after it.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
};

/// What was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// With its query, percent signs and all.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The first byte that a `Range` header wants, and the last if it says so.
    pub(crate) fn range(&self) -> Option<(usize, Option<usize>)> {
        let (first, last) = self
            .header("range")?
            .strip_prefix("bytes=")?
            .split_once('-')?;
        Some((first.parse().unwrap(), last.parse().ok()))
    }
}

/// Makes an answer of a status, headers and a body with its true length.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    cut(status, headers, body, body.len())
}

/// The same, but all that comes of the body are its first bytes.
pub(crate) fn cut(status: u16, headers: &[(&str, &str)], body: &[u8], len: usize) -> Vec<u8> {
    let lines: String = headers
        .iter()
        .flat_map(|(name, value)| [*name, ": ", *value, "\r\n"])
        .collect();
    let n_bytes = body.len();
    let mut bytes = format!(
        "HTTP/1.1 {status} X\r\nConnection: close\r\n{lines}Content-Length: {n_bytes}\r\n\r\n"
    )
    .into_bytes();
    bytes.extend_from_slice(&body[..len]);
    bytes
}

type Handler = dyn Fn(&Asked) -> Vec<u8> + Send + Sync;

/// A server on a port of its own; it lives as long as the test's process.
pub(crate) struct WebServer {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl WebServer {
    pub(crate) fn start(handler: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (handler, log): (Arc<Handler>, _) = (Arc::new(handler), Arc::clone(&asked));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (handler, log) = (Arc::clone(&handler), Arc::clone(&log));
                thread::spawn(move || serve(stream, &*handler, &log));
            }
        });
        Self { address, asked }
    }

    /// Serves a folder, with ranges and entity tags, each answer as `bend` would have it: it gets the
    /// request's number, the request and the honest answer's body.
    pub(crate) fn folder(
        root: PathBuf,
        bend: impl Fn(usize, &Asked, usize) -> Bend + Send + Sync + 'static,
    ) -> Self {
        let number = Mutex::new(0_usize);
        Self::start(move |asked| {
            let n = {
                let mut number = number.lock().unwrap();
                *number += 1;
                *number
            };
            let path = asked.target.split('?').next().unwrap();
            let Ok(file) = std::fs::read(root.join(path.trim_start_matches('/'))) else {
                return answer(404, &[], b"");
            };
            honest(asked, &file, |len| bend(n, asked, len))
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

/// What becomes of an honest answer.
#[derive(Clone, Copy)]
pub(crate) enum Bend {
    Honest,
    /// Only so many bytes of the body come before the connection is closed.
    Cut(usize),
    /// The connection is closed without an answer.
    Reset,
}

fn honest(asked: &Asked, file: &[u8], bend: impl Fn(usize) -> Bend) -> Vec<u8> {
    let etag = format!("\"{}-{}\"", file.len(), file.first().unwrap_or(&0));
    if asked.method == "HEAD" {
        return cut(200, &[("ETag", &etag)], file, 0);
    }
    let (status, range, body) = match asked.range() {
        Some((first, last)) => {
            let end = last.map_or(file.len(), |last| (last + 1).min(file.len()));
            let range = format!("bytes {first}-{}/{}", end - 1, file.len());
            (206, range, &file[first..end])
        }
        None => (200, "none".to_owned(), file),
    };
    let headers: [(&str, &str); 2] = [("ETag", &etag), ("Content-Range", &range)];
    let headers = if status == 206 {
        &headers[..]
    } else {
        &headers[..1]
    };
    match bend(body.len()) {
        Bend::Honest => answer(status, headers, body),
        Bend::Cut(len) => cut(status, headers, body, len.min(body.len())),
        Bend::Reset => Vec::new(),
    }
}

fn serve(mut stream: TcpStream, handler: &Handler, log: &Mutex<Vec<Asked>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else {
        return;
    };
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let headers = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        })
        .collect();
    let asked = Asked {
        method: method.to_owned(),
        target: target.to_owned(),
        headers,
    };
    log.lock().unwrap().push(asked.clone());
    // A client that has enough closes first.
    stream.write_all(&handler(&asked)).ok();
}
