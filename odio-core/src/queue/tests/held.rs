//! # Requests that wait for another one

use super::*;
use crate::testing::Random;

const SHORT: Option<Duration> = Some(Duration::from_millis(5));

#[test]
fn a_sync_waits_for_the_one_before_it() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let mut queue = Queue::new(engine, 4).unwrap();
        let turn = file.sync_turn(None).unwrap();
        for number in 0..3 {
            queue.sync(&file, SyncKind::Data, number).unwrap();
        }
        assert_eq!(queue.poll().unwrap(), 0, "{engine}");
        assert_eq!(queue.wait(1, SHORT).unwrap(), 0, "{engine}");
        // What has nothing to do with it is not held up.
        queue.read(&file, filled(&file, 4096, 1), 0, 9).unwrap();
        assert_eq!(queue.complete().unwrap().user_data, 9, "{engine}");
        drop(turn);
        queue.drain().unwrap();
        let mut seen: Vec<_> = std::iter::from_fn(|| queue.pop())
            .map(|done| (done.user_data, done.result))
            .collect();
        seen.sort_unstable_by_key(|done| done.0);
        assert_eq!(seen, [(0, Ok(0)), (1, Ok(0)), (2, Ok(0))], "{engine}");
        assert!(
            file.sync_turn_try(None).is_some(),
            "{engine}: the turn was given back"
        );
    }
}

#[test]
fn a_sync_that_waited_for_one_that_failed_fails_with_it() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let mut queue = Queue::new(engine, 4).unwrap();
        let turn = file.sync_turn(None).unwrap();
        queue.sync(&file, SyncKind::Data, 1).unwrap();
        queue.sync(&file, SyncKind::Full, 2).unwrap();
        queue.submit().unwrap();
        let _ = file.note_sync(Err(Errno(libc::EIO)));
        drop(turn);
        queue.drain().unwrap();
        for _ in 0..2 {
            assert_eq!(
                queue.pop().unwrap().result,
                Err(Errno(libc::EIO)),
                "{engine}"
            );
        }
    }
}

#[test]
fn syncs_of_several_files_and_threads_all_end() {
    let directory = directory();
    let files: Vec<File> = (0..3)
        .map(|number| {
            let path = directory.path().join(number.to_string());
            options(mode("direct")).open(path).unwrap()
        })
        .collect();
    std::thread::scope(|scope| {
        for engine in Engine::ALL {
            let files = &files;
            scope.spawn(move || {
                let mut queue = Queue::new(engine, 16).unwrap();
                let mut random = Random::new(engine as u64);
                for _ in 0..20 {
                    for number in 0..16 {
                        let file = &files[random.below(3) as usize];
                        let kind = [SyncKind::Data, SyncKind::Full][random.below(2) as usize];
                        queue.sync(file, kind, number).unwrap();
                    }
                    queue.drain().unwrap();
                    let mut seen: Vec<_> = std::iter::from_fn(|| queue.pop())
                        .map(|done| {
                            assert_eq!(done.result, Ok(0));
                            done.user_data
                        })
                        .collect();
                    seen.sort_unstable();
                    assert!(seen.into_iter().eq(0..16));
                }
            });
        }
    });
}

#[test]
fn what_this_thread_holds_itself_is_not_waited_for_without_end() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = bouncing(&directory);
        let mut queue = Queue::new(engine, 4).unwrap();
        let deadlock = |result: Result<(), Error>| {
            assert_eq!(result.unwrap_err().errno().0, libc::EDEADLK, "{engine}");
        };
        let turn = file.sync_turn_try(None);
        let range = file.lock_range_try(0, 100);
        deadlock(file.sync(SyncKind::Data));
        deadlock(file.sync_range(0, 4096));
        deadlock(file.write_at(&[1], 10));
        deadlock(file.punch_hole(0, 100));
        deadlock(file.truncate(0));
        file.write_at(&[1], 4096).unwrap();
        queue.sync(&file, SyncKind::Data, 1).unwrap();
        queue.write(&file, filled(&file, 4096, 2), 0, 2).unwrap();
        assert_eq!(queue.wait(2, SHORT).unwrap(), 0, "{engine}");
        deadlock(queue.wait(1, None).map(drop));
        deadlock(queue.drain());
        drop((turn, range));
        queue.drain().unwrap();
        assert_eq!(queue.ready(), 2, "{engine}");
        while let Some(done) = queue.pop() {
            done.result.unwrap();
        }
        // Nor does it hold up the end of a queue.
        let turn = file.sync_turn_try(None);
        queue.sync(&file, SyncKind::Data, 3).unwrap();
        deadlock(queue.close());
        drop(turn);
        file.sync(SyncKind::Data).unwrap();
    }
}

