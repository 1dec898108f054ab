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
        let mut driver = start(engine, 5).unwrap();
        let mut buffer = Buffer::new(4096, 4096).unwrap();
        // io_submit stops at the bad ones, the first of them in front of everything.
        for slot in 0..5 {
            let fd = if slot % 2 == 0 { -1 } else { file.as_raw_fd() };
            let (address, offset) = (buffer.as_mut_ptr(), u64::from(slot) * 4096);
            let request = Request {
                op: Op::Write,
                fd,
                address,
                length: 4096,
                offset,
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

#[test]
fn a_wait_ends_when_its_time_is_up() {
    // A pipe that nobody writes to gives a request that does not end by itself; libaio would block in io_submit.
    let (reader, writer) = std::io::pipe().unwrap();
    for engine in [Engine::Psync, Engine::IoUring] {
        let mut driver = start(engine, 1).unwrap();
        let mut buffer = Buffer::new(4096, 4096).unwrap();
        let request = match engine {
            Engine::IoUring => Request {
                op: Op::Read,
                fd: reader.as_raw_fd(),
                address: buffer.as_mut_ptr(),
                length: 1,
                offset: u64::MAX,
            },
            // pread does not take pipes; a worker that is never given work waits as well.
            _ => Request {
                op: Op::DataSync,
                fd: -1,
                address: std::ptr::null_mut(),
                length: 0,
                offset: 0,
            },
        };
        let mut arrivals = Vec::new();
        if engine == Engine::IoUring {
            // SAFETY: pipe and buffer outlive the exchange that collects the result.
            unsafe { driver.stage(0, request) };
        }
        let begin = Instant::now();
        let end = begin + Duration::from_millis(30);
        driver
            .exchange(1, Deadline::At(end), &mut arrivals)
            .unwrap();
        assert!(arrivals.is_empty() && Instant::now() >= end, "{engine}");
        if engine == Engine::IoUring {
            std::io::Write::write_all(&mut &writer, b"x").unwrap();
            driver.exchange(1, Deadline::Never, &mut arrivals).unwrap();
            assert_eq!(arrivals, [(0, 1)]);
        }
    }
}
