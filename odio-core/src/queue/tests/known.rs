//! # What a queue knows beforehand, and how it tells

use super::*;

#[test]
fn known_files_and_pools_serve_as_others_do() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let other = options(mode("direct"))
            .open(directory.path().join("other"))
            .unwrap();
        let pool = Pool::new(4, 8192, false).unwrap();
        let mut queue = Queue::new(engine, 4).unwrap();
        let known = engine == Engine::IoUring;
        assert_eq!(queue.add_file(&file).unwrap(), known, "{engine}");
        assert_eq!(queue.add_file(&file).unwrap(), known, "{engine}");
        assert_eq!(queue.add_pool(&pool).unwrap(), known, "{engine}");
        let (files, pools, why) = queue.registered();
        let each = u32::from(known);
        assert_eq!(
            (files, pools, why.is_none()),
            (each, each, known),
            "{engine}"
        );

        for round in 0..3 {
            for (number, file) in [&file, &other].into_iter().enumerate() {
                let mut buffer = pool.take().unwrap();
                buffer.fill(number as u8 + 1);
                queue.write(file, buffer, 0, 1).unwrap();
                assert_eq!(queue.complete().unwrap().result, Ok(8192), "{engine}");
                queue.read(file, pool.take().unwrap(), 0, 2).unwrap();
                let read = queue.complete().unwrap().buffer.unwrap();
                assert!(
                    read.iter().all(|&byte| byte == number as u8 + 1),
                    "{engine}"
                );
                queue.sync(file, SyncKind::Data, 3).unwrap();
                assert_eq!(queue.complete().unwrap().result, Ok(0), "{engine}");
            }
            match round {
                0 => {
                    assert!(queue.remove_file(&file).unwrap() && !queue.remove_file(&file).unwrap())
                }
                1 => {
                    assert!(queue.remove_pool(&pool).unwrap() && !queue.remove_pool(&pool).unwrap())
                }
                _ => assert_eq!(queue.registered(), (0, 0, None), "{engine}"),
            }
        }
    }
}

#[test]
fn a_file_stays_open_while_a_queue_knows_it() {
    let directory = directory();
    let file = fresh(&directory, mode("direct"));
    let mut queue = Queue::new(Engine::IoUring, 1).unwrap();
    queue.add_file(&file).unwrap();
    let weak = file.clone();
    file.close().unwrap();
    queue.write(&weak, filled(&weak, 4096, 1), 0, 1).unwrap();
    assert_eq!(queue.complete().unwrap().result, Ok(4096));
}

#[test]
fn the_eventfd_becomes_readable_with_each_completion() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let mut queue = Queue::new(engine, 2).unwrap();
        let event = queue.eventfd().unwrap().try_clone_to_owned().unwrap();
        let readable = |time| crate::sys::file::poll_readable(event.as_raw_fd(), time).unwrap();
        assert!(!readable(Duration::ZERO), "{engine}");
        for _ in 0..3 {
            queue.write(&file, filled(&file, 4096, 1), 0, 1).unwrap();
            queue.submit().unwrap();
            assert!(readable(Duration::from_secs(3600)), "{engine}");
            let mut counter = [0; 8];
            std::io::Read::read(
                &mut fs::File::from(event.try_clone().unwrap()),
                &mut counter,
            )
            .unwrap();
            while queue.poll().unwrap() == 0 {
                assert!(readable(Duration::from_secs(3600)), "{engine}");
            }
            assert_eq!(queue.pop().unwrap().result, Ok(4096), "{engine}");
        }
    }
}

#[test]
fn an_eventfd_made_late_tells_of_what_is_there() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let mut queue = Queue::new(engine, 1).unwrap();
        queue.write(&file, filled(&file, 4096, 1), 0, 1).unwrap();
        queue.wait(1, None).unwrap();
        let event = queue.eventfd().unwrap().as_raw_fd();
        assert!(crate::sys::file::poll_readable(event, Duration::ZERO).unwrap());
    }
}

