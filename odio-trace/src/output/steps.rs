//! Ops with their steps, for a person.

use std::fmt::Write as _;

use super::text::printable;
use crate::{op::Op, step::Step};

/// One line for the op, and those of its steps below it.
pub(crate) fn op(op: &Op, steps: &[Step]) -> String {
    let mut out = header(op);
    for step in steps {
        out.push('\n');
        out.push_str(&line(step));
    }
    out
}

/// `#3 write of 4096 at 8192, /mnt/f: ...`
pub(crate) fn header(op: &Op) -> String {
    let mut out = format!(
        "#{} {} of {} at {}, {}, {} ({}/{}), {}, {}: ",
        op.id.unwrap_or(0),
        op.op,
        op.len,
        op.offset,
        op.file.as_deref().map_or_else(|| "?".into(), printable),
        printable(&op.comm.text()),
        op.pid,
        op.tid,
        printable(op.engine),
        printable(op.mode),
    );
    if op.acknowledged {
        let _ = write!(out, "{} after {} ns", op.result, op.latency_ns);
    } else {
        out.push_str("its end was not seen");
    }
    if let Some(durability) = op.durability {
        let _ = write!(out, ", {}", printable(durability));
    }
    match op.steps_lost {
        None | Some(0) => {}
        Some(lost) => {
            let _ = write!(out, "; {lost} of its steps are not there");
        }
    }
    out
}

/// One line for a step, and its calls below it.
pub(crate) fn line(step: &Step) -> String {
    let mut out = format!(
        "    +{:>10} ns  cpu {:<3} {:>16}/{:<7} {:<17} {}",
        step.ns,
        step.cpu,
        printable(&step.comm.text()),
        step.tid,
        printable(&step.hook),
        step.function
            .as_deref()
            .map_or_else(|| "?".into(), printable),
    );
    if let Some(object) = &step.object {
        let _ = write!(out, ", {} {}", printable(&object.kind), object.number);
    }
    if let Some(bio) = &step.bio {
        let _ = write!(out, ": {}, {} bytes", printable(&bio.counts_as), bio.bytes);
        for (is, name) in [(bio.fua, ", FUA"), (bio.preflush, ", PREFLUSH")] {
            out.push_str(if is { name } else { "" });
        }
    }
    if let Some(result) = step.result {
        let _ = write!(out, ": {result}");
    }
    for call in step.stack.iter().flatten() {
        let _ = write!(out, "\n{:18}{}", "", printable(call));
    }
    out
}
