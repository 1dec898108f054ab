//! # Where a field is
//!
//! Walks dotted names through structures, unions and their anonymous members.

use super::raw::{Kind, Type};
use super::{Absent, Btf, MAX_CHAIN, agree};

/// The kernels this program runs on are 64-bit.
const POINTER_SIZE: u32 = 8;

/// How deep anonymous members may be nested. The kernel's go down to four or so.
const MAX_DEPTH: u32 = 32;

/// How many members are looked at for one name. Anonymous members that share types could otherwise be walked
/// exponentially often. The largest structures of the kernel have some hundreds.
const MAX_MEMBERS: u32 = 1 << 16;

/// Where a field is and how large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Field {
    /// From the start of the structure. For a bitfield, of the unit to be read as one number.
    pub(crate) offset_bytes: u32,
    /// Its size; for a bitfield, that of the unit: 1, 2, 4 or 8.
    pub(crate) size_bytes: u32,
    /// Which bits of the unit, if it is a bitfield.
    pub(crate) bits: Option<Bits>,
}

/// A bitfield: `(unit >> shift) & ((1 << width) - 1)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Bits {
    pub(crate) shift: u8,
    pub(crate) width: u8,
}

/// A member as it was found: its place in bits, and the type it has.
struct Member {
    bit_offset: u32,
    /// Zero if it is no bitfield.
    bit_width: u32,
    type_id: u32,
}

impl Btf {
    /// Where a member is in a structure, union, or a typedef of one: `field("bio", "bi_iter.bi_size")`. Names inside
    /// anonymous members are given as C does, without them. Pointers and arrays are not walked through.
    pub(crate) fn field(&self, of: &str, path: &str) -> Result<Field, Absent> {
        let candidates = self.structs(of);
        let mut budget = MAX_MEMBERS;
        agree(
            of,
            Absent::no_such("structure", of),
            candidates
                .into_iter()
                .map(|(_, ty)| self.field_in(ty, of, path, &mut budget)),
        )
    }

    fn structs(&self, name: &str) -> Vec<(u32, Type<'_>)> {
        let tagged = self.named(name, &[Kind::Struct, Kind::Union]);
        if !tagged.is_empty() {
            return tagged;
        }
        self.named(name, &[Kind::Typedef])
            .into_iter()
            .filter_map(|(id, _)| self.resolve(id).ok().flatten())
            .filter(|(_, ty)| ty.kind.is_struct())
            .collect()
    }

