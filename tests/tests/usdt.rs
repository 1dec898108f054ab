//! # The probe points, from outside
//!
//! What other programs see of `odio:submit` and `odio:complete`: the notes in the library and in programs that hold it,
//! bpftrace's list, and that each request fires both once, with the arguments that libodio(7) names. Needs readelf and
//! bpftrace; firing wants root and a kernel with uprobes, listing wants root.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use odio_tests::{Link, command, compile, everything, libodio, relinked, run, scratch, succeed};

/// A prime, so that no other count comes out the same.
const COUNT: u64 = 23;

/// A probe point of a file.
#[derive(Debug)]
struct Note {
    provider: String,
    name: String,
    location: u64,
    arguments: usize,
}

fn notes(file: &Path) -> Vec<Note> {
    let text = succeed(Command::new("readelf").arg("-nW").arg(file));
    let mut all = Vec::new();
    for part in text.split("Provider: ").skip(1) {
        let mut lines = part.lines().map(str::trim);
        let provider = lines.next().expect("a provider").to_owned();
        let mut field = |label: &str| {
            let line = lines.next().expect("a line for each field");
            let rest = line.strip_prefix(label);
            rest.unwrap_or_else(|| panic!("{label}: {line}")).to_owned()
        };
        let name = field("Name: ");
        let location = field("Location: 0x");
        let (location, _) = location.split_once(',').expect("and a base");
        let arguments = field("Arguments: ");
        all.push(Note {
            provider,
            name,
            location: u64::from_str_radix(location, 16).expect("an address"),
            arguments: arguments.split(' ').count(),
        });
    }
    all
}

/// Where the code of a file begins and ends.
fn code(file: &Path) -> (u64, u64) {
    let sections = succeed(Command::new("readelf").arg("-SW").arg(file));
    let line = sections.lines().find(|line| line.contains(" .text "));
    let words: Vec<&str> = line
        .expect("there is code")
        .split_whitespace()
        .skip_while(|word| *word != ".text")
        .collect();
    let number = |at: usize| u64::from_str_radix(words[at], 16).expect("a number");
    (number(2), number(2) + number(4))
}

/// Checks that a file has both probe points, and no other.
fn assert_probe_points(file: &Path) -> Vec<Note> {
    let notes = notes(file);
    let seen: BTreeSet<(&str, &str, usize)> = notes
        .iter()
        .map(|note| (note.provider.as_str(), note.name.as_str(), note.arguments))
        .collect();
    let expected = BTreeSet::from([("odio", "submit", 5), ("odio", "complete", 4)]);
    assert_eq!(seen, expected, "{}", file.display());
    notes
}

/// Checks also that each lies in the code: a linker that drops a function keeps its note, which then leads nowhere.
fn assert_probe_points_lead_to_code(file: &Path) {
    let (begin, end) = code(file);
    for note in assert_probe_points(file) {
        assert!(
            (begin..end).contains(&note.location),
            "{}: {note:?} is outside {begin:#x} to {end:#x}",
            file.display()
        );
    }
}

#[test]
fn the_probe_points_are_noted_in_the_library_and_in_programs_that_hold_it() {
    let directory = scratch();
    assert_probe_points(&libodio().shared);
    assert_probe_points_lead_to_code(&relinked(directory.path()));
    let program = compile("tests/c/probes.c", Link::Static, &[], directory.path());
    assert_probe_points_lead_to_code(&program);
    let program = compile("tests/c/probes.c", Link::Shared, &[], directory.path());
    assert!(
        notes(&program).is_empty(),
        "they are in libodio.so, not here"
    );
}

fn is_root() -> bool {
    succeed(Command::new("id").arg("-u")).trim() == "0"
}

#[test]
fn bpftrace_lists_the_probe_points() {
    if !is_root() {
        odio_tests::skip("bpftrace runs for root alone, also for a list");
        return;
    }
    let directory = scratch();
    let program = compile("tests/c/probes.c", Link::Static, &[], directory.path());
    for file in [&libodio().shared, &relinked(directory.path()), &program] {
        let pattern = format!("usdt:{}:*", file.display());
        let list = succeed(Command::new("bpftrace").args(["-l", &pattern]));
        let listed: BTreeSet<&str> = list
            .lines()
            .filter_map(|line| line.strip_prefix(pattern.trim_end_matches('*')))
            .collect();
        assert_eq!(listed, BTreeSet::from(["odio:complete", "odio:submit"]));
    }
}

/// Why bpftrace cannot attach to programs here.
fn no_uprobes() -> Option<&'static str> {
    if !is_root() {
        return Some("attaching wants root");
    }
    if !Path::new("/sys/bus/event_source/devices/uprobe").exists() {
        return Some("this kernel has no uprobes for perf");
    }
    None
}

