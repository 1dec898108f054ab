//! # What odio-trace prints and records, as a reader elsewhere gets it
//!
//! On whatever kernel the tests run on: real lines against the published schema, and a recording against what was
//! printed of the same run.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

const ODIO_TRACE: &str = env!("CARGO_BIN_EXE_odio-trace");

/// Somebody who may do nothing.
const NOBODY: u32 = 65_534;

/// Says that a test cannot run here and why; it is counted by scripts/check.
fn skip(why: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "skipped: {}", why.trim_end());
}

/// A folder on the filesystem of the build, which may be asked for direct I/O.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build directory is writable")
}

fn root() -> bool {
    fs::metadata("/proc/self").expect("/proc").uid() == 0
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn run(arguments: &[&str]) -> Output {
    Command::new(ODIO_TRACE)
        .args(arguments)
        .output()
        .expect("odio-trace starts")
}

fn lines(output: &Output) -> Vec<Value> {
    text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect()
}

/// A folder that everybody may look into, with the program in it.
struct Elsewhere(tempfile::TempDir);

impl Elsewhere {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // Not by this process: a child that another test forks meanwhile would keep the copy open for writing, and
        // what is open for writing cannot be run (ETXTBSY).
        let copied = Command::new("cp")
            .arg(ODIO_TRACE)
            .arg(dir.path().join("odio-trace"))
            .status();
        assert!(copied.unwrap().success());
        Self(dir)
    }

    /// Runs it as somebody who may do nothing.
    fn nobody(&self, arguments: &[&str]) -> Output {
        Command::new(self.0.path().join("odio-trace"))
            .args(arguments)
            .current_dir("/")
            .uid(NOBODY)
            .gid(NOBODY)
            .output()
            .expect("it starts as nobody")
    }
}

/// Holds lines against the schema that the same program prints.
fn held(lines: &[Value]) {
    let schema = run(&["schema"]);
    assert!(schema.status.success());
    let schema: Value = serde_json::from_slice(&schema.stdout).expect("the schema is JSON");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema");
    for line in lines {
        let errors: Vec<String> = validator
            .iter_errors(line)
            .map(|error| error.to_string())
            .collect();
        assert!(errors.is_empty(), "{errors:?}: {line}");
    }
}

/// Says why not, where this machine cannot be traced.
fn traced(output: &Output) -> bool {
    if output.status.code() == Some(4) {
        skip(&text(&output.stderr));
        return false;
    }
    true
}

#[test]
fn the_doctor_answers_as_the_schema_says_also_to_nobody() {
    let mine = run(&["doctor", "--json"]);
    assert_eq!(mine.status.code(), Some(0), "{}", text(&mine.stderr));
    held(&lines(&mine));
    if !root() {
        return;
    }
    let elsewhere = Elsewhere::new();
    let nobody = elsewhere.nobody(&["doctor", "--json"]);
    assert_eq!(nobody.status.code(), Some(0), "{}", text(&nobody.stderr));
    let said = lines(&nobody);
    held(&said);
    assert_eq!(said[0]["attached"], false);
    assert!(!said[0]["why_not"].as_str().expect("a reason").is_empty());
    let nobody = elsewhere.nobody(&["doctor"]);
    assert_eq!(nobody.status.code(), Some(0));
    let said = text(&nobody.stdout);
    assert!(
        said.contains("nothing was attached, so nothing is proven to work"),
        "{said}"
    );
}

/// dd's writes under `run`, with these options.
fn dd(dir: &Path, options: &[&str]) -> Output {
    let file = format!("of={}", dir.join("f").display());
    let mut all = vec!["run"];
    all.extend(options);
    all.extend([
        "--",
        "dd",
        "if=/dev/zero",
        "bs=4k",
        "count=23",
        "oflag=direct",
        &file,
    ]);
    run(&all)
}

#[test]
fn a_recording_holds_what_was_printed_and_is_read_without_privilege() {
    if !root() {
        skip("tracing this machine's kernel needs root");
        return;
    }
    let dir = scratch();
    let recording = dir.path().join("r.odio");
    let named = recording.to_str().expect("a name");
    let printed = dd(dir.path(), &["--json", "--record", named]);
    if !traced(&printed) {
        return;
    }
    assert_eq!(printed.status.code(), Some(0), "{}", text(&printed.stderr));
    let printed = lines(&printed);
    held(&printed);

    let report = run(&["report", named, "--json"]);
    assert_eq!(report.status.code(), Some(0), "{}", text(&report.stderr));
    let report = lines(&report);
    held(&report);
    let of_run: Vec<&Value> = report
        .iter()
        .filter(|line| line["type"] == "op" || line["type"] == "summary")
        .collect();
    assert_eq!(of_run, printed.iter().collect::<Vec<_>>());
    assert_eq!(report[0]["type"], "recording");
    assert_eq!(report[1]["type"], "device");

    // The same for a person, without any privilege.
    let elsewhere = Elsewhere::new();
    let copy = elsewhere.0.path().join("r.odio");
    fs::copy(&recording, &copy).unwrap();
    let shown = elsewhere.nobody(&[
        "report",
        copy.to_str().expect("a name"),
        "--paths",
        "--histogram",
    ]);
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
    let shown = text(&shown.stdout);
    let summary = printed.last().expect("a summary");
    let gaps = summary["gaps"].as_array().expect("the gaps").len();
    let last = shown.lines().last().expect("a line on the run");
    assert_eq!(gaps == 0, last.starts_with("all seen"), "{last}: {summary}");

    // Half of it is told from all of it.
    let whole = fs::read(&recording).unwrap();
    let half = dir.path().join("half");
    fs::write(&half, &whole[..whole.len() / 2]).unwrap();
    let cut = run(&["report", half.to_str().expect("a name")]);
    assert!(
        matches!(cut.status.code(), Some(1 | 3)) && text(&cut.stderr).contains("cut off"),
        "{cut:?}"
    );
}

