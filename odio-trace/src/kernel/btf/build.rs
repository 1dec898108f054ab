//! # BTF written by hand
//!
//! Makes small BTF for the tests: what no compiler would write is what a reader must survive.

use super::Btf;

pub(super) const INT: u32 = 1;
pub(super) const PTR: u32 = 2;
pub(super) const ARRAY: u32 = 3;
pub(super) const STRUCT: u32 = 4;
pub(super) const UNION: u32 = 5;
pub(super) const ENUM: u32 = 6;
pub(super) const FWD: u32 = 7;
pub(super) const TYPEDEF: u32 = 8;
pub(super) const VOLATILE: u32 = 9;
pub(super) const CONST: u32 = 10;
pub(super) const RESTRICT: u32 = 11;
pub(super) const FUNC: u32 = 12;
pub(super) const PROTO: u32 = 13;
pub(super) const VAR: u32 = 14;
pub(super) const DATASEC: u32 = 15;
pub(super) const FLOAT: u32 = 16;
pub(super) const DECL_TAG: u32 = 17;
pub(super) const TYPE_TAG: u32 = 18;
pub(super) const ENUM64: u32 = 19;

/// Types in the order they were added; ids count from 1.
pub(super) struct Build {
    types: Vec<u8>,
    strings: Vec<u8>,
    next_id: u32,
}

impl Build {
    /// BTF of a kernel.
    pub(super) fn new() -> Self {
        Self {
            types: Vec::new(),
            strings: vec![0],
            next_id: 1,
        }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = self.strings.len() as u32;
        self.strings.extend(name.as_bytes());
        self.strings.push(0);
        at
    }

    fn words(&mut self, words: &[u32]) {
        for word in words {
            self.types.extend(word.to_le_bytes());
        }
    }

    /// A record as it comes; returns its id.
    pub(super) fn raw(&mut self, name: &str, info: u32, size_or_type: u32, tail: &[u32]) -> u32 {
        let name = self.name(name);
        self.words(&[name, info, size_or_type]);
        self.words(tail);
        self.next_id += 1;
        self.next_id - 1
    }

    /// A type that refers to another.
    pub(super) fn to(&mut self, kind: u32, name: &str, id: u32) -> u32 {
        self.raw(name, kind << 24, id, &[])
    }

    pub(super) fn int(&mut self, name: &str, size: u32) -> u32 {
        self.raw(name, INT << 24, size, &[size * 8])
    }

    pub(super) fn array(&mut self, element: u32, length: u32) -> u32 {
        self.raw("", ARRAY << 24, 0, &[element, element, length])
    }

    /// A structure or union; members are name, type and place in bits.
    pub(super) fn structure(
        &mut self,
        kind: u32,
        name: &str,
        size: u32,
        members: &[(&str, u32, u32)],
    ) -> u32 {
        self.rows(kind << 24, name, size, members)
    }

    /// A structure that says of each member how many bits it has: name, type, place and width.
    pub(super) fn bitfields(
        &mut self,
        name: &str,
        size: u32,
        members: &[(&str, u32, u32, u32)],
    ) -> u32 {
        let members: Vec<_> = members
            .iter()
            .map(|&(name, ty, place, width)| (name, ty, width << 24 | place))
            .collect();
        self.rows(1 << 31 | STRUCT << 24, name, size, &members)
    }

    fn rows(&mut self, info: u32, name: &str, size: u32, rows: &[(&str, u32, u32)]) -> u32 {
        let tail: Vec<u32> = rows
            .iter()
            .flat_map(|&(name, a, b)| [self.name(name), a, b])
            .collect();
        self.raw(name, info | rows.len() as u32, size, &tail)
    }

    pub(super) fn enumeration(&mut self, name: &str, signed: bool, rows: &[(&str, u32)]) -> u32 {
        let tail: Vec<u32> = rows
            .iter()
            .flat_map(|&(name, value)| [self.name(name), value])
            .collect();
        let info = u32::from(signed) << 31 | ENUM << 24 | rows.len() as u32;
        self.raw(name, info, 4, &tail)
    }

    pub(super) fn enumeration64(&mut self, name: &str, rows: &[(&str, u64)]) -> u32 {
        let rows: Vec<_> = rows
            .iter()
            .map(|&(name, value)| (name, value as u32, (value >> 32) as u32))
            .collect();
        self.rows(ENUM64 << 24, name, 8, &rows)
    }

    pub(super) fn proto(&mut self, returns: u32, params: &[(&str, u32)]) -> u32 {
        let tail: Vec<u32> = params
            .iter()
            .flat_map(|&(name, id)| [self.name(name), id])
            .collect();
        self.raw("", PROTO << 24 | params.len() as u32, returns, &tail)
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        for word in [24, 0, types, types, strings] {
            bytes.extend(u32::to_le_bytes(word));
        }
        bytes.extend(&self.types);
        bytes.extend(&self.strings);
        bytes
    }

    pub(super) fn parse(&self) -> Btf {
        Btf::parse(&self.bytes()).unwrap()
    }
}
