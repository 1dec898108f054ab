//! # Tests of the queue, on every engine and real files

mod answers;
mod broken;
mod held;
mod known;
mod vectored;

use std::fs;
use std::os::fd::RawFd;
use std::time::Duration;

use super::*;
use crate::flags::Flags;
use crate::limits::Filesystem;
use crate::mode::Mode;
use crate::sys::fork::tests::in_a_child;
use crate::testing::{directory, fresh, mode, options};

/// Puts another descriptor in the place of one that is open.
fn replace(by: impl AsRawFd, at: RawFd) {
    // SAFETY: takes no memory; that the descriptor is somebody's is the point.
    let result = unsafe { libc::dup3(by.as_raw_fd(), at, libc::O_CLOEXEC) };
    assert_eq!(result, at);
}

fn filled(file: &File, length: usize, byte: u8) -> Buffer {
    let mut buffer = file.buffer(length).unwrap();
    buffer.fill(byte);
    buffer
}

#[test]
fn every_engine_and_mode_writes_syncs_and_reads_back() {
    for engine in Engine::ALL {
        for mode in Mode::ALL {
            let directory = directory();
            let file = fresh(&directory, mode);
            let mut queue = Queue::new(engine, 4).unwrap();
            queue.write(&file, filled(&file, 4096, 5), 4096, 1).unwrap();
            let done = queue.complete().unwrap();
            assert_eq!(
                (done.user_data, done.result),
                (1, Ok(4096)),
                "{engine} {mode}"
            );

            for kind in [SyncKind::Data, SyncKind::Full] {
                queue.sync(&file, kind, 2).unwrap();
                let done = queue.complete().unwrap();
                assert_eq!((done.user_data, done.result), (2, Ok(0)), "{engine} {mode}");
                assert!(done.buffer.is_none());
            }

            queue.read(&file, filled(&file, 8192, 1), 0, 3).unwrap();
            let done = queue.complete().unwrap();
            assert_eq!(
                (done.user_data, done.result),
                (3, Ok(8192)),
                "{engine} {mode}"
            );
            let buffer = done.buffer.unwrap();
            assert!(
                buffer[..4096].iter().all(|&byte| byte == 0)
                    && buffer[4096..].iter().all(|&byte| byte == 5)
            );
        }
    }
}

#[test]
fn a_full_queue_refuses_and_loses_nothing() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        // Not a power of two, which is what the ring itself would round to.
        let mut queue = Queue::new(engine, 5).unwrap();
        for round in 0..3 {
            for number in 0..5 {
                queue
                    .write(
                        &file,
                        filled(&file, 4096, number as u8),
                        number * 4096,
                        number,
                    )
                    .unwrap();
            }
            let refused = queue
                .write(&file, filled(&file, 4096, 99), 0, 99)
                .unwrap_err();
            assert_eq!(
                refused.error.errno(),
                Errno(libc::EAGAIN),
                "{engine} round {round}"
            );
            assert_eq!(refused.buffer[0], 99);

            assert_eq!(queue.wait(5, None).unwrap(), 5);
            // Completed and not yet taken still counts.
            assert_eq!(
                queue.sync(&file, SyncKind::Data, 9).unwrap_err().errno(),
                Errno(libc::EAGAIN)
            );
            let mut seen: Vec<u64> = std::iter::from_fn(|| queue.pop())
                .map(|done| {
                    assert_eq!(done.result, Ok(4096));
                    done.user_data
                })
                .collect();
            seen.sort_unstable();
            assert_eq!(seen, [0, 1, 2, 3, 4], "{engine} round {round}");
        }
    }
}

#[test]
fn polling_alone_gets_everything_done() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let mut queue = Queue::new(engine, 8).unwrap();
        for number in 0..8 {
            queue
                .write(&file, filled(&file, 4096, 1), number * 4096, number)
                .unwrap();
        }
        while queue.poll().unwrap() < 8 {
            std::thread::yield_now();
        }
        assert_eq!(queue.in_flight(), 0);
        assert_eq!(file.size().unwrap(), 8 * 4096);
    }
}

#[test]
fn waiting_with_nothing_in_flight_returns() {
    for engine in Engine::ALL {
        let mut queue = Queue::new(engine, 1).unwrap();
        assert_eq!(queue.wait(1, None).unwrap(), 0);
        assert_eq!(queue.wait(7, Some(Duration::from_secs(3600))).unwrap(), 0);
        assert!(queue.complete().is_err());
    }
}

#[test]
fn a_timeout_that_is_over_still_hands_requests_over() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let mut queue = Queue::new(engine, 2).unwrap();
        queue.write(&file, filled(&file, 4096, 1), 0, 1).unwrap();
        queue.wait(1, Some(Duration::ZERO)).unwrap();
        assert_eq!(queue.driver().staged(), 0, "{engine}");
        assert_eq!(
            queue.wait(1, Some(Duration::from_secs(3600))).unwrap(),
            1,
            "{engine}"
        );
    }
}

