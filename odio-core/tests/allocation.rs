//! # A request allocates nothing
//!
//! Alone in its test program, because it counts every allocation of the process.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use odio_core::contract::SyncKind;
use odio_core::file::OpenOptions;
use odio_core::mode::Engine;
use odio_core::queue::Queue;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is left to the system allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
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
        // The worker threads of psync set themselves up at their first request.
        round(&mut queue);
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        for _ in 0..20 {
            round(&mut queue);
        }
        assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0, "{engine}");
    }
}