/// Those that the kernel had before there was an eventfd as well: whoever sleeps on it and polls gets all.
#[test]
fn an_eventfd_made_late_tells_of_what_is_in_flight() {
    const COUNT: u32 = 4;
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        // Alone, and with others beside them.
        for all in [COUNT, COUNT, COUNT, 2 * COUNT] {
            let mut queue = Queue::new(engine, all).unwrap();
            let write = |queue: &mut Queue, number: u32| {
                let buffer = filled(&file, 1 << 20, 1);
                let at = u64::from(number) << 20;
                queue.write(&file, buffer, at, number.into()).unwrap();
            };
            (0..COUNT).for_each(|number| write(&mut queue, number));
            queue.submit().unwrap();
            let event = queue.eventfd().unwrap().try_clone_to_owned().unwrap();
            (COUNT..all).for_each(|number| write(&mut queue, number));
            queue.submit().unwrap();
            let mut done = 0;
            while done < all {
                let patience = Duration::from_secs(60);
                let told = crate::sys::file::poll_readable(event.as_raw_fd(), patience).unwrap();
                assert!(told, "{engine}: {done} of {all}");
                let mut counter = [0; 8];
                let mut event = fs::File::from(event.try_clone().unwrap());
                std::io::Read::read_exact(&mut event, &mut counter).unwrap();
                queue.poll().unwrap();
                while let Some(completion) = queue.pop() {
                    assert_eq!(completion.result, Ok(1 << 20), "{engine}");
                    done += 1;
                }
            }
        }
    }
}

#[test]
fn counters_tell_what_was_done() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let mut queue = QueueOptions::new(2)
            .engine(engine)
            .latency(true)
            .build()
            .unwrap();
        queue.write(&file, filled(&file, 4096, 1), 0, 1).unwrap();
        queue.complete().unwrap();
        queue.read(&file, filled(&file, 8192, 1), 0, 1).unwrap();
        queue.complete().unwrap();
        queue.sync(&file, SyncKind::Full, 1).unwrap();
        queue.complete().unwrap();
        let expected = Counters {
            submitted: 3,
            completed: 3,
            bytes_written: 4096,
            bytes_read: 4096,
            ..Counters::default()
        };
        assert_eq!(
            (queue.counters(), file.counters()),
            (expected, expected),
            "{engine}"
        );
        let latency = queue.latency().unwrap();
        assert_eq!(latency.buckets.iter().sum::<u64>(), 3, "{engine}");
        assert!(latency.max > 0, "{engine}");
    }
}

#[test]
fn an_engine_that_is_not_named_is_chosen_with_a_reason() {
    let queue = QueueOptions::new(1).build().unwrap();
    let reason = queue.reason();
    assert!(reason.starts_with(queue.engine().name()), "{reason}");
    let named = Queue::new(Engine::Psync, 1).unwrap();
    assert_eq!(named.reason(), "psync: asked for");
}

#[test]
fn options_that_cannot_work_are_refused_with_a_reason() {
    let refused = |options: QueueOptions| options.build().err().unwrap().to_string();
    for engine in [Engine::Psync, Engine::Libaio] {
        for options in [
            QueueOptions::new(1).engine(engine).iopoll(true),
            QueueOptions::new(1).engine(engine).sqpoll(true),
        ] {
            let error = refused(options);
            assert!(error.contains("option of io_uring"), "{error}");
        }
    }
    let error = refused(QueueOptions::new(1).max_vectors(1025));
    assert!(error.contains("IOV_MAX"), "{error}");

    let directory = directory();
    let file = fresh(&directory, mode("buffered"));
    let mut queue = QueueOptions::new(1).iopoll(true).build().unwrap();
    let refused = queue.read(&file, filled(&file, 4096, 1), 0, 1).unwrap_err();
    let error = refused.error.to_string();
    assert!(error.contains("this file is buffered"), "{error}");
    let error = queue
        .sync(&file, SyncKind::Data, 1)
        .unwrap_err()
        .to_string();
    assert!(error.contains("transfers only"), "{error}");
    let error = queue.eventfd().unwrap_err().to_string();
    assert!(error.contains("no eventfd"), "{error}");
}

#[test]
fn a_kernel_thread_may_take_the_requests() {
    let directory = directory();
    let file = fresh(&directory, mode("direct"));
    let mut queue = QueueOptions::new(4).sqpoll(true).build().unwrap();
    for round in 0..3 {
        for number in 0..4 {
            queue
                .write(&file, filled(&file, 4096, round), number * 4096, number)
                .unwrap();
        }
        queue.drain().unwrap();
        for _ in 0..4 {
            assert_eq!(queue.pop().unwrap().result, Ok(4096));
        }
        queue.sync(&file, SyncKind::Data, 1).unwrap();
        assert_eq!(queue.complete().unwrap().result, Ok(0));
        // Past the time after which the thread sleeps.
        std::thread::sleep(Duration::from_millis(60));
    }
    assert_eq!(fs::read(file.path()).unwrap(), vec![2; 4 * 4096]);
}

