use super::*;
use crate::content;

fn case(situation: Situation, mode: &str) -> Case {
    Case {
        filesystem: "ext4".into(),
        mode: mode.into(),
        engine: "psync".into(),
        situation: situation.name().into(),
        writes: 12,
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
        for acked in 0..ops.len() {
            for done in [acked, acked + 1] {
                let file = file(&case, &ops, done);
                let wrong = case.verify(&ops, acked, acked + 1, case.promise(), &file);
                assert_eq!(wrong, [], "{situation} {acked} {done}");
            }
        }
    }
}

#[test]
fn an_acknowledged_write_that_is_not_there_is_found() {
    for situation in WRITES {
        let case = case(situation, "direct+dsync");
        let ops = case.ops();
        for acked in 1..=ops.len() {
            let file = file(&case, &ops, acked - 1);
            let wrong = case.verify(&ops, acked, acked, Expect::Durable, &file);
            let last = ops[acked - 1];
            assert!(!wrong.is_empty(), "{situation} {acked}");
            for wrong in &wrong {
                assert_eq!(wrong.op, Some(last.number));
            }
            let missing: u64 = wrong.iter().map(|wrong| wrong.length).sum();
            assert_eq!(missing, last.length);
            // One that promises nothing may lose it.
            assert_eq!(case.verify(&ops, acked, acked, Expect::Sane, &file), []);
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
    let wrong = case.verify(&ops, 1, 2, Expect::Durable, &file);
    assert_eq!(wrong.len(), 1);
    assert_eq!((wrong[0].offset, wrong[0].length), (at, SECTOR as u64));
    assert_eq!(wrong[0].expected, "generation 1 or later");
    // The write in flight may be torn, but not be one that was never begun.
    write(&mut file, case.key(), at, SECTOR as u64, 5);
    assert_eq!(case.verify(&ops, 1, 2, Expect::Durable, &file).len(), 1);
}

#[test]
fn what_nobody_wrote_there_is_wrong_whatever_is_promised() {
    let case = case(Situation::Hole, "direct");
    let ops = case.ops();
    let good = file(&case, &ops, 0);
    let wrong = |file: &[u8]| case.verify(&ops, 0, 1, Expect::Sane, file).len();
    assert_eq!(wrong(&good), 0);
    let mut foreign = good.clone();
    foreign[5000] = 1;
    assert_eq!(wrong(&foreign), 1);
    // A sector in another place.
    let mut misplaced = good.clone();
    misplaced[..SECTOR].copy_from_slice(&content::sector(case.key(), AREA, 0));
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
    assert_eq!(promise("direct"), Expect::Sane);
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
    assert_eq!(acknowledged(&op.mark()), Some(7));
    assert_eq!(acknowledged(READY), None);
}
