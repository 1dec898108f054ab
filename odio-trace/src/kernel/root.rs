//! # Where the kernel's files are read from
//!
//! Every path the room reads goes through a [`Root`]: `/` on a running machine, a directory of canned files in the
//! tests. Nothing is written through it.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

/// More than any text this room reads in one piece; a file that is larger is not what it claims to be.
const MAX_WHOLE: u64 = 256 << 20;

/// The directory that stands for `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Root(PathBuf);

impl Root {
    /// The running machine.
    pub(crate) fn system() -> Self {
        Self(PathBuf::from("/"))
    }

    /// A tree of canned files.
    #[cfg(test)]
    pub(crate) fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where an absolute path of the machine is found under this root.
    pub(crate) fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// The whole of a file.
    pub(crate) fn bytes(&self, path: impl AsRef<Path>) -> Seen<Vec<u8>> {
        let path = path.as_ref();
        let read = || -> io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            File::open(self.path(path))?
                .take(MAX_WHOLE)
                .read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        read().map_err(|error| Unseen::io(path, &error))
    }

    /// The whole of a text file; bytes that are not UTF-8 are replaced, since no fact this room reads holds any.
    pub(crate) fn text(&self, path: impl AsRef<Path>) -> Seen<String> {
        Ok(String::from_utf8_lossy(&self.bytes(path)?).into_owned())
    }

    /// One value in a file of its own, as `/proc/sys` and sysfs have them.
    pub(crate) fn value<T: std::str::FromStr>(&self, path: impl AsRef<Path>) -> Seen<T> {
        let path = path.as_ref();
        let text = self.text(path)?;
        let text = text.trim();
        text.parse()
            .map_err(|_| Unseen::garbled(path, format!("{text:?} is not what it should hold")))
    }

    /// A file to be read a line at a time.
    pub(crate) fn open(&self, path: impl AsRef<Path>) -> Seen<BufReader<File>> {
        let path = path.as_ref();
        File::open(self.path(path))
            .map(|file| BufReader::with_capacity(1 << 16, file))
            .map_err(|error| Unseen::io(path, &error))
    }

    /// What a symbolic link says, followed no further.
    pub(crate) fn link(&self, path: impl AsRef<Path>) -> Seen<PathBuf> {
        let path = path.as_ref();
        fs::read_link(self.path(path)).map_err(|error| Unseen::io(path, &error))
    }

    /// Whether something is there; an error other than "no such file" is an error.
    pub(crate) fn exists(&self, path: impl AsRef<Path>) -> Seen<bool> {
        let path = path.as_ref();
        self.path(path)
            .try_exists()
            .map_err(|error| Unseen::io(path, &error))
    }
}

/// A fact, or why it could not be seen.
pub(crate) type Seen<T> = Result<T, Unseen>;

/// A fact that could not be seen: what was looked at, and why that told nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unseen {
    /// The path as the machine names it, without the root.
    pub(crate) what: PathBuf,
    /// Why nothing was learnt from it.
    pub(crate) why: Why,
}

/// Why something could not be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// There is no such file: this kernel or configuration does not have it.
    Absent,
    /// This user may not read it (EACCES).
    Denied,
    /// The kernel refuses it (EPERM), whoever asks.
    Refused,
    /// The filesystem it would be on is not mounted.
    NotMounted(&'static str),
    /// It was read and is not what it should be.
    Garbled(String),
    /// Another error of the system.
    Io(String),
}

impl Unseen {
    pub(crate) fn new(what: impl AsRef<Path>, why: Why) -> Self {
        Self {
            what: what.as_ref().to_owned(),
            why,
        }
    }

    pub(crate) fn garbled(what: impl AsRef<Path>, how: impl Into<String>) -> Self {
        Self::new(what, Why::Garbled(how.into()))
    }

    pub(crate) fn io(what: impl AsRef<Path>, error: &io::Error) -> Self {
        let why = match error.raw_os_error() {
            // ENODEV and ENXIO too: what a virtual file says when its subject went away.
            Some(libc::ENOENT | libc::ENOTDIR | libc::ENODEV | libc::ENXIO) => Why::Absent,
            Some(libc::EACCES) => Why::Denied,
            Some(libc::EPERM) => Why::Refused,
            _ => Why::Io(error.to_string()),
        };
        Self::new(what, why)
    }
}

impl Unseen {
    /// For a message: what would let it be seen.
    pub(crate) fn way_out(&self) -> String {
        match self.why {
            Why::NotMounted(fs) => {
                let at = match fs {
                    "securityfs" => "/sys/kernel/security",
                    "debugfs" => "/sys/kernel/debug",
                    _ => "/sys/kernel/tracing",
                };
                format!(" (`mount -t {fs} {fs} {at}` as root mounts it)")
            }
            Why::Denied => " (root may)".into(),
            _ => String::new(),
        }
    }
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.what.display();
        match &self.why {
            Why::Absent => write!(f, "{what} does not exist"),
            Why::Denied => write!(f, "{what} may not be read by this user"),
            Why::Refused => write!(
                f,
                "{what} is refused by the kernel (EPERM), as lockdown does"
            ),
            Why::NotMounted(fs) => write!(f, "{what}: {fs} is not mounted there"),
            Why::Garbled(how) => write!(f, "{what} cannot be understood: {how}"),
            Why::Io(error) => write!(f, "{what} could not be read: {error}"),
        }
    }
}

impl std::error::Error for Unseen {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_the_root() {
        assert_eq!(
            Root::at("/canned").path("/proc/version"),
            Path::new("/canned/proc/version")
        );
        assert_eq!(
            Root::system().path("/proc/version"),
            Path::new("/proc/version")
        );
    }

    #[test]
    fn each_error_says_which_it_is() {
        let of = |errno| Unseen::io("/sys/kernel/x", &std::io::Error::from_raw_os_error(errno));
        assert_eq!(of(libc::ENOENT).why, Why::Absent);
        assert_eq!(of(libc::EACCES).why, Why::Denied);
        assert_eq!(of(libc::EPERM).why, Why::Refused);
        assert!(matches!(of(libc::EIO).why, Why::Io(_)));
        assert_eq!(of(libc::ENOENT).to_string(), "/sys/kernel/x does not exist");
        assert!(of(libc::EPERM).to_string().contains("lockdown"));
    }

    #[test]
    fn a_value_that_is_no_number_is_garbled_not_zero() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("good"), "7\n").unwrap();
        fs::write(dir.path().join("bad"), "seven\n").unwrap();
        let root = Root::at(dir.path());
        assert_eq!(root.value::<u32>("/good"), Ok(7));
        let error = root.value::<u32>("/bad").unwrap_err();
        assert!(matches!(error.why, Why::Garbled(_)), "{error}");
        assert_eq!(root.value::<u32>("/none").unwrap_err().why, Why::Absent);
    }
}
