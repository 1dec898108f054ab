//! # `odio-trace vm`: what goes in, what comes back, and every way to fail

use std::{
    ffi::OsStr,
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use odio_tests::{
    Link, compile,
    ordinary::OrdinaryUser,
    scratch,
    vm::{Run, kernels},
};

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn assert_fails(output: &Output, status: i32, because: &str) {
    let message = stderr(output);
    assert_eq!(output.status.code(), Some(status), "{message}");
    assert!(message.contains(because), "no {because:?} in: {message}");
    assert!(output.stdout.is_empty(), "{}", stdout(output));
}

#[test]
fn outputs_come_back_separate_and_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bytes");
    let bytes: Vec<u8> = (0..3_000_017_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    fs::write(&file, &bytes).unwrap();
    let file = file.to_str().unwrap();

    let script = format!("cat {file}; cat {file} >/dev/stderr; exit 7");
    let output = Run::new(&["--add", file], &["sh", "-c", &script]).output();
    assert_eq!(output.status.code(), Some(7));
    assert!(output.stdout == bytes, "stdout is not what was written");
    assert!(output.stderr == bytes, "stderr is not what was written");
}

/// What other tests start as an ordinary user is one.
#[test]
fn an_ordinary_user_has_no_privilege() {
    let user = OrdinaryUser::new();
    let script = "id -u; grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status; echo kept >$HOME/file; command -v odio-trace";
    let output = user.command("sh").args(["-c", script]).output().unwrap();
    let said = stdout(&output);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 6, "{said}{}", stderr(&output));
    assert_ne!(lines[0], "0");
    for line in &lines[1..5] {
        assert!(line.ends_with("\t0000000000000000"), "{line}");
    }
    assert_eq!(Path::new(lines[5]), user.home().join("bin/odio-trace"));
    assert_eq!(fs::read(user.home().join("file")).unwrap(), b"kept\n");
}

#[test]
fn the_guest_is_what_was_asked_for() {
    let script = r#"
        uname -r
        stat -f -c %T .; pwd
        cat /sys/block/nvme0n1/queue/write_cache /sys/block/nvme0n1/queue/fua
        grep -o -E '^(tracefs|debugfs|bpf|securityfs) ' /proc/mounts
        ulimit -l
        test -r /sys/kernel/btf/vmlinux && echo btf
        command -v dd
        dd --version | head -n 1 | grep -o coreutils
        odio-trace --version >/dev/null && echo odio-trace
        echo "$1" "$(nproc)"
        sleep 1000 &
        kill -TERM $$
    "#;
    let output = Run::new(
        &[
            "--kernel", "6.1", "--fs", "ext4", "--cpus", "1", "--add", "/bin/dd",
        ],
        &["sh", "-c", script, "sh", "two words 'quoted'"],
    )
    .output();
    let lines = stdout(&output);
    let (release, rest) = lines.split_once('\n').unwrap_or_default();
    assert!(release.starts_with("6.1.0-"), "{lines}{}", stderr(&output));
    assert_eq!(
        rest,
        "ext2/ext3\n/mnt\nwrite back\n1\ntracefs \ndebugfs \nbpf \nsecurityfs \nunlimited\nbtf\n/odio/bin/dd\ncoreutils\n\
         odio-trace\ntwo words 'quoted' 1\n"
    );
    // Ended by SIGTERM, and what it left in the background did not keep it.
    assert_eq!(output.status.code(), Some(128 + 15));
}

/// What the guest says of its working directory in each filesystem, and that
/// it can be written to.
const LOOK: &str = r#"
    mount | sed -n 's/.* on \/mnt type \([a-z0-9]*\) .*/\1/p'
    cat "/sys/block/${ODIO_VM_DISK#/dev/}/size"
    pwd; echo kept >file; sync; cat file
"#;

