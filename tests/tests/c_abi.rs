//! # The C ABI, from C
//!
//! Compiles the C programs of the repository against libodio and runs them, bare, under valgrind, and under strace
//! with system calls that fail. Needs cc, c++, musl-gcc, nm, readelf, valgrind, strace, setpriv and unshare. The tests
//! that mount a filesystem of their own want root and are run with `--ignored`; they need mkfs.ext4 and mkfs.btrfs too.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use odio_tests::{
    Link, STRICT, command, compile, everything, libodio, relinked, root, run, scratch, succeed,
};

const ENGINES: [&str; 3] = ["psync", "libaio", "io_uring"];
const MODES: [&str; 6] = [
    "direct",
    "direct+dsync",
    "direct+sync",
    "buffered",
    "buffered+dsync",
    "buffered+sync",
];
const VALGRIND: [&str; 6] = [
    "valgrind",
    // Without it a thread that never blocks may keep the others waiting for minutes.
    "--fair-sched=yes",
    "--quiet",
    "--leak-check=full",
    "--show-leak-kinds=definite,possible",
    "--error-exitcode=99",
];

/// Every C program, with the arguments for a run that succeeds on `file`.
fn programs(file: &str) -> Vec<(&'static str, Vec<String>)> {
    let line = |words: &[&str]| {
        words
            .iter()
            .map(|word| (*word).to_owned())
            .collect::<Vec<_>>()
    };
    let mut all = vec![
        ("tests/c/version.c", line(&[])),
        ("tests/c/structs.c", line(&[file])),
        ("tests/c/open_file.c", line(&[file, "direct+sync"])),
        ("examples-c/direct_read.c", line(&[file])),
        ("examples-c/pool.c", line(&[file])),
        ("examples-c/log.c", line(&[file, "67"])),
        // Standard input is empty; tests/examples.rs gives it lines.
        ("examples-c/event_loop.c", line(&[file])),
    ];
    for engine in ENGINES {
        all.push(("tests/c/misaligned.c", line(&[file, engine])));
        all.push(("tests/c/queue_rules.c", line(&[file, engine])));
        all.push(("tests/c/turns.c", line(&[file, engine])));
        all.push(("tests/c/queue_calls.c", line(&[file, engine])));
        all.push((
            "examples-c/write_modes.c",
            line(&[file, "direct+dsync", engine, "7"]),
        ));
        all.push(("examples-c/async_queue.c", line(&[file, engine])));
    }
    all
}

