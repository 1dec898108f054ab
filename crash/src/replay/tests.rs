use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
const MARK: u64 = 8;

fn entry(sector: u64, sectors: u64, flags: u64) -> Entry {
    let flags = Flags(flags);
    let data = match flags.has(Flags::DISCARD) {
        true => Vec::new(),
        false => vec![0; sectors as usize],
    };
    Entry {
        sector,
        sectors,
        flags,
        data,
    }
}

fn piece(entry: usize, sector: u64, sectors: u64) -> Piece {
    Piece {
        entry,
        sector,
        sectors,
    }
}

/// Each step's durable pieces, and what is pending after the last.
fn steps(entries: &[Entry], device: Device) -> (Vec<Vec<Piece>>, Replay) {
    let mut replay = Replay::default();
    let durable = entries
        .iter()
        .enumerate()
        .map(|(i, entry)| replay.step(i, entry, device))
        .collect();
    (durable, replay)
}

#[test]
fn a_write_is_pending_until_a_flush() {
    let entries = [entry(8, 2, 0), entry(0, 0, MARK), entry(0, 0, FLUSH)];
    let (durable, replay) = steps(&entries[..2], Device::Honest);
    assert_eq!(durable, [vec![], vec![]]);
    assert_eq!(replay.pending(), [piece(0, 8, 2)]);
    let (durable, replay) = steps(&entries, Device::Honest);
    assert_eq!(durable[2], [piece(0, 8, 2)]);
    assert_eq!(replay.pending(), []);
}

#[test]
fn a_fua_write_is_durable_and_flushes_nothing() {
    let (durable, replay) = steps(&[entry(8, 2, 0), entry(20, 1, FUA)], Device::Honest);
    assert_eq!(durable[1], [piece(1, 20, 1)]);
    assert_eq!(replay.pending(), [piece(0, 8, 2)]);
}

#[test]
fn a_preflush_is_ahead_of_its_data() {
    let (durable, replay) = steps(&[entry(8, 2, 0), entry(20, 1, FLUSH)], Device::Honest);
    assert_eq!(durable[1], [piece(0, 8, 2)]);
    assert_eq!(replay.pending(), [piece(1, 20, 1)]);
    let (durable, replay) = steps(&[entry(8, 2, 0), entry(20, 1, FLUSH | FUA)], Device::Honest);
    assert_eq!(durable[1], [piece(0, 8, 2), piece(1, 20, 1)]);
    assert_eq!(replay.pending(), []);
}

/// A disk that has the later, durable write cannot find the earlier one.
#[test]
fn what_was_written_durably_since_is_no_longer_pending() {
    let (_, replay) = steps(&[entry(8, 8, 0), entry(10, 2, FUA)], Device::Honest);
    assert_eq!(replay.pending(), [piece(0, 8, 2), piece(0, 12, 4)]);
    let (_, replay) = steps(&[entry(8, 8, 0), entry(0, 100, FUA)], Device::Honest);
    assert_eq!(replay.pending(), []);
}

#[test]
fn a_discard_is_pending_as_a_write_is() {
    let entries = [entry(8, 2, DISCARD), entry(0, 0, FLUSH)];
    let (durable, _) = steps(&entries, Device::Honest);
    assert_eq!(durable[1], [piece(0, 8, 2)]);
    assert_eq!(durable[1][0].data(&entries, 1), None);
}

#[test]
fn a_device_that_ignores_flushes_has_everything_pending() {
    let entries = [
        entry(8, 2, 0),
        entry(20, 1, FLUSH | FUA),
        entry(0, 0, FLUSH),
    ];
    let (durable, replay) = steps(&entries, Device::IgnoresFlushes);
    assert_eq!(durable, [vec![], vec![], vec![]]);
    assert_eq!(replay.pending(), [piece(0, 8, 2), piece(1, 20, 1)]);
}

#[test]
fn a_piece_has_its_own_part_of_the_data() {
    let mut write = entry(10, 4, 0);
    write.data = (0..8).collect();
    let entries = [write];
    assert_eq!(piece(0, 11, 2).data(&entries, 2), Some(&[2, 3, 4, 5][..]));
}

#[test]
fn none_is_alone_where_nothing_is_pending() {
    let replay = Replay::default();
    let names = |states: Vec<State>| states.iter().map(|s| s.name).collect::<Vec<_>>();
    assert_eq!(names(replay.states(3, 1, None, &[1])), [StateName::None]);
    // A write in flight can be torn, but not be taken for done.
    let states = replay.states(1, 1, Some(piece(4, 0, 8)), &[1]);
    assert_eq!(names(states), [StateName::None, StateName::Random(0)]);
}

#[test]
fn either_of_two_writes_to_a_sector_may_be_found() {
    let (_, replay) = steps(&[entry(8, 1, 0), entry(8, 1, 0)], Device::Honest);
    let found: BTreeSet<_> = replay
        .states(50, 1, None, &[1])
        .iter()
        .map(|state| state.pieces.last().map(|piece| piece.entry))
        .collect();
    assert_eq!(found, [None, Some(0), Some(1)].into());
}

