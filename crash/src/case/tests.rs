use proptest::prelude::*;

use super::*;
use crate::content::{self, Found, SECTOR, Written};

fn case(situation: Situation, mode: &str) -> Case {
    Case {
        filesystem: "ext4".into(),
        mode: mode.into(),
        engine: "psync".into(),
        workload: Workload::Write,
        situation: situation.name().into(),
        files: 1,
        writes: 12,
        depth: 1,
        sync_every: 0,
        sync_by: SyncBy::QueueData,
        raw: false,
        seed: 1,
        disk: 64 << 20,
    }
}

fn of(workload: Workload, files: u32, mode: &str) -> Case {
    Case {
        workload,
        files,
        ..case(Situation::Append, mode)
    }
}

/// The files when the first `done` ops are in them; the new name of each that was to replace one is gone.
fn files(case: &Case, ops: &[Op], done: usize) -> Files {
    let mut files = Files::new();
    for file in 0..case.files {
        if let Some(Prepared { size, written }) = case.prepared(file) {
            let bytes = files.entry(case.file_name(file)).or_default();
            *bytes = vec![0; size as usize];
            write(bytes, case, file, written.0, written.1, 0);
        }
    }
    for op in &ops[..done] {
        let bytes = files.entry(case.file_name(op.file)).or_default();
        if op.action == Action::Replace {
            bytes.clear();
        }
        write(bytes, case, op.file, op.offset, op.length, op.generation());
    }
    files
}

/// Of a case with one file.
fn data(files: &mut Files) -> &mut Vec<u8> {
    files.get_mut("data").unwrap()
}

/// The first `done` ops are acknowledged.
fn acked(ops: &[Op], done: usize) -> Progress {
    let mut progress = Progress::default();
    for op in &ops[..done] {
        progress.mark(&op.mark());
    }
    progress
}

fn write(bytes: &mut Vec<u8>, case: &Case, file: u32, offset: u64, length: u64, generation: u32) {
    let (from, to) = (offset as usize, (offset + length) as usize);
    bytes.resize(bytes.len().max(to), 0);
    content::fill(&mut bytes[from..to], case.key(), file, offset, generation);
}

/// What is done to the bytes of a file.
type Change<'a> = &'a dyn Fn(&mut Vec<u8>);

const WRITES: [Situation; 4] = [
    Situation::Overwrite,
    Situation::Unwritten,
    Situation::Append,
    Situation::Hole,
];

/// Every workload, one at a time.
fn each() -> Vec<Case> {
    let written = WRITES.iter().flat_map(|situation| {
        let one = case(*situation, "direct+dsync");
        let two = Case {
            files: 2,
            ..one.clone()
        };
        let bounced = Case {
            workload: Workload::Bounce,
            ..two.clone()
        };
        [one, two, bounced]
    });
    let named = [
        of(Workload::Create, 1, "direct+dsync"),
        of(Workload::Rename, 1, "direct"),
        of(Workload::Rename, 2, "direct"),
    ];
    written.chain(named).collect()
}

#[test]
fn what_was_acknowledged_is_right_and_so_is_what_had_begun() {
    for case in each() {
        let ops = case.ops();
        for count in 0..ops.len() {
            for done in [count, count + 1] {
                let files = files(&case, &ops, done);
                let wrong = case.verify(&ops, &acked(&ops, count), case.promise(), &files);
                assert_eq!(wrong, [], "{} {count} {done}", case.name());
            }
        }
    }
}

