//! # The recipes of docs/ci.md
//!
//! Each is taken out of the document and run as it is written there, with the program of the document and with one whose
//! records are not durable. What the installation would have installed stands on the PATH; of its scripts it is seen that
//! they know what they are asked for.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use odio_tests::{
    everything,
    ordinary::OrdinaryUser,
    recipe::Document,
    root,
    vm::Run,
    workflow::{Action, Job, jobs},
};

const RULE: &str = "a record is durable when its write returns";

fn document() -> Document {
    Document::read("docs/ci.md")
}

/// What is beside the code, in a folder of its own; durable records or not.
fn code(folder: &Path, durable: bool) {
    let document = document();
    fs::create_dir_all(folder).expect("a folder");
    fs::write(
        folder.join("wal.toml"),
        document.block("Beside the code", "toml"),
    )
    .expect("the policy");
    let mut program = document.block("Beside the code", "sh").to_owned();
    if !durable {
        program = replaced(&program, "oflag=direct,dsync", "oflag=direct");
    }
    let selftest = folder.join("selftest");
    fs::write(&selftest, program).expect("the program");
    fs::set_permissions(&selftest, fs::Permissions::from_mode(0o755)).expect("its mode");
}

fn replaced(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from} in {text}");
    text.replace(from, to)
}

fn status(output: &Output) -> Option<i32> {
    output.status.code()
}

/// Test cases, broken rules, and what could not be told, as a JUnit file has them.
fn counts(junit: &str) -> [&str; 3] {
    let (_, tests) = junit.split_once("<testsuites ").expect(junit);
    ["tests", "failures", "errors"].map(|name| {
        let (_, rest) = tests.split_once(&format!(" {name}=\"")).expect(name);
        rest.split('"').next().expect("a value")
    })
}

/// The scripts are there, and know what they are told.
fn assert_installs(script: &str) {
    for line in script.lines() {
        let words = line.split_whitespace().filter(|word| !word.contains('='));
        let words: Vec<&str> = words.collect();
        let path = words[0].strip_prefix("odio/").expect(line);
        let known = fs::read_to_string(root().join(path)).expect("a script");
        let what = match path {
            "scripts/setup" => "#   ",
            "scripts/install" => "install_",
            _ => panic!("{path} installs nothing"),
        };
        assert!(words.len() > 1, "{line}");
        for word in &words[1..] {
            let is_known = known.lines().any(|line| {
                line.strip_prefix(what)
                    .and_then(|rest| rest.strip_prefix(word))
                    .is_some_and(|rest| rest.starts_with([' ', '(']))
            });
            assert!(is_known, "{path} does not know {word}");
        }
    }
}

#[test]
fn the_shell_recipe_fails_where_a_rule_is_broken() {
    let document = document();
    assert_installs(document.block("Installation", "sh"));
    let recipe = document.block("In a shell", "sh");
    let user = OrdinaryUser::new();
    let run = |name: &str, recipe: &str| {
        let folder = user.home().join(name);
        code(&folder, name == "kept");
        user.own(&folder);
        let mut shell = user.command("sh");
        let output = shell.args(["-c", recipe]).current_dir(&folder).output();
        let output = output.expect("sh starts");
        let mut verdicts = Vec::new();
        for entry in fs::read_dir(folder.join("verdicts")).expect("verdicts") {
            let junit = entry.expect("an entry").path().join("wal.xml");
            verdicts.push(fs::read_to_string(&junit).expect("a JUnit file"));
        }
        (output, verdicts)
    };

    let (output, verdicts) = run("kept", recipe);
    let said = everything(&output);
    assert_eq!(status(&output), Some(0), "{said}");
    assert_eq!(verdicts.len(), 4, "{said}");
    for junit in &verdicts {
        assert_eq!(counts(junit), ["2", "0", "0"], "{junit}");
    }
    // Half as many VMs tell whether it fails.
    let recipe = replaced(
        recipe,
        "--kernel 6.1,6.12 --fs ext4,xfs",
        "--kernel 6.1,6.12 --fs ext4",
    );
    let (output, verdicts) = run("broken", &recipe);
    let said = everything(&output);
    assert_eq!(status(&output), Some(1), "{said}");
    assert_eq!(verdicts.len(), 2, "{said}");
    for junit in &verdicts {
        assert_eq!(counts(junit), ["2", "1", "0"], "{junit}");
        assert!(junit.contains(&format!("name=\"{RULE}\"")), "{junit}");
    }
}

