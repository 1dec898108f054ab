//! # BTF: the kernel's own description of its types
//!
//! A reader of raw BTF, as `/sys/kernel/btf/vmlinux` holds it. It answers where a field
//! is, what an enumerator's value is, and what arguments a function or tracepoint has *on this kernel*; nothing else in
//! odio-trace knows an offset.
//!
//! It is total: any bytes give an answer or an error that says what is wrong, in bounded time and stack. Parsing walks
//! the types once and indexes their names; everything else is looked up when asked for.
//!
//! The format is described in `Documentation/bpf/btf.rst` of the kernel.

mod enums;
pub(super) mod functions;
mod layout;
mod raw;

#[cfg(test)]
mod build;
#[cfg(test)]
mod tests;

use std::fmt;

use self::raw::{Header, Kind, Type};
use super::root::{Root, Seen, Unseen};

/// Type 0 is void and has no record.
const FIRST_ID: u32 = 1;

/// How many typedefs, qualifiers and arrays are followed before a chain is taken for a cycle.
const MAX_CHAIN: u32 = 64;

/// The types of a kernel.
pub(crate) struct Btf {
    bytes: Box<[u8]>,
    strings: std::ops::Range<usize>,
    /// Where each type's record is in `bytes`; the first has the id [`FIRST_ID`].
    records: Vec<u32>,
    /// Hash of the name and id of each type that is looked up by name, sorted.
    by_name: Vec<(u32, u32)>,
}

/// Bytes that are not BTF this reader understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BtfError {
    /// Ended before the named part was complete.
    Cut(&'static str),
    NotBtf {
        magic: u16,
    },
    BigEndian,
    Version(u8),
    /// The header is at odds with itself.
    Header(&'static str),
    Strings(&'static str),
    /// A module's BTF was given without its kernel's.
    NeedsBase,
    /// A type's record does not end within the type section.
    TypeCut {
        id: u32,
    },
    /// A kind this reader does not know, so it cannot tell where the next type begins.
    UnknownKind {
        id: u32,
        kind: u8,
    },
    /// A record sets bits that mean nothing in the format as this reader knows it.
    ReservedBits {
        id: u32,
        info: u32,
    },
    TooManyTypes,
}

impl fmt::Display for BtfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut(part) => write!(f, "the BTF ends within its {part}"),
            Self::NotBtf { magic } => {
                write!(f, "it starts with {magic:#06x}; BTF starts with 0xeb9f")
            }
            Self::BigEndian => f.write_str("the BTF is big-endian; only little-endian is read"),
            Self::Version(version) => {
                write!(f, "the BTF has version {version}; only version 1 is read")
            }
            Self::Header(what) => write!(f, "the BTF header is wrong: {what}"),
            Self::Strings(what) => write!(f, "the BTF strings are wrong: {what}"),
            Self::NeedsBase => {
                f.write_str("this is a module's BTF, which needs the kernel's as its base")
            }
            Self::TypeCut { id } => write!(f, "type {id} runs past the end of the types"),
            Self::UnknownKind { id, kind } => {
                write!(
                    f,
                    "type {id} is of kind {kind}, which is newer than this program"
                )
            }
            Self::ReservedBits { id, info } => write!(
                f,
                "type {id} uses bits ({info:#010x}) that are newer than this program"
            ),
            Self::TooManyTypes => f.write_str("there are more types than ids"),
        }
    }
}

impl std::error::Error for BtfError {}

/// Why a question has no answer on this kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Absent {
    /// The kernel has no such type, function, enumerator or tracepoint.
    NoSuch { what: &'static str, name: String },
    /// The structure is there, and this member is not.
    NoMember { of: String, member: String },
    /// Several types have this name, and they answer differently.
    Ambiguous(String),
    /// The BTF contradicts itself.
    Malformed(String),
}

impl Absent {
    fn no_such(what: &'static str, name: &str) -> Self {
        Self::NoSuch {
            what,
            name: name.to_owned(),
        }
    }
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuch { what, name } => write!(f, "this kernel has no {what} {name}"),
            Self::NoMember { of, member } => {
                write!(f, "{of} has no member {member} on this kernel")
            }
            Self::Ambiguous(name) => {
                write!(f, "several types are called {name}, and they differ")
            }
            Self::Malformed(what) => write!(f, "the kernel's BTF contradicts itself: {what}"),
        }
    }
}

impl std::error::Error for Absent {}

