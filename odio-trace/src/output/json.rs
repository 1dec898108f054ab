//! One JSON object a line.

use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;

use super::not_written;

/// What every line that this tool prints as JSON looks like (JSON Schema, draft 2020-12).
pub(crate) const SCHEMA: &str = include_str!("../../schema/ops.schema.json");

/// Writes one line and passes it on at once, so that a reader sees it while the workload runs.
pub(crate) fn line(value: &impl Serialize) -> Result<()> {
    let mut line = Vec::new();
    add(value, &mut line)?;
    raw(&line)
}

/// Adds one line to others that are to be written together.
pub(crate) fn add(value: &impl Serialize, lines: &mut Vec<u8>) -> Result<()> {
    serde_json::to_writer(&mut *lines, value)?;
    lines.push(b'\n');
    Ok(())
}

/// Writes what is already JSON.
pub(crate) fn raw(line: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(line)
        .and_then(|()| out.flush())
        .map_err(not_written)
}
