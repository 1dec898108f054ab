//! # Which kernel this is
//!
//! Its release and build line, as uname(2) would give them. They are for people to read: nothing is decided by them.

use super::root::{Root, Seen};

/// Names of the running kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Release {
    /// `uname -r`: `6.1.0-50-cloud-amd64`.
    pub(crate) release: String,
    /// `uname -v`: the build.
    pub(crate) version: Option<String>,
    /// `uname -m`; kernels before 6.1 do not have it in `/proc`.
    pub(crate) machine: Option<String>,
}

impl Release {
    pub(crate) fn read(root: &Root) -> Seen<Self> {
        let line = |name: &str| {
            root.text(format!("/proc/sys/kernel/{name}"))
                .map(|text| text.trim().to_owned())
        };
        Ok(Self {
            release: line("osrelease")?,
            version: line("version").ok(),
            machine: line("arch").ok(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::canned;
    use super::*;

    #[test]
    fn two_kernels() {
        let new = Release::read(&canned("6.1")).unwrap();
        assert_eq!(new.release, "6.1.0-50-cloud-amd64");
        assert_eq!(new.machine.as_deref(), Some("x86_64"));
        assert!(
            new.version
                .unwrap()
                .starts_with("#1 SMP PREEMPT_DYNAMIC Debian 6.1.176-1")
        );
        let old = Release::read(&canned("5.10")).unwrap();
        assert_eq!(old.release, "5.10.0-46-cloud-amd64");
        assert_eq!(old.machine, None);
    }

    #[test]
    fn without_proc_the_reason_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let error = Release::read(&Root::at(dir.path())).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/proc/sys/kernel/osrelease does not exist"
        );
    }
}
