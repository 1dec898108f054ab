//! Reports of recordings.

use std::{fs, path::Path};

use super::*;
use crate::{
    kernel::{Kernel, canned},
    op::Op,
    output::tests::{op, outcome, write},
    plan,
    recording::Recorder,
};

const EVIL: &str = "\u{1b}[2J</td><script>alert(\"1\")</script>'&\u{202e}";

/// Writes a recording of these ops; ends it, or leaves it cut off.
fn record(path: &Path, ops: &[Op], whole: bool) {
    let kernel = Kernel::survey(&canned("6.1"), &plan::functions().collect::<Vec<_>>());
    let mut recorder = Recorder::create(
        path,
        &kernel,
        &plan::make(&kernel, Default::default(), Ok(())),
    )
    .unwrap();
    for op in ops {
        recorder.op(op, &[]).unwrap();
    }
    if whole {
        recorder
            .end(&[], &Summary::of(&outcome(), None), Some(0))
            .unwrap();
    }
}

fn arguments(recording: &Path, output: Option<&Path>) -> cli::Report {
    cli::Report {
        recording: recording.into(),
        output: output.map(Into::into),
        json: false,
        paths: false,
        histogram: false,
        steps: false,
    }
}

fn html(ops: &[Op], whole: bool) -> (String, u8) {
    let dir = tempfile::tempdir().unwrap();
    let mut recording = dir.path().join("r");
    record(&recording, ops, whole);
    if !whole {
        recording.set_extension("partial");
    }
    let page = dir.path().join("r.html");
    let status = run(&arguments(&recording, Some(&page))).unwrap();
    let html = fs::read_to_string(&page).unwrap();
    (html, status)
}

#[test]
fn a_page_holds_all_and_takes_nothing_from_elsewhere() {
    let evil = Op {
        file: Some(EVIL.into()),
        why: EVIL.into(),
        comm: EVIL.into(),
        mode: EVIL,
        ..write()
    };
    let (html, status) = html(&[write(), evil, op(13)], true);
    assert_eq!(status, 0);
    for held in [
        "<p class=\"verdict\">all seen</p>",
        "<td>/mnt/f</td>",
        "<td>/mnt/13</td>",
        "6.1.0-50-cloud-amd64",
        "nvme2n1p1 (write-back, FUA)",
        "<td>submit_bio</td>",
        "FUA on all data, metadata unchanged",
        "latency, whole: 3 ops",
        "\\u{1b}[2J&lt;/td&gt;&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#39;&amp;\\u{202e}",
    ] {
        assert!(html.contains(held), "no {held} in {html}");
    }
    for never in [
        "<script", "\u{1b}", "\u{202e}", "src=", "href=", "http://", "https://", "url(",
    ] {
        assert!(!html.contains(never), "{never} in {html}");
    }
    assert!(html.contains("default-src 'none'"));
    assert!(html.ends_with("</body></html>\n"));
}

#[test]
fn a_page_of_what_was_cut_off_says_so_first() {
    let (html, status) = html(&[write()], false);
    assert_eq!(status, 3);
    assert!(html.contains("<p class=\"verdict\">INCONCLUSIVE: the recording was cut off</p>"));
    assert!(!html.contains("all seen"));
    // The plan is there without the summary.
    assert!(html.contains("<td>submit_bio</td>"));
}

#[test]
fn text_and_json_are_had_too() {
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("r");
    record(&recording, &[write()], true);
    assert_eq!(run(&arguments(&recording, None)).unwrap(), 0);
    let json = cli::Report {
        json: true,
        ..arguments(&recording, None)
    };
    assert_eq!(run(&json).unwrap(), 0);
}

#[test]
fn what_cannot_be_read_leaves_no_page() {
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("r");
    let page = dir.path().join("r.html");
    let said = |what: &str| {
        let error = run(&arguments(&recording, Some(&page))).expect_err(what);
        format!("{error:#}")
    };
    assert!(said("no such file").contains("No such file"));
    fs::write(&recording, "hello").unwrap();
    assert!(said("no recording").contains("r: this is no recording of odio-trace"));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    let itself = run(&arguments(&recording, Some(&recording))).unwrap_err();
    assert!(itself.to_string().contains("is the recording itself"));
    assert_eq!(fs::read(&recording).unwrap(), b"hello");
}

#[test]
fn the_text_of_a_report_names_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let recording = dir.path().join("r");
    record(&recording, &[write()], true);
    let file = BufReader::new(File::open(&recording).unwrap());
    let (mut report, end) = collect(file, false).unwrap();
    assert_eq!(end, End::Whole(Some(0)));
    assert_eq!(
        report.devices[0].words(),
        "259:3, on nvme2n1p1 (write-back, FUA)"
    );
    assert!(report.files.total().written.iter().eq([("durable", 1)]));
    report.devices[0].mount = Some(EVIL.into());
    let mut page = Vec::new();
    html::write(&report, &mut page).unwrap();
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains("259:3 at \\u{1b}[2J&lt;/td&gt;") && !page.contains("<script"));
}
