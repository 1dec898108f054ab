//! # What the reader of BTF must answer
//!
//! On the BTF of booted kernels (thinned by a program that shares no code with the reader), on BTF written by hand, and,
//! where there are any, on the types of the machine the tests run on, compared with what bpftool says of them.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::process::Command;

use super::super::canned;
use super::build::*;
use super::layout::{Bits, Field};
use super::*;

const KERNELS: [&str; 4] = ["5.10", "6.1", "6.12", "7.2"];

fn kernel(name: &str) -> Btf {
    Btf::load(&canned(name)).unwrap()
}

/// A field that is no bitfield.
fn at(offset_bytes: u32, size_bytes: u32) -> Result<Field, Absent> {
    Ok(Field {
        offset_bytes,
        size_bytes,
        bits: None,
    })
}

fn bits(offset_bytes: u32, size_bytes: u32, shift: u8, width: u8) -> Result<Field, Absent> {
    Ok(Field {
        offset_bytes,
        size_bytes,
        bits: Some(Bits { shift, width }),
    })
}

#[test]
fn fields_of_four_kernels() {
    // Offsets on 5.10, 6.1, 6.12 and 7.2, then the size.
    let expected: [(&str, &str, [u32; 4], u32); 19] = [
        ("bio", "bi_opf", [16, 16, 16, 16], 4),
        ("bio", "bi_iter.bi_sector", [32, 32, 32, 40], 8),
        ("bio", "bi_iter.bi_size", [40, 40, 40, 48], 4),
        ("bio", "bi_end_io", [56, 56, 56, 64], 8),
        ("bio", "bi_private", [64, 64, 64, 72], 8),
        ("bio", "bi_vcnt", [104, 104, 104, 112], 2),
        ("kiocb", "ki_filp", [0; 4], 8),
        ("kiocb", "ki_pos", [8; 4], 8),
        ("kiocb", "ki_complete", [16; 4], 8),
        ("kiocb", "ki_flags", [32; 4], 4),
        ("iomap_dio", "iocb", [0; 4], 8),
        ("iomap_dio", "wait_for_completion", [44, 56, 56, 56], 1),
        ("dio", "iocb", [104, 96, 104, 104], 8),
        ("dio", "is_async", [64, 56, 64, 64], 4),
        // Through an anonymous union, then through two.
        ("blkdev_dio", "iocb", [0; 4], 8),
        ("iomap_dio", "submit.waiter", [56, 72, 72, 72], 8),
        ("aio_kiocb", "rw.ki_flags", [32; 4], 4),
        ("io_rw", "kiocb.ki_pos", [8; 4], 8),
        ("request", "cmd_flags", [24; 4], 4),
    ];
    for (index, name) in KERNELS.iter().enumerate() {
        let btf = kernel(name);
        for &(of, path, offsets, size) in &expected {
            assert_eq!(
                btf.field(of, path),
                at(offsets[index], size),
                "{of}.{path} on {name}"
            );
        }
        assert_eq!(btf.field("task_struct", "comm").unwrap().size_bytes, 16);
        // This one has always been a bitfield of width 1.
        let waits = btf.field("task_struct", "in_iowait").unwrap();
        assert_eq!(waits.bits.map(|bits| bits.width), Some(1), "{name}");
    }
}

#[test]
fn fields_that_come_and_go() {
    let has = |name: &str, of: &str, path: &str| kernel(name).field(of, path).is_ok();
    for (of, path, there) in [
        ("bio", "bi_disk", [true, false, false, false]),
        ("bio", "bi_bdev", [false, true, true, true]),
        ("kiocb", "ki_waitq", [true, true, true, true]),
        ("kiocb", "ki_hint", [true, false, false, false]),
        ("bio", "bi_write_stream", [false, false, false, true]),
        ("block_device", "__bd_flags", [false, false, true, true]),
    ] {
        assert_eq!(
            KERNELS.map(|name| has(name, of, path)),
            there,
            "{of}.{path}"
        );
    }
    assert_eq!(
        kernel("6.1").field("bio", "bi_disk"),
        Err(Absent::NoMember {
            of: "bio".into(),
            member: "bi_disk".into()
        })
    );
    let error = kernel("6.1").field("beo", "bi_disk").unwrap_err();
    assert_eq!(error.to_string(), "this kernel has no structure beo");
}

