//! # Builds the eBPF programs
//!
//! `ebpf/` is a workspace of its own, because it is compiled for another
//! target by another compiler. The object ends up as
//! `OUT_DIR/odio-trace.bpf.o`; the source includes it from there.
//!
//! What may go wrong outside this project (no compiler with sources, no LLVM
//! to build the linker with) ends in one line that names what to install.

use std::{env, path::PathBuf};

#[path = "build/linker.rs"]
mod linker;
#[path = "build/object.rs"]
mod object;
#[path = "build/process.rs"]
mod process;
#[path = "build/toolchain.rs"]
mod toolchain;

fn main() {
    for path in ["build.rs", "build", "ebpf", "common"] {
        println!("cargo::rerun-if-changed={path}");
    }
    if let Err(message) = build() {
        // cargo fails on these lines; a failing exit status as well would make
        // it print everything a second time.
        for line in message.lines() {
            println!("cargo::error={line}");
        }
    }
}

fn build() -> Result<(), String> {
    let package = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(variable("OUT_DIR")?);
    let arch = variable("CARGO_CFG_TARGET_ARCH")?;
    let root = package
        .parent()
        .ok_or("odio-trace is expected to lie in its workspace")?;

    let (toolchain, linker) = toolchain::choose(&root.join(".cache/tools"))?;
    let linker = linker.ready()?;
    object::build(&toolchain, &linker, &package.join("ebpf"), &arch, &out)
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("{name} is not set: run this through cargo"))
}