#[test]
fn the_working_directory_has_the_filesystem_that_was_asked_for() {
    let sectors = (1 << 30) / 512;
    for fs in ["ext4", "xfs", "btrfs", "vfat", "tmpfs"] {
        let output = Run::new(&["--fs", fs], &["sh", "-c", LOOK]).output();
        assert_eq!(
            stdout(&output),
            format!("{fs}\n{sectors}\n/mnt\nkept\n"),
            "{}",
            stderr(&output)
        );
        assert_eq!(output.status.code(), Some(0), "{fs}");
    }
}

#[test]
fn variants_of_a_filesystem_are_what_they_say() {
    for (fs, script, answer) in [
        (
            "ext4-data-journal",
            "grep -c ' /mnt ext4 .*data=journal' /proc/mounts",
            "1",
        ),
        // EXT4_EXTENTS_FL would be set on a new file.
        (
            "ext4-no-extents",
            "echo x >f; set -- $(lsattr f); echo $1 | grep -c e",
            "0",
        ),
        (
            "btrfs-nodatacow",
            "grep -c ' /mnt btrfs .*nodatacow' /proc/mounts",
            "1",
        ),
    ] {
        let output = Run::new(
            &["--fs", fs, "--add", "/usr/bin/lsattr"],
            &["sh", "-c", script],
        )
        .output();
        assert_eq!(stdout(&output).trim(), answer, "{fs}: {}", stderr(&output));
    }
}

#[test]
fn the_disk_has_the_cache_that_was_asked_for() {
    let script = "cd /sys/block/${ODIO_VM_DISK#/dev/}/queue; cat write_cache fua; grep -c \"$ODIO_VM_DISK /mnt ext4\" /proc/mounts";
    for (device, queue) in [
        ("nvme", "write back\n1\n"),
        ("virtio", "write back\n0\n"),
        ("write-through", "write through\n0\n"),
    ] {
        let output = Run::new(&["--device", device], &["sh", "-c", script]).output();
        assert_eq!(
            stdout(&output),
            format!("{queue}1\n"),
            "{device}: {}",
            stderr(&output)
        );
    }
}

#[test]
fn without_a_filesystem_the_disk_is_empty_and_free_to_write_to() {
    let script = r#"
        mount | grep -c ' on /mnt '
        cmp -n 1048576 "$ODIO_VM_DISK" /dev/zero && echo empty
        echo raw | dd of="$ODIO_VM_DISK" conv=fsync 2>/dev/null
        head -c 4 "$ODIO_VM_DISK"
        pwd
    "#;
    let output = Run::new(&["--fs", "none"], &["sh", "-c", script]).output();
    assert_eq!(
        stdout(&output),
        "0\nempty\nraw\n/mnt\n",
        "{}",
        stderr(&output)
    );
}

