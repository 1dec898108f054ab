//! # `odio-trace report`: what a recording holds
//!
//! Needs no kernel and no privilege. Memory is the ledger's, however long the recording.

use std::{fs::File, io::BufReader};

use anyhow::{Context, Result, ensure};

use crate::{
    cli,
    output::{
        by_file::ByFile,
        by_path::ByPath,
        html, json, steps,
        summary::Summary,
        text::{self, Shown},
    },
    recording::{self, Device, End, Header, Line, partial::Partial},
    writeback::Writeback,
};

/// The recording was cut off.
const INCONCLUSIVE: u8 = 3;

/// All that a report says.
pub(crate) struct Report {
    pub(crate) header: Header,
    pub(crate) devices: Vec<Device>,
    pub(crate) files: ByFile,
    pub(crate) paths: ByPath,
    pub(crate) writeback: Vec<Writeback>,
    /// `None` where the recording was cut off.
    pub(crate) summary: Option<Summary>,
}

/// Reads the recording and shows it.
pub(crate) fn run(arguments: &cli::Report) -> Result<u8> {
    let path = arguments.recording.display();
    let file = File::open(&arguments.recording).with_context(|| path.to_string())?;
    let file = BufReader::new(file);
    let end = if arguments.json {
        recording::read(file, |_, line| json::raw(&[line, b"\n"].concat()))
    } else {
        // Made before the recording is read: a name that cannot be written to is told at once.
        let html = match &arguments.output {
            Some(page) => {
                let recording = arguments.recording.canonicalize().ok();
                ensure!(
                    recording.is_none() || page.canonicalize().ok() != recording,
                    "{path} is the recording itself"
                );
                Some(Partial::create(page)?)
            }
            None => None,
        };
        let (report, end) = match collect(file, arguments.steps) {
            Err(recording::Error::Taker(error)) => return Err(error),
            collected => collected.with_context(|| path.to_string())?,
        };
        match html {
            Some(mut file) => {
                html::write(&report, &mut file)?;
                file.finish()?;
            }
            None => show(&report, arguments)?,
        }
        Ok(end)
    };
    let end = match end {
        // What it says of standard output is not about the recording.
        Err(recording::Error::Taker(error)) => return Err(error),
        end => end.with_context(|| path.to_string())?,
    };
    Ok(match end {
        End::Whole(_) => 0,
        End::CutOff => {
            eprintln!("odio-trace: {path}: INCONCLUSIVE: the recording was cut off");
            INCONCLUSIVE
        }
    })
}

/// Takes in the recording; with `steps` its ops and steps are shown while it is read.
pub(crate) fn collect(
    from: impl std::io::BufRead,
    steps: bool,
) -> Result<(Report, End), recording::Error> {
    let mut header = None;
    let mut devices = Vec::new();
    let mut files = ByFile::default();
    let mut paths = ByPath::default();
    let mut writeback = Vec::new();
    let mut summary = None;
    let end = recording::read(from, |line, _| {
        match line {
            Line::Header(first) => header = Some(*first),
            Line::Device(device) => devices.push(*device),
            Line::Op(op) => {
                if steps && op.steps.is_some() {
                    text::line(steps::header(&op))?;
                }
                files.add(&op);
                paths.add(&op);
            }
            Line::Step(step) if steps => text::line(steps::line(&step))?,
            Line::Step(_) => {}
            Line::Writeback(file) => writeback.push(*file),
            Line::Summary(last) => summary = Some(*last),
        }
        Ok(())
    })?;
    let header = header.expect("a recording that is read has its header");
    let summary = summary.filter(|_| end != End::CutOff);
    Ok((
        Report {
            header,
            devices,
            files,
            paths,
            writeback,
            summary,
        },
        end,
    ))
}

fn show(report: &Report, arguments: &cli::Report) -> Result<()> {
    for (what, value) in &report.header.kernel {
        text::line(format_args!(
            "{:<14} {}",
            text::printable(what),
            text::printable(value)
        ))?;
    }
    for device in &report.devices {
        text::line(format_args!("{:<14} {}", "on", device.words()))?;
    }
    text::line("")?;
    let shown = Shown {
        paths: arguments.paths,
        histogram: arguments.histogram,
    };
    text::line(text::account(
        &report.files,
        &report.paths,
        &report.writeback,
        report.summary.as_ref(),
        shown,
    ))?;
    for caveat in report.summary.iter().flat_map(Summary::caveats) {
        eprintln!("odio-trace: {}", text::printable_lines(&caveat));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