#[test]
fn an_acknowledged_op_that_is_not_there_is_found() {
    for case in each() {
        let ops = case.ops();
        for count in 1..=ops.len() {
            let files = files(&case, &ops, count - 1);
            let mut progress = acked(&ops, count);
            let wrong = case.verify(&ops, &progress, Expect::Durable, &files);
            let last = ops[count - 1];
            let name = format!("{} {count}", case.name());
            assert!(!wrong.is_empty(), "{name}");
            for wrong in &wrong {
                assert_eq!(wrong.op, Some(last.number), "{name}");
                assert_eq!(wrong.file, case.file_name(last.file), "{name}");
            }
            if last.action != Action::Write {
                // Its acknowledgement is all that it needs.
                assert_eq!(
                    case.verify(&ops, &progress, Expect::Synced, &files),
                    wrong,
                    "{name}"
                );
                continue;
            }
            let missing: u64 = wrong.iter().map(|wrong| wrong.length).sum();
            assert_eq!(missing, last.length, "{name}");
            // One that promises nothing may lose it, but not once it was synced.
            assert_eq!(case.verify(&ops, &progress, Expect::Synced, &files), []);
            progress.mark(&synced(last.file, count as u32));
            assert_eq!(case.verify(&ops, &progress, Expect::Synced, &files), wrong);
        }
    }
}

#[test]
fn one_sector_of_a_write_is_missed() {
    let case = case(Situation::Overwrite, "direct+dsync");
    let ops = case.ops();
    let mut files = files(&case, &ops, 1);
    let at = ops[0].offset + 3 * SECTOR as u64;
    write(data(&mut files), &case, 0, at, SECTOR as u64, 0);
    let wrong = case.verify(&ops, &acked(&ops, 1), Expect::Durable, &files);
    assert_eq!(wrong.len(), 1);
    assert_eq!((wrong[0].offset, wrong[0].length), (at, SECTOR as u64));
    assert_eq!(wrong[0].expected, "generation 1 or later");
    // The write in flight may be torn, but not be one that was never begun.
    write(data(&mut files), &case, 0, at, SECTOR as u64, 5);
    let wrong = case.verify(&ops, &acked(&ops, 1), Expect::Durable, &files);
    assert_eq!(wrong.len(), 1);
}

/// Of several in flight a later one may be acknowledged first: then it must be there, and the others may.
#[test]
fn writes_in_flight_are_acknowledged_in_any_order() {
    let mut case = case(Situation::Append, "direct+dsync");
    let ops = case.ops();
    let mut progress = Progress::default();
    progress.mark(&ops[2].mark());
    let clear = |files: &mut Files, op: Op| {
        data(files)[op.offset as usize..][..op.length as usize].fill(0);
    };
    let mut without = files(&case, &ops, 3);
    clear(&mut without, ops[0]);
    // One at a time could not have begun the second.
    assert_eq!(
        case.verify(&ops, &progress, Expect::Durable, &without)
            .len(),
        1
    );
    case.depth = 3;
    assert_eq!(case.verify(&ops, &progress, Expect::Durable, &without), []);
    clear(&mut without, ops[2]);
    let wrong = case.verify(&ops, &progress, Expect::Durable, &without);
    assert_eq!(wrong[0].op, Some(2));
}

/// One that had not been acknowledged is older all the same than one that was, on the same blocks.
#[test]
fn an_older_write_is_not_a_later_one() {
    let mut case = case(Situation::Overwrite, "direct+dsync");
    case.depth = 12;
    let ops = case.ops();
    let meets = |(a, b): &(Op, Op)| a.number < b.number && a.meets(*b);
    let pairs = ops.iter().flat_map(|a| ops.iter().map(|b| (*a, *b)));
    let (older, newer) = pairs.into_iter().find(meets).unwrap();
    let mut progress = Progress::default();
    progress.mark(&newer.mark());
    let files = files(&case, &ops[older.number as usize..], 1);
    let wrong = case.verify(&ops, &progress, Expect::Durable, &files);
    assert!(wrong.iter().any(|wrong| matches!(
        wrong.found,
        Found::Written(Written { generation, .. }) if generation == older.generation()
    )));
}

