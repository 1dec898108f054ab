//! # The eBPF object

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    process::{command, run},
    toolchain::Toolchain,
};

const TARGET: &str = "bpfel-unknown-none";

/// Builds `ebpf` and puts the object into `out`.
pub(crate) fn build(
    toolchain: &Toolchain,
    linker: &Path,
    ebpf: &Path,
    arch: &str,
    out: &Path,
) -> Result<(), String> {
    let target_dir = target_dir(out);
    let flags = [
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        // The verifier and bpftool show source lines only with BTF, and BTF
        // is made from the debug information.
        "-Cdebuginfo=2".to_owned(),
        format!("-Clinker={}", linker.display()),
        "-Clink-arg=--btf".to_owned(),
    ];

    let mut cargo = command(&toolchain.cargo);
    cargo
        .current_dir(ebpf)
        .args(["build", "--release", "--bin", "odio-trace-ebpf"])
        .args(["--target", TARGET, "-Zbuild-std=core"])
        .arg("--target-dir")
        .arg(&target_dir)
        .env("RUSTC", &toolchain.rustc)
        // -Zbuild-std is unstable, and Debian's compiler is a stable release.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    if ebpf.join("Cargo.lock").exists() {
        cargo.arg("--locked");
    }
    run("building the eBPF programs", &mut cargo)?;

    let object = target_dir.join(TARGET).join("release/odio-trace-ebpf");
    let wanted = out.join("odio-trace.bpf.o");
    fs::copy(&object, &wanted)
        .map(drop)
        .map_err(|error| format!("cannot copy {}: {error}", object.display()))
}

/// A folder beside the profiles of the workspace's target folder, so that
/// debug, release and clippy share one build of `core`. It is no profile's
/// folder: those are locked while this runs.
fn target_dir(out: &Path) -> PathBuf {
    out.ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").exists())
        .unwrap_or(out)
        .join("ebpf")
}
