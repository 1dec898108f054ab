//! Running the programs under odio-trace.
//!
//! Loading and attaching the probes takes far longer than the requests, so all programs run in one session; each has
//! a file of its own, by which its ops are told apart.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::record::{Op, Row, Summary};

/// Writes of every program: a prime, so that a stray one shows.
const WRITES: u32 = 23;

/// Bytes of each.
const BLOCK: usize = 4096;

/// The two documents' modes and what the kernel facts of ext4 speak of.
const MATRIX: &str = "matrix --json --dir . --mode direct,direct+dsync,direct+sync,buffered,buffered+dsync \
                      --situation overwrite,unwritten,append";

/// Where and with what to run.
pub(crate) struct Lab {
    dir: PathBuf,
    odio_trace: PathBuf,
    write_modes: PathBuf,
}

/// What a program finds when it starts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// No file.
    Nothing,
    /// A file of the right size, written and synced.
    Written,
    /// A file that is one hole and that ext4 maps without extents.
    HoleWithoutExtents,
}

/// A program to run.
struct Program {
    /// As a person would type it, less what all have in common.
    shown: String,
    command: String,
    file: String,
    found: Found,
    /// Only its writes through this engine count; the others prepare the file.
    engine: Option<&'static str>,
    /// It is meant to fail.
    fails: bool,
}

/// A program that ran.
pub(crate) struct Run {
    pub(crate) shown: String,
    /// Its writes.
    pub(crate) ops: Vec<Op>,
}

/// What all programs together showed.
pub(crate) struct Programs {
    pub(crate) runs: Vec<Run>,
    /// A direct write of a length that is no multiple of the block size.
    pub(crate) misaligned: Vec<Op>,
    /// Direct writes into a hole of a file that ext4 maps without extents; `None` where there are no such files.
    pub(crate) short: Option<Vec<Op>>,
    /// fio, asked for no engine.
    pub(crate) default_fio: Vec<Op>,
    pub(crate) summary: Summary,
}

impl Programs {
    /// Why the hook has no probe on this kernel, if it has none.
    pub(crate) fn missing(&self, hook: &str) -> Option<&str> {
        self.summary
            .missing
            .iter()
            .find(|m| m.hook == hook)
            .map(|m| m.why.as_str())
    }
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

    /// The same writes by a C program with libodio, by dd and by fio, and what goes wrong on purpose.
    pub(crate) fn programs(&self) -> Result<Programs> {
        let mut programs = self.ordinary();
        let ordinary = programs.len();
        programs.push(
            dd(
                "misaligned.bin",
                "bs=1000 count=1",
                "direct",
                Found::Nothing,
            )
            .failing(),
        );
        programs.push(fio("fio-default.bin", "", ""));
        programs.push(dd(
            "no-extents.bin",
            "bs=4k count=7 conv=notrunc",
            "direct",
            Found::HoleWithoutExtents,
        ));

        let mut hole_made = false;
        for program in &programs {
            hole_made |= self.prepare(program)?;
        }
        // On a filesystem where every file has extents the last program would show nothing.
        let taken = if hole_made {
            programs.len()
        } else {
            programs.len() - 1
        };
        let script: String = programs[..taken]
            .iter()
            .map(|p| {
                format!(
                    "{}{} >/dev/null\n",
                    p.command,
                    if p.fails { " 2>/dev/null || true" } else { "" }
                )
            })
            .collect();
        let lines = self.odio_trace(
            &[
                "run".into(),
                "--json".into(),
                "--".into(),
                "sh".into(),
                "-ec".into(),
                script.into(),
            ],
            &[0],
        )?;
        let (records, summary) = split(lines, "op")?;
        let ops = |program: &Program| -> Vec<Op> {
            let file = self.dir.join(&program.file);
            records
                .iter()
                .filter(|r| r["op"] == "write" && r["file"].as_str().map(Path::new) == Some(&file))
                .filter_map(|r| Op::deserialize(r).ok())
                .filter(|op: &Op| program.engine.is_none_or(|engine| op.engine == engine))
                .collect()
        };
        Ok(Programs {
            runs: programs[..ordinary]
                .iter()
                .map(|p| Run {
                    shown: p.shown.clone(),
                    ops: ops(p),
                })
                .collect(),
            misaligned: ops(&programs[ordinary]),
            default_fio: ops(&programs[ordinary + 1]),
            short: hole_made.then(|| ops(&programs[ordinary + 2])),
            summary,
        })
    }

