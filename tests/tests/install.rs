//! # What `make install` installs
//!
//! Installs the library once into a directory, moves it, and builds every program of examples-c with nothing but what
//! lies there: with pkg-config and with CMake, against libodio.so and against libodio.a. Needs cc, make, cmake,
//! pkg-config, nm, readelf and ldd.
//!
//! The library is built as for a release but without link-time optimisation, which would take minutes; what is
//! installed, and how it is linked, is the same. It has a target directory of its own, target/install-test.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use odio_tests::{STRICT, everything, root, run, scratch, succeed};

const ENGINES: [&str; 3] = ["psync", "libaio", "io_uring"];

fn target() -> PathBuf {
    let build = std::env::current_exe().expect("a test has a path");
    // target/debug/deps/install-...
    let target = build.ancestors().nth(3).expect("and directories");
    target.join("install-test")
}

fn script(destination: &Path, arguments: &[&str]) -> Command {
    let mut install = Command::new(root().join("scripts/install"));
    install
        .args(arguments)
        .env("PREFIX", "/usr/local")
        .env("DESTDIR", destination)
        .env("CARGO_TARGET_DIR", target())
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .env_remove("LIBDIR")
        .env_remove("LDFLAGS");
    install
}

/// Where the library, installed for /usr/local, lies after it was moved.
fn installed() -> &'static Path {
    static MOVED: OnceLock<PathBuf> = OnceLock::new();
    MOVED.get_or_init(|| {
        let (destination, moved) = (target().join("destination"), target().join("moved"));
        for old in [&destination, &moved] {
            match fs::remove_dir_all(old) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
                _ => {}
            }
        }
        succeed(&mut script(&destination, &["lib", "man"]));
        fs::rename(destination.join("usr/local"), &moved).unwrap();
        moved
    })
}

fn library() -> PathBuf {
    installed().join(format!("lib/libodio.so.{}", env!("CARGO_PKG_VERSION")))
}

/// pkg-config that finds the odio installed below `prefix` and no other, as words.
fn pkg_config(prefix: &Path, libdir: &str, arguments: &[&str]) -> Vec<String> {
    let mut command = Command::new("pkg-config");
    command
        // Not --define-prefix, which takes a directory below lib for the prefix.
        .arg(format!("--define-variable=prefix={}", prefix.display()))
        .args(arguments)
        .arg("odio")
        .env("PKG_CONFIG_LIBDIR", prefix.join(libdir).join("pkgconfig"))
        .env_remove("PKG_CONFIG_PATH");
    let said = succeed(&mut command);
    said.split_whitespace().map(str::to_owned).collect()
}

/// Every example by its name, and the arguments of runs that succeed.
fn examples(directory: &Path) -> Vec<(String, Vec<Vec<String>>)> {
    let file = directory.join("file");
    fs::write(&file, [7; 10_000]).unwrap();
    let file = file.to_str().unwrap();
    let line = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let mut all = Vec::new();
    for entry in fs::read_dir(root().join("examples-c")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let runs = match name.as_str() {
            "direct_read" => vec![line(&[file])],
            "write_modes" => ENGINES
                .map(|engine| line(&[file, "direct+dsync", engine, "7"]))
                .into(),
            "async_queue" => ENGINES.map(|engine| line(&[file, engine])).into(),
            "log" => vec![line(&[file, "3"])],
            "pool" | "event_loop" => vec![line(&[file])],
            other => panic!("say here how examples-c/{other}.c is run"),
        };
        fs::copy(&path, directory.join(format!("{name}.c"))).unwrap();
        all.push((name, runs));
    }
    assert!(all.len() >= 3);
    all
}

/// What a program was linked with, as readelf and ldd see it.
#[derive(Debug, PartialEq)]
enum Linked {
    /// libodio.so by its soname, of this version, found in this directory.
    Shared,
    /// libodio.a, and the C library dynamically.
    Archive,
    /// libodio.a, and everything else as well.
    Static,
}

