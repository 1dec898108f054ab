//! # fork and exec, from C
//!
//! What a program that is started inherits, and what a child of fork may go on using.

use odio_tests::{Link, command, compile, scratch, succeed};

const ENGINES: [&str; 3] = ["psync", "libaio", "io_uring"];

#[test]
fn a_program_that_is_started_gets_no_descriptor_of_odios() {
    let directory = scratch();
    let program = compile("tests/c/fork.c", Link::Shared, &[], directory.path());
    let file = directory.path().join("file");
    for engine in ENGINES {
        let inherited = succeed(&mut command(
            &[],
            &program,
            &[file.to_str().unwrap(), engine, "exec"],
        ));
        // The program's own descriptor shows that inherited ones are seen.
        let lines: Vec<&str> = inherited.lines().collect();
        assert_eq!(lines, ["/dev/null"], "{engine}: {inherited}");
    }
}

#[test]
fn a_child_is_refused_by_its_parents_queue() {
    let directory = scratch();
    let program = compile("tests/c/fork_queue.c", Link::Shared, &[], directory.path());
    for engine in ENGINES {
        let file = directory.path().join(engine);
        let arguments = [file.to_str().unwrap(), engine];
        succeed(&mut command(&[], &program, &arguments));
    }
}

#[test]
fn a_child_uses_the_file_and_a_queue_of_its_own() {
    let directory = scratch();
    for link in [Link::Shared, Link::Static] {
        let program = compile("tests/c/fork.c", link, &[], directory.path());
        for engine in ENGINES {
            let file = directory.path().join(engine);
            succeed(&mut command(
                &[],
                &program,
                &[file.to_str().unwrap(), engine, "child"],
            ));
        }
    }
}