    fn ordinary(&self) -> Vec<Program> {
        let mut programs = Vec::new();
        for (mode, engine, situation) in [
            ("direct", "psync", "append"),
            ("direct", "libaio", "append"),
            ("direct", "libaio", "overwrite"),
            ("direct+dsync", "io_uring", "overwrite"),
            ("direct+sync", "libaio", "overwrite"),
        ] {
            let file = format!("odio-{mode}-{engine}-{situation}.bin");
            programs.push(Program {
                shown: format!("write_modes {mode} {engine} {situation}"),
                command: format!(
                    "{} {file} {mode} {engine} {WRITES} {BLOCK} {situation}",
                    quoted(&self.write_modes)
                ),
                file,
                found: Found::Nothing,
                // An overwrite is prepared by the program itself, through psync.
                engine: (situation == "overwrite").then_some(engine),
                fails: false,
            });
        }
        let size = format!("bs=4k count={WRITES} conv=notrunc");
        programs.push(dd("dd-append.bin", &size, "direct", Found::Nothing));
        for flags in ["direct", "direct,dsync", "direct,sync"] {
            programs.push(dd(&format!("dd-{flags}.bin"), &size, flags, Found::Written));
        }
        for engine in ["psync", "libaio"] {
            programs.push(fio(
                &format!("fio-{engine}.bin"),
                &format!("--ioengine={engine}"),
                "",
            ));
            programs.push(fio(
                &format!("fio-{engine}-sync.bin"),
                &format!("--ioengine={engine}"),
                "--sync=sync",
            ));
        }
        programs
    }

    /// The rows that the documents speak of.
    pub(crate) fn matrix(&self) -> Result<Matrix> {
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

    /// Brings a program's file into the state it is to find; true where a file without extents was made.
    fn prepare(&self, program: &Program) -> Result<bool> {
        let path = self.dir.join(&program.file);
        match program.found {
            Found::Nothing => Ok(false),
            Found::Written => {
                fs::write(&path, vec![0xa5; WRITES as usize * BLOCK])?;
                fs::File::open(&path)?.sync_all()?;
                Ok(false)
            }
            Found::HoleWithoutExtents => {
                let file = fs::File::create(&path)?;
                let made = Command::new("chattr")
                    .arg("-e")
                    .arg(&path)
                    .stderr(Stdio::null())
                    .status()
                    .context("chattr (package e2fsprogs)")?
                    .success();
                file.set_len(1 << 20)?;
                Ok(made)
            }
        }
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

impl Program {
    fn failing(mut self) -> Self {
        self.fails = true;
        self
    }
}

fn dd(file: &str, size: &str, flags: &str, found: Found) -> Program {
    let what = if found == Found::Written {
        " (overwrite)"
    } else {
        ""
    };
    Program {
        shown: format!("dd oflag={flags}{what}"),
        command: format!("dd if=/dev/zero of={file} {size} oflag={flags} status=none"),
        file: file.into(),
        found,
        engine: None,
        fails: false,
    }
}

fn fio(file: &str, engine: &str, more: &str) -> Program {
    let size = WRITES as usize * BLOCK;
    Program {
        shown: format!("fio --direct=1 {engine} {more}")
            .trim_end()
            .to_owned(),
        command: format!(
            "fio --name=fio --filename={file} --rw=write --bs={BLOCK} --size={size} --overwrite=1 --direct=1 {engine} {more}"
        ),
        file: file.into(),
        found: Found::Written,
        engine: None,
        fails: false,
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

/// For the shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}
