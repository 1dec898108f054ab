//! The functions that a direct write goes through, and whether it waits in them.

use super::{Answer, Claim, EXT4, Judged, holds_or, set};
use crate::{record::Op, seen::Seen};

/// `EIOCBQUEUED` of include/linux/errno.h, which no program sees.
const QUEUED: i64 = -529;

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        id: "submit-bio",
        document: EXT4,
        code: "block/blk-core.c: submit_bio",
        says: "A direct write reaches the block layer through submit_bio.",
        judge: submit_bio,
    },
    Claim {
        id: "blockdev-direct-io",
        document: EXT4,
        code: "fs/direct-io.c: __blockdev_direct_IO",
        says: "On its way there it passes __blockdev_direct_IO.",
        judge: blockdev_direct_io,
    },
    Claim {
        id: "dio-await-completion",
        document: EXT4,
        code: "fs/direct-io.c: do_blockdev_direct_IO, dio_await_completion",
        says: "A synchronous one then waits for all its bios in dio_await_completion.",
        judge: dio_await_completion,
    },
    Claim {
        id: "on-disk-when-it-returns",
        document: EXT4,
        code: "fs/direct-io.c: dio_await_completion",
        says: "A synchronous direct write therefore is on the disk when it returns; only a cache below may still hold it.",
        judge: on_disk_when_it_returns,
    },
    Claim {
        id: "no-guarantee",
        document: EXT4,
        code: "",
        says: "O_DIRECT on its own does not give the guarantee of O_SYNC that data and metadata are transferred (open(2)).",
        judge: no_guarantee,
    },
    Claim {
        id: "aio-returns-queued",
        document: EXT4,
        code: "fs/direct-io.c: do_blockdev_direct_IO",
        says: "An asynchronous write that went well returns at once, with EIOCBQUEUED and without dio_await_completion.",
        judge: aio_returns_queued,
    },
    Claim {
        id: "extending-aio-waits",
        document: EXT4,
        code: "fs/direct-io.c: do_blockdev_direct_IO",
        says: "An asynchronous write that extends the file waits after all.",
        judge: extending_aio_waits,
    },
    Claim {
        id: "falls-back",
        document: EXT4,
        code: "mm/filemap.c: __generic_file_write_iter",
        says: "A direct write that stops short, into a hole for instance, falls back to buffered I/O.",
        judge: falls_back,
    },
    Claim {
        id: "fallback-is-written-out",
        document: EXT4,
        code: "mm/filemap.c: __generic_file_write_iter, filemap_write_and_wait_range",
        says: "What fell back is written out from the page cache before the write returns.",
        judge: fallback_is_written_out,
    },
];

/// The direct writes of dd, over what is there and behind the end; those that did go past the page cache.
fn direct(seen: &Seen) -> Result<Vec<&Op>, String> {
    let mut ops = seen.writes("dd-direct")?;
    ops.extend(seen.writes("dd-append")?);
    ops.retain(|op| op.cache.as_deref() == Some("direct"));
    if ops.is_empty() {
        return Err("no direct write of dd went past the page cache".into());
    }
    Ok(ops)
}

/// The functions that took direct writes, where each told at which it was.
fn taken_by(ops: &[&Op]) -> Result<String, String> {
    let told = |op: &&Op| op.at("dio-begin").next().is_some_and(|at| at != "?");
    if !ops.iter().all(told) {
        return Err("which function took the direct writes was not seen".into());
    }
    Ok(set(ops.iter().flat_map(|op| op.at("dio-begin"))))
}

fn submit_bio(seen: &Seen) -> Judged {
    let ops = direct(seen)?;
    let through = ops.iter().filter(|op| op.passed("submit_bio")).count();
    Ok((
        holds_or(Answer::NoLonger, through == ops.len()),
        format!("{through} of {} direct writes of dd did.", ops.len()),
    ))
}

fn blockdev_direct_io(seen: &Seen) -> Judged {
    let ops = direct(seen)?;
    let through = ops
        .iter()
        .filter(|op| op.passed("__blockdev_direct_IO"))
        .count();
    if through == ops.len() {
        return Ok((
            Answer::Holds,
            format!("all {through} direct writes of dd did."),
        ));
    }
    let instead = taken_by(&ops)?;
    Ok((
        Answer::NoLonger,
        format!(
            "{through} of {} direct writes of dd did; they passed {instead}.",
            ops.len()
        ),
    ))
}

fn dio_await_completion(seen: &Seen) -> Judged {
    let ops = direct(seen)?;
    let slept = ops
        .iter()
        .filter(|op| op.completion.as_deref() == Some("waited"))
        .count();
    let awaits: usize = ops.iter().map(|op| op.times("dio_await_completion")).sum();
    if slept != ops.len() {
        return Ok((
            Answer::NoLonger,
            format!("only {slept} of {} direct writes of dd waited.", ops.len()),
        ));
    }
    if seen.missing("dio-await").is_none() {
        return Ok((
            holds_or(Answer::NoLonger, awaits == slept),
            format!(
                "{slept} direct writes of dd waited, and the probe on dio_await_completion fired {awaits} times."
            ),
        ));
    }
    if ops.iter().any(|op| op.passed("__blockdev_direct_IO")) {
        return Err(format!(
            "{slept} direct writes of dd waited, but dio_await_completion is inlined in this kernel and cannot be probed"
        ));
    }
    let taken = taken_by(&ops)?;
    Ok((
        Answer::NoLonger,
        format!(
            "{slept} direct writes of dd waited, all of them in {taken}, which has a wait of its own."
        ),
    ))
}