fn bouncing(directory: &tempfile::TempDir) -> File {
    let path = directory.path().join("bounce");
    options(mode("direct")).bounce(true).open(path).unwrap()
}

#[test]
fn a_held_range_holds_up_a_write_and_a_cancel_ends_it() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = bouncing(&directory);
        let mut queue = Queue::new(engine, 4).unwrap();
        let held = file.lock_range(0, 100).unwrap();
        queue.write(&file, filled(&file, 4096, 1), 0, 1).unwrap();
        queue
            .write(&file, filled(&file, 4096, 2), 1 << 20, 2)
            .unwrap();
        assert_eq!(queue.complete().unwrap().user_data, 2, "{engine}");
        assert_eq!(queue.wait(1, SHORT).unwrap(), 0, "{engine}");
        assert_eq!(
            (queue.cancel(7).unwrap(), queue.cancel(1).unwrap()),
            (0, 1),
            "{engine}"
        );
        let done = queue.complete().unwrap();
        assert_eq!(done.result, Err(Errno(libc::ECANCELED)), "{engine}");
        drop(held);
        assert!(file.lock_range_try(0, 4096).is_some(), "{engine}");
    }
}

/// Every byte is written by one request or by none, so the order does not matter.
#[test]
fn unaligned_neighbours_in_flight_together_keep_every_byte() {
    for engine in Engine::ALL {
        Random::cases(8, |random| {
            let directory = directory();
            let file = bouncing(&directory);
            let mut queue = Queue::new(engine, 16).unwrap();
            let mut model = Vec::new();
            let mut requests = Vec::new();
            while model.len() < 100_000 {
                let length = match random.below(3) {
                    0 => 4096 * (1 + random.below(3)),
                    _ => 1 + random.below(9000),
                } as usize;
                let byte = 1 + random.below(250) as u8;
                requests.push((model.len(), length, byte));
                model.resize(model.len() + length, byte);
            }
            for at in (1..requests.len()).rev() {
                requests.swap(at, random.below(at as u64 + 1) as usize);
            }
            for &(offset, length, byte) in &requests {
                while queue.in_flight() + queue.ready() == 16 {
                    assert!(queue.complete().unwrap().result.is_ok());
                }
                let buffer = filled(&file, length, byte);
                queue
                    .write(&file, buffer, offset as u64, length as u64)
                    .unwrap();
            }
            queue.drain().unwrap();
            while let Some(done) = queue.pop() {
                assert_eq!(done.result, Ok(done.user_data as u32), "{engine}");
            }
            assert!(fs::read(file.path()).unwrap() == model, "{engine}");
            let (start, length) = (777, 50_001);
            queue
                .read(&file, filled(&file, length, 0), start, 1)
                .unwrap();
            let done = queue.complete().unwrap();
            assert_eq!(done.result, Ok(length as u32), "{engine}");
            assert!(
                done.buffer.unwrap()[..] == model[start as usize..][..length],
                "{engine}"
            );
            assert!(queue.counters().bounced > 1, "{engine}");
        });
    }
}

