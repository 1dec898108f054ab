//! # What was found, held against what may be
//!
//! Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Case, Expect, Op, Progress,
    model::{self, Contents, Name, Place, Version},
};
use crate::content::{self, Found, SECTOR, Written, identify};

/// The files of a folder and of those in it: names from there, and contents.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// A name, or a part of a file, that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// The op that was acknowledged and is not there.
    pub(crate) op: Option<u32>,
    pub(crate) file: String,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) expected: String,
    /// In its first sector.
    pub(crate) found: Found,
}

impl Wrong {
    fn goes_on_in(&self, next: &Wrong) -> bool {
        let alike = match (self.found, next.found) {
            (Found::Written(a), Found::Written(b)) => {
                (a.file, a.generation) == (b.file, b.generation)
            }
            (Found::Foreign(_), Found::Foreign(_)) => true,
            (a, b) => a == b,
        };
        alike
            && self.op == next.op
            && self.file == next.file
            && self.expected == next.expected
            && self.offset + self.length == next.offset
    }
}

impl Case {
    /// Holds what is there after a cut against what it must and may be.
    pub(crate) fn verify(
        &self,
        ops: &[Op],
        progress: &Progress,
        expect: Expect,
        files: &Files,
    ) -> Vec<Wrong> {
        let names = model::names(self, ops, progress, expect);
        let mut wrong: Vec<Wrong> = Vec::new();
        for name in &names {
            wrong.extend(self.verify_name(name, files.get(&name.name).map(Vec::as_slice)));
        }
        let known: BTreeSet<&str> = names.iter().map(|name| &*name.name).collect();
        for (name, bytes) in files {
            if !known.contains(&**name) {
                wrong.push(of_name(None, name, "no file of this name", Some(bytes)));
            }
        }
        wrong
    }

    fn verify_name(&self, name: &Name, found: Option<&[u8]>) -> Vec<Wrong> {
        let held = |version: &Version| match (version, found) {
            (Version::NoFile, None) | (Version::Anything, _) => vec![],
            (Version::NoFile, Some(_)) => {
                vec![of_name(name.op, &name.name, "no file of this name", found)]
            }
            (Version::File(_), None) => vec![of_name(name.op, &name.name, "a file", None)],
            (Version::File(contents), Some(bytes)) => self.verify_contents(name, contents, bytes),
        };
        if name.versions.iter().any(|version| held(version).is_empty()) {
            return vec![];
        }
        // Of a file that is there it is told what is wrong in it, where one may be there at all.
        let is_file = |version: &&Version| matches!(version, Version::File(_));
        let alike = name
            .versions
            .iter()
            .find(is_file)
            .filter(|_| found.is_some());
        let shown = alike.or(name.versions.first());
        shown.map_or_else(Vec::new, held)
    }

    fn verify_contents(&self, name: &Name, contents: &Contents, bytes: &[u8]) -> Vec<Wrong> {
        let length = bytes.len() as u64;
        let end = contents.most.max(length);
        let edges = contents.parts.iter().flat_map(|part| [part.from, part.to]);
        let cuts: BTreeSet<u64> = (0..end)
            .step_by(SECTOR)
            .chain(edges)
            .chain([contents.least, contents.most, length])
            .collect();
        let cuts: Vec<u64> = cuts.into_iter().collect();
        let mut wrong: Vec<Wrong> = Vec::new();
        for cut in cuts.windows(2) {
            let (from, to) = (cut[0], cut[1]);
            let place = contents.at(from);
            let piece = &bytes[from.min(length) as usize..to.min(length) as usize];
            if self.is_right(contents, &place, from, piece) {
                continue;
            }
            let each = Wrong {
                op: match contents.is_whole {
                    true => name.op,
                    false => place.must.and_then(|part| part.op),
                },
                file: name.name.clone(),
                offset: from,
                length: to - from,
                expected: expected(contents, &place, from),
                found: self.found(contents.file, bytes, from, to),
            };
            match wrong.last_mut() {
                Some(last) if last.goes_on_in(&each) => last.length += each.length,
                _ => wrong.push(each),
            }
        }
        wrong
    }

    /// Whether a piece within one sector, in which the same ops were, is as it may be; it is empty where the file ends
    /// before it.
    fn is_right(&self, contents: &Contents, place: &Place, from: u64, piece: &[u8]) -> bool {
        if piece.is_empty() {
            return from >= contents.least;
        }
        let must = place.must.map(|part| part.generation);
        let zeros = || must.is_none() && piece.iter().all(|byte| *byte == 0);
        let mut generations = place.may.iter().copied().chain(must);
        from < contents.most
            && (zeros() || generations.any(|each| self.holds(contents.file, from, piece, each)))
    }

    fn holds(&self, file: u32, from: u64, piece: &[u8], generation: u32) -> bool {
        let mut wanted = [0; SECTOR];
        let wanted = &mut wanted[..piece.len()];
        content::fill(wanted, self.key(), file, from, generation);
        wanted == piece
    }

    /// What a piece is: by the sector that it is in, or else by itself.
    fn found(&self, file: u32, bytes: &[u8], from: u64, to: u64) -> Found {
        let length = bytes.len() as u64;
        let sector = from - from % SECTOR as u64;
        let end = length.min(sector + SECTOR as u64);
        let whole = &bytes[sector.min(length) as usize..end as usize];
        let piece = &bytes[from.min(length) as usize..to.min(length) as usize];
        match (identify(whole, self.key()), identify(piece, self.key())) {
            (found @ Found::Written(_), _) => found,
            (_, found @ (Found::Nothing | Found::Zeros)) => found,
            (_, foreign) => (0..=self.writes)
                .find(|generation| self.holds(file, from, piece, *generation))
                .map_or(foreign, |generation| {
                    Found::Written(Written {
                        file,
                        offset: sector,
                        generation,
                    })
                }),
        }
    }
}

fn of_name(op: Option<u32>, name: &str, expected: &str, found: Option<&[u8]>) -> Wrong {
    Wrong {
        op,
        file: name.to_owned(),
        offset: 0,
        length: 0,
        expected: expected.to_owned(),
        found: found.map_or(Found::NoFile, |bytes| Found::File(bytes.len() as u64)),
    }
}

fn expected(contents: &Contents, place: &Place, from: u64) -> String {
    match place.must {
        _ if from >= contents.most => "the end of the file".to_owned(),
        Some(part) if contents.is_whole => {
            format!("the whole of generation {} or later", part.generation)
        }
        Some(part) => format!("generation {} or later", part.generation),
        None => "zeros or a write that had begun".to_owned(),
    }
}