    fn field_in<'a>(
        &'a self,
        mut ty: Type<'a>,
        of: &str,
        path: &str,
        budget: &mut u32,
    ) -> Result<Field, Absent> {
        let no_member = || Absent::NoMember {
            of: of.to_owned(),
            member: path.to_owned(),
        };
        let overflow = || Absent::Malformed(format!("{of}.{path} is past any structure"));
        let mut bit_offset = 0u32;
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            // An empty name would match every anonymous member.
            if name.is_empty() || !ty.kind.is_struct() {
                return Err(no_member());
            }
            let member = self
                .member(ty, name.as_bytes(), 0, budget)?
                .ok_or_else(no_member)?;
            bit_offset = bit_offset
                .checked_add(member.bit_offset)
                .ok_or_else(overflow)?;
            if names.peek().is_none() {
                return self.place(bit_offset, &member, of, path);
            }
            match self.resolve(member.type_id)? {
                Some((_, inner)) if member.bit_width == 0 => ty = inner,
                _ => return Err(no_member()),
            }
        }
        Err(no_member())
    }

    /// Looks for a member by name, in order, and through anonymous structures and unions.
    fn member(
        &self,
        ty: Type<'_>,
        name: &[u8],
        depth: u32,
        budget: &mut u32,
    ) -> Result<Option<Member>, Absent> {
        if depth > MAX_DEPTH {
            return Err(Absent::Malformed("structures without end".into()));
        }
        for [name_off, type_id, place] in ty.rows() {
            *budget = budget
                .checked_sub(1)
                .ok_or_else(|| Absent::Malformed("members without end".into()))?;
            let (bit_offset, bit_width) = match ty.flag {
                true => (place & 0x00ff_ffff, place >> 24),
                false => (place, 0),
            };
            match self.string(name_off) {
                Some(found) if found == name => {
                    return Ok(Some(Member {
                        bit_offset,
                        bit_width,
                        type_id,
                    }));
                }
                Some(b"") => {}
                _ => continue,
            }
            let Some((_, inner)) = self.resolve(type_id)? else {
                continue;
            };
            if !inner.kind.is_struct() {
                continue;
            }
            if let Some(found) = self.member(inner, name, depth + 1, budget)? {
                return Ok(Some(Member {
                    bit_offset: bit_offset.checked_add(found.bit_offset).ok_or_else(|| {
                        Absent::Malformed("an offset is past any structure".into())
                    })?,
                    ..found
                }));
            }
        }
        Ok(None)
    }

    /// Turns a place in bits into one that can be read.
    fn place(
        &self,
        mut bit_offset: u32,
        member: &Member,
        of: &str,
        path: &str,
    ) -> Result<Field, Absent> {
        let malformed = |what: &str| Absent::Malformed(format!("{of}.{path} {what}"));
        let size = self.type_size(member.type_id)?;
        let mut width = member.bit_width;
        // Bitfields as they were before Linux 4.20 said it in the structure: an integer narrower than its size.
        if width == 0
            && let Some((_, ty)) = self.resolve(member.type_id)?
            && ty.kind == Kind::Int
            && let Some([encoding]) = ty.rows().next()
            && encoding & 0xff != size.saturating_mul(8)
        {
            width = encoding & 0xff;
            bit_offset = bit_offset
                .checked_add(encoding >> 16 & 0xff)
                .ok_or_else(|| malformed("is past any structure"))?;
        }
        if width == 0 {
            if !bit_offset.is_multiple_of(8) {
                return Err(malformed("starts within a byte"));
            }
            return Ok(Field {
                offset_bytes: bit_offset / 8,
                size_bytes: size,
                bits: None,
            });
        }
        // The unit is one aligned number of the declared size, or the next larger that holds all bits (a packed
        // structure may lay a bitfield across two).
        let mut unit = size;
        while matches!(unit, 1 | 2 | 4 | 8) {
            let offset_bytes = bit_offset / 8 / unit * unit;
            let shift = bit_offset - offset_bytes * 8;
            if shift + width <= unit * 8 {
                return Ok(Field {
                    offset_bytes,
                    size_bytes: unit,
                    bits: Some(Bits {
                        // Both are at most 64.
                        shift: shift as u8,
                        width: width as u8,
                    }),
                });
            }
            unit *= 2;
        }
        Err(malformed("is a bitfield that no number holds"))
    }

    /// The size of a type in bytes.
    pub(super) fn type_size(&self, mut id: u32) -> Result<u32, Absent> {
        let mut times = 1u32;
        for _ in 0..MAX_CHAIN {
            let Some((_, ty)) = self.resolve(id)? else {
                return Err(Absent::Malformed("void has no size".into()));
            };
            let size = match ty.kind {
                Kind::Int
                | Kind::Struct
                | Kind::Union
                | Kind::Enum
                | Kind::Enum64
                | Kind::Float
                | Kind::Datasec => ty.size_or_type,
                Kind::Ptr => POINTER_SIZE,
                Kind::Array => {
                    let [element, _, length] = ty.rows().next().unwrap_or_default();
                    times = times
                        .checked_mul(length)
                        .ok_or_else(|| Absent::Malformed("an array past all memory".into()))?;
                    id = element;
                    continue;
                }
                _ => return Err(Absent::Malformed(format!("type {id} has no size"))),
            };
            return size
                .checked_mul(times)
                .ok_or_else(|| Absent::Malformed("an array past all memory".into()));
        }
        Err(Absent::Malformed("arrays without end".into()))
    }
}