#[test]
fn what_nobody_wrote_there_is_wrong_whatever_is_promised() {
    let mut case = case(Situation::Hole, "direct");
    case.files = 2;
    let ops = case.ops();
    let good = files(&case, &ops, 0);
    let wrong = |change: Change<'_>| {
        let mut files = good.clone();
        change(data(&mut files));
        let found = case.verify(&ops, &Progress::default(), Expect::Synced, &files);
        found.len()
    };
    assert_eq!(wrong(&|_| ()), 0);
    assert_eq!(wrong(&|bytes| bytes[5000] = 1), 1);
    let put = |bytes: &mut Vec<u8>, written| {
        let at = AREA as usize;
        bytes[at..at + SECTOR].copy_from_slice(&content::sector(case.key(), written));
    };
    let right = Written {
        file: 0,
        offset: AREA,
        generation: 0,
    };
    assert_eq!(wrong(&|bytes| put(bytes, right)), 0);
    // The sector of another file, and of another place.
    let changed = [
        Written { file: 1, ..right },
        Written {
            offset: AREA + 512,
            ..right
        },
        Written { offset: 0, ..right },
    ];
    for other in changed {
        assert_eq!(wrong(&|bytes| put(bytes, other)), 1, "{other:?}");
    }
    // The prepared block, and the size that the file had.
    assert_eq!(wrong(&|bytes| bytes[AREA as usize..][..SECTOR].fill(0)), 1);
    assert_eq!(wrong(&|bytes| bytes.truncate(AREA as usize)), 1);
    assert_eq!(wrong(&|bytes| bytes.push(0)), 1);
}

/// Zeros as well: nobody asked for the bytes behind the last write that had begun.
#[test]
fn a_file_is_no_longer_than_its_writes() {
    let case = case(Situation::Append, "direct+dsync");
    let ops = case.ops();
    let mut longer = files(&case, &ops, 1);
    data(&mut longer).resize(ops[1].end() as usize, 0);
    let verify = |files: &Files| case.verify(&ops, &acked(&ops, 1), Expect::Durable, files);
    assert_eq!(verify(&longer), []);
    data(&mut longer).push(0);
    let wrong = verify(&longer);
    assert_eq!(wrong.len(), 1);
    assert_eq!(wrong[0].expected, "the end of the file");
    assert_eq!(wrong[0].found, Found::Zeros);
}

#[test]
fn a_sync_of_one_file_promises_nothing_of_another() {
    let case = of(Workload::Write, 2, "buffered");
    let ops = case.ops();
    let (first, second) = (ops[0], ops[1]);
    assert_ne!(first.file, second.file);
    let mut progress = acked(&ops, 2);
    progress.mark(&synced(second.file, 2));
    let mut lost = files(&case, &ops, 2);
    lost.insert(case.file_name(first.file), vec![]);
    let verify = |files: &Files, expect| case.verify(&ops, &progress, expect, files);
    assert_eq!(verify(&lost, Expect::Synced), []);
    assert_eq!(verify(&lost, Expect::AnySynced)[0].op, Some(first.number));
    lost.insert(case.file_name(second.file), vec![]);
    assert_eq!(verify(&lost, Expect::Synced)[0].op, Some(second.number));
}

#[test]
fn a_made_file_is_there_from_its_acknowledgement_on_and_not_before_it_began() {
    let case = of(Workload::Create, 1, "direct");
    let ops = case.ops();
    let made: Vec<Op> = ops
        .iter()
        .copied()
        .filter(|op| op.action == Action::Create)
        .collect();
    let written = |file| ops.iter().any(|op| op.file == file && op.length > 0);
    assert!(made.iter().any(|op| written(op.file)));
    assert!(made.iter().any(|op| !written(op.file)));
    for op in made {
        let before = op.number as usize;
        let name = case.file_name(op.file);
        let mut with = files(&case, &ops, before);
        with.insert(name.clone(), vec![]);
        let verify =
            |files: &Files, count| case.verify(&ops, &acked(&ops, count), Expect::Synced, files);
        assert_eq!(verify(&with, before), []);
        let mut without = with.clone();
        without.remove(&name);
        assert_eq!(verify(&without, before), []);
        let missing = verify(&without, before + 1);
        assert_eq!(missing.len(), 1);
        assert_eq!(missing[0].op, Some(op.number));
        assert_eq!(missing[0].found, Found::NoFile);
        if before > 0 {
            let early = verify(&with, before - 1);
            assert!(early.iter().any(|wrong| wrong.file == name));
        }
    }
}