#[test]
fn writes_tear_at_units_of_the_disk() {
    let (_, replay) = steps(&[entry(6, 12, 0)], Device::Honest);
    let mut torn = false;
    for state in replay.states(50, 8, None, &[1]) {
        for piece in state.pieces {
            assert!([6, 8, 16].contains(&piece.sector), "{piece:?}");
            assert!([8, 16, 18].contains(&piece.end()), "{piece:?}");
            torn |= piece.sectors < 12;
        }
    }
    assert!(torn);
}

#[test]
fn a_name_reads_back() {
    for name in [StateName::None, StateName::All, StateName::Random(7)] {
        assert_eq!(name.to_string().parse(), Ok(name));
    }
    assert!("some".parse::<StateName>().is_err());
}

/// Which entry each sector of a disk of 16 has, 0 where none; another account of the rules, sector by sector.
fn may_hold(entries: &[Entry], in_flight: bool) -> (Vec<usize>, Vec<BTreeSet<usize>>) {
    let mut durable = vec![0; 16];
    let mut may = vec![BTreeSet::new(); 16];
    for (i, entry) in entries.iter().enumerate() {
        if entry.flags.has(Flags::FLUSH) {
            for sector in 0..16 {
                // The last in the log is what was written last.
                if let Some(&last) = may[sector].iter().next_back() {
                    durable[sector] = last;
                }
                may[sector].clear();
            }
        }
        for sector in entry.sector as usize..(entry.sector + entry.sectors) as usize {
            if entry.flags.has(Flags::FUA) && !(in_flight && i + 1 == entries.len()) {
                durable[sector] = i + 1;
                may[sector].clear();
            } else {
                may[sector].insert(i + 1);
            }
        }
    }
    (durable, may)
}

fn write_over(disk: &mut [usize], piece: &Piece) {
    for sector in piece.sector..piece.end() {
        disk[sector as usize] = piece.entry + 1;
    }
}

fn some_entries() -> impl Strategy<Value = Vec<Entry>> {
    let one = (0u64..16, 1u64..6, 0usize..7).prop_map(|(sector, sectors, kind)| {
        let sectors = sectors.min(16 - sector);
        match kind {
            0..3 => entry(sector, sectors, 0),
            3 => entry(sector, sectors, FUA),
            4 => entry(0, 0, FLUSH),
            5 => entry(sector, sectors, FLUSH | FUA),
            _ => entry(sector, sectors, FLUSH),
        }
    });
    prop::collection::vec(one, 0..24)
}

proptest! {
    #[test]
    fn every_state_is_one_that_a_cut_could_leave(entries in some_entries(), seed: u64) {
        let mut replay = Replay::default();
        let mut disk = vec![0; 16];
        for (i, entry) in entries.iter().enumerate() {
            for piece in replay.step(i, entry, Device::Honest) {
                write_over(&mut disk, &piece);
            }
            let (durable, may) = may_hold(&entries[..=i], false);
            prop_assert_eq!(&disk, &durable);
            let next = entries.get(i + 1).filter(|next| next.flags == Flags::FUA);
            let in_flight = next.map(|next| whole(i + 1, next));
            let torn = match next {
                Some(_) => may_hold(&entries[..=i + 1], true).1,
                None => may.clone(),
            };
            for state in replay.states(3, 1, in_flight.clone(), &[seed, i as u64]) {
                let mut found = durable.clone();
                for piece in &state.pieces {
                    write_over(&mut found, piece);
                }
                for sector in 0..16 {
                    let kept = found[sector] == durable[sector];
                    let may = match state.name {
                        StateName::Random(_) => &torn,
                        _ => &may,
                    };
                    prop_assert!(kept || may[sector].contains(&found[sector]));
                    if state.name == StateName::All {
                        let last = may[sector].iter().next_back().unwrap_or(&durable[sector]);
                        prop_assert_eq!(found[sector], *last);
                    }
                }
                if state.name == StateName::None {
                    prop_assert_eq!(&found, &durable);
                }
            }
        }
    }

    #[test]
    fn a_seed_repeats_its_states(entries in some_entries(), seed: u64) {
        let (_, replay) = steps(&entries, Device::Honest);
        let states = || replay.states(3, 2, None, &[seed]);
        prop_assert_eq!(states(), states());
    }
}

/// The same seed gives another disk for each number, or the numbers would be of no use.
#[test]
fn random_states_differ() {
    let entries: Vec<_> = (0..8).map(|i| entry(i * 2, 2, 0)).collect();
    let (_, replay) = steps(&entries, Device::Honest);
    let mut found = BTreeMap::new();
    for state in replay.states(20, 1, None, &[1]) {
        let mut disk = vec![0; 16];
        for piece in &state.pieces {
            write_over(&mut disk, piece);
        }
        *found.entry(disk).or_insert(0) += 1;
    }
    assert!(found.len() >= 20, "{found:?}");
}
