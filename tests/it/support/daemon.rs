//! A nix-daemon of a test's own: it knows the paths that it is told, and notes what it is asked.
//!
//! It speaks every version of the protocol, refuses what it is told to refuse, and breaks off after so
//! many bytes. What it cannot show is that its words are Nix's: for that there are real daemons.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    sync::{Arc, Condvar, Mutex},
    thread,
};

use narhaul::{
    nix::{
        path_info::PathInfo,
        store_path::{StoreDir, StorePath},
        wire::{
            self,
            frame::{Frame, Refusal, write_frame},
            greeting::{Greeting, Version, welcome},
            record::Record,
            token::{read_number, read_word, read_words, write_bytes, write_list, write_number},
        },
    },
    source::nix_daemon::{Daemon, Endpoint},
};

/// What the daemon knows, does and has been asked.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) says: Greeting,
    /// Valid paths, in full.
    pub(crate) records: BTreeMap<String, Record>,
    pub(crate) nars: BTreeMap<String, Vec<u8>>,
    /// Requests that are refused, by their number; 0 stands for the greeting.
    pub(crate) refused: BTreeMap<u64, Refusal>,
    /// Each connection ends after so many bytes.
    pub(crate) cut_after: Option<usize>,
    /// What was asked, and where connections ended, in order.
    pub(crate) asked: Vec<String>,
}

/// The daemon; it runs until the test's process ends.
#[derive(Debug)]
pub(crate) struct FakeDaemon {
    folder: tempfile::TempDir,
    shared: Arc<Shared>,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Told of everything that is noted.
    noted: Condvar,
}

impl FakeDaemon {
    /// A daemon of a version, which knows nothing yet.
    pub(crate) fn new(version: Version) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = Mutex::new(State {
            says: Greeting {
                version,
                features: Vec::new(),
                nix_version: Some("2.99".to_owned()),
                is_trusted: Some(false),
            },
            records: BTreeMap::new(),
            nars: BTreeMap::new(),
            refused: BTreeMap::new(),
            cut_after: None,
            asked: Vec::new(),
        });
        let noted = Condvar::new();
        let shared = Arc::new(Shared { state, noted });
        let daemon = Self { folder, shared };
        let listener = UnixListener::bind(daemon.endpoint().socket).unwrap();
        let shared = Arc::clone(&daemon.shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, shared) = (stream.unwrap(), Arc::clone(&shared));
                thread::spawn(move || {
                    // However it ends: the client has gone, or the test wanted it cut.
                    serve(stream, &shared).ok();
                    note(&shared, "end".to_owned());
                });
            }
        });
        daemon
    }

    /// Where it listens. There are no files.
    pub(crate) fn endpoint(&self) -> Endpoint {
        Endpoint {
            physical_dir: self.folder.path().join("store"),
            ..Endpoint::at(self.folder.path().join("socket"))
        }
    }

    pub(crate) fn connect(&self) -> Daemon {
        Daemon::connect(&self.endpoint()).unwrap()
    }

    pub(crate) fn add(&self, info: &PathInfo, nar: &[u8]) {
        let dir = StoreDir::default();
        let full = dir.show(&info.path).to_string();
        self.set(|state| {
            state.records.insert(full.clone(), Record::of(info, &dir));
            state.nars.insert(full, nar.to_vec());
        });
    }

    pub(crate) fn set<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.shared.state.lock().unwrap())
    }

    /// What was asked, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.set(|state| state.asked.clone())
    }

    /// Waits until a connection has ended.
    pub(crate) fn wait_for_an_end(&self) {
        let state = self.shared.state.lock().unwrap();
        let is_on = |state: &mut State| !state.asked.contains(&"end".to_owned());
        drop(self.shared.noted.wait_while(state, is_on).unwrap());
    }
}

/// A stream that ends after so many bytes.
struct Cut {
    stream: UnixStream,
    left: Option<usize>,
}

impl Read for Cut {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Cut {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let n = self.left.map_or(data.len(), |left| left.min(data.len()));
        if n == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.left = self.left.map(|left| left - n);
        self.stream.write(&data[..n])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn note(shared: &Shared, what: String) {
    shared.state.lock().unwrap().asked.push(what);
    shared.noted.notify_all();
}

fn serve(stream: UnixStream, shared: &Shared) -> Result<(), wire::Error> {
    let (says, left) = {
        let state = shared.state.lock().unwrap();
        (state.says.clone(), state.cut_after)
    };
    let mut stream = Cut { stream, left };
    let version = welcome(&mut stream, &says)?.version;
    let mut op = 0;
    loop {
        let is_known = answer(&mut stream, shared, version, op)?;
        assert!(is_known, "the client asks for {op}");
        op = read_number(&mut stream)?;
    }
}

/// Reads the arguments of a request and answers it; the greeting's end is request 0.
fn answer(
    stream: &mut Cut,
    shared: &Shared,
    version: Version,
    op: u64,
) -> Result<bool, wire::Error> {
    let (mut path, mut more) = (String::new(), Vec::new());
    if ![0, 23].contains(&op) {
        path = read_word(stream, "a path")?;
    }
    if op == 37 {
        more = read_words(stream, "a signature")?;
    }
    let base = path.rsplit('/').next().unwrap_or_default();
    let base = base.split_once('-').map_or("", |(_, name)| name);
    note(shared, format!("{op} {base}").trim_end().to_owned());
    let mut state = shared.state.lock().unwrap();
    let talk = Frame::Next("as you wish".to_owned());
    write_frame(stream, version, &talk)?;
    if let Some(refusal) = state.refused.get(&op) {
        write_frame(stream, version, &Frame::Error(refusal.clone()))?;
        return Ok(true);
    }
    write_frame(stream, version, &Frame::Last)?;
    match op {
        0 => {}
        11 => write_number(stream, 1)?,
        23 => {
            let paths: Vec<_> = state.records.keys().collect();
            write_list(stream, &paths)?;
        }
        26 => {
            let record = state.records.get(&path);
            write_number(stream, u64::from(record.is_some()))?;
            if let Some(record) = record {
                record.write(stream)?;
            }
        }
        37 => {
            let record = state.records.get_mut(&path).unwrap();
            record.signatures.extend(more);
            write_number(stream, 1)?;
        }
        38 => {
            let Some(nar) = state.nars.get(&path) else {
                // A real daemon, too, has begun before it notices, sends an error and hangs up.
                write_bytes(stream, b"nix-archive-1")?;
                let refusal = Refusal {
                    message: "no such file".to_owned(),
                    ..Refusal::default()
                };
                write_frame(stream, version, &Frame::Error(refusal))?;
                return Err(wire::Error::Data);
            };
            stream.write_all(nar)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Makes the record of a path with a NAR and references.
pub(crate) fn info(path: &StorePath, nar: &[u8], references: &[&StorePath]) -> PathInfo {
    PathInfo {
        path: path.clone(),
        nar_hash: narhaul::nix::hash::NarHash(narhaul::nix::hash::Sha256::of(nar)),
        nar_size: nar.len() as u64,
        references: references.iter().map(|path| (*path).clone()).collect(),
        deriver: None,
        signatures: [].into(),
        ca: None,
    }
}
