//! Running the programs under odio-trace.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::record::{Op, Row, Summary};

/// Writes of every program: a prime, so that a stray one shows.
const WRITES: u32 = 23;

/// Where and with what to run.
pub(crate) struct Lab {
    dir: PathBuf,
    odio_trace: PathBuf,
    write_modes: PathBuf,
}

/// A traced program.
pub(crate) struct Run {
    /// The command as a person would type it.
    pub(crate) command: String,
    /// Its writes.
    pub(crate) ops: Vec<Op>,
    pub(crate) summary: Summary,
}

impl Run {
    pub(crate) fn whole(&self) -> bool {
        self.summary.whole()
    }
}

/// The matrix.
pub(crate) struct Matrix {
    pub(crate) rows: Vec<Row>,
    pub(crate) summary: Summary,
}

impl Matrix {
    pub(crate) fn whole(&self) -> bool {
        self.summary.whole()
    }

    pub(crate) fn passed(&self) -> bool {
        self.summary.verdict == "PASS"
    }

    pub(crate) fn kernel(&self) -> &str {
        self.rows.first().map_or("?", |row| &row.kernel)
    }

    pub(crate) fn fs(&self) -> &str {
        self.rows.first().map_or("?", |row| &row.fs)
    }

    pub(crate) fn device(&self) -> &str {
        self.rows.first().map_or("?", |row| &row.device)
    }
}

/// Requests that no mode of the matrix covers.
pub(crate) struct SpecialCases {
    /// A direct write of a length that is no multiple of the block size.
    pub(crate) misaligned: Vec<Op>,
    /// Direct writes into the hole of a file that ext4 maps without extents.
    pub(crate) short: Option<Vec<Op>>,
    /// fio, asked for no engine.
    pub(crate) default_fio: Vec<Op>,
    /// The hooks without a probe.
    pub(crate) missing: Vec<String>,
}

impl Lab {
    pub(crate) fn new(dir: PathBuf, odio_trace: PathBuf, write_modes: PathBuf) -> Result<Self> {
        let dir = fs::canonicalize(&dir).with_context(|| format!("{}", dir.display()))?;
        Ok(Self { dir, odio_trace, write_modes })
    }

    /// The same writes by a C program with libodio, by dd and by fio.
    pub(crate) fn programs(&self) -> Result<Vec<Run>> {
        let write_modes = |mode: &str, engine: &str, situation: &str| {
            let mut words = vec![self.write_modes.clone().into_os_string()];
            words.extend(
                ["libodio.bin", mode, engine, &WRITES.to_string(), "4096", situation].map(OsString::from),
            );
            words
        };
        let dd = |flags: &str| {
            words(&format!("dd if=/dev/zero of=dd.bin bs=4k count={WRITES} conv=notrunc oflag={flags}"))
        };
        let engine_fio = |engine: &str, more: &str| words(&fio(&format!("--ioengine={engine} --direct=1 {more}")));
        let mut runs = Vec::new();
        for (mode, engine, situation) in [
            ("direct", "psync", "append"),
            ("direct", "libaio", "append"),
            ("direct", "libaio", "overwrite"),
            ("direct+dsync", "io_uring", "overwrite"),
            ("direct+sync", "libaio", "overwrite"),
        ] {
            let mut run = self.trace(&write_modes(mode, engine, situation), true)?;
            // What the program prepares, it writes one by one through psync, into an empty file.
            if situation == "overwrite" {
                run.ops.retain(|op| op.engine == engine);
            }
            runs.push(run);
        }
        for flags in ["direct", "direct,dsync", "direct,sync"] {
            runs.push(self.trace(&dd(flags), true)?);
        }
        // The first run of dd made the file, the later ones write over it. fio lays its own out.
        self.quietly(&words(&fio("--ioengine=psync --direct=1 --create_only=1")))?;
        self.quietly(&words(&fio("--ioengine=psync --direct=1 --end_fsync=1")))?;
        for engine in ["psync", "libaio"] {
            runs.push(self.trace(&engine_fio(engine, ""), true)?);
            runs.push(self.trace(&engine_fio(engine, "--sync=sync"), true)?);
        }
        Ok(runs)
    }

