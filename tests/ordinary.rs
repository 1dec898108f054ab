//! # An ordinary user
//!
//! Somebody without any privilege, with a home of its own: nobody where root runs the test, else whoever runs it. Does
//! not see what is in root's folders, so what it works with is put into its home first.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::fs::{MetadataExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

use crate::vm::{kernels, odio_trace};

/// Debian's nobody and nogroup.
const NOBODY: u32 = 65534;

/// Gone with its home when it is dropped.
pub struct OrdinaryUser {
    home: tempfile::TempDir,
}

impl Default for OrdinaryUser {
    fn default() -> Self {
        Self::new()
    }
}

impl OrdinaryUser {
    /// With `odio-trace` in its `bin`, and the kernels that were downloaded before. Those that were not it downloads itself.
    ///
    /// # Panics
    ///
    /// Where the home cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let user = Self { home };
        let bin = user.home().join("bin");
        fs::create_dir(&bin).expect("a folder in the home");
        link(&odio_trace(), &bin.join("odio-trace")).expect("odio-trace");
        if is_root() {
            let cache = user.cache();
            fs::create_dir_all(&cache).expect("a folder in the home");
            give_kernels(&cache);
            user.own(user.home());
        }
        user
    }

    /// A folder of it alone.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    fn cache(&self) -> PathBuf {
        self.home().join("cache/kernels")
    }

    /// Makes a file, or a folder and all that is in it, its own.
    ///
    /// # Panics
    ///
    /// Where that fails.
    pub fn own(&self, path: &Path) {
        if is_root() {
            own(path).expect("a file to give away");
        }
    }

    /// A program as started by this user, with no capability and in its home.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = if is_root() {
            let id = NOBODY.to_string();
            let mut command = Command::new("setpriv");
            command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
            command.args(["--inh-caps=-all", "--bounding-set=-all"]);
            command
                .arg(program)
                .env("ODIO_CACHE", self.home().join("cache"));
            command
        } else {
            let mut command = Command::new(program);
            command.env("ODIO_CACHE", kernels().parent().expect("the cache folder"));
            command
        };
        let mut path = OsString::from(self.home().join("bin"));
        if let Some(others) = std::env::var_os("PATH") {
            path.push(":");
            path.push(others);
        }
        command.env("PATH", path).env("HOME", self.home());
        command.current_dir(self.home());
        command
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").expect("/proc").uid() == 0
}

/// Packages and lists. What was unpacked of them stays behind: it has files that only root reads.
fn give_kernels(cache: &Path) {
    for entry in fs::read_dir(kernels()).into_iter().flatten() {
        let from = entry.expect("an entry").path();
        let name = from.file_name().expect("a name").to_owned();
        let is_list = name.to_string_lossy().starts_with("apt-");
        if !is_list && from.is_dir() {
            continue;
        }
        let to = cache.join(name);
        match link(&from, &to) {
            // Another run has put a newer one in its place.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let _ = fs::remove_dir_all(&to);
            }
            linked => linked.expect("a kernel in the home"),
        }
    }
}

/// The same files below another name, or copies where another disk has it.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_dir() {
        fs::create_dir(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            link(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => fs::copy(from, to).map(drop),
        other => other,
    }
}

/// Folders, and the files that have no other name: one that has is still root's.
fn own(path: &Path) -> io::Result<()> {
    let about = fs::symlink_metadata(path)?;
    if about.is_dir() {
        for entry in fs::read_dir(path)? {
            own(&entry?.path())?;
        }
    } else if about.nlink() > 1 || about.is_symlink() {
        return Ok(());
    }
    chown(path, Some(NOBODY), Some(NOBODY))
}
