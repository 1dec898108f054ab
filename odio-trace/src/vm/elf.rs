//! # As much of ELF as carrying a program takes

/// A 64-bit little-endian ELF file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Elf {
    /// The dynamic loader it names; a static program names none.
    pub(crate) interpreter: Option<String>,
    /// Where the part ends that is loaded to run it.
    pub(crate) loaded_end: u64,
}

const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;

impl Elf {
    /// `None` where `bytes` is no such file, or a damaged one.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        const CLASS64_LITTLE: [u8; 2] = [2, 1];
        if bytes.get(..4)? != b"\x7fELF" || bytes.get(4..6)? != CLASS64_LITTLE {
            return None;
        }
        let table = u64_at(bytes, 0x20)?;
        let entry_size = u64::from(u16_at(bytes, 0x36)?);
        let entries = u64::from(u16_at(bytes, 0x38)?);

        let mut elf = Self {
            interpreter: None,
            loaded_end: table.checked_add(entry_size * entries)?,
        };
        for index in 0..entries {
            let at = usize::try_from(table.checked_add(index * entry_size)?).ok()?;
            let header = bytes.get(at..)?;
            let offset = u64_at(header, 0x08)?;
            let end = offset.checked_add(u64_at(header, 0x20)?)?;
            match u32_at(header, 0)? {
                PT_LOAD => elf.loaded_end = elf.loaded_end.max(end),
                PT_INTERP => {
                    let range = usize::try_from(offset).ok()?..usize::try_from(end).ok()?;
                    let name = bytes.get(range)?.split(|&b| b == 0).next()?;
                    elf.interpreter = Some(String::from_utf8(name.to_vec()).ok()?);
                }
                _ => {}
            }
        }
        (elf.loaded_end <= bytes.len() as u64).then_some(elf)
    }
}

/// The part of an ELF file that runs, without symbols and debug information:
/// a debug build is mostly the latter, and the guest would keep it in memory.
pub(crate) fn trimmed(mut bytes: Vec<u8>) -> Vec<u8> {
    let Some(elf) = Elf::parse(&bytes) else {
        return bytes;
    };
    let Ok(end) = usize::try_from(elf.loaded_end) else {
        return bytes;
    };
    bytes.truncate(end);
    // The section table is gone: its offset, count and string index say so.
    for range in [0x28..0x30, 0x3c..0x3e, 0x3e..0x40] {
        if let Some(field) = bytes.get_mut(range) {
            field.fill(0);
        }
    }
    bytes
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

    use super::*;

    fn this_program() -> Vec<u8> {
        fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    #[test]
    fn a_dynamic_program_names_its_loader() {
        let elf = Elf::parse(&this_program()).unwrap();
        assert!(elf.interpreter.unwrap().contains("ld-linux"));
    }

    #[test]
    fn a_trimmed_program_is_smaller_and_still_runs() {
        let whole = this_program();
        let size = whole.len();
        let small = trimmed(whole);
        assert!(small.len() < size);

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        fs::write(&path, small).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let output = Command::new(&path).arg("--list").output().unwrap();
        assert!(output.status.success());
    }

    #[test]
    fn damaged_files_are_no_elf() {
        let whole = this_program();
        assert_eq!(Elf::parse(b""), None);
        assert_eq!(Elf::parse(b"#!/bin/sh\n"), None);
        for cut in [4, 6, 0x20, 0x39, 0x80, 4096] {
            assert_eq!(Elf::parse(&whole[..cut]), None, "cut at {cut}");
        }
        let mut wild = whole;
        wild[0x20..0x28].fill(0xff);
        assert_eq!(Elf::parse(&wild), None);
    }
}
