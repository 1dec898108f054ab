//! # Tests of the engines themselves, below the queue's checks

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;

use super::*;
use crate::buffer::Buffer;
use crate::testing::directory;

fn writable(directory: &tempfile::TempDir) -> File {
    let path = directory.path().join("file");
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .unwrap()
}

#[test]
fn a_request_that_the_kernel_refuses_does_not_take_its_neighbours_along() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = writable(&directory);
        let mut driver = Driver::start(
            engine,
            Setup {
                depth: 5,
                iopoll: false,
                sqpoll: false,
            },
        )
        .unwrap();
        let mut buffer = Buffer::new(4096, 4096).unwrap();
        // io_submit stops at the bad ones, the first of them in front of everything.
        for slot in 0..5 {
            let fd = if slot % 2 == 0 { -1 } else { file.as_raw_fd() };
            let (address, offset) = (buffer.as_mut_ptr(), u64::from(slot) * 4096);
            let request = Request {
                kind: Kind::Write,
                fd,
                registered: None,
                memory: Memory::Plain {
                    address,
                    length: 4096,
                    registered: None,
                },
                offset,
                flags: 0,
            };
            // SAFETY: file and buffer outlive the exchange below, which waits for all five.
            unsafe { driver.stage(slot, request) };
        }
        let mut arrivals = Vec::with_capacity(5);
        driver.exchange(5, Deadline::Never, &mut arrivals).unwrap();
        arrivals.sort_unstable();
        let bad = -libc::EBADF;
        assert_eq!(
            arrivals,
            [(0, bad), (1, 4096), (2, bad), (3, 4096), (4, bad)],
            "{engine}"
        );
    }
}

/// One byte each.
fn read(fd: RawFd, buffer: &mut Buffer, at: usize) -> Request {
    Request {
        kind: Kind::Read,
        fd,
        registered: None,
        memory: Memory::Plain {
            address: buffer[at..].as_mut_ptr(),
            length: 1,
            registered: None,
        },
        // The current position, the only one that a pipe has.
        offset: u64::MAX,
        flags: 0,
    }
}

fn started(engine: Engine, depth: u32) -> Driver {
    let setup = Setup {
        depth,
        iopoll: false,
        sqpoll: false,
    };
    Driver::start(engine, setup).unwrap()
}

#[test]
fn a_cancellation_ends_its_request_and_no_other() {
    let mut driver = started(Engine::IoUring, 3);
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut buffer = Buffer::new(3, 8).unwrap();
    for round in 0..3 {
        let mut arrivals = Vec::new();
        for slot in 0..3 {
            let request = read(reader.as_raw_fd(), &mut buffer, slot as usize);
            // SAFETY: pipe and buffer outlive the last exchange of the round, which collects all.
            unsafe { driver.stage(slot, request) };
        }
        driver.exchange(0, Deadline::Now, &mut arrivals).unwrap();
        driver.cancel(round);
        driver.exchange(1, Deadline::Never, &mut arrivals).unwrap();
        assert_eq!(arrivals, [(round, -libc::ECANCELED)]);
        for count in 2..=3 {
            // One by one, so that the completion of the cancellation is waited for in place of none of them.
            std::io::Write::write_all(&mut writer, b"x").unwrap();
            driver.exchange(1, Deadline::Never, &mut arrivals).unwrap();
            assert_eq!(arrivals.len(), count);
        }
        arrivals.sort_unstable();
        let expected = |slot| (slot, if slot == round { -libc::ECANCELED } else { 1 });
        assert_eq!(arrivals, [0, 1, 2].map(expected));
    }
}

#[test]
fn a_thread_begins_no_request_that_was_cancelled_before() {
    let directory = directory();
    let file = writable(&directory);
    let mut buffer = Buffer::new(4096, 4096).unwrap();
    let mut driver = started(Engine::Psync, 2);
    for slot in 0..2 {
        let request = Request {
            kind: Kind::Write,
            offset: u64::from(slot) * 4096,
            ..read(file.as_raw_fd(), &mut buffer, 0)
        };
        // SAFETY: file and buffer outlive the driver.
        unsafe { driver.stage(slot, request) };
    }
    driver.cancel(1);
    let mut arrivals = Vec::new();
    driver.exchange(2, Deadline::Never, &mut arrivals).unwrap();
    arrivals.sort_unstable();
    assert_eq!(arrivals, [(0, 1), (1, -libc::ECANCELED)]);
    // The threads end what they have first.
    drop(driver);
    assert_eq!(file.metadata().unwrap().len(), 1);
}

/// A flag that the kernel does not know is refused by it, so it is seen to arrive.
#[test]
fn flags_reach_the_kernel_in_every_shape() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = writable(&directory);
        let mut buffer = Buffer::new(4096, 4096).unwrap();
        let one = [libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: 1,
        }];
        let vector = Memory::Vector {
            vectors: one.as_ptr(),
            count: 1,
        };
        let mut driver = started(engine, 1);
        for kind in [Kind::Read, Kind::Write] {
            for is_vector in [false, true] {
                for flags in [1 << 30, 0] {
                    let plain = read(file.as_raw_fd(), &mut buffer, 0);
                    let memory = if is_vector { vector } else { plain.memory };
                    let request = Request {
                        kind,
                        memory,
                        offset: 0,
                        flags,
                        ..plain
                    };
                    file.set_len(1).unwrap();
                    // SAFETY: file, buffer and list outlive the exchange.
                    unsafe { driver.stage(0, request) };
                    let mut arrivals = Vec::new();
                    driver.exchange(1, Deadline::Never, &mut arrivals).unwrap();
                    let refused = [-libc::EINVAL, -libc::EOPNOTSUPP];
                    let got = arrivals[0].1;
                    let good = match flags {
                        0 => got == 1,
                        _ => refused.contains(&got),
                    };
                    assert!(good, "{engine} {kind:?} {is_vector} {flags}: {got}");
                }
            }
        }
    }
}
