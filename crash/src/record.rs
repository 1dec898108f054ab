//! # What a workload leaves: the disk before it, the log of its writes, and what was acknowledged
//!
//! A folder, so that a disk of a run can be looked at again in another one.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{
    case::{Case, Op},
    image::Image,
    log::Log,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) told: Told,
    /// The disk when the log began.
    pub(crate) image: Image,
    pub(crate) log: Log,
}

/// The case and its ops, all of which were acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) case: Case,
    /// Of the running kernel.
    pub(crate) kernel: String,
    /// Device of the files, as `MAJOR:MINOR`.
    pub(crate) dev: String,
    pub(crate) acknowledged: Vec<Op>,
}

impl Record {
    pub(crate) fn save(&self, dir: &Path) -> Result<()> {
        fs::create_dir_all(dir).with_context(|| format!("{}", dir.display()))?;
        self.image.save(&dir.join("image"))?;
        fs::write(dir.join("log"), self.log.bytes())?;
        fs::write(dir.join("case.json"), serde_json::to_vec(&self.told)?)?;
        Ok(())
    }

    pub(crate) fn load(dir: &Path) -> Result<Record> {
        let load = || -> Result<Record> {
            Ok(Record {
                told: serde_json::from_slice(&fs::read(dir.join("case.json"))?)?,
                image: Image::load(&dir.join("image"))?,
                log: Log::read(&fs::read(dir.join("log"))?[..])?,
            })
        };
        load().with_context(|| format!("{}", dir.display()))
    }
}
