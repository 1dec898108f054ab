//! # The threads under ThreadSanitizer
//!
//! psync and what threads share, with the library and the standard library both built for it: an ordinary standard
//! library hides its locks, and then every request handed to a worker looks like a race. There are no suppressions.
//!
//! That wants a Rust compiler with the sources of std, and the runtime of the same LLVM: Debian's (packages rustc-web,
//! cargo-web, rust-web-src and libclang-rt-22-dev), or rustup's nightly with rust-src.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use odio_tests::{STATIC_LIBRARIES, STRICT, everything, root, run, scratch, succeed};

const HOST: &str = "x86_64-unknown-linux-gnu";
const CONFORMANCE: [&str; 6] = [
    "tests/c/conformance.c",
    "tests/c/conformance_transfer.c",
    "tests/c/conformance_queue.c",
    "tests/c/conformance_rules.c",
    "tests/c/conformance_more.c",
    "tests/c/subject.c",
];
/// What the sanitizer ends a program with that raced.
const RACED: i32 = 66;

/// A compiler that can build std, and the runtime that goes with it.
struct Toolchain {
    cargo: PathBuf,
    rustc: PathBuf,
    runtime: PathBuf,
}

fn toolchain() -> Result<Toolchain, String> {
    let nightly =
        printed(Command::new("rustup").args(["which", "--toolchain", "nightly", "rustc"]))
            .and_then(|rustc| Path::new(rustc.trim()).parent().map(Path::to_owned))
            .ok_or("not installed".to_owned())
            .and_then(|bin| complete(&bin));
    let debian = complete(Path::new("/usr/bin"));
    match (nightly, debian) {
        (Ok(found), _) | (_, Ok(found)) => Ok(found),
        (Err(nightly), Err(debian)) => Err(format!(
            "no compiler for ThreadSanitizer (rustup's nightly: {nightly}; Debian's: {debian})"
        )),
    }
}

fn complete(bin: &Path) -> Result<Toolchain, String> {
    let (cargo, rustc) = (bin.join("cargo"), bin.join("rustc"));
    let asked = |words: &[&str]| {
        printed(
            Command::new(&rustc)
                .args(words)
                .env_remove("LD_LIBRARY_PATH"),
        )
        .filter(|_| cargo.exists())
        .ok_or("not installed".to_owned())
    };
    let version = asked(&["-vV"])?;
    let sysroot = asked(&["--print", "sysroot"])?;
    let sysroot = Path::new(sysroot.trim());
    let library = sysroot.join("lib/rustlib/src/rust/library/std/src/lib.rs");
    if !library.exists() {
        return Err("without the sources of std".to_owned());
    }
    let llvm = version
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: ")?.split('.').next())
        .unwrap_or_default();
    let own = sysroot.join("lib/rustlib").join(HOST).join("lib");
    let of_clang = format!("/usr/lib/llvm-{llvm}/lib/clang/{llvm}/lib/linux");
    let runtime = [
        own.join("librustc-nightly_rt.tsan.a"),
        Path::new(&of_clang).join("libclang_rt.tsan-x86_64.a"),
    ]
    .into_iter()
    .find(|path| path.exists())
    .ok_or(format!("without a runtime (libclang-rt-{llvm}-dev)"))?;
    Ok(Toolchain {
        cargo,
        rustc,
        runtime,
    })
}

fn printed(command: &mut Command) -> Option<String> {
    let output = command
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

/// What is built for the sanitizer, once for all tests.
struct Built {
    archive: PathBuf,
    runtime: PathBuf,
}

/// Whoever asks for this check is not told that there are no races where there was no compiler to look for them.
fn built() -> &'static Built {
    static BUILT: OnceLock<Built> = OnceLock::new();
    BUILT.get_or_init(|| match toolchain() {
        Ok(found) => build(&found),
        Err(why) => panic!("{why}"),
    })
}

