//! # What becomes of what the kernel says
//!
//! Each request is done for real, and the queue is then told something else: what a kernel says seldom.

use super::*;
use crate::engine::Deadline;

/// Hands over the one request in flight, lets the engine do it, and has the queue take `told` for its answer. True where
/// the request goes on.
fn answer(queue: &mut Queue, told: i32) -> bool {
    queue.look_at_held();
    let mut arrivals = Vec::new();
    let driver = queue.driver();
    driver.exchange(1, Deadline::Never, &mut arrivals).unwrap();
    let [(number, _)] = arrivals[..] else {
        panic!("one request was in flight: {arrivals:?}");
    };
    queue.with_engine -= 1;
    queue.beside += 1;
    queue.arrivals.push((number, told));
    queue.look_at_arrivals()
}

/// Bytes that are nowhere the same as one block further on.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 4093 % 251) as u8 + 1).collect()
}

const SHORT: [i32; 4] = [4096, 5000, 8192, 100];

#[test]
fn a_transfer_that_was_stopped_short_goes_on_where_it_was() {
    for engine in Engine::ALL {
        for cache in ["direct", "buffered"] {
            let directory = directory();
            let file = fresh(&directory, mode(cache));
            let mut queue = Queue::new(engine, 1).unwrap();
            let content = pattern(6 * 4096);
            for told in SHORT {
                let from = told as usize / file.step() * file.step();
                let read = told as usize / file.read_step() * file.read_step();
                let mut buffer = file.buffer(content.len()).unwrap();
                let address = buffer.as_mut_ptr();
                buffer.copy_from_slice(&content);
                fs::write(file.path(), []).unwrap();
                queue.write(&file, buffer, 4096, 1).unwrap();
                assert!(answer(&mut queue, told), "{engine} {cache} {told}");
                // What the attempt is said not to have moved is not there.
                let plain = fs::OpenOptions::new().write(true).open(file.path());
                plain.unwrap().set_len(4096 + from as u64).unwrap();
                let buffer = queue.complete().unwrap();
                assert_eq!(buffer.result, Ok(content.len() as u32), "{engine} {cache}");
                assert!(
                    fs::read(file.path()).unwrap()[4096..] == content,
                    "{engine} {cache} {told}"
                );

                let buffer = buffer.buffer.unwrap();
                queue.read(&file, buffer, 4096, 2).unwrap();
                assert!(answer(&mut queue, told), "{engine} {cache} {told}");
                // SAFETY: the memory is the queue's buffer, and no request is with the engine's kernel: what goes on is
                // only staged.
                unsafe { std::ptr::write_bytes(address.add(read), 0, content.len() - read) };
                let done = queue.complete().unwrap();
                assert_eq!(done.result, Ok(content.len() as u32), "{engine} {cache}");
                assert!(
                    done.buffer.unwrap()[..] == content,
                    "{engine} {cache} {told}"
                );
            }
            let resumed = 2 * SHORT.len() as u64;
            assert_eq!(queue.counters().resumed, resumed, "{engine} {cache}");
            assert_eq!(file.counters().resumed, resumed, "{engine} {cache}");
        }
    }
}

