//! # Vectors and flags

use super::*;

fn pieces(buffers: &mut [Buffer]) -> Vec<libc::iovec> {
    buffers
        .iter_mut()
        .map(|buffer| vector(buffer.as_mut_ptr(), buffer.len()))
        .collect()
}

#[test]
fn pieces_are_moved_in_their_order() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let mut queue = Queue::new(engine, 2).unwrap();
        let mut from = [1, 2, 3].map(|byte| filled(&file, 4096, byte));
        let mut into = [8192, 4096].map(|length| filled(&file, length, 9));
        let list = pieces(&mut from);
        // SAFETY: the buffers outlive the completion.
        unsafe { queue.writev_raw(&file, &list, 4096, Flags::NONE, 1) }.unwrap();
        drop(list);
        assert_eq!(queue.complete().unwrap().result, Ok(12288), "{engine}");
        let list = pieces(&mut into);
        // SAFETY: as above.
        unsafe { queue.readv_raw(&file, &list, 4096, Flags::NONE, 2) }.unwrap();
        assert_eq!(queue.complete().unwrap().result, Ok(12288), "{engine}");
        let read: Vec<u8> = into.iter().flat_map(|buffer| buffer.to_vec()).collect();
        let expected: Vec<u8> = [1, 2, 3]
            .into_iter()
            .flat_map(|byte| [byte; 4096])
            .collect();
        assert!(read == expected, "{engine}");
    }
}

#[test]
fn a_vectored_read_ends_with_the_file() {
    for engine in Engine::ALL {
        let directory = directory();
        let path = directory.path().join("file");
        fs::write(&path, vec![3; 5000]).unwrap();
        let file = options(mode("direct")).open(&path).unwrap();
        let mut queue = Queue::new(engine, 1).unwrap();
        let mut into = [4096, 4096, 4096].map(|length| filled(&file, length, 9));
        // SAFETY: the buffers outlive the completion.
        unsafe { queue.readv_raw(&file, &pieces(&mut into), 0, Flags::NONE, 2) }.unwrap();
        assert_eq!(queue.complete().unwrap().result, Ok(5000), "{engine}");
        assert!(into[1][..904].iter().all(|&byte| byte == 3));
    }
}

#[test]
fn more_pieces_than_the_queue_has_room_for_are_refused() {
    let directory = directory();
    let file = fresh(&directory, mode("direct"));
    let mut queue = QueueOptions::new(1)
        .engine(Engine::Psync)
        .max_vectors(2)
        .build()
        .unwrap();
    let mut from = [1, 2, 3].map(|byte| filled(&file, 4096, byte));
    // SAFETY: refused, so the memory is not used.
    let error = unsafe { queue.writev_raw(&file, &pieces(&mut from), 0, Flags::NONE, 1) };
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("3 pieces") && error.contains("1 to 2"),
        "{error}"
    );
    assert_eq!(queue.in_flight(), 0);
}

#[test]
fn a_write_with_a_closing_sync_carries_what_the_sync_said() {
    for engine in Engine::ALL {
        let directory = directory();
        let file = fresh(&directory, mode("direct"));
        let mut queue = Queue::new(engine, 1).unwrap();
        for flags in [Flags::THEN_DATASYNC, Flags::THEN_SYNC] {
            queue
                .write_with(&file, filled(&file, 4096, 1), 0, flags, 1)
                .unwrap();
            assert_eq!(
                queue.complete().unwrap().result,
                Ok(4096),
                "{engine} {flags}"
            );
            queue
                .write_with(&file, filled(&file, 4096, 1), 0, flags, 1)
                .unwrap();
            let _ = file.note_sync(Err(Errno(libc::EIO)));
            let result = queue.complete().unwrap().result;
            assert_eq!(result, Err(Errno(libc::EIO)), "{engine} {flags}");
            let refused = queue.write_with(&file, filled(&file, 4096, 1), 0, flags, 1);
            assert_eq!(refused.unwrap_err().error.errno(), Errno(libc::EIO));
            file.acknowledge_sync_error();
        }
        assert_eq!(queue.counters().finishing_syncs, 0);
    }
}

#[test]
fn flags_of_writes_are_refused_for_reads() {
    let directory = directory();
    let file = fresh(&directory, mode("direct"));
    let mut queue = Queue::new(Engine::Psync, 1).unwrap();
    for flags in [Flags::DSYNC, Flags::THEN_SYNC, Flags::ATOMIC] {
        let refused = queue.read_with(&file, filled(&file, 4096, 1), 0, flags, 1);
        let error = refused.unwrap_err().error.to_string();
        assert!(error.contains("means nothing for a read"), "{error}");
    }
}