#[test]
fn flags_of_four_kernels() {
    for name in KERNELS {
        let btf = kernel(name);
        let bit = |flag| btf.enum_value("req_flag_bits", flag);
        assert_eq!(bit("__REQ_SYNC"), Ok(11), "{name}");
        assert_eq!(bit("__REQ_META"), Ok(12), "{name}");
        assert_eq!(bit("__REQ_FUA"), Ok(17), "{name}");
        assert_eq!(bit("__REQ_PREFLUSH"), Ok(18), "{name}");
        assert!(bit("__REQ_NONSENSE").is_err());
        assert!(bit("").is_err());
    }
    // The operations' enum was renamed; it is not found under the other name.
    assert!(kernel("5.10").enum_value("req_op", "REQ_OP_WRITE").is_err());
    assert_eq!(kernel("5.10").enum_value("req_opf", "REQ_OP_WRITE"), Ok(1));
    assert_eq!(kernel("6.1").enum_value("req_op", "REQ_OP_WRITE"), Ok(1));
}

#[test]
fn functions_of_four_kernels() {
    for name in KERNELS {
        let btf = kernel(name);
        let submit = btf.function("submit_bio").unwrap();
        assert_eq!(
            submit.params,
            [("bio".to_owned(), "struct bio *".to_owned())],
            "{name}"
        );
        // It returned a blk_qc_t before 5.16.
        let returns = if name == "5.10" { "blk_qc_t" } else { "void" };
        assert_eq!(submit.returns, returns, "{name}");
        let fsync = btf.function("vfs_fsync_range").unwrap();
        assert_eq!(
            fsync
                .params
                .iter()
                .map(|p| p.1.as_str())
                .collect::<Vec<_>>(),
            ["struct file *", "loff_t", "loff_t", "int"]
        );
        assert!(btf.function("dio_await_completion").is_err());
        // A structure's name is no function's.
        assert!(btf.function("bio").is_err());
    }
    let rw = kernel("6.12").function("__iomap_dio_rw").unwrap();
    assert_eq!(rw.returns, "struct iomap_dio *");
    assert_eq!(rw.params[3].1, "const struct iomap_dio_ops *");
}

#[test]
fn tracepoints_of_four_kernels() {
    for name in KERNELS {
        let btf = kernel(name);
        let args = |tracepoint| btf.tracepoint_args(tracepoint);
        let queue: &[&str] = match name {
            "5.10" => &["struct request_queue *", "struct bio *"],
            _ => &["struct bio *"],
        };
        assert_eq!(args("block_bio_queue").unwrap(), queue, "{name}");
        assert_eq!(
            args("ext4_sync_file_enter").unwrap(),
            ["struct file *", "int"]
        );
        assert_eq!(
            btf.has_tracepoint("iomap_dio_rw_queued"),
            matches!(name, "6.12" | "7.2"),
            "{name}"
        );
        assert!(args("no_such_tracepoint").is_err());
    }
}

