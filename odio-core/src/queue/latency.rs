//! # How long requests took
//!
//! Counts by power of two. Pure values.

/// How many requests took how long, from the call that took one in to the moment its completion was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// At index `n` the requests that took less than 2^`n` nanoseconds and not less than half of that; the last one
    /// holds all that took longer.
    pub buckets: [u64; Latency::BUCKETS],
    /// The longest, in nanoseconds.
    pub max: u64,
}

impl Latency {
    /// How many buckets there are; the last but one ends at about 9 minutes.
    pub const BUCKETS: usize = 40;

    pub(super) const NONE: Latency = Latency {
        buckets: [0; Latency::BUCKETS],
        max: 0,
    };

    pub(super) fn add(&mut self, nanoseconds: u64) {
        let bucket = (u64::BITS - nanoseconds.leading_zeros()) as usize;
        self.buckets[bucket.min(Latency::BUCKETS - 1)] += 1;
        self.max = self.max.max(nanoseconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_in_the_bucket_that_bounds_it() {
        let mut latency = Latency::NONE;
        for (time, bucket) in [(0, 0), (1, 1), (2, 2), (3, 2), (1024, 11), (u64::MAX, 39)] {
            let before = latency.buckets[bucket];
            latency.add(time);
            assert_eq!(latency.buckets[bucket], before + 1, "{time}");
        }
        assert_eq!(latency.max, u64::MAX);
        assert_eq!(latency.buckets.iter().sum::<u64>(), 6);
    }
}
