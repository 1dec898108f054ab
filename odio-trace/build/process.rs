//! # Child processes with an environment of their own
//!
//! Cargo describes the build at hand to a build script through the
//! environment. A second cargo, for another target and another compiler, takes
//! those variables for its own configuration, so they must not get through.

use std::{env, path::Path, process::Command};

/// A command without what the outer cargo and rustup put into the environment.
pub(crate) fn command(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(describes_outer_build) {
            command.env_remove(name);
        }
    }
    command
}

fn describes_outer_build(name: &str) -> bool {
    // Where crates come from and how is the user's business, and the
    // jobserver keeps both cargos together within the user's -j.
    const KEPT: [&str; 6] = [
        "CARGO_HOME",
        "CARGO_MAKEFLAGS",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
    ];
    const SET: [&str; 10] = [
        "HOST",
        "TARGET",
        "PROFILE",
        "DEBUG",
        "OPT_LEVEL",
        "NUM_JOBS",
        "OUT_DIR",
        // Holds the outer compiler's libraries; the other compiler's have the
        // same names.
        "LD_LIBRARY_PATH",
        "RUSTUP_TOOLCHAIN",
        "__CARGO_DEFAULT_LIB_METADATA",
    ];
    if KEPT.iter().any(|kept| name.starts_with(kept)) {
        return false;
    }
    SET.contains(&name)
        || ["CARGO", "RUSTC", "RUSTDOC", "RUSTFLAGS"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// Standard output of a command that ended well, trimmed; `None` otherwise.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// Runs a command; its last lines of standard error are the error.
pub(crate) fn run(what: &str, command: &mut Command) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{what}: cannot start {:?}: {error}", command.get_program()))?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = stderr
        .lines()
        .filter(|line| !line.trim_start().starts_with("Compiling"))
        .collect();
    let tail = &lines[lines.len().saturating_sub(60)..];
    Err(format!(
        "{what} failed ({}):\n{}",
        output.status,
        tail.join("\n")
    ))
}