impl fmt::Debug for Btf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Btf")
            .field("types", &self.records.len())
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl Btf {
    /// The BTF of a kernel.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, BtfError> {
        let header = Header::parse(bytes)?;
        let strings = &bytes[header.strings.clone()];
        match (strings.first(), strings.last()) {
            (None, _) => return Err(BtfError::Strings("there are none")),
            (_, Some(&last)) if last != 0 => {
                return Err(BtfError::Strings("the last one does not end"));
            }
            // Offsets that go on from another BTF's have no empty string to begin with.
            (Some(&first), _) if first != 0 => return Err(BtfError::NeedsBase),
            _ => {}
        }
        let mut btf = Self {
            bytes: bytes.into(),
            strings: header.strings,
            records: Vec::new(),
            by_name: Vec::new(),
        };
        let mut at = header.types.start;
        while at < header.types.end {
            let id = u32::try_from(btf.records.len())
                .ok()
                .and_then(|n| n.checked_add(FIRST_ID))
                .ok_or(BtfError::TooManyTypes)?;
            let (found, next) = Type::parse(&btf.bytes[..header.types.end], at, id)?;
            let (kind, name_off) = (found.kind, found.name_off);
            // The header was checked to describe less than 4 GiB.
            btf.records.push(at as u32);
            at = next;
            if kind.is_looked_up()
                && let Some(name) = btf.string(name_off)
                && !name.is_empty()
            {
                btf.by_name.push((hash(name), id));
            }
        }
        btf.by_name.sort_unstable();
        Ok(btf)
    }

    /// The running kernel's.
    pub(crate) fn load(root: &Root) -> Seen<Self> {
        let path = "/sys/kernel/btf/vmlinux";
        Self::parse(&root.bytes(path)?).map_err(|error| Unseen::garbled(path, error.to_string()))
    }

    /// How many types there are.
    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// A type by its id; `None` for void, and for an id that no type has.
    fn get(&self, id: u32) -> Option<Type<'_>> {
        let at = *self.records.get(id.checked_sub(FIRST_ID)? as usize)? as usize;
        Type::parse(&self.bytes, at, id)
            .ok()
            .map(|(found, _)| found)
    }

    /// The bytes of a string, without its end.
    fn string(&self, offset: u32) -> Option<&[u8]> {
        let tail = self.bytes[self.strings.clone()].get(offset as usize..)?;
        // The kernel's names have at most 511 bytes. A longer one is found under no name, which keeps hostile strings
        // from being walked over and over.
        let tail = &tail[..tail.len().min(1024)];
        let end = tail.iter().position(|&b| b == 0)?;
        Some(&tail[..end])
    }

    /// A string for people to read.
    fn text(&self, offset: u32) -> String {
        String::from_utf8_lossy(self.string(offset).unwrap_or_default()).into_owned()
    }

    /// The types of this name among the given kinds.
    fn named(&self, name: &str, kinds: &[Kind]) -> Vec<(u32, Type<'_>)> {
        let mut found = Vec::new();
        let wanted = hash(name.as_bytes());
        let start = self.by_name.partition_point(|&(hash, _)| hash < wanted);
        let same = self.by_name[start..]
            .iter()
            .take_while(|&&(hash, _)| hash == wanted);
        for &(_, id) in same {
            if let Some(ty) = self.get(id)
                && kinds.contains(&ty.kind)
                && self.string(ty.name_off) == Some(name.as_bytes())
            {
                found.push((id, ty));
            }
        }
        found
    }

    /// Follows typedefs and qualifiers to what they stand for; `None` for void.
    fn resolve(&self, mut id: u32) -> Result<Option<(u32, Type<'_>)>, Absent> {
        for _ in 0..MAX_CHAIN {
            if id == 0 {
                return Ok(None);
            }
            let ty = self.type_of(id)?;
            if !ty.kind.is_modifier() {
                return Ok(Some((id, ty)));
            }
            id = ty.size_or_type;
        }
        Err(Absent::Malformed(format!("type {id} stands for itself")))
    }

    /// A type that another one refers to.
    fn type_of(&self, id: u32) -> Result<Type<'_>, Absent> {
        self.get(id)
            .ok_or_else(|| Absent::Malformed(format!("there is no type {id}")))
    }
}

/// The one answer that all candidates agree on. As in libbpf, candidates without an answer do not count while another
/// has one; if none has, the first one's reason stands.
fn agree<T: PartialEq>(
    name: &str,
    none: Absent,
    answers: impl Iterator<Item = Result<T, Absent>>,
) -> Result<T, Absent> {
    let mut agreed: Option<T> = None;
    let mut reason = None;
    for answer in answers {
        match (answer, &agreed) {
            (Ok(answer), None) => agreed = Some(answer),
            (Ok(answer), Some(before)) if answer == *before => {}
            (Ok(_), Some(_)) => return Err(Absent::Ambiguous(name.to_owned())),
            (Err(error), _) => reason = reason.or(Some(error)),
        }
    }
    agreed.ok_or_else(|| reason.unwrap_or(none))
}

/// FNV-1a: short names, and nothing to gain for who could choose them.
fn hash(name: &[u8]) -> u32 {
    name.iter().fold(0x811c_9dc5, |hash, &byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}