/// A file of 10,000 bytes of content that repeats nowhere near a block.
fn sample(directory: &Path) -> String {
    let path = directory.join("sample");
    let content: Vec<u8> = (0..10_000u32).map(|at| (at % 251) as u8).collect();
    fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

fn every_program_runs(tool: &[&str], link: Link) {
    let directory = scratch();
    for (source, arguments) in programs(&sample(directory.path())) {
        let program = compile(source, link, &[], directory.path());
        succeed(&mut command(tool, &program, &arguments));
    }
}

#[test]
fn every_program_runs_with_the_shared_library() {
    every_program_runs(&[], Link::Shared);
}

#[test]
fn every_program_runs_with_the_static_library() {
    every_program_runs(&[], Link::Static);
}

#[test]
fn every_program_is_clean_under_valgrind() {
    every_program_runs(&VALGRIND, Link::Shared);
}

#[test]
fn the_static_library_is_clean_under_valgrind() {
    every_program_runs(&VALGRIND, Link::Static);
}

#[test]
fn the_header_compiles_as_c_and_cpp_and_with_musl() {
    let directory = scratch();
    let user = directory.path().join("user");
    // Twice, for the include guard.
    fs::write(&user, "#include <odio.h>\n#include <odio.h>\nint user(void);\nint user(void) { return ODIO_VERSION; }\n")
        .unwrap();
    for (compiler, language, standard) in [
        ("cc", "c", "-std=c99"),
        ("cc", "c", "-std=c11"),
        ("cc", "c", "-std=c17"),
        ("c++", "c++", "-std=c++11"),
        ("c++", "c++", "-std=c++17"),
        ("c++", "c++", "-std=c++20"),
        // Another C library, with types of its own.
        ("musl-gcc", "c", "-std=c99"),
        ("musl-gcc", "c", "-std=c11"),
    ] {
        let mut cc = Command::new(compiler);
        cc.args([standard, "-fsyntax-only"])
            .args(STRICT)
            .arg("-I")
            .arg(root().join("include"));
        succeed(cc.args(["-x", language]).arg(&user));
    }
}

#[test]
fn a_cpp_program_links() {
    let directory = scratch();
    let (source, program) = (
        directory.path().join("main.cpp"),
        directory.path().join("main"),
    );
    fs::write(
        &source,
        "#include <odio.h>\nint main() { return odio_version() == ODIO_VERSION ? 0 : 1; }\n",
    )
    .unwrap();
    let mut cc = Command::new("c++");
    cc.args(["-std=c++17"])
        .args(STRICT)
        .arg("-I")
        .arg(root().join("include"));
    succeed(
        cc.arg(&source)
            .arg("-o")
            .arg(&program)
            .arg(&libodio().shared),
    );
    succeed(&mut command::<&str>(&[], &program, &[]));
}

fn header() -> String {
    fs::read_to_string(root().join("include/odio.h")).unwrap()
}

/// The functions that the header declares.
fn declared(header: &str) -> BTreeSet<&str> {
    // A declaration begins in the first column; comments and members do not.
    let declared: BTreeSet<&str> = header
        .lines()
        .filter(|line| {
            line.starts_with(|first: char| first.is_ascii_lowercase())
                && !line.starts_with("typedef")
        })
        .filter_map(|line| line.split_once('(')?.0.rsplit([' ', '*']).next())
        .filter(|name| name.starts_with("odio_"))
        .collect();
    assert!(declared.len() > 20, "{declared:?}");
    declared
}

/// C without its comments.
fn without_comments(source: &str) -> String {
    let mut parts = source.split("/*");
    let first = parts.next().unwrap_or("").to_owned();
    parts.fold(first, |code, part| {
        code + part.split_once("*/").map_or("", |(_, rest)| rest)
    })
}

#[test]
fn every_function_of_the_header_is_called_from_c() {
    let mut code = String::new();
    for folder in ["tests/c", "examples-c"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            code += &without_comments(&fs::read_to_string(entry.unwrap().path()).unwrap());
        }
    }
    let header = header();
    let missing: Vec<&str> = declared(&header)
        .into_iter()
        .filter(|name| !code.contains(&format!("{name}(")))
        .collect();
    assert!(missing.is_empty(), "no C program calls {missing:?}");
}

#[test]
fn the_shared_library_exports_what_the_header_declares_and_nothing_else() {
    let symbols = succeed(
        Command::new("nm")
            .args(["-D", "--defined-only"])
            .arg(&libodio().shared),
    );
    let exported: BTreeSet<&str> = symbols
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    assert_eq!(exported, declared(&header()));
}

#[test]
fn the_soname_carries_the_abi_version() {
    let dynamic = succeed(Command::new("readelf").arg("-d").arg(&libodio().shared));
    assert!(dynamic.contains("soname: [libodio.so.0]"), "{dynamic}");
    let directory = scratch();
    let program = compile("tests/c/version.c", Link::Shared, &[], directory.path());
    let dynamic = succeed(Command::new("readelf").arg("-d").arg(&program));
    assert!(
        dynamic.contains("Shared library: [libodio.so.0]"),
        "{dynamic}"
    );
}