/// How a job of the workflow went.
struct Went {
    /// Of each script, in order.
    scripts: Vec<Output>,
    /// The actions that ran after the last script: which, and the file or folder that they were given.
    uploads: Vec<(String, String)>,
}

/// Runs a job as GitHub does; instead of the installation the program is on the PATH already.
fn run(job: &Job, user: &OrdinaryUser, workspace: &Path) -> Went {
    let mut went = Went {
        scripts: Vec::new(),
        uploads: Vec::new(),
    };
    let mut has_failed = false;
    let mut installed = false;
    for step in &job.steps {
        if !step.runs(has_failed, workspace) {
            continue;
        }
        match &step.action {
            Action::Run(script) if script.starts_with("odio/scripts/") => {
                assert_installs(script);
                installed = true;
            }
            Action::Run(script) => {
                assert!(installed, "nothing was installed before {script}");
                let file = user.home().join("step.sh");
                fs::write(&file, script).expect("a script");
                user.own(&file);
                let mut bash: Command = user.command("bash");
                bash.args(["--noprofile", "--norc", "-eo", "pipefail"]);
                let output = bash.arg(&file).current_dir(workspace).output();
                let output = output.expect("bash starts");
                has_failed |= !output.status.success();
                went.scripts.push(output);
            }
            Action::Uses(action, with) => {
                let (name, commit) = action.split_once('@').expect("a version");
                let is_commit = commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit());
                assert!(is_commit, "{action} may change");
                let file = match name {
                    "actions/checkout" => {
                        assert_eq!(with["submodules"], "true");
                        assert!(!installed, "{action} comes too late");
                        continue;
                    }
                    "github/codeql-action/upload-sarif" => {
                        assert!(with["category"].ends_with(&job.of), "{with:?}");
                        &with["sarif_file"]
                    }
                    "actions/upload-artifact" => {
                        assert!(with["name"].ends_with(&job.of), "{with:?}");
                        &with["path"]
                    }
                    _ => panic!("{action} is not known here"),
                };
                went.uploads.push((name.to_owned(), file.clone()));
            }
        }
    }
    went
}

#[test]
fn the_workflow_shows_what_was_broken() {
    let document = document();
    let workflow = document.block("On GitHub", "yaml");
    // What pins an action also says which version that is.
    for line in workflow.lines().filter(|line| line.contains("uses:")) {
        assert!(line.contains(" # v"), "{line}");
    }
    let jobs = jobs(workflow);
    assert_eq!(jobs.len(), 2);
    let user = OrdinaryUser::new();
    for (job, durable) in [(&jobs[0], false), (&jobs[0], true), (&jobs[1], true)] {
        let workspace = user.home().join(format!("{}-{durable}", job.of));
        code(&workspace, durable);
        user.own(&workspace);
        let went = run(job, &user, &workspace);
        let said: Vec<String> = went.scripts.iter().map(everything).collect();
        let statuses: Vec<_> = went.scripts.iter().map(status).collect();
        let wrong = usize::from(!durable);
        assert_eq!(statuses, [Some(0), Some(i32::from(!durable))], "{said:#?}");

        let place = format!(
            "::error file=wal.toml,line=2,col=8,title={RULE}::durable_before_ack = true: 23 ops were "
        );
        assert_eq!(said[1].matches(&place).count(), wrong, "{}", said[1]);
        assert_eq!(said[1].matches("\n::").count(), wrong, "{}", said[1]);
        let uploads: Vec<(&str, &str)> = went
            .uploads
            .iter()
            .map(|(action, file)| (action.as_str(), file.as_str()))
            .collect();
        assert_eq!(
            uploads,
            [
                ("github/codeql-action/upload-sarif", "verdicts/wal.sarif"),
                ("actions/upload-artifact", "verdicts"),
            ]
        );
        let sarif = fs::read_to_string(workspace.join("verdicts/wal.sarif")).expect("SARIF");
        assert_sarif(&sarif, wrong);
        let junit = fs::read_to_string(workspace.join("verdicts/wal.xml")).expect("JUnit");
        assert_eq!(counts(&junit), ["2", ["0", "1"][wrong], "0"], "{junit}");
        assert!(workspace.join("verdicts/wal.odio").is_file());
    }
}

