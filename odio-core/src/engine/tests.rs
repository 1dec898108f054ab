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
