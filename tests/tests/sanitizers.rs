//! # The conformance program under memory checkers
//!
//! valgrind's memcheck sees the library and the program. AddressSanitizer is built into the program, and into the library
//! as well where the Rust toolchain brings its runtime. All run on the filesystem of the build; there are no
//! suppressions. (helgrind and DRD are of no use here: the locks of Rust are futexes, which they do not see, so that
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

#[test]
fn address_sanitizer_in_the_library_finds_nothing() {
    let sysroot = succeed(Command::new("rustc").args(["--print", "sysroot"]));
    let host = "x86_64-unknown-linux-gnu";
    let runtimes = Path::new(sysroot.trim()).join("lib/rustlib").join(host);
    let runtime = ["stable", "nightly"]
        .map(|channel| runtimes.join(format!("lib/librustc-{channel}_rt.asan.a")))
        .into_iter()
        .find(|path| path.exists());
    let Some(runtime) = runtime else {
        odio_tests::skip("this Rust toolchain has no runtime of AddressSanitizer");
        return;
    };
    let directory = scratch();
    // A directory of its own, because other flags would build everything anew each time.
    let built = root().join("target/asan");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["rustc", "--package", "odio-ffi", "--lib", "--release"])
        .args(["--crate-type", "staticlib", "--target", host])
        .arg("--target-dir")
        .arg(&built)
        // -Z is for nightly compilers; this is how a stable one takes it.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zsanitizer=address")
        .current_dir(root());
    succeed(&mut cargo);
    let archive = built.join(host).join("release/libodio.a");

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
