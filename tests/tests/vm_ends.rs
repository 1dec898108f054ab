//! # `odio-trace vm`: what comes back when the command ends, and how a shell ends
//!
//! Whatever the command does on its way out, its files come back, its status too, and nothing of the VM is left.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use odio_tests::vm::{Run, odio_trace};

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn files_come_back_as_they_were_left_whatever_the_status() {
    let room = tempfile::tempdir().unwrap();
    let out = room.path().join("made/anew");
    // What goes on in the background when the command ends is killed, and keeps nothing from coming back.
    let script = "cd $ODIO_VM_OUT && mkdir -p a/b && printf 'one\\0two' >a/b/file && chmod 640 a/b/file && ln -s b/file a/link \
        && mkfifo pipe && chmod 500 a/b && (trap '' TERM HUP; sleep 1000) & sleep 1; exit 7";
    let output = Run::new(&["--out", text(&out)], &["sh", "-c", script]).output();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(7), "{said}");
    let file = out.join("a/b/file");
    assert_eq!(fs::read(&file).unwrap(), b"one\0two");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&file), mode(&out.join("a/b"))), (0o640, 0o500));
    assert_eq!(
        fs::read_link(out.join("a/link")).unwrap(),
        Path::new("b/file")
    );
    // They belong to who asked for them, not to the guest's root.
    let own = fs::metadata(room.path()).unwrap().uid();
    assert_eq!(fs::metadata(&file).unwrap().uid(), own);
    // What cannot come back is told.
    assert!(said.contains("pipe"), "{said}");
    assert!(!out.join("pipe").exists());
}

#[test]
fn a_command_that_is_stopped_leaves_its_files_too() {
    let room = tempfile::tempdir().unwrap();
    let options = [
        "--fs",
        "ext4,tmpfs",
        "--timeout",
        "40",
        "--out",
        text(room.path()),
    ];
    let output = Run::new(
        &options,
        &["sh", "-c", "echo so far >/out/file; sleep 1000"],
    )
    .output();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(124), "{said}");
    let mut found: Vec<PathBuf> = fs::read_dir(room.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    assert_eq!(found.len(), 2, "{found:?}: {said}");
    for (folder, fs) in found.iter().zip(["ext4", "tmpfs"]) {
        assert!(text(folder).contains(fs), "{folder:?}");
        let file = fs::read_to_string(folder.join("file"));
        assert_eq!(file.unwrap_or_else(|e| panic!("{e}: {said}")), "so far\n");
    }
}

/// A terminal of its own comes from script(1).
#[test]
fn a_shell_talks_to_the_terminal_and_gives_its_status() {
    let room = tempfile::tempdir().unwrap();
    let command = format!("{} vm --shell", odio_trace().display());
    let mut script = Command::new("script")
        .args(["--quiet", "--return", "--command", &command])
        .arg(room.path().join("typescript"))
        .env("TMPDIR", room.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("script (package bsdutils)");
    let mut keys = script.stdin.take().unwrap();
    keys.write_all(b"echo it is $((6 * 7)); test -t 0 && exit 9\n")
        .unwrap();
    let output = script.wait_with_output().unwrap();
    drop(keys);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(9), "{shown}");
    assert!(shown.contains("it is 42"), "{shown}");
}