fn build(toolchain: &Toolchain) -> Built {
    // A directory of its own, because other flags would build everything anew each time.
    let directory = root().join("target/tsan");
    succeed(
        Command::new(&toolchain.cargo)
            .args(["rustc", "--package", "odio-ffi", "--lib"])
            .args(["--crate-type", "staticlib", "--target", HOST])
            .args(["-Zbuild-std=std,panic_unwind", "--target-dir"])
            .arg(&directory)
            .env("RUSTC", &toolchain.rustc)
            // -Z is for nightly compilers; this is how a stable one takes it.
            .env("RUSTC_BOOTSTRAP", "1")
            // No way round the ABI check is asked for, so that the compiler refuses an ordinary std.
            .env("RUSTFLAGS", "-Zsanitizer=thread")
            .env("CARGO_INCREMENTAL", "0")
            // What the outer cargo and rustup set is for another compiler.
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("LD_LIBRARY_PATH")
            .current_dir(root()),
    );
    Built {
        archive: directory.join(HOST).join("debug/libodio.a"),
        runtime: toolchain.runtime.clone(),
    }
}

impl Built {
    /// Compiles C files of the repository, with the sanitizer in them as well.
    fn program(&self, sources: &[&str], directory: &Path) -> PathBuf {
        let program = directory.join("program");
        let mut objects = Vec::new();
        for source in [sources, &["tests/c/tsan_syscall.c"]].concat() {
            let name = Path::new(source).file_name().expect("a file");
            let object = directory.join(name).with_extension("o");
            succeed(
                Command::new("cc")
                    .args([
                        "-std=c11",
                        "-D_GNU_SOURCE",
                        "-g",
                        "-O1",
                        "-fsanitize=thread",
                    ])
                    .args(STRICT)
                    .arg("-I")
                    .arg(root().join("include"))
                    .arg("-c")
                    .arg(root().join(source))
                    .arg("-o")
                    .arg(&object),
            );
            objects.push(object);
        }
        // Without -fsanitize=thread, which would bring the C compiler's runtime: there can be one, and it is Rust's.
        succeed(
            Command::new("cc")
                .args(objects)
                .arg("-o")
                .arg(&program)
                .arg("-Wl,--wrap=syscall")
                .arg(&self.archive)
                .arg("-Wl,--whole-archive")
                .arg(&self.runtime)
                .args(["-Wl,--no-whole-archive", "-rdynamic"])
                .args(STATIC_LIBRARIES),
        );
        program
    }
}

/// Runs with the sanitizer's own defaults, whatever is set outside.
fn watched(program: &Path, arguments: &[&str]) -> Output {
    run(Command::new(program)
        .args(arguments)
        .env("TSAN_OPTIONS", format!("exitcode={RACED}")))
}

#[test]
fn races_are_found_where_they_are_and_only_there() {
    let built = built();
    let directory = scratch();
    let program = built.program(&["tests/c/races.c"], directory.path());
    let case = |name: &str| {
        let file = directory.path().join(name);
        watched(&program, &[file.to_str().expect("UTF-8"), name])
    };
    let shared = case("share");
    assert!(shared.status.success(), "{}", everything(&shared));
    // The library is instrumented, and so is what passes between the threads and the kernel.
    for (name, place) in [
        ("early", "__wrap_syscall"),
        ("completions", "odio_queue_poll"),
    ] {
        let raced = case(name);
        let said = everything(&raced);
        assert_eq!(raced.status.code(), Some(RACED), "{name}: {said}");
        assert!(
            said.contains("WARNING: ThreadSanitizer: data race"),
            "{said}"
        );
        assert!(said.contains(place), "{name}: {said}");
    }
}

#[test]
fn no_thread_of_psync_races() {
    let built = built();
    let directory = scratch();
    let program = built.program(&CONFORMANCE, directory.path());
    let at = directory.path().to_str().expect("UTF-8");
    for cache in ["preferred", "buffered"] {
        for sync in ["none", "dsync"] {
            let output = watched(&program, &[at, "psync", cache, sync]);
            let said = everything(&output);
            assert!(output.status.success(), "{cache} {sync}: {said}");
            assert!(said.contains(" cases ok"), "{cache} {sync}: {said}");
        }
    }
}

#[test]
fn the_guard_of_a_queue_orders_the_threads_that_it_lets_in() {
    let built = built();
    let directory = scratch();
    let program = built.program(&["tests/c/queue_rules.c"], directory.path());
    let file = directory.path().join("file");
    let output = watched(&program, &[file.to_str().expect("UTF-8"), "psync"]);
    assert!(output.status.success(), "{}", everything(&output));
}