#[test]
fn the_archive_makes_a_shared_library_with_symbol_versions() {
    let directory = scratch();
    let library = relinked(directory.path());

    let symbols = succeed(
        Command::new("nm")
            .args(["-D", "--defined-only"])
            .arg(&library),
    );
    let plain = succeed(
        Command::new("nm")
            .args(["-D", "--defined-only"])
            .arg(&libodio().shared),
    );
    let versioned: BTreeSet<&str> = symbols
        .lines()
        .filter_map(|line| line.split("@@ODIO_0.1").next()?.split(' ').nth(2))
        .collect();
    let expected: BTreeSet<&str> = plain
        .lines()
        .filter_map(|line| line.split(' ').nth(2))
        .chain(["ODIO_0.1"])
        .collect();
    assert_eq!(versioned, expected);
    assert!(symbols.contains(" T odio_version@@ODIO_0.1\n"), "{symbols}");

    let program = compile("tests/c/version.c", Link::Shared, &[], directory.path());
    succeed(command::<&str>(&[], &program, &[]).env("LD_LIBRARY_PATH", directory.path()));
}

#[test]
fn the_version_seen_from_c_is_the_package_version() {
    let directory = scratch();
    let program = compile("tests/c/version.c", Link::Shared, &[], directory.path());
    let printed = succeed(&mut command::<&str>(&[], &program, &[]));
    // The workspace has one version.
    assert_eq!(printed.trim(), env!("CARGO_PKG_VERSION"));
}

#[test]
fn no_system_call_is_made_for_a_misaligned_request() {
    let directory = scratch();
    let program = compile("tests/c/misaligned.c", Link::Shared, &[], directory.path());
    let log = directory.path().join("log");
    for engine in ENGINES {
        let calls = "--trace=write,pread64,pwrite64,preadv,pwritev,preadv2,pwritev2,io_submit,io_getevents,io_uring_enter";
        let tool = ["strace", "-f", "-o", log.to_str().unwrap(), calls];
        let file = directory.path().join(engine);
        succeed(&mut command(
            &tool,
            &program,
            &[file.to_str().unwrap(), engine],
        ));
        let log = fs::read_to_string(&log).unwrap();
        let (_, after) = log
            .split_once("\"begin\\n\"")
            .expect("the first mark is in the trace");
        let (between, after) = after
            .split_once("\"end\\n\"")
            .expect("the second mark is in the trace");
        // What is left is the rest of one line and the beginning of the next.
        assert_eq!(between.lines().count(), 2, "{engine}: {between}");
        assert!(
            after.contains("pwrite64("),
            "{engine}: a request that is aligned is not in the trace: {after}"
        );
    }
}

/// What open_file.c printed for a path that cannot be opened.
fn refusal(tool: &[&str], path: &Path, mode: &str) -> String {
    let directory = scratch();
    let program = compile("tests/c/open_file.c", Link::Shared, &[], directory.path());
    succeed(&mut command(
        tool,
        &program,
        &[path.to_str().unwrap(), mode],
    ))
}

#[test]
fn what_cannot_be_opened_says_why() {
    let directory = scratch();
    let missing = refusal(&[], &directory.path().join("missing"), "direct");
    assert!(
        missing.starts_with("-2 ") && missing.contains("ENOENT"),
        "{missing}"
    );
    let itself = refusal(&[], directory.path(), "direct");
    assert!(
        itself.starts_with("-21 ") && itself.contains("regular files and block devices"),
        "{itself}"
    );

    let locked = directory.path().join("locked");
    fs::write(&locked, "x").unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    // Without capabilities even root is held to the permissions of its own file.
    let powerless = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"];
    let is_root = succeed(Command::new("id").arg("-u")).trim() == "0";
    let denied = refusal(if is_root { &powerless } else { &[] }, &locked, "direct");
    assert!(
        denied.starts_with("-13 ") && denied.contains("EACCES"),
        "{denied}"
    );
}

#[test]
fn tmpfs_is_refused_or_taken_buffered_as_asked() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "x").unwrap();
    let refused = refusal(&[], &file, "direct");
    assert!(
        refused.starts_with("-22 ") && refused.contains("tmpfs"),
        "{refused}"
    );

    let programs = scratch();
    let program = compile("tests/c/open_file.c", Link::Shared, &[], programs.path());
    let taken = succeed(&mut command(
        &[],
        &program,
        &[file.to_str().unwrap(), "direct", "preferred"],
    ));
    assert!(
        taken.starts_with("buffered: direct was preferred, but tmpfs"),
        "{taken}"
    );
    let asked = succeed(&mut command(
        &[],
        &program,
        &[file.to_str().unwrap(), "buffered"],
    ));
    assert_eq!(asked.trim(), "buffered: asked for");
}

