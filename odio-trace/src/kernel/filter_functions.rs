//! # Which functions may be traced
//!
//! Two lists of the kernel's own: `available_filter_functions` of tracefs (what ftrace, fentry and kprobes made through
//! perf may attach to) and the kprobe blacklist of debugfs. Only the names asked for are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;
use std::path::Path;

use super::kallsyms::split;
use super::root::{Root, Seen, Unseen};

/// The functions asked for that ftrace lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FilterFunctions {
    asked: BTreeSet<String>,
    /// Whole name, with suffix, to how many functions have it.
    listed: BTreeMap<String, usize>,
    /// How many functions the kernel lists in all.
    pub(crate) total: usize,
}

impl FilterFunctions {
    /// Reads the list at `path`. Lockdown refuses it (`Why::Refused`), and a kernel without ftrace has none.
    pub(crate) fn read(root: &Root, path: &Path, names: &[&str]) -> Seen<Self> {
        Self::scan(root.open(path)?, path, names)
    }

    pub(crate) fn scan(from: impl BufRead, path: &Path, names: &[&str]) -> Seen<Self> {
        let mut found = Self {
            asked: names.iter().map(|&name| name.to_owned()).collect(),
            listed: BTreeMap::new(),
            total: 0,
        };
        for line in from.lines() {
            let line = line.map_err(|error| Unseen::io(path, &error))?;
            // `name` or `name [module]`
            let Some(name) = line.split_whitespace().next() else {
                continue;
            };
            found.total += 1;
            if found.asked.contains(split(name).0) {
                *found.listed.entry(name.to_owned()).or_default() += 1;
            }
        }
        if found.total == 0 {
            return Err(Unseen::garbled(path, "it lists no function at all"));
        }
        Ok(found)
    }

    /// Whether a function of exactly this name (which may have a suffix) may be traced; `None` if it was not asked for.
    pub(crate) fn has(&self, name: &str) -> Option<bool> {
        self.asked
            .contains(split(name).0)
            .then(|| self.listed.contains_key(name))
    }
}

/// The functions asked for in which the kernel allows no kprobe: what kprobes themselves run through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Blacklist {
    asked: BTreeSet<String>,
    listed: BTreeSet<String>,
}

impl Blacklist {
    /// Reads `kprobes/blacklist` of the debugfs mounted at `debugfs`.
    pub(crate) fn read(root: &Root, debugfs: &Path, names: &[&str]) -> Seen<Self> {
        let path = debugfs.join("kprobes/blacklist");
        Self::scan(root.open(&path)?, &path, names)
    }

    pub(crate) fn scan(from: impl BufRead, path: &Path, names: &[&str]) -> Seen<Self> {
        let mut found = Self {
            asked: names.iter().map(|&name| name.to_owned()).collect(),
            listed: BTreeSet::new(),
        };
        for line in from.lines() {
            let line = line.map_err(|error| Unseen::io(path, &error))?;
            // `0xSTART-0xEND<TAB>name`
            let name = line
                .split_whitespace()
                .nth(1)
                .ok_or_else(|| Unseen::garbled(path, format!("the line {line:?}")))?;
            if found.asked.contains(split(name).0) {
                found.listed.insert(name.to_owned());
            }
        }
        Ok(found)
    }

    /// Whether a function is on the list; `None` if it was not asked for.
    pub(crate) fn has(&self, name: &str) -> Option<bool> {
        self.asked
            .contains(split(name).0)
            .then(|| self.listed.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::canned;
    use super::super::root::Why;
    use super::*;

    const LIST: &str = "/sys/kernel/tracing/available_filter_functions";

    fn functions(text: &str, names: &[&str]) -> Seen<FilterFunctions> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("list"), text).unwrap();
        FilterFunctions::read(&Root::at(dir.path()), Path::new("/list"), names)
    }

    #[test]
    fn a_symbol_may_be_there_and_not_be_traceable() {
        let asked = ["submit_bio", "__do_sys_io_uring_enter", "do_fsync"];
        for kernel in ["5.10", "6.1", "6.12", "7.2"] {
            let list = FilterFunctions::read(&canned(kernel), Path::new(LIST), &asked).unwrap();
            assert_eq!(list.has("submit_bio"), Some(true), "{kernel}");
            assert_eq!(list.has("__do_sys_io_uring_enter"), Some(false), "{kernel}");
            assert_eq!(
                list.has("do_fsync"),
                Some(matches!(kernel, "6.12" | "7.2")),
                "{kernel}"
            );
            assert_eq!(list.has("vfs_fsync_range"), None, "it was not asked for");
        }
    }

    #[test]
    fn modules_and_suffixes() {
        let list = functions(
            "submit_bio\nbtrfs_sync_file [btrfs]\nf.isra.0\n",
            &["btrfs_sync_file", "f", "submit"],
        )
        .unwrap();
        assert_eq!(list.has("btrfs_sync_file"), Some(true));
        assert_eq!(list.has("f"), Some(false));
        assert_eq!(list.has("f.isra.0"), Some(true));
        assert_eq!(list.has("submit"), Some(false));
        assert_eq!(list.total, 3);
    }

    #[test]
    fn an_empty_or_absent_list_is_not_a_no() {
        let error = functions("", &["f"]).unwrap_err();
        assert!(matches!(error.why, Why::Garbled(_)));
        let dir = tempfile::tempdir().unwrap();
        let error = FilterFunctions::read(&Root::at(dir.path()), Path::new(LIST), &["f"]);
        assert_eq!(error.unwrap_err().why, Why::Absent);
    }

    #[test]
    fn the_kprobe_blacklist() {
        let debugfs = Path::new("/sys/kernel/debug");
        let asked = ["asm_exc_divide_error", "submit_bio", "notifier_call_chain"];
        for kernel in ["5.10", "6.1", "6.12", "7.2"] {
            let list = Blacklist::read(&canned(kernel), debugfs, &asked).unwrap();
            assert_eq!(list.has("asm_exc_divide_error"), Some(true), "{kernel}");
            assert_eq!(list.has("notifier_call_chain"), Some(true), "{kernel}");
            assert_eq!(list.has("submit_bio"), Some(false), "{kernel}");
            assert_eq!(list.has("bio_endio"), None, "it was not asked for");
        }
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("kprobes")).unwrap();
        fs::write(dir.path().join("kprobes/blacklist"), "0x1-0x2\n").unwrap();
        assert!(Blacklist::read(&Root::at(dir.path()), Path::new("/"), &asked).is_err());
    }
}
