//! Running the programs under odio-trace.
//!
//! Loading and attaching the probes takes far longer than the requests, so all programs run in one session.

use std::{
    collections::HashMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    programs,
    record::{Op, Row, Step, Summary},
    seen::Seen,
};

/// The two documents' modes and what the kernel facts of ext4 speak of.
const MATRIX: &str = "matrix --json --dir . --mode direct,direct+dsync,direct+sync,buffered,buffered+dsync,buffered+sync \
                      --situation overwrite,unwritten,append";

/// Where and with what to run.
pub(crate) struct Lab {
    dir: PathBuf,
    odio_trace: PathBuf,
    write_modes: PathBuf,
}

/// A program that ran.
pub(crate) struct Run {
    pub(crate) name: String,
    /// As it stands in the table, if it does.
    pub(crate) shown: Option<String>,
    pub(crate) writes: Vec<Op>,
    pub(crate) syncs: Vec<Op>,
}

/// What all programs together showed. One that this filesystem has no file for is not there.
pub(crate) struct Programs {
    pub(crate) runs: Vec<Run>,
    pub(crate) summary: Summary,
}

/// The matrix.
pub(crate) struct Matrix {
    pub(crate) rows: Vec<Row>,
    pub(crate) summary: Summary,
}

impl Matrix {
    pub(crate) fn passed(&self) -> bool {
        self.summary.verdict == "PASS"
    }

    /// Where it ran, for a heading.
    pub(crate) fn place(&self) -> String {
        self.rows.first().map_or_else(
            || "an unknown place".into(),
            |row| format!("kernel {}, {} on {}", row.kernel, row.fs, row.device),
        )
    }
}

impl Lab {
    pub(crate) fn new(dir: &Path, odio_trace: PathBuf, write_modes: PathBuf) -> Result<Self> {
        let dir = fs::canonicalize(dir).with_context(|| format!("{}", dir.display()))?;
        Ok(Self {
            dir,
            odio_trace,
            write_modes,
        })
    }

    /// Everything that the claims are judged by.
    pub(crate) fn see(&self) -> Result<Seen> {
        eprintln!("odio-demo: running write_modes, dd and fio under odio-trace");
        let programs = self.programs()?;
        eprintln!("odio-demo: trying every mode and engine");
        let matrix = self.matrix()?;
        Ok(Seen { programs, matrix })
    }

    fn programs(&self) -> Result<Programs> {
        let mut programs = Vec::new();
        for program in programs::all(&self.write_modes) {
            if program.prepare(&self.dir)? {
                programs.push(program);
            }
        }
        let script: String = programs.iter().map(programs::Program::line).collect();
        let mut arguments: Vec<OsString> = ["run", "--json", "--steps", "--file"]
            .map(Into::into)
            .into();
        arguments.push(self.dir.join("*").into());
        arguments.extend(["--", "sh", "-ec"].map(Into::into));
        arguments.push(script.into());
        let lines = self.odio_trace(&arguments, &[0])?;

        let mut paths: HashMap<u64, Vec<Step>> = HashMap::new();
        for line in lines.iter().filter(|line| line["type"] == "step") {
            let step = Step::deserialize(line)?;
            paths.entry(step.op_id).or_default().push(step);
        }
        let (records, summary) = split(lines, "op")?;
        let mut runs: Vec<Run> = programs
            .iter()
            .map(|program| Run {
                name: program.name.clone(),
                shown: program.shown.clone(),
                writes: Vec::new(),
                syncs: Vec::new(),
            })
            .collect();
        for record in &records {
            let file = record["file"].as_str().map(Path::new);
            let of = |p: &programs::Program| file == Some(&self.dir.join(p.file()));
            let Some(i) = programs.iter().position(of) else {
                continue;
            };
            let mut op = Op::deserialize(record)?;
            op.path = paths.remove(&op.id).unwrap_or_default();
            let asked = programs[i].engine.is_none_or(|engine| op.engine == engine);
            match op.op.as_str() {
                "write" if asked => runs[i].writes.push(op),
                "sync" => runs[i].syncs.push(op),
                _ => {}
            }
        }
        Ok(Programs { runs, summary })
    }

    /// The rows that the documents speak of.
    fn matrix(&self) -> Result<Matrix> {
        let arguments: Vec<OsString> = MATRIX.split_whitespace().map(OsString::from).collect();
        // FAIL and INCONCLUSIVE are told in the summary.
        let (rows, summary) = split(self.odio_trace(&arguments, &[0, 1, 3])?, "row")?;
        Ok(Matrix {
            rows: rows
                .iter()
                .map(Row::deserialize)
                .collect::<Result<_, _>>()?,
            summary,
        })
    }

    fn odio_trace(&self, arguments: &[OsString], statuses: &[i32]) -> Result<Vec<Value>> {
        let output = Command::new(&self.odio_trace)
            .args(arguments)
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("{}", self.odio_trace.display()))?;
        if !output
            .status
            .code()
            .is_some_and(|code| statuses.contains(&code))
        {
            bail!(
                "odio-trace: {}\n{}",
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        output
            .stdout
            .split(|&b| b == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| {
                serde_json::from_slice(line).context("odio-trace printed a line that is no JSON")
            })
            .collect()
    }
}

/// The lines of one type, and the summary that comes last.
fn split(lines: Vec<Value>, kind: &str) -> Result<(Vec<Value>, Summary)> {
    let summary = lines
        .last()
        .filter(|line| line["type"] == "summary")
        .context("odio-trace ended without a summary")?;
    let summary = Summary::deserialize(summary)?;
    let lines: Vec<Value> = lines
        .into_iter()
        .filter(|line| line["type"] == kind)
        .collect();
    ensure!(!lines.is_empty(), "odio-trace saw nothing");
    Ok((lines, summary))
}
