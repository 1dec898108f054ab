//! # What each mode really does, by kernel, filesystem and disk
//!
//! Runs the matrix in VMs and holds it against the expectations in `tests/matrix`.
//!
//! `ODIO_MATRIX` says how much: `all` places; `usual` (what CI runs): four kernels by the four filesystems whose rows took
//! no path that was not known in the last runs (vfat writes dated sectors that come and go, btrfs syncs once or twice);
//! otherwise two kernels by two filesystems.
//!
//! Expectations are taken from a result that was looked at:
//! `odio-trace matrix --all --json >all.json; ODIO_UPDATE_MATRIX=$PWD/all.json cargo test -p odio-tests --test matrix`
//! adds its paths to those that are known. What a row does no more goes with its file, before.

use std::{collections::BTreeSet, fs, process::Command};

use odio_tests::{
    matrix::{KERNELS, Place, Reasons, UNKNOWN, printed},
    vm::odio_trace,
};

/// A row that departs from the plain rule has its reason, which is the one that `reasons.toml` gives; no other has one.
#[test]
fn every_departure_has_its_reason() {
    if let Ok(result) = std::env::var("ODIO_UPDATE_MATRIX") {
        update(&result);
    }
    let reasons = Reasons::read();
    let mut wrong = Vec::new();
    let mut unused: BTreeSet<&str> = reasons.texts().collect();
    for place in Place::all() {
        let rows = place.rows();
        assert!(!rows.is_empty(), "{place:?}");
        for (key, row) in rows {
            let why = reasons.of(&place, &key, &row);
            if let Some(why) = &why {
                unused.retain(|text| !why.contains(text));
            }
            if why != row.departs || why.is_some_and(|why| why.contains(UNKNOWN)) {
                wrong.push(format!("{}: {key:?} {row:?}", place.file().display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} rows:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(unused.is_empty(), "no row has these: {unused:#?}");
}

fn update(result: &str) {
    let text = fs::read_to_string(result).expect("the result");
    let reasons = Reasons::read();
    for (place, mut rows) in printed(&text) {
        if place.file().exists() {
            for (key, known) in place.rows() {
                if let Some(row) = rows.get_mut(&key)
                    && row.verdict == known.verdict
                {
                    row.paths.extend(known.paths);
                }
            }
        }
        place.write(&rows, &reasons);
    }
}

fn compare(kernels: &[&str], filesystems: &[&str], disks: &[&str]) {
    let room = tempfile::tempdir().expect("a temporary folder");
    let known = room.path().join("known.json");
    let among = |list: &[&str], value: &str| list.contains(&value);
    let lines: String = Place::all()
        .iter()
        .filter(|p| {
            among(kernels, &p.kernel) && among(filesystems, &p.fs) && among(disks, &p.device)
        })
        .map(|place| place.lines(&place.rows()))
        .collect();
    fs::write(&known, lines).expect("the expectations");
    let output = Command::new(odio_trace())
        .args(["matrix", "--kernel", &kernels.join(",")])
        .args(["--fs", &filesystems.join(","), "--device", &disks.join(",")])
        .arg("--compare")
        .arg(&known)
        .output()
        .expect("odio-trace starts");
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    let changes: Vec<&str> = printed
        .lines()
        .skip_while(|line| !line.ends_with("not to be had"))
        .collect();
    let told: BTreeSet<&str> = said.lines().collect();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}\n{told:?}\n{printed}",
        changes.join("\n")
    );
}

#[test]
fn rows_are_as_expected() {
    match std::env::var("ODIO_MATRIX").as_deref() {
        Ok("all") => compare(
            &KERNELS,
            &odio_tests::matrix::FILESYSTEMS,
            &odio_tests::matrix::DISKS,
        ),
        Ok("usual") => {
            let six = [
                "ext4",
                "xfs",
                "xfs-reflinked",
                "btrfs",
                "btrfs-nodatacow",
                "block",
            ];
            compare(&KERNELS, &six, &["nvme"]);
            compare(&["6.12"], &["ext4"], &["virtio", "write-through"]);
        }
        _ => compare(&["6.1", "6.12"], &["ext4", "xfs"], &["nvme"]),
    }
}
