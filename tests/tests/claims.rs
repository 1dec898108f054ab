//! # What became of the source documents' claims
//!
//! The page is what the kept answers say, and the kernels still give those answers: one on which the documents' path has
//! ended, and the one that is built so that their functions can be probed.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use odio_tests::{
    Link, compile, libodio, root, scratch, succeed,
    vm::{Run, odio_trace},
};
use serde_json::Value;

/// In the order of the page's columns.
const KEPT: [&str; 6] = [
    "5.10-ext4",
    "6.1-ext4",
    "6.12-ext4",
    "7.2-ext4",
    "not-inlined-ext2",
    "not-inlined-vfat",
];

fn demo() -> PathBuf {
    let demo = odio_trace().with_file_name("odio-demo");
    assert!(demo.exists(), "cargo build -p odio-demo");
    demo
}

fn kept(name: &str) -> PathBuf {
    root().join(format!("demo/results/{name}.json"))
}

/// The answer to each claim; what it rests on has counts that are of the moment.
fn answers(text: &str) -> BTreeMap<String, String> {
    let word = |value: &Value| value.as_str().expect("a string").to_owned();
    text.lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            (word(&line["claim"]), word(&line["answer"]))
        })
        .collect()
}

fn gives_the_kept_answers(name: &str, kernel: &str, fs: &str) {
    let room = scratch();
    let write_modes = compile("examples-c/write_modes.c", Link::Shared, &[], room.path());
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let (write_modes, demo) = (text(&write_modes), text(&demo()));
    let mut options = vec!["--kernel", kernel, "--fs", fs, "--timeout", "900"];
    // The host's shell: busybox's runs its own dd whatever the PATH says.
    for program in ["/bin/sh", "/usr/bin/dd", "/usr/bin/fio", "/usr/bin/chattr"] {
        options.extend(["--add", program]);
    }
    options.extend(["--add", &write_modes]);
    let command = [&demo, "--json", "--write-modes", &write_modes];
    let output = Run::new(&options, &command)
        .env("LD_LIBRARY_PATH", &libodio().directory)
        .output();
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}\n{printed}");
    let kept = fs::read_to_string(kept(name)).expect("kept answers");
    assert_eq!(answers(&printed), answers(&kept), "{said}\n{printed}");
}

#[test]
fn the_page_is_what_the_answers_say() {
    let mut command = Command::new(demo());
    let made = succeed(command.arg("--page").args(KEPT.map(kept)));
    let page = fs::read_to_string(root().join("docs/claims.md")).expect("the page");
    assert!(made == page, "docs/claims.md is another: make claims");
}

#[test]
fn on_6_1() {
    gives_the_kept_answers("6.1-ext4", "6.1", "ext4");
}

/// Where dio_await_completion itself can be probed.
#[test]
fn where_nothing_is_inlined() {
    let image = succeed(&mut Command::new(root().join("scripts/kernel")));
    gives_the_kept_answers("not-inlined-ext2", image.trim(), "ext2");
}
