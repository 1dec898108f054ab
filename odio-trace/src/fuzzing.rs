//! # What the fuzzers call
//!
//! One function for each reader of bytes that come from elsewhere: a kernel, a user, a guest, another machine. Each
//! takes any bytes, and panics where an answer breaks a rule that the rest of this package goes by.

use std::{ffi::OsStr, io::Write, os::unix::ffi::OsStrExt, path::Path};

use flate2::{Compression, write::GzEncoder};
use odio_trace_common::Offsets;

use crate::{
    filter,
    glob::Glob,
    kernel::{
        Blacklist, Btf, Config, Dev, FilterFunctions, Lockdown, Mounts, Privileges, Symbols,
        WriteCache, block, config, kallsyms, mounts::Mount, view::Inside,
    },
    matrix::compare::Known,
    op::Op,
    output::{
        github::Commands,
        html, junit, sarif, steps,
        text::{self, Shown, printable},
    },
    plan,
    policy::Policy,
    recording::{self, Line},
    report, scope, session,
    step::symbols,
    verify, vm,
};

/// A kernel's types, asked all that is ever asked of them.
pub fn btf(bytes: &[u8]) {
    let Ok(btf) = Btf::parse(bytes) else {
        return;
    };
    Offsets::resolve(|structure, member| {
        let field = btf.field(structure, member).ok()?;
        if let Some(bits) = field.bits {
            assert!(u32::from(bits.shift) + u32::from(bits.width) <= 8 * field.size_bytes);
        }
        Some(field.offset_bytes)
    });
    for function in plan::functions() {
        let _ = btf.function(function);
    }
    for tracepoint in ["block_bio_queue", "block_rq_issue", "ext4_sync_file_enter"] {
        let known = btf.tracepoint_args(tracepoint).is_ok();
        assert!(!known || btf.has_tracepoint(tracepoint));
    }
    for flag in ["__REQ_FUA", "__REQ_PREFLUSH"] {
        let _ = btf.enum_value("req_flag_bits", flag);
    }
}

/// A text of the kernel's; the first byte says which. None is longer than what it says.
pub fn kernel_text(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(bytes);
    let names: Vec<&str> = plan::functions().collect();
    match which % 10 {
        0 => {
            if let Ok(found) = Symbols::scan(bytes, &names) {
                assert!(found.total > 0);
                for name in &names {
                    let all = found.variants(name).expect("it was asked for");
                    assert!(
                        all.count() + found.exact(name).into_iter().flatten().count()
                            <= found.total
                    );
                }
            }
        }
        1 => {
            if let Ok(symbols) = symbols::Symbols::scan(bytes) {
                let stack = [0, 0xffff_ffff_8100_0010, u64::MAX];
                assert!(symbols.calls(&stack, Some(names[0])).len() <= stack.len());
            }
        }
        2 => mounts(bytes),
        3 => {
            let config = Config::parse("config".into(), &text, config::KEYS);
            let _ = config::KEYS.iter().filter(|key| config.on(key)).count();
        }
        4 => {
            let _ = config::inflate(bytes);
        }
        5 => {
            let _ = Lockdown::parse(&text);
        }
        6 => {
            let _ = FilterFunctions::scan(bytes, Path::new("list"), &names);
        }
        7 => {
            let _ = Blacklist::scan(bytes, Path::new("list"), &names);
        }
        8 => {
            let _ = Privileges::parse(&text, Ok(true)).map(|privileges| privileges.lack());
            let _ = scope::parent(bytes);
            let _ = kallsyms::split(&text);
        }
        _ => {
            let _ = WriteCache::parse(&text);
            if let Some(bytes) = block::dma_alignment(&text) {
                assert!(bytes.is_power_of_two());
            }
        }
    }
}

fn mounts(bytes: &[u8]) {
    let Ok(mounts) = Mounts::parse(bytes, "mountinfo") else {
        return;
    };
    // No kernel gives two of them one number; the first counts then.
    let counts = |mount: &&Mount| mounts.of_id(mount.id) == Some(*mount);
    for mount in mounts.iter().filter(counts) {
        let file = Inside {
            dev: mount.dev,
            mount: mount.id,
            path: b"a/b",
        };
        // Through its own mount or not at all; a mount that shows it is one of those that may.
        if mounts.path(file).is_some() {
            assert!(mounts.some_path(file).is_some());
        }
        assert!(mounts.of_dev(mount.dev).count() > 0);
        let dev: Dev = mount.dev.to_string().parse().expect("as it is written");
        assert_eq!(dev, mount.dev);
    }
    mounts.of_path(Path::new("/a/b"));
}

/// A record as the programs put it into the ring buffer; these are aligned to eight bytes there.
pub fn record(bytes: &[u8]) {
    let mut words = vec![0_u64; bytes.len().div_ceil(8)];
    let whole: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
    whole[..bytes.len()].copy_from_slice(bytes);
    let _ = session::decode(&whole[..bytes.len()]);
}

