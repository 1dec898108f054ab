//! # What the fuzzers call
//!
//! One function for each reader of bytes that come from elsewhere. Each takes any bytes, and panics where an answer
//! breaks a rule that the rest of this package goes by.

use crate::{
    case::Progress,
    log::{Flags, Log},
    record::Told,
    replay::{Device, Replay, whole},
};

/// Bytes of the disk that a log is taken to be of.
const DISK: u64 = 1 << 26;
/// Points of a log that are looked at.
const MOST_POINTS: usize = 64;

/// A log of dm-log-writes: what is read is written again as it was, and a power cut at each point has its disks.
pub fn log(bytes: &[u8]) {
    let Ok(log) = Log::read(bytes) else {
        return;
    };
    let again = log.bytes();
    assert_eq!(Log::read(&again[..]).expect("what was just written"), log);
    if log.beyond(DISK).is_some() {
        return;
    }
    for device in [Device::Honest, Device::IgnoresFlushes] {
        cuts(&log, device);
    }
}

fn cuts(log: &Log, device: Device) {
    let entries = &log.entries;
    let mut replay = Replay::default();
    for (i, entry) in entries.iter().enumerate().take(MOST_POINTS) {
        for piece in replay.step(i, entry, device) {
            piece.data(entries, log.sector);
        }
        let in_flight = entries
            .get(i + 1)
            .filter(|next| next.flags.has(Flags::FUA) && next.sectors > 0)
            .map(|next| whole(i + 1, next));
        for state in replay.states(3, 1, in_flight, &[i as u64]) {
            for piece in &state.pieces {
                piece.data(entries, log.sector);
            }
        }
    }
}

/// The JSON of a record that came back from a VM.
pub fn told(bytes: &[u8]) {
    let Ok(told) = Told::read(bytes) else {
        return;
    };
    let Told {
        case, acknowledged, ..
    } = &told;
    let mut progress = Progress::default();
    for op in acknowledged.iter().take(MOST_POINTS) {
        progress.mark(&op.mark());
        case.obliged(acknowledged, &progress, case.promise());
    }
    let files = [(case.file_name(0), vec![0; 4096])].into();
    case.verify(acknowledged, &progress, case.promise(), &files);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A change of the format leaves seeds behind that are read by nobody.
    #[test]
    fn the_seeds_are_records() {
        let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds/crash_record");
        let mut count = 0;
        for seed in std::fs::read_dir(seeds).unwrap() {
            let bytes = std::fs::read(seed.unwrap().path()).unwrap();
            Told::read(&bytes).unwrap();
            told(&bytes);
            count += 1;
        }
        assert!(count > 1);
    }
}
