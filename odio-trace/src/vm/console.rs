//! # What the guest's console tells about a run that failed

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
};

use super::Error;

/// Lines of the console that an error shows.
const LINES: usize = 30;
/// As many as that where it takes them to show a panic from its start.
const LINES_OF_PANIC: usize = 60;
const PANIC: &str = "Kernel panic - not syncing: ";
/// More than that many lines take.
const BYTES: u64 = 64 << 10;

/// The end of the console, as text.
pub(crate) fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    let result = File::open(path).and_then(|mut file| {
        let end = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(end.saturating_sub(BYTES)))?;
        file.read_to_end(&mut bytes)
    });
    match result {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => format!("the console cannot be read: {error}"),
    }
}

/// The last lines of the console, with a heading.
pub(crate) fn tail(console: &str) -> String {
    let lines: Vec<String> = console
        .lines()
        .map(plain)
        .filter(|line: &String| !line.trim().is_empty())
        .collect();
    if lines.is_empty() {
        return "The console of the guest is empty.".to_owned();
    }
    let from = lines.len().saturating_sub(LINES);
    let panic = lines.iter().rposition(|line| line.contains(PANIC));
    let from = match panic {
        Some(at) if at < from => at.max(lines.len().saturating_sub(LINES_OF_PANIC)),
        _ => from,
    };
    let last = &lines[from..];
    format!("The end of the guest's console:\n{}", last.join("\n"))
}

/// A line without what would speak to the terminal.
fn plain(line: &str) -> String {
    line.chars().filter(|c| !c.is_control()).collect()
}

/// Why a VM ended by itself before its command did.
pub(crate) fn reason(console: &str, memory: u32, otherwise: &str) -> Error {
    let after = |what: &str| {
        let at = console.find(what)? + what.len();
        let line = console[at..].lines().next().unwrap_or_default();
        Some(plain(line).trim().to_owned())
    };
    let tail = tail(console);
    if let Some(why) = after("odio-vm: ") {
        return Error::Setup { why, console: tail };
    }
    if let Some(why) = after(PANIC) {
        if why.starts_with("Out of memory") || why.contains("System is deadlocked on memory") {
            return Error::Memory {
                mib: memory,
                console: tail,
            };
        }
        return Error::Panic { why, console: tail };
    }
    Error::Ended {
        why: otherwise.to_owned(),
        console: tail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_console_says_which_kind_of_end_it_was() {
        let panic = "[ 1.0] Kernel panic - not syncing: sysrq triggered crash\n[ 1.0] CPU: 0\n";
        assert!(matches!(
            reason(panic, 64, ""),
            Error::Panic { why, .. } if why == "sysrq triggered crash"
        ));
        let memory =
            "[ 1.0] Kernel panic - not syncing: Out of memory: system-wide panic_on_oom is enabled";
        assert!(matches!(
            reason(memory, 64, ""),
            Error::Memory { mib: 64, .. }
        ));
        assert!(matches!(
            reason("x\nodio-vm: no disk\n", 64, ""),
            Error::Setup { why, .. } if why == "no disk"
        ));
        assert!(matches!(
            reason("all is well", 64, "it left"),
            Error::Ended { why, .. } if why == "it left"
        ));
    }

    /// The guest is anybody's.
    #[test]
    fn no_reason_speaks_to_the_terminal() {
        for console in [
            "odio-vm: no\x1b]0;x\x07 disk\n",
            "Kernel panic - not syncing: a\x1b[2J\n",
        ] {
            let said = reason(console, 64, "").to_string();
            assert!(!said.contains(['\x1b', '\x07']), "{said:?}");
        }
    }

    #[test]
    fn the_tail_is_short_and_printable() {
        let console: String = (0..100).map(|n| format!("line {n}\x1b\r\n\n")).collect();
        let tail = tail(&console);
        assert_eq!(tail.lines().count(), LINES + 1);
        assert!(tail.ends_with("line 99"), "{tail}");
        assert!(!tail.contains("line 69"));
        assert!(super::tail("\r\n").contains("empty"));
    }

    #[test]
    fn a_long_panic_is_shown_from_its_start() {
        let console = |trace: usize| format!("boot\n{PANIC}x\n{}", "trace\n".repeat(trace));
        let shown = tail(&console(40));
        assert!(shown.contains(PANIC) && !shown.contains("boot"), "{shown}");
        assert_eq!(tail(&console(400)).lines().count(), LINES_OF_PANIC + 1);
    }
}
