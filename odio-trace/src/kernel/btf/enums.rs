//! # What an enumerator's value is

use super::raw::{Kind, Type};
use super::{Absent, Btf, agree};

impl Btf {
    /// The value of an enumerator of a named enum: `enum_value("req_flag_bits", "__REQ_FUA")`.
    ///
    /// Kernels before 6.0 do not say whether an enum is signed: a negative value then reads as one from 2^31 up.
    /// A 64-bit value above `i64::MAX` keeps its bits.
    pub(crate) fn enum_value(&self, of: &str, enumerator: &str) -> Result<i64, Absent> {
        agree(
            of,
            Absent::no_such("enum", of),
            self.named(of, &[Kind::Enum, Kind::Enum64])
                .into_iter()
                .map(|(_, ty)| {
                    self.value_in(ty, enumerator.as_bytes())
                        .ok_or_else(|| Absent::NoMember {
                            of: of.to_owned(),
                            member: enumerator.to_owned(),
                        })
                }),
        )
    }

    fn value_in(&self, ty: Type<'_>, name: &[u8]) -> Option<i64> {
        if name.is_empty() {
            return None;
        }
        match ty.kind {
            Kind::Enum => ty.rows().find_map(|[name_off, value]| {
                (self.string(name_off)? == name).then_some(match ty.flag {
                    true => i64::from(value as i32),
                    false => i64::from(value),
                })
            }),
            Kind::Enum64 => ty.rows().find_map(|[name_off, low, high]| {
                (self.string(name_off)? == name)
                    .then_some((u64::from(high) << 32 | u64::from(low)) as i64)
            }),
            _ => None,
        }
    }
}
