//! # What the host has
//!
//! Programs, and room on its disk. Looks, and starts the tools it is asked to.

use std::{
    env,
    ffi::OsStr,
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
};

use super::Error;

/// The Debian packages of the programs that this room starts.
const PACKAGES: [(&str, &str); 12] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("mke2fs", "e2fsprogs"),
    ("mkfs.xfs", "xfsprogs"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("mkfs.vfat", "dosfstools"),
    ("apt-get", "apt"),
    ("apt-cache", "apt"),
    ("dpkg-deb", "dpkg"),
    ("sha256sum", "coreutils"),
    ("xz", "xz-utils"),
    ("zstd", "zstd"),
];

/// A program on the PATH of the user.
pub(crate) fn program(name: &OsStr) -> Option<PathBuf> {
    find(name, &env::var_os("PATH").unwrap_or_default())
}

/// A program that this room needs, with its package where it is missing.
pub(crate) fn tool(name: &str) -> Result<PathBuf, Error> {
    // mke2fs and others live where the PATH of a plain user does not look.
    program(name.as_ref())
        .or_else(|| find(name.as_ref(), "/usr/sbin:/sbin".as_ref()))
        .ok_or_else(|| Error::ToolMissing {
            program: name.to_owned(),
            package: PACKAGES
                .iter()
                .find(|(program, _)| *program == name)
                .map_or(name, |(_, package)| package)
                .to_owned(),
        })
}

fn find(name: &OsStr, path: &OsStr) -> Option<PathBuf> {
    env::split_paths(path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .find(|file| is_executable(file))
}

pub(crate) fn is_executable(file: &Path) -> bool {
    file.metadata()
        .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// Runs a tool to its end; standard output is the result.
pub(crate) async fn output<I, S>(name: &str, args: I, dir: &Path) -> anyhow::Result<Vec<u8>>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut child = Command::new(tool(name)?)
        .args(args)
        .current_dir(dir)
        // The output is read by this program, not by a person.
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map(Running)
        .with_context(|| format!("cannot start {name}"))?;
    let (mut stdout, mut stderr) = (child.0.stdout.take(), child.0.stderr.take());
    let (stdout, stderr, status) =
        tokio::try_join!(all(&mut stdout), all(&mut stderr), child.0.wait())?;
    if status.success() {
        return Ok(stdout);
    }
    let message = String::from_utf8_lossy(&stderr);
    Err(Error::Tool {
        program: name.to_owned(),
        status: status.to_string(),
        message: message.trim().to_owned(),
    }
    .into())
}

async fn all(pipe: &mut Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// A process that does not outlive this value. Killing alone is not enough:
/// what was killed still holds the files of the run for a moment.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.start_kill();
        for _ in 0..5000 {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Fails where `dir`, which `variable` of the environment names, has not `bytes` left.
pub(crate) fn require_space(dir: &Path, variable: &'static str, bytes: u64) -> anyhow::Result<()> {
    let stat = rustix::fs::statvfs(dir)
        .with_context(|| format!("cannot see the free space of {}", dir.display()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free >= bytes {
        return Ok(());
    }
    Err(Error::Space {
        path: dir.to_owned(),
        variable,
        needed: bytes.div_ceil(1 << 20),
        free: free >> 20,
    }
    .into())
}

/// Bytes of memory that programs can still have; `None` where the kernel does not tell.
pub(crate) fn free_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_is_reported_with_its_package() {
        assert!(tool("sh").is_ok());
        let error = tool("no-such-tool").unwrap_err().to_string();
        assert!(error.contains("apt-get install no-such-tool"), "{error}");
    }

    #[test]
    fn a_folder_or_plain_file_is_no_program() {
        assert!(find("etc".as_ref(), "/".as_ref()).is_none());
        assert!(find("passwd".as_ref(), "/etc".as_ref()).is_none());
        assert!(find("sh".as_ref(), "/nowhere:/bin".as_ref()).is_some());
    }

    #[test]
    fn space_is_refused_in_mebibytes() {
        assert!(require_space(Path::new("/"), "TMPDIR", 0).is_ok());
        let error = require_space(Path::new("/"), "TMPDIR", u64::MAX).unwrap_err();
        let told = error.to_string();
        assert!(
            told.contains("MiB are needed") && told.contains("(TMPDIR can"),
            "{told}"
        );
    }
}
