//! # What a person sees while it runs
//!
//! One line on standard error, made anew every second, where that is a terminal and no results go to the same one.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use odio_trace_common::Loss;

/// How often the line is made anew.
pub(crate) const PERIOD: Duration = Duration::from_secs(1);

/// The line.
#[derive(Debug)]
pub(crate) struct Progress {
    shown: bool,
    ops: u64,
    at: Instant,
}

impl Progress {
    /// `None` where nobody would see it, or it would run into the results.
    pub(crate) fn new(results_stream: bool) -> Option<Self> {
        let seen = io::stderr().is_terminal() && !(results_stream && io::stdout().is_terminal());
        seen.then(|| Self {
            shown: false,
            ops: 0,
            at: Instant::now(),
        })
    }

    /// Whether the line is older than it may be.
    pub(crate) fn is_due(&self) -> bool {
        self.at.elapsed() >= PERIOD
    }

    /// Shows how far it is.
    pub(crate) fn show(&mut self, ops: u64, losses: &[(Loss, u64)]) {
        let line = line(ops, ops - self.ops, self.at.elapsed(), losses);
        // The cursor goes back first and the rest of an older line away last; a closed terminal is no fault.
        let _ = write!(io::stderr().lock(), "\r{line}\x1b[K");
        self.shown = true;
        self.ops = ops;
        self.at = Instant::now();
    }

    /// Takes the line away.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

fn line(ops: u64, new: u64, since: Duration, losses: &[(Loss, u64)]) -> String {
    let rate = new as f64 / since.as_secs_f64().max(1e-3);
    let lost: u64 = losses.iter().map(|(_, n)| n).sum();
    let mut line = format!("odio-trace: {ops} ops, {rate:.0} ops/s");
    if lost > 0 {
        line += &format!(", {lost} lost, missed or not attributed");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_of_what_is_new_and_losses_are_told() {
        let second = Duration::from_secs(2);
        assert_eq!(
            line(1000, 500, second, &[]),
            "odio-trace: 1000 ops, 250 ops/s"
        );
        let losses = [(Loss::RingFull, 3), (Loss::EndMissed, 4)];
        assert!(line(0, 0, Duration::ZERO, &losses).contains("7 lost"));
    }
}