#[test]
fn what_ends_without_an_engine_is_collected_at_once() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = bouncing(&directory);
        let mut queue = Queue::new(engine, 4).unwrap();
        for length in [7, 4096] {
            let buffer = filled(&file, length, 1);
            queue.write(&file, buffer, 100_000, 5).unwrap();
            let mut seen = Vec::new();
            let count = queue.collect(1, 1, None, |user_data, result| {
                seen.push((user_data, result))
            });
            assert_eq!(count.unwrap(), 1, "{engine}");
            assert_eq!(seen, [(5, length as i32)], "{engine}");
        }
    }
}

/// Whether the eventfd is readable now; it is not any more after this.
fn told(event: &std::os::fd::OwnedFd) -> bool {
    let mut counter = [0; 8];
    let file = fs::File::from(event.try_clone().unwrap());
    std::io::Read::read(&mut &file, &mut counter).is_ok()
}

#[test]
fn the_eventfd_tells_of_what_ends_without_an_engine() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = bouncing(&directory);
        let mut queue = Queue::new(engine, 4).unwrap();
        let event = queue.eventfd().unwrap().try_clone_to_owned().unwrap();
        assert!(!told(&event), "{engine}");
        // Done by the call that hands it over.
        queue.write(&file, filled(&file, 7, 1), 10, 1).unwrap();
        queue.submit().unwrap();
        assert_eq!(queue.ready(), 1, "{engine}");
        assert!(told(&event), "{engine}");
        queue.pop().unwrap();
        // Cancelled while it waits, and refused the wait.
        let held = file.lock_range(0, 100).unwrap();
        queue.write(&file, filled(&file, 7, 1), 10, 2).unwrap();
        queue.submit().unwrap();
        assert!(!told(&event), "{engine}");
        assert_eq!(queue.cancel(2).unwrap(), 1, "{engine}");
        assert!(told(&event), "{engine}");
        queue.pop().unwrap();
        let (buffer, flags) = (filled(&file, 4096, 1), Flags::NOWAIT);
        queue.write_with(&file, buffer, 0, flags, 3).unwrap();
        queue.submit().unwrap();
        assert!(told(&event), "{engine}");
        let done = queue.pop().unwrap();
        assert_eq!(done.result, Err(Errno(libc::EAGAIN)), "{engine}");
        drop(held);
        // A sync that is not begun, because the one that it waited for failed.
        let turn = file.sync_turn(None).unwrap();
        queue.sync(&file, SyncKind::Data, 4).unwrap();
        queue.submit().unwrap();
        let _ = file.note_sync(Err(Errno(libc::EIO)));
        drop(turn);
        told(&event);
        queue.look_at_held();
        assert_eq!(queue.ready(), 1, "{engine}: the kernel is not asked");
        assert!(told(&event), "{engine}");
        queue.pop().unwrap().result.unwrap_err();
    }
}

#[test]
fn the_eventfd_tells_when_a_request_need_not_wait_any_more() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = bouncing(&directory);
        // The eventfd is there before the request, or comes while it waits.
        for early in [true, false] {
            let mut queue = Queue::new(engine, 4).unwrap();
            if early {
                queue.eventfd().unwrap();
            }
            for step in 0..2 {
                // Held by another thread for all that the queue knows: only the release tells.
                let (range, turn) = match step {
                    0 => (file.lock_range(0, 100).unwrap(), None),
                    _ => (None, file.sync_turn(None).unwrap()),
                };
                match step {
                    0 => queue.write(&file, filled(&file, 4096, 1), 0, 1).unwrap(),
                    _ => queue.sync(&file, SyncKind::Data, 1).unwrap(),
                }
                assert_eq!(queue.poll().unwrap(), 0, "{engine}");
                let event = queue.eventfd().unwrap().try_clone_to_owned().unwrap();
                told(&event);
                // As often as it looks in vain, it is told once.
                assert_eq!(queue.poll().unwrap(), 0, "{engine}");
                assert_eq!(queue.poll().unwrap(), 0, "{engine}");
                assert!(!told(&event), "{engine}");
                drop((range, turn));
                assert!(told(&event), "{engine} {early} {step}");
                queue.complete().unwrap().result.unwrap();
            }
        }
    }
}