/// The old file or the new one, whole.
#[test]
fn a_replaced_file_is_never_a_mixture_nor_nothing() {
    let case = of(Workload::Rename, 1, "buffered");
    let ops = case.ops();
    let two = ops.windows(2);
    let larger = two
        .into_iter()
        .find(|pair| pair[0].length > BLOCK && pair[1].length > BLOCK);
    let at = larger.unwrap()[0].number as usize + 1;
    let verify =
        |files: &Files, count| case.verify(&ops, &acked(&ops, count), Expect::Synced, files);
    let old = files(&case, &ops, at);
    for (count, right) in [(at - 1, true), (at, true), (at + 1, false)] {
        assert_eq!(verify(&old, count).is_empty(), right, "{count}");
    }
    let new = ops[at];
    let mixtures: [Change<'_>; 6] = [
        // The first block of the new one.
        &|bytes| write(bytes, &case, 0, 0, BLOCK, new.generation()),
        &|bytes| write(bytes, &case, 0, 512, 512, new.generation()),
        // The old one in the size of another.
        &|bytes| bytes.truncate(BLOCK as usize),
        &|bytes| bytes.resize(bytes.len() + SECTOR, 0),
        // Size and no contents, and neither.
        &|bytes| bytes.fill(0),
        &|bytes| bytes.clear(),
    ];
    for (number, change) in mixtures.iter().enumerate() {
        for count in [at, at - 1] {
            let mut files = old.clone();
            change(data(&mut files));
            assert!(!verify(&files, count).is_empty(), "{number} {count}");
        }
    }
    let mut gone = old.clone();
    gone.remove("data");
    let wrong = verify(&gone, at);
    assert_eq!(wrong.len(), 1);
    assert_eq!(wrong[0].found, Found::NoFile);
}

/// The second of two names is not there before its first rename: nothing, or the new file.
#[test]
fn a_name_that_was_free_is_taken_by_a_whole_file() {
    let case = of(Workload::Rename, 2, "direct");
    let ops = case.ops();
    let name = case.file_name(1);
    assert_eq!(case.prepared(1), None);
    let verify =
        |files: &Files, count| case.verify(&ops, &acked(&ops, count), Expect::Synced, files);
    let mut files = files(&case, &ops, 2);
    assert_eq!(verify(&files, 1), []);
    assert_eq!(verify(&files, 2), []);
    files.insert(name.clone(), vec![]);
    assert_eq!(
        verify(&files, 1)[0].expected,
        "the whole of generation 2 or later"
    );
    files.remove(&name);
    assert_eq!(verify(&files, 1), []);
    assert_eq!(verify(&files, 2)[0].op, Some(1));
}

/// What becomes the new file has its first name until the rename was acknowledged, and holds nothing of another.
#[test]
fn the_first_name_of_a_new_file_may_be_there_until_it_is_renamed() {
    let case = of(Workload::Rename, 1, "direct");
    let ops = case.ops();
    let op = ops[3];
    let name = Case::new_name(op);
    let verify = |bytes: &[u8], count| {
        let mut files = files(&case, &ops, count);
        files.insert(name.clone(), bytes.to_vec());
        case.verify(&ops, &acked(&ops, count), Expect::Synced, &files)
    };
    let mut whole = vec![];
    write(&mut whole, &case, 0, 0, op.length, op.generation());
    let mut stale = whole.clone();
    write(&mut stale, &case, 0, 0, 512, op.generation() - 1);
    let mut torn = whole.clone();
    torn[..1024].fill(0);
    for (bytes, right) in [
        (&whole, true),
        (&vec![], true),
        (&torn, true),
        (&stale, false),
    ] {
        assert_eq!(verify(bytes, 3).is_empty(), right);
    }
    let both = verify(&whole, 4);
    assert_eq!(both.len(), 1);
    assert_eq!((both[0].op, &both[0].file), (Some(3), &name));
    // One that had not begun.
    assert_eq!(verify(&whole, 2).len(), 1);
}