fn linked(program: &Path, libraries: Option<&Path>) -> Linked {
    let dynamic = succeed(Command::new("readelf").arg("-d").arg(program));
    if !dynamic.contains("(NEEDED)") {
        return Linked::Static;
    }
    if !dynamic.contains("libodio") {
        return Linked::Archive;
    }
    assert!(
        dynamic.contains("Shared library: [libodio.so.0]"),
        "{dynamic}"
    );
    let versions = succeed(Command::new("readelf").arg("-VW").arg(program));
    assert!(versions.contains(&node()), "{versions}");
    let mut ldd = Command::new("ldd");
    // cargo sets it for tests, to where the other libodio is.
    ldd.arg(program).env_remove("LD_LIBRARY_PATH");
    if let Some(libraries) = libraries {
        ldd.env("LD_LIBRARY_PATH", libraries);
    }
    let found = succeed(&mut ldd);
    let line = found.lines().find(|line| line.contains("libodio")).unwrap();
    let path = line
        .split("=> ")
        .nth(1)
        .and_then(|path| path.split(' ').next());
    let path = fs::canonicalize(path.unwrap()).unwrap_or_else(|error| panic!("{line}: {error}"));
    assert_eq!(path, fs::canonicalize(library()).unwrap());
    Linked::Shared
}

fn runs(program: &Path, lines: &[Vec<String>], libraries: Option<&Path>) {
    for line in lines {
        let mut command = Command::new(program);
        command.args(line).env_remove("LD_LIBRARY_PATH");
        if let Some(libraries) = libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        succeed(&mut command);
    }
}

/// The symbol version of this version of the library.
fn node() -> String {
    let (major_minor, _) = env!("CARGO_PKG_VERSION").rsplit_once('.').unwrap();
    format!("ODIO_{major_minor}")
}

#[test]
fn the_examples_build_with_pkg_config() {
    let directory = scratch();
    let libraries = installed().join("lib");
    for (name, lines) in examples(directory.path()) {
        let source = directory.path().join(format!("{name}.c"));
        for (expected, words, flags) in [
            (Linked::Shared, vec!["--cflags", "--libs"], vec![]),
            (
                Linked::Static,
                vec!["--static", "--cflags", "--libs"],
                vec!["-static"],
            ),
        ] {
            let program = directory.path().join(format!("{name}-{expected:?}"));
            let mut cc = Command::new("cc");
            cc.arg("-std=c11").args(STRICT).args(flags);
            cc.arg(&source).args(pkg_config(installed(), "lib", &words));
            // ld has something to say on the parts of glibc that a static program does not really hold.
            succeed(cc.arg("-o").arg(&program));
            let libraries = (expected == Linked::Shared).then_some(libraries.as_path());
            assert_eq!(linked(&program, libraries), expected, "{name}");
            runs(&program, &lines, libraries);
        }
    }
}

/// Configures and builds a project; the list is CMake's own.
fn cmake(project: &Path, list: &str, prefix: &Path) -> std::process::Output {
    fs::write(project.join("CMakeLists.txt"), list).unwrap();
    let build = project.join("build");
    let configured = run(Command::new("cmake")
        .arg("-S")
        .arg(project)
        .arg("-B")
        .arg(&build)
        .arg(format!("-DCMAKE_PREFIX_PATH={}", prefix.display()))
        .arg("-DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF"));
    if !configured.status.success() {
        return configured;
    }
    run(Command::new("cmake").arg("--build").arg(&build))
}

const PROJECT: &str = "cmake_minimum_required(VERSION 3.13)\nproject(user C)\n";

