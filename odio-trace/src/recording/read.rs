//! Reads a recording, a line at a time.

use std::{
    borrow::Cow,
    io::{self, BufRead, BufReader, Read},
};

use flate2::bufread::GzDecoder;
use serde::Deserialize;

use super::{Device, EndMark, Header, LONGEST, LONGEST_OP, MOST_DEVICES, VERSION, WITH_STEPS};
use crate::{
    op::Op,
    output::{summary::Summary, text::printable},
    step::Step,
    writeback::Writeback,
};

/// Why a file cannot be read as a recording.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("this is no recording of odio-trace: {0}")]
    NotOne(&'static str),
    #[error(
        "a newer odio-trace has made this recording: its format is version {0}, this one reads up to {VERSION}"
    )]
    Newer(u64),
    #[error("the recording is damaged: line {line}: {why}")]
    Damaged { line: u64, why: String },
    #[error("the recording was cut off before it says what it is of")]
    NoHeader,
    #[error(transparent)]
    Io(io::Error),
    /// From the one who takes the lines.
    #[error(transparent)]
    Taker(#[from] anyhow::Error),
}

/// What is in a recording between its first and last lines.
pub(crate) enum Line {
    Header(Box<Header>),
    Device(Box<Device>),
    Op(Box<Op>),
    /// Of the op before it.
    Step(Box<Step>),
    /// After every op.
    Writeback(Box<Writeback>),
    Summary(Box<Summary>),
}

/// How a recording ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// How the command ended, as a shell says it; `None` where there was none, it went on, or the recording does not have
    /// it ([`Header::has_writeback`]).
    Whole(Option<u8>),
    /// What was read is true; what came after is not known.
    CutOff,
}

/// Calls `each` for every line, and with the line itself, without its newline. The header comes first, and a summary
/// only once; a recording that is damaged gives an error as soon as that is seen, after the lines before.
pub(crate) fn read(
    mut from: impl BufRead,
    mut each: impl FnMut(Line, &[u8]) -> anyhow::Result<()>,
) -> Result<End, Error> {
    match from.fill_buf().map_err(Error::Io)? {
        [] => return Err(Error::NotOne("it is empty")),
        [0x1f] | [0x1f, 0x8b, ..] => {}
        _ => return Err(Error::NotOne("it is not compressed with gzip")),
    }
    let mut lines = Lines {
        from: BufReader::new(GzDecoder::new(from)),
        line: Vec::new(),
        number: 0,
    };
    let (with_steps, with_writeback) = match lines.next()? {
        Some(line) => {
            let header = header(line)?;
            let with = (header.version >= WITH_STEPS, header.has_writeback());
            each(Line::Header(header), line)?;
            with
        }
        None => return Err(Error::NoHeader),
    };
    // Of the last op: its number, and the steps that are still to come.
    let mut of = (None, 0);
    let mut ops = 0;
    let mut devices = 0;
    let mut written_back = false;
    let mut summary = false;
    loop {
        let number = lines.number + 1;
        let Some(line) = lines.next()? else {
            return Ok(End::CutOff);
        };
        let damaged = |why: &str| Error::Damaged {
            line: number,
            why: why.into(),
        };
        let kind = parse::<Tag>(number, line)?.kind;
        if summary && kind != "end" {
            return Err(damaged("something comes after the summary"));
        }
        if written_back && matches!(kind.as_ref(), "op" | "device" | "step") {
            return Err(damaged("something comes after what was written back"));
        }
        if of.1 > 0 && kind != "step" {
            return Err(damaged("steps of the op before it are missing"));
        }
        if matches!(kind.as_ref(), "op" | "device" | "step") && line.len() > LONGEST_OP {
            return Err(damaged("it is longer than any of its kind"));
        }
        match kind.as_ref() {
            "device" if devices >= MOST_DEVICES => {
                return Err(damaged("there are more devices than a machine has"));
            }
            "device" => {
                devices += 1;
                each(Line::Device(Box::new(parse(number, line)?)), line)?;
            }
            "op" => {
                ops += 1;
                let op: Box<Op> = Box::new(parse(number, line)?);
                of = match with_steps {
                    true => (op.id, op.steps.unwrap_or(0)),
                    false => (None, 0),
                };
                each(Line::Op(op), line)?;
            }
            "step" if with_steps => {
                let step: Box<Step> = Box::new(parse(number, line)?);
                if of.1 == 0 || of.0 != Some(step.op_id) {
                    return Err(damaged("it is a step of no op before it"));
                }
                of.1 -= 1;
                each(Line::Step(step), line)?;
            }
            "writeback" if with_writeback => {
                written_back = true;
                each(Line::Writeback(Box::new(parse(number, line)?)), line)?;
            }
            "summary" => {
                summary = true;
                each(Line::Summary(Box::new(parse(number, line)?)), line)?;
            }
            "end" if !summary => return Err(damaged("it ends without a summary")),
            "end" => {
                let end: EndMark = parse(number, line)?;
                if end.ops != ops {
                    let why = format!("it says that there were {} ops, and holds {ops}", end.ops);
                    return Err(damaged(&why));
                }
                return lines.over(end.status.filter(|_| with_writeback));
            }
            _ => return Err(damaged("it is of a kind that this version does not have")),
        }
    }
}