#[test]
fn some_new_files_come_from_another_folder() {
    for case in [
        of(Workload::Create, 1, "direct"),
        of(Workload::Rename, 2, "direct"),
    ] {
        let name = |op: &Op| match op.action {
            Action::Replace => Case::new_name(*op),
            _ => case.file_name(op.file),
        };
        let names: Vec<String> = case.ops().iter().map(name).collect();
        assert!(names.iter().any(|name| name.starts_with(OTHER)));
        assert!(names.iter().any(|name| !name.starts_with(OTHER)));
    }
}

#[test]
fn only_a_sync_promises_a_write() {
    let promise = |mode| case(Situation::Append, mode).promise();
    assert_eq!(promise("direct"), Expect::Synced);
    assert_eq!(promise("direct+dsync"), Expect::Durable);
    assert_eq!(promise("buffered+sync"), Expect::Durable);
    let by = |sync_by| {
        let case = Case {
            sync_by,
            ..case(Situation::Append, "buffered")
        };
        case.promise()
    };
    assert_eq!(by(SyncBy::ThenData), Expect::Durable);
    assert_eq!(by(SyncBy::ThenFull), Expect::Durable);
    assert_eq!(by(SyncBy::Range), Expect::Synced);
}

#[test]
fn writes_stay_in_the_file_and_blocks_are_written_again() {
    for (workload, area) in [(Workload::Write, AREA), (Workload::Bounce, BOUNCED)] {
        let case = Case {
            workload,
            ..case(Situation::Overwrite, "direct+dsync")
        };
        let ops = case.ops();
        assert_eq!(ops, case.ops());
        assert!(ops.iter().all(|op| op.end() <= area));
        let again = |op: &Op| ops[..op.number as usize].iter().any(|o| o.meets(*op));
        assert!(ops.iter().any(again));
    }
}

/// So that the range lock has something to keep apart.
#[test]
fn unaligned_writes_share_blocks_without_sharing_bytes() {
    let case = of(Workload::Bounce, 1, "direct+dsync");
    let ops = case.ops();
    let shares = |pair: &[Op]| {
        !pair[0].meets(pair[1]) && (pair[0].end() - 1) / BLOCK == pair[1].offset / BLOCK
    };
    assert!(ops.windows(2).filter(|pair| shares(pair)).count() > 5);
}

#[test]
fn cases_have_no_contents_in_common() {
    let one = case(Situation::Append, "direct");
    let others = [
        case(Situation::Append, "direct+dsync"),
        of(Workload::Bounce, 1, "direct"),
        of(Workload::Create, 1, "direct"),
        of(Workload::Write, 2, "direct"),
        Case {
            sync_by: SyncBy::FileFull,
            ..one.clone()
        },
        Case {
            raw: true,
            ..one.clone()
        },
    ];
    let keys: std::collections::BTreeSet<u64> = others.iter().map(Case::key).collect();
    assert_eq!(keys.len(), others.len());
    assert!(!keys.contains(&one.key()));
}

#[test]
fn a_mark_reads_back() {
    let op = case(Situation::Append, "direct").ops()[7];
    let mut progress = Progress::default();
    for mark in [READY, &op.mark(), &synced(1, 3), END] {
        progress.mark(mark);
    }
    assert_eq!(*progress.acknowledged(), [7].into());
    let obliges = |file, number| progress.obliges(Op { file, number, ..op }, Expect::Synced);
    assert!(obliges(1, 2) && !obliges(1, 3) && !obliges(0, 2));
}