/// Stopped twice, so that what is left of the list is cut a second time.
#[test]
fn the_pieces_of_a_transfer_that_was_stopped_short_go_on_where_they_were() {
    for engine in Engine::ALL {
        for told in [
            [4096, 4096],
            [4096, 12288],
            [12288, 4096],
            [9000, 1000],
            [8192, 5000],
        ] {
            let directory = directory();
            let file = fresh(&directory, mode("direct"));
            let mut queue = Queue::new(engine, 1).unwrap();
            let step = file.step();
            let content = pattern(8 * 4096);
            // Four pieces of two blocks each, the other way round in memory.
            let mut buffer = file.buffer(content.len()).unwrap();
            let address = buffer.as_mut_ptr();
            let piece = |at: usize| {
                // SAFETY: inside the buffer.
                vector(unsafe { address.add((3 - at) * 8192) }, 8192)
            };
            let list: Vec<_> = (0..4).map(piece).collect();
            for (at, part) in content.chunks(8192).enumerate() {
                buffer[(3 - at) * 8192..][..8192].copy_from_slice(part);
            }
            // SAFETY: the buffer outlives the completion.
            unsafe { queue.writev_raw(&file, &list, 0, Flags::NONE, 1) }.unwrap();
            let mut from = 0;
            for told in told {
                assert!(answer(&mut queue, told));
                from = (from + told as usize) / step * step;
                let plain = fs::OpenOptions::new().write(true).open(file.path());
                plain.unwrap().set_len(from as u64).unwrap();
            }
            assert_eq!(queue.complete().unwrap().result, Ok(8 * 4096), "{engine}");
            assert!(
                fs::read(file.path()).unwrap() == content,
                "{engine} {told:?}"
            );

            // SAFETY: as above.
            unsafe { queue.readv_raw(&file, &list, 0, Flags::NONE, 2) }.unwrap();
            let mut from = 0;
            for told in told {
                assert!(answer(&mut queue, told));
                from = (from + told as usize) / file.read_step() * file.read_step();
                for at in from / 8192..4 {
                    let skip = from.saturating_sub(at * 8192);
                    buffer[(3 - at) * 8192..][skip..8192].fill(0);
                }
            }
            assert_eq!(queue.complete().unwrap().result, Ok(8 * 4096), "{engine}");
            for (at, part) in content.chunks(8192).enumerate() {
                assert!(
                    buffer[(3 - at) * 8192..][..8192] == *part,
                    "{engine} {told:?} {at}"
                );
            }
        }
    }
}

#[test]
fn what_was_not_begun_is_asked_for_again() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let mut queue = Queue::new(engine, 1).unwrap();
        for errno in [libc::ECANCELED, libc::EINTR, libc::EAGAIN] {
            let before = queue.counters().resumed;
            queue.write(&file, filled(&file, 4096, 1), 0, 1).unwrap();
            assert!(answer(&mut queue, -errno), "{engine} {errno}");
            assert_eq!(queue.complete().unwrap().result, Ok(4096), "{engine}");
            queue.sync(&file, SyncKind::Data, 2).unwrap();
            assert!(answer(&mut queue, -errno), "{engine} {errno}");
            assert_eq!(queue.complete().unwrap().result, Ok(0), "{engine}");
            let flags = Flags::THEN_SYNC;
            let buffer = filled(&file, 4096, 1);
            queue.write_with(&file, buffer, 0, flags, 3).unwrap();
            assert!(answer(&mut queue, 4096));
            assert!(answer(&mut queue, -errno), "{engine} {errno}");
            assert_eq!(queue.complete().unwrap().result, Ok(4096), "{engine}");
            assert_eq!(queue.counters().resumed, before + 3, "{engine}");
        }
        assert_eq!(queue.counters().failed, 0, "{engine}");
        assert_eq!(queue.counters().resumed, file.counters().resumed);
        // Nothing was lost by it.
        file.check_sync().unwrap();
    }
}

#[test]
fn a_failed_sync_of_a_queue_sticks() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let mut queue = Queue::new(engine, 1).unwrap();
        let stuck = |queue: &mut Queue| {
            let done = queue.pop().unwrap();
            assert_eq!(done.result, Err(Errno(libc::EIO)), "{engine}");
            let error = file.sync(SyncKind::Data).unwrap_err();
            assert_eq!(error.errno(), Errno(libc::EIO), "{engine}");
            let refused = queue.sync(&file, SyncKind::Full, 9).unwrap_err();
            assert_eq!(refused.errno(), Errno(libc::EIO), "{engine}");
            let (buffer, flags) = (filled(&file, 4096, 1), Flags::THEN_SYNC);
            let refused = queue.write_with(&file, buffer, 0, flags, 9).unwrap_err();
            assert_eq!(refused.error.errno(), Errno(libc::EIO), "{engine}");
            assert!(file.acknowledge_sync_error().is_some(), "{engine}");
            file.sync(SyncKind::Data).unwrap();
        };
        queue.sync(&file, SyncKind::Data, 1).unwrap();
        assert!(!answer(&mut queue, -libc::EIO), "{engine}");
        stuck(&mut queue);
        for flags in [Flags::THEN_DATASYNC, Flags::THEN_SYNC] {
            let buffer = filled(&file, 4096, 1);
            queue.write_with(&file, buffer, 0, flags, 2).unwrap();
            assert!(answer(&mut queue, 4096), "{engine}");
            assert!(!answer(&mut queue, -libc::EIO), "{engine}");
            stuck(&mut queue);
        }
        assert_eq!(
            (queue.counters().failed, file.counters().failed),
            (3, 3 + 3)
        );
    }
}

