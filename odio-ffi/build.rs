//! # Makes the C header and names the shared library

use std::path::PathBuf;
use std::{env, fs};

/// In the order in which the header shows them.
const SOURCES: [&str; 16] = [
    "src/version.rs",
    "src/error.rs",
    "src/options.rs",
    "src/flags.rs",
    "src/file.rs",
    "src/vectors.rs",
    "src/explain.rs",
    "src/space.rs",
    "src/rename.rs",
    "src/limits.rs",
    "src/buffer.rs",
    "src/queue_options.rs",
    "src/queue.rs",
    "src/completion.rs",
    "src/pool.rs",
    "src/counters.rs",
];

fn main() {
    let directory = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let config = directory.join("cbindgen.toml");

    let mut builder = cbindgen::Builder::new()
        .with_config(cbindgen::Config::from_file(&config).expect("cbindgen.toml is valid"));
    for source in SOURCES {
        println!("cargo:rerun-if-changed={source}");
        builder = builder.with_src(directory.join(source));
    }
    println!("cargo:rerun-if-changed=cbindgen.toml");
    println!("cargo:rerun-if-changed=build.rs");

    let mut header = Vec::new();
    builder
        .generate()
        .expect("the sources make a header")
        .write(&mut header);
    // The "# Safety" sections are for those who change the Rust side; in C every pointer has such rules.
    let header = without_safety(&String::from_utf8(header).expect("the sources are UTF-8"));
    fs::write(out.join("odio.h"), header).expect("OUT_DIR is writable");

    println!(
        "cargo:rustc-cdylib-link-arg=-Wl,-soname,libodio.so.{}",
        env!("CARGO_PKG_VERSION_MAJOR")
    );
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,defs");
}

/// Drops each "# Safety" section, which is the last of its comment.
fn without_safety(header: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut inside = false;
    for line in header.lines() {
        if line.trim() == "* # Safety" {
            inside = true;
            if kept.last().is_some_and(|last| last.trim() == "*") {
                kept.pop();
            }
        }
        if line.trim() == "*/" {
            inside = false;
        }
        if !inside {
            kept.push(line);
        }
    }
    kept.join("\n") + "\n"
}
