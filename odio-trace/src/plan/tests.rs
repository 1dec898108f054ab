//! Plans for the kernels of `testdata/kernel`.
//!
//! Their symbols are thinned, so some hooks have fewer functions here than on a whole kernel.

use std::{fs, path::Path};

use super::*;
use crate::kernel::{Root, canned};

fn kernel(root: &Root) -> Kernel {
    Kernel::survey(root, &functions().collect::<Vec<_>>())
}

/// With every kind allowed, on a kernel that refuses no fentry.
fn auto(kernel: &Kernel) -> Plan {
    make(kernel, Probes::Auto, Ok(()))
}

fn plan_of(name: &str) -> Plan {
    auto(&kernel(&canned(name)))
}

/// A copy of a canned kernel with something changed.
fn changed(name: &str, change: impl FnOnce(&Path)) -> Kernel {
    let dir = tempfile::tempdir().unwrap();
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(canned(name).path("/").join("proc"))
        .arg(canned(name).path("/").join("sys"))
        .arg(dir.path())
        .status()
        .unwrap();
    assert!(copied.success());
    change(dir.path());
    kernel(&Root::at(dir.path()))
}

fn without_kprobes() -> Kernel {
    changed("6.12", |root| {
        fs::remove_file(root.join("sys/bus/event_source/devices/kprobe/type")).unwrap();
    })
}

/// As though btrfs were loaded.
fn with_symbol(name: &str, symbol: &str) -> Kernel {
    let append = |path: &Path, line: &str| {
        let mut text = fs::read(path).unwrap();
        text.extend(line.as_bytes());
        fs::write(path, text).unwrap();
    };
    changed(name, |root| {
        append(
            &root.join("proc/kallsyms"),
            &format!("ffffffffc0001000 t {symbol}\t[btrfs]\n"),
        );
        append(
            &root.join("sys/kernel/tracing/available_filter_functions"),
            &format!("{symbol} [btrfs]\n"),
        );
    })
}

fn targets(plan: &Plan, hook: Hook) -> Vec<(&str, &str)> {
    plan.probes
        .iter()
        .filter(|p| p.hook == hook)
        .map(|p| (p.program.as_str(), p.target.as_str()))
        .collect()
}

fn missing(plan: &Plan, hook: Hook) -> Option<&str> {
    plan.missing
        .iter()
        .find(|m| m.hook == hook)
        .map(|m| m.why.as_str())
}

#[test]
fn every_kernel_shows_what_a_verdict_needs() {
    for name in ["5.10", "6.1", "6.12", "7.2"] {
        let plan = plan_of(name);
        for (hook, wanted) in [
            (Hook::BioSubmit, "submit_bio"),
            (Hook::DioBegin, "__iomap_dio_rw"),
            (Hook::DioComplete, "iomap_dio_complete"),
            (Hook::BufferedCopy, "generic_perform_write"),
            (Hook::VfsFsync, "vfs_fsync_range"),
            (Hook::FsFsync, "ext4_sync_file"),
            (Hook::CommitWait, "jbd2_log_wait_commit"),
            (Hook::AioComplete, "aio_complete_rw"),
            (Hook::SyscallExit, "sys_exit"),
            (Hook::Fork, "sched_process_fork"),
        ] {
            assert!(
                targets(&plan, hook).iter().any(|(_, at)| *at == wanted),
                "{name}: {}",
                hook.name()
            );
        }
    }
}

#[test]
fn the_punt_is_where_each_kernel_has_it() {
    assert_eq!(
        targets(&plan_of("5.10"), Hook::Punt),
        [("punt", "io_queue_async_work")]
    );
    for name in ["6.1", "6.12", "7.2"] {
        assert_eq!(
            targets(&plan_of(name), Hook::Punt),
            [("punt", "io_queue_iowq")],
            "{name}"
        );
    }
}

#[test]
fn a_copy_with_other_arguments_is_seen_without_its_size() {
    let copy = |symbol| -> Option<(String, String)> {
        let plan = auto(&with_symbol("5.10", symbol));
        targets(&plan, Hook::BufferedCopy)
            .iter()
            .find(|(_, at)| at.starts_with("btrfs"))
            .map(|(program, at)| ((*program).into(), (*at).into()))
    };
    let probe = |program: &str, at: &str| Some((program.to_owned(), at.to_owned()));
    assert_eq!(
        copy("btrfs_buffered_write"),
        probe("buffered_copy", "btrfs_buffered_write")
    );
    assert_eq!(
        copy("btrfs_buffered_write.isra.0"),
        probe("buffered_copy_unsized", "btrfs_buffered_write.isra.0")
    );
    // Only a part of the function, on the way that is seldom taken.
    assert_eq!(copy("btrfs_buffered_write.isra.0.cold"), None);
}

