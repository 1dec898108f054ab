//! # A queue whose engine was broken from outside, with requests in flight
//!
//! Another descriptor takes the place of the ring's, as where a program closes one that is not its own. The requests
//! wait for a pipe, so they are in flight for as long as the test wants.

use std::io::Write;

use super::*;

/// A queue with a read in flight that ends when something is written to the pipe, the file, and the memory.
struct InFlight {
    queue: Queue,
    file: File,
    address: *const u8,
    pipe: std::io::PipeWriter,
    directory: tempfile::TempDir,
}

impl InFlight {
    fn new(name: &str, options: &QueueOptions) -> InFlight {
        let directory = directory();
        let file = fresh(&directory, mode(name));
        let (reader, pipe) = std::io::pipe().unwrap();
        replace(reader, file.fd());
        let mut queue = options.clone().engine(Engine::IoUring).build().unwrap();
        // Memory that is unmapped with its last buffer, so that it shows whether it was released.
        let pool = Pool::new(1, 4096, false).unwrap();
        let mut buffer = pool.take().unwrap();
        let address = buffer.as_mut_ptr().cast_const();
        queue.read(&file, buffer, 0, 1).unwrap();
        assert_eq!(queue.poll().unwrap(), 0);
        InFlight {
            queue,
            file,
            address,
            pipe,
            directory,
        }
    }

    fn break_engine(&mut self) {
        let ring = self.queue.driver().descriptor().unwrap();
        replace(fs::File::open("/dev/null").unwrap(), ring);
    }

    /// Frees the queue; what its request then does it does to memory that is still there.
    fn close(mut self) -> File {
        let error = self.queue.close().unwrap_err();
        assert_eq!(error.errno(), Errno(libc::EOPNOTSUPP), "{error}");
        self.pipe.write_all(b"x").unwrap();
        // The kernel does the read before the write above returns to this thread, or a thread of its own has it.
        // SAFETY: the queue gave its buffer up, and with it the memory.
        while unsafe { self.address.read_volatile() } != b'x' {
            std::thread::yield_now();
        }
        self.file
    }
}

#[test]
fn closing_says_so_and_releases_no_memory_that_is_in_use() {
    for sqpoll in [false, true] {
        let mut all = InFlight::new("buffered", &QueueOptions::new(4).sqpoll(sqpoll));
        all.break_engine();
        let file = all.close();
        assert!(file.check_sync().is_ok());
    }
}

/// What was asked for since is in the ring and is not counted for what the kernel has not.
#[test]
fn a_cancellation_that_is_not_handed_over_releases_no_memory() {
    let mut all = InFlight::new("buffered", &QueueOptions::new(4));
    all.break_engine();
    assert_eq!(all.queue.cancel(1).unwrap(), 1);
    all.close();
}

#[test]
fn an_answer_that_is_lost_counts_as_a_loss() {
    for (name, stage, flags, sticks) in [
        ("direct", Stage::Syncing, Flags::NONE, true),
        ("direct", Stage::Finishing, Flags::NONE, true),
        ("direct+dsync", Stage::Writing, Flags::NONE, true),
        ("direct", Stage::Writing, Flags::DSYNC, true),
        ("direct", Stage::Writing, Flags::NONE, false),
        ("direct+dsync", Stage::Reading, Flags::NONE, false),
    ] {
        let mut all = InFlight::new(name, &QueueOptions::new(4));
        // No sync takes as long as the test wants, so the read stands for it.
        let turn = all.file.sync_turn(None).unwrap().unwrap();
        let slot = &mut all.queue.slots[0];
        (slot.stage, slot.flags, slot.hold) = (stage, flags, hold::Hold::Turn(turn));
        all.break_engine();
        let file = all.close();
        let error = file.sync(SyncKind::Data).unwrap_err();
        // What the pipe says to a sync is EINVAL.
        let expected = if sticks { libc::EIO } else { libc::EINVAL };
        assert_eq!(error.errno(), Errno(expected), "{name} {stage:?} {flags}");
    }
}

#[test]
fn what_was_ready_is_given_out_before_the_error() {
    let mut all = InFlight::new("direct", &QueueOptions::new(4));
    let other = options(mode("direct"))
        .open(all.directory.path().join("other"))
        .unwrap();
    let buffer = filled(&other, 4096, 1);
    all.queue.read(&other, buffer, 0, 2).unwrap();
    assert_eq!(all.queue.wait(1, None).unwrap(), 1);
    all.break_engine();
    let mut seen = Vec::new();
    let mut collect = |user_data, result| seen.push((user_data, result));
    assert_eq!(all.queue.collect(2, 2, None, &mut collect).unwrap(), 1);
    let error = all.queue.collect(1, 1, None, &mut collect).unwrap_err();
    assert_eq!(error.errno(), Errno(libc::EOPNOTSUPP));
    assert_eq!(seen, [(2, 0)]);
    all.close();
}

#[test]
fn a_panic_while_results_are_given_out_holds_up_nobody() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let mut memory = filled(&file, 4096, 1);
        let mut queue = Queue::new(engine, 2).unwrap();
        for number in 0..2 {
            // SAFETY: the memory outlives both writes, which are done before the first result is given out.
            unsafe { queue.write_raw(&file, memory.as_mut_ptr(), 4096, number * 4096, number) }
                .unwrap();
        }
        let mut collect = |min| {
            let collect = |_, _| panic!("of the caller");
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                queue.collect(min, 2, None, collect)
            }))
        };
        assert!(collect(2).is_err(), "{engine}");
        // Whoever goes on is told, and the end of the queue waits for nothing.
        assert!(collect(0).is_err(), "{engine}");
        drop(queue);
    }
}
