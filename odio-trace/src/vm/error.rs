//! # Why there is no exit status of the command
//!
//! Each message says what happened, why, and what to do about it.

use std::path::PathBuf;

/// Ends with 125 + what the command itself cannot be told apart from, like
/// env(1) and timeout(1) do.
const FAILED: i32 = 125;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("`odio-trace vm` boots x86_64 kernels on x86_64 hosts only, so far")]
    Architecture,

    #[error(
        "no kernel is called {name:?}: name a series of Debian kernels (6.1) \
         or the path of a bzImage (./bzImage)"
    )]
    KernelName { name: String },

    #[error("{name:?} is no kernel module with parameters: {why}")]
    ModuleName { name: String, why: String },

    #[error("the kernel has no module {name}")]
    NoModule { name: String },

    #[error("{program} is missing: apt-get install {package}")]
    ToolMissing { program: String, package: String },

    #[error("{program}: command not found, neither on this host nor in busybox")]
    CommandNotFound { program: String },

    #[error("cannot carry {} into the VM: {why}", path.display())]
    Carry { path: PathBuf, why: String },

    #[error("Linux {series} cannot be had through apt: {why}")]
    NoKernel { series: String, why: String },

    #[error("apt's sources have no mirror of Debian, which serves the kernels: add one")]
    NoMirror,

    #[error("{file} is not what the signed package lists say it is, so it was deleted: {why}")]
    Corrupt { file: String, why: String },

    #[error("the kernel was not there after {seconds} s (--timeout)")]
    SlowKernel { seconds: u64 },

    #[error("{} is no bzImage: {why}", path.display())]
    Image { path: PathBuf, why: String },

    #[error(
        "not enough disk space in {}: {needed} MiB are needed, {free} MiB are free \
         ({variable} can name another place)",
        path.display()
    )]
    Space {
        path: PathBuf,
        /// Of the environment.
        variable: &'static str,
        needed: u64,
        free: u64,
    },

    #[error("{program} failed ({status}): {message}")]
    Tool {
        program: String,
        status: String,
        message: String,
    },

    #[error("the guest kernel panicked: {why}\n{console}")]
    Panic { why: String, console: String },

    #[error("the guest ran out of its {mib} MiB of memory (--memory gives it more)\n{console}")]
    Memory { mib: u32, console: String },

    #[error("the guest could not be set up: {why}\n{console}")]
    Setup { why: String, console: String },

    #[error("no end after {seconds} s (--timeout); {phase}\n{console}")]
    Hang {
        seconds: u64,
        phase: &'static str,
        console: String,
    },

    #[error("the VM ended before the command did: {why}\n{console}")]
    Ended { why: String, console: String },

    #[error(
        "the command ended with {status}, but what it left in /out could not be sent: is the folder still there?"
    )]
    Files { status: i32 },

    #[error("{} are modules of Linux {modules}, and the kernel is {image}", folder.display())]
    OtherModules {
        folder: PathBuf,
        modules: String,
        image: String,
    },

    #[error("{} holds no modules: name a folder as /lib/modules/RELEASE, with its modules.builtin", path.display())]
    ModuleFolder { path: PathBuf },

    #[error("interrupted")]
    Interrupted { signal: i32 },
}

/// What a process that ends because of `error` should end with.
pub(crate) fn exit_status(error: &anyhow::Error) -> i32 {
    match error.downcast_ref() {
        Some(Error::Hang { .. } | Error::SlowKernel { .. }) => 124,
        Some(Error::CommandNotFound { .. }) => 127,
        Some(Error::Interrupted { signal }) => 128 + signal,
        _ => FAILED,
    }
}

/// Whether somebody ended it.
pub(crate) fn is_interrupted(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::Interrupted { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_tells_the_kinds_of_failure_apart() {
        let not_found = Error::CommandNotFound {
            program: "x".into(),
        };
        assert_eq!(exit_status(&not_found.into()), 127);
        assert_eq!(exit_status(&Error::Interrupted { signal: 2 }.into()), 130);
        assert_eq!(exit_status(&Error::SlowKernel { seconds: 1 }.into()), 124);
        assert_eq!(exit_status(&Error::Architecture.into()), 125);
        let wrapped = anyhow::Error::new(Error::Interrupted { signal: 15 }).context("while");
        assert_eq!(exit_status(&wrapped), 143);
    }
}