#[test]
fn what_there_is_no_room_for_comes_with_the_next_collection() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let mut memory = filled(&file, 4096, 1);
        let mut queue = Queue::new(engine, 8).unwrap();
        for round in 0..5 {
            for number in 0..8 {
                let address = memory.as_mut_ptr();
                // SAFETY: the memory outlives the last collection, and nobody changes it.
                unsafe { queue.write_raw(&file, address, 4096, number * 4096, number) }.unwrap();
            }
            let mut seen = Vec::new();
            while seen.len() < 8 {
                let max = 3.min(8 - seen.len() as u32);
                let before = seen.len();
                let mut collect = |user_data, result| seen.push((user_data, result));
                let count = match queue.try_collect(max, max, true, &mut collect) {
                    Ok(count) => count,
                    Err(count) => queue
                        .collect_on(count, max, max, None, &mut collect)
                        .unwrap(),
                };
                assert_eq!(
                    (count, seen.len() - before),
                    (max, max as usize),
                    "{engine}"
                );
            }
            seen.sort_unstable();
            let expected: Vec<_> = (0..8).map(|number| (number, 4096)).collect();
            assert_eq!(seen, expected, "{engine} round {round}");
            assert_eq!((queue.in_flight(), queue.ready()), (0, 0), "{engine}");
        }
    }
}

#[test]
fn each_of_several_known_files_and_pools_is_found() {
    let directory = directory();
    let files: Vec<File> = (0..3)
        .map(|number| {
            let path = directory.path().join(number.to_string());
            options(mode("direct")).open(path).unwrap()
        })
        .collect();
    let pools: Vec<Pool> = (0..2).map(|_| Pool::new(1, 4096, false).unwrap()).collect();
    let mut queue = Queue::new(Engine::IoUring, 1).unwrap();
    for step in 0..40u64 {
        match step {
            5 => assert!(queue.add_file(&files[0]).unwrap()),
            10 => assert!(queue.add_file(&files[1]).unwrap()),
            15 => assert!(queue.add_pool(&pools[0]).unwrap()),
            20 => assert!(queue.add_pool(&pools[1]).unwrap()),
            25 => assert!(queue.remove_file(&files[0]).unwrap()),
            30 => assert!(queue.remove_pool(&pools[0]).unwrap()),
            _ => {}
        }
        for (number, file) in files.iter().enumerate() {
            let mut buffer = match (step as usize + number) % 3 {
                2 => file.buffer(4096).unwrap(),
                at => pools[at].take().unwrap(),
            };
            let byte = (step * 3 + number as u64) as u8;
            buffer.fill(byte);
            let address = buffer.as_mut_ptr();
            // SAFETY: the buffer outlives the completion.
            unsafe { queue.write_raw(file, address, 4096, 0, 1) }.unwrap();
            assert_eq!(queue.complete().unwrap().result, Ok(4096));
            assert_eq!(
                fs::read(file.path()).unwrap(),
                [byte; 4096],
                "{step} {number}"
            );
        }
    }
}

#[test]
fn a_buffer_is_found_wherever_it_is_in_its_pool() {
    let directory = directory();
    let file = fresh(&directory, mode("direct"));
    let mut queue = Queue::new(Engine::IoUring, 1).unwrap();
    // Each buffer by itself, the whole in one piece, more than there are places, and again each by itself.
    let pools = [(3, 4096), (2, 12288), (5000, 4096), (5, 8192)].map(|(count, length)| {
        let pool = Pool::new(count, length, false).unwrap();
        assert!(queue.add_pool(&pool).unwrap());
        pool
    });
    let mut check = |address: *mut u8, length: usize, byte: u8| {
        // SAFETY: inside one buffer or several that follow each other, which outlive the completion.
        unsafe {
            std::ptr::write_bytes(address, byte, length);
            queue.write_raw(&file, address, length, 0, 1).unwrap();
        }
        assert_eq!(queue.complete().unwrap().result, Ok(length as u32));
        assert_eq!(fs::read(file.path()).unwrap()[..length], vec![byte; length]);
    };
    for (number, pool) in pools.iter().enumerate() {
        let mut buffers: Vec<Buffer> = std::iter::from_fn(|| pool.take()).collect();
        buffers.sort_by_key(|buffer| buffer.as_ptr());
        let length = pool.length();
        let last = buffers.len() - 1;
        for at in [0, 1, last] {
            let address = buffers[at].as_mut_ptr();
            check(address, length, (number * 3 + at) as u8);
            check(address.wrapping_add(length - 512), 512, 201);
        }
        // Two that follow each other are one piece of memory, whatever the engine knows of each.
        check(buffers[last - 1].as_mut_ptr(), 2 * length, 202);
    }
}