#[test]
fn the_examples_build_with_cmake() {
    let directory = scratch();
    let examples = examples(directory.path());
    let mut list = format!("{PROJECT}find_package(odio 0.1 REQUIRED CONFIG)\n");
    for (name, _) in &examples {
        for (kind, target) in [("shared", "odio::odio"), ("static", "odio::odio_static")] {
            list += &format!(
                "add_executable({name}_{kind} {name}.c)\ntarget_link_libraries({name}_{kind} PRIVATE {target})\n"
            );
        }
    }
    let output = cmake(directory.path(), &list, installed());
    assert!(output.status.success(), "{}", everything(&output));
    for (name, lines) in examples {
        for (kind, expected) in [("shared", Linked::Shared), ("static", Linked::Archive)] {
            let program = directory
                .path()
                .join("build")
                .join(format!("{name}_{kind}"));
            // CMake writes where the library was found into the program.
            assert_eq!(linked(&program, None), expected, "{name}");
            runs(&program, &lines, None);
        }
    }
}

#[test]
fn cmake_takes_the_version_that_was_asked_for_and_no_other() {
    for (asked, fits) in [
        ("", true),
        ("0", true),
        ("0.1", true),
        (concat!(env!("CARGO_PKG_VERSION"), " EXACT"), true),
        ("0.1...<0.2", true),
        ("0.0", false),
        ("0.2", false),
        ("0.1.99", false),
        ("1", false),
        ("0.2...<0.3", false),
        ("0.0...<0.1", false),
    ] {
        let directory = scratch();
        let list = format!("{PROJECT}find_package(odio {asked} REQUIRED CONFIG)\n");
        let output = cmake(directory.path(), &list, installed());
        assert_eq!(
            output.status.success(),
            fits,
            "{asked}: {}",
            everything(&output)
        );
    }
}

#[test]
fn the_library_exports_versioned_functions_and_nothing_else() {
    let symbols = succeed(
        Command::new("nm")
            .args(["-D", "--defined-only"])
            .arg(library()),
    );
    let exported: BTreeSet<&str> = symbols
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    let version = format!("@@{}", node());
    let header = fs::read_to_string(installed().join("include/odio.h")).unwrap();
    let mut functions = 0;
    for symbol in exported {
        // The version itself is a symbol as well.
        if symbol == node() {
            continue;
        }
        let name = symbol
            .strip_suffix(&version)
            .unwrap_or_else(|| panic!("{symbol} is not of version {version}"));
        assert!(
            name.starts_with("odio_") && header.contains(&format!("{name}(")),
            "{name}"
        );
        functions += 1;
    }
    assert!(functions > 20, "{symbols}");

    let dynamic = succeed(Command::new("readelf").arg("-dW").arg(library()));
    assert!(dynamic.contains("soname: [libodio.so.0]"), "{dynamic}");
    let needed: BTreeSet<&str> = dynamic
        .lines()
        .filter(|line| line.contains("(NEEDED)"))
        .filter_map(|line| line.split(['[', ']']).nth(1))
        .collect();
    let system = BTreeSet::from(["libc.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2"]);
    assert!(needed.is_subset(&system), "{needed:?}");
    assert!(
        !dynamic.contains("RPATH") && !dynamic.contains("RUNPATH") && !dynamic.contains("TEXTREL"),
        "{dynamic}"
    );
    for (link, to) in [
        ("libodio.so", "libodio.so.0"),
        (
            "libodio.so.0",
            concat!("libodio.so.", env!("CARGO_PKG_VERSION")),
        ),
    ] {
        assert_eq!(
            fs::read_link(installed().join("lib").join(link)).unwrap(),
            Path::new(to)
        );
    }
}

#[test]
fn the_library_has_its_probe_points() {
    let notes = succeed(Command::new("readelf").arg("-nW").arg(library()));
    let names: BTreeSet<&str> = notes
        .split("Provider: odio")
        .skip(1)
        .filter_map(|note| note.trim_start().lines().next())
        .collect();
    assert_eq!(names, BTreeSet::from(["Name: complete", "Name: submit"]));
    // A note that a linker left behind without its code has an address near 0.
    assert!(!notes.contains("Location: 0x0000000000000"), "{notes}");
}

