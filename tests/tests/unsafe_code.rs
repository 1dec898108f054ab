//! # The inventory of unsafe code
//!
//! Each `unsafe` stands in a room that may have it and says why it is sound, and docs/unsafe.md is the list of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use odio_tests::root;
use odio_tests::unsafe_code::{Kind, Use, uses};

/// Where unsafe code may stand, and what for. `*` at the end stands for whatever follows.
const ROOMS: [(&str, &[&str], &str); 10] = [
    (
        "System calls of libodio",
        &["odio-core/src/sys/*"],
        "Calls of the kernel, and the memory that is shared with it: rings, mappings, the page that children find empty.",
    ),
    (
        "Buffers",
        &["odio-core/src/buffer.rs", "odio-core/src/pool.rs"],
        "Memory that is handed out as slices, or to C as an address.",
    ),
    (
        "Requests of a file",
        &[
            "odio-core/src/file/transfer.rs",
            "odio-core/src/file/bounce.rs",
        ],
        "Reads and writes of memory that comes as an address, as C has it. A function that takes a slice is safe; what takes \
         an address is `unsafe fn`, and passes its caller's promise on to `sys`.",
    ),
    (
        "Engines",
        &["odio-core/src/engine/*"],
        "Requests whose memory the kernel or a worker uses after the call, so that no borrow can stand for it. \
         `Driver::stage` says what has to hold until the arrival.",
    ),
    (
        "The queue",
        &["odio-core/src/queue.rs", "odio-core/src/queue/*"],
        "The same requests while they are the queue's: a slot keeps file, buffer and pieces until the completion.",
    ),
    (
        "The C ABI",
        &["odio-ffi/src/*"],
        "Pointers from C. Each function is `unsafe`, since C's promise is all that there is; what can be checked is checked.",
    ),
    (
        "System calls of odio-trace",
        &["odio-trace/src/sys.rs", "odio-trace/src/sys/*"],
        "Calls that neither std, tokio nor aya makes.",
    ),
    (
        "Records shared with the kernel",
        &["odio-trace/common/src/*"],
        "Promises that a type is plain data, which aya asks for.",
    ),
    (
        "The eBPF programs",
        &["odio-trace/ebpf/src/*"],
        "Elements of maps, which are pointers, and helpers. The kernel's verifier checks each access before a program is loaded; \
         that no two write one element at once it does not.",
    ),
    (
        "System calls of odio-crash",
        &["crash/src/sys/*"],
        "The device mapper's control, and Linux AIO without libodio.",
    ),
];

const PAGE: &str = "docs/unsafe.md";
/// What follows is made; what is before is written by hand.
const MARK: &str = "\n## By room\n";

