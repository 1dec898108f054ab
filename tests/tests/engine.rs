//! # Which engine a queue gets, and why
//!
//! From C: by itself, by ODIO_ENGINE, by the options, and where a seccomp filter forbids the better ones.

use std::path::PathBuf;

use odio_tests::{Link, command, compile, scratch, succeed};

const AUTO: u32 = 0;
const NAMES: [(u32, &str); 3] = [(1, "psync"), (2, "libaio"), (3, "io_uring")];

struct Program {
    directory: tempfile::TempDir,
    path: PathBuf,
}

impl Program {
    fn new() -> Program {
        let directory = scratch();
        let path = compile("tests/c/engine.c", Link::Shared, &[], directory.path());
        Program { directory, path }
    }

    /// What the program prints, with ODIO_ENGINE as `variable`, asked for `engine`, with system calls forbidden.
    fn says(&self, variable: Option<&str>, engine: u32, forbidden: &[&str]) -> String {
        let file = self.directory.path().join("file");
        let engine = engine.to_string();
        let mut words = vec![file.to_str().expect("UTF-8"), &engine];
        words.extend(forbidden);
        let mut command = command(&[], &self.path, &words);
        match variable {
            Some(value) => command.env("ODIO_ENGINE", value),
            None => command.env_remove("ODIO_ENGINE"),
        };
        succeed(&mut command)
    }
}

/// Whether io_uring can be had here is for the kernel to say; libaio and psync always can.
fn io_uring_is_here(program: &Program) -> bool {
    program.says(None, 3, &[]).starts_with("0 ")
}

#[test]
fn the_automatic_choice_gives_its_reason() {
    let program = Program::new();
    let expected = match io_uring_is_here(&program) {
        true => "0 3 io_uring: the first that can be had\n",
        false => "0 2 libaio: the first that can be had; ",
    };
    for variable in [None, Some("")] {
        let said = program.says(variable, AUTO, &[]);
        assert!(said.starts_with(expected), "{said}");
    }
}

#[test]
fn the_variable_forces_an_engine() {
    let program = Program::new();
    for (number, name) in NAMES {
        if name == "io_uring" && !io_uring_is_here(&program) {
            odio_tests::skip("no io_uring here");
            continue;
        }
        assert_eq!(
            program.says(Some(name), AUTO, &[]),
            format!("0 {number} {name}: ODIO_ENGINE asks for it\n")
        );
    }
}

#[test]
fn the_variable_that_forces_an_engine_leaves_no_way_out() {
    let program = Program::new();
    let said = program.says(Some("io_uring"), AUTO, &["io_uring_setup"]);
    assert!(
        said.starts_with("-1 - ") && said.contains("seccomp"),
        "{said}"
    );
}

#[test]
fn an_unknown_word_in_the_variable_is_refused_with_the_known_ones() {
    let program = Program::new();
    for word in ["uring", "PSYNC", "psync ", "auto"] {
        let said = program.says(Some(word), AUTO, &[]);
        assert!(said.starts_with("-22 - "), "{word}: {said}");
        for part in [word, "psync", "libaio", "io_uring"] {
            assert!(said.contains(part), "{part} is not in: {said}");
        }
    }
}

#[test]
fn an_engine_in_the_options_is_not_overridden_by_the_variable() {
    let program = Program::new();
    for variable in ["psync", "libaio", "io_uring", "nonsense"] {
        for (number, name) in &NAMES[..2] {
            assert_eq!(
                program.says(Some(variable), *number, &[]),
                format!("0 {number} {name}: asked for\n"),
                "ODIO_ENGINE={variable}"
            );
        }
    }
    let said = program.says(None, 4, &[]);
    assert!(said.starts_with("-22 - "), "{said}");
}

#[test]
fn without_io_uring_the_choice_is_libaio_and_says_why() {
    let program = Program::new();
    let said = program.says(None, AUTO, &["io_uring_setup"]);
    assert!(
        said.starts_with("0 2 libaio: the first that can be had; ")
            && said.contains("cannot set up io_uring: EPERM")
            && said.contains("seccomp blocks io_uring_setup"),
        "{said}"
    );
}

#[test]
fn without_libaio_as_well_the_choice_is_psync_with_both_reasons() {
    let program = Program::new();
    let said = program.says(None, AUTO, &["io_uring_setup", "io_setup"]);
    assert!(said.starts_with("0 1 psync: works everywhere; "), "{said}");
    let first = said.find("cannot set up io_uring: EPERM");
    let second = said.find("cannot set up libaio: EPERM");
    assert!(first.is_some() && first < second, "{said}");
    // Asked for by name there is nothing to fall to.
    for (number, call) in [
        (2, "cannot set up libaio: EPERM"),
        (3, "cannot set up io_uring: EPERM"),
    ] {
        let said = program.says(None, number, &["io_uring_setup", "io_setup"]);
        assert!(said.starts_with("-1 - ") && said.contains(call), "{said}");
    }
}
