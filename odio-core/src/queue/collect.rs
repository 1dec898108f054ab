//! # What hands requests over and gives completions out
//!
//! One loop with the engine for every way to submit, wait and collect, and a short way beside it for the usual case.

use std::mem;
use std::time::Duration;

use super::arrive::complete_probe;
use super::slot::{self, Slot};
use super::tables::Tables;
use super::{Completion, DRIVER_LIVES, Queue};
use crate::counters;
use crate::engine::{Deadline, Driver, Sink};
use crate::error::{Errno, Error};

impl Queue {
    /// Hands everything taken in to the kernel, without waiting for completions. What the kernel has no room for while
    /// other requests are in flight is kept, and so is what waits for another request; each later call that hands over
    /// tries again. With nothing in flight to make room that is an error, `EAGAIN`, and nothing is lost.
    #[inline]
    pub fn submit(&mut self) -> Result<(), Error> {
        self.advance(0, 0, 0, Deadline::Now, |_, _| {}).map(drop)
    }

    /// Hands everything taken in to the kernel, and collects what has completed. Returns how many completions are
    /// ready for [`Queue::pop`].
    #[inline]
    pub fn poll(&mut self) -> Result<u32, Error> {
        self.submit()?;
        Ok(self.ready())
    }

    /// As [`Queue::poll`], and waits until at least `min` completions are ready or `timeout` has passed. No more than
    /// what is in flight is waited for. Fewer than `min` ready means that the time was up, or that there was no more.
    #[inline]
    pub fn wait(&mut self, min: u32, timeout: Option<Duration>) -> Result<u32, Error> {
        self.advance(0, min, 0, Deadline::after(timeout), |_, _| {})?;
        Ok(self.ready())
    }

    /// As [`Queue::wait`] and then [`Queue::pop`] of up to `max`, each given to `collect` as its user data and its bytes or
    /// negative errno; buffers are dropped. Returns how many.
    #[inline(always)]
    pub fn collect(
        &mut self,
        min: u32,
        max: u32,
        timeout: Option<Duration>,
        collect: impl FnMut(u64, i32),
    ) -> Result<u32, Error> {
        self.advance(0, min, max, Deadline::after(timeout), collect)
    }

    /// Goes on with a [`Queue::collect`] of which [`Queue::try_collect`] did `collected`.
    #[inline(always)]
    pub fn collect_on(
        &mut self,
        collected: u32,
        min: u32,
        max: u32,
        timeout: Option<Duration>,
        collect: impl FnMut(u64, i32),
    ) -> Result<u32, Error> {
        self.advance(collected, min, max, Deadline::after(timeout), collect)
    }

    /// The short way of [`Queue::collect`], for a queue in which nothing is out of the ordinary: with a timeout of 0, or
    /// with none where `waits`. `Err` is how many were given to `collect` before something was; it goes on with
    /// [`Queue::collect_on`]. It does not panic, and no more may `collect`.
    #[inline(always)]
    pub fn try_collect(
        &mut self,
        min: u32,
        max: u32,
        waits: bool,
        collect: impl FnMut(u64, i32),
    ) -> Result<u32, u32> {
        // All that is in flight is with the engine: nothing is held, and nothing wants a closer look.
        if !self.home.is_surely_here() || !self.ready.is_empty() || self.beside > 0 {
            return Err(0);
        }
        let want = if waits { self.with_engine.min(min) } else { 0 };
        let mut bytes = Bytes::default();
        let Some((driver, mut round)) = self.round::<_, false>(max, &mut bytes, collect) else {
            return Err(0);
        };
        // What there is no room for stays with the engine.
        let (arrived, done) = driver.try_exchange(want as usize, max as usize, &mut round);
        let (first_free, _) = round.end();
        let collected = (arrived - self.arrivals.len()) as u32;
        self.after_round(first_free, collected);
        if done && arrived == collected as usize {
            Ok(collected)
        } else {
            Err(collected)
        }
    }

    /// Takes the next completion, in the order of completion. None in a child of fork: they are the parent's.
    #[inline]
    pub fn pop(&mut self) -> Option<Completion> {
        self.check_home().ok()?;
        let number = self.ready.pop_front()?;
        let slot = &mut self.slots[number as usize];
        let buffer = slot.clear(mem::replace(&mut self.free, number));
        let result = slot.result;
        Some(Completion {
            user_data: slot.user_data,
            result: u32::try_from(result).map_err(|_| Errno(-result)),
            buffer,
        })
    }