/// A write that is also a sync may have taken the kernel's one report of another write's loss with it.
#[test]
fn a_failed_write_sticks_where_it_was_a_sync() {
    for engine in Engine::ALL {
        for (name, flags, sticks) in [
            ("direct", Flags::NONE, false),
            ("direct", Flags::DSYNC, true),
            ("direct+dsync", Flags::NONE, true),
            ("direct+sync", Flags::NONE, true),
        ] {
            let directory = directory();
            let file = fresh(&directory, mode(name));
            let mut queue = Queue::new(engine, 1).unwrap();
            let buffer = filled(&file, 4096, 1);
            queue.write_with(&file, buffer, 0, flags, 1).unwrap();
            assert!(!answer(&mut queue, -libc::EIO));
            let done = queue.pop().unwrap();
            assert_eq!(done.result, Err(Errno(libc::EIO)), "{engine} {name}");
            assert_eq!(
                file.check_sync().is_err(),
                sticks,
                "{engine} {name} {flags}"
            );
        }
    }
}

#[test]
fn a_cancelled_transfer_is_not_begun_again() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let mut queue = Queue::new(engine, 1).unwrap();
        for (told, result) in [
            (-libc::ECANCELED, Err(libc::ECANCELED)),
            (-libc::EINTR, Err(libc::ECANCELED)),
            (-libc::EAGAIN, Err(libc::ECANCELED)),
            (4096, Err(libc::ECANCELED)),
            (-libc::EIO, Err(libc::EIO)),
            (8192, Ok(8192)),
        ] {
            queue.write(&file, filled(&file, 8192, 1), 0, 1).unwrap();
            assert_eq!(queue.cancel(1).unwrap(), 1);
            assert!(!answer(&mut queue, told), "{engine} {told}");
            let done = queue.pop().unwrap();
            assert_eq!(done.result, result.map_err(Errno), "{engine} {told}");
        }
        // The next in its place is.
        queue.write(&file, filled(&file, 8192, 1), 0, 1).unwrap();
        assert!(answer(&mut queue, 4096), "{engine}");
        assert_eq!(queue.complete().unwrap().result, Ok(8192), "{engine}");
    }
}

#[test]
fn a_sync_is_never_cancelled() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let mut queue = Queue::new(engine, 2).unwrap();
        // While it waits, and while its write is at the sync.
        let turn = file.sync_turn(None).unwrap();
        queue.sync(&file, SyncKind::Data, 1).unwrap();
        let (buffer, flags) = (filled(&file, 4096, 1), Flags::THEN_DATASYNC);
        queue.write_with(&file, buffer, 0, flags, 1).unwrap();
        while queue.slots.iter().any(|slot| slot.stage == Stage::Writing) {
            queue.poll().unwrap();
        }
        assert_eq!(queue.cancel(1).unwrap(), 2, "{engine}");
        drop(turn);
        queue.drain().unwrap();
        let mut seen = [queue.pop(), queue.pop()].map(|done| done.unwrap().result);
        seen.sort_unstable_by_key(|result| result.ok());
        assert_eq!(seen, [Ok(0), Ok(4096)], "{engine}");
    }
}

#[test]
fn what_would_wait_and_must_not_is_told_as_it_is() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        file.write_at(&filled(&file, 8192, 1), 0).unwrap();
        let mut queue = Queue::new(engine, 1).unwrap();
        for (told, result) in [(-libc::EAGAIN, Err(Errno(libc::EAGAIN))), (4096, Ok(4096))] {
            let buffer = filled(&file, 8192, 2);
            let flags = Flags::NOWAIT;
            queue.read_with(&file, buffer, 0, flags, 1).unwrap();
            assert!(!answer(&mut queue, told), "{engine}");
            assert_eq!(queue.pop().unwrap().result, result, "{engine}");
        }
        assert_eq!(queue.counters().resumed, 0, "{engine}");
    }
}