/// The Rust sources below a folder, in order. Nothing that was built is among them.
fn sources(below: &Path, found: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(below)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    entries.sort();
    for path in entries {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" {
                sources(&path, found);
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

/// Every `unsafe` of the repository, by file.
fn inventory() -> BTreeMap<String, Vec<Use>> {
    let mut paths = Vec::new();
    sources(root(), &mut paths);
    assert!(paths.len() > 200, "{} sources", paths.len());
    let mut files = BTreeMap::new();
    for path in paths {
        let text = fs::read_to_string(&path).expect("a source");
        let name = path.strip_prefix(root()).expect("below").display();
        files.insert(name.to_string(), uses(&text));
    }
    files
}

/// Files that only tests and fuzzers are built with.
fn is_tests(file: &str) -> bool {
    let has = |part: &str| file.split('/').any(|piece| piece == part);
    has("tests") || has("tests.rs") || file.starts_with("fuzz/") || file.ends_with("/testing.rs")
}

fn room(file: &str) -> Option<usize> {
    ROOMS.iter().position(|(_, paths, _)| {
        paths.iter().any(|path| match path.strip_suffix('*') {
            Some(folder) => file.starts_with(folder),
            None => file == *path,
        })
    })
}

fn word(kind: Kind, count: usize) -> String {
    let one = match kind {
        Kind::Block => "block",
        Kind::Function => "function",
        Kind::Impl => "impl",
        Kind::Trait => "trait",
        Kind::Foreign => "foreign block",
        Kind::Attribute => "attribute",
        Kind::Type => "type",
    };
    match count {
        1 => one.to_owned(),
        _ => format!("{count} {one}s"),
    }
}

/// Names of the linker and types of pointers promise nothing that a reason could be given for.
fn wants_reason(kind: Kind) -> bool {
    !matches!(kind, Kind::Attribute | Kind::Type)
}

/// What the page says below its mark.
fn page(files: &BTreeMap<String, Vec<Use>>) -> String {
    let mut counts = String::new();
    let mut lists = String::new();
    let kinds = [Kind::Block, Kind::Function, Kind::Impl, Kind::Trait];
    let mut sums = [0; 4];
    for (at, (title, _, why)) in ROOMS.iter().enumerate() {
        write!(lists, "\n### {title}\n\n{why}\n").unwrap();
        let mut of_room = [0; 4];
        for (file, found) in files.iter().filter(|(file, _)| room(file) == Some(at)) {
            let mut rows: Vec<((&str, Kind, &str), usize)> = Vec::new();
            for one in found.iter().filter(|one| wants_reason(one.kind)) {
                if one.is_test || is_tests(file) {
                    continue;
                }
                if let Some(kind) = kinds.iter().position(|kind| *kind == one.kind) {
                    of_room[kind] += 1;
                }
                let reason = one.reason.as_deref().unwrap_or("**none**");
                let row = (one.item.as_str(), one.kind, reason);
                match rows.iter_mut().find(|(known, _)| *known == row) {
                    Some((_, count)) => *count += 1,
                    None => rows.push((row, 1)),
                }
            }
            if rows.is_empty() {
                continue;
            }
            write!(
                lists,
                "\n`{file}`\n\n| item | what | why it is sound, or what the caller promises |\n|---|---|---|\n"
            )
            .unwrap();
            for ((item, kind, reason), count) in rows {
                let reason = reason.replace('|', "\\|");
                writeln!(lists, "| `{item}` | {} | {reason} |", word(kind, count)).unwrap();
            }
        }
        let [blocks, functions, impls, traits] = of_room;
        writeln!(
            counts,
            "| {title} | {blocks} | {functions} | {impls} | {traits} |"
        )
        .unwrap();
        for (sum, count) in sums.iter_mut().zip(of_room) {
            *sum += count;
        }
    }
    let [blocks, functions, impls, traits] = sums;
    format!(
        "\n| room | blocks | functions | impls | traits |\n|---|---|---|---|---|\n{counts}\
         | all | {blocks} | {functions} | {impls} | {traits} |\n{lists}"
    )
}

#[test]
fn unsafe_code_stands_in_its_rooms_alone() {
    let mut outside = String::new();
    for (file, found) in inventory() {
        if is_tests(&file) || room(&file).is_some() {
            continue;
        }
        for one in found.iter().filter(|one| !one.is_test) {
            writeln!(outside, "{file}:{}: {:?} {}", one.line, one.kind, one.item).unwrap();
        }
    }
    assert!(outside.is_empty(), "outside every room:\n{outside}");
}

#[test]
fn each_says_why_it_is_sound() {
    let mut without = String::new();
    for (file, found) in inventory() {
        for one in found {
            // A test's own helper may leave it to its callers, which clippy asks.
            let is_helper = one.kind == Kind::Function && (one.is_test || is_tests(&file));
            if one.reason.is_none() && wants_reason(one.kind) && !is_helper {
                writeln!(without, "{file}:{}: {:?} {}", one.line, one.kind, one.item).unwrap();
            }
        }
    }
    assert!(without.is_empty(), "no SAFETY reason:\n{without}");
}

/// A room that nothing is in any more is not kept in the list.
#[test]
fn each_room_is_lived_in() {
    let files = inventory();
    for (title, paths, _) in ROOMS {
        for path in paths {
            let folder = path.strip_suffix('*').unwrap_or(path);
            let has = |(file, found): (&String, &Vec<Use>)| {
                file.starts_with(folder) && found.iter().any(|one| !one.is_test)
            };
            assert!(files.iter().any(has), "{title}: {path}");
        }
    }
}

#[test]
fn the_page_is_current() {
    let path = root().join(PAGE);
    let committed = fs::read_to_string(&path).expect("the page");
    let (by_hand, _) = committed.split_once(MARK).expect("the mark");
    let made = format!("{by_hand}{MARK}{}", page(&inventory()));
    if env::var_os("ODIO_UPDATE_UNSAFE").is_some_and(|value| value == "1") {
        fs::write(&path, &made).expect("the page is writable");
        return;
    }
    if made != committed {
        let room = odio_tests::scratch();
        let new = room.path().join("unsafe.md");
        fs::write(&new, &made).expect("a file");
        let diff = Command::new("diff").arg("-u").arg(&path).arg(&new).output();
        panic!(
            "{PAGE} is stale; to refresh it: ODIO_UPDATE_UNSAFE=1 cargo test -p odio-tests --test unsafe_code\n{}",
            String::from_utf8_lossy(&diff.expect("diff").stdout)
        );
    }
}