#[derive(Deserialize)]
struct Tag<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Version {
    version: u64,
}

fn header(line: &[u8]) -> Result<Box<Header>, Error> {
    let of_recording = serde_json::from_slice::<Tag>(line).is_ok_and(|tag| tag.kind == "recording");
    let version = serde_json::from_slice::<Version>(line);
    match version {
        Ok(Version { version }) if of_recording && version > u64::from(VERSION) => {
            Err(Error::Newer(version))
        }
        Ok(Version { version }) if of_recording && (1..=u64::from(VERSION)).contains(&version) => {
            parse(1, line).map(Box::new)
        }
        _ => Err(Error::NotOne("its first line does not say that it is one")),
    }
}

fn parse<'a, T: Deserialize<'a>>(number: u64, line: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(line).map_err(|error| Error::Damaged {
        line: number,
        // It may quote what it found.
        why: printable(&error.to_string()),
    })
}

/// The lines of a compressed file.
struct Lines<R: BufRead> {
    from: BufReader<GzDecoder<R>>,
    line: Vec<u8>,
    /// Of the line given last, from 1.
    number: u64,
}

impl<R: BufRead> Lines<R> {
    /// The next line; `None` where the file was cut off before its end, or is over.
    fn next(&mut self) -> Result<Option<&[u8]>, Error> {
        self.number += 1;
        self.line.clear();
        let read = (&mut self.from)
            .take(LONGEST)
            .read_until(b'\n', &mut self.line);
        match read {
            Ok(_) if self.line.last() == Some(&b'\n') => {
                self.line.pop();
                Ok(Some(&self.line))
            }
            Ok(_) if self.line.len() as u64 == LONGEST => Err(Error::Damaged {
                line: self.number,
                why: format!("it is longer than {LONGEST} bytes"),
            }),
            Ok(_) => Ok(None),
            Err(error) => self.broken(error).map(|()| None),
        }
    }

    /// After the last line: the checksum, and nothing more.
    fn over(mut self, status: Option<u8>) -> Result<End, Error> {
        let damaged = |why: &str| Error::Damaged {
            line: self.number + 1,
            why: why.into(),
        };
        let mut rest = [0; 1];
        match self.from.read(&mut rest) {
            Ok(0) => {}
            Ok(_) => return Err(damaged("something comes after the end")),
            Err(error) => return self.broken(error).map(|()| End::CutOff),
        }
        let mut file = self.from.into_inner().into_inner();
        if file.fill_buf().map_err(Error::Io)?.is_empty() {
            Ok(End::Whole(status))
        } else {
            Err(damaged("something comes after the end"))
        }
    }

    /// `Ok` where the file merely ends too early.
    fn broken(&self, error: io::Error) -> Result<(), Error> {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Ok(()),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => Err(Error::Damaged {
                line: self.number,
                why: printable(&error.to_string()),
            }),
            _ => Err(Error::Io(error)),
        }
    }
}