    /// Waits for one completion and takes it. For programs that do one request at a time.
    pub fn complete(&mut self) -> Result<Completion, Error> {
        self.wait(1, None)?;
        self.pop()
            .ok_or_else(|| Error::Invalid("nothing is in flight".to_owned()))
    }

    /// Hands over what was taken in and waits until nothing is in flight. The completions stay to be collected.
    pub fn drain(&mut self) -> Result<(), Error> {
        self.check_home()?;
        while self.in_flight() > 0 {
            self.wait(self.ready() + self.in_flight(), None)?;
        }
        Ok(())
    }

    /// Exchanges with the engine until `min` completions are there, nothing more is in flight, or the time is up. The
    /// first `max` go to `collect` as user data and bytes or a negative errno, those that are ready before all others;
    /// the rest becomes ready. Returns how many were collected, with the `collected` that there were before.
    #[inline(always)]
    fn advance(
        &mut self,
        mut collected: u32,
        min: u32,
        max: u32,
        deadline: Deadline,
        mut collect: impl FnMut(u64, i32),
    ) -> Result<u32, Error> {
        self.check_home()?;
        assert!(!self.half_way, "a panic left this queue half way");
        if !self.arrivals.is_empty() {
            self.look_at_arrivals();
        }
        loop {
            if !self.held.is_empty() {
                self.look_at_held();
            }
            // What was ready before comes first.
            if collected < max && !self.ready.is_empty() {
                collected += self.collect_ready(max - collected, &mut collect);
            }
            let missing = self.missing(min, collected);
            if missing > 0 && self.with_engine == 0 && deadline != Deadline::Now {
                // All that is left waits for another thread.
                if let Err(error) = self.wait_for_held(deadline) {
                    return unless_collected(collected, error);
                }
            }
            let want = self.with_engine.min(missing) as usize;
            self.half_way = true;
            let mut bytes = Bytes::default();
            let (driver, mut round) = self
                .round::<_, true>(max - collected, &mut bytes, &mut collect)
                .expect(DRIVER_LIVES);
            let result = driver.exchange(want, deadline, &mut round);
            let (first_free, arrived) = round.end();
            self.after_round(first_free, arrived);
            self.half_way = false;
            collected += arrived;
            // What has ended may have been what another waited for.
            let mut goes_on = arrived > 0 && !self.held.is_empty();
            if !self.arrivals.is_empty() {
                goes_on |= self.look_at_arrivals() || !self.held.is_empty();
            }
            // Also what ended without an engine.
            if collected < max && !self.ready.is_empty() {
                collected += self.collect_ready(max - collected, &mut collect);
            }
            if let Err(error) = result {
                return unless_collected(collected, error);
            }
            // What goes on has just been staged again: it is handed over now, not at the next call.
            if !goes_on && (self.missing(min, collected) == 0 || deadline.over()) {
                return Ok(collected);
            }
        }
    }

    /// How many completions are still to be waited for.
    #[inline(always)]
    fn missing(&self, min: u32, collected: u32) -> u32 {
        min.saturating_sub(collected)
            .saturating_sub(self.ready.len() as u32)
            .min(self.in_flight())
    }

    /// The engine, and what it gives its results to.
    #[inline(always)]
    fn round<'a, F: FnMut(u64, i32), const BOUNDED: bool>(
        &'a mut self,
        room: u32,
        bytes: &'a mut Bytes,
        collect: F,
    ) -> Option<(&'a mut Driver, Round<'a, F, BOUNDED>)> {
        let round = Round {
            slots: &mut self.slots,
            first_free: self.free,
            arrivals: &mut self.arrivals,
            tables: &self.tables,
            moved: &mut self.moved,
            known: slot::NONE,
            ended: 0,
            bytes,
            collected: 0,
            room,
            collect,
        };
        Some((self.driver.as_mut()?, round))
    }

    /// Takes in what a round changed.
    #[inline(always)]
    fn after_round(&mut self, first_free: u32, collected: u32) {
        self.free = first_free;
        let kept = self.arrivals.len() as u32;
        self.with_engine -= collected + kept;
        self.beside += kept;
        self.counters.completed += u64::from(collected);
    }

    #[inline(never)]
    fn collect_ready(&mut self, max: u32, collect: &mut impl FnMut(u64, i32)) -> u32 {
        let mut collected = 0;
        while collected < max {
            let Some(number) = self.ready.pop_front() else {
                break;
            };
            let slot = &mut self.slots[number as usize];
            drop(slot.clear(mem::replace(&mut self.free, number)));
            collect(slot.user_data, slot.result);
            collected += 1;
        }
        collected
    }
}

