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
    let built =
        fs::read(&object).map_err(|error| format!("cannot read {}: {error}", object.display()))?;
    let small = without_debug(&built)
        .ok_or_else(|| format!("{} is no ELF object as expected", object.display()))?;
    fs::write(&wanted, small).map_err(|error| format!("cannot write {}: {error}", wanted.display()))
}

/// A little-endian ELF64 object whose sections of debug information are empty.
///
/// BTF was made of them, and nothing else reads them; but who loads the object goes through all of its relocations, and
/// these have most. The sections keep their numbers and names.
fn without_debug(object: &[u8]) -> Option<Vec<u8>> {
    const HEADER: usize = 64;
    const ENTRY: usize = 64;
    const NO_BITS: usize = 8;
    let word =
        |at: usize| Some(u64::from_le_bytes(object.get(at..at + 8)?.try_into().ok()?) as usize);
    let half =
        |at: usize| Some(u32::from_le_bytes(object.get(at..at + 4)?.try_into().ok()?) as usize);
    let short =
        |at: usize| Some(u16::from_le_bytes(object.get(at..at + 2)?.try_into().ok()?) as usize);
    if object.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (headers, count, names) = (word(40)?, short(60)?, short(62)?);
    let names = word(headers + names * ENTRY + 24)?;

    let mut small = object.get(..HEADER)?.to_vec();
    let mut table = object.get(headers..headers + count * ENTRY)?.to_vec();
    for (i, entry) in table.chunks_exact_mut(ENTRY).enumerate() {
        let at = headers + i * ENTRY;
        let (kind, offset, size) = (half(at + 4)?, word(at + 24)?, word(at + 32)?);
        let name = object.get(names + half(at)?..)?;
        let debug = name.starts_with(b".debug_") || name.starts_with(b".rel.debug_");
        let size = if debug { 0 } else { size };
        small.resize(small.len().next_multiple_of(word(at + 48)?.max(1)), 0);
        entry[24..32].copy_from_slice(&(small.len() as u64).to_le_bytes());
        entry[32..40].copy_from_slice(&(size as u64).to_le_bytes());
        if kind != NO_BITS {
            small.extend(object.get(offset..offset + size)?);
        }
    }
    small.resize(small.len().next_multiple_of(8), 0);
    let headers = small.len() as u64;
    small[40..48].copy_from_slice(&headers.to_le_bytes());
    small.extend(table);
    Some(small)
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
