//! How long ops took, and each stage of them.

use hdrhistogram::Histogram;

use crate::op::Op;

/// Values are within one part in a hundred.
const DIGITS: u8 = 2;

/// So many values are kept as they came: most files of a large tree see a few requests, and a histogram is some
/// 10 KiB.
const FEW: usize = 32;

/// Times in nanoseconds: a few as they are, many in a histogram that grows with the longest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times {
    few: Vec<u64>,
    many: Option<Box<Histogram<u64>>>,
    max: u64,
}

impl Times {
    pub(crate) fn add(&mut self, ns: u64) {
        self.max = self.max.max(ns);
        if self.many.is_none() && self.few.len() < FEW {
            self.few.push(ns);
            return;
        }
        record(self.counted(), ns, 1);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for &ns in &other.few {
            self.add(ns);
        }
        if let Some(many) = &other.many {
            self.max = self.max.max(other.max);
            let counted = self.counted();
            for bucket in many.iter_recorded() {
                record(counted, bucket.value_iterated_to(), bucket.count_at_value());
            }
        }
    }

    /// The histogram, with the few values moved into it.
    fn counted(&mut self) -> &mut Histogram<u64> {
        let few = std::mem::take(&mut self.few);
        let many = self.many.get_or_insert_with(|| {
            let mut many = Histogram::new(DIGITS).expect("two digits are allowed");
            many.auto(true);
            Box::new(many)
        });
        for ns in few {
            record(many, ns, 1);
        }
        many
    }

    pub(crate) fn count(&self) -> u64 {
        self.few.len() as u64 + self.many.as_ref().map_or(0, |many| many.len())
    }

    /// The longest, exactly.
    pub(crate) fn max(&self) -> u64 {
        self.max
    }

    /// The time that at least this share of all did not exceed; 0 where there is none.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        if let Some(many) = &self.many {
            return many.value_at_quantile(share).min(self.max);
        }
        let mut sorted = self.few.clone();
        sorted.sort_unstable();
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.max(1) - 1).copied().unwrap_or(0)
    }

    /// How many times lie in [2^n, 2^(n+1)) nanoseconds, for every n from the lowest to the highest that occur; 0 ns
    /// counts as 1.
    pub(crate) fn by_power(&self) -> Vec<(u32, u64)> {
        let mut powers = [0u64; 64];
        let mut count = |ns: u64, n| powers[ns.max(1).ilog2() as usize] += n;
        for &ns in &self.few {
            count(ns, 1);
        }
        // The histogram's own buckets end at powers of two.
        for bucket in self.many.iter().flat_map(|many| many.iter_recorded()) {
            count(bucket.value_iterated_to(), bucket.count_at_value());
        }
        let first = powers.iter().position(|&n| n > 0);
        let last = powers.iter().rposition(|&n| n > 0);
        match (first, last) {
            (Some(first), Some(last)) => (first..=last).map(|i| (i as u32, powers[i])).collect(),
            _ => Vec::new(),
        }
    }
}

fn record(histogram: &mut Histogram<u64>, ns: u64, times: u64) {
    // It resizes itself, and holds 64 bits of time: there is nothing to fail.
    let _ = histogram.record_n(ns, times);
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
        // More than a histogram made for a minute would hold.
        let long = times((0..100).map(|_| u64::MAX / 2));
        assert_eq!((long.count(), long.quantile(0.5)), (100, u64::MAX / 2));
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