#[test]
fn what_is_taken_in_stays_good_when_its_file_and_pool_are_removed() {
    for sqpoll in [false, true] {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let pool = Pool::new(4, 4096, false).unwrap();
        let mut queue = QueueOptions::new(4).sqpoll(sqpoll).build().unwrap();
        assert!(queue.add_file(&file).unwrap() && queue.add_pool(&pool).unwrap());
        for round in 0..50 {
            for number in 0..4 {
                let buffer = pool.take().unwrap();
                queue.write(&file, buffer, number * 4096, number).unwrap();
                match (round % 2, number) {
                    (0, 1) => assert!(queue.remove_file(&file).unwrap()),
                    (1, 2) => assert!(queue.remove_pool(&pool).unwrap()),
                    _ => {}
                }
            }
            queue.drain().unwrap();
            while let Some(done) = queue.pop() {
                assert_eq!(done.result, Ok(4096), "round {round}");
            }
            assert!(queue.add_file(&file).unwrap() && queue.add_pool(&pool).unwrap());
        }
    }
}

#[test]
fn a_sync_in_flight_does_not_lose_its_file() {
    let directory = directory();
    let file = fresh(&directory, mode("direct"));
    let mut queue = Queue::new(Engine::IoUring, 4).unwrap();
    for round in 0..100 {
        assert!(queue.add_file(&file).unwrap());
        for number in 0..4 {
            queue.sync(&file, SyncKind::Data, number).unwrap();
        }
        queue.submit().unwrap();
        assert!(queue.remove_file(&file).unwrap());
        for _ in 0..4 {
            assert_eq!(queue.complete().unwrap().result, Ok(0), "round {round}");
        }
    }
}

/// The end of a pipe that is readable when the kernel has let go of the file.
fn end_of(file: &File) -> std::io::PipeReader {
    let (reader, writer) = std::io::pipe().unwrap();
    replace(writer, file.fd());
    reader
}

fn is_gone(pipe: &std::io::PipeReader, time: Duration) -> bool {
    crate::sys::file::poll_readable(pipe.as_raw_fd(), time).unwrap()
}

#[test]
fn a_known_file_is_let_go_with_its_queue_and_when_it_is_removed() {
    let directory = directory();
    let file = fresh(&directory, mode("direct"));
    let pipe = end_of(&file);
    let mut queue = Queue::new(Engine::IoUring, 1).unwrap();
    assert!(queue.add_file(&file).unwrap());
    drop(file);
    assert!(!is_gone(&pipe, Duration::ZERO));
    drop(queue);
    assert!(is_gone(&pipe, Duration::ZERO), "at once");

    let file = fresh(&directory, mode("direct"));
    let pipe = end_of(&file);
    let mut queue = Queue::new(Engine::IoUring, 1).unwrap();
    assert!(queue.add_file(&file).unwrap());
    assert!(queue.remove_file(&file).unwrap());
    drop(file);
    // Linux 6.1 takes its time.
    assert!(is_gone(&pipe, Duration::from_secs(60)));
}

/// Memory of this process that the kernel holds, in bytes.
fn pinned() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmPin:"));
    let number = line.unwrap().split_whitespace().nth(1).unwrap();
    number.parse::<usize>().unwrap() * 1024
}

#[test]
fn a_known_pool_is_let_go_when_it_is_removed() {
    // More than all other tests together have beside this one.
    let length = 4 << 20;
    let pool = Pool::new(1, length, false).unwrap();
    let mut queue = Queue::new(Engine::IoUring, 1).unwrap();
    assert!(queue.add_pool(&pool).unwrap());
    assert!(pinned() >= length);
    assert!(queue.remove_pool(&pool).unwrap());
    // Linux 6.1 takes its time.
    let end = std::time::Instant::now() + Duration::from_secs(60);
    while pinned() >= length {
        assert!(std::time::Instant::now() < end);
        std::thread::yield_now();
    }
}

