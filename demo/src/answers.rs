//! The answers of one place, as they are printed for programs and kept.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    claims::{self, Answer},
    seen::Seen,
};

/// The answer to one claim: a line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// Release of the kernel.
    pub(crate) kernel: String,
    pub(crate) fs: String,
    /// Device with cache and FUA.
    pub(crate) device: String,
    pub(crate) claim: String,
    pub(crate) answer: Answer,
    pub(crate) why: String,
}

/// Judges every claim.
pub(crate) fn judge(seen: &Seen) -> Vec<Line> {
    let place = seen.matrix.rows.first().cloned().unwrap_or_default();
    claims::all()
        .map(|claim| {
            let (answer, why) = claim.judge(seen);
            Line {
                kernel: place.kernel.clone(),
                fs: place.fs.clone(),
                device: place.device.clone(),
                claim: claim.id.into(),
                answer,
                why,
            }
        })
        .collect()
}

/// Reads what was printed with `--json`: every claim once, in order.
pub(crate) fn read(file: &Path) -> Result<Vec<Line>> {
    let name = file.display();
    let text = fs::read_to_string(file).with_context(|| format!("{name}"))?;
    let lines: Vec<Line> = text
        .lines()
        .enumerate()
        .map(|(i, line)| {
            serde_json::from_str(line)
                .with_context(|| format!("{name}:{}: no line of `odio-demo --json`", i + 1))
        })
        .collect::<Result<_>>()?;
    let answered = lines.iter().map(|line| line.claim.as_str());
    ensure!(
        answered.eq(claims::all().map(|claim| claim.id)),
        "{name} is of other claims: make it again"
    );
    Ok(lines)
}
