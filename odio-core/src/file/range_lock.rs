//! # Exclusive use of a range of a file
//!
//! First come, first served among those that overlap, so that none waits for ever. Between the clones of one open file;
//! it knows nothing of other programs. No system call of its own.
//!
//! A queue holds a range until its completion is collected. Who waited for that on the thread that is to collect it
//! would wait for ever, so an endless wait that depends on the waiting thread itself is refused. What threads wait for in
//! another lock is not seen.

use std::cell::Cell;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::sys::event;

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
    /// Eventfds of those who were refused and come back when something is released.
    watchers: Vec<Arc<OwnedFd>>,
}

#[derive(Debug)]
struct Entry {
    ticket: u64,
    begin: u64,
    end: u64,
    /// Who holds it or waits for it.
    thread: usize,
    /// Whether that thread can do nothing else before it has got it.
    endless: bool,
}

impl Entry {
    fn overlaps(&self, begin: u64, end: u64) -> bool {
        begin < self.end && self.begin < end
    }
}

/// Tells the living threads apart. Unlike [`std::thread::current`] it allocates nothing for a thread that C started.
fn this_thread() -> usize {
    thread_local!(static HERE: Cell<u8> = const { Cell::new(0) });
    HERE.with(|here| ptr::from_ref(here).addr())
}

impl Default for Queue {
    fn default() -> Queue {
        Queue {
            next: 0,
            // Room for the usual few, so that a request allocates nothing.
            entries: Vec::with_capacity(16),
            watchers: Vec::new(),
        }
    }
}

impl Queue {
    fn is_free_for(&self, begin: u64, end: u64, before: u64) -> bool {
        self.entries
            .iter()
            .take_while(|each| each.ticket < before)
            .all(|each| !each.overlaps(begin, end))
    }

    /// Whether something that `begin` to `end` has to wait for is of `thread`; or is of another thread that waits
    /// endlessly, and so on from there.
    fn depends_on(&self, thread: usize, begin: u64, end: u64, before: u64) -> bool {
        let mut waited_for = vec![(begin, end, before)];
        let mut at = 0;
        while let Some(&(begin, end, before)) = waited_for.get(at) {
            at += 1;
            let ahead = self.entries.iter().take_while(|each| each.ticket < before);
            for first in ahead.filter(|each| each.overlaps(begin, end)) {
                if first.thread == thread {
                    return true;
                }
                // Before it goes, it has to come, and its thread has to have whatever it waits for elsewhere.
                for other in &self.entries {
                    let waits = other.ticket == first.ticket
                        || (other.thread == first.thread && other.endless);
                    let next = (other.begin, other.end, other.ticket);
                    if waits && !waited_for.contains(&next) {
                        waited_for.push(next);
                    }
                }
            }
        }
        false
    }

    fn enter(&mut self, begin: u64, end: u64, endless: bool) -> u64 {
        let ticket = self.next;
        self.next += 1;
        self.entries.push(Entry {
            ticket,
            begin,
            end,
            thread: this_thread(),
            endless,
        });
        ticket
    }
}