#[test]
fn anonymous_members_are_walked_through() {
    let mut b = Build::new();
    let int = b.int("int", 4);
    let long = b.int("long", 8);
    let inner = b.structure(STRUCT, "", 16, &[("a", int, 0), ("b", long, 64)]);
    let union = b.structure(UNION, "", 16, &[("whole", long, 0), ("", inner, 0)]);
    let wrapped = b.to(CONST, "", union);
    b.structure(
        STRUCT,
        "outer",
        32,
        &[("first", long, 0), ("", wrapped, 64), ("last", int, 192)],
    );
    let btf = b.parse();
    assert_eq!(btf.field("outer", "whole"), at(8, 8));
    assert_eq!(btf.field("outer", "a"), at(8, 4));
    assert_eq!(btf.field("outer", "b"), at(16, 8));
    assert_eq!(btf.field("outer", "last"), at(24, 4));
    for path in ["", ".", ".a", "a.", "a.b", "first.a", "outer", "b."] {
        assert!(btf.field("outer", path).is_err(), "{path:?}");
    }
    assert!(btf.field("", "a").is_err());
}

#[test]
fn a_typedef_of_a_structure_has_its_fields() {
    let mut b = Build::new();
    let int = b.int("int", 4);
    let unnamed = b.structure(STRUCT, "", 4, &[("counter", int, 0)]);
    let again = b.to(TYPEDEF, "atomic_inner", unnamed);
    b.to(TYPEDEF, "atomic_t", again);
    b.to(TYPEDEF, "number", int);
    let tagged = b.to(TYPE_TAG, "user", again);
    let row = b.array(tagged, 3);
    let rows = b.array(row, 5);
    let ptr = b.to(PTR, "", 0);
    b.structure(
        UNION,
        "u",
        64,
        &[("t", tagged, 0), ("rows", rows, 0), ("ptr", ptr, 0)],
    );
    let btf = b.parse();
    assert_eq!(btf.field("atomic_t", "counter"), at(0, 4));
    assert_eq!(btf.field("u", "t.counter"), at(0, 4));
    assert_eq!(btf.field("u", "rows"), at(0, 60));
    assert_eq!(btf.field("u", "ptr"), at(0, 8));
    assert!(btf.field("u", "ptr.counter").is_err());
}

#[test]
fn bitfields_say_what_to_read() {
    let mut b = Build::new();
    let int = b.int("unsigned int", 4);
    let byte = b.int("u8", 1);
    let long = b.int("long", 8);
    let old = b.raw("old", INT << 24, 4, &[3 << 16 | 5]);
    b.bitfields(
        "s",
        24,
        &[
            ("plain", int, 0, 0),
            ("one", int, 32, 1),
            ("five", int, 33, 5),
            ("across", byte, 70, 4),
            ("top", int, 95, 1),
            ("wide", long, 128, 40),
        ],
    );
    b.bitfields("packed", 16, &[("far", long, 60, 8), ("all", long, 0, 64)]);
    b.structure(STRUCT, "before_4_20", 8, &[("x", old, 32), ("y", int, 33)]);
    let btf = b.parse();
    assert_eq!(btf.field("s", "plain"), at(0, 4));
    assert_eq!(btf.field("s", "one"), bits(4, 4, 0, 1));
    assert_eq!(btf.field("s", "five"), bits(4, 4, 1, 5));
    // Four bits from bit 6 of a byte do not fit in it: two bytes are to be read.
    assert_eq!(btf.field("s", "across"), bits(8, 2, 6, 4));
    assert_eq!(btf.field("s", "top"), bits(8, 4, 31, 1));
    assert_eq!(btf.field("s", "wide"), bits(16, 8, 0, 40));
    assert_eq!(btf.field("packed", "all"), bits(0, 8, 0, 64));
    assert!(matches!(
        btf.field("packed", "far"),
        Err(Absent::Malformed(_))
    ));
    assert_eq!(btf.field("before_4_20", "x"), bits(4, 4, 3, 5));
    assert!(matches!(
        btf.field("before_4_20", "y"),
        Err(Absent::Malformed(_))
    ));
}