    /// The rows that the documents speak of.
    pub(crate) fn matrix(&self) -> Result<Matrix> {
        let lines = self.odio_trace(
            &words("matrix --json --mode direct,direct+dsync,direct+sync,buffered,buffered+dsync --situation overwrite,unwritten,append --dir ."),
            // FAIL and INCONCLUSIVE are told in the summary.
            &[0, 1, 3],
        )?;
        let mut rows = Vec::new();
        let mut summary = None;
        for line in lines {
            match line["type"].as_str() {
                Some("row") => rows.push(serde_json::from_value(line)?),
                Some("summary") => summary = Some(serde_json::from_value(line)?),
                _ => {}
            }
        }
        Ok(Matrix { rows, summary: summary.context("odio-trace matrix ended without a summary")? })
    }

    /// What goes wrong on purpose, and what is left to its defaults.
    pub(crate) fn special_cases(&self) -> Result<SpecialCases> {
        let misaligned = self.trace(&words("dd if=/dev/zero of=misaligned.bin bs=1000 count=1 oflag=direct"), false)?;
        let default_fio = self.trace(&words(&fio("")), true)?;
        let short = if self.without_extents("blocks.bin")? {
            Some(self.trace(&words("dd if=/dev/zero of=blocks.bin bs=4k count=7 conv=notrunc oflag=direct"), true)?.ops)
        } else {
            None
        };
        Ok(SpecialCases {
            misaligned: misaligned.ops,
            short,
            missing: default_fio.summary.missing.iter().map(|m| format!("{} ({})", m.hook, m.why)).collect(),
            default_fio: default_fio.ops,
        })
    }

    /// Makes a file that is one hole and mapped without extents; false where the filesystem has no such files.
    fn without_extents(&self, name: &str) -> Result<bool> {
        let path = self.dir.join(name);
        fs::File::create(&path)?;
        let made = Command::new("chattr")
            .arg("-e")
            .arg(&path)
            .stderr(Stdio::null())
            .status()
            .context("chattr (package e2fsprogs)")?
            .success();
        fs::OpenOptions::new().write(true).open(&path)?.set_len(1 << 20)?;
        Ok(made)
    }

    /// Runs a program under `odio-trace run` and keeps its writes; `must` is whether it has to succeed.
    fn trace(&self, command: &[OsString], must: bool) -> Result<Run> {
        let mut arguments: Vec<OsString> = words("run --json --");
        arguments.extend_from_slice(command);
        let lines = self.odio_trace(&arguments, if must { &[0] } else { &[0, 1] })?;
        let mut run = Run { command: shown(command), ops: Vec::new(), summary: Summary::default() };
        let mut ended = false;
        for line in lines {
            match line["type"].as_str() {
                Some("op") if line["op"] == "write" && ours(&line, &self.dir) => {
                    run.ops.push(serde_json::from_value(line)?);
                }
                Some("summary") => {
                    run.summary = serde_json::from_value(line)?;
                    ended = true;
                }
                _ => {}
            }
        }
        ensure!(ended, "odio-trace ended without a summary: {}", run.command);
        Ok(run)
    }

    fn odio_trace(&self, arguments: &[OsString], statuses: &[i32]) -> Result<Vec<Value>> {
        let output = Command::new(&self.odio_trace)
            .args(arguments)
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("{}", self.odio_trace.display()))?;
        if !output.status.code().is_some_and(|code| statuses.contains(&code)) {
            bail!(
                "odio-trace {}: {}\n{}",
                shown(arguments),
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        // The traced program's own output may stand between the lines.
        Ok(output
            .stdout
            .split(|&b| b == b'\n')
            .filter(|line| line.starts_with(b"{"))
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect())
    }

    fn quietly(&self, command: &[OsString]) -> Result<()> {
        let (program, arguments) = command.split_first().context("no command")?;
        let output = Command::new(program).args(arguments).current_dir(&self.dir).output()?;
        ensure!(output.status.success(), "{}: {}", shown(command), String::from_utf8_lossy(&output.stderr));
        Ok(())
    }
}

/// Writes to files in the lab's folder; a program's output to a pipe or a terminal is none of them.
fn ours(line: &Value, dir: &Path) -> bool {
    line["file"].as_str().is_some_and(|file| Path::new(file).starts_with(dir))
}

fn fio(more: &str) -> String {
    format!("fio --name=fio --filename=fio.bin --rw=write --bs=4k --size={}k --overwrite=1 {more}", WRITES * 4)
}

fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

fn shown(command: &[OsString]) -> String {
    let words: Vec<String> = command
        .iter()
        .map(|word| {
            let path = Path::new(word);
            // A program's folder says nothing of what it does.
            if path.is_absolute() && path.exists() {
                path.file_name().unwrap_or(word).to_string_lossy().into_owned()
            } else {
                word.to_string_lossy().into_owned()
            }
        })
        .collect();
    words.join(" ")
}