/// Which syncs end together: those of the same file, that ask for no more than the one that is done.
#[test]
fn a_sync_covers_what_it_covers_and_nothing_else() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let other = options(mode("direct"))
            .open(directory.path().join("other"))
            .unwrap();
        let mut queue = Queue::new(engine, 4).unwrap();
        for (first, second, file_of_second, together) in [
            (SyncKind::Data, SyncKind::Data, &file, true),
            (SyncKind::Full, SyncKind::Data, &file, true),
            (SyncKind::Full, SyncKind::Full, &file, true),
            (SyncKind::Data, SyncKind::Full, &file, false),
            (SyncKind::Full, SyncKind::Full, &other, false),
        ] {
            queue.sync(&file, first, 1).unwrap();
            queue.sync(file_of_second, second, 2).unwrap();
            queue.look_at_held();
            let alone = queue.held.len() + queue.driver().staged();
            assert_eq!(alone == 1, together, "{engine} {first:?} {second:?}");
            queue.drain().unwrap();
            for _ in 0..2 {
                assert_eq!(queue.pop().unwrap().result, Ok(0), "{engine}");
            }
        }
    }
}

#[test]
fn blocks_and_turn_are_held_until_the_kernel_is_done() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = bouncing(&directory);
        let mut queue = Queue::new(engine, 4).unwrap();
        queue.write(&file, filled(&file, 4096, 1), 0, 1).unwrap();
        queue.sync(&file, SyncKind::Data, 2).unwrap();
        // Both are with the engine, and what it says of them has not been looked at.
        queue.look_at_held();
        assert!(queue.held.is_empty(), "{engine}");
        assert!(file.lock_range_try(10, 1).is_none(), "{engine}");
        assert!(file.sync_turn_try(None).is_none(), "{engine}");
        queue.drain().unwrap();
        assert!(file.lock_range_try(10, 1).is_some(), "{engine}");
        assert!(file.sync_turn_try(None).is_some(), "{engine}");
    }
}

#[test]
fn a_copied_write_is_followed_by_its_closing_sync() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = bouncing(&directory);
        let mut queue = Queue::new(engine, 4).unwrap();
        let turn = file.sync_turn(None).unwrap();
        for (number, flags) in [(1, Flags::THEN_DATASYNC), (2, Flags::THEN_SYNC)] {
            let buffer = filled(&file, 7, 1);
            queue
                .write_with(&file, buffer, 8192 * number, flags, number)
                .unwrap();
        }
        assert_eq!(queue.poll().unwrap(), 0, "{engine}");
        assert_eq!(fs::read(file.path()).unwrap()[16384..], [1; 7], "{engine}");
        drop(turn);
        queue.drain().unwrap();
        for _ in 0..2 {
            assert_eq!(queue.pop().unwrap().result, Ok(7), "{engine}");
        }
    }
}

#[test]
fn a_copied_read_ends_with_the_file() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = bouncing(&directory);
        fs::write(file.path(), vec![3; 5000]).unwrap();
        let mut queue = Queue::new(engine, 1).unwrap();
        for (offset, expected) in [(10, 4990), (4990, 10), (5000, 0), (9001, 0)] {
            let buffer = filled(&file, 8001, 1);
            queue.read(&file, buffer, offset, 1).unwrap();
            let done = queue.complete().unwrap();
            assert_eq!(done.result, Ok(expected), "{engine} {offset}");
            let there = &done.buffer.unwrap()[..expected as usize];
            assert!(there.iter().all(|&byte| byte == 3), "{engine} {offset}");
        }
    }
}

