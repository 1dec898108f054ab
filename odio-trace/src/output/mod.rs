//! # Results
//!
//! One file per format. Results go to standard output; nothing here decides anything.

pub(crate) mod by_file;
pub(crate) mod by_path;
pub(crate) mod classes;
pub(crate) mod github;
pub(crate) mod html;
pub(crate) mod json;
pub(crate) mod judgement;
pub(crate) mod junit;
pub(crate) mod latency;
pub(crate) mod page;
pub(crate) mod sarif;
pub(crate) mod sink;
pub(crate) mod steps;
pub(crate) mod summary;
pub(crate) mod text;
pub(crate) mod written_back;

use std::io;

/// Standard output is closed: somebody like head(1) has read enough.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads standard output any more")]
pub(crate) struct NobodyReads;

fn not_written(error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        NobodyReads.into()
    } else {
        anyhow::Error::new(error).context("standard output")
    }
}

#[cfg(test)]
pub(crate) mod schema_tests;
#[cfg(test)]
pub(crate) mod tests;
