//! # The manual pages
//!
//! Made from the header, complete, and clean for groff. Needs nm, groff, man and lexgrog.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use odio_tests::{everything, libodio, root, run, succeed};

/// Every page by its file name, and where they are.
fn pages() -> &'static (PathBuf, BTreeMap<String, String>) {
    static MADE: OnceLock<(PathBuf, BTreeMap<String, String>)> = OnceLock::new();
    MADE.get_or_init(|| {
        let said = succeed(&mut Command::new(root().join("scripts/man")));
        let (_, directory) = said.trim().split_once(" pages in ").expect("it says where");
        let directory = root().join(directory);
        let pages = fs::read_dir(&directory).unwrap().map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read_to_string(entry.path()).unwrap())
        });
        let pages = pages.collect();
        (directory, pages)
    })
}

/// The comments of the header and what each is of, as text up to the next comment.
fn documented(header: &str) -> Vec<(&str, &str)> {
    header
        .split("/**")
        .skip(1)
        .map(|item| item.split_once("*/").expect("a comment ends"))
        .collect()
}

/// A page as people see it, in one line.
fn rendered(name: &str) -> String {
    let mut man = Command::new("man");
    man.args(["--no-hyphenation", "--no-justification", "-l"])
        .arg(pages().0.join(name))
        .env("MANWIDTH", "1000")
        .env("LC_ALL", "C.UTF-8")
        .env("MAN_KEEP_FORMATTING", "");
    let text = succeed(&mut man);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_exported_function_has_a_page() {
    let symbols = succeed(
        Command::new("nm")
            .args(["-D", "--defined-only"])
            .arg(&libodio().shared),
    );
    let functions: BTreeSet<String> = symbols
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .map(|name| format!("{name}.3"))
        .collect();
    assert!(functions.len() > 20, "{functions:?}");
    let pages: BTreeSet<String> = pages().1.keys().cloned().collect();
    let missing: Vec<_> = functions.difference(&pages).collect();
    assert!(missing.is_empty(), "{missing:?}");
    // The others are types, and the overview.
    let header = fs::read_to_string(root().join("include/odio.h")).unwrap();
    for page in pages.difference(&functions) {
        let name = page.strip_suffix(".3").unwrap_or(page);
        let declared = [
            format!("}} {name};"),
            format!(" {name};"),
            format!("(*{name})"),
        ];
        assert!(
            name == "libodio.7" || declared.iter().any(|text| header.contains(text)),
            "{page} is of nothing in the header"
        );
    }
}

#[test]
fn every_page_is_clean_for_groff_and_known_to_apropos() {
    let (directory, pages) = pages();
    for name in pages.keys() {
        let page = directory.join(name);
        for arguments in [
            ["-man", "-ww", "-z", "-Tutf8"],
            ["-mandoc", "-ww", "-z", "-Tascii"],
        ] {
            let output = run(Command::new("groff").args(arguments).arg(&page));
            assert!(
                output.status.success() && output.stderr.is_empty(),
                "{name}: {}",
                everything(&output)
            );
        }
        let known = succeed(Command::new("lexgrog").arg(&page));
        let function = name.rsplit_once('.').unwrap().0;
        assert!(known.contains(&format!("\"{function} - ")), "{known}");
    }
}

#[test]
fn a_page_names_every_error_of_its_comment() {
    let header = fs::read_to_string(root().join("include/odio.h")).unwrap();
    let mut checked = 0;
    for (comment, item) in documented(&header) {
        let Some((before, _)) = item.split_once('(') else {
            continue;
        };
        let name = before.rsplit([' ', '*', '\n']).next().unwrap();
        let Some(page) = pages().1.get(&format!("{name}.3")) else {
            continue;
        };
        let is_name = |next: char| next.is_ascii_uppercase() || next.is_ascii_digit();
        for (at, _) in comment.match_indices("-E") {
            let after = &comment[at + 1..];
            let errno = &after[..after.find(|next| !is_name(next)).unwrap()];
            assert!(page.contains(&format!("\\-{errno}\\f")), "{name}: {errno}");
            checked += 1;
        }
    }
    assert!(
        checked > 30,
        "only {checked} errors were found in the header"
    );
}

#[test]
fn no_word_of_a_comment_is_lost() {
    let header = fs::read_to_string(root().join("include/odio.h")).unwrap();
    // A page may take a comment apart, and says in other words what only joins or ends it.
    let joins = [
        "and", "or", "also", "among", "them", "any", "thread", "on", "failure",
    ];
    let words = |text: &str| -> BTreeSet<String> {
        text.split(|next: char| !(next.is_alphanumeric() || next == '_'))
            .map(str::to_lowercase)
            .filter(|word| !word.is_empty() && !joins.contains(&word.as_str()))
            .collect()
    };
    let overview = rendered("libodio.7");
    let mut checked = 0;
    for (comment, item) in documented(&header) {
        let declaration = item.split(['(', '{', ';']).next().unwrap();
        let name = declaration
            .rsplit([' ', '*', '\n'])
            .find(|word| word.starts_with("odio_"));
        let Some(name) = name.filter(|name| pages().1.contains_key(&format!("{name}.3"))) else {
            continue;
        };
        if item.starts_with("#define") || item.starts_with("\n    ") {
            continue;
        }
        let lost: Vec<_> = words(comment)
            .difference(&words(&rendered(&format!("{name}.3"))))
            .cloned()
            .collect();
        assert!(lost.is_empty(), "{name}: {lost:?}");
        checked += 1;
    }
    assert!(checked > 40, "only {checked} comments were compared");
    for topic in [
        "Fork",
        "close-on-exec",
        "O_NONBLOCK",
        "ODIO_ENGINE_LIBAIO",
        "ODIO_SYNC_DSYNC",
        "odio_file_allocate(3)",
    ] {
        assert!(
            overview.contains(topic),
            "libodio(7) has nothing on {topic}"
        );
    }
}

#[test]
fn every_constant_of_the_header_is_on_some_page() {
    let header = fs::read_to_string(root().join("include/odio.h")).unwrap();
    let all: String = pages().1.values().cloned().collect();
    let constants: Vec<&str> = documented(&header)
        .into_iter()
        .filter_map(|(_, item)| {
            let item = item.trim_start();
            let name = item.strip_prefix("#define ").unwrap_or(item);
            name.starts_with("ODIO_")
                .then(|| name.split([' ', ',', '\n']).next().unwrap())
        })
        .collect();
    assert!(constants.len() > 30, "{constants:?}");
    for constant in constants {
        assert!(all.contains(&format!("\\fB{constant}\\fP")), "{constant}");
    }
}