fn on_disk_when_it_returns(seen: &Seen) -> Judged {
    let (over, behind) = (
        seen.places("direct", "psync", "overwrite")?,
        seen.places("direct", "psync", "append")?,
    );
    let done = |places: &str| places == "device-cache" || places == "durable";
    let why = format!("an overwrite is {over} when it is acknowledged, an append {behind}");
    Ok(if !done(&over) {
        (Answer::NoLonger, format!("{why}."))
    } else if done(&behind) {
        (Answer::Holds, format!("{why}."))
    } else {
        (
            Answer::Condition,
            format!("{why}: its data is on the disk, but after a crash nothing leads to it."),
        )
    })
}

fn no_guarantee(seen: &Seen) -> Judged {
    let (over, behind) = (
        seen.places("direct", "psync", "overwrite")?,
        seen.places("direct", "psync", "append")?,
    );
    Ok((
        holds_or(Answer::Wrong, over != "durable" && behind != "durable"),
        format!(
            "an overwrite is {over} when it is acknowledged, an append {behind}; neither is durable."
        ),
    ))
}

fn aio_returns_queued(seen: &Seen) -> Judged {
    let ops = seen.writes("fio-batches")?;
    let queued: Vec<_> = ops
        .iter()
        .filter(|op| op.completion.as_deref() == Some("queued"))
        .collect();
    let inline = ops
        .iter()
        .filter(|op| op.completion.as_deref() == Some("inline"))
        .count();
    let returned = queued
        .iter()
        .filter(|op| op.returned().any(|result| result == QUEUED))
        .count();
    let awaits: usize = ops.iter().map(|op| op.times("dio_await_completion")).sum();
    if queued.is_empty() {
        return Err(format!(
            "none of {} overwrites by libaio was queued",
            ops.len()
        ));
    }
    Ok((
        holds_or(
            Answer::NoLonger,
            returned == queued.len() && queued.len() + inline == ops.len() && awaits == 0,
        ),
        format!(
            "of {} overwrites of fio by libaio {} were queued, {returned} of them with EIOCBQUEUED; {inline} were done \
             before the call returned, and {awaits} went to dio_await_completion.",
            ops.len(),
            queued.len()
        ),
    ))
}

fn extending_aio_waits(seen: &Seen) -> Judged {
    let rows = seen.rows("direct", Some("libaio"), Some("append"))?;
    if rows.iter().any(|row| row.any("fallback")) {
        return Ok((
            Answer::NotHere,
            "appends go through the page cache here, asynchronous or not.".into(),
        ));
    }
    Ok((
        holds_or(Answer::NoLonger, rows.iter().all(|row| row.every("waited"))),
        format!(
            "appends by libaio: {}.",
            set(rows.iter().flat_map(|row| row.completions()))
        ),
    ))
}

/// What fell back, of how many.
struct Fallback {
    of: usize,
    fell_back: usize,
    /// That sent bios themselves.
    written: usize,
    what: &'static str,
}

/// Into holes where there are files without extents, else behind the end, which some filesystems leave to the page cache;
/// `None` where this filesystem does neither.
fn fallback(seen: &Seen) -> Result<Option<Fallback>, String> {
    if let Some(ops) = seen.hole() {
        if ops.is_empty() {
            return Err("no direct write into a hole was seen".into());
        }
        let fell_back = |op: &&&Op| op.cache.as_deref() == Some("fallback");
        return Ok(Some(Fallback {
            of: ops.len(),
            fell_back: ops.iter().filter(fell_back).count(),
            written: ops
                .iter()
                .filter(fell_back)
                .filter(|op| op.bios > 0)
                .count(),
            what: "direct writes into the hole of a file without extents",
        }));
    }
    let rows = seen.rows("direct", None, Some("append"))?;
    let fell_back: Vec<_> = rows.iter().filter(|row| row.any("fallback")).collect();
    Ok((!fell_back.is_empty()).then(|| Fallback {
        of: rows.len(),
        fell_back: fell_back.len(),
        written: fell_back
            .iter()
            .filter(|row| row.paths.iter().all(|path| path.contains(" bio")))
            .count(),
        what: "kinds of direct append",
    }))
}

const NEITHER: &str = "this filesystem has no files without extents to be told apart from others, and no append fell back.";

fn falls_back(seen: &Seen) -> Judged {
    let Some(found) = fallback(seen)? else {
        return Ok((Answer::NotHere, NEITHER.into()));
    };
    Ok((
        if found.fell_back == 0 {
            Answer::NoLonger
        } else {
            Answer::Condition
        },
        format!("{} of {} {} did.", found.fell_back, found.of, found.what),
    ))
}

fn fallback_is_written_out(seen: &Seen) -> Judged {
    let Some(found) = fallback(seen)? else {
        return Ok((Answer::NotHere, NEITHER.into()));
    };
    if found.fell_back == 0 {
        return Err("no direct write fell back".into());
    }
    Ok((
        holds_or(Answer::NoLonger, found.written == found.fell_back),
        format!(
            "{} of {} {} that fell back sent their bytes to the device themselves.",
            found.written, found.fell_back, found.what
        ),
    ))
}