/// A recording: compressed, or the lines of one, which are compressed here.
pub fn recording(bytes: &[u8]) {
    let compressed = compressed(bytes);
    let read = recording::read(&compressed[..], |line, text| {
        match &line {
            Line::Op(op) => {
                shown(&steps::header(op));
                // What is written is read again as it was.
                let text = serde_json::to_vec(op)?;
                assert_eq!(&serde_json::from_slice::<Op>(&text)?, &**op);
            }
            Line::Step(step) => shown(&steps::line(step)),
            Line::Device(device) => shown(&device.words()),
            Line::Summary(summary) => {
                for caveat in summary.caveats() {
                    shown(&text::printable_lines(&caveat));
                }
            }
            Line::Header(_) | Line::Writeback(_) => {}
        }
        assert!(!text.contains(&b'\n'));
        Ok(())
    });
    if let Err(error) = &read {
        shown(&error.to_string());
    }
    let report = report::collect(&compressed[..], false);
    assert_eq!(read.is_ok(), report.is_ok());
    if let Ok((report, _)) = report {
        let of = |paths, histogram| {
            let shown = Shown { paths, histogram };
            text::account(
                &report.files,
                &report.paths,
                &report.writeback,
                report.summary.as_ref(),
                shown,
            )
        };
        shown(&of(true, true));
        shown(&of(false, false));
        let mut page = Vec::new();
        html::write(&report, &mut page).expect("memory takes it");
        let page = String::from_utf8(page).expect("a page is text");
        assert!(!page.contains("<script"), "a name has become markup");
    }
}

/// A policy, and after a NUL the lines of a recording that is held against it.
pub fn policy(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let text = String::from_utf8_lossy(parts.next().unwrap_or_default());
    let policy = match Policy::read(&text, Path::new("policy.toml")) {
        Ok(policy) => policy,
        Err(error) => return shown(&printable(&format!("{error:#}"))),
    };
    for rule in policy.rules() {
        let place = rule.place();
        assert!(place.line > 0 && place.column > 0);
        assert!(!rule.words().is_empty());
    }
    let lines = compressed(parts.next().unwrap_or_default());
    let Ok(judgement) = verify::judge(&policy, &lines[..]) else {
        return;
    };
    shown(&judgement.to_string());
    let _ = Commands(&judgement).to_string();
    let _ = sarif::log(&judgement);
    let _ = junit::report(&judgement).to_string();
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    if bytes.first() == Some(&0x1f) {
        return bytes.to_vec();
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::none());
    gzip.write_all(bytes)
        .and_then(|()| gzip.finish())
        .expect("memory takes it")
}

/// What is for a terminal must not speak to it.
fn shown(text: &str) {
    let odd = |c: char| c.is_control() && c != '\n';
    assert!(!text.contains(odd), "{text:?}");
}

/// What a user gives as an argument: a pattern, and after a NUL the path it is held against; a time; a device.
pub fn argument(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == 0);
    let (pattern, path) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    if let Ok(glob) = Glob::new(pattern) {
        let told = glob.fits_seen(path);
        assert!(!glob.fits(path) || told == Some(true));
        // No folder that it may lie in makes it fit after all.
        if told == Some(false) && !path.starts_with(b"/") && !path.starts_with(b"memfd:") {
            let end = path.strip_prefix(b".../").unwrap_or(path);
            assert!(!glob.fits(&[b"/a/b/", end].concat()));
        }
    }
    let text = String::from_utf8_lossy(pattern);
    let _ = filter::duration(&text);
    if let Ok(dev) = text.parse::<Dev>() {
        assert_eq!(dev.to_string().parse(), Ok(dev));
    }
    let _ = text.parse::<vm::Kernel>();
}

/// What a guest, or a package of a kernel, brings to the host; the first byte says which.
pub fn guest(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(bytes);
    match which % 5 {
        0 => port(bytes),
        1 => {
            shown(&vm::console::tail(&text));
            shown(&vm::console::reason(&text, 512, "it ended").to_string());
        }
        2 => {
            let elf = vm::elf::Elf::parse(bytes);
            let trimmed = vm::elf::trimmed(bytes.to_vec());
            assert!(trimmed.len() <= bytes.len());
            if let Some(elf) = elf {
                assert!(elf.loaded_end <= bytes.len() as u64);
            }
        }
        3 => {
            if let Some(package) = vm::apt::Package::parse(&text) {
                let again = vm::apt::Package::parse(&package.describe());
                assert_eq!(again, Some(package));
            }
        }
        _ => {
            let _ = vm::kernel::release_in(bytes);
            let _ = vm::modules::release(bytes);
            let _ = vm::modules::dependencies(bytes);
            let _ = vm::modules::module_name(Path::new(OsStr::from_bytes(bytes)));
        }
    }
}

/// However a port's bytes are cut, the same comes of them.
fn port(bytes: &[u8]) {
    let through = |chunk: usize| {
        let mut port = vm::guest::Port::new("odio-mark-0123");
        let mut out = Vec::new();
        for bytes in bytes.chunks(chunk) {
            port.take(bytes, &mut out);
        }
        (out, port.stage())
    };
    let whole = through(bytes.len().max(1));
    assert_eq!(through(1), whole);
    assert_eq!(through(7), whole);
}

/// An earlier result of `matrix --json`.
pub fn matrix(bytes: &[u8]) {
    let mut known = Known::default();
    let _ = known.take(&String::from_utf8_lossy(bytes), "result.json");
}