/// What has been handed out is not taken back; what is wrong is found again by the next call.
#[cold]
fn unless_collected(collected: u32, error: Error) -> Result<u32, Error> {
    if collected > 0 {
        Ok(collected)
    } else {
        Err(error)
    }
}

/// Bytes that were read and written. Not inside [`Round`], which stays in registers this way.
type Bytes = [u64; 2];

/// Where an engine's results go. It borrows what it needs of the queue, so that the engine need not be taken out of it.
struct Round<'a, F, const BOUNDED: bool> {
    slots: &'a mut [Slot],
    first_free: u32,
    arrivals: &'a mut Vec<(u32, i32)>,
    tables: &'a Tables,
    moved: &'a mut Bytes,
    /// The place of the file that `ended` and `bytes` are to be counted for: one addition to what threads share for many
    /// requests.
    known: u32,
    ended: u32,
    bytes: &'a mut Bytes,
    /// How many were collected, and how many `collect` takes, where that is to be looked at.
    collected: u32,
    room: u32,
    collect: F,
}

impl<F: FnMut(u64, i32), const BOUNDED: bool> Round<'_, F, BOUNDED> {
    /// Gives the first free slot and, where it is bounded, how many were collected.
    #[inline(always)]
    fn end(self) -> (u32, u32) {
        count(self.tables, self.moved, self.known, self.ended, self.bytes);
        (self.first_free, self.collected)
    }
}

impl<F: FnMut(u64, i32), const BOUNDED: bool> Sink for Round<'_, F, BOUNDED> {
    #[inline(always)]
    fn arrive(&mut self, number: u32, result: i32) {
        let Some(slot) = self.slots.get_mut(number as usize) else {
            keep(self.arrivals, number, result);
            return;
        };
        if result != slot.expected || (BOUNDED && self.collected == self.room) {
            keep(self.arrivals, number, result);
            return;
        }
        complete_probe(slot, self.tables, result);
        if slot.file.is_none() {
            if slot.known != self.known {
                count(self.tables, self.moved, self.known, self.ended, self.bytes);
                (self.known, self.ended) = (slot.known, 0);
            }
            self.ended += 1;
            self.bytes[slot.stage.counter()] += result as u64;
        } else if let Some(file) = slot.file.take() {
            let (counter, shared) = (slot.stage.counter(), file.count());
            self.moved[counter] += result as u64;
            counters::add(&shared.moved[counter], result as u64);
            counters::add(&shared.ended, 1);
        }
        slot.next = mem::replace(&mut self.first_free, number);
        if BOUNDED {
            self.collected += 1;
        }
        (self.collect)(slot.user_data, result);
    }
}

/// Counts what ended on a known file, and begins anew.
#[inline(always)]
fn count(tables: &Tables, moved: &mut Bytes, known: u32, ended: u32, bytes: &mut Bytes) {
    if ended == 0 {
        return;
    }
    let bytes = mem::take(bytes);
    for (moved, bytes) in moved.iter_mut().zip(bytes) {
        *moved += bytes;
    }
    if let Some(file) = tables.file_at(known) {
        let shared = file.count();
        counters::add(&shared.ended, u64::from(ended));
        for (counter, bytes) in shared.moved.iter().zip(bytes) {
            if bytes > 0 {
                counters::add(counter, bytes);
            }
        }
    }
}

/// Keeps a result for a closer look. Out of line, because few are.
#[cold]
#[inline(never)]
fn keep(arrivals: &mut Vec<(u32, i32)>, number: u32, result: i32) {
    arrivals.push((number, result));
}
