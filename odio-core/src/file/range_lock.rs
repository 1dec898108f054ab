//! # Exclusive use of a range of a file
//!
//! First come, first served among those that overlap, so that none waits for ever. Between the clones of one open file;
//! it knows nothing of other programs. No system call of its own.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The ranges that are held or waited for.
#[derive(Debug, Default)]
pub(super) struct RangeLock {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug)]
struct Queue {
    next: u64,
    /// In the order in which they came. One holds its range where no earlier one overlaps it.
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    ticket: u64,
    begin: u64,
    end: u64,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue {
            next: 0,
            // Room for the usual few, so that a request allocates nothing.
            entries: Vec::with_capacity(16),
        }
    }
}

impl Queue {
    fn is_free_for(&self, begin: u64, end: u64, before: u64) -> bool {
        self.entries
            .iter()
            .take_while(|each| each.ticket < before)
            .all(|each| end <= each.begin || each.end <= begin)
    }

    fn enter(&mut self, begin: u64, end: u64) -> u64 {
        let ticket = self.next;
        self.next += 1;
        self.entries.push(Entry { ticket, begin, end });
        ticket
    }
}

impl RangeLock {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `begin` to `end` and gives the ticket that [`RangeLock::release`] takes; `None` where `time` comes first.
    pub(super) fn hold(&self, begin: u64, end: u64, time: Option<Instant>) -> Option<u64> {
        let mut queue = self.queue();
        let ticket = queue.enter(begin, end);
        while !queue.is_free_for(begin, end, ticket) {
            queue = match time.map(|time| time.saturating_duration_since(Instant::now())) {
                None => self
                    .changed
                    .wait(queue)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => {
                    drop(queue);
                    // Others may be waiting behind this one.
                    self.release(ticket);
                    return None;
                }
                Some(left) => {
                    self.changed
                        .wait_timeout(queue, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
        Some(ticket)
    }

    /// As [`RangeLock::hold`], or `None` where it would have to wait, even behind one that waits itself.
    pub(super) fn try_hold(&self, begin: u64, end: u64) -> Option<u64> {
        let mut queue = self.queue();
        let free = queue.is_free_for(begin, end, u64::MAX);
        free.then(|| queue.enter(begin, end))
    }

    #[cfg(test)]
    pub(super) fn held_or_waited_for(&self) -> usize {
        self.queue().entries.len()
    }

    /// By any thread.
    pub(super) fn release(&self, ticket: u64) {
        self.queue().entries.retain(|each| each.ticket != ticket);
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn only_ranges_that_overlap_exclude_each_other() {
        let lock = RangeLock::default();
        let held = lock.try_hold(4096, 8192).unwrap();
        for (begin, end, free) in [
            (0, 4096, true),
            (8192, 12288, true),
            (4096, 8192, false),
            (0, 4097, false),
            (8191, 9000, false),
            (0, u64::MAX, false),
            (5000, 6000, false),
        ] {
            let got = lock.try_hold(begin, end);
            assert_eq!(got.is_some(), free, "{begin} {end}");
            if let Some(ticket) = got {
                lock.release(ticket);
            }
        }
        lock.release(held);
        assert!(lock.try_hold(0, u64::MAX).is_some());
    }

    #[test]
    fn who_came_first_is_served_first() {
        let lock = RangeLock::default();
        let (send, order) = mpsc::channel();
        let held = lock.hold(0, 10, None).unwrap();
        thread::scope(|scope| {
            for (number, range) in [(1, (0, 20)), (2, (15, 20)), (3, (0, 5))] {
                let waiting = number as usize;
                let (lock, send) = (&lock, send.clone());
                scope.spawn(move || {
                    let ticket = lock.hold(range.0, range.1, None).unwrap();
                    send.send(number).unwrap();
                    lock.release(ticket);
                });
                // The next one comes when this one stands in the queue.
                while lock.held_or_waited_for() <= waiting {
                    thread::yield_now();
                }
            }
            // The second overlaps only the first, which waits; it does not overtake.
            assert!(order.try_recv().is_err());
            assert!(lock.try_hold(15, 16).is_none());
            assert!(lock.try_hold(20, 30).is_some());
            lock.release(held);
        });
        assert_eq!(order.recv().unwrap(), 1);
        let mut rest = [order.recv().unwrap(), order.recv().unwrap()];
        rest.sort_unstable();
        assert_eq!(rest, [2, 3]);
    }
}
