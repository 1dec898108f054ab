//! # C programs against libodio
//!
//! Builds them against the libodio of this workspace, and runs them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// What rustc says a program needs besides libodio.a (`--print native-static-libs`).
pub const STATIC_LIBRARIES: [&str; 7] = [
    "-lgcc_s",
    "-lutil",
    "-lrt",
    "-lpthread",
    "-lm",
    "-ldl",
    "-lc",
];

/// Warnings that C programs of this project are free of.
pub const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

/// How a C program gets libodio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// libodio.so, found at run time by its soname.
    Shared,
    /// libodio.a.
    Static,
}

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ is inside the repository")
}

/// The built libraries.
pub struct Libodio {
    /// A directory with libodio.so.0, as the dynamic linker wants it.
    pub directory: PathBuf,
    /// libodio.so.
    pub shared: PathBuf,
    /// libodio.a.
    pub archive: PathBuf,
}

/// Builds libodio, once for each test program.
pub fn libodio() -> &'static Libodio {
    static BUILT: OnceLock<Libodio> = OnceLock::new();
    BUILT.get_or_init(|| {
        let output = Command::new(env!("CARGO"))
            .args([
                "build",
                "--package",
                "odio-ffi",
                "--message-format",
                "json-render-diagnostics",
            ])
            .current_dir(root())
            .output()
            .expect("cargo starts");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let files: Vec<PathBuf> = String::from_utf8(output.stdout)
            .expect("cargo speaks UTF-8")
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter(|message| {
                message["reason"] == "compiler-artifact" && message["target"]["name"] == "odio"
            })
            .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
            .filter_map(|name| name.as_str().map(PathBuf::from))
            .collect();
        let find = |extension: &str| {
            let file = files
                .iter()
                .find(|file| file.extension() == Some(OsStr::new(extension)));
            file.unwrap_or_else(|| panic!("cargo built no .{extension}"))
                .clone()
        };
        let (shared, archive) = (find("so"), find("a"));
        let directory = shared
            .parent()
            .expect("a file is in a directory")
            .to_owned();
        match std::os::unix::fs::symlink(&shared, directory.join("libodio.so.0")) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                panic!("libodio.so.0: {error}")
            }
            _ => {}
        }
        Libodio {
            directory,
            shared,
            archive,
        }
    })
}

/// A new directory on the disk that holds the build, because `/tmp` may be a tmpfs.
pub fn scratch() -> tempfile::TempDir {
    let build = std::env::current_exe().expect("a test has a path");
    tempfile::tempdir_in(build.parent().expect("and a directory"))
        .expect("the build directory is writable")
}

/// Compiles one C file of the repository; `flags` come before the strict ones.
pub fn compile(source: &str, link: Link, flags: &[&str], directory: &Path) -> PathBuf {
    compile_parts(source, &[], link, flags, directory)
}

/// As [`compile`], for a program of several C files; `source` names the program.
pub fn compile_parts(
    source: &str,
    parts: &[&str],
    link: Link,
    flags: &[&str],
    directory: &Path,
) -> PathBuf {
    let library = libodio();
    let program = directory
        .join(Path::new(source).file_stem().expect("a file"))
        .with_extension(match link {
            Link::Shared => "shared",
            Link::Static => "static",
        });
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-D_GNU_SOURCE", "-g", "-O1", "-pthread"])
        .args(flags)
        .args(STRICT);
    cc.arg("-I")
        .arg(root().join("include"))
        .arg(root().join(source))
        .args(parts.iter().map(|part| root().join(part)))
        .arg("-o")
        .arg(&program);
    match link {
        Link::Shared => cc.arg(&library.shared),
        Link::Static => cc.arg(&library.archive).args(STATIC_LIBRARIES),
    };
    succeed(&mut cc);
    program
}

/// A command line for a program built by [`compile`], under `tool` where that is not empty.
pub fn command<S: AsRef<OsStr>>(tool: &[&str], program: &Path, arguments: &[S]) -> Command {
    let mut command = match tool {
        [] => Command::new(program),
        [tool, options @ ..] => {
            let mut command = Command::new(tool);
            command.args(options).arg(program);
            command
        }
    };
    command
        .args(arguments)
        .env("LD_LIBRARY_PATH", &libodio().directory);
    command
}

/// Runs to a status of 0, or fails the test with everything that was printed. Returns standard output.
pub fn succeed(command: &mut Command) -> String {
    let output = run(command);
    assert!(
        output.status.success(),
        "{command:?}: {}",
        everything(&output)
    );
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Runs, whatever the status.
pub fn run(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("{command:?} does not start: {error}"))
}

/// Status and both outputs, for messages.
pub fn everything(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!(
        "{}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    )
}
