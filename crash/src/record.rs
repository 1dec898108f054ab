//! # What a workload leaves: the disk before it, the log of its writes, and what was acknowledged
//!
//! A folder, so that a disk of a run can be looked at again in another one.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    case::{Case, MOST_FILES, Op},
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

impl Told {
    /// Reads what [`Record::save`] wrote. The writes follow from the case, so others are of no run.
    pub(crate) fn read(json: &[u8]) -> Result<Told> {
        let told: Told = serde_json::from_slice(json)?;
        let files = told.case.files;
        ensure!((1..=MOST_FILES).contains(&files), "{files} files");
        let (count, writes) = (told.acknowledged.len(), told.case.writes);
        ensure!(
            count == writes as usize && told.acknowledged == told.case.ops(),
            "the writes are not those of the case"
        );
        Ok(told)
    }
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
            let record = Record {
                told: Told::read(&fs::read(dir.join("case.json"))?)?,
                image: Image::load(&dir.join("image"))?,
                log: Log::read(&fs::read(dir.join("log"))?[..])?,
            };
            let (disk, size) = (record.told.case.disk, record.image.size());
            ensure!(
                disk == size,
                "a disk of {disk} bytes, of which {size} are there"
            );
            let beyond = record.log.beyond(size);
            if let Some(entry) = beyond {
                bail!("entry {entry} of the log is past the disk");
            }
            Ok(record)
        };
        load().with_context(|| format!("{}", dir.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        case::{SyncBy, Workload},
        log::{Entry, Flags},
    };

    fn record() -> Record {
        let case = Case {
            filesystem: "ext4".into(),
            mode: "direct".into(),
            engine: "psync".into(),
            workload: Workload::Write,
            situation: "append".into(),
            files: 1,
            writes: 2,
            depth: 1,
            sync_every: 0,
            sync_by: SyncBy::QueueData,
            raw: false,
            seed: 1,
            disk: 8192,
        };
        let entry = Entry {
            sector: 15,
            sectors: 1,
            flags: Flags::FUA,
            data: vec![1; 512],
        };
        Record {
            told: Told {
                acknowledged: case.ops(),
                case,
                kernel: "6.1".into(),
                dev: "254:0".into(),
            },
            image: Image::new(8192),
            log: Log {
                sector: 512,
                entries: vec![entry],
            },
        }
    }

    /// What [`Record::load`] says of a record that was changed before it was saved.
    fn loaded(change: impl FnOnce(&mut Record)) -> Result<Told, String> {
        let dir = std::env::temp_dir().join(format!("odio-crash-record.{}", std::process::id()));
        let mut record = record();
        change(&mut record);
        record.save(&dir).unwrap();
        let loaded = Record::load(&dir);
        fs::remove_dir_all(&dir).unwrap();
        loaded
            .map(|record| record.told)
            .map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_record_is_read_and_one_that_is_at_odds_with_itself_is_not() {
        assert_eq!(loaded(|_| ()), Ok(record().told));
        let refused = |change: fn(&mut Record)| loaded(change).unwrap_err();
        let fewer = refused(|record| record.told.acknowledged.truncate(1));
        assert!(fewer.contains("not those of the case"), "{fewer}");
        let elsewhere = refused(|record| record.told.acknowledged[1].offset = u64::MAX);
        assert!(elsewhere.contains("not those of the case"), "{elsewhere}");
        for files in [0, u32::MAX] {
            let told = Told {
                case: Case {
                    files,
                    ..record().told.case
                },
                ..record().told
            };
            let refused = Told::read(&serde_json::to_vec(&told).unwrap());
            assert!(refused.unwrap_err().to_string().contains("files"));
        }
        let disk = refused(|record| record.told.case.disk = 4096);
        assert!(disk.contains("of which 8192 are there"), "{disk}");
        let past = refused(|record| record.log.entries[0].sector = 16);
        assert!(past.contains("past the disk"), "{past}");
    }
}