impl RangeLock {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for `begin` to `end` and gives the ticket that [`RangeLock::release`] takes; `None` where `time` comes first.
    /// [`Error::Deadlock`] where it would wait for this thread, and for ever.
    pub(super) fn hold(
        &self,
        begin: u64,
        end: u64,
        time: Option<Instant>,
    ) -> Result<Option<u64>, Error> {
        let mut queue = self.queue();
        let before = queue.next;
        if time.is_none()
            && !queue.is_free_for(begin, end, before)
            && queue.depends_on(this_thread(), begin, end, before)
        {
            return Err(Error::Deadlock);
        }
        let ticket = queue.enter(begin, end, time.is_none());
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
                    return Ok(None);
                }
                Some(left) => {
                    self.changed
                        .wait_timeout(queue, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
        Ok(Some(ticket))
    }

    /// As [`RangeLock::hold`], or `None` where it would have to wait, even behind one that waits itself. The next release
    /// then signals `watcher`, once.
    pub(super) fn try_hold(
        &self,
        begin: u64,
        end: u64,
        watcher: Option<&Arc<OwnedFd>>,
    ) -> Option<u64> {
        let mut queue = self.queue();
        if queue.is_free_for(begin, end, u64::MAX) {
            return Some(queue.enter(begin, end, false));
        }
        if let Some(watcher) = watcher
            && !queue.watchers.iter().any(|each| Arc::ptr_eq(each, watcher))
        {
            queue.watchers.push(Arc::clone(watcher));
        }
        None
    }

    #[cfg(test)]
    pub(super) fn held_or_waited_for(&self) -> usize {
        self.queue().entries.len()
    }

    /// By any thread.
    pub(super) fn release(&self, ticket: u64) {
        let mut queue = self.queue();
        queue.entries.retain(|each| each.ticket != ticket);
        for watcher in queue.watchers.drain(..) {
            event::signal(watcher.as_raw_fd());
        }
        drop(queue);
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
        let held = lock.try_hold(4096, 8192, None).unwrap();
        for (begin, end, free) in [
            (0, 4096, true),
            (8192, 12288, true),
            (4096, 8192, false),
            (0, 4097, false),
            (8191, 9000, false),
            (0, u64::MAX, false),
            (5000, 6000, false),
        ] {
            let got = lock.try_hold(begin, end, None);
            assert_eq!(got.is_some(), free, "{begin} {end}");
            if let Some(ticket) = got {
                lock.release(ticket);
            }
        }
        lock.release(held);
        assert!(lock.try_hold(0, u64::MAX, None).is_some());
    }

    #[test]
    fn who_came_first_is_served_first() {
        let lock = RangeLock::default();
        let (send, order) = mpsc::channel();
        let held = lock.hold(0, 10, None).unwrap().unwrap();
        thread::scope(|scope| {
            for (number, range) in [(1, (0, 20)), (2, (15, 20)), (3, (0, 5))] {
                let waiting = number as usize;
                let (lock, send) = (&lock, send.clone());
                scope.spawn(move || {
                    let ticket = lock.hold(range.0, range.1, None).unwrap().unwrap();
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
            assert!(lock.try_hold(15, 16, None).is_none());
            assert!(lock.try_hold(20, 30, None).is_some());
            lock.release(held);
        });
        assert_eq!(order.recv().unwrap(), 1);
        let mut rest = [order.recv().unwrap(), order.recv().unwrap()];
        rest.sort_unstable();
        assert_eq!(rest, [2, 3]);
    }

    #[test]
    fn a_thread_does_not_wait_for_itself() {
        let lock = RangeLock::default();
        let held = lock.try_hold(0, 10, None).unwrap();
        assert!(matches!(lock.hold(5, 6, None), Err(Error::Deadlock)));
        let ticket = lock.hold(10, 20, None).unwrap().unwrap();
        lock.release(ticket);
        thread::scope(|scope| {
            scope.spawn(|| {
                let ticket = lock.hold(5, 30, None).unwrap().unwrap();
                lock.release(ticket);
            });
            while lock.held_or_waited_for() < 2 {
                thread::yield_now();
            }
            // Nor for another that waits for it.
            assert!(matches!(lock.hold(20, 25, None), Err(Error::Deadlock)));
            lock.release(held);
        });
        assert!(lock.try_hold(0, u64::MAX, None).is_some());
    }

    #[test]
    fn two_threads_do_not_wait_for_each_other() {
        let lock = RangeLock::default();
        let held = lock.try_hold(0, 10, None).unwrap();
        thread::scope(|scope| {
            let (send, ready) = mpsc::channel();
            scope.spawn({
                let lock = &lock;
                move || {
                    let held = lock.try_hold(20, 30, None).unwrap();
                    send.send(()).unwrap();
                    let ticket = lock.hold(0, 5, None).unwrap().unwrap();
                    lock.release(ticket);
                    lock.release(held);
                }
            });
            ready.recv().unwrap();
            while lock.held_or_waited_for() < 3 {
                thread::yield_now();
            }
            // The other one lets go of this when it has got what this thread holds.
            let refused = lock.queue().depends_on(this_thread(), 25, 26, u64::MAX);
            let refused = refused && matches!(lock.hold(25, 26, None), Err(Error::Deadlock));
            lock.release(held);
            assert!(refused);
            let ticket = lock.hold(25, 26, None).unwrap().unwrap();
            lock.release(ticket);
        });
        assert!(lock.try_hold(0, u64::MAX, None).is_some());
    }
}
