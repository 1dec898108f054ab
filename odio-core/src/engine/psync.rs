//! # psync: plain system calls on worker threads
//!
//! Works wherever files work. Each worker takes one request at a time, so it is one pread, pwrite or fsync per request.

use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::{Deadline, Kind, Memory, Request, Sink};
use crate::error::{Errno, Error};
use crate::mode::Engine;
use crate::sys::{event, file as sys, memory, signal};

/// More threads than this only wait for one another in the kernel.
const MOST_WORKERS: u32 = 64;

/// Of a worker, in bytes. At the usual 2 MiB the kernel may back a stack with a huge page, of which it uses one page.
const STACK: usize = 256 << 10;

/// Worker threads and what passes between them and the queue.
pub(crate) struct Psync {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    staged: Vec<(u32, Request)>,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    done: Condvar,
}

struct State {
    work: VecDeque<(u32, Request)>,
    /// Slots and what came of their requests.
    done: Vec<(u32, i32)>,
    /// How many results the queue waits for; a worker wakes it at that many and not before.
    wanted: usize,
    /// Signalled at each result, where one was asked for.
    event: Option<RawFd>,
    closing: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.lock();
        loop {
            if let Some((slot, request)) = state.work.pop_front() {
                drop(state);
                let result = perform(&request);
                state = self.lock();
                state.arrive(slot, result, &self.done);
            } else if state.closing {
                return;
            } else {
                state = self
                    .work
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

impl State {
    fn arrive(&mut self, slot: u32, result: i32, done: &Condvar) {
        self.done.push((slot, result));
        if self.done.len() >= self.wanted {
            done.notify_one();
        }
        if let Some(event) = self.event {
            event::signal(event);
        }
    }
}

fn perform(request: &Request) -> i32 {
    let Request {
        kind,
        fd,
        memory,
        offset,
        flags,
        ..
    } = *request;
    let one;
    let vectors = match memory {
        Memory::Vector { vectors, count } => {
            // SAFETY: whoever staged the request keeps the list until the arrival, which is pushed after this.
            unsafe { std::slice::from_raw_parts(vectors, count as usize) }
        }
        Memory::Plain {
            address, length, ..
        } => {
            one = [libc::iovec {
                iov_base: address.cast(),
                iov_len: length as usize,
            }];
            &one
        }
    };
    let result = match kind {
        // SAFETY: as for the list.
        Kind::Read => unsafe { sys::preadv2(fd, vectors, offset, flags) },
        // SAFETY: as for the list.
        Kind::Write => unsafe { sys::pwritev2(fd, vectors, offset, flags) },
        Kind::DataSync => sys::fdatasync(fd).map(|()| 0),
        Kind::FullSync => sys::fsync(fd).map(|()| 0),
    };
    // One request moves at most MAX_RW_COUNT bytes, which fits.
    result.map_or_else(|Errno(errno)| -errno, |moved| moved as i32)
}

impl Psync {
    pub(crate) fn new(depth: u32) -> Result<Psync, Error> {
        let capacity = depth as usize;
        let mut psync = Psync {
            shared: Arc::new(Shared {
                state: Mutex::new(State {
                    work: memory::room(capacity)?.into(),
                    done: memory::room(capacity)?,
                    wanted: 0,
                    event: None,
                    closing: false,
                }),
                work: Condvar::new(),
                done: Condvar::new(),
            }),
            workers: Vec::with_capacity(depth.min(MOST_WORKERS) as usize),
            staged: memory::room(capacity)?,
        };
        signal::with_all_blocked(|| {
            for _ in 0..depth.min(MOST_WORKERS) {
                let shared = Arc::clone(&psync.shared);
                let worker = thread::Builder::new()
                    .name("odio-psync".to_owned())
                    .stack_size(STACK)
                    .spawn(move || shared.run());
                psync.workers.push(worker.map_err(|error| Error::Setup {
                    engine: Engine::Psync,
                    errno: Errno(error.raw_os_error().unwrap_or(libc::EAGAIN)),
                    why: "no more threads can be started".to_owned(),
                })?);
            }
            Ok::<(), Error>(())
        })?;
        Ok(psync)
    }
}

impl Psync {
    /// # Safety
    ///
    /// As for [`super::Driver::stage`].
    pub(super) unsafe fn stage(&mut self, slot: u32, request: Request) {
        self.staged.push((slot, request));
    }

    pub(super) fn exchange(
        &mut self,
        min: usize,
        deadline: Deadline,
        sink: &mut impl Sink,
    ) -> Result<(), Error> {
        let mut state = self.shared.lock();
        if !self.staged.is_empty() {
            for _ in 0..self.staged.len().min(self.workers.len()) {
                self.shared.work.notify_one();
            }
            state.work.extend(self.staged.drain(..));
        }
        state.wanted = min;
        while state.done.len() < min && !deadline.over() {
            state = match deadline.left() {
                None => self
                    .shared
                    .done
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(left) => {
                    self.shared
                        .done
                        .wait_timeout(state, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
        for (slot, result) in state.done.drain(..) {
            sink.arrive(slot, result);
        }
        Ok(())
    }

    pub(super) fn staged(&self) -> usize {
        self.staged.len()
    }

    /// A request that no worker has begun ends at once; one that has begun ends by itself.
    pub(super) fn cancel(&mut self, slot: u32) {
        let mut state = self.shared.lock();
        state.work.extend(self.staged.drain(..));
        if let Some(at) = state.work.iter().position(|&(each, _)| each == slot) {
            state.work.remove(at);
            state.arrive(slot, -libc::ECANCELED, &self.shared.done);
        }
        for _ in 0..state.work.len().min(self.workers.len()) {
            self.shared.work.notify_one();
        }
    }

    pub(super) fn signal(&mut self, event: RawFd) -> Result<(), Errno> {
        self.shared.lock().event = Some(event);
        Ok(())
    }
}

impl Drop for Psync {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.work.notify_all();
        for worker in self.workers.drain(..) {
            // A worker runs system calls only; there is no panic to hand on.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_wait_ends_when_its_time_is_up() {
        let mut psync = Psync::new(1).unwrap();
        let end = Instant::now() + Duration::from_millis(30);
        // A worker that was given nothing reports nothing.
        let mut arrivals = Vec::new();
        psync.exchange(1, Deadline::At(end), &mut arrivals).unwrap();
        assert!(arrivals.is_empty() && Instant::now() >= end);
    }
}
