//! What O_DIRECT asks of a request and promises for it.

use super::{Answer, Claim, Judged, USER_SPACE, holds_or, outcome, set};
use crate::seen::Seen;

const EINVAL: i64 = -22;

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        id: "past-the-page-cache",
        document: USER_SPACE,
        code: "",
        says: "O_DIRECT goes past the page cache, straight between the program's memory and the device.",
        judge: past_the_page_cache,
    },
    Claim {
        id: "length-aligned",
        document: USER_SPACE,
        code: "",
        says: "The length of a direct request must be a multiple of the sector or block.",
        judge: length_aligned,
    },
    Claim {
        id: "memory-aligned",
        document: USER_SPACE,
        code: "",
        says: "So must the address of its memory (512 bytes or more).",
        judge: memory_aligned,
    },
    Claim {
        id: "calls-wait",
        document: USER_SPACE,
        code: "",
        says: "read() and write() with O_DIRECT return when the I/O is done.",
        judge: calls_wait,
    },
    Claim {
        id: "nonblock",
        document: USER_SPACE,
        code: "",
        says: "With O_NONBLOCK beside O_DIRECT they are asynchronous.",
        judge: nonblock,
    },
    Claim {
        id: "aio-does-not-wait",
        document: USER_SPACE,
        code: "",
        says: "io_submit starts a direct request without waiting for it; the program learns of its end later.",
        judge: aio_does_not_wait,
    },
    Claim {
        id: "fsync-needed",
        document: USER_SPACE,
        code: "",
        says: "After direct writes the program may have to call fsync() or fdatasync() to have them on stable storage.",
        judge: fsync_needed,
    },
];

fn past_the_page_cache(seen: &Seen) -> Judged {
    let rows = seen.rows("direct", None, None)?;
    let fell_back: Vec<_> = rows.iter().filter(|row| row.any("fallback")).collect();
    let hole = seen
        .hole()
        .is_some_and(|ops| ops.iter().any(|op| op.cache.as_deref() == Some("fallback")));
    Ok(if fell_back.is_empty() && !hole {
        (
            Answer::Holds,
            format!(
                "none of {} kinds of direct write went through it.",
                rows.len()
            ),
        )
    } else if fell_back.is_empty() {
        (
            Answer::Condition,
            format!(
                "none of {} kinds of direct write went through it, but those into the hole of a file without extents.",
                rows.len()
            ),
        )
    } else {
        (
            Answer::Condition,
            format!(
                "{} of {} kinds of direct write went through it all the same ({}).",
                fell_back.len(),
                rows.len(),
                set(fell_back.iter().map(|row| row.situation.as_str()))
            ),
        )
    })
}

fn length_aligned(seen: &Seen) -> Judged {
    let ops = seen.writes("misaligned-length")?;
    let bios: u32 = ops.iter().map(|op| op.bios).sum();
    Ok((
        holds_or(
            Answer::NoLonger,
            ops.iter().all(|op| op.result == EINVAL) && bios == 0,
        ),
        format!(
            "1000 bytes gave \"{}\" and {bios} bios.",
            outcome(ops[0].result)
        ),
    ))
}

fn memory_aligned(seen: &Seen) -> Judged {
    let ops = seen.writes("misaligned-memory")?;
    let bios: u32 = ops.iter().map(|op| op.bios).sum();
    let refused = ops.iter().all(|op| op.result == EINVAL) && bios == 0;
    Ok((
        holds_or(Answer::NoLonger, refused),
        format!(
            "4096 bytes at an address that is a multiple of 8 alone gave \"{}\" and {bios} bios{}.",
            outcome(ops[0].result),
            if refused {
                ""
            } else {
                ": the device says how it wants memory aligned, and its sector has no part in that"
            }
        ),
    ))
}

fn calls_wait(seen: &Seen) -> Judged {
    let rows = seen.rows("direct", Some("psync"), None)?;
    Ok((
        holds_or(Answer::NoLonger, rows.iter().all(|row| row.every("waited"))),
        format!(
            "{} kinds of pwrite with O_DIRECT: {}.",
            rows.len(),
            set(rows.iter().flat_map(|row| row.completions()))
        ),
    ))
}

fn nonblock(seen: &Seen) -> Judged {
    let ops = seen.writes("nonblocking")?;
    let waited = ops
        .iter()
        .filter(|op| op.completion.as_deref() == Some("waited"))
        .count();
    Ok((
        holds_or(Answer::Wrong, waited == 0),
        format!(
            "{waited} of {} writes of dd with oflag=direct,nonblock waited: O_NONBLOCK means nothing to a regular file. \
             Linux AIO and io_uring are asynchronous.",
            ops.len()
        ),
    ))
}

fn aio_does_not_wait(seen: &Seen) -> Judged {
    let rows = seen.rows("direct", Some("libaio"), Some("overwrite"))?;
    let held = rows
        .iter()
        .all(|row| row.completions().all(|c| c == "queued" || c == "inline"));
    Ok((
        holds_or(Answer::NoLonger, held),
        format!(
            "overwrites by libaio: {}{}.",
            set(rows.iter().flat_map(|row| row.completions())),
            if held {
                "; inline means that the device was faster than the call"
            } else {
                ""
            }
        ),
    ))
}

fn fsync_needed(seen: &Seen) -> Judged {
    let written = seen.writes("dd-synced")?;
    let durable = |durability: &Option<String>| durability.as_deref() == Some("durable");
    let synced = seen.sync("dd-synced")?;
    let places = set(written.iter().filter_map(|op| op.durability.as_deref()));
    let early = written.iter().filter(|op| durable(&op.durability)).count();
    let after = synced.durability.as_deref().unwrap_or("not seen");
    if after == "unknown" || after == "not seen" || places.contains("unknown") {
        return Err("where the writes were before and after the fsync is not known".into());
    }
    Ok((
        holds_or(Answer::NoLonger, early == 0 && after == "durable"),
        format!(
            "direct writes of dd were {places} when they were acknowledged, and {after} after its fsync."
        ),
    ))
}
