//! # The committed header is the one that the sources make

use std::path::Path;
use std::process::Command;
use std::{env, fs};

#[test]
fn the_committed_header_is_current() {
    let made = Path::new(env!("OUT_DIR")).join("odio.h");
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../include/odio.h");
    if env::var_os("ODIO_UPDATE_HEADER").is_some_and(|value| value == "1") {
        fs::copy(&made, &committed).unwrap();
    }
    if fs::read(&made).unwrap() != fs::read(&committed).unwrap_or_default() {
        let diff = Command::new("diff")
            .arg("-uN")
            .arg(&committed)
            .arg(&made)
            .output()
            .unwrap();
        panic!(
            "include/odio.h is stale; to refresh it: ODIO_UPDATE_HEADER=1 cargo test -p odio-ffi --test header\n{}",
            String::from_utf8_lossy(&diff.stdout)
        );
    }
}