#[test]
fn unaligned_pieces_are_copied_too() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = bouncing(&directory);
        let mut queue = Queue::new(engine, 1).unwrap();
        let mut from = [(10, 1), (20, 2)].map(|(length, byte)| filled(&file, length, byte));
        let list = from
            .each_mut()
            .map(|each| vector(each.as_mut_ptr(), each.len()));
        // SAFETY: the buffers outlive the completion.
        unsafe { queue.writev_raw(&file, &list, 5, Flags::NONE, 1) }.unwrap();
        assert_eq!(queue.complete().unwrap().result, Ok(30), "{engine}");
        let expected = [[0; 5].as_slice(), &[1; 10], &[2; 20]].concat();
        assert_eq!(fs::read(file.path()).unwrap(), expected, "{engine}");
    }
}

#[test]
fn what_was_ready_first_is_collected_first() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = bouncing(&directory);
        let mut queue = Queue::new(engine, 2).unwrap();
        let mut memory = filled(&file, 4096, 1);
        fs::write(file.path(), [1; 4096]).unwrap();
        // SAFETY: the memory outlives the completion.
        unsafe { queue.read_raw(&file, memory.as_mut_ptr(), 4096, 0, 1) }.unwrap();
        // Done before the engine is asked.
        queue.write(&file, filled(&file, 7, 1), 8192, 2).unwrap();
        let mut seen = Vec::new();
        let collect = |user_data, _| seen.push(user_data);
        assert_eq!(queue.collect(2, 2, None, collect).unwrap(), 2, "{engine}");
        assert_eq!(seen, [2, 1], "{engine}");
    }
}

/// By the call that sees the write's end: a program that sleeps on the eventfd makes no other.
#[test]
fn a_closing_sync_is_handed_over_at_once() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let mut queue = Queue::new(engine, 1).unwrap();
        let (buffer, flags) = (filled(&file, 4096, 1), Flags::THEN_DATASYNC);
        queue.write_with(&file, buffer, 0, flags, 1).unwrap();
        while queue.slots[0].stage == Stage::Writing {
            queue.poll().unwrap();
        }
        let waits = queue.held.len() + queue.driver().staged();
        assert_eq!(waits, 0, "{engine}");
        queue.drain().unwrap();
    }
}

/// The kernel tells of a lost page to the first that asks, so nobody else may ask while such a write is on its way.
#[test]
fn a_durable_write_through_the_page_cache_is_the_only_sync_of_its_file() {
    let flags = [("buffered", Flags::DSYNC), ("buffered+dsync", Flags::NONE)];
    for (engine, (name, flags)) in Engine::ALL.into_iter().zip(flags.into_iter().cycle()) {
        let directory = directory();
        let file = fresh(&directory, mode(name));
        let piece = [9u8; 100];
        let vectors = [vector(piece.as_ptr().cast_mut(), piece.len())];
        let mut queue = Queue::new(engine, 2).unwrap();
        let turn = file.sync_turn_try(None);
        // SAFETY: the piece outlives the call.
        let waits = unsafe { file.writev_raw(&vectors, 0, flags) };
        assert!(matches!(waits, Err(Error::Deadlock)), "{engine}");
        if flags.is_empty() {
            let waits = file.write_at(&piece, 0);
            assert!(matches!(waits, Err(Error::Deadlock)), "{engine}");
        }
        for number in 0..2 {
            let buffer = filled(&file, 100, 1);
            queue.write_with(&file, buffer, 0, flags, number).unwrap();
        }
        assert_eq!(queue.wait(1, SHORT).unwrap(), 0, "{engine}");
        // What is no sync is not held up.
        assert_eq!(file.read_at(&mut [0; 1], 0).unwrap(), 0, "{engine}");
        drop(turn);
        queue.submit().unwrap();
        let with_engine = queue.with_engine + queue.ready();
        assert!(with_engine >= 1, "{engine}");
        if queue.ready() == 0 {
            assert!(file.sync_turn_try(None).is_none(), "{engine}");
        }
        queue.drain().unwrap();
        for _ in 0..2 {
            assert_eq!(queue.pop().unwrap().result, Ok(100), "{engine}");
        }
        assert!(file.sync_turn_try(None).is_some(), "{engine}");
        file.write_at(&piece, 0).unwrap();
    }
}