/// This many results, at the rule of the policy, and a run that was seen whole.
fn assert_sarif(text: &str, results: usize) {
    let sarif: serde_json::Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(sarif["version"], "2.1.0");
    let run = &sarif["runs"][0];
    assert_eq!(
        run["invocations"][0]["executionSuccessful"], true,
        "{sarif}"
    );
    let told = run["results"].as_array().expect("results");
    assert_eq!(told.len(), results, "{sarif}");
    for result in told {
        assert_eq!(result["level"], "error");
        assert_eq!(result["ruleId"], RULE);
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "wal.toml");
        assert_eq!(place["region"]["startLine"], 2);
    }
}

#[test]
fn a_step_runs_when_github_would_run_it() {
    let workflow = document().block("On GitHub", "yaml").to_owned();
    let workspace = tempfile::tempdir().expect("a temporary folder");
    let runs = |has_failed| -> Vec<bool> {
        let steps = &jobs(&workflow)[0].steps;
        let runs = steps
            .iter()
            .map(|step| step.runs(has_failed, workspace.path()));
        runs.collect()
    };
    assert_eq!(runs(false), [true, true, true, true, false, true]);
    assert_eq!(runs(true), [false, false, false, false, false, true]);
    fs::create_dir(workspace.path().join("verdicts")).expect("a folder");
    fs::write(workspace.path().join("verdicts/wal.sarif"), "{}").expect("a file");
    assert_eq!(runs(true), [false, false, false, false, true, true]);
}

#[test]
fn a_runner_with_probes_needs_no_vm() {
    let document = document();
    let section = "On a runner of your own";
    let service = document.block(section, "ini");
    let given = service
        .lines()
        .find_map(|line| line.strip_prefix("AmbientCapabilities="));
    let given: Vec<String> = given
        .expect("capabilities")
        .split(' ')
        .map(|name| format!("+{}", name.strip_prefix("CAP_").expect(name).to_lowercase()))
        .collect();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let script = folder.path().join("recipe.sh");
    fs::write(&script, document.block(section, "sh")).expect("the recipe");
    code(&folder.path().join("kept"), true);
    code(&folder.path().join("broken"), false);
    let path = folder.path().to_str().expect("UTF-8");
    let mut options = vec!["--kernel", "6.12", "--timeout", "600"];
    for added in ["/usr/bin/dd", "/usr/bin/setpriv", "/bin/sh", path] {
        options.extend(["--add", added]);
    }
    let words = [
        "sh",
        "-c",
        include_str!("../guest/recipe.sh"),
        "sh",
        script.to_str().expect("UTF-8"),
        path,
        &given.join(","),
    ];
    let output = Run::new(&options, &words).output();
    let printed = everything(&output);
    assert_eq!(status(&output), Some(0), "{printed}");
    for (case, wrong) in [
        ("root-kept", 0),
        ("user-kept", 0),
        ("root-broken", 1),
        ("user-broken", 1),
    ] {
        let after = |what: &str| -> String {
            let prefix = format!("{case}{what} ");
            let lines = printed.lines();
            lines
                .filter_map(|line| line.strip_prefix(&prefix))
                .collect()
        };
        assert_eq!(after(""), wrong.to_string(), "{printed}");
        let junit = after("-junit:");
        assert_eq!(counts(&junit), ["2", ["0", "1"][wrong], "0"], "{junit}");
        assert_sarif(&after("-sarif:"), wrong);
    }
}