#[test]
fn enums_signed_unsigned_and_wide() {
    let mut b = Build::new();
    b.enumeration("signed", true, &[("MINUS", u32::MAX), ("SAME", 1)]);
    b.enumeration("unsigned", false, &[("HIGH", 1 << 31), ("SAME", 1)]);
    b.enumeration64("wide", &[("TOP", 1 << 40 | 7), ("ALL", u64::MAX)]);
    b.enumeration("", false, &[("NAMELESS", 5), ("TWICE", 1)]);
    b.enumeration("", false, &[("TWICE", 2)]);
    let btf = b.parse();
    assert_eq!(btf.enum_value("signed", "MINUS"), Ok(-1));
    assert_eq!(btf.enum_value("unsigned", "HIGH"), Ok(1 << 31));
    assert_eq!(btf.enum_value("wide", "TOP"), Ok(1 << 40 | 7));
    assert_eq!(btf.enum_value("wide", "ALL"), Ok(-1));
    assert!(btf.enum_value("signed", "HIGH").is_err());
    assert!(btf.enum_value("", "NAMELESS").is_err());
}

#[test]
fn one_name_for_two_types() {
    let mut b = Build::new();
    let int = b.int("int", 4);
    b.structure(STRUCT, "dio", 8, &[("same", int, 0), ("moved", int, 32)]);
    b.structure(STRUCT, "dio", 12, &[("same", int, 0), ("moved", int, 64)]);
    b.structure(STRUCT, "dio", 12, &[("other", int, 0)]);
    let (p1, p2) = (b.proto(int, &[("a", int)]), b.proto(0, &[("a", int)]));
    b.to(FUNC, "f", p1);
    b.to(FUNC, "f", p2);
    b.to(FUNC, "g", p1);
    b.to(FUNC, "g", p1);
    let btf = b.parse();
    assert_eq!(btf.field("dio", "same"), at(0, 4));
    assert_eq!(btf.field("dio", "other"), at(0, 4));
    assert_eq!(
        btf.field("dio", "moved"),
        Err(Absent::Ambiguous("dio".into()))
    );
    assert_eq!(btf.function("f"), Err(Absent::Ambiguous("f".into())));
    assert!(btf.function("g").is_ok());
}

#[test]
fn types_are_written_as_c_writes_them() {
    let mut b = Build::new();
    let int = b.int("int", 4);
    let size = b.to(TYPEDEF, "size_t", int);
    let bio = b.structure(STRUCT, "bio", 4, &[("x", int, 0)]);
    let forward = b.raw("u", 1 << 31 | FWD << 24, 0, &[]);
    let union_ptr = b.to(PTR, "", forward);
    let const_bio = b.to(CONST, "", bio);
    let const_bio_ptr = b.to(PTR, "", const_bio);
    let const_ptr = b.to(CONST, "", const_bio_ptr);
    let restrict = b.to(RESTRICT, "", union_ptr);
    let volatile = b.to(VOLATILE, "", int);
    let array = b.array(int, 4);
    let table = b.array(array, 2);
    let array_ptr = b.to(PTR, "", array);
    let callback = b.proto(union_ptr, &[("", const_bio_ptr), ("", 0)]);
    let callback_ptr = b.to(PTR, "", callback);
    let callbacks = b.array(callback_ptr, 3);
    let tag = b.to(TYPE_TAG, "user", int);
    let tag_ptr = b.to(PTR, "", tag);
    let enumeration = b.enumeration("kind", false, &[("A", 0)]);
    let float = b.to(FLOAT, "double", 8);
    let nothing = b.proto(0, &[]);
    let nothing_ptr = b.to(PTR, "", nothing);
    let nameless = b.structure(STRUCT, "", 0, &[]);
    let expected = [
        (size, "size_t"),
        (const_bio_ptr, "const struct bio *"),
        (const_ptr, "const struct bio *const"),
        (restrict, "union u *restrict"),
        (volatile, "volatile int"),
        (table, "int[2][4]"),
        (array_ptr, "int (*)[4]"),
        (callback_ptr, "union u *(*)(const struct bio *, ...)"),
        (callbacks, "union u *(*[3])(const struct bio *, ...)"),
        (tag_ptr, "int *"),
        (enumeration, "enum kind"),
        (float, "double"),
        (nothing_ptr, "void (*)(void)"),
        (nameless, "struct (anonymous)"),
    ];
    let params: Vec<_> = expected.iter().map(|&(id, _)| ("p", id)).collect();
    let proto = b.proto(0, &params);
    b.to(FUNC, "f", proto);
    let written = b.parse().function("f").unwrap();
    for ((_, written), (_, expected)) in written.params.iter().zip(expected) {
        assert_eq!(written, expected);
    }
    assert_eq!(written.params.len(), expected.len());
}