#[test]
fn a_full_disk_is_an_error_and_only_whole_blocks_were_acknowledged() {
    let directory = scratch();
    let program = compile(
        "examples-c/write_modes.c",
        Link::Shared,
        &[],
        directory.path(),
    );
    for engine in ENGINES {
        let mount = directory.path().join(engine);
        fs::create_dir(&mount).unwrap();
        // A namespace of its own: nobody else sees the mount and it goes away with the program.
        let script = "mount -t tmpfs -o size=64k none \"$1\" && shift && exec \"$@\"";
        let mut unshare = Command::new("unshare");
        unshare
            .args([
                "--user",
                "--map-root-user",
                "--mount",
                "sh",
                "-c",
                script,
                "sh",
            ])
            .arg(&mount)
            .arg(&program);
        unshare
            .arg(mount.join("file"))
            .args(["buffered+dsync", engine, "64"]);
        let output = run(unshare.env("LD_LIBRARY_PATH", &libodio().directory));
        let text = everything(&output);
        assert_eq!(output.status.code(), Some(1), "{engine}: {text}");
        assert!(
            text.contains("65536 bytes acknowledged") && text.contains("No space left"),
            "{engine}: {text}"
        );
    }
}

/// strace that makes a system call fail or lie; `rule` is one of its `inject` rules. It counts calls in each thread.
fn with_fault(rule: &str, log: &Path, program: &Path, arguments: &[&str]) -> std::process::Output {
    let (name, _) = rule.split_once(':').expect("CALL:FAULT");
    let mut tool = vec!["strace", "-f", "-o", log.to_str().unwrap()];
    let inject = format!("--inject={rule}");
    let trace = format!("--trace={name}");
    tool.extend([trace.as_str(), inject.as_str()]);
    // The dynamic linker reads too.
    if name.starts_with("pread") {
        tool.extend(["-P", arguments[0]]);
    }
    let output = run(&mut command(&tool, program, arguments));
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains("(INJECTED)"), "{rule} hit nothing: {log}");
    output
}

fn built(source: &str) -> (tempfile::TempDir, PathBuf, String, PathBuf) {
    let directory = scratch();
    let program = compile(source, Link::Shared, &[], directory.path());
    let (file, log) = (sample(directory.path()), directory.path().join("log"));
    (directory, program, file, log)
}

#[test]
fn a_failed_sync_sticks_and_the_kernel_is_not_asked_again() {
    let (_directory, program, file, log) = built("tests/c/sync_error.c");
    let output = with_fault("fsync:error=EIO", &log, &program, &[&file]);
    assert!(output.status.success(), "{}", everything(&output));
    let log = fs::read_to_string(&log).unwrap();
    assert_eq!(log.matches("fsync(").count(), 1, "{log}");
}

#[test]
fn each_sync_of_a_queue_is_the_one_asked_for() {
    let (_directory, program, file, log) = built("tests/c/queue_calls.c");
    let path = log.to_str().unwrap();
    let tool = ["strace", "-f", "-o", path, "--trace=fsync,fdatasync"];
    succeed(&mut command(&tool, &program, &[&file, "psync"]));
    let log = fs::read_to_string(&log).unwrap();
    let count = |call: &str| log.matches(&format!(" {call}(")).count();
    assert_eq!((count("fsync"), count("fdatasync")), (1, 1), "{log}");
}

