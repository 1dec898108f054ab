//! dd and fio, which the second document compares.

use std::collections::BTreeSet;

use super::{Answer, Claim, EXT4, Judged, holds_or, set};
use crate::{record::Op, seen::Seen};

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        id: "dd-is-synchronous",
        document: EXT4,
        code: "",
        says: "dd uses no asynchronous I/O, so that each of its direct writes waits.",
        judge: dd_is_synchronous,
    },
    Claim {
        id: "fio-defaults-to-libaio",
        document: EXT4,
        code: "",
        says: "fio uses libaio where it is not told otherwise.",
        judge: fio_defaults_to_libaio,
    },
    Claim {
        id: "fio-libaio-does-not-wait",
        document: EXT4,
        code: "",
        says: "With libaio its direct writes are not waited for, as dd's are.",
        judge: fio_libaio_does_not_wait,
    },
    Claim {
        id: "fio-psync-is-as-dd",
        document: EXT4,
        code: "",
        says: "With a synchronous engine fio's writes do what dd's do, with O_SYNC and without.",
        judge: fio_psync_is_as_dd,
    },
];

fn dd_is_synchronous(seen: &Seen) -> Judged {
    let mut ops = seen.writes("dd-direct")?;
    ops.extend(seen.writes("dd-append")?);
    ops.extend(seen.writes("dd-direct-sync")?);
    let waited = ops
        .iter()
        .filter(|op| op.engine == "psync" && op.completion.as_deref() == Some("waited"))
        .count();
    Ok((
        holds_or(Answer::NoLonger, waited == ops.len()),
        format!(
            "{waited} of {} direct writes of dd were synchronous and waited.",
            ops.len()
        ),
    ))
}

fn fio_defaults_to_libaio(seen: &Seen) -> Judged {
    let ops = seen.writes("fio-default")?;
    Ok((
        holds_or(Answer::Wrong, ops.iter().all(|op| op.engine == "libaio")),
        format!(
            "asked for no engine, fio's writes came as {}.",
            set(ops.iter().map(|op| op.engine.as_str()))
        ),
    ))
}

fn fio_libaio_does_not_wait(seen: &Seen) -> Judged {
    let ops = seen.writes("fio-libaio")?;
    let waited = ops
        .iter()
        .filter(|op| op.completion.as_deref() == Some("waited"))
        .count();
    Ok((
        holds_or(Answer::NoLonger, waited == 0),
        format!(
            "{waited} of {} overwrites of fio by libaio waited.",
            ops.len()
        ),
    ))
}

/// What a write did. How much its fsync had to send is of the moment: what else is in the same sectors, and whether the
/// file's time went into another tick.
fn way(op: &Op) -> String {
    let data = match (op.bios, op.fua) {
        (0, _) => "no bio",
        (bios, fua) if bios == fua => "FUA",
        _ => "bios",
    };
    format!(
        "{}, {data}, {} fsyncs, {}",
        op.completion.as_deref().unwrap_or("not seen"),
        op.fsyncs,
        op.durability.as_deref().unwrap_or("not seen")
    )
}

fn fio_psync_is_as_dd(seen: &Seen) -> Judged {
    let ways = |name| -> Result<BTreeSet<String>, String> {
        Ok(seen.writes(name)?.into_iter().map(way).collect())
    };
    let mut differ = Vec::new();
    for (dd, fio) in [
        ("dd-direct", "fio-psync"),
        ("dd-direct-sync", "fio-psync-sync"),
    ] {
        let (dd, fio) = (ways(dd)?, ways(fio)?);
        if dd != fio {
            let told = |ways: &BTreeSet<String>| set(ways.iter().map(String::as_str));
            differ.push(format!("dd's: {}; fio's: {}", told(&dd), told(&fio)));
        }
    }
    Ok(if differ.is_empty() {
        (
            Answer::Holds,
            "dd's and fio's overwrites took the same paths, with O_SYNC and without.".into(),
        )
    } else {
        (Answer::NoLonger, format!("{}.", differ.join("; ")))
    })
}
