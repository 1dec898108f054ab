//! # The crash lab
//!
//! `odio-crash`, and what a VM has to have for it.

use std::path::PathBuf;

use crate::vm::odio_trace;

/// The program.
///
/// # Panics
///
/// Where it has not been built: `cargo test` builds no programs of other packages.
#[must_use]
pub fn odio_crash() -> PathBuf {
    let program = odio_trace().with_file_name("odio-crash");
    assert!(program.exists(), "cargo build -p odio-crash");
    program
}

/// Options of a VM in which it can run on a filesystem that needs these modules and, if any, this mkfs.
#[must_use]
pub fn lab<'a>(kernel: &'a str, modules: &[&'a str], mkfs: Option<&'a str>) -> Vec<&'a str> {
    let mut options = vec!["--kernel", kernel, "--fs", "none", "--timeout", "1500"];
    // btrfs and XFS have large disks.
    options.extend(["--memory", "2048"]);
    let own = [
        "brd rd_nr=1 rd_size=65536",
        "nbd max_part=0",
        "dm-log-writes",
    ];
    for module in own.iter().chain(modules) {
        options.extend(["--module", module]);
    }
    if let Some(mkfs) = mkfs {
        options.extend(["--add", mkfs]);
    }
    options
}
