//! # What the unit tests share

use crate::file::{File, OpenOptions};
use crate::mode::Mode;

/// A directory on the disk that holds the build, because `/tmp` may be a tmpfs.
pub(crate) fn directory() -> tempfile::TempDir {
    let build = std::env::current_exe().unwrap();
    tempfile::tempdir_in(build.parent().unwrap()).unwrap()
}

/// A new, empty file in `mode`, open for writing.
pub(crate) fn fresh(directory: &tempfile::TempDir, mode: Mode) -> File {
    options(mode).open(directory.path().join("file")).unwrap()
}

pub(crate) fn options(mode: Mode) -> OpenOptions {
    OpenOptions::new(mode).write(true).create(true)
}

pub(crate) fn mode(text: &str) -> Mode {
    text.parse().unwrap()
}
