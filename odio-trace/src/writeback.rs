//! What was written back of the files that the workload wrote to through the page cache.

use odio_trace_common::{WritebackKey, WritebackRecord};
use serde::{Deserialize, Serialize};

use crate::{files, kernel::Dev, op::hex};

/// What leads from a bio to the file of its first page. A recording of 7.2 from when `page.compound_info` was not read
/// there lacks `page.compound_head`.
const MEMBERS: [&str; 5] = [
    "bio.bi_io_vec",
    "bio_vec.bv_page",
    "page.compound_head",
    "page.mapping",
    "address_space.host",
];

/// Whether what is written back is seen on a kernel that lacks these members.
pub(crate) fn is_seen(absent: &[String]) -> bool {
    !absent
        .iter()
        .any(|member| MEMBERS.contains(&member.as_str()))
}

/// What was written back of one file, as it is printed and recorded. It ends with the run: what is written back later is
/// in none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Writeback {
    #[serde(rename = "type")]
    kind: Kind,
    pub(crate) dev: Dev,
    /// Null for a block device.
    pub(crate) ino: Option<u64>,
    /// The paths that ops have of it; none where they are not known, or not all of them.
    pub(crate) names: Vec<Name>,
    pub(crate) bios: u64,
    pub(crate) bytes: u64,
    pub(crate) fua: u64,
    /// Those of `bios` that an op sent itself, mostly an fsync, in whose own line they stand too.
    pub(crate) bios_in_ops: u64,
    /// From the first bio to the last, as they were sent.
    pub(crate) ns: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Writeback,
}

/// A path, as an op has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Name {
    pub(crate) file: String,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "hex")]
    pub(crate) file_bytes: Option<Vec<u8>>,
}

impl Name {
    /// The bytes of the path.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.file_bytes.as_deref().unwrap_or(self.file.as_bytes())
    }
}

impl From<&files::Name> for Name {
    fn from(name: &files::Name) -> Self {
        Self {
            file: name.path.as_ref().into(),
            file_bytes: name.bytes.clone(),
        }
    }
}

impl Writeback {
    pub(crate) fn of(file: &WritebackKey, record: &WritebackRecord, names: Vec<Name>) -> Self {
        Self {
            kind: Kind::Writeback,
            dev: Dev::from_kernel(file.dev),
            ino: (file.ino != 0).then_some(file.ino),
            names,
            bios: record.bios,
            bytes: record.bytes,
            fua: record.fua,
            bios_in_ops: record.bios_in_ops,
            ns: record.last_ns.saturating_sub(record.first_ns),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A file of these names, of which three blocks were written back.
    pub(crate) fn writeback(ino: u64, names: &[&str]) -> Writeback {
        let record = WritebackRecord {
            bios: 3,
            bytes: 12288,
            fua: 0,
            bios_in_ops: 1,
            first_ns: 100,
            last_ns: 350,
        };
        let name = |name: &&str| Name {
            file: (*name).into(),
            file_bytes: None,
        };
        let key = WritebackKey::new(259 << 20 | 3, ino, 7, ino == 0);
        Writeback::of(&key, &record, names.iter().map(name).collect())
    }

    #[test]
    fn a_line_has_its_keys() {
        let of = |ino, names: &[&str]| serde_json::to_value(writeback(ino, names)).unwrap();
        assert_eq!(
            of(12, &["/a"]),
            json!({"type": "writeback", "dev": "259:3", "ino": 12, "names": [{"file": "/a"}], "bios": 3,
                "bytes": 12288, "fua": 0, "bios_in_ops": 1, "ns": 250})
        );
        assert_eq!(of(0, &[])["ino"], Value::Null);
        let mut odd = writeback(12, &["/a\u{fffd}"]);
        odd.names[0].file_bytes = Some(b"/a\xff".to_vec());
        for file in [odd, writeback(0, &[])] {
            let line = serde_json::to_value(&file).unwrap();
            crate::output::schema_tests::holds(&line);
            assert_eq!(serde_json::from_value::<Writeback>(line).unwrap(), file);
        }
    }
}
