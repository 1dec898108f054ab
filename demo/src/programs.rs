//! The programs that the documents compare, and what goes wrong on purpose.
//!
//! Each has a file of its own, by which its ops are told apart.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result};

/// Writes of every program: a prime, so that a stray one shows.
const WRITES: u32 = 23;

/// Bytes of each.
const BLOCK: usize = 4096;

/// Bytes of all of them.
const SIZE: usize = WRITES as usize * BLOCK;

/// Several requests in one io_submit wait for each other in a plug, so that none is done before the call returns.
const BATCHES: &str = "--iodepth=8 --iodepth_batch=8 --iodepth_batch_complete_min=8";

/// What a program finds when it starts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// No file.
    Nothing,
    /// A file of the right size, written and synced.
    Written,
    /// A file that is one hole and that is mapped without extents.
    HoleWithoutExtents,
}

/// A program to run.
pub(crate) struct Program {
    /// By which the claims know it, and its file.
    pub(crate) name: String,
    /// As a person would type it, less what all have in common; none where it is only there for a claim.
    pub(crate) shown: Option<String>,
    pub(crate) command: String,
    pub(crate) found: Found,
    /// Only its writes through this engine count; the others prepare the file.
    pub(crate) engine: Option<&'static str>,
    /// It may fail, and that is what is to be seen.
    pub(crate) may_fail: bool,
}

/// Every program, in the order of the table.
pub(crate) fn all(write_modes: &Path) -> Vec<Program> {
    let mut programs: Vec<Program> = [
        ("direct", "psync", "append"),
        ("direct", "libaio", "append"),
        ("direct", "libaio", "overwrite"),
        ("direct+dsync", "io_uring", "overwrite"),
        ("direct+sync", "libaio", "overwrite"),
    ]
    .map(|(mode, engine, situation)| with_libodio(write_modes, mode, engine, situation))
    .into();
    let blocks = format!("bs=4k count={WRITES} conv=notrunc");
    programs.extend([
        dd("dd-append", &blocks, "direct", Found::Nothing),
        dd("dd-direct", &blocks, "direct", Found::Written),
        dd("dd-direct-dsync", &blocks, "direct,dsync", Found::Written),
        dd("dd-direct-sync", &blocks, "direct,sync", Found::Written),
        fio("fio-psync", "--ioengine=psync"),
        fio("fio-psync-sync", "--ioengine=psync --sync=sync"),
        fio("fio-libaio", "--ioengine=libaio"),
        fio("fio-libaio-sync", "--ioengine=libaio --sync=sync"),
    ]);
    let synced = format!("{blocks},fsync");
    programs.extend(
        [
            dd("dd-synced", &synced, "direct", Found::Written),
            dd("dd-buffered-synced", &synced, "", Found::Written),
            dd("nonblocking", &blocks, "direct,nonblock", Found::Written),
            dd(
                "misaligned-length",
                "bs=1000 count=1 conv=notrunc",
                "direct",
                Found::Written,
            )
            .may_fail(),
            fio("misaligned-memory", "--ioengine=psync --mem_align=8").may_fail(),
            fio("fio-default", ""),
            fio("fio-batches", &format!("--ioengine=libaio {BATCHES}")),
            fio(
                "fio-batches-sync",
                &format!("--ioengine=libaio --sync=sync {BATCHES}"),
            ),
            dd(
                "hole",
                "bs=4k count=7 conv=notrunc",
                "direct",
                Found::HoleWithoutExtents,
            ),
        ]
        .map(Program::only_for_a_claim),
    );
    programs
}

impl Program {
    fn may_fail(mut self) -> Self {
        self.may_fail = true;
        self
    }

    fn only_for_a_claim(mut self) -> Self {
        self.shown = None;
        self
    }

    /// The file that it writes to, in the folder of all of them.
    pub(crate) fn file(&self) -> String {
        format!("{}.bin", self.name)
    }

    /// Brings its file into the state it is to find; false where this filesystem has no such file.
    pub(crate) fn prepare(&self, dir: &Path) -> Result<bool> {
        let path = dir.join(self.file());
        match self.found {
            Found::Nothing => Ok(true),
            Found::Written => {
                fs::write(&path, vec![0xa5; SIZE])?;
                fs::File::open(&path)?.sync_all()?;
                Ok(true)
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

    /// Its line of the shell script.
    pub(crate) fn line(&self) -> String {
        let after = if self.may_fail {
            " 2>/dev/null || true"
        } else {
            ""
        };
        format!("{} >/dev/null{after}\n", self.command)
    }
}

fn with_libodio(write_modes: &Path, mode: &str, engine: &'static str, situation: &str) -> Program {
    let name = format!("odio-{mode}-{engine}-{situation}");
    Program {
        shown: Some(format!("write_modes {mode} {engine} {situation}")),
        command: format!(
            "{} {name}.bin {mode} {engine} {WRITES} {BLOCK} {situation}",
            quoted(write_modes)
        ),
        name,
        found: Found::Nothing,
        // An overwrite is prepared by the program itself, through psync.
        engine: (situation == "overwrite").then_some(engine),
        may_fail: false,
    }
}

fn dd(name: &str, size: &str, flags: &str, found: Found) -> Program {
    let what = match found {
        Found::Written => " (overwrite)",
        _ => "",
    };
    let oflag = if flags.is_empty() {
        String::new()
    } else {
        format!(" oflag={flags}")
    };
    Program {
        name: name.into(),
        shown: Some(format!("dd{oflag}{what}")),
        command: format!("dd if=/dev/zero of={name}.bin {size}{oflag} status=none"),
        found,
        engine: None,
        may_fail: false,
    }
}

fn fio(name: &str, how: &str) -> Program {
    Program {
        name: name.into(),
        shown: Some(format!("fio --direct=1 {how}")),
        command: format!(
            "fio --name=fio --filename={name}.bin --rw=write --bs={BLOCK} --size={SIZE} --overwrite=1 --direct=1 {how}"
        ),
        found: Found::Written,
        engine: None,
        may_fail: false,
    }
}

/// For the shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}