#[test]
fn an_inlined_function_is_missing_with_its_reason() {
    for name in ["5.10", "6.1", "6.12", "7.2"] {
        let plan = plan_of(name);
        assert_eq!(
            missing(&plan, Hook::DioAwait),
            Some(
                "dio_await_completion: there is no such symbol (inlined, renamed, or its module is not loaded)"
            ),
            "{name}"
        );
        assert!(targets(&plan, Hook::DioAwait).is_empty());
    }
}

#[test]
fn the_end_of_a_uring_request_is_read_as_each_kernel_writes_it() {
    let program = |name| {
        let plan = plan_of(name);
        targets(&plan, Hook::UringComplete)
            .first()
            .map(|(program, _)| (*program).to_owned())
            .ok_or_else(|| missing(&plan, Hook::UringComplete).unwrap().to_owned())
    };
    let argument_lists = ["6.1", "6.12", "7.2"].map(|name| {
        kernel(&canned(name))
            .tracepoint_arguments("io_uring_complete")
            .map(|a| a.len())
    });
    for (name, arguments) in ["6.1", "6.12", "7.2"].into_iter().zip(argument_lists) {
        match arguments {
            None => assert_eq!(
                program(name).unwrap_err(),
                "this kernel has no tracepoint io_uring_complete"
            ),
            Some(3) => assert_eq!(program(name).unwrap(), "uring_complete_cqe", "{name}"),
            Some(_) => assert_eq!(program(name).unwrap(), "uring_complete_res", "{name}"),
        }
    }
}

#[test]
fn functions_show_the_end_of_a_uring_request_where_the_tracepoint_does_not_name_it() {
    let seen = kernel(&canned("5.10"));
    // Its context, user data, result and flags.
    assert_eq!(
        seen.tracepoint_arguments("io_uring_complete")
            .map(|a| a.len()),
        Some(4)
    );
    let plan = auto(&seen);
    assert_eq!(missing(&plan, Hook::UringComplete), None);
    assert_eq!(
        kinds(&plan, Hook::UringComplete),
        [
            (Kind::Fentry, "io_req_complete_post"),
            (Kind::Fentry, "__io_free_req"),
            (Kind::Fentry, "io_req_free_batch"),
        ]
    );
    let by_kprobe = make(&seen, Probes::Kprobe, Ok(()));
    assert_eq!(
        targets(&by_kprobe, Hook::UringComplete),
        [
            ("uring_posted", "io_req_complete_post"),
            ("uring_freed", "__io_free_req"),
            ("uring_freed_of_batch", "io_req_free_batch"),
        ]
    );
    let by_tracepoint = make(&seen, Probes::Tracepoint, Ok(()));
    let why = missing(&by_tracepoint, Hook::UringComplete).unwrap();
    assert!(why.contains("does not name the request here"), "{why}");
}

#[test]
fn a_part_of_the_ends_of_uring_requests_is_not_taken_for_all() {
    let partly = changed("5.10", |root| {
        let path = root.join("proc/kallsyms");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("io_req_free_batch", "io_other")).unwrap();
    });
    let plan = auto(&partly);
    assert!(targets(&plan, Hook::UringComplete).is_empty());
    let why = missing(&plan, Hook::UringComplete).unwrap();
    assert!(
        why.contains("io_req_free_batch: there is no such symbol"),
        "{why}"
    );
}

