//! # What the examples do
//!
//! log, pool and event_loop of examples-c, on each engine: what they print, what is in the file then, and which system
//! calls that took. Needs cc, strace and valgrind; c_abi.rs and install.rs build and run every example as well.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use odio_tests::{Link, command, compile, everything, root, run, scratch, succeed};

const ENGINES: [&str; 3] = ["psync", "libaio", "io_uring"];

fn built(source: &str) -> (tempfile::TempDir, PathBuf, PathBuf) {
    let directory = scratch();
    let program = compile(source, Link::Shared, &[], directory.path());
    let file = directory.path().join("file");
    (directory, program, file)
}

fn on(engine: &str, tool: &[&str], program: &Path, words: &[&str]) -> Command {
    let mut command = command(tool, program, words);
    command.env("ODIO_ENGINE", engine);
    command
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the build directory is UTF-8")
}

#[test]
fn the_program_of_the_readme_builds_and_does_what_is_said_of_it() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let (_, program) = readme.split_once("```c\n").expect("a program in C");
    let (program, _) = program.split_once("```").expect("and its end");
    let directory = scratch();
    let source = directory.path().join("program.c");
    fs::write(&source, program).unwrap();
    // An absolute path stays what it is below the repository.
    let program = compile(text(&source), Link::Shared, &[], directory.path());
    succeed(command::<&str>(&[], &program, &[]).current_dir(directory.path()));
    let data = fs::read(directory.path().join("data")).unwrap();
    assert_eq!(data, [0; 4096]);
}

#[test]
fn the_log_appends_and_finds_every_record() {
    let (_directory, program, file) = built("examples-c/log.c");
    // More than are allocated at once, and then fewer than are in the file.
    for engine in ENGINES {
        for (count, blocks) in [("67", 128), ("3", 64)] {
            let said = succeed(&mut on(engine, &[], &program, &[text(&file), count]));
            assert_eq!(said, format!("{count} records appended, {count} found\n"));
            let content = fs::read(&file).unwrap();
            assert_eq!(content.len(), blocks * 4096, "{engine}");
            for (at, block) in content.chunks(4096).enumerate() {
                let number = u64::from_le_bytes(block[..8].try_into().unwrap());
                let (expected, begin) = match at < count.parse().unwrap() {
                    true => (at as u64 + 1, format!("record {}\0", at + 1)),
                    false => (0, "\0".to_owned()),
                };
                assert_eq!(number, expected, "{engine}: block {at}");
                assert!(
                    block[16..].starts_with(begin.as_bytes()),
                    "{engine}: block {at}"
                );
            }
        }
    }
}

#[test]
fn the_log_syncs_its_directory_and_then_each_record() {
    let (directory, program, file) = built("examples-c/log.c");
    let log = directory.path().join("log");
    let calls = "--trace=pwrite64,pwritev,pwritev2,fdatasync,fsync,fallocate";
    let tool = ["strace", "-f", "-y", "-o", text(&log), calls];
    succeed(&mut on("psync", &tool, &program, &[text(&file), "7"]));
    let log = fs::read_to_string(&log).unwrap();
    let order: Vec<&str> = log
        .lines()
        .filter_map(|line| line.split_once(' ')?.1.trim_start().split_once('('))
        .map(
            |(call, rest)| match rest.split_once('<').map(|(_, name)| name) {
                Some(name) if name.starts_with(&format!("{}>", directory.path().display())) => {
                    "directory"
                }
                _ => call,
            },
        )
        .filter(|call| !call.starts_with("<..."))
        .collect();
    let mut expected = vec!["fsync", "directory", "fallocate", "fsync"];
    for _ in 0..7 {
        expected.extend(["pwritev2", "fdatasync"]);
    }
    let order: Vec<&str> = order
        .into_iter()
        .map(|call| {
            if call.starts_with("pwrite") {
                "pwritev2"
            } else {
                call
            }
        })
        .collect();
    assert_eq!(order, expected, "{log}");
}