#[test]
fn every_kind_is_stepped_over() {
    let mut b = Build::new();
    let int = b.int("int", 4);
    b.to(PTR, "", int);
    b.array(int, 2);
    b.structure(STRUCT, "s", 4, &[("x", int, 0)]);
    b.structure(UNION, "un", 4, &[("x", int, 0)]);
    b.enumeration("e", false, &[("A", 1), ("B", 2)]);
    b.to(FWD, "fwd", 0);
    b.to(TYPEDEF, "t", int);
    b.to(VOLATILE, "", int);
    b.to(CONST, "", int);
    b.to(RESTRICT, "", int);
    let proto = b.proto(0, &[("a", int), ("b", int)]);
    b.to(FUNC, "f", proto);
    let var = b.raw("var", VAR << 24, int, &[1]);
    b.raw(".data", DATASEC << 24 | 2, 8, &[var, 0, 4, var, 4, 4]);
    b.to(FLOAT, "double", 8);
    b.raw("tag", DECL_TAG << 24, int, &[u32::MAX]);
    b.to(TYPE_TAG, "user", int);
    b.enumeration64("e64", &[("C", 3), ("D", 4)]);
    b.structure(STRUCT, "after_all", 4, &[("found", int, 0)]);
    let btf = b.parse();
    assert_eq!(btf.len(), 20);
    assert_eq!(btf.field("after_all", "found"), at(0, 4));
}

#[test]
fn what_is_no_btf_is_said_why() {
    let mut b = Build::new();
    b.int("int", 4);
    let good = b.bytes();
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        Btf::parse(&bytes).err()
    };
    assert_eq!(with(0, 0x9f), None);
    assert_eq!(with(0, 0), Some(BtfError::NotBtf { magic: 0xeb00 }));
    assert_eq!(with(2, 2), Some(BtfError::Version(2)));
    assert!(matches!(with(4, 23), Some(BtfError::Header(_))));
    assert_eq!(with(12, 200), Some(BtfError::Cut("types")));
    assert_eq!(with(20, 200), Some(BtfError::Cut("strings")));
    assert_eq!(with(20, 0), Some(BtfError::Strings("there are none")));
    assert!(matches!(with(20, 4), Some(BtfError::Strings(_))));
    // A type section of 15 bytes cuts the integer's last byte off.
    assert_eq!(with(12, 15), Some(BtfError::TypeCut { id: 1 }));
    assert_eq!(
        with(31, 20),
        Some(BtfError::UnknownKind { id: 1, kind: 20 })
    );
    assert_eq!(with(31, 0), Some(BtfError::UnknownKind { id: 1, kind: 0 }));
    assert!(matches!(
        with(30, 1),
        Some(BtfError::ReservedBits { id: 1, .. })
    ));
    let mut big = good.clone();
    big.swap(0, 1);
    assert_eq!(Btf::parse(&big).err(), Some(BtfError::BigEndian));
    assert!(BtfError::BigEndian.to_string().contains("big-endian"));
    // A longer header of a later version is stepped over.
    let mut longer = good.clone();
    longer[4] = 32;
    longer.splice(24..24, [0; 8]);
    assert_eq!(Btf::parse(&longer).unwrap().len(), 1);
}

