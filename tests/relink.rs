//! # libodio.so as it is installed
//!
//! Linked from libodio.a, as scripts/install does, because rustc allows no symbol versions.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{STATIC_LIBRARIES, libodio, root, succeed};

/// Links libodio.so.0 with symbol versions into `directory`.
pub fn relinked(directory: &Path) -> PathBuf {
    let library = directory.join("libodio.so.0");
    let mut link = Command::new("cc");
    link.arg("-shared")
        .arg("-o")
        .arg(&library)
        .arg("-Wl,-soname,libodio.so.0,--gc-sections");
    link.arg(format!(
        "-Wl,--version-script={}",
        root().join("odio-ffi/odio.map").display()
    ));
    link.arg("-Wl,--whole-archive")
        .arg(&libodio().archive)
        .arg("-Wl,--no-whole-archive");
    succeed(link.args(STATIC_LIBRARIES));
    library
}
