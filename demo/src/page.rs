//! The page on what became of the claims, out of the answers of several places.

use std::fmt::Write as _;

use crate::{
    answers::Line,
    claims::{self, Answer, Claim},
};

const HEAD: &str = "\
# What became of the source documents' claims

Two documents started this project. One describes direct I/O from user space; the other follows O_DIRECT and O_SYNC through
ext4 of Linux 4.9, to settle whether O_DIRECT alone puts data on the disk. Each of their claims is a statement that
`odio-demo` holds against the kernel it runs on: it runs dd, fio and a C program with libodio under `odio-trace`, with every step of
each op, and the matrix of modes, engines and situations. The answers are of what was seen there, and of no version.

This page is made from the answers in [demo/results](../demo/results) by `make claims`, which boots each kernel and asks anew.

| answer | |
|---|---|
| holds | in all that was tried |
| on a condition | there is a case in which it does not, and the reason says which |
| no longer | Linux 4.9 did so; this kernel does not |
| does not hold | not here, and nothing shows that it ever did |
| not shown | something kept it from being seen, and the reason says what |
| – | the filesystem cannot show it |

";

/// Writes the page; each of `places` has every claim in order.
pub(crate) fn write(places: &[Vec<Line>]) -> String {
    let mut page = HEAD.to_owned();
    let name = |lines: &[Line]| format!("{} {}", series(&lines[0].kernel), lines[0].fs);
    let names: Vec<String> = places.iter().map(|lines| name(lines)).collect();
    let _ = writeln!(page, "| claim | {} |", names.join(" | "));
    let _ = writeln!(page, "|---|{}", "---|".repeat(places.len()));
    for (i, claim) in claims::all().enumerate() {
        let answers: Vec<&str> = places.iter().map(|lines| short(lines[i].answer)).collect();
        let _ = writeln!(
            page,
            "| [{}](#{}) | {} |",
            claim.id,
            claim.id,
            answers.join(" | ")
        );
    }
    page.push('\n');
    for (name, lines) in names.iter().zip(places) {
        let Line { kernel, device, .. } = &lines[0];
        let _ = writeln!(page, "- **{name}**: Linux {kernel}, {device}");
    }
    for (i, claim) in claims::all().enumerate() {
        let answers: Vec<(&str, &Line)> = names
            .iter()
            .map(String::as_str)
            .zip(places.iter().map(|lines| &lines[i]))
            .collect();
        section(&mut page, claim, &answers);
    }
    page
}

/// Answers that were given for the same reason stand together.
fn section(page: &mut String, claim: &Claim, answers: &[(&str, &Line)]) {
    let _ = write!(
        page,
        "\n## {}\n\n> {}\n\nFrom: {}",
        claim.id, claim.says, claim.document
    );
    if !claim.code.is_empty() {
        let _ = write!(page, "; {}, Linux 4.9", claim.code);
    }
    page.push_str("\n\n");
    let mut told: Vec<(Vec<&str>, &Line)> = Vec::new();
    for (name, line) in answers {
        let same = |(_, other): &&mut (Vec<&str>, &Line)| {
            (other.answer, &other.why) == (line.answer, &line.why)
        };
        match told.iter_mut().find(same) {
            Some((names, _)) => names.push(name),
            None => told.push((vec![name], line)),
        }
    }
    for (names, line) in told {
        let _ = writeln!(
            page,
            "- {}: **{}**: {}",
            names.join(", "),
            line.answer.words(),
            line.why
        );
    }
}

/// The first two numbers of a release, and what tells a kernel of one's own from a distribution's.
fn series(release: &str) -> String {
    let (number, _) = release.split_once('-').unwrap_or((release, ""));
    let two: Vec<&str> = number.split('.').take(2).collect();
    let own = if release.ends_with("-odio") { "*" } else { "" };
    format!("{}{own}", two.join("."))
}

fn short(answer: Answer) -> &'static str {
    match answer {
        Answer::Holds => "holds",
        Answer::Condition => "on a condition",
        Answer::NoLonger => "no longer",
        Answer::Wrong => "does not hold",
        Answer::NotShown => "not shown",
        Answer::NotHere => "–",
    }
}
