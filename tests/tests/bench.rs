//! # The benchmark: that both sides do the same, and that its verdicts are right

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use odio_tests::{Link, compile, root, scratch, succeed};

/// A program of the benchmark.
fn program(subject: &str, directory: &Path) -> PathBuf {
    let subject = root().join(format!("tests/bench/{subject}.c"));
    let library = "-l:liburing.a";
    let flags = [subject.to_str().unwrap(), library];
    // The library comes after what needs it.
    compile("tests/bench/main.c", Link::Static, &flags, directory)
}

/// How often `program` makes each of `calls` for so many requests.
fn calls(program: &Path, variant: &str, requests: &str, names: &[&str]) -> Vec<usize> {
    let directory = program.parent().unwrap();
    let (file, log) = (directory.join("file"), directory.join("log"));
    fs::write(&file, vec![0; 16 << 20]).unwrap();
    succeed(
        Command::new("strace")
            .args(["-f", "-o"])
            .arg(&log)
            .arg("--trace=io_submit,io_getevents,io_uring_enter")
            .arg(program)
            .arg(variant)
            .arg(&file)
            .args(["write", "32", requests]),
    );
    let log = fs::read_to_string(&log).unwrap();
    names
        .iter()
        .map(|name| log.matches(&format!("{name}(")).count())
        .collect()
}

#[test]
fn a_batch_is_one_system_call_on_both_sides() {
    let aio = ["io_submit", "io_getevents"];
    let uring = ["io_uring_enter"];
    for (subject, variant, names) in [
        ("raw_libaio", "-", &aio[..]),
        ("odio_queue", "libaio", &aio[..1]),
        ("raw_io_uring", "plain", &uring[..]),
        ("raw_io_uring", "registered", &uring[..]),
        ("odio_queue", "io_uring", &uring[..]),
    ] {
        let directory = scratch();
        let program = program(subject, directory.path());
        let few = calls(&program, variant, "320", names);
        let many = calls(&program, variant, "960", names);
        let more: Vec<usize> = many.iter().zip(few).map(|(many, few)| many - few).collect();
        // 640 requests are 20 batches. libaio takes one call to submit and one to wait; odio waits only for what is not in
        // the ring yet, so how often is the disk's to say.
        assert_eq!(
            more,
            vec![20; names.len()],
            "{subject} {variant}: {names:?}"
        );
    }
}

/// What a script of the benchmark prints for `input`, and whether it ends with 0.
fn verdict(script: &str, input: &str) -> (String, bool) {
    let mut awk = Command::new("awk")
        .arg("-f")
        .arg(root().join("tests/bench").join(script))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = awk.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    let output = awk.wait_with_output().unwrap();
    (
        String::from_utf8(output.stdout).unwrap(),
        output.status.success(),
    )
}

/// Three rounds, in which everything takes 1000 but what `replace` says.
fn figures(replace: &[(&str, [u32; 3])]) -> String {
    let subjects = [
        ("pread/pwrite", &[1][..]),
        ("odio_file", &[1]),
        ("io_submit", &[1, 32]),
        ("odio_libaio", &[1, 32]),
        ("liburing", &[1, 32]),
        ("odio_io_uring", &[1, 32]),
    ];
    let mut text = String::new();
    for round in 0..3 {
        for (subject, depths) in subjects {
            for depth in depths {
                for op in ["read", "write"] {
                    let key = format!("{subject} {op} {depth}");
                    let figure = replace
                        .iter()
                        .find(|(name, _)| *name == key)
                        .map_or(1000, |(_, figures)| figures[round]);
                    text += &format!("figure {key} {figure}\n");
                }
            }
        }
    }
    text
}

#[test]
fn a_ratio_over_its_limit_fails_and_is_named() {
    let (text, good) = verdict("ratios.awk", &figures(&[]));
    assert!(good, "{text}");
    assert_eq!(text.matches("within").count(), 10, "{text}");
    assert!(text.contains("0 of 10 ratios are over"), "{text}");

    // The median counts, not an extreme, in whatever order they came.
    let (text, good) = verdict(
        "ratios.awk",
        &figures(&[("odio_file read 1", [2000, 1009, 900])]),
    );
    assert!(good && text.contains("1.009"), "{text}");

    let over = figures(&[("odio_libaio write 32", [1030, 1030, 1030])]);
    let (text, good) = verdict("ratios.awk", &over);
    assert!(!good, "{text}");
    let line = text.lines().find(|line| line.ends_with("over")).unwrap();
    assert!(
        line.starts_with("odio_libaio") && line.contains("1.030"),
        "{line}"
    );
}

#[test]
fn what_was_not_measured_is_not_within_its_limit() {
    let (text, good) = verdict("ratios.awk", "");
    assert!(!good && text.contains("was not measured"), "{text}");
    let part: String = figures(&[])
        .lines()
        .filter(|line| !line.contains("odio_file write"))
        .map(|line| format!("{line}\n"))
        .collect();
    let (text, good) = verdict("ratios.awk", &part);
    assert!(!good && text.contains("odio_file write 1"), "{text}");
    assert!(!verdict("memory.awk", "").1);
}

#[test]
fn a_pool_is_held_against_both_peers() {
    let mut text = figures(&[]);
    for depth in [1, 32] {
        for op in ["read", "write"] {
            text += &format!("figure odio_pool {op} {depth} 830\n");
            text += &format!("figure liburing_registered {op} {depth} 810\n");
        }
    }
    let (table, good) = verdict("ratios.awk", &text);
    assert!(good && table.contains("0 of 18 ratios"), "{table}");
    let (table, good) = verdict("ratios.awk", &text.replace(" 830", " 841"));
    assert!(!good && table.contains("8 of 18 ratios"), "{table}");
}

#[test]
fn a_queue_over_sixteen_mebibytes_fails() {
    let line = |all: u32| format!("memory libaio 10000 10000 1564 628 0 {all}\n");
    let (text, good) = verdict("memory.awk", &line(16384));
    assert!(good && text.contains("within"), "{text}");
    let (text, good) = verdict("memory.awk", &(line(1) + &line(16385)));
    assert!(!good && text.contains("over"), "{text}");
}

/// What traced.sh prints where a request takes 1000 by itself, and `added` more under each kind of probes.
fn traced(added: u32, lost: &str) -> String {
    let all = 1000 + added;
    format!(
        "traced not 1000\nbeside auto 1100\ntraced auto {all} 0 0\nresident auto 1\nlost auto {lost}\n\
         beside kprobe 1100\ntraced kprobe {all} 0 0\nresident kprobe 1\nlost kprobe 0\ntraced json {all} 0 0\n"
    )
}

#[test]
fn tracing_over_its_limit_or_with_a_loss_fails() {
    let (text, good) = verdict("traced.awk", &traced(1700, "0"));
    assert!(good, "{text}");
    let (text, good) = verdict("traced.awk", &traced(1701, "0"));
    assert!(!good && text.matches(" over").count() == 1, "{text}");
    for lost in ["1", ""] {
        let (text, good) = verdict("traced.awk", &traced(0, lost));
        assert!(!good && text.contains("--probes auto"), "{text}");
    }
    // What the tracer runs meanwhile is in the whole, and what it runs later is added.
    let own = traced(1700, "0").replace("2700 0 0", "2700 700 700");
    assert!(verdict("traced.awk", &own).1);
    let own = own.replace("2700 700 700", "2700 700 701");
    assert!(!verdict("traced.awk", &own).1);
    assert!(!verdict("traced.awk", "traced not 1000\n").1);
}
