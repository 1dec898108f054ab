//! # Patterns of paths
//!
//! `*` stands for any bytes but a slash, `**` for any bytes, `?` for one byte but a slash, `[a-z]` for one of a set
//! and `[!a-z]` for one outside of it; `\` takes the next byte as it is, and `**/` also stands for nothing. A pattern
//! that begins with no slash is held against the end of the path: `*.log` against the file's name alone.

use anyhow::{Result, bail};

/// A pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Byte(u8),
    /// `?`
    One,
    /// `*`
    Some,
    /// `**`
    Any,
    /// `**/`
    Folders,
    Set {
        not: bool,
        ranges: Vec<(u8, u8)>,
    },
}

impl Glob {
    /// Reads a pattern; an error where it is empty or a bracket or backslash is left open.
    pub(crate) fn new(text: &[u8]) -> Result<Self> {
        if text.is_empty() {
            bail!("an empty pattern fits no file");
        }
        let mut parts = Vec::new();
        if text[0] != b'/' {
            parts.push(Part::Folders);
        }
        let mut rest = text;
        while let Some((&first, tail)) = rest.split_first() {
            rest = tail;
            parts.push(match (first, tail) {
                (b'*', [b'*', b'/', tail @ ..]) => {
                    rest = tail;
                    Part::Folders
                }
                (b'*', [b'*', tail @ ..]) => {
                    rest = tail;
                    Part::Any
                }
                (b'*', _) => Part::Some,
                (b'?', _) => Part::One,
                (b'[', _) => {
                    let (set, tail) = set(tail)?;
                    rest = tail;
                    set
                }
                (b'\\', [next, tail @ ..]) => {
                    rest = tail;
                    Part::Byte(*next)
                }
                (b'\\', []) => bail!("the pattern ends with a backslash"),
                (byte, _) => Part::Byte(byte),
            });
        }
        Ok(Self(parts))
    }

    /// Whether a path fits.
    pub(crate) fn fits(&self, path: &[u8]) -> bool {
        let mut at = vec![false; self.0.len() + 1];
        enter(&self.0, &mut at, 0);
        self.fits_from(at, path)
    }

    /// The same of a path whose beginning may not be known: then it begins with no slash. `None` where it would fit in
    /// some folder, and may lie in another.
    pub(crate) fn fits_seen(&self, path: &[u8]) -> Option<bool> {
        if self.fits(path) {
            return Some(true);
        }
        // What memfd_create(2) makes lies in no folder.
        if path.starts_with(b"/") || path.starts_with(b"memfd:") {
            return Some(false);
        }
        let end = path.strip_prefix(b".../").unwrap_or(path);
        let mut at = vec![false; self.0.len() + 1];
        for (i, part) in self.0.iter().enumerate() {
            match part {
                Part::Any | Part::Folders => enter(&self.0, &mut at, i),
                Part::Byte(b'/') => enter(&self.0, &mut at, i + 1),
                _ => {}
            }
        }
        (!self.fits_from(at, end)).then_some(false)
    }

    /// Whether the rest of a path fits where these parts may come next.
    fn fits_from(&self, mut at: Vec<bool>, path: &[u8]) -> bool {
        let parts = &self.0;
        // Every byte moves all of them one step, so that no pattern takes longer than its length for each byte.
        for &byte in path {
            let mut next = vec![false; parts.len() + 1];
            for (i, part) in parts.iter().enumerate().filter(|(i, _)| at[*i]) {
                let (stays, goes_on) = match part {
                    Part::Byte(wanted) => (false, *wanted == byte),
                    Part::One => (false, byte != b'/'),
                    Part::Some => (byte != b'/', byte != b'/'),
                    Part::Any => (true, true),
                    Part::Folders => (true, byte == b'/'),
                    Part::Set { not, ranges } => {
                        let inside = ranges.iter().any(|&(a, b)| a <= byte && byte <= b);
                        (false, byte != b'/' && inside != *not)
                    }
                };
                next[i] |= stays;
                if goes_on {
                    enter(parts, &mut next, i + 1);
                }
            }
            at = next;
        }
        at[parts.len()]
    }
}

/// Part `i` may come next, and those behind it as far as it may stand for nothing.
fn enter(parts: &[Part], at: &mut [bool], i: usize) {
    at[i] = true;
    if let Some(Part::Some | Part::Any | Part::Folders) = parts.get(i) {
        enter(parts, at, i + 1);
    }
}