/// Everything that can be asked; the answers do not matter, only that there are some.
fn ask_everything(btf: &Btf) {
    for name in ["bio", "s", "int", "task_struct", "request"] {
        for path in ["bi_iter.bi_size", "x", "in_iowait", "a.b.c"] {
            let _ = btf.field(name, path);
        }
    }
    let _ = btf.enum_value("req_flag_bits", "__REQ_FUA");
    let _ = btf.function("submit_bio");
    let _ = btf.tracepoint_args("block_bio_queue");
    for id in 0..=btf.len() as u32 + 1 {
        let _ = btf.type_name(id);
        let _ = btf.type_size(id);
    }
}

#[test]
fn cut_at_every_byte() {
    let mut b = Build::new();
    let int = b.int("int", 4);
    b.bitfields("s", 8, &[("x", int, 0, 3), ("", int, 32, 0)]);
    b.enumeration64("req_flag_bits", &[("__REQ_FUA", 17)]);
    let proto = b.proto(int, &[("bio", int)]);
    b.to(FUNC, "submit_bio", proto);
    for bytes in [
        b.bytes(),
        canned("6.1").bytes("/sys/kernel/btf/vmlinux").unwrap(),
    ] {
        for end in 0..bytes.len() {
            assert!(Btf::parse(&bytes[..end]).is_err(), "cut at {end}");
        }
        // The sections made shorter in the header.
        for end in (0..bytes.len() as u32 - 24).step_by(bytes.len() / 97 + 1) {
            for section in [12, 20] {
                let mut cut = bytes.clone();
                cut[section..section + 4].copy_from_slice(&end.to_le_bytes());
                if let Ok(btf) = Btf::parse(&cut) {
                    ask_everything(&btf);
                }
            }
        }
    }
}

#[test]
fn any_bytes_are_survived() {
    // A fixed xorshift, so that what fails fails again.
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let whole = canned("6.12").bytes("/sys/kernel/btf/vmlinux").unwrap();
    let mut parsed = 0;
    for _ in 0..300 {
        let mut bytes = whole.clone();
        for _ in 0..1 + random() % 8 {
            let at = 24 + random() as usize % (bytes.len() - 24);
            bytes[at] = random() as u8;
        }
        if let Ok(btf) = Btf::parse(&bytes) {
            parsed += 1;
            ask_everything(&btf);
        }
    }
    assert!(
        parsed > 30,
        "only {parsed} were understood: the rest was not tried"
    );
}

#[test]
fn cycles_end() {
    let mut b = Build::new();
    // Typedefs of each other, an array of itself, structures within themselves.
    b.to(TYPEDEF, "t1", 2);
    b.to(TYPEDEF, "t2", 1);
    b.array(3, 2);
    b.structure(STRUCT, "self", 8, &[("", 4, 0), ("arr", 3, 0), ("t", 1, 0)]);
    b.to(PTR, "", 5);
    b.to(FUNC, "f", 1);
    b.proto(7, &[("", 7), ("", 7), ("", 5)]);
    b.to(FUNC, "g", 7);
    b.to(TYPEDEF, "btf_trace_odd", 9);
    let missing = b.to(FUNC, "h", 99);
    b.structure(
        STRUCT,
        "beyond",
        8,
        &[("x", 99, 0), ("y", missing, u32::MAX)],
    );
    let btf = b.parse();
    for answer in [
        btf.field("self", "arr"),
        btf.field("self", "t"),
        btf.field("self", "nothing"),
        btf.field("beyond", "x"),
        btf.field("beyond", "y"),
    ] {
        assert!(matches!(answer, Err(Absent::Malformed(_))), "{answer:?}");
    }
    for name in ["f", "h"] {
        assert!(matches!(btf.function(name), Err(Absent::Malformed(_))));
    }
    assert!(btf.tracepoint_args("odd").is_err());
    ask_everything(&btf);
    assert_eq!(btf.function("g").unwrap().params.len(), 3);
}