#[test]
fn interrupted_system_calls_are_taken_up_again() {
    let (_directory, program, file, log) = built("examples-c/async_queue.c");
    for (rule, engine) in [
        ("pwritev2:error=EINTR:when=1..3", "psync"),
        ("preadv2:error=EINTR:when=1..3", "psync"),
        ("fdatasync:error=EINTR:when=1", "psync"),
        ("io_submit:error=EINTR:when=1", "libaio"),
        // Not io_getevents, which is only called for what is not in the ring yet: under strace everything is. The signal
        // storm of the fault tests interrupts that one.
        ("io_uring_enter:error=EINTR:when=1..2", "io_uring"),
    ] {
        let output = with_fault(rule, &log, &program, &[&file, engine]);
        assert!(output.status.success(), "{rule}: {}", everything(&output));
    }
}

#[test]
fn a_kernel_out_of_resources_is_an_error_that_loses_nothing() {
    let (_directory, program, file, log) = built("examples-c/async_queue.c");
    for (rule, engine) in [
        // Once is tried again at once.
        ("io_submit:error=EAGAIN:when=1..2", "libaio"),
        ("io_uring_enter:error=EAGAIN:when=1..2", "io_uring"),
    ] {
        let _ = fs::remove_file(&file);
        let output = with_fault(rule, &log, &program, &[&file, engine]);
        let text = everything(&output);
        assert_eq!(output.status.code(), Some(1), "{rule}: {text}");
        assert!(text.contains("EAGAIN"), "{rule}: {text}");
        // Freeing the queue handed over what the failed call had not.
        assert_eq!(fs::metadata(&file).unwrap().len(), 16 * 4096, "{rule}");
    }
}

#[test]
fn a_process_without_memory_is_told_and_not_ended() {
    let directory = scratch();
    let program = compile("tests/c/no_memory.c", Link::Shared, &[], directory.path());
    succeed(&mut command::<&str>(&[], &program, &[]));
}

#[test]
fn what_the_kernel_has_no_room_for_yet_goes_with_a_later_call() {
    let (_directory, program, file, log) = built("tests/c/kept.c");
    let rule = "io_uring_enter:error=EAGAIN:when=2";
    let output = with_fault(rule, &log, &program, &[&file]);
    assert!(output.status.success(), "{}", everything(&output));
}

#[test]
fn what_an_enter_did_not_take_is_offered_again() {
    let (_directory, program, file, log) = built("examples-c/async_queue.c");
    // It takes nothing and says one; the ring says what is true.
    let rule = "io_uring_enter:retval=1:when=1..3";
    let output = with_fault(rule, &log, &program, &[&file, "io_uring"]);
    assert!(output.status.success(), "{}", everything(&output));
}

#[test]
fn a_queue_that_cannot_be_waited_for_says_so_when_it_is_freed() {
    let (_directory, program, file, log) = built("examples-c/async_queue.c");
    // libaio's events can be read without a system call, so there is none to fail for sure.
    let rule = "io_uring_enter:error=EBADF";
    let output = with_fault(rule, &log, &program, &[&file, "io_uring"]);
    let text = everything(&output);
    assert_eq!(output.status.code(), Some(1), "{rule}: {text}");
    assert!(
        text.contains("async_queue: queue: io_uring_enter: EBADF"),
        "{rule}: {text}"
    );
}

#[test]
fn a_callback_gets_what_is_ready_although_the_engine_is_broken() {
    let (_directory, program, file, log) = built("tests/c/dispatch_fault.c");
    fs::write(&file, [7; 4096]).unwrap();
    let output = with_fault(
        "io_uring_enter:error=EBADF:when=2+",
        &log,
        &program,
        &[&file],
    );
    assert!(output.status.success(), "{}", everything(&output));
}

#[test]
fn a_short_write_is_taken_up_again_from_an_aligned_place() {
    let (_directory, program, file, log) = built("examples-c/write_modes.c");
    // What strace pretends was written was not, so only a write of the whole block again leaves it right.
    let output = with_fault(
        "pwritev2:retval=100:when=2",
        &log,
        &program,
        &[&file, "direct", "psync", "5"],
    );
    let text = everything(&output);
    assert!(
        output.status.success() && text.contains("20480 bytes acknowledged"),
        "{text}"
    );
    assert_eq!(fs::read(&file).unwrap(), [b'b'; 20480]);
}

