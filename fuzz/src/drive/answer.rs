//! # What comes back, and how it is waited for

use std::{os::fd::AsRawFd, time::Duration};

use odio_core::{
    buffer::Buffer,
    error::{Errno, Error},
    flags::Flags,
    queue::Completion,
};

use super::{Drive, Flight, Line, What};
use crate::{input::Input, model::Ended, place::LARGEST};

impl Drive {
    /// Where this thread's other queue is in the way, that one goes first.
    fn unless_in_the_way<T>(&mut self, line: usize, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(Error::Deadlock) => {
                let others = self.lines.iter().enumerate();
                let other = others.filter(|(number, _)| *number != line);
                let theirs: usize = other.map(|(_, line)| line.flights.len()).sum();
                assert!(theirs > 0, "EDEADLK, but this thread has no other request");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    pub(super) fn submit(&mut self, line: usize) {
        let result = self.lines[line].queue.submit();
        self.unless_in_the_way(line, result);
    }

    pub(super) fn poll(&mut self, line: usize) {
        let result = self.lines[line].queue.poll();
        if let Some(ready) = self.unless_in_the_way(line, result) {
            assert_eq!(ready, self.lines[line].queue.ready());
        }
        self.pop(line);
    }

    pub(super) fn wait(&mut self, input: &mut Input<'_>, line: usize) {
        let min = u32::from(input.below(14));
        let timeout = input.of(&[None, Some(Duration::ZERO), Some(Duration::from_micros(50))]);
        let held = self.lines[line].flights.len() as u32;
        let result = self.lines[line].queue.wait(min, timeout);
        if let Some(ready) = self.unless_in_the_way(line, result)
            && timeout.is_none()
        {
            assert!(
                ready >= min.min(held),
                "{ready} are ready of {min} that were waited for"
            );
        }
        self.pop(line);
    }

    fn pop(&mut self, line: usize) {
        while let Some(Completion {
            user_data,
            result,
            buffer,
        }) = self.lines[line].queue.pop()
        {
            self.complete(line, user_data, result, buffer);
        }
        assert_eq!(self.lines[line].queue.ready(), 0);
    }

    pub(super) fn collect(&mut self, input: &mut Input<'_>, line: usize) {
        let (min, max) = (u32::from(input.below(4)), u32::from(input.below(14)));
        let mut all = Vec::new();
        let queue = &mut self.lines[line].queue;
        let first = match input.rarely(2) {
            true => queue.try_collect(min, max, false, |user_data, result| {
                all.push((user_data, result))
            }),
            false => Err(0),
        };
        let result = match first {
            Ok(collected) => Ok(collected),
            Err(collected) => queue.collect_on(
                collected,
                min.min(max),
                max,
                Some(Duration::ZERO),
                |user_data, result| all.push((user_data, result)),
            ),
        };
        let collected = self.unless_in_the_way(line, result);
        if let Some(collected) = collected {
            assert_eq!(collected as usize, all.len());
        }
        assert!(all.len() <= max as usize);
        for (user_data, result) in all {
            let result = u32::try_from(result).map_err(|_| Errno(-result));
            self.complete(line, user_data, result, None);
        }
    }

    /// Sleeps on the eventfd as a program's own loop does: what completes wakes it.
    pub(super) fn poll_descriptor(&mut self, line: usize) {
        let descriptor = match self.lines[line].queue.eventfd() {
            Ok(descriptor) => descriptor.as_raw_fd(),
            Err(error) => panic!("{error}"),
        };
        let result = self.lines[line].queue.poll();
        let Some(mut ready) = self.unless_in_the_way(line, result) else {
            return;
        };
        let alone = self.lines.iter().enumerate();
        let alone = alone
            .filter(|(number, _)| *number != line)
            .all(|(_, l)| l.flights.is_empty());
        while ready == 0 && alone && self.lines[line].queue.in_flight() > 0 {
            let mut asked = libc::pollfd {
                fd: descriptor,
                events: libc::POLLIN,
                revents: 0,
            };
            let mut count = 0_u64;
            // libFuzzer's own limit ends a sleep that nothing ends, and its timer interrupts it.
            // SAFETY: both values live until the calls return.
            unsafe {
                while libc::poll(&mut asked, 1, -1) != 1 {
                    assert_eq!(
                        std::io::Error::last_os_error().kind(),
                        std::io::ErrorKind::Interrupted
                    );
                }
                libc::read(descriptor, (&raw mut count).cast(), 8);
            }
            let result = self.lines[line].queue.poll();
            ready = self.unless_in_the_way(line, result).expect("it is alone");
        }
        self.pop(line);
    }

    /// Waits until nothing is in flight anywhere, and asks for the size.
    pub(super) fn settle(&mut self) {
        let mut rounds = 0;
        while self.lines.iter().any(|line| !line.flights.is_empty()) {
            for line in 0..self.lines.len() {
                let result = self.lines[line].queue.drain();
                if self.unless_in_the_way(line, result).is_some() {
                    assert_eq!(self.lines[line].queue.in_flight(), 0);
                }
                self.pop(line);
                if self.lines[line].queue.in_flight() == 0 {
                    assert!(self.lines[line].flights.is_empty(), "a completion is lost");
                }
            }
            rounds += 1;
            assert!(rounds < 100, "the queues stand in each other's way");
        }
        self.model.settle(self.place.size());
    }

    fn complete(
        &mut self,
        line: usize,
        user_data: u64,
        result: Result<u32, Errno>,
        buffer: Option<Buffer>,
    ) {
        let flight = self.lines[line].flights.remove(&user_data);
        let flight = flight.unwrap_or_else(|| panic!("a completion of nothing, or a second one"));
        let moved = self.check_result(&flight, result);
        let memory = match (buffer, flight.raw) {
            (Some(buffer), _) => {
                let whole = vec![(0, buffer.len())];
                Some((buffer, whole))
            }
            (None, raw) => raw,
        };
        match flight.what {
            What::Sync => assert!(memory.is_none()),
            What::Write(number, content) => {
                let whole = moved == Some(flight.length);
                let number = number.expect("it was taken in");
                self.model
                    .end(number, if whole { Ended::Whole } else { Ended::Perhaps });
                if let Some((memory, pieces)) = &memory {
                    let mut place = flight.offset;
                    for (at, length) in pieces {
                        let expected =
                            (place..place + *length as u64).map(|place| content.at(place));
                        let same = memory[*at..at + length].iter().copied().eq(expected);
                        assert!(same, "a write has changed the memory that it was from");
                        place += *length as u64;
                    }
                }
            }
            What::Read(reading) => {
                let Some((memory, pieces)) = memory else {
                    return;
                };
                if let Some(moved) = moved
                    && !flight.spoilt
                {
                    let mut bytes = Vec::new();
                    for (at, length) in &pieces {
                        bytes.extend_from_slice(&memory[*at..at + length]);
                    }
                    bytes.truncate(moved as usize);
                    let may_stop = flight.flags.has(Flags::NOWAIT);
                    self.model
                        .check_read(reading, flight.offset, flight.length, &bytes, may_stop);
                }
                let now = memory.to_vec();
                self.kept.push((memory, now));
            }
        }
    }

    /// The bytes that were moved, or `None` for a failure that may be.
    fn check_result(&self, flight: &Flight, result: Result<u32, Errno>) -> Option<u64> {
        let length = flight.length;
        let end = flight.offset.saturating_add(length);
        match result {
            Ok(moved) => {
                let moved = u64::from(moved);
                assert!(moved <= length, "{moved} bytes of {length}");
                if let What::Write(..) = flight.what {
                    let may_stop = flight.flags.has(Flags::NOWAIT);
                    assert!(
                        may_stop || moved == length,
                        "a write of {moved} bytes of {length}"
                    );
                    let past = length > 0 && end > LARGEST;
                    assert!(!past || moved < length, "a write past the largest size");
                }
                Some(moved)
            }
            Err(Errno(errno)) => {
                let nowait = flight.flags.has(Flags::NOWAIT);
                let is_write = matches!(flight.what, What::Write(..));
                let right = flight.spoilt
                    || errno == libc::ECANCELED && flight.cancelled
                    || errno == libc::EAGAIN && nowait
                    // What a write may is not known from the read that asked.
                    || errno == libc::EOPNOTSUPP && is_write && !flight.flags.is_empty()
                    || matches!(errno, libc::EFBIG | libc::EIO) && is_write && end > LARGEST;
                assert!(
                    right,
                    "{} of {length} at {}: {}",
                    match flight.what {
                        What::Read(_) => "a read",
                        What::Write(..) => "a write",
                        What::Sync => "a sync",
                    },
                    flight.offset,
                    Errno(errno)
                );
                None
            }
        }
    }

    pub(super) fn check_counts(&self, line: usize) {
        let Line {
            queue,
            flights,
            accepted,
        } = &self.lines[line];
        let held = queue.in_flight() + queue.ready();
        assert_eq!(
            held as usize,
            flights.len(),
            "a request is lost, or one too many"
        );
        let counters = queue.counters();
        assert_eq!(counters.submitted, *accepted);
        assert_eq!(counters.completed + u64::from(queue.in_flight()), *accepted);
    }
}
