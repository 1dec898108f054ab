//! # What this process may do
//!
//! Its effective capabilities. Capabilities count in the user namespace they were
//! given in: root of a container may hold all of them and still not be let near the kernel, so that is read too.

use std::path::Path;

use super::root::{Root, Seen, Unseen};

const STATUS: &str = "/proc/self/status";
const USER_NAMESPACE: &str = "/proc/self/ns/user";

/// The inode number that the kernel fixes for its first user namespace (`PROC_USER_INIT_INO`).
const FIRST_USER_NAMESPACE: &str = "user:[4026531837]";

/// A capability that tracing can need, with its number in `linux/capability.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Cap {
    /// Before 5.8, all of BPF and perf.
    SysAdmin = 21,
    /// perf_event_open for the kernel, and BPF programs that trace.
    Perfmon = 38,
    /// Load programs and make maps.
    Bpf = 39,
}

impl Cap {
    /// As capabilities(7) spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::Perfmon => "CAP_PERFMON",
            Self::Bpf => "CAP_BPF",
        }
    }
}

/// What this process may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Privileges {
    /// Its effective user.
    pub(crate) uid: u32,
    effective: u64,
    /// Whether it is in the first user namespace, where capabilities count for the whole kernel.
    pub(crate) first_user_namespace: Seen<bool>,
}

impl Privileges {
    pub(crate) fn read(root: &Root) -> Seen<Self> {
        let namespace = root.link(USER_NAMESPACE);
        Self::parse(
            &root.text(STATUS)?,
            namespace.map(|link| link == Path::new(FIRST_USER_NAMESPACE)),
        )
    }

    pub(crate) fn parse(status: &str, first_user_namespace: Seen<bool>) -> Seen<Self> {
        let line = |key: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(key))
                .ok_or_else(|| Unseen::garbled(STATUS, format!("it has no line {key}")))
        };
        let garbled = |key: &str, value: &str| {
            Unseen::garbled(
                STATUS,
                format!("{key} {:?} is not understood", value.trim()),
            )
        };
        // Real, effective, saved and filesystem user.
        let uids = line("Uid:")?;
        let uid = uids
            .split_whitespace()
            .nth(1)
            .and_then(|uid| uid.parse().ok())
            .ok_or_else(|| garbled("Uid:", uids))?;
        let caps = line("CapEff:")?;
        let effective =
            u64::from_str_radix(caps.trim(), 16).map_err(|_| garbled("CapEff:", caps))?;
        Ok(Self {
            uid,
            effective,
            first_user_namespace,
        })
    }

    /// Whether a capability is effective.
    pub(crate) fn has(&self, cap: Cap) -> bool {
        self.effective >> (cap as u8) & 1 == 1
    }

    /// Whether it may load tracing programs: CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN, which implies both.
    #[cfg(test)]
    pub(crate) fn may_trace(&self) -> bool {
        self.lack().is_none()
    }

    /// What it lacks to load tracing programs, after "this process".
    pub(crate) fn lack(&self) -> Option<String> {
        if self.first_user_namespace == Ok(false) {
            return Some("is in a user namespace of its own, where its capabilities do not count for the kernel".into());
        }
        if self.has(Cap::SysAdmin) {
            return None;
        }
        let lacking: Vec<&str> = [Cap::Bpf, Cap::Perfmon]
            .into_iter()
            .filter(|&cap| !self.has(cap))
            .map(Cap::name)
            .collect();
        (!lacking.is_empty()).then(|| format!("lacks {}", lacking.join(" and ")))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::super::canned;
    use super::*;

    /// The first user namespace, and another.
    const HOST: &str = "user:[4026531837]";
    const OTHER: &str = "user:[4026532201]";

    fn read(status: &str) -> Seen<Privileges> {
        read_in(HOST, status)
    }

    fn read_in(namespace: &str, status: &str) -> Seen<Privileges> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("proc/self/ns")).unwrap();
        fs::write(dir.path().join("proc/self/status"), status).unwrap();
        symlink(namespace, dir.path().join("proc/self/ns/user")).unwrap();
        Privileges::read(&Root::at(dir.path()))
    }

    #[test]
    fn root_of_the_machine() {
        let root = Privileges::read(&canned("6.1")).unwrap();
        assert_eq!(root.uid, 0);
        assert!(root.may_trace() && root.has(Cap::Bpf));
        assert_eq!(root.first_user_namespace, Ok(true));
    }

    #[test]
    fn each_capability_has_its_own_bit() {
        let caps = [
            (Cap::SysAdmin, 1u64 << 21),
            (Cap::Perfmon, 1 << 38),
            (Cap::Bpf, 1 << 39),
        ];
        for (cap, bits) in caps {
            let one = read(&format!("Uid:\t0\t1000\t0\t0\nCapEff:\t{bits:016x}\n")).unwrap();
            assert_eq!(one.uid, 1000);
            for (other, _) in caps {
                assert_eq!(one.has(other), other == cap, "{}", other.name());
            }
            assert_eq!(one.may_trace(), cap == Cap::SysAdmin);
        }
        let both = read("Uid:\t1\t1\t1\t1\nCapEff:\t000000c000000000\n").unwrap();
        assert!(both.may_trace());
        assert_eq!(both.first_user_namespace, Ok(true));
    }

    #[test]
    fn what_is_lacking_is_named() {
        let lack = |status| read(status).unwrap().lack();
        assert_eq!(
            lack("Uid:\t1\t1\t1\t1\nCapEff:\t0000000000000000\n").unwrap(),
            "lacks CAP_BPF and CAP_PERFMON"
        );
        assert_eq!(
            lack("Uid:\t1\t1\t1\t1\nCapEff:\t0000008000000000\n").unwrap(),
            "lacks CAP_PERFMON"
        );
        let contained = read_in(OTHER, "Uid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\n").unwrap();
        assert!(contained.lack().unwrap().contains("user namespace"));
    }

    #[test]
    fn a_status_without_capabilities_is_not_one_with_none() {
        for status in [
            "",
            "Uid:\t0\t0\t0\t0\n",
            "CapEff:\t0000000000000000\n",
            "Uid:\t0\nCapEff:\t0\n",
            "Uid:\t0\t0\t0\t0\nCapEff:\tnone\n",
        ] {
            assert!(read(status).is_err(), "{status:?}");
        }
    }
}