/// Byte by byte, another account of what may be: every op that must be there is, and of the others any.
fn any_of(case: &Case, ops: &[Op], progress: &Progress, expect: Expect, chance: &[bool]) -> Files {
    let mut files = Files::new();
    for file in 0..case.files {
        let Prepared { size, written } = case.prepared(file).unwrap();
        let bytes = files.entry(case.file_name(file)).or_default();
        *bytes = vec![0; size as usize];
        write(bytes, case, file, written.0, written.1, 0);
        let end = |op: &&Op| op.file == file && progress.obliges(**op, expect);
        let least = ops.iter().filter(end).map(|op| op.end()).max().unwrap_or(0);
        bytes.resize(bytes.len().max(least as usize), 0);
    }
    let begun = progress.acknowledged().len() + case.depth as usize;
    for (op, kept) in ops.iter().take(begun).zip(chance) {
        if progress.obliges(*op, expect) || *kept {
            let bytes = files.get_mut(&case.file_name(op.file)).unwrap();
            write(bytes, case, op.file, op.offset, op.length, op.generation());
        }
    }
    files
}

fn some_writes() -> impl Strategy<Value = Case> {
    let workload = prop::sample::select(vec![Workload::Write, Workload::Bounce]);
    let situation = prop::sample::select(WRITES.to_vec());
    (workload, situation, 1u32..4, 1u32..5, any::<u64>()).prop_map(
        |(workload, situation, files, depth, seed)| Case {
            workload,
            files,
            depth,
            seed,
            ..case(situation, "direct+dsync")
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whichever of the unpromised writes are there, it is right; and some changed bytes are wrong.
    #[test]
    fn what_may_be_there_is_right_and_changed_bytes_are_wrong(
        case in some_writes(),
        count in 0usize..12,
        chance in prop::collection::vec(any::<bool>(), 12),
        place: prop::sample::Index,
        sync in prop::option::of((0u32..3, 1u32..12)),
    ) {
        let ops = case.ops();
        let mut progress = acked(&ops, count);
        let expect = match sync {
            Some((file, before)) => {
                progress.mark(&synced(file, before.min(count as u32)));
                Expect::Synced
            }
            None => Expect::Durable,
        };
        let mut files = any_of(&case, &ops, &progress, expect, &chance);
        prop_assert_eq!(case.verify(&ops, &progress, expect, &files), []);
        let name = case.file_name(place.index(case.files as usize) as u32);
        let bytes = files.get_mut(&name).unwrap();
        // Some, because one alone may happen to be that of a write that may be there.
        if bytes.is_empty() {
            bytes.resize(64, 1);
        } else {
            let at = place.index(bytes.len()).min(bytes.len().saturating_sub(64));
            bytes[at..].iter_mut().take(64).for_each(|byte| *byte ^= 0x55);
        }
        let wrong = case.verify(&ops, &progress, expect, &files);
        prop_assert!(!wrong.is_empty());
        prop_assert!(wrong.iter().all(|wrong| wrong.file == name));
    }
}

/// Without a journal a rename is no single step: what it replaces may be anything while it is under way, and must be whole
/// before and behind it.
#[test]
fn without_a_journal_a_rename_that_is_under_way_may_leave_anything() {
    let case = Case {
        filesystem: "vfat".into(),
        ..of(Workload::Rename, 1, "direct")
    };
    let ops = case.ops();
    let mut found = files(&case, &ops, 1);
    data(&mut found).truncate(10);
    // The second is under way.
    let progress = acked(&ops, 1);
    assert_eq!(case.verify(&ops, &progress, Expect::Durable, &found), []);
    // With a journal it may not.
    let journal = of(Workload::Rename, 1, "direct");
    assert!(
        !journal
            .verify(&ops, &progress, Expect::Durable, &found)
            .is_empty()
    );
    // Nor may it when all are done.
    let done = acked(&ops, ops.len());
    assert!(!case.verify(&ops, &done, Expect::Durable, &found).is_empty());
}
