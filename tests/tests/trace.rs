//! # `odio-trace run`: how it ends, what it passes on, and what it leaves behind

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    process::{Command, Output},
};

use odio_tests::vm::{Run, odio_trace};
use serde_json::Value;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The lines of `--json`.
fn lines(output: &Output) -> Vec<Value> {
    text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect()
}

#[test]
fn a_reader_that_has_enough_is_told_nothing() {
    for arguments in [&["doctor"][..], &["doctor", "--json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(odio_trace())
            .args(arguments)
            .stdout(writer)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(128 + 13), "{arguments:?}");
        assert_eq!(text(&output.stderr), "", "{arguments:?}");
    }
}

#[test]
fn it_ends_as_its_workload_does_and_leaves_no_probe() {
    let output = Run::new(
        &[
            "--timeout",
            "900",
            "--add",
            "/usr/bin/dd",
            "--add",
            "/usr/bin/setpriv",
        ],
        &[
            "sh",
            "-c",
            concat!(
                include_str!("../guest/facts.sh"),
                include_str!("../guest/trace.sh")
            ),
        ],
    )
    .output();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let printed = text(&output.stdout);
    let facts: BTreeMap<&str, &str> = printed
        .lines()
        .map(|line| line.split_once(": ").expect("NAME: VALUE"))
        .collect();
    let number = |name: &str| -> u64 {
        facts[name]
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("{name}: {}", facts[name]))
    };

    // What the command did is passed on, as a shell says it.
    assert_eq!(number("exit-status"), 7, "{said}");
    assert_eq!(number("signal-status"), 128 + 15, "{said}");
    assert_eq!(number("missing-status"), 127);
    assert!(
        facts["missing-message"].contains("no-such-command"),
        "{}",
        facts["missing-message"]
    );

    // Without root nothing runs, and the message says what is missing and how to grant it.
    assert_eq!(number("denied-status"), 4);
    for word in ["CAP_BPF", "CAP_PERFMON", "sudo"] {
        let message = facts["denied-message"];
        assert!(message.contains(word), "no {word} in: {message}");
    }
    assert_eq!(number("denied-printed"), 0);
    assert_eq!(facts["denied-ran"], "");

    // Ctrl-C goes to the workload too. The kernel lists what is attached: much before, nothing after.
    assert_eq!(number("before"), 0, "{printed}");
    assert_eq!(number("interrupted-status"), 128 + 2, "{said}");
    let summary: Value = serde_json::from_str(facts["interrupted-last"]).expect("a summary");
    assert_eq!(summary["type"], "summary");
    assert_eq!(summary["lost"], 0);
    assert_eq!(summary["ops"], number("interrupted-ops"));
    assert!(number("interrupted-ops") > 0);
    assert_eq!(number("killed-status"), 128 + 9);
    for how in ["interrupted", "killed"] {
        assert!(number(&format!("{how}-attached")) > 10, "{printed}");
        assert_eq!(number(&format!("{how}-left")), 0, "{printed}");
    }
}