#[test]
fn what_is_not_registered_is_not_taken_for_it() {
    let directory = directory();
    let file = fresh(&directory, mode("direct"));
    let length = 8192;
    let pool = Pool::new(2, length, false).unwrap();
    let mut queue = Queue::new(Engine::IoUring, 1).unwrap();
    assert!(queue.add_file(&file).unwrap() && queue.add_pool(&pool).unwrap());
    // As where the kernel refused them: it knows neither, and the queue remembers that it does not.
    let mut driver = queue.driver.take().unwrap();
    queue.tables.forget(&mut driver, "refused by the kernel");
    queue.driver = Some(driver);
    let (files, pools, why) = queue.registered();
    assert_eq!((files, pools), (0, 0));
    assert_eq!(why, Some("refused by the kernel"));
    for _ in 0..2 {
        queue.write(&file, pool.take().unwrap(), 0, 1).unwrap();
        let done = queue.complete().unwrap();
        assert_eq!(done.result, Ok(length as u32));
        assert!(!queue.add_file(&file).unwrap() && !queue.add_pool(&pool).unwrap());
    }
}

#[test]
fn a_buffer_that_is_collected_is_given_to_nobody_else() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let mut memory = filled(&file, 4096, 1);
        let pool = Pool::new(1, 4096, false).unwrap();
        let mut queue = Queue::new(engine, 1).unwrap();
        queue.write(&file, pool.take().unwrap(), 0, 1).unwrap();
        assert_eq!(queue.collect(1, 1, None, |_, _| ()).unwrap(), 1, "{engine}");
        assert!(pool.take().is_some(), "{engine}: dropped");
        // SAFETY: the memory outlives the completion.
        unsafe { queue.write_raw(&file, memory.as_mut_ptr(), 4096, 0, 2) }.unwrap();
        assert!(queue.complete().unwrap().buffer.is_none(), "{engine}");
    }
}

#[test]
fn the_eventfd_tells_of_what_the_kernel_refuses() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let mut queue = Queue::new(engine, 2).unwrap();
        let event = queue.eventfd().unwrap().try_clone_to_owned().unwrap();
        // Every request on such a descriptor is refused before it begins.
        let mut useless = fs::OpenOptions::new();
        let useless = std::os::unix::fs::OpenOptionsExt::custom_flags(&mut useless, libc::O_PATH);
        replace(useless.read(true).open("/").unwrap(), file.fd());
        queue.read(&file, filled(&file, 4096, 1), 0, 1).unwrap();
        queue.submit().unwrap();
        let told = crate::sys::file::poll_readable(event.as_raw_fd(), Duration::from_secs(60));
        assert!(told.unwrap(), "{engine}");
        let done = queue.complete().unwrap();
        assert_eq!(done.result, Err(Errno(libc::EBADF)), "{engine}");
    }
}

/// What was found last is forgotten with a change: the place may be another's by then.
#[test]
fn a_place_that_is_given_to_another_is_not_used_for_the_first() {
    let directory = directory();
    let [file, other] = ["file", "other"].map(|name| {
        let path = directory.path().join(name);
        options(mode("direct")).open(path).unwrap()
    });
    let [mut memory, mut others] = [1, 2].map(|byte| {
        let pool = Pool::new(1, 4096, false).unwrap();
        let mut buffer = pool.take().unwrap();
        buffer.fill(byte);
        (pool, buffer)
    });
    let mut queue = Queue::new(Engine::IoUring, 1).unwrap();
    let write = |queue: &mut Queue, file: &File, buffer: &mut Buffer| {
        // SAFETY: the buffer outlives the completion.
        unsafe { queue.write_raw(file, buffer.as_mut_ptr(), 4096, 0, 1) }.unwrap();
        assert_eq!(queue.complete().unwrap().result, Ok(4096));
    };
    assert!(queue.add_file(&file).unwrap() && queue.add_pool(&memory.0).unwrap());
    write(&mut queue, &file, &mut memory.1);
    assert!(queue.remove_file(&file).unwrap() && queue.remove_pool(&memory.0).unwrap());
    write(&mut queue, &file, &mut memory.1);
    assert!(queue.add_file(&other).unwrap() && queue.add_pool(&others.0).unwrap());
    memory.1.fill(3);
    write(&mut queue, &file, &mut memory.1);
    write(&mut queue, &other, &mut others.1);
    assert_eq!(fs::read(file.path()).unwrap(), [3; 4096]);
    assert_eq!(fs::read(other.path()).unwrap(), [2; 4096]);
}