#[test]
fn what_cannot_go_on_is_an_error() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let mut queue = Queue::new(engine, 1).unwrap();
        // Nothing new was moved.
        queue.write(&file, filled(&file, 8192, 1), 0, 1).unwrap();
        assert!(!answer(&mut queue, 0), "{engine}");
        assert_eq!(
            queue.pop().unwrap().result,
            Err(Errno(libc::EIO)),
            "{engine}"
        );
        // A second part would be no part of the first.
        queue.write(&file, filled(&file, 8192, 1), 0, 1).unwrap();
        queue.slots[0].flags = Flags::ATOMIC;
        assert!(!answer(&mut queue, 4096), "{engine}");
        assert_eq!(
            queue.pop().unwrap().result,
            Err(Errno(libc::EIO)),
            "{engine}"
        );
        assert_eq!(queue.counters().failed, 2, "{engine}");
    }
}

#[test]
fn a_part_of_a_write_is_synced_as_all_of_it_would_be() {
    for engine in [Engine::Libaio, Engine::IoUring] {
        let directory = directory();
        let mut file = fresh(&directory, mode("direct+dsync"));
        file.pretend_filesystem(Filesystem::BTRFS);
        file.write_at(&filled(&file, 8192, 1), 0).unwrap();
        let mut queue = Queue::new(engine, 1).unwrap();
        let (buffer, flags) = (filled(&file, 8192, 2), Flags::NOWAIT);
        queue.write_with(&file, buffer, 0, flags, 1).unwrap();
        assert!(answer(&mut queue, 4096), "{engine}");
        assert_eq!(queue.complete().unwrap().result, Ok(4096), "{engine}");
        assert_eq!(queue.counters().finishing_syncs, 1, "{engine}");
        assert_eq!(queue.counters().bytes_written, 4096, "{engine}");
    }
}

#[test]
fn syncs_that_end_with_one_that_failed_fail_with_it() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let mut queue = Queue::new(engine, 4).unwrap();
        let (buffer, flags) = (filled(&file, 4096, 1), Flags::THEN_DATASYNC);
        queue.write_with(&file, buffer, 0, flags, 1).unwrap();
        assert!(answer(&mut queue, 4096), "{engine}");
        for number in 2..4 {
            queue.sync(&file, SyncKind::Data, number).unwrap();
        }
        assert!(!answer(&mut queue, -libc::EIO), "{engine}");
        let mut seen: Vec<_> = std::iter::from_fn(|| queue.pop())
            .map(|done| (done.user_data, done.result))
            .collect();
        seen.sort_unstable_by_key(|done| done.0);
        let lost = Err(Errno(libc::EIO));
        assert_eq!(seen, [(1, lost), (2, lost), (3, lost)], "{engine}");
    }
}

/// A slot begins anew with each request, also with one that the short way takes in.
#[test]
fn nothing_is_left_in_a_slot_of_the_request_before() {
    for engine in Engine::ALL {
        for before in 0..4 {
            let directory = directory();
            let file = fresh(&directory, mode("direct"));
            let mut queue = Queue::new(engine, 1).unwrap();
            let mut memory = file.buffer(3 * 4096).unwrap();
            memory.copy_from_slice(&pattern(3 * 4096));
            let (address, length) = (memory.as_mut_ptr(), memory.len());
            file.write_at(&memory, 0).unwrap();
            let mut others = filled(&file, 3 * 4096, 9);
            let other = others.as_mut_ptr();
            let pieces = [vector(other, 4096), vector(other.wrapping_add(4096), 8192)];
            // SAFETY: the memory outlives the completions.
            unsafe {
                match before {
                    0 => queue.readv_raw(&file, &pieces, 0, Flags::NONE, 1),
                    1 => queue.sync(&file, SyncKind::Full, 1),
                    2 => queue.readv_raw(&file, &pieces[..1], 0, Flags::NOWAIT, 1),
                    _ => queue.writev_raw(&file, &pieces, 0, Flags::THEN_SYNC, 1),
                }
                .unwrap();
            }
            queue.complete().unwrap();
            // SAFETY: as above.
            unsafe { queue.write_raw(&file, address, length, 4096, 2) }.unwrap();
            assert!(answer(&mut queue, 4096), "{engine} {before}");
            let done = queue.complete().unwrap();
            assert_eq!(done.result, Ok(length as u32), "{engine} {before}");
            assert_eq!(
                fs::read(file.path()).unwrap()[4096..],
                pattern(length),
                "{engine} {before}"
            );
            assert_eq!(queue.counters().finishing_syncs, 0, "{engine} {before}");
        }
    }
}
