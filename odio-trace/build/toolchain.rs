//! # The compiler for the eBPF programs
//!
//! `core` for the BPF target is not distributed, it is built here, so the
//! compiler must come with its sources. rustup's nightly is taken first, then
//! Debian's compiler (packages rustc-web, cargo-web, rust-web-src).

use std::path::{Path, PathBuf};

use crate::{
    linker::Linker,
    process::{command, output},
};

/// The oldest rustc that aya-ebpf accepts: 1.OLDEST.
const OLDEST: u32 = 87;

pub(crate) struct Toolchain {
    pub(crate) cargo: PathBuf,
    pub(crate) rustc: PathBuf,
    pub(crate) llvm: u32,
}

/// The first compiler with sources for which there is a linker of the same
/// LLVM, or can be one.
pub(crate) fn choose(tools: &Path) -> Result<(Toolchain, Linker), String> {
    let found = [("rustup's nightly", nightly()), ("Debian's", debian())];

    for linker_for in [Linker::matching, Linker::on_path] {
        for (_, toolchain) in &found {
            if let Ok(toolchain) = toolchain
                && let Some(linker) = linker_for(toolchain.llvm, tools)
            {
                let toolchain = Toolchain {
                    cargo: toolchain.cargo.clone(),
                    rustc: toolchain.rustc.clone(),
                    llvm: toolchain.llvm,
                };
                return Ok((toolchain, linker));
            }
        }
    }

    let why = found
        .iter()
        .map(|(name, toolchain)| match toolchain {
            Ok(t) => format!("{name} has LLVM {0}, but there is no llvm-{0}-dev", t.llvm),
            Err(reason) => format!("{name}: {reason}"),
        })
        .collect::<Vec<_>>()
        .join("; ");
    Err(format!(
        "no compiler for the eBPF programs ({why}). \
         Run `scripts/setup ebpf`, or `apt-get install rustc-web cargo-web rust-web-src llvm-22-dev`, \
         or `rustup component add rust-src --toolchain nightly` and the llvm-N-dev of that nightly's LLVM"
    ))
}

fn nightly() -> Result<Toolchain, String> {
    let sysroot = output(command("rustup").args(["run", "nightly", "rustc", "--print", "sysroot"]))
        .ok_or("not installed")?;
    with_sources(&Path::new(&sysroot).join("bin"), &sysroot)
}

fn debian() -> Result<Toolchain, String> {
    let sysroot =
        output(command("/usr/bin/rustc").args(["--print", "sysroot"])).ok_or("not installed")?;
    with_sources(Path::new("/usr/bin"), &sysroot)
}

fn with_sources(bin: &Path, sysroot: &str) -> Result<Toolchain, String> {
    let (cargo, rustc) = (bin.join("cargo"), bin.join("rustc"));
    let version = output(command(&rustc).arg("-vV")).ok_or("rustc does not run")?;
    let (minor, llvm) = versions(&version).ok_or("rustc -vV names no version")?;
    if minor < OLDEST {
        return Err(format!("rustc 1.{minor} is older than 1.{OLDEST}"));
    }
    if !Path::new(sysroot)
        .join("lib/rustlib/src/rust/library/core/src/lib.rs")
        .exists()
    {
        return Err("without the sources of core (rust-src)".to_owned());
    }
    if !cargo.exists() {
        return Err(format!("no {}", cargo.display()));
    }
    Ok(Toolchain { cargo, rustc, llvm })
}

/// The minor version of rustc and the major version of its LLVM.
fn versions(verbose: &str) -> Option<(u32, u32)> {
    let field = |name: &str| {
        verbose
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    let minor = field("release")?.split('.').nth(1)?.parse().ok()?;
    let llvm = field("LLVM version")?.split('.').next()?.parse().ok()?;
    Some((minor, llvm))
}
