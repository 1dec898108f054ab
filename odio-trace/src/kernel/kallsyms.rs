//! # Which symbols this kernel has
//!
//! Reads `/proc/kallsyms` a line at a time and keeps only what was asked for. A symbol that is not there was inlined,
//! renamed, left out, or belongs to a module that is not loaded.

use std::collections::BTreeMap;
use std::io::BufRead;

use super::root::{Root, Seen, Unseen};

pub(crate) const PATH: &str = "/proc/kallsyms";

/// A longer line is none of the kernel's: names have at most 511 bytes.
const MAX_LINE: usize = 4096;

/// What became of each symbol that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Symbols {
    asked: BTreeMap<String, Vec<Symbol>>,
    /// All addresses read as zero (kptr_restrict, or no CAP_SYSLOG). The names are complete all the same.
    pub(crate) addresses_hidden: bool,
    /// How many symbols the kernel lists in all.
    pub(crate) total: usize,
}

/// One line of kallsyms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Symbol {
    /// The whole name, with what the compiler appended.
    pub(crate) name: String,
    /// The letter that nm(1) gives: `t` and `T` are code.
    pub(crate) kind: char,
    /// Where it is; 0 where the kernel hides that.
    pub(crate) address: u64,
    /// The module it is in; `None` for the kernel itself.
    pub(crate) module: Option<String>,
}

impl Symbol {
    pub(crate) fn is_code(&self) -> bool {
        matches!(self.kind, 't' | 'T' | 'w' | 'W')
    }

    /// What the compiler appended: `.isra.0` (arguments changed), `.constprop.0` (an argument made a constant), `.part.0`
    /// (a piece of the function), `.cold` (its unlikely branches), `.llvm.123` (renamed by link-time optimisation).
    pub(crate) fn suffix(&self) -> Option<&str> {
        split(&self.name).1
    }
}

/// A symbol's name as in the source, and what the compiler appended to it, dot included.
pub(crate) fn split(name: &str) -> (&str, Option<&str>) {
    // A leading dot is part of the name.
    match name.get(1..).and_then(|tail| tail.find('.')) {
        Some(dot) => (&name[..dot + 1], Some(&name[dot + 1..])),
        None => (name, None),
    }
}

impl Symbols {
    /// Looks for these names, each as in the source.
    pub(crate) fn read(root: &Root, names: &[&str]) -> Seen<Self> {
        Self::scan(root.open(PATH)?, names)
    }

    pub(crate) fn scan(mut lines: impl BufRead, names: &[&str]) -> Seen<Self> {
        let mut symbols = Self {
            asked: names
                .iter()
                .map(|&name| (name.to_owned(), Vec::new()))
                .collect(),
            addresses_hidden: true,
            total: 0,
        };
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = std::io::Read::take(&mut lines, MAX_LINE as u64)
                .read_until(b'\n', &mut line)
                .map_err(|error| Unseen::io(PATH, &error))?;
            if read == 0 {
                break;
            }
            let (address, kind, name, module) = parse(&line).ok_or_else(|| {
                let line = String::from_utf8_lossy(&line).into_owned();
                Unseen::garbled(PATH, format!("the line {line:?}"))
            })?;
            symbols.total += 1;
            symbols.addresses_hidden &= address.iter().all(|&b| b == b'0');
            if let Some(found) = symbols.asked.get_mut(split(name).0) {
                found.push(Symbol {
                    name: name.to_owned(),
                    kind,
                    address: std::str::from_utf8(address)
                        .ok()
                        .and_then(|hex| u64::from_str_radix(hex, 16).ok())
                        .unwrap_or(0),
                    module: module.map(str::to_owned),
                });
            }
        }
        if symbols.total == 0 {
            return Err(Unseen::garbled(PATH, "it lists no symbol at all"));
        }
        Ok(symbols)
    }

    /// Everything that has this name in the source, whatever the compiler appended; `None` if it was not asked for.
    #[cfg(test)]
    pub(crate) fn all(&self, name: &str) -> Option<&[Symbol]> {
        self.asked.get(name).map(Vec::as_slice)
    }

    /// The symbols that have exactly this name (which may have a suffix): none, one, or several where static functions
    /// of one name stand in several files or modules. `None` if it was not asked for.
    pub(crate) fn exact<'a>(&'a self, name: &'a str) -> Option<impl Iterator<Item = &'a Symbol>> {
        let all = self.asked.get(split(name).0)?;
        Some(all.iter().filter(move |symbol| symbol.name == name))
    }

    /// The compiler's variants of a name, without the name itself; `None` if it was not asked for.
    pub(crate) fn variants(&self, name: &str) -> Option<impl Iterator<Item = &Symbol>> {
        let all = self.asked.get(name)?;
        Some(all.iter().filter(|symbol| symbol.suffix().is_some()))
    }
}

