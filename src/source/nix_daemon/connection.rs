//! One connection to a daemon: questions go out, answers come in, in the same order.
//!
//! A question may be asked before the answer to the one before has come; the daemon takes them one by one.
//! After a failure of the connection itself nothing more is to be asked by it.
//!
//! Not here: what is asked.

use std::{
    io::{self, BufReader, BufWriter, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use crate::{
    nix::wire::{
        self, Op,
        frame::{Frame, Refusal, read_until_last},
        greeting::{Greeting, Version, greet},
        token::write_number,
    },
    source::Error,
};

/// How long a daemon may be silent. Chosen: before it answers, an old one waits for the end of a garbage
/// collection, and a new one for the deletion of one path; who is silent for longer hangs.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// How long a daemon may be silent before it has greeted us: it starts a process for that, and no more.
const PATIENCE_AT_FIRST: Duration = Duration::from_secs(60);

/// What is read at a time. Chosen: NARs come this way too, and larger pieces are not faster on a socket.
const BUFFER_LEN: usize = 64 * 1024;

/// One connection.
pub(super) struct Connection {
    pub(super) input: BufReader<UnixStream>,
    out: BufWriter<UnixStream>,
    greeting: Greeting,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Fault {
    /// The daemon will not, or cannot.
    Refused(Refusal),
    /// The connection, or what came through it, is broken.
    Wire(wire::Error),
}

impl From<wire::Error> for Fault {
    fn from(error: wire::Error) -> Self {
        Self::Wire(error)
    }
}

impl Fault {
    /// Makes it an error of the source: the daemon did not `act`.
    pub(super) fn into_error(self, socket: &Path, act: &str) -> Error {
        let source: Box<dyn std::error::Error + Send + Sync> = match self {
            Self::Refused(refusal) => Box::new(refusal),
            // A timeout of the socket, which the system calls "temporarily unavailable".
            Self::Wire(wire::Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                Box::new(wire::Error::Io(io::ErrorKind::TimedOut.into()))
            }
            Self::Wire(error) => Box::new(error),
        };
        Error::Daemon {
            socket: socket.to_owned(),
            act: act.to_owned(),
            source,
        }
    }
}

impl Connection {
    /// Connects to the daemon that listens at `socket`, and greets it.
    pub(super) fn open(socket: &Path) -> Result<Self, Error> {
        let connect = || {
            let stream = UnixStream::connect(socket)?;
            stream.set_read_timeout(Some(PATIENCE_AT_FIRST))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok((stream.try_clone()?, stream))
        };
        let (out, stream) = connect().map_err(|source| Error::Connect {
            socket: socket.to_owned(),
            source,
        })?;
        Self::begin_talk(out, stream).map_err(|fault| match fault {
            Fault::Wire(wire::Error::Io(error)) if has_hung_up(&error) => Error::Shut {
                socket: socket.to_owned(),
                source: Box::new(error),
            },
            other => other.into_error(socket, "let us in"),
        })
    }

    fn begin_talk(out: UnixStream, mut stream: UnixStream) -> Result<Self, Fault> {
        let greeting = greet(&mut stream, Version::NEWEST)?;
        let version = greeting.version;
        tracing::debug!(%version, nix = greeting.nix_version, trusted = greeting.is_trusted, "connected to the daemon");
        let mut connection = Self {
            input: BufReader::with_capacity(BUFFER_LEN, stream),
            out: BufWriter::new(out),
            greeting,
        };
        connection.hear()?;
        let input = connection.input.get_ref();
        input
            .set_read_timeout(Some(PATIENCE))
            .map_err(wire::Error::Io)?;
        Ok(connection)
    }

    /// Returns what the daemon said of itself.
    pub(super) const fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    /// Asks something; it goes out at the next [`Self::send`] or [`Self::end`].
    pub(super) fn begin(
        &mut self,
        op: Op,
        arguments: impl FnOnce(&mut BufWriter<UnixStream>) -> Result<(), wire::Error>,
    ) -> Result<(), Fault> {
        write_number(&mut self.out, op.number())?;
        Ok(arguments(&mut self.out)?)
    }

    /// Sends what was asked.
    pub(super) fn send(&mut self) -> Result<(), Fault> {
        Ok(self.out.flush().map_err(wire::Error::Io)?)
    }

    /// Hears an answer up to its last frame, after which its result is to be read.
    pub(super) fn hear(&mut self) -> Result<(), Fault> {
        let heard = read_until_last(
            &mut self.input,
            self.greeting.version,
            |frame| match frame {
                Frame::Next(text) | Frame::Start { text, .. } if !text.is_empty() => {
                    tracing::debug!(text, "the daemon says");
                }
                _progress => {}
            },
        );
        heard?.map_err(Fault::Refused)
    }

    /// Sends the one question that was asked, and returns the result that `read` reads.
    pub(super) fn end<T>(
        &mut self,
        read: impl FnOnce(&mut BufReader<UnixStream>) -> Result<T, wire::Error>,
    ) -> Result<T, Fault> {
        self.send()?;
        self.hear()?;
        Ok(read(&mut self.input)?)
    }
}

/// Returns whether the other side ended the connection: so it does to whom it does not want to speak to.
fn has_hung_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}
