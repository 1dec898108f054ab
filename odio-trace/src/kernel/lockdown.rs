//! # What lockdown forbids
//!
//! A kernel booted with Secure Boot is often locked down. `integrity` refuses what could change the running kernel,
//! `confidentiality` also what could read it: with it there are no kprobes, and BPF may not read kernel memory.

use std::fmt;

use super::mounts::Mounts;
use super::root::{Root, Seen, Unseen, Why};

const PATH: &str = "/sys/kernel/security/lockdown";

/// How far the kernel is locked down, in rising order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lockdown {
    None,
    Integrity,
    Confidentiality,
}

impl Lockdown {
    /// Unseen where securityfs is not mounted: that means unknown, not `None`.
    pub(crate) fn read(root: &Root, mounts: &Seen<Mounts>) -> Seen<Self> {
        match root.text(PATH) {
            Ok(text) => Self::parse(&text)
                .ok_or_else(|| Unseen::garbled(PATH, format!("{:?} names no level", text.trim()))),
            Err(Unseen {
                why: Why::Absent, ..
            }) if mounts
                .as_ref()
                .is_ok_and(|mounts| mounts.of_fs("securityfs").next().is_none()) =>
            {
                Err(Unseen::new(PATH, Why::NotMounted("securityfs")))
            }
            // With securityfs mounted and no such file, this kernel has no lockdown; the reader is told it is absent.
            Err(unseen) => Err(unseen),
        }
    }

    /// `none [integrity] confidentiality`: the brackets mark the level in force.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once('[')?;
        let (level, _) = rest.split_once(']')?;
        match level {
            "none" => Some(Self::None),
            "integrity" => Some(Self::Integrity),
            "confidentiality" => Some(Self::Confidentiality),
            _ => None,
        }
    }
}

impl fmt::Display for Lockdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Integrity => "integrity",
            Self::Confidentiality => "confidentiality",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::canned;
    use super::*;

    fn read(text: &str) -> Seen<Lockdown> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("sys/kernel/security")).unwrap();
        fs::write(dir.path().join("sys/kernel/security/lockdown"), text).unwrap();
        let root = Root::at(dir.path());
        Lockdown::read(&root, &Mounts::read(&root))
    }

    #[test]
    fn each_level() {
        assert_eq!(
            read("[none] integrity confidentiality\n"),
            Ok(Lockdown::None)
        );
        assert_eq!(
            read("none [integrity] confidentiality\n"),
            Ok(Lockdown::Integrity)
        );
        assert_eq!(
            read("none integrity [confidentiality]\n"),
            Ok(Lockdown::Confidentiality)
        );
        assert!(Lockdown::None < Lockdown::Integrity);
        assert!(Lockdown::Integrity < Lockdown::Confidentiality);
        assert_eq!(Lockdown::Integrity.to_string(), "integrity");
    }

    #[test]
    fn a_level_not_known_is_not_none() {
        for text in ["", "none integrity", "[", "[total]", "none [integrity"] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn not_mounted_and_not_built_in_differ() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path());
        let self_dir = dir.path().join("proc/self");
        fs::create_dir_all(&self_dir).unwrap();
        let read = || Lockdown::read(&root, &Mounts::read(&root)).unwrap_err().why;
        assert_eq!(read(), Why::Absent, "the mounts are not known either");
        fs::write(self_dir.join("mountinfo"), "1 0 8:1 / / rw - ext4 a rw\n").unwrap();
        assert_eq!(read(), Why::NotMounted("securityfs"));
        fs::write(
            self_dir.join("mountinfo"),
            "1 0 0:6 / /sys/kernel/security rw - securityfs s rw\n",
        )
        .unwrap();
        assert_eq!(read(), Why::Absent);
    }

    #[test]
    fn a_booted_kernel() {
        let root = canned("7.2");
        assert_eq!(
            Lockdown::read(&root, &Mounts::read(&root)),
            Ok(Lockdown::None)
        );
    }
}
