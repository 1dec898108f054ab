//! # Files that come back
//!
//! What the command left in a folder of the guest reaches the host as an archive, which is unpacked here. The guest is
//! root in its own world and nobody here: nothing of the archive may land outside the folder that was asked for.

use std::{
    fs::{self, File},
    path::Path,
};

use anyhow::{Context as _, Result};
use tar::{Archive, EntryType};

/// The folder of the guest.
pub(crate) const OUT_FOLDER: &str = "/out";

/// Makes the folder, and sees that it can be written to.
pub(crate) fn prepare(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)
        .and_then(|()| tempfile::tempfile_in(folder))
        .with_context(|| format!("cannot write to {} (--out)", folder.display()))?;
    Ok(())
}

/// Unpacks an archive into the folder. The result names what was left out: what is no file, folder or link, and what
/// would have landed elsewhere.
pub(crate) fn unpack(archive: &Path, folder: &Path) -> Result<Vec<String>> {
    let cannot = || format!("cannot bring files back into {}", folder.display());
    let mut left_out = Vec::new();
    let mut folders = Vec::new();
    let mut archive = Archive::new(File::open(archive).with_context(cannot)?);
    for entry in archive.entries().with_context(cannot)? {
        let mut entry = entry.with_context(cannot)?;
        match entry.header().entry_type() {
            // A folder that may not be written to gets its mode after what is in it.
            EntryType::Directory => {
                let path = entry.path().with_context(cannot)?.into_owned();
                if path != Path::new(".") && path != Path::new("./") {
                    folders.push(entry);
                }
            }
            EntryType::Regular | EntryType::Continuous | EntryType::Symlink | EntryType::Link => {
                if !entry.unpack_in(folder).with_context(cannot)? {
                    left_out.push(name(&entry));
                }
            }
            _ => left_out.push(name(&entry)),
        }
    }
    folders.sort_by(|a, b| b.path_bytes().cmp(&a.path_bytes()));
    for mut entry in folders {
        if !entry.unpack_in(folder).with_context(cannot)? {
            left_out.push(name(&entry));
        }
    }
    Ok(left_out)
}

fn name(entry: &tar::Entry<'_, File>) -> String {
    String::from_utf8_lossy(&entry.path_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use tar::{Builder, Header};

    use super::*;

    /// A header as the guest could write it, which [`Builder`] would refuse to.
    fn header(path: &str, kind: EntryType, mode: u32, size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_cksum();
        header
    }

    fn link(path: &str, target: &str) -> Header {
        let mut header = header(path, EntryType::Symlink, 0o777, 0);
        header.set_link_name(target).unwrap();
        header.set_cksum();
        header
    }

    fn archive(room: &Path, entries: &[(Header, &[u8])]) -> std::path::PathBuf {
        let path = room.join("archive");
        let mut builder = Builder::new(File::create(&path).unwrap());
        for (header, bytes) in entries {
            builder.append(header, *bytes).unwrap();
        }
        builder.finish().unwrap();
        path
    }

    #[test]
    fn nothing_lands_outside_the_folder() {
        let room = tempfile::tempdir().unwrap();
        let outside = room.path().join("outside");
        let folder = room.path().join("folder");
        fs::create_dir(&outside).unwrap();
        fs::create_dir(&folder).unwrap();
        // One that was there before is no way out either.
        symlink(&outside, folder.join("old")).unwrap();
        let target = outside.to_str().unwrap();
        for entries in [
            vec![(
                header("../outside/a", EntryType::Regular, 0o644, 1),
                &b"x"[..],
            )],
            vec![(header("old/a", EntryType::Regular, 0o644, 1), &b"x"[..])],
            vec![
                (link("new", target), &b""[..]),
                (header("new/a", EntryType::Regular, 0o644, 1), &b"x"[..]),
            ],
        ] {
            // Whether it is an error or left out, nothing is there.
            let told = unpack(&archive(room.path(), &entries), &folder);
            assert!(
                !matches!(&told, Ok(left_out) if left_out.is_empty()),
                "{told:?}"
            );
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        }
        let absolute = header("/abs/a", EntryType::Regular, 0o644, 1);
        unpack(&archive(room.path(), &[(absolute, b"x")]), &folder).unwrap();
        assert_eq!(fs::read(folder.join("abs/a")).unwrap(), b"x");
    }

    #[test]
    fn modes_come_back_and_devices_do_not() {
        let room = tempfile::tempdir().unwrap();
        let folder = room.path().join("folder");
        fs::create_dir(&folder).unwrap();
        let entries = [
            (header("./", EntryType::Directory, 0o500, 0), &b""[..]),
            (header("./d/", EntryType::Directory, 0o555, 0), &b""[..]),
            (header("./d/f", EntryType::Regular, 0o750, 1), &b"x"[..]),
            (header("./tty", EntryType::Char, 0o666, 0), &b""[..]),
        ];
        let left_out = unpack(&archive(room.path(), &entries), &folder).unwrap();
        assert_eq!(left_out, ["./tty"]);
        let mode = |path: &str| {
            let mode = fs::metadata(folder.join(path))
                .unwrap()
                .permissions()
                .mode();
            mode & 0o7777
        };
        assert_eq!((mode("d"), mode("d/f")), (0o555, 0o750));
        assert_ne!(mode("."), 0o500);
    }
}
