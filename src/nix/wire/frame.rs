//! Frames: what a daemon says before the result of a request.
//!
//! Lines for its log, the beginnings and ends of what it does, and at the end either the last frame,
//! after which the result follows, or an error, after which nothing follows and the next request may be
//! made. Two kinds ask the client for data or give it some; no request that is made here leads to them.
//!
//! Errors have two forms: a message and a number up to version 1.25, and from then on a message with
//! traces. Both have room for places in files, which no version has ever filled: another number than 0
//! there is refused.

use std::{
    fmt,
    io::{Read, Write},
};

use super::{
    Error,
    greeting::Version,
    token::{
        MAX_ITEMS, MAX_MESSAGE_LEN, read_bytes, read_count, read_number, read_word, write_bytes,
        write_number,
    },
};

const NEXT: u64 = 0x6f6c_6d67;
const READ: u64 = 0x6461_7461;
const WRITE: u64 = 0x6461_7416;
const LAST: u64 = 0x616c_7473;
/// What an error begins with. No token of a NAR has this length, so it is one within a NAR too.
pub const ERROR: u64 = 0x6378_7470;
const START: u64 = 0x5354_5254;
const STOP: u64 = 0x5354_4f50;
const RESULT: u64 = 0x5253_4c54;

/// What the only type of error is called.
const ERROR_TYPE: &str = "Error";

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A line of the log.
    Next(String),
    /// The daemon wants this many bytes of data.
    Read(u64),
    /// The daemon gives data.
    Write(Vec<u8>),
    /// The result follows.
    Last,
    /// The request has failed.
    Error(Refusal),
    /// Something begins.
    Start {
        /// The number by which it is known.
        id: u64,
        /// How important it is; 0 is most.
        level: u64,
        /// Which kind of act it is.
        kind: u64,
        /// What it is.
        text: String,
        /// Its details.
        fields: Vec<Field>,
        /// The number of the act that it is part of.
        parent: u64,
    },
    /// Something ends.
    Stop(u64),
    /// Something has got further.
    Result {
        /// The number by which it is known.
        id: u64,
        /// Which kind of step it is.
        kind: u64,
        /// The details.
        fields: Vec<Field>,
    },
}

/// A detail of an act.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// A number.
    Number(u64),
    /// A text.
    Text(String),
}

