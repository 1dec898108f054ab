//! # What more a lesser user would have to be allowed
//!
//! Tracing needs CAP_BPF and CAP_PERFMON; without them it does not begin (`Kernel::may_trace`). What goes on without
//! the others is told here, with the capability that would give it.

use crate::{
    kernel::{Kernel, caps::Cap},
    plan::Missing,
};

/// Says what was kept from this process, and what would let it have it.
pub(crate) fn tell(kernel: &Kernel, missing: &[Missing]) {
    for told in kept(kernel, missing) {
        eprintln!("odio-trace: {told}");
    }
}

fn kept(kernel: &Kernel, missing: &[Missing]) -> Vec<String> {
    let mut told = Vec::new();
    let has = |cap| kernel.privileges.as_ref().is_ok_and(|p| p.has(cap));
    let setting = |name: &str| {
        kernel
            .root()
            .value(format!("/proc/sys/kernel/{name}"))
            .unwrap_or(0)
    };
    let refused = missing.iter().any(|m| m.why.contains("Permission denied"));
    // Level 3 is of Debian and its kin, and asks for CAP_SYS_ADMIN; other kernels take it for 2.
    if refused && !has(Cap::SysAdmin) && setting("perf_event_paranoid") > 2 {
        told.push(
            "kprobes were refused: where kernel.perf_event_paranoid is over 2 they need CAP_SYS_ADMIN, otherwise \
             CAP_PERFMON (`sysctl kernel.perf_event_paranoid=2`)"
                .into(),
        );
    }
    if kernel
        .symbols
        .as_ref()
        .is_ok_and(|symbols| symbols.addresses_hidden)
    {
        let way_out = if setting("kptr_restrict") > 1 {
            "`sysctl kernel.kptr_restrict=1`"
        } else {
            "CAP_SYSLOG"
        };
        told.push(format!(
            "the addresses of kernel functions are hidden, {way_out} shows them: a bio that another task submits for \
             a request may belong to no op"
        ));
    }
    told
}

#[cfg(test)]
mod tests {
    use std::fs;

    use odio_trace_common::Hook;

    use super::*;
    use crate::kernel::Root;

    /// What is told on a kernel with these settings to a process with these capabilities.
    fn told(paranoid: &str, restrict: &str, capabilities: &str, why: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let proc = dir.path().join("proc");
        fs::create_dir_all(proc.join("sys/kernel")).unwrap();
        fs::create_dir_all(proc.join("self")).unwrap();
        fs::write(proc.join("sys/kernel/perf_event_paranoid"), paranoid).unwrap();
        fs::write(proc.join("sys/kernel/kptr_restrict"), restrict).unwrap();
        let hidden = "0000000000000000 T submit_bio\n0000000000000000 T vfs_fsync\n";
        fs::write(proc.join("kallsyms"), hidden).unwrap();
        let status = format!("Uid:\t1\t1\t1\t1\nCapEff:\t{capabilities}\n");
        fs::write(proc.join("self/status"), status).unwrap();
        let kernel = Kernel::survey(&Root::at(dir.path()), &["submit_bio"]);
        let missing = Missing {
            hook: Hook::BioSubmit,
            why: why.into(),
            costs: "",
        };
        kept(&kernel, &[missing])
    }

    #[test]
    fn the_capability_that_lacks_is_named() {
        const PERFMON: &str = "000000c000000000";
        const ADMIN: &str = "0000000000200000";
        const DENIED: &str = "kprobe submit_bio: Permission denied (os error 13)";
        let both = told("3", "0", PERFMON, DENIED);
        assert_eq!(both.len(), 2, "{both:?}");
        assert!(both[0].contains("CAP_SYS_ADMIN"));
        assert!(both[1].contains("CAP_SYSLOG"));
        assert_eq!(told("2", "0", PERFMON, DENIED).len(), 1);
        assert_eq!(told("3", "0", PERFMON, "inlined").len(), 1);
        assert_eq!(told("3", "0", ADMIN, DENIED).len(), 1);
        assert!(told("2", "2", PERFMON, "")[0].contains("kptr_restrict"));
    }
}