#[test]
fn modules_come_with_parameters_and_what_they_depend_on() {
    let script = r#"
        cut -d ' ' -f 1 /proc/modules | grep -x -E 'null_blk|configfs|dm_mod|dm_flakey|dm_log_writes|scsi_debug|loop' | sort
        cat /sys/module/null_blk/parameters/irqmode /sys/block/nullb1/queue/physical_block_size
        test -e /dev/nullb2 || echo two
    "#;
    let options: Vec<&str> = [
        "null_blk nr_devices=2 irqmode=0 bs=4096",
        "dm-flakey",
        "dm-log-writes",
        "scsi_debug dev_size_mb=8",
        "loop",
    ]
    .into_iter()
    .flat_map(|module| ["--module", module])
    .collect();
    let output = Run::new(&options, &["sh", "-c", script]).output();
    assert_eq!(
        stdout(&output),
        "configfs\ndm_flakey\ndm_log_writes\ndm_mod\nloop\nnull_blk\nscsi_debug\n0\n4096\ntwo\n",
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_kernel_of_ones_own_comes_with_its_modules() {
    assert!(Run::new(&[], &["true"]).output().status.success());
    let image = find(&kernels(), "vmlinuz-6.1.").expect("an unpacked kernel");
    let release = image.file_name().unwrap().to_str().unwrap();
    let release = release.strip_prefix("vmlinuz-").unwrap();
    let order = find(&image.parent().unwrap().join(".."), "modules.order").expect("its modules");
    let modules = order.parent().unwrap().to_str().unwrap();
    let options = [
        "--kernel",
        image.to_str().unwrap(),
        "--modules",
        modules,
        "--fs",
        "xfs",
    ];
    let output = Run::new(&options, &["sh", "-c", "uname -r; stat -fc %T ."]).output();
    assert_eq!(
        stdout(&output),
        format!("{release}\nxfs\n"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_program_that_is_added_runs_with_its_libraries() {
    let script = "mkfs.xfs -V; command -v mkfs.xfs";
    let output = Run::new(&["--add", "/usr/sbin/mkfs.xfs"], &["sh", "-c", script]).output();
    let lines = stdout(&output);
    let (version, rest) = lines.split_once('\n').unwrap_or_default();
    assert!(
        version.starts_with("mkfs.xfs version"),
        "{lines}{}",
        stderr(&output)
    );
    assert_eq!(rest, "/odio/bin/mkfs.xfs\n");
}

#[test]
fn a_counted_instruction_is_a_nanosecond_and_a_count_comes_back_the_same() {
    let room = scratch();
    let clock = compile("tests/bench/clock.c", Link::Static, &[], room.path());
    let options = ["--icount", "--fs", "none", "--module", "null_blk irqmode=0"];
    let output = Run::new(&options, &[clock.to_str().unwrap(), "/dev/nullb0"]).output();
    let figures: Vec<f64> = stdout(&output)
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    let [counted, first, second] = figures[..] else {
        panic!("{}{}", stdout(&output), stderr(&output));
    };
    assert!(
        (1_999_000.0..2_010_000.0).contains(&counted),
        "2,000,000 instructions took {counted} ns"
    );
    assert!(
        (first - second).abs() / first < 0.005,
        "a write took {first} and then {second} instructions"
    );
}

#[test]
fn a_panic_of_the_guest_is_reported_with_its_console() {
    let script = "echo c >/proc/sysrq-trigger; sleep 100";
    let output = Run::new(&[], &["sh", "-c", script]).output();
    assert_fails(
        &output,
        125,
        "the guest kernel panicked: sysrq triggered crash",
    );
    assert!(
        stderr(&output).contains("Call Trace"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_guest_without_memory_is_reported() {
    let output = Run::new(&["--memory", "256"], &["tail", "/dev/zero"]).output();
    assert_fails(&output, 125, "ran out of its 256 MiB of memory (--memory");
}

#[test]
fn a_command_without_end_is_stopped_in_time() {
    let start = Instant::now();
    let output = Run::new(&["--timeout", "30"], &["sleep", "1000"]).output();
    assert_fails(&output, 124, "no end after 30 s (--timeout)");
    let took = start.elapsed();
    assert!(took < Duration::from_secs(60), "it took {took:?}");
}

#[test]
fn what_cannot_work_is_refused_before_anything_starts() {
    let true_in = |options: &[&str]| Run::new(options, &["true"]);

    let output = true_in(&["--kernel", "4.99"]).output();
    assert_fails(&output, 125, "Linux 4.99 cannot be had through apt");

    let output = true_in(&["--kernel", "/bin/sh"]).output();
    assert_fails(&output, 125, "/bin/sh is no bzImage");

    let output = true_in(&["--add", "/no/such/file"]).output();
    assert_fails(&output, 125, "/no/such/file");

    let output = true_in(&["--module", "no-such-module"]).output();
    assert_fails(&output, 125, "the kernel has no module no_such_module");

    let output = true_in(&["--module", "loop max_loop='1'"]).output();
    assert_fails(&output, 2, "no quotes");

    let output = true_in(&["--fs", "ext5"]).output();
    assert_fails(
        &output,
        2,
        "possible values: ext4, ext4-data-journal, ext4-no-extents, ext2, xfs,",
    );

    let output = true_in(&["--icount", "--cpus", "2"]).output();
    assert_fails(&output, 2, "cannot be used with");

    let output = true_in(&[]).env("PATH", "/nowhere").output();
    assert_fails(&output, 125, "apt-get install qemu-system-x86");

    let output = Run::new(&[], &["no-such-command"]).output();
    assert_fails(&output, 127, "no-such-command: command not found");
}

#[test]
fn an_interrupt_stops_the_vm_and_leaves_nothing() {
    for (signal, fs) in [("-INT", "ext4"), ("-TERM", "ext4"), ("-INT", "ext4,none")] {
        let mut run = Run::new(&["--fs", fs], &["sleep", "1000"]);
        let mut child = run.command().stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(100);
        while !run.is_booted() {
            assert!(Instant::now() < deadline, "QEMU never started");
            sleep(Duration::from_millis(50));
        }
        let process = child.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &process])
                .status()
                .unwrap()
                .success()
        );
        let status = child.wait().unwrap().code();
        assert_eq!(status, Some(if signal == "-INT" { 130 } else { 143 }));
        run.assert_nothing_is_left();
    }
}

#[test]
fn each_combination_gets_a_vm_and_its_output_comes_out_whole_and_in_order() {
    let options = [
        "--kernel",
        "/bin/sh,6.1",
        "--fs",
        "tmpfs,none",
        "--device",
        "nvme,virtio",
    ];
    let script =
        "echo out; echo err >&2; stat -fc %T /mnt; ls -d /sys/block/vda; [ -e /sys/block/vda ]";
    let output = Run::new(&options, &["sh", "-c", script]).output();
    assert_eq!(output.status.code(), Some(125), "{}", stderr(&output));
    let said = stderr(&output);
    let heads: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("odio-trace: "))
        .collect();
    let no_image = "/bin/sh is no bzImage: it has no boot header";
    assert_eq!(
        heads,
        [
            format!("/bin/sh, tmpfs on nvme: {no_image}"),
            format!("/bin/sh, tmpfs on virtio: {no_image}"),
            format!("/bin/sh, block on nvme: {no_image}"),
            format!("/bin/sh, block on virtio: {no_image}"),
            "Linux 6.1, tmpfs on nvme: exit status 1".into(),
            "Linux 6.1, tmpfs on virtio: exit status 0".into(),
            "Linux 6.1, block on nvme: exit status 1".into(),
            "Linux 6.1, block on virtio: exit status 0".into(),
        ]
    );
    assert_eq!(said.matches("\nerr\n").count(), 4, "{said}");
    let nvme = "out\ntmpfs\n";
    let virtio = "out\ntmpfs\n/sys/block/vda\n";
    assert_eq!(stdout(&output), [nvme, virtio].concat().repeat(2));
}

#[test]
fn a_damaged_cache_is_made_good() {
    // A download of its own would cost more than this copy.
    assert!(Run::new(&[], &["true"]).output().status.success());
    let cache = tempfile::tempdir().unwrap();
    let copied = Command::new("cp")
        .args([OsStr::new("-r"), kernels().as_ref(), cache.path().as_ref()])
        .status()
        .unwrap();
    assert!(copied.success());
    let image = find(cache.path(), "vmlinuz-6.1.").expect("an unpacked kernel");
    let good = fs::read(&image).unwrap();
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 1;
    fs::write(&image, bad).unwrap();

    let output = Run::new(&[], &["true"])
        .env("ODIO_CACHE", cache.path())
        .output();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(
        fs::read(&image).unwrap() == good,
        "the kernel is still damaged"
    );
}

fn find(dir: &Path, prefix: &str) -> Option<std::path::PathBuf> {
    for entry in fs::read_dir(dir).ok()? {
        let path = entry.ok()?.path();
        let found = if path.is_dir() {
            find(&path, prefix)
        } else {
            let name = path.file_name()?.to_str()?;
            name.starts_with(prefix).then(|| path.clone())
        };
        if found.is_some() {
            return found;
        }
    }
    None
}
