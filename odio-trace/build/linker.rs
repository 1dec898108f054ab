//! # bpf-linker
//!
//! It reads the compiler's bitcode, so it must have the compiler's LLVM. It is
//! built once into `.cache/tools` of the project, from its own lock file, and
//! found there again.

use std::{
    env,
    path::{Path, PathBuf},
};

use crate::process::{command, run};

const VERSION: &str = "0.13.0";

pub(crate) enum Linker {
    Ready(PathBuf),
    /// Not there yet, but the LLVM to build it with is.
    ToBuild {
        root: PathBuf,
        prefix: PathBuf,
        llvm: u32,
    },
}

impl Linker {
    /// The one named by the user, the one built before, or one that can be
    /// built.
    pub(crate) fn matching(llvm: u32, tools: &Path) -> Option<Self> {
        println!("cargo::rerun-if-env-changed=ODIO_BPF_LINKER");
        if let Some(named) = env::var_os("ODIO_BPF_LINKER") {
            return Some(Self::Ready(named.into()));
        }
        let root = tools.join(format!("bpf-linker-{VERSION}-llvm{llvm}"));
        let built = root.join("bin/bpf-linker");
        if built.exists() {
            return Some(Self::Ready(built));
        }
        let prefix = PathBuf::from(format!("/usr/lib/llvm-{llvm}"));
        prefix
            .join("bin/llvm-config")
            .exists()
            .then_some(Self::ToBuild { root, prefix, llvm })
    }

    /// One that the user installed. It does not say which LLVM it has; a wrong
    /// one shows when it links.
    pub(crate) fn on_path(_llvm: u32, _tools: &Path) -> Option<Self> {
        let path = env::var_os("PATH")?;
        env::split_paths(&path)
            .map(|dir| dir.join("bpf-linker"))
            .find(|file| file.is_file())
            .map(Self::Ready)
    }

    pub(crate) fn ready(self) -> Result<PathBuf, String> {
        let (root, prefix, llvm) = match self {
            Self::Ready(path) => return Ok(path),
            Self::ToBuild { root, prefix, llvm } => (root, prefix, llvm),
        };
        let outer =
            |name| env::var_os(name).ok_or(format!("{name} is not set: run this through cargo"));
        run(
            &format!("building bpf-linker {VERSION} with LLVM {llvm}"),
            command(PathBuf::from(outer("CARGO")?))
                .args(["install", "--locked", "--quiet", "bpf-linker"])
                .args(["--version", VERSION])
                .args(["--no-default-features", "--features"])
                .arg(format!("llvm-{llvm}"))
                .arg("--root")
                .arg(&root)
                .env("RUSTC", outer("RUSTC")?)
                .env("LLVM_PREFIX", prefix),
        )?;
        Ok(root.join("bin/bpf-linker"))
    }
}