#[test]
fn misaligned_requests_are_refused_before_the_engine_sees_them() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let mut queue = Queue::new(engine, 2).unwrap();
        for (length, offset, word) in [(4096, 7, "offset 7"), (100, 0, "length 100")] {
            let refused = queue
                .write(&file, Buffer::new(length, 4096).unwrap(), offset, 1)
                .unwrap_err();
            assert!(
                refused.error.to_string().contains(word),
                "{}",
                refused.error
            );
        }
        assert_eq!(
            (queue.in_flight(), queue.driver().staged()),
            (0, 0),
            "{engine}"
        );
    }
}

#[test]
fn a_read_at_the_end_says_how_much_there_was() {
    for engine in Engine::ALL {
        let directory = directory();
        let path = directory.path().join("file");
        fs::write(&path, vec![3; 5000]).unwrap();
        let file = options(mode("direct")).open(&path).unwrap();
        let mut queue = Queue::new(engine, 2).unwrap();
        for (offset, expected) in [(0, 5000), (4096, 904), (8192, 0)] {
            queue
                .read(&file, filled(&file, 8192, 1), offset, 1)
                .unwrap();
            assert_eq!(
                queue.complete().unwrap().result,
                Ok(expected),
                "{engine} at {offset}"
            );
        }
    }
}

#[test]
fn dropping_a_queue_waits_for_what_was_taken_in() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let mut queue = Queue::new(engine, 16).unwrap();
        for number in 0..16 {
            queue
                .write(&file, filled(&file, 65536, 8), number * 65536, number)
                .unwrap();
            if number == 7 {
                queue.submit().unwrap();
            }
        }
        drop(queue);
        assert_eq!(file.size().unwrap(), 16 * 65536, "{engine}");
        assert!(
            fs::read(file.path()).unwrap().iter().all(|&byte| byte == 8),
            "{engine}"
        );
    }
}

#[test]
fn a_file_closed_while_its_requests_are_in_flight_stays_open_for_them() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let mut queue = Queue::new(engine, 2).unwrap();
        queue.write(&file, filled(&file, 4096, 6), 0, 1).unwrap();
        let path = file.path().to_owned();
        file.close().unwrap();
        assert_eq!(queue.complete().unwrap().result, Ok(4096), "{engine}");
        assert_eq!(fs::read(path).unwrap(), [6; 4096]);
    }
}

#[test]
fn a_sync_is_refused_while_an_earlier_failure_stands() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let mut queue = Queue::new(engine, 2).unwrap();
        let _ = file.note_sync(Err(Errno(libc::EIO)));
        assert_eq!(
            queue.sync(&file, SyncKind::Data, 1).unwrap_err().errno(),
            Errno(libc::EIO)
        );
        file.acknowledge_sync_error();
        queue.sync(&file, SyncKind::Data, 1).unwrap();
        // In flight when the failure of another sync arrives: it may have been told nothing.
        let _ = file.note_sync(Err(Errno(libc::EIO)));
        assert_eq!(
            queue.complete().unwrap().result,
            Err(Errno(libc::EIO)),
            "{engine}"
        );
    }
}

#[test]
fn a_write_that_needs_a_sync_of_our_own_is_reported_after_it() {
    let directory = directory();
    for (engine, finished) in [
        (Engine::Psync, false),
        (Engine::Libaio, true),
        (Engine::IoUring, true),
    ] {
        for name in ["direct+dsync", "direct+sync"] {
            let mut file = fresh(&directory, mode(name));
            file.pretend_filesystem(Filesystem::BTRFS);
            let mut queue = Queue::new(engine, 2).unwrap();
            queue.write(&file, filled(&file, 4096, 1), 0, 1).unwrap();
            // The sync is seen by its failure, which the write's completion must carry.
            let _ = file.note_sync(Err(Errno(libc::EIO)));
            let expected = if finished {
                Err(Errno(libc::EIO))
            } else {
                Ok(4096)
            };
            assert_eq!(
                queue.complete().unwrap().result,
                expected,
                "{engine} {name}"
            );
            file.acknowledge_sync_error();

            queue.write(&file, filled(&file, 4096, 1), 0, 2).unwrap();
            let done = queue.complete().unwrap();
            assert_eq!(
                (done.user_data, done.result),
                (2, Ok(4096)),
                "{engine} {name}"
            );
        }
    }
}

#[test]
fn depths_outside_the_range_are_refused() {
    for depth in [0, Queue::MAX_DEPTH + 1] {
        for engine in Engine::ALL {
            let error = Queue::new(engine, depth).err().unwrap().to_string();
            assert!(error.contains("from 1 to 32768"), "{error}");
        }
    }
}

#[test]
fn a_child_of_fork_is_given_no_completion_of_its_parents() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let mut queue = Queue::new(engine, 2).unwrap();
        queue.write(&file, filled(&file, 4096, 1), 0, 1).unwrap();
        assert_eq!(queue.wait(1, None).unwrap(), 1, "{engine}");
        let refused = in_a_child(|| {
            queue.pop().is_none()
                && matches!(queue.poll(), Err(Error::Forked))
                && matches!(queue.cancel(1), Err(Error::Forked))
                && matches!(queue.drain(), Err(Error::Forked))
        });
        assert!(refused, "{engine}");
        assert_eq!(queue.pop().unwrap().result, Ok(4096), "{engine}");
    }
}
