//! # The bytes of BTF
//!
//! The header and one record after the other; nothing here knows what a type means.

use std::ops::Range;

use super::BtfError;

const MAGIC: u16 = 0xeb9f;

/// Where the sections are.
pub(super) struct Header {
    pub(super) types: Range<usize>,
    pub(super) strings: Range<usize>,
}

impl Header {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, BtfError> {
        let magic = bytes
            .first_chunk()
            .map(|&two| u16::from_le_bytes(two))
            .ok_or(BtfError::Cut("header"))?;
        match magic {
            MAGIC => {}
            _ if magic.swap_bytes() == MAGIC => return Err(BtfError::BigEndian),
            _ => return Err(BtfError::NotBtf { magic }),
        }
        let version = *bytes.get(2).ok_or(BtfError::Cut("header"))?;
        if version != 1 {
            return Err(BtfError::Version(version));
        }
        let word = |at| u32_at(bytes, at).ok_or(BtfError::Cut("header"));
        let length = word(4)?;
        // Later headers may be longer; what they add is not needed.
        if length < 24 {
            return Err(BtfError::Header("it is shorter than 24 bytes"));
        }
        if u32::try_from(bytes.len()).is_err() {
            return Err(BtfError::Header("4 GiB and more is no BTF"));
        }
        let section = |offset: u32, size: u32, name| {
            let start = u64::from(length) + u64::from(offset);
            let end = start + u64::from(size);
            if end > bytes.len() as u64 {
                return Err(BtfError::Cut(name));
            }
            Ok(start as usize..end as usize)
        };
        Ok(Self {
            types: section(word(8)?, word(12)?, "types")?,
            strings: section(word(16)?, word(20)?, "strings")?,
        })
    }
}

/// What a record describes, with the numbers of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Int,
    Ptr,
    Array,
    Struct,
    Union,
    Enum,
    Fwd,
    Typedef,
    Volatile,
    Const,
    Restrict,
    Func,
    FuncProto,
    Var,
    Datasec,
    Float,
    DeclTag,
    TypeTag,
    Enum64,
}

impl Kind {
    fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Int,
            2 => Self::Ptr,
            3 => Self::Array,
            4 => Self::Struct,
            5 => Self::Union,
            6 => Self::Enum,
            7 => Self::Fwd,
            8 => Self::Typedef,
            9 => Self::Volatile,
            10 => Self::Const,
            11 => Self::Restrict,
            12 => Self::Func,
            13 => Self::FuncProto,
            14 => Self::Var,
            15 => Self::Datasec,
            16 => Self::Float,
            17 => Self::DeclTag,
            18 => Self::TypeTag,
            19 => Self::Enum64,
            _ => return None,
        })
    }

    /// How many bytes follow the common part of the record.
    fn tail(self, vlen: u32) -> usize {
        let vlen = vlen as usize;
        match self {
            Self::Int | Self::Var | Self::DeclTag => 4,
            Self::Array => 12,
            Self::Struct | Self::Union | Self::Datasec | Self::Enum64 => 12 * vlen,
            Self::Enum | Self::FuncProto => 8 * vlen,
            Self::Ptr
            | Self::Fwd
            | Self::Typedef
            | Self::Volatile
            | Self::Const
            | Self::Restrict
            | Self::Func
            | Self::Float
            | Self::TypeTag => 0,
        }
    }

    /// Whether anything asks for such a type by its name.
    pub(super) fn is_looked_up(self) -> bool {
        matches!(
            self,
            Self::Struct | Self::Union | Self::Enum | Self::Enum64 | Self::Typedef | Self::Func
        )
    }

    /// Whether it stands for another type with the same layout.
    pub(super) fn is_modifier(self) -> bool {
        matches!(
            self,
            Self::Typedef | Self::Volatile | Self::Const | Self::Restrict | Self::TypeTag
        )
    }

    pub(super) fn is_struct(self) -> bool {
        matches!(self, Self::Struct | Self::Union)
    }
}

/// One record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Type<'a> {
    pub(super) kind: Kind,
    /// Means something else for each kind that uses it.
    pub(super) flag: bool,
    pub(super) name_off: u32,
    /// A size in bytes or another type's id, by kind.
    pub(super) size_or_type: u32,
    tail: &'a [u8],
}

impl<'a> Type<'a> {
    /// The record at an offset, and where the next one begins. `id` is for messages.
    pub(super) fn parse(bytes: &'a [u8], at: usize, id: u32) -> Result<(Self, usize), BtfError> {
        let word = |n: usize| u32_at(bytes, at + 4 * n).ok_or(BtfError::TypeCut { id });
        let (name_off, info, size_or_type) = (word(0)?, word(1)?, word(2)?);
        if info & 0x60ff_0000 != 0 {
            return Err(BtfError::ReservedBits { id, info });
        }
        let number = (info >> 24 & 0x1f) as u8;
        let kind = Kind::from_number(number).ok_or(BtfError::UnknownKind { id, kind: number })?;
        let start = at + 12;
        let end = start + kind.tail(info & 0xffff);
        let tail = bytes.get(start..end).ok_or(BtfError::TypeCut { id })?;
        let found = Self {
            kind,
            flag: info >> 31 == 1,
            name_off,
            size_or_type,
            tail,
        };
        Ok((found, end))
    }

    /// The rows that follow, each of `N` words: members, enumerators, parameters.
    pub(super) fn rows<const N: usize>(self) -> impl Iterator<Item = [u32; N]> + 'a {
        self.tail.chunks_exact(4 * N).map(|row| {
            // chunks_exact gives rows of exactly this length.
            std::array::from_fn(|n| u32_at(row, 4 * n).unwrap_or_default())
        })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|&four| u32::from_le_bytes(four))
}
