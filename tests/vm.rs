//! # Runs of `odio-trace vm`
//!
//! Starts the built program, and looks at what it leaves behind.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::ordinary::OrdinaryUser;

/// The `odio-trace` of the build that the running test belongs to.
///
/// # Panics
///
/// Where it has not been built: `cargo test` alone builds no programs of
/// other packages.
#[must_use]
pub fn odio_trace() -> PathBuf {
    let test = std::env::current_exe().expect("the test knows its own path");
    let profile = test.ancestors().nth(2).expect("PROFILE/deps/TEST");
    let program = profile.join("odio-trace");
    assert!(
        program.exists(),
        "{} is missing: cargo build -p odio-trace",
        program.display()
    );
    program
}

/// Where the kernels lie, by the rule that the documentation gives.
///
/// # Panics
///
/// Where the environment has none of the folders.
#[must_use]
pub fn kernels() -> PathBuf {
    let dir = |name: &str| {
        std::env::var_os(name)
            .filter(|dir| !dir.is_empty())
            .map(PathBuf::from)
    };
    dir("ODIO_CACHE")
        .or_else(|| dir("XDG_CACHE_HOME").map(|dir| dir.join("odio")))
        .or_else(|| dir("HOME").map(|dir| dir.join(".cache/odio")))
        .expect("a HOME")
        .join("kernels")
}

/// One VM with a temporary folder of its own.
pub struct Run {
    room: tempfile::TempDir,
    command: Command,
    user: Option<OrdinaryUser>,
}

impl Run {
    /// `odio-trace vm OPTIONS... -- COMMAND...`, not yet started.
    ///
    /// # Panics
    ///
    /// Where no temporary folder can be made.
    #[must_use]
    pub fn new(options: &[&str], command: &[&str]) -> Self {
        let room = tempfile::tempdir().expect("a temporary folder");
        // Longer than the path of a socket may be.
        let folder = room.path().join("long-".repeat(30));
        fs::create_dir(&folder).expect("a temporary folder");
        let mut run = Self {
            room,
            command: Command::new(odio_trace()),
            user: None,
        };
        run.command.env("TMPDIR", folder);
        run.command.arg("vm").args(options).arg("--").args(command);
        run
    }

    /// Lets an ordinary user start it. What the options name that user must be able to read.
    ///
    /// # Panics
    ///
    /// Where the temporary folder cannot be given away.
    #[must_use]
    pub fn as_ordinary_user(mut self) -> Self {
        let user = OrdinaryUser::new();
        let mut command = user.command("odio-trace");
        command.args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let folder = self.room.path();
        for entry in fs::read_dir(folder).expect("the temporary folder") {
            user.own(&entry.expect("an entry").path());
        }
        user.own(folder);
        self.command = command;
        self.user = Some(user);
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// The command, to be started in another way than [`Run::output`] does.
    pub fn command(&mut self) -> &mut Command {
        &mut self.command
    }

    /// Runs to the end and sees that nothing is left.
    ///
    /// # Panics
    ///
    /// Where the program does not start, or leaves something.
    pub fn output(mut self) -> Output {
        let output = self.command.output().expect("odio-trace starts");
        self.assert_nothing_is_left();
        output
    }

    /// # Panics
    ///
    /// Where a process still works in the temporary folder, or a file is in it.
    pub fn assert_nothing_is_left(&self) {
        let folder = self.room.path();
        for (process, dir) in working_folders() {
            assert!(
                !dir.starts_with(folder),
                "process {process} still runs in {}",
                dir.display()
            );
        }
        for entry in fs::read_dir(folder).expect("the temporary folder") {
            let entry = entry.expect("an entry").path();
            let left = fs::read_dir(&entry).expect("a folder").count();
            assert_eq!(left, 0, "files are left in {}", entry.display());
        }
    }

    /// Whether QEMU runs for this VM.
    #[must_use]
    pub fn is_booted(&self) -> bool {
        working_folders()
            .iter()
            .any(|(_, dir)| dir.starts_with(self.room.path()))
    }
}

/// The working folder of each process that may be looked at.
fn working_folders() -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let process = entry.file_name().to_string_lossy().into_owned();
        if let Ok(dir) = fs::read_link(Path::new("/proc").join(&process).join("cwd")) {
            found.push((process, dir));
        }
    }
    found
}