#[test]
fn members_shared_many_times_over_end() {
    // Each of 30 structures has the next one twice, without a name: 2^30 ways to the last.
    let mut b = Build::new();
    for level in 0..30 {
        let next = level + 2;
        b.structure(STRUCT, "s", 8, &[("", next, 0), ("", next, 0)]);
    }
    let int = b.int("int", 4);
    let btf = b.parse();
    assert_eq!(int, 31);
    assert!(matches!(btf.field("s", "x"), Err(Absent::Malformed(_))));
    let mut b = Build::new();
    for level in 0..40 {
        b.structure(STRUCT, "deep", 8, &[("", level + 2, 0)]);
    }
    assert!(matches!(
        b.parse().field("deep", "x"),
        Err(Absent::Malformed(_))
    ));
}

#[test]
fn sizes_that_overflow_are_errors() {
    let mut b = Build::new();
    let int = b.int("int", 4);
    let big = b.array(int, u32::MAX);
    let bigger = b.array(big, u32::MAX);
    let empty = b.array(int, 0);
    let inner = b.structure(STRUCT, "inner", 4, &[("x", int, u32::MAX - 7)]);
    b.structure(
        STRUCT,
        "s",
        4,
        &[
            ("big", big, 0),
            ("bigger", bigger, 0),
            ("empty", empty, 32),
            ("in", inner, 64),
        ],
    );
    let btf = b.parse();
    assert!(matches!(btf.field("s", "big"), Err(Absent::Malformed(_))));
    assert!(matches!(
        btf.field("s", "bigger"),
        Err(Absent::Malformed(_))
    ));
    assert!(matches!(btf.field("s", "in.x"), Err(Absent::Malformed(_))));
    assert_eq!(btf.field("s", "empty"), at(4, 0));
}

/// Where the running kernel's types are, or those of another kernel that `BTF` names.
fn whole_kernel() -> String {
    std::env::var("BTF").unwrap_or_else(|_| "/sys/kernel/btf/vmlinux".to_owned())
}

/// Says that a test could not run here. It is written past the test harness's capture, so that a skip is seen.
fn skipped(what: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}

/// What bpftool prints of one type, as far as it is compared.
#[derive(Default)]
struct Printed {
    /// Name, place in bits, width (0 if it is no bitfield).
    members: Vec<(String, u32, u32)>,
    values: Vec<(String, i64)>,
    proto: Option<u32>,
    params: Vec<String>,
}

/// Reads `bpftool btf dump file ... format raw`: kind, name, then what belongs to it.
fn printed(text: &str) -> HashMap<u32, (String, String, Printed)> {
    let mut types = HashMap::new();
    let mut last = 0;
    for line in text.lines() {
        let quoted = |line: &str| line.split('\'').nth(1).unwrap_or_default().to_owned();
        let number = |key: &str| {
            line.split_whitespace()
                .find_map(|word| word.strip_prefix(key))
                .and_then(|n| n.parse().ok())
        };
        if let Some(rest) = line.strip_prefix('[') {
            let (id, rest) = rest.split_once("] ").unwrap();
            let kind = rest.split(' ').next().unwrap().to_owned();
            last = id.parse().unwrap();
            let body = Printed {
                proto: number("type_id="),
                ..Printed::default()
            };
            types.insert(last, (kind, quoted(rest), body));
            continue;
        }
        let Some((kind, _, body)) = types.get_mut(&last) else {
            continue;
        };
        match kind.as_str() {
            "STRUCT" | "UNION" => body.members.push((
                quoted(line),
                number("bits_offset=").unwrap(),
                number("bitfield_size=").unwrap_or(0),
            )),
            "ENUM" | "ENUM64" => {
                let value = line.split("val=").nth(1).unwrap();
                let value = value.trim_end_matches(['U', 'L']);
                let value = value
                    .parse::<i64>()
                    .unwrap_or_else(|_| value.parse::<u64>().map(|v| v as i64).unwrap());
                body.values.push((quoted(line), value));
            }
            "FUNC_PROTO" => body.params.push(quoted(line)),
            _ => {}
        }
    }
    types
}

