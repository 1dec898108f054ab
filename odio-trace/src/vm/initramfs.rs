//! # The archive that a kernel unpacks as its first root
//!
//! The "newc" form of cpio, uncompressed: the guest would spend longer
//! unpacking a small one than reading a big one.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read as _, Write},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use super::{carry::Tree, elf, modules};

/// Something in the guest's root folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Folder,
    File { mode: u32, content: Content },
    Link(PathBuf),
    Device { major: u32, minor: u32 },
}

/// Where the bytes of a file come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Bytes(Vec<u8>),
    Host(PathBuf),
    /// A program of which only what runs is carried.
    Trimmed(PathBuf),
    Module(PathBuf),
}

pub(crate) fn write(tree: &Tree, mut out: impl Write) -> io::Result<()> {
    for (number, (path, node)) in tree.nodes().enumerate() {
        let number = number as u64 + 1;
        match node {
            Node::Folder => entry(&mut out, path, number, 0o040_755, 0, (0, 0))?,
            Node::Device { major, minor } => {
                entry(&mut out, path, number, 0o020_600, 0, (*major, *minor))?;
            }
            Node::Link(target) => {
                let target = target.as_os_str().as_bytes();
                entry(
                    &mut out,
                    path,
                    number,
                    0o120_777,
                    target.len() as u64,
                    (0, 0),
                )?;
                out.write_all(target)?;
                pad(&mut out, target.len() as u64)?;
            }
            Node::File { mode, content } => {
                file(&mut out, path, number, 0o100_000 | mode, content)
                    .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))?;
            }
        }
    }
    entry(&mut out, Path::new("TRAILER!!!"), 0, 0, 0, (0, 0))?;
    out.flush()
}

fn file(
    out: &mut impl Write,
    path: &Path,
    number: u64,
    mode: u32,
    content: &Content,
) -> io::Result<()> {
    let read;
    let bytes = match content {
        Content::Host(host) => {
            let host = File::open(host)?;
            let size = host.metadata()?.len();
            entry(out, path, number, mode, size, (0, 0))?;
            if io::copy(&mut host.take(size), out)? != size {
                return Err(io::Error::other("it shrank while it was read"));
            }
            return pad(out, size);
        }
        Content::Bytes(bytes) => bytes,
        Content::Trimmed(host) => {
            read = elf::trimmed(fs::read(host)?);
            &read
        }
        Content::Module(host) => {
            read = modules::read(host).map_err(io::Error::other)?;
            &read
        }
    };
    entry(out, path, number, mode, bytes.len() as u64, (0, 0))?;
    out.write_all(bytes)?;
    pad(out, bytes.len() as u64)
}

fn entry(
    out: &mut impl Write,
    path: &Path,
    number: u64,
    mode: u32,
    size: u64,
    device: (u32, u32),
) -> io::Result<()> {
    let name: &OsStr = path.as_os_str();
    let size = u32::try_from(size)
        .map_err(|_| io::Error::other("a file of 4 GiB or more does not fit"))?;
    // magic, inode, mode, owner, group, links, time, size, device of the
    // archive, device that a node stands for, length of the name, checksum
    write!(
        out,
        "070701{number:08X}{mode:08X}{0:08X}{0:08X}{1:08X}{0:08X}{size:08X}{0:08X}{0:08X}\
         {2:08X}{3:08X}{4:08X}{0:08X}",
        0,
        1,
        device.0,
        device.1,
        name.len() + 1
    )?;
    out.write_all(name.as_bytes())?;
    out.write_all(&[0])?;
    pad(out, 110 + name.len() as u64 + 1)
}

fn pad(out: &mut impl Write, written: u64) -> io::Result<()> {
    let missing = (4 - written % 4) % 4;
    out.write_all(&[0; 3][..missing as usize])
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// busybox is what the VM needs anyway, and not written by the same hand.
    fn unpacked(archive: &[u8], dir: &Path) {
        let mut child = Command::new("busybox")
            .args(["cpio", "-i", "-d"])
            .current_dir(dir)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("busybox-static is installed");
        child.stdin.take().unwrap().write_all(archive).unwrap();
        assert!(child.wait().unwrap().success());
    }

    #[test]
    fn cpio_reads_back_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs::write(&source, [0, 255, 10, 13, 7]).unwrap();

        let mut tree = Tree::empty();
        // Every length of name and content that padding treats differently.
        for n in 0..5 {
            let content = Content::Bytes(vec![b'x'; n]);
            tree.put(
                Path::new(&format!("/d/{}", "n".repeat(n + 1))),
                0o644,
                content,
            );
        }
        tree.put(Path::new("/d/copy"), 0o755, Content::Host(source));
        tree.link(Path::new("/d/link"), Path::new("nn"));

        let mut archive = Vec::new();
        write(&tree, &mut archive).unwrap();
        let out = dir.path().join("out");
        fs::create_dir(&out).unwrap();
        unpacked(&archive, &out);

        for n in 0..5 {
            let read = fs::read(out.join("d").join("n".repeat(n + 1))).unwrap();
            assert_eq!(read, vec![b'x'; n]);
        }
        assert_eq!(fs::read(out.join("d/copy")).unwrap(), [0, 255, 10, 13, 7]);
        assert_eq!(fs::read_link(out.join("d/link")).unwrap(), Path::new("nn"));
        assert!(super::super::host::is_executable(&out.join("d/copy")));
        assert!(!super::super::host::is_executable(&out.join("d/nn")));
    }
}
