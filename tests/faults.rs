//! # The faults program
//!
//! `tests/c/faults.c` and its parts: what makes faults, or meets those that a script makes.

use std::path::{Path, PathBuf};

use crate::{Link, compile_parts};

const PARTS: [&str; 11] = [
    "tests/c/faults_full.c",
    "tests/c/faults_device.c",
    "tests/c/faults_stall.c",
    "tests/c/faults_process.c",
    "tests/c/faults_bad.c",
    "tests/c/faults_removed.c",
    "tests/c/faults_unplugged.c",
    "tests/c/faults_again.c",
    "tests/c/faults_pressed.c",
    "tests/c/faults_killed.c",
    "tests/c/subject.c",
];

/// Compiles it. A guest wants it [`Link::Static`]: its dynamic linker need not find libodio.so then.
pub fn program(link: Link, directory: &Path) -> PathBuf {
    compile_parts("tests/c/faults.c", &PARTS, link, &[], directory)
}