#[test]
fn a_short_read_inside_the_file_is_read_again_from_an_aligned_place() {
    let (_directory, program, file, log) = built("examples-c/direct_read.c");
    let whole = succeed(&mut command(&[], &program, &[&file]));
    assert!(whole.contains("10000 bytes, checksum"), "{whole}");
    // The first read is the probe at open. 100 bytes cannot be gone on from, so everything is read once more.
    let output = with_fault("pread64:retval=100:when=2", &log, &program, &[&file]);
    assert!(output.status.success(), "{}", everything(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), whole);
    // A kernel that keeps stopping there is an error, never a shorter file.
    let output = with_fault("pread64:retval=100:when=2+", &log, &program, &[&file]);
    let text = everything(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("stopped after 100 bytes, which is neither the end of the file"),
        "{text}"
    );
}

#[test]
fn a_file_whose_direct_reads_fail_is_not_called_direct() {
    let (_directory, program, file, log) = built("tests/c/open_file.c");
    let output = with_fault("pread64:error=EINVAL", &log, &program, &[&file, "direct"]);
    let text = everything(&output);
    assert!(
        text.contains("-22 no direct I/O on ") && text.contains("O_DIRECT could be set, but"),
        "{text}"
    );
    let output = with_fault(
        "pread64:error=EINVAL",
        &log,
        &program,
        &[&file, "direct", "preferred"],
    );
    let text = everything(&output);
    assert!(
        text.contains("buffered: direct was preferred, but O_DIRECT could be set, but"),
        "{text}"
    );
}

#[test]
fn an_engine_that_is_not_there_says_by_what() {
    let (_directory, program, file, log) = built("examples-c/async_queue.c");
    for (rule, engine, errno, word) in [
        ("io_uring_setup:error=EPERM", "io_uring", "EPERM", "seccomp"),
        (
            "io_uring_setup:error=ENOMEM",
            "io_uring",
            "ENOMEM",
            "RLIMIT_MEMLOCK",
        ),
        (
            "io_uring_setup:error=ENOSYS",
            "io_uring",
            "ENOSYS",
            "no io_uring",
        ),
        ("io_setup:error=EAGAIN", "libaio", "EAGAIN", "aio-max-nr"),
    ] {
        let output = with_fault(rule, &log, &program, &[&file, engine]);
        let text = everything(&output);
        assert_eq!(output.status.code(), Some(1), "{rule}: {text}");
        assert!(
            text.contains(errno) && text.contains(word),
            "{rule}: {text}"
        );
    }
}

#[test]
fn one_batch_is_one_system_call() {
    let (_directory, program, file, log) = built("examples-c/async_queue.c");
    for (engine, call) in [("libaio", "io_submit("), ("io_uring", "io_uring_enter(")] {
        let tool = [
            "strace",
            "-f",
            "-o",
            log.to_str().unwrap(),
            "--trace=io_submit,io_uring_enter",
        ];
        succeed(&mut command(&tool, &program, &[&file, engine]));
        let log = fs::read_to_string(&log).unwrap();
        let batches = log
            .lines()
            .filter(|line| line.contains(call) && line.contains(", 16,"))
            .count();
        // Sixteen writes and sixteen reads.
        assert_eq!(batches, 2, "{engine}: {log}");
    }
}

#[test]
fn every_mode_acknowledges_every_block_in_every_situation() {
    let (_directory, program, file, _log) = built("examples-c/write_modes.c");
    for engine in ENGINES {
        for mode in MODES {
            for situation in ["append", "unwritten", "overwrite"] {
                let line = [file.as_str(), mode, engine, "7", "4096", situation];
                assert_eq!(
                    succeed(&mut command(&[], &program, &line)),
                    "28672 bytes acknowledged\n",
                    "{line:?}"
                );
                assert_eq!(fs::read(&file).unwrap(), [b'b'; 28672], "{line:?}");
            }
        }
    }
}

