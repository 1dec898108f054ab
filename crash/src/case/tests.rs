use super::*;
use crate::content;

fn case(situation: Situation, mode: &str) -> Case {
    Case {
        filesystem: "ext4".into(),
        mode: mode.into(),
        engine: "psync".into(),
        situation: situation.name().into(),
        writes: 12,
        depth: 1,
        sync_every: 0,
        raw: false,
        seed: 1,
        disk: 64 << 20,
    }
}

/// The file when the first `done` writes are in it.
fn file(case: &Case, ops: &[Op], done: usize) -> Vec<u8> {
    let mut file = vec![0; case.size() as usize];
    let (from, length) = case.written();
    write(&mut file, case.key(), from, length, 0);
    for op in &ops[..done] {
        write(&mut file, case.key(), op.offset, op.length, op.generation());
    }
    file
}

/// The first `done` writes are acknowledged.
fn acked(ops: &[Op], done: usize) -> Progress {
    let mut progress = Progress::default();
    for op in &ops[..done] {
        progress.mark(&op.mark());
    }
    progress
}

fn write(file: &mut Vec<u8>, seed: u64, offset: u64, length: u64, generation: u32) {
    let (from, to) = (offset as usize, (offset + length) as usize);
    file.resize(file.len().max(to), 0);
    content::fill(&mut file[from..to], seed, offset, generation);
}

const WRITES: [Situation; 4] = [
    Situation::Overwrite,
    Situation::Unwritten,
    Situation::Append,
    Situation::Hole,
];

#[test]
fn what_was_acknowledged_is_right_and_so_is_what_had_begun() {
    for situation in WRITES {
        let case = case(situation, "direct+dsync");
        let ops = case.ops();
        for count in 0..ops.len() {
            for done in [count, count + 1] {
                let file = file(&case, &ops, done);
                let wrong = case.verify(&ops, &acked(&ops, count), case.promise(), &file);
                assert_eq!(wrong, [], "{situation} {count} {done}");
            }
        }
    }
}

#[test]
fn an_acknowledged_write_that_is_not_there_is_found() {
    for situation in WRITES {
        let case = case(situation, "direct+dsync");
        let ops = case.ops();
        for count in 1..=ops.len() {
            let file = file(&case, &ops, count - 1);
            let mut progress = acked(&ops, count);
            let wrong = case.verify(&ops, &progress, Expect::Durable, &file);
            let last = ops[count - 1];
            assert!(!wrong.is_empty(), "{situation} {count}");
            for wrong in &wrong {
                assert_eq!(wrong.op, Some(last.number));
            }
            let missing: u64 = wrong.iter().map(|wrong| wrong.length).sum();
            assert_eq!(missing, last.length);
            // One that promises nothing may lose it, but not once it was synced.
            assert_eq!(case.verify(&ops, &progress, Expect::Synced, &file), []);
            progress.mark(&synced(count as u32));
            assert_eq!(case.verify(&ops, &progress, Expect::Synced, &file), wrong);
        }
    }
}

#[test]
fn one_sector_of_a_write_is_missed() {
    let case = case(Situation::Overwrite, "direct+dsync");
    let ops = case.ops();
    let mut file = file(&case, &ops, 1);
    let at = ops[0].offset + 3 * SECTOR as u64;
    write(&mut file, case.key(), at, SECTOR as u64, 0);
    let wrong = case.verify(&ops, &acked(&ops, 1), Expect::Durable, &file);
    assert_eq!(wrong.len(), 1);
    assert_eq!((wrong[0].offset, wrong[0].length), (at, SECTOR as u64));
    assert_eq!(wrong[0].expected, "generation 1 or later");
    // The write in flight may be torn, but not be one that was never begun.
    write(&mut file, case.key(), at, SECTOR as u64, 5);
    let wrong = case.verify(&ops, &acked(&ops, 1), Expect::Durable, &file);
    assert_eq!(wrong.len(), 1);
}

