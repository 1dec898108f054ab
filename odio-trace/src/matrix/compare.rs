//! # An earlier result, and what is different now
//!
//! Pure but for reading the files. A row has changed where it took a path now that it did not take before, or where
//! its verdict is another. Timing alone is none: a row that took several paths before may take fewer now, and a request
//! that was queued may be done before its call returns, which then runs what a worker ran. How an fsync made a write
//! durable is up to what else was dirty at that moment, so of it only the data's FUA and who ran it count. What a buffered
//! read finds in the page cache is up to readahead, so of that only the verdict counts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::PathBuf,
};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Found, line::Vm};
use crate::{check::Verdict, cli};

/// The rows of one place by mode, engine and situation.
type Rows = BTreeMap<[String; 3], Row>;

/// What is known of a row, or seen of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row {
    verdict: Verdict,
    paths: BTreeSet<String>,
}

/// Rows of an earlier result, by place.
#[derive(Debug, Default)]
pub(crate) struct Known {
    places: BTreeMap<Option<Vm>, Rows>,
}

/// A row that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Change {
    #[serde(skip_serializing_if = "Option::is_none")]
    vm: Option<Vm>,
    mode: String,
    engine: String,
    situation: String,
    /// Null where there was no such row.
    before: Option<Row>,
    /// Null where there is none any more.
    now: Option<Row>,
}

/// What of a printed row is compared; files may have less than a whole one.
#[derive(Deserialize)]
struct Text {
    vm: Option<Vm>,
    mode: String,
    engine: String,
    situation: String,
    verdict: Verdict,
    paths: BTreeSet<String>,
}

impl Known {
    /// Reads what `matrix --json` printed; `None` where there is no file to read.
    pub(super) fn read(files: &[PathBuf]) -> Result<Option<Self>> {
        let mut known = Self::default();
        for file in files {
            let name = file.display();
            let text = fs::read_to_string(file).with_context(|| format!("{name}"))?;
            known.take(&text, &name)?;
        }
        Ok((!files.is_empty()).then_some(known))
    }

    /// Adds the rows of a file of this name.
    pub(crate) fn take(&mut self, text: &str, name: impl fmt::Display) -> Result<()> {
        let mut rows = 0;
        for (i, line) in text
            .lines()
            .enumerate()
            .filter(|(_, l)| !l.trim().is_empty())
        {
            let at = || format!("{name}:{}: no line of `odio-trace matrix --json`", i + 1);
            let value: Value = serde_json::from_str(line).with_context(at)?;
            if value["type"] == "row" {
                self.add(serde_json::from_value(value).with_context(at)?);
                rows += 1;
            }
        }
        ensure!(rows > 0, "{name} has no row of `odio-trace matrix --json`");
        Ok(())
    }

    fn add(&mut self, text: Text) {
        let row = Row {
            verdict: text.verdict,
            paths: text.paths,
        };
        let rows = self.places.entry(text.vm).or_default();
        rows.insert([text.mode, text.engine, text.situation], row);
    }

    /// The rows of a place: those of the same VM; or, so that two kernels can be compared, of the only place there is.
    fn of(&self, vm: Option<&Vm>) -> Option<&Rows> {
        self.places.get(&vm.cloned()).or_else(|| {
            let mut all = self.places.values();
            all.next().filter(|_| all.next().is_none())
        })
    }

    /// What has changed in a place, of the rows that were asked for.
    pub(super) fn changes(&self, found: &Found, arguments: &cli::Matrix) -> Vec<Change> {
        let now: Rows = found
            .lines
            .iter()
            .map(|line| {
                let row = Row {
                    verdict: line.verdict,
                    paths: line.paths.iter().cloned().collect(),
                };
                let of = [&line.mode, &line.engine, &line.situation];
                (of.map(Clone::clone), row)
            })
            .collect();
        let nothing = Rows::new();
        let before = self.of(found.vm.as_ref()).unwrap_or(&nothing);
        let rows: BTreeSet<&[String; 3]> = before.keys().chain(now.keys()).collect();
        rows.into_iter()
            .filter(|row| arguments.asks_for(row))
            .filter(|row| {
                let [mode, _, situation] = row;
                let cached = mode.starts_with("buffered") && situation == "read";
                changed(before.get(*row), now.get(*row), cached)
            })
            .map(|row| {
                let [mode, engine, situation] = row.clone();
                Change {
                    vm: found.vm.clone(),
                    mode,
                    engine,
                    situation,
                    before: before.get(row).cloned(),
                    now: now.get(row).cloned(),
                }
            })
            .collect()
    }
}

