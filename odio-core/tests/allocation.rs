//! # A request allocates nothing
//!
//! Alone in its test program, because it replaces the allocator. Counts the thread that uses the queue; the workers of
//! psync set themselves up when they first run.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use odio_core::contract::SyncKind;
use odio_core::file::OpenOptions;
use odio_core::mode::Engine;
use odio_core::queue::Queue;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is left to the system allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is the one asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the one asked for.
        unsafe { System.dealloc(address, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn no_engine_allocates_for_a_request() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for engine in Engine::ALL {
        let file = OpenOptions::new("direct".parse().unwrap())
            .write(true)
            .create(true)
            .open(directory.path().join("file"))
            .unwrap();
        let mut queue = Queue::new(engine, 4).unwrap();
        let mut spare: Vec<_> = (0..4).map(|_| file.buffer(4096).unwrap()).collect();
        let mut round = |queue: &mut Queue| {
            for number in 0..4 {
                queue
                    .write(&file, spare.pop().unwrap(), number * 4096, number)
                    .unwrap();
            }
            queue.wait(4, None).unwrap();
            while let Some(done) = queue.pop() {
                assert_eq!(done.result, Ok(4096));
                spare.push(done.buffer.unwrap());
            }
            queue.sync(&file, SyncKind::Data, 9).unwrap();
            assert_eq!(queue.complete().unwrap().result, Ok(0));
        };
        let before = ALLOCATIONS.get();
        for _ in 0..20 {
            round(&mut queue);
        }
        assert_eq!(ALLOCATIONS.get() - before, 0, "{engine}");
    }
}