/// The set behind an opening bracket, and what follows it. A `]` that comes first belongs to the set.
fn set(text: &[u8]) -> Result<(Part, &[u8])> {
    let (not, mut rest) = match text {
        [b'!' | b'^', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    let mut ranges = Vec::new();
    loop {
        rest = match rest {
            [b']', rest @ ..] if !ranges.is_empty() => {
                return Ok((Part::Set { not, ranges }, rest));
            }
            [a, b'-', b, rest @ ..] if *b != b']' => {
                ranges.push((*a, *b));
                rest
            }
            [a, rest @ ..] => {
                ranges.push((*a, *a));
                rest
            }
            [] => bail!("a [ in the pattern has no ]; \\[ stands for the bracket itself"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(glob: &str, path: &str) -> bool {
        Glob::new(glob.as_bytes()).unwrap().fits(path.as_bytes())
    }

    #[test]
    fn what_each_sign_stands_for() {
        for (glob, yes, no) in [
            (
                "/a/b",
                &["/a/b"][..],
                &["/a/b/", "/a/bc", "/x/a/b", "a/b"][..],
            ),
            ("/a/*", &["/a/b", "/a/"], &["/a/b/c", "/a"]),
            ("/a/**", &["/a/b", "/a/b/c"], &["/a", "/ab/c"]),
            (
                "/a/**/z",
                &["/a/z", "/a/b/z", "/a/b/c/z"],
                &["/a/bz", "/az"],
            ),
            (
                "*.log",
                &["/x.log", "/a/b/.log", "x.log"],
                &["/x.log/y", "/xlog"],
            ),
            ("f", &["/f", "/a/f", "f"], &["/ef", "/f/g"]),
            ("d/*", &["/a/d/f", "/d/f"], &["/ad/f", "/d/e/f"]),
            ("?.c", &["/a.c"], &["/.c", "/ab.c"]),
            ("[a-cx].c", &["/b.c", "/x.c"], &["/d.c", "/-.c"]),
            ("[!a-c].c", &["/d.c"], &["/b.c", "/a/.c"]),
            ("[]-]", &["/]", "/-"], &["/a"]),
            (r"\*\[", &["/*["], &["/a["]),
            ("a?b", &["/a\nb"], &["/a/b"]),
        ] {
            for path in yes {
                assert!(fits(glob, path), "{glob} should fit {path}");
            }
            for path in no {
                assert!(!fits(glob, path), "{glob} should not fit {path}");
            }
        }
        assert!(Glob::new(b"\xff*").unwrap().fits(b"/\xff\xfe"));
    }

    #[test]
    fn of_a_path_without_its_beginning_some_can_be_told() {
        let seen = |glob: &str, path: &str| {
            let glob = Glob::new(glob.as_bytes()).unwrap();
            glob.fits_seen(path.as_bytes())
        };
        for (glob, path, told) in [
            ("*.wal", "a/x.wal", Some(true)),
            ("*.wal", "a/x.db", Some(false)),
            ("/data/**", "x", None),
            ("/data/**", "/x", Some(false)),
            ("/data/*.wal", "x.wal", None),
            ("/data/*.wal", "x.db", Some(false)),
            ("/data/*.wal", "a/x.wal", Some(false)),
            ("/**/a/x.wal", "a/x.wal", None),
            ("d/*", "x", None),
            ("d/*", "a/d/x", Some(true)),
            ("d/*", "a/x", Some(false)),
            ("/a/b/c", "b/c", None),
            ("/a/b/c", ".../b/c", None),
            ("/a/b/c", ".../c/c", Some(false)),
            ("/data/**", "memfd:x", Some(false)),
        ] {
            assert_eq!(seen(glob, path), told, "{glob} {path}");
        }
    }

    #[test]
    fn a_pattern_that_means_nothing_is_refused() {
        for glob in ["", "a[b", "[]", "[!]", "a\\"] {
            assert!(Glob::new(glob.as_bytes()).is_err(), "{glob:?}");
        }
    }

    #[test]
    fn many_stars_take_no_longer_than_few() {
        let glob = "*a".repeat(50);
        assert!(!fits(&glob, &"a".repeat(4000).replace("aaaa", "aaab")));
    }
}
