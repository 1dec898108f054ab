//! # Memory checkers
//!
//! The conformance program in C, and odio-core's own tests. valgrind's memcheck sees the library and the program.
//! AddressSanitizer is built into the program, and into the library as well where the Rust toolchain brings its runtime. All
//! run on the filesystem of the build; there are no suppressions. docs/unsafe.md says which unsafe code that is. (helgrind and DRD are of no use here: the locks of Rust are futexes, which they do not see, so that
//! every request handed to a worker looks like a race. `make races` has ThreadSanitizer, which does.)

use std::path::{Path, PathBuf};
use std::process::Command;

use odio_tests::{Link, STATIC_LIBRARIES, STRICT, command, compile_parts, root, scratch, succeed};

const ENGINES: [&str; 3] = ["psync", "libaio", "io_uring"];
const PARTS: [&str; 5] = [
    "tests/c/conformance_transfer.c",
    "tests/c/conformance_queue.c",
    "tests/c/conformance_rules.c",
    "tests/c/conformance_more.c",
    "tests/c/subject.c",
];

fn program(link: Link, flags: &[&str], directory: &Path) -> PathBuf {
    compile_parts("tests/c/conformance.c", &PARTS, link, flags, directory)
}

/// Every case passes under `tool`, for each engine.
fn conforms(tool: &[&str], program: &Path, directory: &Path, words: &[&str]) {
    let at = directory.to_str().expect("UTF-8");
    for engine in ENGINES {
        for cache in ["preferred", "buffered"] {
            let line = [&[at, engine, cache, "none"], words].concat();
            let printed = succeed(&mut command(tool, program, &line));
            let last = printed.lines().last().unwrap_or_default();
            assert!(last.ends_with(" cases ok"), "{engine} {cache}: {printed}");
        }
    }
}

#[test]
fn memcheck_finds_nothing() {
    let directory = scratch();
    let program = program(Link::Shared, &[], directory.path());
    let tool = [
        "valgrind",
        // Without it a thread that never blocks may keep the others waiting for minutes.
        "--fair-sched=yes",
        "--quiet",
        "--leak-check=full",
        "--show-leak-kinds=definite,possible",
        "--error-exitcode=99",
    ];
    conforms(&tool, &program, directory.path(), &["quick"]);
}

#[test]
fn address_sanitizer_finds_nothing() {
    let directory = scratch();
    let flags = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer"];
    let program = program(Link::Static, &flags, directory.path());
    // A build without it would find nothing either.
    let symbols = succeed(Command::new("nm").arg(&program));
    assert!(symbols.contains(" U __asan_report_load8"), "{symbols}");
    conforms(&[], &program, directory.path(), &[]);
}

const HOST: &str = "x86_64-unknown-linux-gnu";

/// AddressSanitizer's runtime for Rust, where the toolchain brings it.
fn runtime() -> Option<PathBuf> {
    let sysroot = succeed(Command::new("rustc").args(["--print", "sysroot"]));
    let runtimes = Path::new(sysroot.trim()).join("lib/rustlib").join(HOST);
    let runtime = ["stable", "nightly"]
        .map(|channel| runtimes.join(format!("lib/librustc-{channel}_rt.asan.a")))
        .into_iter()
        .find(|path| path.exists());
    if runtime.is_none() {
        odio_tests::skip("this Rust toolchain has no runtime of AddressSanitizer");
    }
    runtime
}

/// A cargo that builds for the sanitizer, in a directory of its own, because other flags would build everything anew
/// each time.
fn cargo(words: &[&str]) -> (Command, PathBuf) {
    let built = root().join("target/asan");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(words)
        .args(["--target", HOST, "--target-dir"])
        .arg(&built)
        // -Z is for nightly compilers; this is how a stable one takes it.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zsanitizer=address")
        .current_dir(root());
    (cargo, built.join(HOST))
}

/// What C cannot reach is run by the Rust tests alone: raw requests of the engines, broken rings, pools and buffers.
#[test]
fn address_sanitizer_in_the_tests_of_odio_core_finds_nothing() {
    if runtime().is_none() {
        return;
    }
    let build = ["test", "--package", "odio-core", "--lib", "--no-run"];
    let (mut build, _) = cargo(&[&build[..], &["--message-format", "json"]].concat());
    let built = succeed(&mut build);
    let program = built
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|told| Some(told["executable"].as_str()?.to_owned()))
        .expect("a test program");
    let symbols = succeed(Command::new("nm").arg(&program));
    // Of what is instrumented; the runtime itself has none.
    assert!(symbols.contains(" t asan.module_ctor"), "{symbols}");

    // Where its engine is broken a queue gives memory up rather than have it used after it was freed: that is no leak.
    let broken = "queue::tests::broken::";
    for (words, leaks, least) in [(&["--skip", broken][..], "1", 150), (&[broken], "0", 5)] {
        let mut tests = Command::new(&program);
        tests
            .args(words)
            .env("ASAN_OPTIONS", format!("detect_leaks={leaks}"))
            .current_dir(root().join("odio-core"));
        let printed = succeed(&mut tests);
        let passed: usize = printed
            .lines()
            .find_map(|line| line.strip_prefix("test result: ok. ")?.split(' ').next())
            .and_then(|count| count.parse().ok())
            .unwrap_or_else(|| panic!("{printed}"));
        assert!(passed >= least, "{printed}");
    }
}

#[test]
fn address_sanitizer_in_the_library_finds_nothing() {
    let Some(runtime) = runtime() else {
        return;
    };
    let directory = scratch();
    let library = ["rustc", "--package", "odio-ffi", "--lib", "--release"];
    let (mut build, built) = cargo(&[&library[..], &["--crate-type", "staticlib"]].concat());
    succeed(&mut build);
    let archive = built.join("release/libodio.a");

    let program = directory.path().join("conformance");
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-D_GNU_SOURCE", "-g", "-O1", "-pthread"])
        .args(STRICT)
        .arg("-I")
        .arg(root().join("include"))
        .arg(root().join("tests/c/conformance.c"))
        .args(PARTS.map(|part| root().join(part)))
        .arg("-o")
        .arg(&program)
        .arg(&archive)
        // The runtime replaces malloc and must be there whole.
        .arg("-Wl,--whole-archive")
        .arg(&runtime)
        .args(["-Wl,--no-whole-archive", "-rdynamic"])
        .args(STATIC_LIBRARIES);
    succeed(&mut cc);
    let symbols = succeed(Command::new("nm").arg(&program));
    assert!(symbols.contains(" T __asan_report_load8"), "{symbols}");
    let instrumented = succeed(Command::new("nm").arg("--undefined-only").arg(&archive));
    assert!(instrumented.contains("U __asan_report_store8"));
    conforms(&[], &program, directory.path(), &[]);
}