#[test]
fn memory_is_known_where_all_of_it_is_in_the_pool() {
    let pool = Pool::new(2, 8192, false).unwrap();
    let mut queue = Queue::new(Engine::IoUring, 1).unwrap();
    assert!(queue.add_pool(&pool).unwrap());
    let (base, size) = pool.memory();
    for (at, length, known) in [
        (0, size, true),
        (size - 512, 512, true),
        (size - 512, 513, false),
        (size, 512, false),
        (usize::MAX, 2, false),
        (0, size + 1, false),
    ] {
        for _ in 0..2 {
            let found = queue.tables.memory(base.wrapping_add(at), length);
            assert_eq!(found.is_some(), known, "{at} {length}");
        }
    }
}

#[test]
fn an_answer_that_the_short_way_does_not_expect_has_left_the_engine() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let mut memory = filled(&file, 4096, 1);
        let mut queue = Queue::new(engine, 1).unwrap();
        // The file is empty, so the read ends early.
        // SAFETY: the memory outlives the completion.
        unsafe { queue.read_raw(&file, memory.as_mut_ptr(), 4096, 0, 1) }.unwrap();
        assert_eq!(queue.try_collect(1, 1, true, |_, _| ()), Err(0), "{engine}");
        assert_eq!(queue.collect(1, 1, None, |_, _| ()).unwrap(), 1, "{engine}");
        assert_eq!((queue.in_flight(), queue.with_engine), (0, 0), "{engine}");
    }
}

/// Reads and writes of several files that end together, in turn, and of one that is removed meanwhile.
#[test]
fn what_ended_is_counted_for_its_own_file() {
    for engine in Engine::ALL {
        for short in [true, false] {
            let directory = directory();
            let files = ["known", "known too", "not known"].map(|name| {
                let path = directory.path().join(name);
                options(mode("direct")).open(path).unwrap()
            });
            let mut memory = filled(&files[0], 8192, 1);
            let address = memory.as_mut_ptr();
            for file in &files {
                file.write_at(&memory, 0).unwrap();
            }
            let before = files.each_ref().map(File::counters);
            let mut queue = Queue::new(engine, 12).unwrap();
            for file in &files[..2] {
                queue.add_file(file).unwrap();
            }
            for number in 0..12 {
                let file = &files[number as usize % 3];
                // The files get one, two and three blocks of each kind.
                let length = 4096;
                // SAFETY: the memory outlives the completions, and all that is read and written is the same.
                unsafe {
                    if number < 6 || number % 3 == 2 {
                        queue.write_raw(file, address, length, 0, number).unwrap();
                    } else {
                        queue
                            .read_raw(file, address, 2 * length, 0, number)
                            .unwrap();
                    }
                }
            }
            // The request goes on with a file that the table does not have any more.
            if short {
                queue.remove_file(&files[1]).unwrap();
            }
            let mut collected = 0;
            if short {
                collected = match queue.try_collect(12, 12, true, |_, _| ()) {
                    Ok(count) | Err(count) => count,
                };
            }
            while collected < 12 {
                let left = 12 - collected;
                collected += queue.collect(left, left, None, |_, _| ()).unwrap();
            }
            let expected = [(4, 8192, 16384), (4, 8192, 16384), (4, 16384, 0)];
            for ((file, before), (ended, written, read)) in files.iter().zip(before).zip(expected) {
                let now = file.counters();
                assert_eq!(
                    (
                        now.completed - before.completed,
                        now.bytes_written - before.bytes_written,
                        now.bytes_read - before.bytes_read
                    ),
                    (ended, written, read),
                    "{engine} {short} {}",
                    file.path().display()
                );
            }
            let all = queue.counters();
            assert_eq!((all.submitted, all.completed), (12, 12), "{engine}");
            assert_eq!(
                (all.bytes_written, all.bytes_read),
                (32768, 32768),
                "{engine}"
            );
        }
    }
}