#[test]
fn the_installed_header_needs_nothing_that_is_not_installed() {
    let include = installed().join("include");
    for (compiler, language, standard) in [("cc", "c", "-std=c99"), ("c++", "c++", "-std=c++17")] {
        let mut cc = Command::new(compiler);
        cc.args([standard, "-M", "-x", language]).args(STRICT);
        cc.args(pkg_config(installed(), "lib", &["--cflags"]));
        // What the header is compiled from, its own name first.
        let rule = succeed(cc.arg(include.join("odio.h")));
        let files: Vec<&str> = rule
            .split([' ', '\n', '\\'])
            .filter(|word| word.starts_with('/'))
            .collect();
        assert!(files.len() > 3, "{rule}");
        for file in files {
            let path = Path::new(file);
            assert!(
                path.starts_with(&include) || path.starts_with("/usr"),
                "{file}"
            );
        }
    }
}

#[test]
fn what_is_installed_knows_nothing_of_where_it_was_built() {
    let lib = installed().join("lib");
    for file in [
        "pkgconfig/odio.pc",
        "cmake/odio/odioConfig.cmake",
        "cmake/odio/odioConfigVersion.cmake",
    ] {
        let text = fs::read_to_string(lib.join(file)).unwrap();
        assert!(!text.contains(root().to_str().unwrap()), "{file}: {text}");
        assert!(!text.contains(target().to_str().unwrap()), "{file}: {text}");
        assert!(
            !text.contains('@') && !text.contains("Filled in"),
            "{file} has gaps: {text}"
        );
    }
    assert_eq!(
        pkg_config(installed(), "lib", &["--modversion"]),
        [env!("CARGO_PKG_VERSION")]
    );
    // The usual layout needs no variable to be moved.
    let mut command = Command::new("pkg-config");
    command
        .args(["--define-prefix", "--cflags", "odio"])
        .env("PKG_CONFIG_LIBDIR", lib.join("pkgconfig"));
    assert_eq!(
        succeed(&mut command).trim(),
        format!("-I{}", installed().join("include").display())
    );
    // Every function's page came along; what the pages say is tested elsewhere.
    for page in [
        "man3/odio_file_open.3",
        "man3/odio_queue.3",
        "man7/libodio.7",
    ] {
        assert!(installed().join("share/man").join(page).is_file(), "{page}");
    }
}

#[test]
fn another_library_directory_is_taken_and_all_is_removed_again() {
    // For the build, which is the same.
    installed();
    let directory = scratch();
    let destination = directory.path().join("destination");
    let libdir = "lib/x86_64-linux-gnu";
    succeed(script(&destination, &["lib", "man"]).env("LIBDIR", libdir));
    let prefix = destination.join("usr/local");
    assert!(prefix.join(libdir).join("libodio.so.0").is_file());
    assert_eq!(
        pkg_config(&prefix, libdir, &["--cflags", "--libs"]),
        [
            format!("-I{}", prefix.join("include").display()),
            format!("-L{}", prefix.join(libdir).display()),
            "-lodio".to_owned()
        ]
    );
    let list = version_project(directory.path());
    let output = cmake(directory.path(), &list, &prefix);
    assert!(output.status.success(), "{}", everything(&output));
    assert_eq!(
        succeed(&mut Command::new(directory.path().join("build/version"))).trim(),
        env!("CARGO_PKG_VERSION")
    );

    // What an earlier version left.
    fs::write(prefix.join(libdir).join("libodio.so.0.0.9"), "").unwrap();
    succeed(script(&destination, &["--remove"]).env("LIBDIR", libdir));
    let left = succeed(
        Command::new("find")
            .arg(&destination)
            .args(["!", "-type", "d"]),
    );
    assert_eq!(left, "");
}

