//! What was written back of the files that the workload wrote to through the page cache.

use odio_trace_common::{WritebackKey, WritebackRecord};
use serde_json::{Value, json};

use crate::kernel::Dev;

/// One line for a file. `ino` is null for a block device. `ns` is from the first bio to the last, as they were sent;
/// `bios_in_ops` are those of `bios` that an op sent itself, mostly an fsync, in whose own line they stand too.
///
/// It ends with the run: what is written back later is in no line.
pub(crate) fn line((file, record): &(WritebackKey, WritebackRecord)) -> Value {
    json!({
        "type": "writeback",
        "dev": Dev::from_kernel(file.dev).to_string(),
        "ino": (file.ino != 0).then_some(file.ino),
        "bios": record.bios,
        "bytes": record.bytes,
        "fua": record.fua,
        "bios_in_ops": record.bios_in_ops,
        "ns": record.last_ns.saturating_sub(record.first_ns),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_keys() {
        let record = WritebackRecord {
            bios: 3,
            bytes: 12288,
            fua: 0,
            bios_in_ops: 1,
            first_ns: 100,
            last_ns: 350,
        };
        let of = |ino, block| line(&(WritebackKey::new(259 << 20 | 3, ino, 7, block), record));
        assert_eq!(
            of(12, false),
            json!({"type": "writeback", "dev": "259:3", "ino": 12, "bios": 3, "bytes": 12288, "fua": 0,
                "bios_in_ops": 1, "ns": 250})
        );
        assert_eq!(of(12, true)["ino"], Value::Null);
    }
}