/// `ffffffffc05a1230 t btrfs_sync_file<TAB>[btrfs]`
pub(crate) fn parse(line: &[u8]) -> Option<(&[u8], char, &str, Option<&str>)> {
    let line = line.strip_suffix(b"\n")?;
    let space = line.iter().position(|&b| b == b' ')?;
    let (address, rest) = line.split_at(space);
    if address.is_empty() || !address.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let rest = std::str::from_utf8(&rest[1..]).ok()?;
    let (kind, rest) = rest.split_once(' ')?;
    let mut letters = kind.chars();
    let (Some(kind), None) = (letters.next(), letters.next()) else {
        return None;
    };
    let (name, module) = match rest.split_once('\t') {
        Some((name, module)) => {
            let module = module.strip_prefix('[')?.strip_suffix(']')?;
            (name, Some(module))
        }
        None => (rest, None),
    };
    (!name.is_empty()).then_some((address, kind, name, module))
}

#[cfg(test)]
mod tests {
    use super::super::canned;
    use super::*;

    fn scan(text: &str, names: &[&str]) -> Seen<Symbols> {
        Symbols::scan(text.as_bytes(), names)
    }

    fn names<'a>(found: impl Iterator<Item = &'a Symbol>) -> Vec<&'a str> {
        found.map(|symbol| symbol.name.as_str()).collect()
    }

    #[test]
    fn four_booted_kernels() {
        let asked = [
            "dio_await_completion",
            "submit_bio",
            "io_queue_iowq",
            "io_queue_async_work",
            "blkdev_direct_IO",
        ];
        for kernel in ["5.10", "6.1", "6.12", "7.2"] {
            let symbols = Symbols::read(&canned(kernel), &asked).unwrap();
            let has = |name| symbols.exact(name).unwrap().count() == 1;
            assert!(has("submit_bio") && has("blkdev_direct_IO"), "{kernel}");
            assert!(!has("dio_await_completion"), "{kernel}");
            assert_eq!(has("io_queue_iowq"), kernel != "5.10", "{kernel}");
            assert_eq!(has("io_queue_async_work"), kernel == "5.10", "{kernel}");
            let parts = names(symbols.variants("blkdev_direct_IO").unwrap());
            let expected: &[&str] = match kernel {
                "6.1" => &["blkdev_direct_IO.part.0"],
                _ => &[],
            };
            assert_eq!(parts, expected, "{kernel}");
            assert!(!symbols.addresses_hidden);
        }
    }

    #[test]
    fn modules_duplicates_and_variants() {
        let symbols = scan(
            "0000000000000000 A fixed_percpu_data\n\
             ffffffff81000010 t dup\n\
             ffffffff81000020 t dup\n\
             ffffffff81000030 t dup.isra.0\n\
             ffffffff81000040 t dup.constprop.0.cold\n\
             ffffffff81000050 d duplex\n\
             ffffffff81000060 d data\n\
             ffffffffc0000010 t dup\t[btrfs]\n",
            &["dup", "data", "gone"],
        )
        .unwrap();
        let exact: Vec<_> = symbols.exact("dup").unwrap().collect();
        assert_eq!(exact.len(), 3);
        assert_eq!(exact[0].module, None);
        assert_eq!(exact[2].module.as_deref(), Some("btrfs"));
        assert!(exact[0].is_code());
        assert_eq!(
            names(symbols.variants("dup").unwrap()),
            ["dup.isra.0", "dup.constprop.0.cold"]
        );
        assert_eq!(names(symbols.exact("dup.isra.0").unwrap()), ["dup.isra.0"]);
        assert_eq!(symbols.all("dup").unwrap().len(), 5);
        assert_eq!(
            symbols.all("dup").unwrap()[3].suffix(),
            Some(".constprop.0.cold")
        );
        assert!(!symbols.exact("data").unwrap().next().unwrap().is_code());
        assert_eq!(symbols.all("gone"), Some(&[][..]));
        assert_eq!(symbols.all("duplex"), None, "it was not asked for");
        assert!(symbols.exact("duplex").is_none() && symbols.variants("duplex").is_none());
        assert_eq!(symbols.total, 8);
        assert!(!symbols.addresses_hidden);
    }

    #[test]
    fn hidden_addresses_leave_the_names() {
        let symbols = scan(
            "0000000000000000 T submit_bio\n0000000000000000 t other\n",
            &["submit_bio"],
        )
        .unwrap();
        assert!(symbols.addresses_hidden);
        assert_eq!(symbols.exact("submit_bio").unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_kallsyms_is_not_an_empty_kernel() {
        for text in [
            "",
            "\n",
            "ffffffff81000010\n",
            "ffffffff81000010 t\n",
            "ffffffff81000010 t \n",
            "ffffffff81000010 tt f\n",
            " t f\n",
            "xyz t f\n",
            "ffffffff81000010 t f\t[m\n",
            "ffffffff81000010 t cut_short",
        ] {
            assert!(scan(text, &["f"]).is_err(), "{text:?}");
        }
        let endless = "f".repeat(10 * MAX_LINE);
        assert!(scan(&endless, &["f"]).is_err());
    }

    #[test]
    fn a_name_is_split_at_its_first_dot() {
        assert_eq!(split("a.isra.0"), ("a", Some(".isra.0")));
        assert_eq!(split("a"), ("a", None));
        assert_eq!(split(".x.y"), (".x", Some(".y")));
        assert_eq!(split(""), ("", None));
        assert_eq!(split("é"), ("é", None));
    }
}