#[test]
fn the_log_acknowledges_nothing_whose_sync_failed() {
    let (directory, program, file) = built("examples-c/log.c");
    let log = directory.path().join("log");
    let inject = "--inject=fdatasync:error=EIO:when=1";
    let tool = [
        "strace",
        "-f",
        "-o",
        text(&log),
        "--trace=fdatasync",
        inject,
    ];
    let output = run(&mut on("psync", &tool, &program, &[text(&file), "1"]));
    let said = everything(&output);
    // The data is there, and may be gone after a power cut.
    assert!(said.contains("0 records appended, 1 found"), "{said}");
    assert!(said.contains("record 1: Input/output error"), "{said}");
    assert_eq!(output.status.code(), Some(1), "{said}");
}

#[test]
fn the_pool_reads_all_bytes_and_counts_them() {
    let (_directory, program, file) = built("examples-c/pool.c");
    // Not a whole number of chunks, nor of blocks.
    for (bytes, requests) in [(0, 0), (1, 1), (65_536, 1), (3_000_001, 46)] {
        fs::write(&file, vec![b'p'; bytes]).unwrap();
        for engine in ENGINES {
            let said = succeed(&mut on(engine, &[], &program, &[text(&file)]));
            let lines: Vec<&str> = said.lines().collect();
            assert_eq!(lines[0], format!("{bytes} bytes"), "{engine}: {said}");
            assert!(
                lines[1].starts_with(&format!("{engine}: ODIO_ENGINE asks for it")),
                "{said}"
            );
            let counted = format!("{requests} requests, 0 failed, {bytes} bytes read, ");
            assert!(lines[2].starts_with(&counted), "{engine}: {said}");
            let timed: u64 = lines[3..]
                .iter()
                .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
                .sum();
            assert_eq!(timed, requests, "{engine}: {said}");
        }
    }
}

#[test]
fn the_event_loop_answers_while_the_other_descriptor_is_silent() {
    let (_directory, program, file) = built("examples-c/event_loop.c");
    for engine in ENGINES {
        let mut running = on(engine, &[], &program, &[text(&file)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut lines = running.stdin.take().expect("a pipe");
        let mut answers = BufReader::new(running.stdout.take().expect("a pipe"));
        for number in 1..=7 {
            writeln!(lines, "this is line {number}").unwrap();
            let mut answer = String::new();
            answers.read_line(&mut answer).unwrap();
            assert_eq!(answer, format!("line {number} is durable\n"), "{engine}");
        }
        drop(lines);
        assert!(running.wait().unwrap().success(), "{engine}");
        let content = fs::read(&file).unwrap();
        assert_eq!(content.len(), 7 * 4096, "{engine}");
        for (at, block) in content.chunks(4096).enumerate() {
            let line = format!("this is line {}\n\0", at + 1);
            assert!(
                block[8..].starts_with(line.as_bytes()),
                "{engine}: block {at}"
            );
        }
    }
}

#[test]
fn the_event_loop_takes_more_lines_than_it_has_buffers_and_is_clean_under_valgrind() {
    let (directory, program, file) = built("examples-c/event_loop.c");
    let input = directory.path().join("input");
    // 50 lines, one of them longer than a block, the last without an end.
    let mut lines: Vec<String> = (1..50).map(|at| format!("line {at}\n")).collect();
    lines.insert(20, "x".repeat(5000) + "\n");
    fs::write(&input, lines.concat() + "the end").unwrap();
    let valgrind = [
        "valgrind",
        "--fair-sched=yes",
        "--quiet",
        "--leak-check=full",
        "--error-exitcode=99",
    ];
    for engine in ENGINES {
        for tool in [&[][..], &valgrind] {
            let mut command = on(engine, tool, &program, &[text(&file)]);
            let said = succeed(command.stdin(fs::File::open(&input).unwrap()));
            // The long one is two.
            let mut numbers: Vec<u32> = said
                .lines()
                .map(|line| line.split(' ').nth(1).unwrap().parse().unwrap())
                .collect();
            numbers.sort_unstable();
            assert_eq!(numbers, (1..=52).collect::<Vec<_>>(), "{engine}: {said}");
            let content = fs::read(&file).unwrap();
            assert_eq!(content.len(), 52 * 4096, "{engine}");
            assert!(
                content[51 * 4096 + 8..].starts_with(b"the end\0"),
                "{engine}"
            );
        }
    }
}