/// Counts what fires in `probed`: submits by kind, offset and length, completions by kind and result.
fn counting(probed: &Path) -> String {
    let at = probed.display();
    format!(
        "BEGIN {{ printf(\"ready\\n\"); }}
         usdt:{at}:odio:submit {{
             @submitted[arg2] = count(); @marks[arg2] = sum(arg0);
             if (arg2 != 3) {{ @offsets[arg2] = sum(arg3); @lengths[arg2] = sum(arg4); }}
             @files[arg1] = count();
         }}
         usdt:{at}:odio:complete {{
             @completed[arg2] = count(); @completed_marks[arg2] = sum(arg0); @results[arg2] = sum(arg3);
             @completed_files[arg1] = count();
         }}"
    )
}

/// What bpftrace printed at its end, name by name.
fn maps(text: &str) -> BTreeMap<String, u64> {
    text.lines()
        .filter_map(|line| line.strip_prefix('@')?.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.parse().expect("a number")))
        .collect()
}

fn assert_all_fired(printed: &str) {
    let maps = maps(printed);
    let sum = |first: u64| (0..COUNT).map(|at| first + at).sum::<u64>();
    // Kinds: 1 a read, 2 a write, 3 a sync, 4 the end of a write that a sync closed.
    let mut expected = BTreeMap::new();
    for (kind, count, marks) in [(1, COUNT, sum(200)), (2, COUNT, sum(100)), (3, 1, 300)] {
        expected.insert(format!("submitted[{kind}]"), count);
        expected.insert(format!("completed[{kind}]"), count);
        expected.insert(format!("marks[{kind}]"), marks);
        expected.insert(format!("completed_marks[{kind}]"), marks);
    }
    for (kind, offsets, results) in [(1, sum(1), COUNT - 1), (2, sum(0), COUNT)] {
        expected.insert(format!("offsets[{kind}]"), offsets * 4096);
        expected.insert(format!("lengths[{kind}]"), COUNT * 4096);
        expected.insert(format!("results[{kind}]"), results * 4096);
    }
    expected.insert("results[3]".to_owned(), 0);
    *expected.get_mut("submitted[2]").expect("above") += 1;
    *expected.get_mut("marks[2]").expect("above") += 400;
    *expected.get_mut("lengths[2]").expect("above") += 4096;
    for (name, value) in [
        ("completed", 1),
        ("completed_marks", 400),
        ("results", 4096),
    ] {
        expected.insert(format!("{name}[4]"), value);
    }
    // One descriptor, whichever it is.
    let (files, others): (BTreeMap<_, _>, BTreeMap<_, _>) = maps
        .into_iter()
        .partition(|(name, _)| name.contains("files["));
    assert_eq!(others, expected, "{printed}");
    assert_eq!(files.len(), 2, "{printed}");
    assert!(
        files.values().all(|&count| count == 2 * COUNT + 2),
        "{printed}"
    );
}

#[test]
fn each_request_fires_both_probes_once_in_a_static_program() {
    if let Some(why) = no_uprobes() {
        odio_tests::skip(why);
        return;
    }
    let directory = scratch();
    let program = compile("tests/c/probes.c", Link::Static, &[], directory.path());
    let line = format!(
        "{} {} {COUNT}",
        program.display(),
        directory.path().join("file").display()
    );
    let output = run(Command::new("bpftrace").args(["-e", &counting(&program), "-c", &line]));
    assert!(output.status.success(), "{}", everything(&output));
    assert_all_fired(&String::from_utf8_lossy(&output.stdout));
}

#[test]
fn each_request_fires_both_probes_once_in_the_shared_library() {
    if let Some(why) = no_uprobes() {
        odio_tests::skip(why);
        return;
    }
    let directory = scratch();
    let library = relinked(directory.path());
    let program = compile("tests/c/probes.c", Link::Shared, &[], directory.path());
    // Not with -c: bpftrace 0.17 wants to find the library in the program's memory, where it is not yet.
    let mut bpftrace = Command::new("bpftrace")
        .args(["-B", "line", "-e", &counting(&library)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("bpftrace starts");
    let mut printed = BufReader::new(bpftrace.stdout.take().expect("a pipe"));
    let mut seen = String::new();
    // It prints what BEGIN has to say when all is attached.
    while !seen.ends_with("ready\n") {
        let before = seen.len();
        printed.read_line(&mut seen).expect("text");
        if seen.len() == before {
            let output = bpftrace.wait_with_output().expect("it ends");
            panic!("bpftrace attached nothing: {seen}{}", everything(&output));
        }
    }
    let file = directory.path().join("file");
    let words = [file.to_str().expect("UTF-8"), &COUNT.to_string()];
    succeed(command(&[], &program, &words).env("LD_LIBRARY_PATH", directory.path()));
    succeed(Command::new("kill").args(["-INT", &bpftrace.id().to_string()]));
    printed.read_to_string(&mut seen).expect("text");
    let output = bpftrace.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", everything(&output));
    assert_all_fired(&seen);
}
