//! What was seen, as the claims ask for it.
//!
//! Where the answer would rest on what was not seen, or not conclusively, it is an error that says so.

use crate::{
    record::{Op, Row},
    runs::{Matrix, Programs},
};

/// The programs and the matrix.
pub(crate) struct Seen {
    pub(crate) programs: Programs,
    pub(crate) matrix: Matrix,
}

impl Seen {
    /// What was lost of either; nothing is certain then.
    pub(crate) fn losses(&self) -> Vec<String> {
        let of = |what: &str, summary: &crate::record::Summary| {
            (!summary.whole()).then(|| {
                format!(
                    "of the {what} {} records were lost, {} ends or hits missed, {} bios of no op",
                    summary.lost, summary.missed, summary.unattributed
                )
            })
        };
        [
            of("programs", &self.programs.summary),
            of("matrix", &self.matrix.summary),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The rows of a mode, and of an engine and situation where they are given. A row that this file cannot have, such as
    /// preallocated space where there is none, is not among them.
    pub(crate) fn rows(
        &self,
        mode: &str,
        engine: Option<&str>,
        situation: Option<&str>,
    ) -> Result<Vec<&Row>, String> {
        self.rows_but_for(|_| false, mode, engine, situation)
    }

    /// The rows of a mode, for a claim that asks for fsyncs and not where the writes were: that may be unknown of those whose
    /// fsyncs were seen. Of others it may be unknown because an fsync could not be seen.
    pub(crate) fn rows_wherever(&self, mode: &str) -> Result<Vec<&Row>, String> {
        self.rows_but_for(Row::lacks_only_the_place, mode, None, None)
    }

    fn rows_but_for(
        &self,
        excused: fn(&Row) -> bool,
        mode: &str,
        engine: Option<&str>,
        situation: Option<&str>,
    ) -> Result<Vec<&Row>, String> {
        let rows: Vec<&Row> = self
            .matrix
            .rows
            .iter()
            .filter(|row| row.first.mode == mode)
            .filter(|row| engine.is_none_or(|engine| row.first.engine == engine))
            .filter(|row| situation.is_none_or(|situation| row.situation == situation))
            .filter(|row| !row.reason.starts_with("not to be had here"))
            .collect();
        let open = |row: &&&Row| row.verdict == "INCONCLUSIVE" && !excused(row);
        if let Some(row) = rows.iter().find(open) {
            return Err(format!(
                "{mode}, {}, {} is inconclusive: {}",
                row.first.engine, row.situation, row.reason
            ));
        }
        if rows.is_empty() || rows.iter().any(|row| row.paths.is_empty()) {
            return Err(format!("no request of {mode} was seen"));
        }
        Ok(rows)
    }

    /// Where the writes of a row were when they were acknowledged.
    pub(crate) fn places(
        &self,
        mode: &str,
        engine: &str,
        situation: &str,
    ) -> Result<String, String> {
        const PLACES: [&str; 5] = [
            "page-cache",
            "device-cache",
            "uncommitted",
            "durable",
            "unknown",
        ];
        let rows = self.rows(mode, Some(engine), Some(situation))?;
        let found: Vec<&str> = PLACES
            .into_iter()
            .filter(|place| rows.iter().any(|row| row.any(place)))
            .collect();
        match found[..] {
            ["unknown"] | [] => Err(format!(
                "where a write of {mode} was when it was acknowledged is not known"
            )),
            [place] => Ok(place.into()),
            _ => Ok(found.join(" or ")),
        }
    }

    /// The writes of a program.
    pub(crate) fn writes(&self, name: &str) -> Result<Vec<&Op>, String> {
        let ops: Vec<&Op> = self
            .programs
            .runs
            .iter()
            .filter(|run| run.name == name)
            .flat_map(|run| &run.writes)
            .collect();
        if ops.is_empty() {
            return Err(format!("no write of {name} was seen"));
        }
        let lost: u64 = ops.iter().map(|op| op.steps_lost).sum();
        if lost > 0 {
            return Err(format!("{lost} steps of {name} were lost"));
        }
        Ok(ops)
    }

    /// The one fsync of a program.
    pub(crate) fn sync(&self, name: &str) -> Result<&Op, String> {
        let mut syncs = self
            .programs
            .runs
            .iter()
            .filter(|run| run.name == name)
            .flat_map(|run| &run.syncs);
        match (syncs.next(), syncs.next()) {
            (Some(sync), None) if sync.steps_lost == 0 => Ok(sync),
            (Some(_), None) => Err(format!("steps of the fsync of {name} were lost")),
            (None, _) => Err(format!("no fsync of {name} was seen")),
            (Some(_), Some(_)) => Err(format!("more than one fsync of {name} was seen")),
        }
    }

    /// The direct writes into a hole of a file without extents; `None` where there are no such files.
    pub(crate) fn hole(&self) -> Option<Vec<&Op>> {
        self.programs
            .runs
            .iter()
            .find(|run| run.name == "hole")
            .map(|run| run.writes.iter().collect())
    }

    /// Why the hook has no probe on this kernel, if it has none.
    pub(crate) fn missing(&self, hook: &str) -> Option<&str> {
        let missing = &self.programs.summary.missing;
        missing
            .iter()
            .find(|missing| missing.hook == hook)
            .map(|missing| missing.why.as_str())
    }

    /// Whether the device says that it has a volatile write cache.
    pub(crate) fn volatile_cache(&self) -> bool {
        let rows = &self.matrix.rows;
        rows.iter()
            .any(|row| row.device.contains("write-back cache"))
    }
}