#[test]
fn a_killed_tracer_leaves_what_it_has_recorded() {
    if !root() {
        skip("tracing this machine's kernel needs root");
        return;
    }
    let dir = scratch();
    let recording = dir.path().join("r");
    let mut tracer = Command::new(ODIO_TRACE)
        .args(["run", "--json", "--record"])
        .arg(&recording)
        .args(["--", "sleep", "30"])
        .spawn()
        .expect("odio-trace starts");
    let partial = dir.path().join("r.partial");
    // The header is passed on before the command runs.
    let mut tries = 0;
    while fs::metadata(&partial).map_or(0, |m| m.len()) < 100 {
        assert!(tries < 600, "nothing was recorded");
        if let Some(status) = tracer.try_wait().expect("its status") {
            assert_eq!(status.code(), Some(4));
            skip("this machine's kernel cannot be traced");
            return;
        }
        tries += 1;
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    // The command goes on by itself, and soon ends by itself.
    tracer.kill().expect("it is there");
    tracer.wait().expect("its status");
    let report = run(&["report", partial.to_str().expect("a name")]);
    assert!(!recording.exists());
    assert_eq!(report.status.code(), Some(3), "{}", text(&report.stderr));
    assert!(text(&report.stdout).ends_with("INCONCLUSIVE: the recording was cut off\n"));
}

#[test]
fn rows_of_a_matrix_are_as_the_schema_says() {
    if !root() {
        skip("tracing this machine's kernel needs root");
        return;
    }
    let dir = scratch();
    let dir = dir.path().to_str().expect("a name");
    let rows = run(&[
        "matrix",
        "--json",
        "--dir",
        dir,
        "--engine",
        "psync",
        "--situation",
        "overwrite,read",
    ]);
    if !traced(&rows) {
        return;
    }
    let rows = lines(&rows);
    held(&rows);
    assert_eq!(rows.iter().filter(|line| line["type"] == "row").count(), 12);
}

#[test]
fn what_is_no_recording_gives_a_reason_and_status_1() {
    let dir = scratch();
    let file = dir.path().join("r");
    fs::write(&file, "{\"type\":\"op\"}\n").unwrap();
    for options in [&["--json"][..], &[], &["-o", "/nonexistent/r.html"]] {
        let mut arguments = vec!["report", file.to_str().expect("a name")];
        arguments.extend(options);
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(1), "{options:?}");
        assert!(text(&output.stderr).starts_with("odio-trace: "));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn what_could_not_be_judged_is_no_broken_rule() {
    let dir = scratch();
    let path = |name: &str| dir.path().join(name).to_str().expect("a name").to_owned();
    let (policy, damaged, missing) = (path("p.toml"), path("damaged"), path("missing"));
    fs::write(&policy, "[[rule]]\nname = \"a\"\nno_punt = true\n").unwrap();
    fs::write(&damaged, "{\"type\":\"op\"}\n").unwrap();
    let verify = |arguments: &[&str]| {
        let output = run(&[&["verify", "--policy"], arguments].concat());
        assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
        (output.status.code(), text(&output.stderr))
    };
    for recording in [&damaged, &missing] {
        let (status, said) = verify(&[&policy, "--recording", recording]);
        assert_eq!(status, Some(3), "{said}");
        assert!(said.contains(recording.as_str()), "{said}");
    }
    let junit = ["--junit", "/nonexistent/junit.xml"];
    for (policy, more) in [(&missing, &[][..]), (&policy, &junit)] {
        let (status, said) = verify(&[&[policy, "--recording", &damaged], more].concat());
        assert_eq!(status, Some(2), "{said}");
    }
    if !root() {
        return skip("only root becomes somebody who may not trace");
    }
    let elsewhere = Elsewhere::new();
    fs::copy(&policy, elsewhere.0.path().join("p.toml")).unwrap();
    let policy = elsewhere.0.path().join("p.toml");
    let output = elsewhere.nobody(&[
        "verify",
        "--policy",
        policy.to_str().expect("a name"),
        "--",
        "true",
    ]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
}
