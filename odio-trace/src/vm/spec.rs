//! # What is asked for

use std::{ffi::OsString, fmt, path::PathBuf, str::FromStr, time::Duration};

use super::Error;

/// One run of `odio-trace vm`.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// Which kernel to boot.
    pub(crate) kernel: Kernel,
    /// The filesystem of the working directory.
    pub(crate) fs: Filesystem,
    /// Memory of the guest in MiB.
    pub(crate) memory: u32,
    /// CPUs of the guest.
    pub(crate) cpus: u32,
    /// The longest that boot and command may take together.
    pub(crate) timeout: Duration,
    /// Files, programs and folders to carry in besides the command.
    pub(crate) add: Vec<PathBuf>,
    /// The command and its arguments; never empty.
    pub(crate) command: Vec<OsString>,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            kernel: Kernel::Series("6.1".to_owned()),
            fs: Filesystem::Ext4,
            memory: 1024,
            cpus: 2,
            timeout: Duration::from_secs(300),
            add: Vec::new(),
            command: Vec::new(),
        }
    }
}

/// A kernel as named on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
    /// Debian's newest cloud kernel of a series, such as `6.1`.
    Series(String),
    /// A bzImage.
    Image(PathBuf),
}

impl FromStr for Kernel {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        match text.split_once('.') {
            Some((major, minor)) if number(major) && number(minor) => {
                Ok(Self::Series(text.to_owned()))
            }
            _ if text.contains('/') => Ok(Self::Image(text.into())),
            _ => Err(Error::KernelName {
                name: text.to_owned(),
            }),
        }
    }
}

/// A filesystem that a VM can have as its working directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filesystem {
    Ext4,
}

impl Filesystem {
    /// The name that mount(8) knows.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
        }
    }

    /// Options with which nothing but the command writes to the disk.
    pub(crate) fn mount_options(self) -> &'static str {
        match self {
            Self::Ext4 => "noinit_itable",
        }
    }

    /// The modules for kernels that do not have it built in.
    pub(crate) fn modules(self) -> &'static [&'static str] {
        match self {
            Self::Ext4 => &["ext4"],
        }
    }
}

impl fmt::Display for Filesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Filesystem {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "ext4" => Ok(Self::Ext4),
            _ => Err(Error::FilesystemName {
                name: text.to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_two_numbers_and_a_path_has_a_slash() {
        let series = |s: &str| Kernel::Series(s.to_owned());
        assert_eq!("6.1".parse::<Kernel>().unwrap(), series("6.1"));
        assert_eq!("5.10".parse::<Kernel>().unwrap(), series("5.10"));
        assert_eq!(
            "./bzImage".parse::<Kernel>().unwrap(),
            Kernel::Image("./bzImage".into())
        );
        for bad in ["", "6", "6.", ".1", "6.1.5", "bzImage", "-6.1", "6.x"] {
            assert!(bad.parse::<Kernel>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn an_unknown_filesystem_is_refused_by_name() {
        assert_eq!("ext4".parse::<Filesystem>().unwrap(), Filesystem::Ext4);
        let error = "ext5".parse::<Filesystem>().unwrap_err().to_string();
        assert!(error.contains("ext5"), "{error}");
    }
}