#[test]
fn returns_have_a_kretprobe_to_fall_back_on() {
    for name in ["5.10", "6.1", "6.12", "7.2"] {
        let plan = plan_of(name);
        let returns: Vec<_> = plan
            .probes
            .iter()
            .filter(|p| p.hook == Hook::OpReturn)
            .collect();
        assert!(
            returns.iter().any(|p| p.target == "ext4_file_write_iter"),
            "{name}"
        );
        for probe in returns {
            match (probe.kind, probe.instead.as_deref()) {
                (Kind::Fexit, Some(instead)) => {
                    assert_eq!(probe.program, format!("ret_{}", probe.target));
                    assert_eq!(
                        (instead.kind, &instead.target),
                        (Kind::Kretprobe, &probe.target)
                    );
                }
                (Kind::Kretprobe, None) => assert_eq!(probe.program, "op_return"),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}

#[test]
fn without_kprobes_tracepoints_stand_in() {
    let kernel = without_kprobes();
    let plan = make(&kernel, Probes::Auto, Err("fentry is refused"));
    assert!(plan.probes.iter().all(|p| p.kind == Kind::RawTracepoint));
    assert_eq!(
        kinds(&plan, Hook::FuaIssue),
        [(Kind::RawTracepoint, "block_rq_issue")]
    );
    assert_eq!(
        targets(&plan, Hook::BioSubmit),
        [("tp_bio_queue", "block_bio_queue")]
    );
    let hidden: Vec<Hook> = plan.missing.iter().map(|m| m.hook).collect();
    for hook in [
        Hook::WriteBegin,
        Hook::BufferedCopy,
        Hook::CommitWait,
        Hook::Punt,
    ] {
        assert!(hidden.contains(&hook), "{}", hook.name());
    }
    let why = missing(&plan, Hook::CommitWait).unwrap();
    assert!(
        why.contains("has no kprobes") && why.contains("kprobe/type does not exist"),
        "{why}"
    );
    // One reason for all of them, so that it can be told once.
    let mut reasons: Vec<&str> = plan
        .missing
        .iter()
        .filter(|m| m.hook != Hook::UringComplete)
        .map(|m| m.why.as_str())
        .collect();
    reasons.dedup();
    assert_eq!(reasons.len(), 1);
}

/// Kind and target of the probes of a hook.
fn kinds(plan: &Plan, hook: Hook) -> Vec<(Kind, &str)> {
    plan.probes
        .iter()
        .filter(|p| p.hook == hook)
        .map(|p| (p.kind, p.target.as_str()))
        .collect()
}

#[test]
fn the_cheapest_probe_is_taken_and_another_stands_in() {
    for name in ["5.10", "6.1", "6.12", "7.2"] {
        let plan = plan_of(name);
        let submit = plan
            .probes
            .iter()
            .find(|p| p.hook == Hook::BioSubmit)
            .unwrap();
        assert_eq!(
            (submit.kind, submit.program.as_str()),
            (Kind::Fentry, "submit_bio"),
            "{name}"
        );
        let instead = submit.instead.as_deref().unwrap();
        assert_eq!(
            (instead.kind, instead.program.as_str()),
            (Kind::Kprobe, "bio_submit")
        );
    }
    // A module's function is not among the types that were read.
    let plan = auto(&with_symbol("6.1", "btrfs_sync_file"));
    assert!(kinds(&plan, Hook::FsFsync).contains(&(Kind::Kprobe, "btrfs_sync_file")));
}

#[test]
fn a_request_is_found_where_each_kernel_has_it_in_the_tracepoint() {
    for name in ["5.10", "6.1", "6.12", "7.2"] {
        let kernel = kernel(&canned(name));
        let probe = |probes| {
            let plan = make(&kernel, probes, Ok(()));
            let mut of = plan.probes.into_iter().filter(|p| p.hook == Hook::FuaIssue);
            (of.next().expect("a probe"), of.next())
        };
        let program = "rq_issue";
        let (typed, other) = probe(Probes::Auto);
        assert_eq!((typed.kind, other), (Kind::BtfTracepoint, None), "{name}");
        assert_eq!(typed.program, format!("typed_{program}"), "{name}");
        let instead = typed.instead.as_deref().unwrap();
        assert_eq!(
            (instead.kind, instead.program.as_str()),
            (Kind::RawTracepoint, program)
        );
        for probes in [Probes::Kprobe, Probes::Tracepoint] {
            assert_eq!(&probe(probes).0, instead, "{name}");
        }
    }
    let program = |arguments: &[&str]| {
        takes_request(&arguments.iter().map(|of| (*of).into()).collect::<Vec<_>>())
    };
    assert_eq!(program(&["struct request *"]), Some("rq_issue"));
    assert_eq!(
        program(&["struct request_queue *", "struct request *"]),
        Some("rq_issue_of_queue")
    );
    assert_eq!(program(&["struct bio *"]), None);
    // Nothing is known of a kernel that shows no types.
    let nothing = changed("6.1", |root| {
        fs::remove_file(root.join("sys/kernel/btf/vmlinux")).unwrap();
    });
    let why = "this kernel has no tracepoint block_rq_issue";
    assert_eq!(missing(&auto(&nothing), Hook::FuaIssue), Some(why));
}

#[test]
fn one_kind_of_probe_can_be_forced() {
    let kernel = with_symbol("6.1", "btrfs_sync_file");
    let of = |probes| make(&kernel, probes, Ok(()));

    let kprobes = of(Probes::Kprobe);
    assert!(
        kprobes
            .probes
            .iter()
            .all(|p| matches!(p.kind, Kind::Kprobe | Kind::Kretprobe | Kind::RawTracepoint))
    );
    assert_eq!(missing(&kprobes, Hook::FsFsync), None);

    let fentries = of(Probes::Fentry);
    assert!(fentries.probes.iter().all(|p| match &p.instead {
        None => matches!(p.kind, Kind::Fentry | Kind::Fexit | Kind::RawTracepoint),
        Some(instead) => (p.kind, instead.kind) == (Kind::BtfTracepoint, Kind::RawTracepoint),
    }));
    let why = missing(&fentries, Hook::FsFsync).unwrap();
    assert!(
        why.contains("btrfs_sync_file") && why.contains("fentry needs its types"),
        "{why}"
    );
    assert_eq!(missing(&fentries, Hook::BioSubmit), None);

    let tracepoints = of(Probes::Tracepoint);
    assert!(
        tracepoints
            .probes
            .iter()
            .all(|p| p.kind == Kind::RawTracepoint)
    );
    assert_eq!(
        missing(&tracepoints, Hook::WriteBegin),
        Some("only tracepoints may be used, and no tracepoint shows it")
    );
}

#[test]
fn fentry_is_taken_where_there_are_no_kprobes() {
    let kernel = without_kprobes();
    let plan = auto(&kernel);
    assert_eq!(
        kinds(&plan, Hook::BioSubmit),
        [(Kind::Fentry, "submit_bio")]
    );
    let at_functions = |p: &&Probe| p.kind != Kind::BtfTracepoint;
    assert!(
        plan.probes
            .iter()
            .filter(at_functions)
            .all(|p| p.instead.is_none())
    );
    // Forced, and refused: nothing stands in.
    let refused = make(&kernel, Probes::Fentry, Err("fentry is refused"));
    let why = "no kprobe may be used, fentry is refused";
    assert_eq!(missing(&refused, Hook::BioSubmit), Some(why));
    assert_eq!(missing(&refused, Hook::OpReturn), Some(why));
}

#[test]
fn every_hook_is_either_probed_or_missing() {
    let kernel = without_kprobes();
    let plans = ["5.10", "6.1", "6.12", "7.2"].map(plan_of);
    for plan in plans
        .iter()
        .chain([&make(&kernel, Probes::Auto, Err("fentry is refused"))])
    {
        for &hook in Hook::ALL {
            let probed = !targets(plan, hook).is_empty();
            // Of a filesystem that is not there nothing is missing.
            if !probed && of_filesystem(hook).is_some_and(|entry| !has(plan, entry)) {
                continue;
            }
            assert_ne!(probed, missing(plan, hook).is_some(), "{}", hook.name());
        }
    }
}

fn has(plan: &Plan, function: &str) -> bool {
    plan.probes.iter().any(|p| p.target == function)
}

#[test]
fn a_filesystems_own_hooks_are_missing_only_where_it_is_there() {
    let without = plan_of("6.1");
    assert_eq!(missing(&without, Hook::Checksum), None);
    let with = auto(&with_symbol("6.1", "btrfs_sync_file"));
    assert!(missing(&with, Hook::Checksum).is_some());
    let whole = auto(&with_symbol("6.1", "btrfs_csum_one_bio"));
    assert_eq!(
        targets(&whole, Hook::Checksum),
        [("checksum", "btrfs_csum_one_bio")]
    );
}

#[test]
fn a_hook_that_failed_in_part_is_not_watched() {
    let plan = plan_of("6.1");
    let all = Watched::of(&plan.probes, &[]);
    assert!(all.has(Hook::FsFsync) && all.has(Hook::BioSubmit));
    let failed = Missing {
        hook: Hook::FsFsync,
        why: "kprobe xfs_file_fsync: refused".into(),
        costs: costs(Hook::FsFsync),
    };
    let rest = Watched::of(&plan.probes, &[failed]);
    assert!(!rest.has(Hook::FsFsync) && rest.has(Hook::BioSubmit));
    assert!(!Watched::of(&[], &[]).has(Hook::BioSubmit));
}

#[test]
fn tmpfs_is_watched_and_its_reads_are_copies() {
    let plan = auto(&with_symbol("6.12", "shmem_file_read_iter"));
    assert!(
        targets(&plan, Hook::ReadBegin).contains(&("read_begin_cached", "shmem_file_read_iter"))
    );
    let returns = kinds(&plan, Hook::OpReturn);
    assert!(returns.contains(&(Kind::Kretprobe, "shmem_file_read_iter")));
    let plan = auto(&with_symbol("6.12", "shmem_file_write_iter"));
    assert!(targets(&plan, Hook::WriteBegin).contains(&("write_begin", "shmem_file_write_iter")));
}

#[test]
fn ext2_of_its_own_is_watched() {
    for (symbol, hook) in [
        ("ext2_file_write_iter", Hook::WriteBegin),
        ("ext2_file_read_iter", Hook::ReadBegin),
        ("ext2_fsync", Hook::FsFsync),
    ] {
        let plan = auto(&with_symbol("6.1", symbol));
        assert!(targets(&plan, hook).iter().any(|(_, at)| *at == symbol));
    }
}