/// `cached`: the paths are up to what the page cache holds.
fn changed(before: Option<&Row>, now: Option<&Row>, cached: bool) -> bool {
    let (Some(before), Some(now)) = (before, now) else {
        return true;
    };
    let known: BTreeSet<String> = before.paths.iter().map(|path| untimed(path)).collect();
    let is_known = |path: &String| known.contains(&untimed(path));
    before.verdict != now.verdict || !(cached || now.paths.iter().all(is_known))
}

/// The path as it is where the device is slow and nothing else is dirty.
fn untimed(path: &str) -> String {
    without_ways_of_fsync(&as_on_a_slow_device(path))
}

/// Had the device done its part before the call that queued the request returned, that call ran what a worker runs, and
/// waited for an fsync; so did the worker that took a request over.
fn as_on_a_slow_device(path: &str) -> String {
    let slow =
        |first: &str, rest: &str, by: &str| format!("{first}{}", rest.replace(by, "by kworker"));
    let synced_by_caller = path.contains("by caller");
    match path {
        _ if path.starts_with("punted, queued") => path.to_owned(),
        _ if path.starts_with("punted") => {
            slow("punted, queued", &path["punted".len()..], "by io-wq")
        }
        _ if path.starts_with("inline") => slow("queued", &path["inline".len()..], "by caller"),
        _ if path.starts_with("waited") && synced_by_caller => {
            slow("queued", &path["waited".len()..], "by caller")
        }
        _ => path.to_owned(),
    }
}

/// An fsync that made a write durable commits where the time of the file's last change went into another tick, and only
/// flushes where it did not; it sends the data with what else lies in its blocks; and btrfs, which runs two for O_SYNC,
/// finds nothing left to do in the second where the first was late.
fn without_ways_of_fsync(path: &str) -> String {
    let is = |part: &str, what: &str| part.contains(&format!(" {what}"));
    let parts: Vec<&str> = path.split(", ").collect();
    let durable_by_fsync = parts.contains(&"durable") && parts.iter().any(|part| is(part, "fsync"));
    if !durable_by_fsync {
        return path.to_owned();
    }
    let kept = parts.iter().filter_map(|part| {
        let counted = |what: &str| part.split_once(what).map(|(_, rest)| rest);
        if let Some(by) = counted(" by ") {
            return Some(format!("fsync by {by}"));
        }
        if ["flush", "commit", "superblock"]
            .iter()
            .any(|what| is(part, what))
        {
            return None;
        }
        Some(match counted(" bio") {
            Some(rest) => format!("bio{}", rest.trim_start_matches('s')),
            None => (*part).to_owned(),
        })
    });
    kept.collect::<Vec<_>>().join(", ")
}

/// A row that was seen before and is not now proves nothing; any other change is one.
pub(super) fn verdict(changes: &[Change]) -> Verdict {
    let of = |change: &Change| match &change.now {
        Some(now) if now.verdict != Verdict::Inconclusive => Verdict::Fail,
        _ => Verdict::Inconclusive,
    };
    changes.iter().map(of).max().unwrap_or(Verdict::Pass)
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(vm) = &self.vm {
            write!(f, "{vm}: ")?;
        }
        let told = |row: &Option<Row>| match row {
            Some(row) => {
                let paths: Vec<&str> = row.paths.iter().map(String::as_str).collect();
                format!("{} {}", row.verdict.name(), paths.join(" | "))
            }
            None => "no such row".into(),
        };
        write!(
            f,
            "{} {} {}\n    was: {}\n    is:  {}",
            self.mode,
            self.engine,
            self.situation,
            told(&self.before),
            told(&self.now)
        )
    }
}

#[cfg(test)]
mod tests;
