//! # What each row of the matrix is expected to do, and why where that is not the plain rule
//!
//! One file for each kernel, filesystem and disk, in `tests/matrix`. The plain rule is what a mode says of itself: direct
//! goes past the page cache and nothing else, what is asynchronous is queued, and O_DSYNC and O_SYNC are an fsync after
//! the write. A row that departs from it carries the reason, which `reasons.toml` has for all rows of a kind.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::{Value, json};

/// The series of kernels that there are expectations for.
pub const KERNELS: [&str; 4] = ["5.10", "6.1", "6.12", "7.2"];
/// Filesystems, as `odio-trace matrix --fs` names them.
pub const FILESYSTEMS: [&str; 10] = [
    "ext4",
    "ext4-data-journal",
    "ext4-no-extents",
    "xfs",
    "xfs-reflinked",
    "btrfs",
    "btrfs-nodatacow",
    "vfat",
    "tmpfs",
    "block",
];
/// Disks, as `odio-trace matrix --device` names them.
pub const DISKS: [&str; 3] = ["nvme", "virtio", "write-through"];

/// A kernel, a filesystem and a disk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Series.
    pub kernel: String,
    /// Filesystem.
    pub fs: String,
    /// Disk.
    pub device: String,
}

/// What is expected of one row.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Every path that a request may take.
    pub paths: BTreeSet<String>,
    /// `PASS` where it is not said.
    #[serde(default = "pass")]
    pub verdict: String,
    /// Why the row departs from the plain rule.
    #[serde(default)]
    pub departs: Option<String>,
}

fn pass() -> String {
    "PASS".into()
}

/// Mode, engine and situation.
pub type Key = [String; 3];

/// The rows of one place.
pub type Rows = BTreeMap<Key, Row>;

/// Why rows of a kind depart; what is not said fits any.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reason {
    #[serde(default)]
    kernel: Vec<String>,
    #[serde(default)]
    fs: Vec<String>,
    #[serde(default)]
    device: Vec<String>,
    #[serde(default)]
    mode: Vec<String>,
    #[serde(default)]
    engine: Vec<String>,
    #[serde(default)]
    situation: Vec<String>,
    #[serde(default)]
    verdict: Vec<String>,
    /// Steps that the path must all have.
    #[serde(default)]
    has: Vec<String>,
    /// Steps of which the path has none.
    #[serde(default)]
    lacks: Vec<String>,
    why: String,
}

/// Every reason, in the order in which they are tried.
#[derive(Debug, Deserialize)]
pub struct Reasons {
    reason: Vec<Reason>,
}

impl Place {
    /// Every place that there are expectations for. A filesystem in memory has one disk, which it leaves alone.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut places = Vec::new();
        for kernel in KERNELS {
            for fs in FILESYSTEMS {
                for device in if fs == "tmpfs" { &DISKS[..1] } else { &DISKS } {
                    places.push(Self {
                        kernel: kernel.into(),
                        fs: fs.into(),
                        device: (*device).into(),
                    });
                }
            }
        }
        places
    }

    /// Its file.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        folder()
            .join(&self.kernel)
            .join(format!("{}.{}.toml", self.fs, self.device))
    }

    /// What is expected there.
    ///
    /// # Panics
    ///
    /// Where the file is not as it should be.
    #[must_use]
    pub fn rows(&self) -> Rows {
        type File = BTreeMap<String, BTreeMap<String, BTreeMap<String, Row>>>;
        let name = self.file();
        let text = fs::read_to_string(&name).unwrap_or_else(|e| panic!("{}: {e}", name.display()));
        let file: File =
            toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", name.display()));
        let mut rows = Rows::new();
        for (mode, engines) in file {
            for (engine, situations) in engines {
                for (situation, row) in situations {
                    rows.insert([mode.clone(), engine.clone(), situation], row);
                }
            }
        }
        rows
    }

    /// Writes what is expected there, with the reason of each row that departs.
    ///
    /// # Panics
    ///
    /// Where the file cannot be written.
    pub fn write(&self, rows: &Rows, reasons: &Reasons) {
        let Self { kernel, fs, device } = self;
        let mut text = format!("# Linux {kernel}, {fs} on {device}\n");
        let mut section = ("", "");
        for ([mode, engine, situation], row) in rows {
            if section != (mode, engine) {
                let _ = write!(text, "\n[{}.{engine}]\n", quoted(mode));
                section = (mode, engine);
            }
            let paths: Vec<String> = row.paths.iter().map(|path| quoted(path)).collect();
            let _ = write!(text, "{situation} = {{ paths = [{}]", paths.join(", "));
            if row.verdict != pass() {
                let _ = write!(text, ", verdict = {}", quoted(&row.verdict));
            }
            let key = [mode.clone(), engine.clone(), situation.clone()];
            if let Some(why) = reasons.of(self, &key, row) {
                let _ = write!(text, ", departs = {}", quoted(&why));
            }
            text += " }\n";
        }
        let file = self.file();
        fs::create_dir_all(file.parent().expect("a folder")).expect("the folder is made");
        fs::write(&file, text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }

    /// The rows as `odio-trace matrix --json` prints them, a line each, for its `--compare`.
    #[must_use]
    pub fn lines(&self, rows: &Rows) -> String {
        let vm = json!({"kernel": self.kernel, "fs": self.fs, "device": self.device});
        let mut lines = String::new();
        for ([mode, engine, situation], row) in rows {
            let line = json!({"type": "row", "vm": vm, "mode": mode, "engine": engine, "situation": situation,
                "verdict": row.verdict, "paths": row.paths});
            let _ = writeln!(lines, "{line}");
        }
        lines
    }
}