/// Why a daemon has not done what was asked for, in its own words, which are without colors here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// What went wrong.
    pub message: String,
    /// What was being done, the innermost first.
    pub traces: Vec<String>,
    /// How bad it is: a level, or up to version 1.25 an exit code.
    pub level: u64,
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for trace in self.traces.iter().rev().filter(|trace| !trace.is_empty()) {
            write!(f, "{trace}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Reads all frames of an answer, and gives those to `see` that are only told.
///
/// After `Ok(Ok(()))` the result follows; after `Ok(Err(…))` nothing does, and the next request may be made.
pub fn read_until_last(
    input: &mut impl Read,
    version: Version,
    mut see: impl FnMut(Frame),
) -> Result<Result<(), Refusal>, Error> {
    loop {
        match read_frame(input, version)? {
            Frame::Last => return Ok(Ok(())),
            Frame::Error(refusal) => return Ok(Err(refusal)),
            Frame::Read(_) | Frame::Write(_) => return Err(Error::Data),
            told => see(told),
        }
    }
}

/// Reads one frame.
pub fn read_frame(input: &mut impl Read, version: Version) -> Result<Frame, Error> {
    Ok(match read_number(input)? {
        NEXT => Frame::Next(read_message(input)?),
        READ => Frame::Read(read_number(input)?),
        WRITE => Frame::Write(read_bytes(input, "data", MAX_MESSAGE_LEN)?),
        LAST => Frame::Last,
        ERROR => Frame::Error(read_refusal(input, version)?),
        START => Frame::Start {
            id: read_number(input)?,
            level: read_number(input)?,
            kind: read_number(input)?,
            text: read_message(input)?,
            fields: read_fields(input)?,
            parent: read_number(input)?,
        },
        STOP => Frame::Stop(read_number(input)?),
        RESULT => Frame::Result {
            id: read_number(input)?,
            kind: read_number(input)?,
            fields: read_fields(input)?,
        },
        found => {
            let what = "a frame";
            return Err(Error::Number { what, found });
        }
    })
}

/// Writes one frame.
pub fn write_frame(out: &mut impl Write, version: Version, frame: &Frame) -> Result<(), Error> {
    match frame {
        Frame::Next(line) => {
            write_number(out, NEXT)?;
            write_bytes(out, line.as_bytes())
        }
        Frame::Read(len) => {
            write_number(out, READ)?;
            write_number(out, *len)
        }
        Frame::Write(data) => {
            write_number(out, WRITE)?;
            write_bytes(out, data)
        }
        Frame::Last => write_number(out, LAST),
        Frame::Error(refusal) => write_refusal(out, version, refusal),
        Frame::Start {
            id,
            level,
            kind,
            text,
            fields,
            parent,
        } => {
            for number in [START, *id, *level, *kind] {
                write_number(out, number)?;
            }
            write_bytes(out, text.as_bytes())?;
            write_fields(out, fields)?;
            write_number(out, *parent)
        }
        Frame::Stop(id) => {
            write_number(out, STOP)?;
            write_number(out, *id)
        }
        Frame::Result { id, kind, fields } => {
            for number in [RESULT, *id, *kind] {
                write_number(out, number)?;
            }
            write_fields(out, fields)
        }
    }
}

fn read_refusal(input: &mut impl Read, version: Version) -> Result<Refusal, Error> {
    if version < Version::ERRORS_WITH_TRACES {
        return Ok(Refusal {
            message: read_message(input)?,
            traces: Vec::new(),
            level: read_number(input)?,
        });
    }
    let found = read_word(input, "a type of error")?;
    if found != ERROR_TYPE {
        let wanted = ERROR_TYPE;
        return Err(Error::Word { wanted, found });
    }
    let level = read_number(input)?;
    // A second name of the type, which clients ignore.
    read_word(input, "a type of error")?;
    let message = read_message(input)?;
    read_no_place(input)?;
    let n_traces = read_count(input, "a list of traces", MAX_ITEMS)?;
    let mut traces = Vec::new();
    for _ in 0..n_traces {
        read_no_place(input)?;
        traces.push(read_message(input)?);
    }
    Ok(Refusal {
        message,
        traces,
        level,
    })
}

fn write_refusal(out: &mut impl Write, version: Version, refusal: &Refusal) -> Result<(), Error> {
    let Refusal {
        message,
        traces,
        level,
    } = refusal;
    write_number(out, ERROR)?;
    if version < Version::ERRORS_WITH_TRACES {
        write_bytes(out, message.as_bytes())?;
        return write_number(out, *level);
    }
    write_bytes(out, ERROR_TYPE.as_bytes())?;
    write_number(out, *level)?;
    write_bytes(out, ERROR_TYPE.as_bytes())?;
    write_bytes(out, message.as_bytes())?;
    write_number(out, 0)?;
    write_number(out, traces.len() as u64)?;
    for trace in traces {
        write_number(out, 0)?;
        write_bytes(out, trace.as_bytes())?;
    }
    Ok(())
}

/// Reads that there is no place in a file.
fn read_no_place(input: &mut impl Read) -> Result<(), Error> {
    match read_number(input)? {
        0 => Ok(()),
        found => {
            let what = "a place in a file";
            Err(Error::Number { what, found })
        }
    }
}

fn read_fields(input: &mut impl Read) -> Result<Vec<Field>, Error> {
    let n_fields = read_count(input, "a list of fields", MAX_ITEMS)?;
    let mut fields = Vec::new();
    for _ in 0..n_fields {
        fields.push(match read_number(input)? {
            0 => Field::Number(read_number(input)?),
            1 => Field::Text(read_message(input)?),
            found => {
                let what = "a type of field";
                return Err(Error::Number { what, found });
            }
        });
    }
    Ok(fields)
}

fn write_fields(out: &mut impl Write, fields: &[Field]) -> Result<(), Error> {
    write_number(out, fields.len() as u64)?;
    for field in fields {
        match field {
            Field::Number(number) => {
                write_number(out, 0)?;
                write_number(out, *number)?;
            }
            Field::Text(text) => {
                write_number(out, 1)?;
                write_bytes(out, text.as_bytes())?;
            }
        }
    }
    Ok(())
}

/// Reads text for people, whatever its bytes are, and takes the colors out of it.
fn read_message(input: &mut impl Read) -> Result<String, Error> {
    let bytes = read_bytes(input, "a message", MAX_MESSAGE_LEN)?;
    Ok(without_colors(&String::from_utf8_lossy(&bytes)))
}

/// Takes out the sequences by which terminals are told to change colors, and all other control
/// characters but line breaks and tabs.
fn without_colors(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\x1b' => {
                // `ESC [ 35 ; 1 m`: parameters, then one letter that ends it.
                if characters.next() == Some('[') {
                    characters.find(|c| ('\x40'..='\x7e').contains(c));
                }
            }
            '\n' | '\t' => plain.push(character),
            control if control.is_control() => {}
            _ => plain.push(character),
        }
    }
    plain
}
