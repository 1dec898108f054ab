//! How long ops took, and each stage of them.

use crate::op::Op;

/// Times are told apart by their highest bits, so many of them: within one part in 128.
const BITS: u32 = 8;

/// So many values are kept as they came: most files of a large tree see a few requests, and to count them takes some
/// 10 KiB.
const FEW: usize = 32;

/// Times in nanoseconds: a few as they are, many counted by class, in a table that grows with the longest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times {
    few: Vec<u64>,
    /// How many of each class; empty while they are few.
    many: Vec<u64>,
    max: u64,
}

/// The class of a time: what is below 2^[`BITS`] has one to itself, of what is longer each power of two is cut into half
/// as many.
fn class(ns: u64) -> usize {
    let cut = ns.max(1).ilog2().saturating_sub(BITS - 1);
    (u64::from(cut << (BITS - 1)) + (ns >> cut)) as usize
}

/// The longest time of a class.
fn longest(class: usize) -> u64 {
    let class = class as u64;
    let cut = (class >> (BITS - 1)).saturating_sub(1);
    let highest = class - (cut << (BITS - 1));
    highest << cut | ((1 << cut) - 1)
}

impl Times {
    pub(crate) fn add(&mut self, ns: u64) {
        self.max = self.max.max(ns);
        let class = class(ns);
        if let Some(n) = self.many.get_mut(class) {
            *n += 1;
        } else if self.many.is_empty() && self.few.len() < FEW {
            self.few.push(ns);
        } else {
            self.count_in(class, 1);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for &ns in &other.few {
            self.add(ns);
        }
        self.max = self.max.max(other.max);
        for (class, n) in other.counted() {
            self.count_in(class, n);
        }
    }

    /// With the few counted as well.
    fn count_in(&mut self, class: usize, n: u64) {
        for ns in std::mem::take(&mut self.few) {
            self.count_in(self::class(ns), 1);
        }
        if class >= self.many.len() {
            self.many.resize((class + 1).next_multiple_of(1 << BITS), 0);
        }
        self.many[class] += n;
    }

    /// The classes that occur, and how often.
    fn counted(&self) -> impl Iterator<Item = (usize, u64)> {
        self.many
            .iter()
            .copied()
            .enumerate()
            .filter(|(_, n)| *n > 0)
    }

    pub(crate) fn count(&self) -> u64 {
        self.few.len() as u64 + self.many.iter().sum::<u64>()
    }

    /// The longest, exactly.
    pub(crate) fn max(&self) -> u64 {
        self.max
    }

    /// The time that at least this share of all did not exceed; 0 where there is none.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        let rank = ((share * self.count() as f64).ceil() as u64).max(1);
        if self.many.is_empty() {
            let mut sorted = self.few.clone();
            sorted.sort_unstable();
            return sorted.get(rank as usize - 1).copied().unwrap_or(0);
        }
        let mut before = 0;
        let reaches = |(_, n): &(usize, u64)| {
            before += n;
            before >= rank
        };
        let class = self.counted().find(reaches);
        class.map_or(self.max, |(class, _)| longest(class).min(self.max))
    }

    /// How many times lie in [2^n, 2^(n+1)) nanoseconds, for every n from the lowest to the highest that occur; 0 ns
    /// counts as 1.
    pub(crate) fn by_power(&self) -> Vec<(u32, u64)> {
        let mut powers = [0u64; 64];
        let mut count = |ns: u64, n| powers[ns.max(1).ilog2() as usize] += n;
        for &ns in &self.few {
            count(ns, 1);
        }
        // No class has times of two powers.
        for (class, n) in self.counted() {
            count(longest(class), n);
        }
        let first = powers.iter().position(|&n| n > 0);
        let last = powers.iter().rposition(|&n| n > 0);
        match (first, last) {
            (Some(first), Some(last)) => (first..=last).map(|i| (i as u32, powers[i])).collect(),
            _ => Vec::new(),
        }
    }
}

/// An op's time, whole and by stage.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stages {
    /// From entry to acknowledgement.
    pub(crate) whole: Times,
    pub(crate) submit: Times,
    pub(crate) device: Times,
    pub(crate) sync: Times,
}