/// On whatever kernel the tests run on: what it can show must be right, and what it cannot must be said.
#[test]
fn the_running_kernel_shows_direct_writes_or_says_why_not() {
    let owner = fs::metadata("/proc/self").expect("/proc").uid();
    if owner != 0 {
        odio_tests::skip(&format!(
            "tracing this machine's kernel needs root, this is user {owner}"
        ));
        return;
    }
    let dir = odio_tests::scratch();
    let file = dir.path().join("f");
    let output = Command::new(odio_trace())
        .args(["run", "--json", "--", "dd", "if=/dev/zero", "bs=4k"])
        .args(["count=23", "oflag=direct"])
        .arg(format!("of={}", file.display()))
        .output()
        .expect("odio-trace starts");
    let said = text(&output.stderr);
    if output.status.code() == Some(4) {
        // It may be that nothing can be traced here; then the reason is given, and the command was not run.
        assert!(said.starts_with("odio-trace: "), "{said}");
        assert!(output.stdout.is_empty() && !file.exists(), "{said}");
        odio_tests::skip(&said);
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{said}");
    let mut ops = lines(&output);
    let summary = ops.pop().expect("a summary");
    for nothing in ["lost", "missed", "unattributed", "open"] {
        assert_eq!(summary[nothing], 0, "{summary}");
    }
    let inode = fs::metadata(&file).expect("dd wrote it").ino();
    let writes: Vec<&Value> = ops
        .iter()
        .filter(|op| op["op"] == "write" && op["ino"] == inode)
        .collect();
    let missing: Vec<&str> = summary["missing"]
        .as_array()
        .expect("what is missing")
        .iter()
        .filter_map(|hook| hook["hook"].as_str())
        .collect();
    if missing.contains(&"dio-begin") {
        odio_tests::skip(&format!("direct I/O is not seen on this kernel: {summary}"));
        return;
    }
    assert_eq!(writes.len(), 23, "{summary}");
    for (i, op) in writes.iter().enumerate() {
        assert_eq!(op["cache"], "direct", "{op}");
        assert_eq!(op["offset"], i as u64 * 4096, "{op}");
        assert_eq!(op["result"], 4096, "{op}");
        assert_eq!(op["bio_bytes"], 4096, "{op}");
    }
    let without_kprobes = summary["probes"]
        .as_array()
        .expect("the probes")
        .iter()
        .all(|probe| probe["kind"] == "raw-tracepoint");
    if without_kprobes {
        for hook in ["vfs-fsync", "commit-wait", "dio-deferred"] {
            assert!(missing.contains(&hook), "{hook} is not said to be missing");
        }
    }
    let silent = summary["missing"].as_array().expect("what is missing");
    for hook in silent {
        assert_ne!(hook["why"], "", "{hook}");
        assert_ne!(hook["costs"], "", "{hook}");
    }
}

/// Which processes are traced, what of them is shown, what files are called, and what the command is given.
#[test]
fn the_scope_is_what_was_asked_for_and_nothing_is_passed_on() {
    let room = odio_tests::scratch();
    let ids = room.path().join("bpf_ids");
    let source = odio_tests::root().join("tests/c/bpf_ids.c");
    let built = Command::new("cc")
        .args(odio_tests::STRICT)
        .args(["-static", "-O2", "-o"])
        .args([&ids, &source])
        .status();
    assert!(built.expect("cc").success());
    let ids = ids.to_str().expect("UTF-8");
    let mut options = vec!["--timeout", "1800"];
    for carried in ["/usr/bin/dd", "/usr/bin/setpriv", "/usr/bin/env", ids] {
        options.extend(["--add", carried]);
    }
    let script = concat!(
        include_str!("../guest/facts.sh"),
        include_str!("../guest/scope.sh")
    );
    let output = Run::new(&options, &["sh", "-c", script, "scope.sh", ids]).output();
    let (printed, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}\n{printed}");
    let facts: BTreeMap<&str, &str> = printed
        .lines()
        .map(|line| line.split_once(": ").expect("NAME: VALUE"))
        .collect();
    let fact = |name: &str| {
        *facts
            .get(name)
            .unwrap_or_else(|| panic!("no {name}: {printed}"))
    };
    let equal = |wanted: &[(&str, &str)]| {
        for (name, value) in wanted {
            assert_eq!(fact(name).trim(), *value, "{name} of\n{printed}\n{said}");
        }
    };

    // Each kind of scope, without a bystander's requests and without a loss.
    for name in ["pid", "comm", "cgroup", "duration"] {
        for (what, value) in [
            ("status", "0"),
            ("lost", "0"),
            ("missed", "0"),
            ("open", "0"),
        ] {
            equal(&[(&format!("{name}-{what}"), value)]);
        }
    }
    equal(&[
        ("pid-writes", "18"),
        ("pid-syncs", "2"),
        ("pid-bystander", "0"),
        ("comm-before", "3"),
        ("comm-exec", "13"),
        ("comm-taking", "1"),
        ("comm-bystander", "0"),
        ("cgroup-in", "17"),
        ("cgroup-below", "17"),
        ("cgroup-outside", "0"),
        ("duration-ops", "0"),
        ("none-status", "4"),
        (
            "none-message",
            "odio-trace: there is no process 99999 that this user can see: No such file or directory (os error 2)",
        ),
    ]);
    // What was in the middle of a request when the tracing began.
    equal(&[
        ("late-status", "0"),
        ("late-lost", "0"),
        ("late-syncs", "0"),
    ]);
    assert_ne!(fact("late-writes"), "0", "{printed}");

    // What a filter leaves out is counted, and what it shows is all that there is.
    for name in ["all", "file", "latency", "node"] {
        assert_eq!(fact(&format!("{name}-ops")), fact(&format!("{name}-lines")));
        equal(&[(&format!("{name}-lost"), "0")]);
    }
    equal(&[
        ("all-filtered", "0"),
        ("file-ops", "6"),
        ("latency-ops", "0"),
        ("node-ops", "2"),
    ]);
    for name in ["file", "latency", "node"] {
        assert_ne!(fact(&format!("{name}-filtered")), "0");
    }

    // Names.
    equal(&[
        ("names-status", "0"),
        ("name /opt/seen/bound", "1"),
        ("name /jailed", "1"),
        ("name /mnt/gone", "1"),
        ("name /mnt/first", "1"),
        ("name /mnt/second", "1"),
        ("name /mnt/linked", "2"),
        ("names-deleted", r#""file":"/mnt/gone""#),
        (
            "names-odd",
            "\"file\":\"/mnt/odd-\u{fffd}\\u001b[1m\",\"file_bytes\":\"2f6d6e742f6f64642dff1b5b316d\"",
        ),
        ("names-escapes", "0"),
    ]);

    // The command of a sudo user, of root, and of one whose caller blocks SIGUSR1.
    const NONE: &str = "CapInh: 0000000000000000 CapPrm: 0000000000000000 CapEff: 0000000000000000 \
                        CapAmb: 0000000000000000";
    let sudo = fact("sudo");
    assert!(sudo.starts_with("1000 1000 1000 2000 "), "{sudo}");
    assert!(
        sudo.contains(NONE) && sudo.contains("SigBlk: 0000000000000000"),
        "{sudo}"
    );
    assert!(sudo.trim_end().ends_with(" 0 1 2"), "{sudo}");
    assert!(fact("root").starts_with("0 0 0 "), "{}", fact("root"));
    assert!(
        !fact("root").contains("CapEff: 0000000000000000"),
        "{}",
        fact("root")
    );
    assert!(
        fact("mask").contains("SigBlk: 0000000000000200"),
        "{}",
        fact("mask")
    );

    // Least privilege: nothing is missing with it, nothing of it goes on to the command, and what lacks is named.
    for name in ["enough", "no-syslog"] {
        equal(&[
            (&format!("{name}-status"), "0"),
            (&format!("{name}-writes"), "3"),
            (&format!("{name}-given"), "CapAmb:0000000000000000"),
            (&format!("{name}-missing"), r#""hook":"dio-await","why""#),
        ]);
    }
    equal(&[("enough-message", ""), ("no-perfmon-status", "4")]);
    for (name, words) in [
        ("no-syslog", &["CAP_SYSLOG"][..]),
        ("no-perfmon", &["lacks CAP_PERFMON"]),
        ("paranoid", &["CAP_SYS_ADMIN", "perf_event_paranoid"]),
    ] {
        for word in words {
            let message = fact(&format!("{name}-message"));
            assert!(message.contains(word), "no {word} in: {message}");
        }
    }

    // A tracer that was killed leaves nothing in the kernel.
    let attached: Vec<u32> = fact("bpf-attached")
        .split(' ')
        .map(|n| n.parse().unwrap())
        .collect();
    assert!(attached.iter().all(|&n| n > 5), "{attached:?}");
    assert_eq!(fact("bpf-left"), fact("bpf-before"));
}

/// The steps of a write are told in order, all of them, and say what its own line counts.
#[test]
fn steps_are_in_order_and_as_many_as_the_op_counts() {
    let output = Run::new(
        &["--timeout", "900", "--add", "/usr/bin/dd"],
        &["sh", "-c", include_str!("../guest/steps.sh")],
    )
    .output();
    let (printed, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}\n{printed}");
    let (json, report) = printed.split_once("### report\n").expect("a report");
    let mut lines: Vec<Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    let summary = lines.pop().expect("a summary");
    assert_eq!(summary["losses"], serde_json::json!({}), "{said}");

    let mut ops = 0;
    let mut told = 0;
    let mut rest = &lines[..];
    while let Some((op, after)) = rest.split_first() {
        if op["type"] == "writeback" {
            break;
        }
        let n = op["steps"].as_u64().expect("a number of steps") as usize;
        let (steps, after) = after.split_at(n);
        rest = after;
        ops += 1;
        told += n;
        steps_of(op, steps);
    }
    // Three of each engine and situation.
    assert_eq!(ops, 18, "{printed}");
    for file in ["psync", "libaio", "io_uring"].map(|e| format!("/mnt/steps.{e}.")) {
        for (situation, synced) in [("overwrite", false), ("append", true)] {
            let file = format!("{file}{situation}");
            let of: Vec<&Value> = lines.iter().filter(|op| op["file"] == *file).collect();
            assert_eq!(of.len(), 3, "{file}: {printed}");
            for op in of {
                assert_eq!(op["fsyncs"] != 0, synced, "{op}");
                assert_eq!(op["durability"], "durable", "{op}");
            }
        }
    }
    let shown = |begin: &str| report.lines().filter(|l| l.starts_with(begin)).count();
    assert_eq!((shown("#"), shown("    +")), (ops, told), "{report}");
}

/// One op with the lines of its steps.
fn steps_of(op: &Value, steps: &[Value]) {
    let all = || {
        let lines: Vec<String> = steps.iter().map(Value::to_string).collect();
        format!("{op}\n{}", lines.join("\n"))
    };
    assert_eq!(op["type"], "op", "{}", all());
    assert_eq!(op["steps_lost"], 0, "{}", all());
    let hooks: Vec<&str> = steps
        .iter()
        .map(|step| step["hook"].as_str().expect("a hook"))
        .collect();
    let number = |of: &Value| of.as_u64().unwrap_or_else(|| panic!("{of}"));
    let count = |hook: &str| hooks.iter().filter(|h| **h == hook).count() as u64;
    let first = |hook: &str| hooks.iter().position(|h| *h == hook);
    let last = |hook: &str| hooks.iter().rposition(|h| *h == hook);

    let mut before = 0;
    for step in steps {
        assert_eq!((&step["type"], &step["op_id"]), (&"step".into(), &op["id"]));
        assert!(number(&step["ns"]) >= before, "{}", all());
        before = number(&step["ns"]);
        let calls = step["stack"].as_array().expect("a stack");
        assert!(!calls.is_empty(), "{}", all());
        for call in calls {
            let call = call.as_str().expect("a call");
            assert!(call == "?" || call.contains("+0x"), "{call}");
            assert!(!call.contains("ffff"), "{call}");
        }
    }

    // What came after what.
    let acknowledged = match op["engine"].as_str() {
        Some("psync") => "syscall-exit",
        Some("libaio") => "aio-complete",
        _ => "uring-complete",
    };
    assert_eq!(count(acknowledged), 1, "{}", all());
    let (begun, bio) = (first("dio-begin"), first("bio-submit"));
    let (ended, acknowledged) = (last("dio-complete"), first(acknowledged));
    assert!(begun.is_some() && begun < bio, "{}", all());
    assert!(last("bio-submit") < ended, "{}", all());
    assert!(ended < acknowledged, "{}", all());
    if count("fs-fsync") > 0 {
        assert!(ended < first("vfs-fsync"), "{}", all());
        assert!(first("vfs-fsync") < first("fs-fsync"), "{}", all());
        assert!(last("fs-fsync") < acknowledged, "{}", all());
    }
    if count("commit-wait") > 0 {
        assert!(first("fs-fsync") < first("commit-wait"), "{}", all());
        assert!(last("commit-wait") < acknowledged, "{}", all());
    }

    // How many of each.
    let bios: Vec<&Value> = steps
        .iter()
        .map(|s| &s["bio"])
        .filter(|b| !b.is_null())
        .collect();
    assert_eq!(bios.len() as u64, count("bio-submit"), "{}", all());
    let counted = |as_what: &'static str| bios.iter().filter(move |b| b["counts_as"] == as_what);
    let data: u64 = counted("data").map(|bio| number(&bio["bytes"])).sum();
    let fua = counted("data").filter(|bio| bio["fua"] == true).count();
    for (field, seen) in [
        ("bios", counted("data").count() as u64),
        ("bio_bytes", data),
        ("fua", fua as u64),
        ("fua_issued", count("fua-issue")),
        ("flushes", counted("flush").count() as u64),
        ("vfs_fsyncs", count("vfs-fsync")),
        ("fsyncs", count("vfs-fsync").max(count("fs-fsync"))),
        ("commits", count("commit-wait")),
    ] {
        assert_eq!(op[field], seen, "{field} of {}", all());
    }
    assert_eq!(op["punted"], count("punt") > 0, "{}", all());

    // Where it came from.
    for step in steps {
        match step["hook"].as_str() {
            Some("write-begin") => assert_eq!(step["function"], "ext4_file_write_iter"),
            Some("bio-submit") => {
                let calls = step["stack"].as_array().expect("a stack");
                let through = |begin: &str| {
                    let is = |call: &Value| call.as_str().is_some_and(|c| c.starts_with(begin));
                    calls.iter().any(is)
                };
                assert!(through("submit_bio+") && through("ext4_"), "{step}");
            }
            _ => {}
        }
    }
}

/// The kernel gives the file that is opened next the place of the last one (file_free, 6.12; after a grace period on 6.1).
#[test]
fn a_file_has_the_name_of_the_mount_it_was_opened_through() {
    let script = "
        mkdir -p sub /opt/left /opt/right
        mount --bind sub /opt/left
        mount --bind sub /opt/right
        odio-trace run --json -- sh -c '
            for i in $(seq 61); do echo x >/opt/left/f; echo x >/opt/right/f; done'";
    for kernel in ["6.1", "6.12"] {
        let output = Run::new(&["--kernel", kernel], &["sh", "-c", script]).output();
        let (printed, said) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{said}");
        for side in ["left", "right"] {
            let name = format!("\"file\":\"/opt/{side}/f\"");
            let ops = printed
                .lines()
                .filter(|line| line.starts_with(r#"{"type":"op""#) && line.contains(&name));
            assert_eq!(ops.count(), 61, "{kernel}: {side}\n{said}");
        }
    }
}

/// A worker lets the bios of a cgroup through that is held to some a second (blk_throtl_dispatch_work_fn).
#[test]
fn throttled_bios_belong_to_the_op_that_sent_them() {
    let script = r#"
        echo +io >/sys/fs/cgroup/cgroup.subtree_control
        mkdir /sys/fs/cgroup/slow
        dd if=/dev/zero of=f bs=4k count=31 conv=fsync 2>/dev/null
        echo "$(cat /sys/class/block/${ODIO_VM_DISK##*/}/dev) wiops=50" >/sys/fs/cgroup/slow/io.max || exit
        echo $$ >/sys/fs/cgroup/slow/cgroup.procs
        odio-trace run --json --probes "$1" --file '*/f' -- \
            dd if=/dev/zero of=f bs=4k count=31 conv=notrunc oflag=direct,dsync"#;
    for (kernel, probes) in [("6.1", "kprobe"), ("6.12", "auto"), ("6.12", "tracepoint")] {
        let options = ["--kernel", kernel, "--add", "/usr/bin/dd"];
        let output = Run::new(&options, &["sh", "-c", script, "sh", probes]).output();
        let (printed, said) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(0), "{said}");
        for (told, times) in [
            (r#""bios":1,"bio_bytes":4096"#, 31),
            (r#""unattributed":0"#, 1),
            (r#""lost":0"#, 1),
        ] {
            assert_eq!(
                printed.matches(told).count(),
                times,
                "{kernel} {probes}: {told}\n{printed}"
            );
        }
    }
}
