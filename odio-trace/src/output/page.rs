//! Where a format of the verdicts goes.

use std::{io::Write, path::Path};

use anyhow::Result;

use super::json;
use crate::recording::partial::Partial;

/// A file that is there whole or not at all, or standard output, which `-` stands for.
pub(crate) enum Page {
    File(Partial),
    StandardOutput,
}

impl Page {
    /// Opens it: what cannot be written to is told before anything runs.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        Ok(if path == "-" {
            Self::StandardOutput
        } else {
            Self::File(Partial::create(path)?)
        })
    }

    /// Writes all of it.
    pub(crate) fn write(self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::File(mut file) => {
                file.write_all(bytes)?;
                file.finish()
            }
            Self::StandardOutput => json::raw(bytes),
        }
    }
}
