//! # What goes on beside the requests of a queue

use std::{
    fs,
    os::fd::{AsFd, AsRawFd},
};

use odio_core::error::{Errno, Error};

use super::{Drive, Handle, Line, UNREAD, What};
use crate::{input::Input, model::Ended, place::Where};

impl Drive {
    /// A read or write without a queue.
    pub(super) fn blocking(&mut self, input: &mut Input<'_>, handle: usize) {
        self.make_way(handle);
        let file = self.handles[handle].file.clone();
        let spoilt = self.handles[handle].spoilt;
        let block = u64::from(input.below(16)) * 4096;
        let mut buffer = file
            .buffer(4096 * (1 + usize::from(input.below(3))))
            .expect("memory");
        let length = buffer.len() as u64;
        if input.below(2) == 0 {
            let reading = self.model.read();
            buffer.fill(UNREAD);
            match file.read_at(&mut buffer, block) {
                Ok(moved) if !spoilt => {
                    self.model
                        .check_read(reading, block, length, &buffer[..moved], false);
                }
                Ok(_) | Err(Error::Deadlock) => {}
                Err(error) => assert!(spoilt, "{error}"),
            }
        } else if self.handles[handle].writable {
            let content = self.model.next_content();
            content.fill(&mut buffer, block);
            let number = self.model.begin(content, block, length);
            match file.write_at(&buffer, block) {
                Ok(()) => self.model.end(number, Ended::Whole),
                Err(error) => {
                    assert!(spoilt || matches!(error, Error::Deadlock), "{error}");
                    self.model.end(number, Ended::Perhaps);
                }
            }
        }
    }

    pub(super) fn known_file(&mut self, input: &mut Input<'_>, line: usize, handle: usize) {
        let file = &self.handles[handle].file;
        let queue = &mut self.lines[line].queue;
        let spoilt = self.handles[handle].spoilt;
        match input.below(2) {
            0 => {
                let added = queue.add_file(file);
                assert!(spoilt || added.is_ok(), "{added:?}");
            }
            _ => match queue.remove_file(file) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.errno(), Errno(libc::EAGAIN)),
            },
        }
    }

    pub(super) fn known_pool(&mut self, input: &mut Input<'_>, line: usize) {
        let queue = &mut self.lines[line].queue;
        match input.below(2) {
            0 => {
                queue.add_pool(&self.pool).expect("add_pool");
            }
            _ => match queue.remove_pool(&self.pool) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.errno(), Errno(libc::EAGAIN)),
            },
        }
    }

    /// Another queue in its place. What was in flight is done, and its completions are nobody's.
    pub(super) fn replace_queue(&mut self, input: &mut Input<'_>, line: usize) {
        if self.lines.len() > 1 {
            // Dropping it waits, and what it waits for may be the other's.
            self.settle();
        }
        let new = self.queue(input);
        let Line { queue, flights, .. } = std::mem::replace(&mut self.lines[line], new);
        if input.rarely(2) {
            queue.close().expect("an engine that answers");
        } else {
            drop(queue);
        }
        for flight in flights.into_values() {
            if let What::Write(Some(number), _) = flight.what {
                self.model.end(number, Ended::Perhaps);
            }
        }
        if self.lines.iter().all(|line| line.flights.is_empty()) {
            self.model.settle(self.place.size());
        }
    }

    pub(super) fn space(&mut self, input: &mut Input<'_>, handle: usize) {
        self.settle();
        let Handle {
            file,
            writable,
            spoilt,
            ..
        } = &self.handles[handle];
        if *spoilt {
            return;
        }
        let offset = u64::from(input.below(64)) * 1024 + input.of(&[0, 0, 1]);
        let length = u64::from(input.below(32)) * 1024 + input.of(&[0, 0, 1]);
        let what = input.below(5);
        let result = match what {
            0 => file.truncate(offset),
            1 => file.punch_hole(offset, length),
            2 => file.zero_range(offset, length),
            3 => file.allocate(offset, length),
            _ => file.allocate_keep_size(offset, length),
        };
        if !writable {
            assert_eq!(
                result.expect_err("a file for reading").errno(),
                Errno(libc::EBADF)
            );
            return;
        }
        match (what, &result) {
            (0, Ok(())) => self.model.resize(offset),
            (1, Ok(())) => self.model.zero(offset, length, Ended::Whole),
            (2, Ok(())) => {
                self.model.zero(offset, length, Ended::Whole);
                self.model.grow(offset + length);
            }
            (3, Ok(())) => self.model.grow(offset + length),
            (_, Ok(())) => {}
            (_, Err(error)) => {
                let errno = error.errno().0;
                let right = errno == libc::EINVAL && length == 0
                    || errno == libc::EOPNOTSUPP && self.at == Where::Memory;
                assert!(right && what > 0, "{error}");
            }
        }
        self.model.settle(self.place.size());
    }

    /// The descriptor leads to /dev/null from now on, as where a program closes what is not its own.
    pub(super) fn spoil(&mut self, handle: usize) {
        self.settle();
        let null = fs::File::open("/dev/null").expect("/dev/null");
        let handle = &mut self.handles[handle];
        handle.spoilt = true;
        let descriptor = handle.file.as_fd().as_raw_fd();
        // SAFETY: both descriptors are open; that the file's is changed under it is what is tried.
        let result = unsafe { libc::dup3(null.as_raw_fd(), descriptor, libc::O_CLOEXEC) };
        assert_eq!(result, descriptor);
    }
}