#[test]
fn bpftool_agrees_on_the_running_kernel() {
    let path = whole_kernel();
    let btf = match Root::system().bytes(&path) {
        Ok(bytes) => Btf::parse(&bytes).unwrap(),
        Err(unseen) => return skipped(&format!("no types of a running kernel: {unseen}")),
    };
    assert_eq!(btf.field("kiocb", "ki_filp"), at(0, 8));
    assert_eq!(btf.field("bio", "bi_opf"), at(16, 4));

    let dump = Command::new("bpftool")
        .args(["btf", "dump", "file", &path, "format", "raw"])
        .env(
            "PATH",
            "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin",
        )
        .output();
    let text = match dump {
        Ok(dump) if dump.status.success() => String::from_utf8_lossy(&dump.stdout).into_owned(),
        _ => return skipped("there is no bpftool to compare with"),
    };
    let types = printed(&text);
    assert_eq!(types.len(), btf.len());
    let mut times = HashMap::new();
    for (kind, name, _) in types.values() {
        *times
            .entry((kind.replace("UNION", "STRUCT"), name))
            .or_insert(0) += 1;
    }
    let (mut fields, mut bitfields, mut values, mut functions) = (0, 0, 0, 0);
    for (kind, name, body) in types.values() {
        let unique = times[&(kind.replace("UNION", "STRUCT"), name)] == 1;
        if name == "(anon)" || !unique {
            continue;
        }
        match kind.as_str() {
            "STRUCT" | "UNION" => {
                let mut seen = HashSet::new();
                for (member, place, width) in &body.members {
                    if member == "(anon)" || !seen.insert(member) {
                        continue;
                    }
                    let field = btf.field(name, member).unwrap();
                    let bits = field.bits.unwrap_or(Bits { shift: 0, width: 0 });
                    assert_eq!(
                        field.offset_bytes * 8 + u32::from(bits.shift),
                        *place,
                        "{name}.{member}"
                    );
                    assert_eq!(u32::from(bits.width), *width, "{name}.{member}");
                    fields += 1;
                    bitfields += u32::from(*width != 0);
                }
            }
            "ENUM" | "ENUM64" => {
                for (enumerator, value) in &body.values {
                    assert_eq!(btf.enum_value(name, enumerator), Ok(*value), "{enumerator}");
                    values += 1;
                }
            }
            "FUNC" => {
                let params = &types[&body.proto.unwrap()].2.params;
                let ours = btf.function(name).unwrap().params;
                assert_eq!(ours.len(), params.len(), "{name}");
                for ((ours, _), theirs) in ours.iter().zip(params) {
                    let ours = if ours.is_empty() { "(anon)" } else { ours };
                    assert_eq!(ours, theirs, "{name}");
                }
                functions += 1;
            }
            _ => {}
        }
    }
    // So that a comparison of nothing with nothing cannot pass.
    assert!(fields > 1000 && bitfields > 50 && values > 1000 && functions > 1000);
}

/// `cargo test --release -p odio-trace parse_time -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn parse_time() {
    let path = whole_kernel();
    let bytes = std::fs::read(&path).unwrap();
    let start = std::time::Instant::now();
    let btf = Btf::parse(&bytes).unwrap();
    let parsed = start.elapsed();
    let start = std::time::Instant::now();
    let found = (
        btf.field("bio", "bi_iter.bi_size"),
        btf.function("submit_bio"),
    );
    let asked = start.elapsed();
    assert!(found.0.is_ok() && found.1.is_ok());
    println!(
        "{path}: {} bytes, {} types: parse {parsed:?}, a field and a function {asked:?}",
        bytes.len(),
        btf.len()
    );
}