/// Runs a shell script, as root, in a mount namespace of its own with a fresh filesystem at `$1`; `$2` on are `words`.
fn on_fresh_filesystem(
    make: &[&str],
    options: &str,
    script: &str,
    words: &[&str],
) -> std::process::Output {
    let directory = scratch();
    let (image, mount) = (
        directory.path().join("image"),
        directory.path().join("mount"),
    );
    fs::File::create(&image)
        .unwrap()
        .set_len(128 << 20)
        .unwrap();
    fs::create_dir(&mount).unwrap();
    succeed(Command::new(make[0]).args(&make[1..]).arg(&image));
    let script = format!("set -e; mount -o loop,{options} \"$0\" \"$1\"\n{script}");
    let mut unshare = Command::new("unshare");
    unshare
        .args(["--mount", "sh", "-c", &script])
        .arg(&image)
        .arg(&mount)
        .args(words);
    run(unshare.env("LD_LIBRARY_PATH", &libodio().directory))
}

#[test]
#[ignore = "mounts a filesystem: wants root"]
fn direct_writes_to_a_full_disk_say_so() {
    let directory = scratch();
    let program = compile(
        "examples-c/write_modes.c",
        Link::Shared,
        &[],
        directory.path(),
    );
    for engine in ENGINES {
        let words = [
            program.to_str().unwrap(),
            "direct+dsync",
            engine,
            "512",
            "1048576",
        ];
        let script = r#"exec "$2" "$1/file" "$3" "$4" "$5" "$6""#;
        let output = on_fresh_filesystem(&["mkfs.ext4", "-qF"], "rw", script, &words);
        let text = everything(&output);
        assert_eq!(output.status.code(), Some(1), "{engine}: {text}");
        assert!(text.contains("No space left on device"), "{engine}: {text}");
        let bytes: u64 = text
            .lines()
            .find_map(|line| line.strip_suffix(" bytes acknowledged"))
            .unwrap()
            .parse()
            .unwrap();
        assert!(bytes > 0 && bytes < 128 << 20, "{engine}: {text}");
    }
}

#[test]
#[ignore = "mounts a filesystem: wants root"]
fn ext4_that_journals_data_is_not_called_direct() {
    let directory = scratch();
    let program = compile("tests/c/open_file.c", Link::Shared, &[], directory.path());
    let script = r#"echo x > "$1/file"; "$2" "$1/file" direct; "$2" "$1/file" direct preferred"#;
    let make = ["mkfs.ext4", "-qF"];
    let output = on_fresh_filesystem(&make, "data=journal", script, &[program.to_str().unwrap()]);
    let text = everything(&output);
    assert!(
        text.contains("-22 no direct I/O on ") && text.contains("data=journal"),
        "{text}"
    );
    assert!(
        text.contains("\nbuffered: direct was preferred, but "),
        "{text}"
    );
}

#[test]
#[ignore = "mounts a filesystem: wants root"]
fn on_btrfs_an_asynchronous_durable_write_ends_with_a_sync_of_its_own() {
    let directory = scratch();
    let program = compile(
        "examples-c/write_modes.c",
        Link::Shared,
        &[],
        directory.path(),
    );
    let log = directory.path().join("log");
    let expected = [
        ("direct+dsync", "_FDSYNC", 7),
        ("direct+sync", "_FSYNC", 7),
        ("direct", "SYNC", 0),
    ];
    for (mode, name, count) in expected {
        let script = r#"touch "$1/file"; chattr +C "$1/file"
            exec strace -f -o "$3" --trace=io_submit "$2" "$1/file" "$4" libaio 7"#;
        let words = [program.to_str().unwrap(), log.to_str().unwrap(), mode];
        let output = on_fresh_filesystem(&["mkfs.btrfs", "-q"], "rw", script, &words);
        assert!(output.status.success(), "{mode}: {}", everything(&output));
        let log = fs::read_to_string(&log).unwrap();
        assert_eq!(log.matches("IOCB_CMD_PWRITE").count(), 7, "{mode}: {log}");
        assert_eq!(log.matches(name).count(), count, "{mode}: {log}");
    }
}
