//! # The matrix on this machine
//!
//! Prepares the files, has the requests made by a process of its own under the probes, and judges what was seen.

use std::{ffi::OsString, fs, os::unix::fs::FileTypeExt, path::Path};

use anyhow::{Context, Result, ensure};

use super::{
    Found,
    line::{Line, Place},
    prepare::{self, Target},
};
use crate::{
    check::Verdict,
    cli,
    kernel::Kernel,
    output::summary::Summary,
    requests::{Cases, Failure},
    session, workload,
};

pub(super) async fn run(arguments: &cli::Matrix, kernel: &Kernel) -> Result<Found> {
    let plan = session::plan(kernel, &arguments.choice);
    let scratch;
    let (ground, target, place) = match &arguments.overwrite_disk {
        Some(disk) => (disk.clone(), disk_of(disk)?, Place::of_disk(kernel, disk)?),
        None => {
            let dir = fs::canonicalize(&arguments.dir).with_context(|| {
                format!("{}: give a folder with --dir", arguments.dir.display())
            })?;
            scratch = tempfile::Builder::new()
                .prefix(".odio-matrix-")
                .tempdir_in(&dir)
                .with_context(|| format!("cannot make a folder in {}", dir.display()))?;
            let folder = Target::Folder {
                dir: scratch.path(),
                shared: arguments.reflinked,
            };
            let place = Place::of(kernel, &dir);
            (dir, folder, place)
        }
    };
    let mut rows = prepare::rows(arguments, kernel, target)?;

    // The case list lies elsewhere: reading it is not a request on the filesystem that is tried.
    let lists = tempfile::tempdir().context("cannot make a temporary folder")?;
    let cases = Cases {
        cases: rows
            .iter()
            .filter(|r| r.contract.is_ok())
            .map(|r| r.case.clone())
            .collect(),
        failures: lists.path().join("failures"),
    };
    let list = lists.path().join("cases");
    fs::write(&list, serde_json::to_vec(&cases)?)?;
    let command: Vec<OsString> = vec!["/proc/self/exe".into(), "requests".into(), list.into()];
    let outcome = workload::run(kernel, &plan, &ground, &command, |op| {
        if let Some(row) = rows.iter_mut().find(|r| r.owns(op)) {
            row.ops.push(op.clone());
        } else if let Some(row) = rows.iter_mut().find(|r| r.finishes(op)) {
            row.finished.push((row.ops.len(), op.clone()));
        }
        Ok(())
    })
    .await?;
    let failures: Vec<Failure> = fs::read(&cases.failures)
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok())
        .unwrap_or_default();

    let lines: Vec<Line> = rows
        .into_iter()
        .map(|row| {
            let failure = failures.iter().find(|f| f.case == row.case);
            let judged = row.judge(&outcome, failure);
            row.line(&place, judged)
        })
        .collect();
    let summary = Summary::of(&outcome, None);
    let worst = lines.iter().map(|line| line.verdict).max();
    Ok(Found {
        vm: None,
        counts: summary.counts(),
        caveats: summary.caveats(),
        summary: serde_json::to_value(&summary)?,
        verdict: worst.unwrap_or(Verdict::Inconclusive),
        lines,
    })
}

fn disk_of(path: &Path) -> Result<Target<'_>> {
    let metadata = fs::metadata(path).with_context(|| format!("{}", path.display()))?;
    ensure!(
        metadata.file_type().is_block_device(),
        "{} is no block device; --dir tries a filesystem",
        path.display()
    );
    Ok(Target::Disk(path))
}

impl Place {
    fn of(kernel: &Kernel, dir: &Path) -> Self {
        Self {
            kernel: kernel.release_name(),
            fs: kernel
                .fs_of(dir)
                .unwrap_or_else(|| "an unknown filesystem".into()),
            device: kernel.device_of(dir),
        }
    }

    fn of_disk(kernel: &Kernel, disk: &Path) -> Result<Self> {
        use std::os::linux::fs::MetadataExt;
        let dev = crate::kernel::Dev::from_stat(fs::metadata(disk)?.st_rdev());
        Ok(Self {
            kernel: kernel.release_name(),
            fs: "block device".into(),
            device: kernel.device_named(dev),
        })
    }
}
