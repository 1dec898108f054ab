//! # What a power cut leaves
//!
//! Goes through a log and says at each point what is durable, what is pending, and which disks could be found. Knows
//! entries and sectors; it reads and writes nothing.
//!
//! The kernel logs a write when it is flushed or, with FUA, when it completed; so what is before a flush in the log
//! completed before that flush was asked for. A flush that carries data (PREFLUSH) is ahead of that data. Everything
//! before a flush is durable after it, and so is every FUA write; the rest may be on the disk or not, each sector for
//! itself, and of two writes to one sector either may be the one that is found.

use crate::{
    log::{Entry, Flags},
    rng::Rng,
};

/// Sectors of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Which entry.
    pub(crate) entry: usize,
    /// The first sector on the disk.
    pub(crate) sector: u64,
    pub(crate) sectors: u64,
}

impl Piece {
    fn end(&self) -> u64 {
        self.sector + self.sectors
    }

    /// What is left without the sectors `from..to`.
    fn without(&self, from: u64, to: u64) -> impl Iterator<Item = Piece> {
        let piece = |from: u64, to: u64| {
            (from < to).then(|| Piece {
                entry: self.entry,
                sector: from,
                sectors: to - from,
            })
        };
        let before = piece(self.sector, self.end().min(from));
        let after = piece(self.sector.max(to), self.end());
        before.into_iter().chain(after)
    }

    /// Its bytes in the log; `None` for a discard, which leaves zeros.
    pub(crate) fn data<'a>(&self, entries: &'a [Entry], sector: u32) -> Option<&'a [u8]> {
        let entry = &entries[self.entry];
        if entry.flags.has(Flags::DISCARD) {
            return None;
        }
        let from = (self.sector - entry.sector) as usize * sector as usize;
        Some(&entry.data[from..from + self.sectors as usize * sector as usize])
    }
}

/// How the device keeps its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Device {
    Honest,
    /// Acknowledges flushes and FUA and does neither.
    IgnoresFlushes,
}

/// A way through a log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Replay {
    /// In the order of the log; none of their sectors has been written durably since.
    pending: Vec<Piece>,
}

impl Replay {
    /// Goes on by the entry with this index. Returns what became durable by it, to be written in this order.
    pub(crate) fn step(&mut self, index: usize, entry: &Entry, device: Device) -> Vec<Piece> {
        if entry.flags.has(Flags::MARK) {
            return Vec::new();
        }
        let honest = device == Device::Honest;
        let mut durable = Vec::new();
        if honest && entry.flags.has(Flags::FLUSH) {
            durable.append(&mut self.pending);
        }
        if entry.sectors == 0 {
            return durable;
        }
        let piece = whole(index, entry);
        if honest && entry.flags.has(Flags::FUA) {
            let (from, to) = (piece.sector, piece.end());
            self.pending = self
                .pending
                .iter()
                .flat_map(|pending| pending.without(from, to))
                .collect();
            durable.push(piece);
        } else {
            self.pending.push(piece);
        }
        durable
    }

    /// The disks that a power cut here could leave, beyond what is durable: none of what is pending, all of it, and up
    /// to `random` others. Where the write `in_flight` is about to complete, the others may have part of it too.
    /// What may tear are units of `unit` sectors.
    pub(crate) fn states(
        &self,
        random: u32,
        unit: u64,
        in_flight: Option<Piece>,
        seed: &[u64],
    ) -> Vec<State> {
        let mut states = vec![State {
            name: StateName::None,
            pieces: Vec::new(),
        }];
        if !self.pending.is_empty() {
            states.push(State {
                name: StateName::All,
                pieces: self.pending.clone(),
            });
        }
        let candidates: Vec<_> = self.pending.iter().chain(&in_flight).cloned().collect();
        if candidates.is_empty() {
            return states;
        }
        for i in 0..random {
            let mut rng = Rng::of(&[seed, &[u64::from(i)]].concat());
            let mut order = candidates.clone();
            rng.shuffle(&mut order);
            let pieces = order
                .iter()
                .flat_map(|piece| torn(piece, unit, &mut rng))
                .collect();
            let name = StateName::Random(i);
            states.push(State { name, pieces });
        }
        states
    }

    /// What may or may not be on the disk.
    #[cfg(test)]
    fn pending(&self) -> &[Piece] {
        &self.pending
    }
}

/// All sectors of an entry.
pub(crate) fn whole(index: usize, entry: &Entry) -> Piece {
    Piece {
        entry: index,
        sector: entry.sector,
        sectors: entry.sectors,
    }
}

/// All of it, nothing of it, its beginning, or some of its units.
fn torn(piece: &Piece, unit: u64, rng: &mut Rng) -> Vec<Piece> {
    let part = |from: u64, to: u64| Piece {
        entry: piece.entry,
        sector: from,
        sectors: to - from,
    };
    // Units lie on the disk, not in the write.
    let mut cuts = vec![piece.sector];
    cuts.extend(
        (piece.sector / unit + 1..)
            .map(|n| n * unit)
            .take_while(|&at| at < piece.end()),
    );
    cuts.push(piece.end());
    let units = cuts.windows(2).map(|cut| part(cut[0], cut[1]));
    match rng.below(6) {
        0 | 1 => vec![piece.clone()],
        2 | 3 => Vec::new(),
        4 => {
            let kept = rng.below(cuts.len() as u64 - 1) as usize;
            units.take(kept).collect()
        }
        _ => units.filter(|_| rng.below(2) == 0).collect(),
    }
}

/// Which of the disks that a cut could leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StateName {
    None,
    All,
    Random(u32),
}

impl std::fmt::Display for StateName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StateName::None => f.write_str("none"),
            StateName::All => f.write_str("all"),
            StateName::Random(i) => write!(f, "{i}"),
        }
    }
}

impl std::str::FromStr for StateName {
    type Err = String;

    fn from_str(text: &str) -> Result<StateName, String> {
        match text {
            "none" => Ok(StateName::None),
            "all" => Ok(StateName::All),
            _ => text
                .parse()
                .map(StateName::Random)
                .map_err(|_| "neither none, all nor a number".to_owned()),
        }
    }
}

/// A disk that a cut could leave: what is durable, and these written over it in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) name: StateName,
    pub(crate) pieces: Vec<Piece>,
}

#[cfg(test)]
mod tests;