/// Writes version.c and what it needs, and a CMake list that makes it a program.
fn version_project(directory: &Path) -> String {
    for name in ["check.h", "version.c"] {
        fs::copy(root().join("tests/c").join(name), directory.join(name)).unwrap();
    }
    format!(
        "{PROJECT}find_package(odio REQUIRED CONFIG)\nadd_executable(version version.c)\ntarget_link_libraries(version PRIVATE odio::odio)\n"
    )
}

#[test]
fn an_odd_place_is_written_down_as_it_is() {
    // For the build, which is the same.
    installed();
    let directory = scratch();
    let place = directory.path().join("what & is this place");
    let prefix = format!("{}//", place.display());
    let mut install = script(Path::new(""), &["lib"]);
    install.env("DESTDIR", "").env("PREFIX", &prefix);
    // Only a look at the arguments; what it would change is the machine's.
    let tools = fake_linker_tools(directory.path());
    succeed(
        install
            .env("LIBDIR", "lib//x86_64-linux-gnu/")
            .env("PATH", &tools),
    );
    let list = version_project(directory.path());
    let output = cmake(directory.path(), &list, &place);
    assert!(output.status.success(), "{}", everything(&output));
    succeed(&mut Command::new(directory.path().join("build/version")));
    // As a shell reads what pkg-config prints.
    let mut shell = Command::new("sh");
    shell
        .args([
            "-ec",
            "eval cc version.c -o version $(pkg-config --cflags --libs odio); ./version",
        ])
        .current_dir(directory.path())
        .env(
            "PKG_CONFIG_LIBDIR",
            place.join("lib/x86_64-linux-gnu/pkgconfig"),
        )
        .env("LD_LIBRARY_PATH", place.join("lib/x86_64-linux-gnu"));
    assert_eq!(succeed(&mut shell).trim(), env!("CARGO_PKG_VERSION"));
}

/// A PATH on which everyone is root and ldconfig only writes a line to the file `told`.
fn fake_linker_tools(directory: &Path) -> String {
    let tools = directory.join("tools");
    fs::create_dir(&tools).unwrap();
    for (name, text) in [
        ("id", "echo 0".to_owned()),
        (
            "ldconfig",
            format!("echo ldconfig >> '{}'", directory.join("told").display()),
        ),
    ] {
        let path = tools.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        succeed(Command::new("chmod").arg("755").arg(&path));
    }
    format!("{}:{}", tools.display(), std::env::var("PATH").unwrap())
}

#[test]
fn the_dynamic_linker_is_told_where_it_will_look() {
    installed();
    let directory = scratch();
    let tools = fake_linker_tools(directory.path());
    let told = || {
        let lines = fs::read_to_string(directory.path().join("told")).unwrap_or_default();
        lines.lines().count()
    };
    let prefix = directory.path().join("prefix");
    for (destination, expected) in [(directory.path().join("elsewhere"), 0), (PathBuf::new(), 2)] {
        for arguments in [&["lib"][..], &["--remove", "lib"]] {
            let mut install = script(&destination, arguments);
            succeed(install.env("PREFIX", &prefix).env("PATH", &tools));
        }
        assert_eq!(told(), expected, "{destination:?}");
    }
}

#[test]
fn a_wrong_place_is_refused() {
    let directory = scratch();
    for (name, value) in [
        ("PREFIX", "usr"),
        ("LIBDIR", "/opt/lib"),
        ("LIBDIR", "../lib"),
        ("LIBDIR", "lib/../../lib"),
        ("LIBDIR", "/"),
        ("LIBDIR", "."),
        ("PREFIX", "/opt/$HOME"),
        ("PREFIX", "/opt/\"odio\""),
    ] {
        let output = run(script(directory.path(), &["man"]).env(name, value));
        assert!(
            !output.status.success() && everything(&output).contains(name),
            "{name}={value}: {}",
            everything(&output)
        );
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}