/// Of several in flight a later one may be acknowledged first: then it must be there, and the others may.
#[test]
fn writes_in_flight_are_acknowledged_in_any_order() {
    let mut case = case(Situation::Append, "direct+dsync");
    let ops = case.ops();
    let mut progress = Progress::default();
    progress.mark(&ops[2].mark());
    let first =
        |file: &mut Vec<u8>, op: Op| file[op.offset as usize..][..op.length as usize].fill(0);
    let mut without = file(&case, &ops, 3);
    first(&mut without, ops[0]);
    // One at a time could not have begun the second.
    assert_eq!(
        case.verify(&ops, &progress, Expect::Durable, &without)
            .len(),
        1
    );
    case.depth = 3;
    assert_eq!(case.verify(&ops, &progress, Expect::Durable, &without), []);
    first(&mut without, ops[2]);
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
    let file = file(&case, &ops[older.number as usize..], 1);
    let wrong = case.verify(&ops, &progress, Expect::Durable, &file);
    assert!(wrong.iter().any(|wrong| matches!(
        wrong.found,
        content::Found::Written { generation, .. } if generation == older.generation()
    )));
}

#[test]
fn what_nobody_wrote_there_is_wrong_whatever_is_promised() {
    let case = case(Situation::Hole, "direct");
    let ops = case.ops();
    let good = file(&case, &ops, 0);
    let wrong = |file: &[u8]| {
        case.verify(&ops, &Progress::default(), Expect::Synced, file)
            .len()
    };
    assert_eq!(wrong(&good), 0);
    let mut foreign = good.clone();
    foreign[5000] = 1;
    assert_eq!(wrong(&foreign), 1);
    // A sector in another place.
    let mut misplaced = good.clone();
    misplaced[..SECTOR].copy_from_slice(&content::sector(case.key(), AREA, 0));
    assert_eq!(wrong(&misplaced), 1);
    // One of the right write, but of another place in it.
    let swapped = AREA as usize + SECTOR;
    misplaced = good.clone();
    misplaced.copy_within(swapped.., AREA as usize);
    assert_eq!(wrong(&misplaced), 1);
    // The prepared block, and the size that the file had.
    let mut zeroed = good.clone();
    zeroed[AREA as usize..][..SECTOR].fill(0);
    assert_eq!(wrong(&zeroed), 1);
    assert_eq!(wrong(&good[..AREA as usize]), 1);
    let mut longer = good.clone();
    longer.resize(good.len() + 1, 0);
    assert_eq!(wrong(&longer), 1);
}

#[test]
fn only_modes_with_a_sync_promise() {
    let promise = |mode| case(Situation::Append, mode).promise();
    assert_eq!(promise("direct"), Expect::Synced);
    assert_eq!(promise("direct+dsync"), Expect::Durable);
    assert_eq!(promise("buffered+sync"), Expect::Durable);
}

#[test]
fn writes_stay_in_the_file_and_blocks_are_written_again() {
    let case = case(Situation::Overwrite, "direct+dsync");
    let ops = case.ops();
    assert_eq!(ops, case.ops());
    assert!(ops.iter().all(|op| op.offset + op.length <= AREA));
    let again = |op: &Op| {
        ops[..op.number as usize]
            .iter()
            .any(|o| o.covers(op.offset))
    };
    assert!(ops.iter().any(again));
}

#[test]
fn cases_have_no_contents_in_common() {
    let keys = ["direct", "direct+dsync"].map(|mode| case(Situation::Append, mode).key());
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn a_mark_reads_back() {
    let op = case(Situation::Append, "direct").ops()[7];
    let mut progress = Progress::default();
    for mark in [READY, &op.mark(), &synced(3), END] {
        progress.mark(mark);
    }
    assert_eq!(*progress.acknowledged(), [7].into());
    assert_eq!(progress.synced, 3);
}