impl Stages {
    pub(crate) fn add(&mut self, op: &Op) {
        self.whole.add(op.latency_ns);
        let stages = [
            (&mut self.submit, op.submit_ns),
            (&mut self.device, op.device_ns),
            (&mut self.sync, op.sync_ns),
        ];
        for (times, ns) in stages {
            if let Some(ns) = ns {
                times.add(ns);
            }
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.whole.merge(&other.whole);
        self.submit.merge(&other.submit);
        self.device.merge(&other.device);
        self.sync.merge(&other.sync);
    }

    /// The stages that were seen, with their names.
    pub(crate) fn seen(&self) -> impl Iterator<Item = (&'static str, &Times)> {
        [
            ("whole", &self.whole),
            ("submit", &self.submit),
            ("device", &self.device),
            ("sync", &self.sync),
        ]
        .into_iter()
        .filter(|(_, times)| times.count() > 0)
    }
}

/// For a person, three digits: `850ns`, `12.3us`, `4.56ms`, `1.20s`.
pub(crate) fn readable(ns: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")];
    for (unit, name) in UNITS {
        if ns >= unit {
            let value = ns as f64 / unit as f64;
            let digits = match value {
                v if v < 9.995 => 2,
                v if v < 99.95 => 1,
                _ => 0,
            };
            return format!("{value:.digits$}{name}");
        }
    }
    format!("{ns}ns")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(values: impl IntoIterator<Item = u64>) -> Times {
        let mut times = Times::default();
        values.into_iter().for_each(|ns| times.add(ns));
        times
    }

    #[test]
    fn a_few_times_are_exact() {
        let few = times([100, 300, 200]);
        assert_eq!((few.count(), few.max()), (3, 300));
        assert_eq!((few.quantile(0.5), few.quantile(0.99)), (200, 300));
        assert_eq!(times([]).quantile(0.5), 0);
    }

    #[test]
    fn many_times_are_within_a_hundredth_and_their_maximum_is_exact() {
        let many = times((1..=100_000).map(|i| i * 1_003));
        assert_eq!((many.count(), many.max()), (100_000, 100_300_000));
        for (share, expected) in [
            (0.5, 50_150_000.0),
            (0.99, 99_297_000.0),
            (0.999, 100_199_700.0),
        ] {
            let off = (many.quantile(share) as f64 - expected).abs() / expected;
            assert!(off < 0.01, "{share}: {}", many.quantile(share));
        }
        assert_eq!(times([1, u64::MAX]).max(), u64::MAX);
        let long = times((0..100).map(|_| u64::MAX / 2));
        assert_eq!((long.count(), long.quantile(0.5)), (100, u64::MAX / 2));
    }

    #[test]
    fn classes_follow_each_other_without_a_gap() {
        let last = class(u64::MAX);
        assert_eq!((class(0), longest(last)), (0, u64::MAX));
        for class in 0..last {
            let end = longest(class);
            assert_eq!((self::class(end), self::class(end + 1)), (class, class + 1));
        }
    }

    #[test]
    fn merged_times_are_those_of_both() {
        for (left, right) in [(3, 4), (3, 1000), (1000, 3), (1000, 2000), (0, 40)] {
            let mut merged = times((0..left).map(|i| 1_000 + i));
            merged.merge(&times((0..right).map(|i| 1_000_000 + i)));
            assert_eq!(merged.count(), left + right);
            assert_eq!(merged.max(), 1_000_000 + right - 1);
            let powers = merged.by_power();
            assert_eq!(powers.iter().map(|(_, n)| n).sum::<u64>(), left + right);
            assert_eq!(
                powers.last().map(|(power, _)| *power),
                Some(19 + u32::from(right > 48_576))
            );
        }
    }

    #[test]
    fn powers_hold_what_lies_between_them() {
        assert_eq!(
            times([0, 1, 2, 3, 9]).by_power(),
            [(0, 2), (1, 2), (2, 0), (3, 1)]
        );
        let many = times((0..100).flat_map(|_| [1023, 1024, 2047, 2048]));
        assert_eq!(many.by_power(), [(9, 100), (10, 200), (11, 100)]);
        assert_eq!(times([]).by_power(), []);
    }

    #[test]
    fn times_for_a_person() {
        let cases = [
            (0, "0ns"),
            (999, "999ns"),
            (1_000, "1.00us"),
            (12_345, "12.3us"),
            (9_999, "10.0us"),
            (999_900, "1000us"),
            (4_560_000, "4.56ms"),
            (1_200_000_000, "1.20s"),
            (3_600_000_000_000, "3600s"),
        ];
        for (ns, text) in cases {
            assert_eq!(readable(ns), text);
        }
    }
}