/// The rows that `odio-trace matrix --json` printed, by place.
///
/// # Panics
///
/// Where a line is not one of its.
#[must_use]
pub fn printed(text: &str) -> BTreeMap<Place, Rows> {
    let mut places: BTreeMap<Place, Rows> = BTreeMap::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        if line["type"] != "row" {
            continue;
        }
        let word = |value: &Value| value.as_str().expect("a string").to_owned();
        let place = Place {
            kernel: word(&line["vm"]["kernel"]),
            fs: word(&line["vm"]["fs"]),
            device: word(&line["vm"]["device"]),
        };
        let paths = line["paths"].as_array().expect("paths");
        let row = Row {
            paths: paths.iter().map(word).collect(),
            verdict: word(&line["verdict"]),
            departs: None,
        };
        let key = ["mode", "engine", "situation"].map(|field| word(&line[field]));
        places.entry(place).or_default().insert(key, row);
    }
    places
}

impl Reasons {
    /// Those of `reasons.toml`.
    ///
    /// # Panics
    ///
    /// Where the file is not as it should be.
    #[must_use]
    pub fn read() -> Self {
        let file = folder().join("reasons.toml");
        let text = fs::read_to_string(&file).expect("reasons.toml");
        toml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
    }

    /// Each reason as a row has it.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.reason.iter().map(|reason| reason.why.as_str())
    }

    /// Why a row departs from the plain rule; `None` where it does not. A departing path of which nobody knows why is
    /// told as such, and fails the test that looks for it.
    #[must_use]
    pub fn of(&self, place: &Place, key: &Key, row: &Row) -> Option<String> {
        let mut why: Vec<String> = Vec::new();
        let mut add = |path: Option<&String>| {
            let reason = self.reason.iter().find(|r| r.fits(place, key, row, path));
            let text = reason.map_or_else(
                || format!("{UNKNOWN} ({})", path.map_or("no path", |path| path)),
                |reason| reason.why.clone(),
            );
            if !why.contains(&text) {
                why.push(text);
            }
        };
        if row.verdict != pass() {
            add(None);
        } else {
            let departing = row.paths.iter().filter(|path| departs(place, key, path));
            departing.for_each(|path| add(Some(path)));
        }
        (!why.is_empty()).then(|| why.join("; "))
    }
}

/// In place of a reason that nobody has given.
pub const UNKNOWN: &str = "?";

impl Reason {
    fn fits(
        &self,
        place: &Place,
        [mode, engine, situation]: &Key,
        row: &Row,
        path: Option<&String>,
    ) -> bool {
        let among = |list: &[String], value: &String| list.is_empty() || list.contains(value);
        let steps: Vec<&str> = path.map_or_else(Vec::new, |path| path.split(", ").collect());
        let has = |step: &String| steps.iter().any(|s| s.starts_with(step.as_str()));
        let of_verdict = match path {
            Some(_) => self.verdict.is_empty(),
            None => self.verdict.contains(&row.verdict),
        };
        of_verdict
            && among(&self.kernel, &place.kernel)
            && among(&self.fs, &place.fs)
            && among(&self.device, &place.device)
            && among(&self.mode, mode)
            && among(&self.engine, engine)
            && among(&self.situation, situation)
            && self.has.iter().all(has)
            && !self.lacks.iter().any(has)
    }
}

/// Whether a path is another than the plain rule has it.
fn departs(place: &Place, [mode, engine, situation]: &Key, path: &str) -> bool {
    let steps: Vec<&str> = path.split(", ").collect();
    let has = |step: &str| steps.contains(&step);
    let expected = match engine.as_str() {
        "psync" => has("waited"),
        _ => has("queued") || has("inline"),
    };
    let buffered = mode.starts_with("buffered");
    if !expected || has("punted") || has("fallback") || path.contains("not seen") {
        return true;
    }
    if situation == "read" {
        return !buffered && !has("1 bio");
    }
    let fsyncs = steps.iter().filter(|step| step.contains("fsync")).count();
    if mode.contains('+') {
        let once = has("1 fsync by caller") || has("1 fsync by kworker");
        return !(once && has("durable")) || has("then a sync by libodio");
    }
    let durability = match (buffered, situation.as_str(), place.device.as_str()) {
        (true, ..) => "page-cache",
        (false, "overwrite", "write-through") => "durable",
        (false, "overwrite", _) => "device-cache",
        (false, ..) => "uncommitted",
    };
    fsyncs > 0 || path.contains("flush") || !has(durability)
}

fn quoted(text: &str) -> String {
    // A string of JSON is one of TOML, too.
    json!(text).to_string()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("matrix")
}
