//! # What this process may do
//!
//! Its effective capabilities and the settings that go with them. Capabilities count in the user namespace they were
//! given in: root of a container may hold all of them and still not be let near the kernel, so that is read too.

use std::path::Path;

use super::root::{Root, Seen, Unseen};

const STATUS: &str = "/proc/self/status";
const BPF_DISABLED: &str = "/proc/sys/kernel/unprivileged_bpf_disabled";
const PERF_PARANOID: &str = "/proc/sys/kernel/perf_event_paranoid";
const USER_NAMESPACE: &str = "/proc/self/ns/user";

/// The inode number that the kernel fixes for its first user namespace (`PROC_USER_INIT_INO`).
const FIRST_USER_NAMESPACE: &str = "user:[4026531837]";

/// A capability that tracing can need, with its number in `linux/capability.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Cap {
    /// Read files whatever their permissions: tracefs is for root only.
    DacOverride = 1,
    DacReadSearch = 2,
    /// Kernel addresses in `/proc/kallsyms`.
    SysLog = 34,
    /// Read another process's memory and file table.
    SysPtrace = 19,
    /// Before 5.8, all of BPF and perf.
    SysAdmin = 21,
    /// Before 5.11, the memory limit that BPF maps count against.
    SysResource = 24,
    /// perf_event_open for the kernel, and BPF programs that trace.
    Perfmon = 38,
    /// Load programs and make maps.
    Bpf = 39,
}

impl Cap {
    /// As capabilities(7) spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::DacOverride => "CAP_DAC_OVERRIDE",
            Self::DacReadSearch => "CAP_DAC_READ_SEARCH",
            Self::SysLog => "CAP_SYSLOG",
            Self::SysPtrace => "CAP_SYS_PTRACE",
            Self::SysAdmin => "CAP_SYS_ADMIN",
            Self::SysResource => "CAP_SYS_RESOURCE",
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
    /// 0: anyone may load some programs; 1 and 2: only with CAP_BPF (1 until the next boot).
    pub(crate) unprivileged_bpf_disabled: Seen<u32>,
    /// How much of perf_event_open is closed to those without CAP_PERFMON; -1 is all open, 2 closes kernel
    /// events, and Debian's 3 closes all.
    pub(crate) perf_event_paranoid: Seen<i32>,
}

impl Privileges {
    pub(crate) fn read(root: &Root) -> Seen<Self> {
        let status = root.text(STATUS)?;
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
            first_user_namespace: root
                .link(USER_NAMESPACE)
                .map(|link| link == Path::new(FIRST_USER_NAMESPACE)),
            unprivileged_bpf_disabled: root.value(BPF_DISABLED),
            perf_event_paranoid: root.value(PERF_PARANOID),
        })
    }

    /// Whether a capability is effective.
    pub(crate) fn has(&self, cap: Cap) -> bool {
        self.effective >> (cap as u8) & 1 == 1
    }

    /// Whether it may load tracing programs: CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN, which implies both.
    pub(crate) fn may_trace(&self) -> bool {
        self.has(Cap::SysAdmin) || self.has(Cap::Bpf) && self.has(Cap::Perfmon)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::super::canned;
    use super::*;

    fn read(status: &str) -> Seen<Privileges> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("proc/self/ns")).unwrap();
        fs::write(dir.path().join("proc/self/status"), status).unwrap();
        symlink("user:[4026532201]", dir.path().join("proc/self/ns/user")).unwrap();
        Privileges::read(&Root::at(dir.path()))
    }

    #[test]
    fn root_of_the_machine() {
        let root = Privileges::read(&canned("6.1")).unwrap();
        assert_eq!(root.uid, 0);
        assert!(root.may_trace() && root.has(Cap::SysResource));
        assert_eq!(root.first_user_namespace, Ok(true));
        assert_eq!(root.unprivileged_bpf_disabled, Ok(2));
        assert_eq!(root.perf_event_paranoid, Ok(3));
    }

    #[test]
    fn each_capability_has_its_own_bit() {
        let caps = [
            (Cap::DacOverride, 1 << 1),
            (Cap::DacReadSearch, 1 << 2),
            (Cap::SysPtrace, 1 << 19),
            (Cap::SysAdmin, 1 << 21),
            (Cap::SysResource, 1 << 24),
            (Cap::SysLog, 1u64 << 34),
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
        assert_eq!(both.first_user_namespace, Ok(false));
        assert!(both.perf_event_paranoid.is_err());
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
