//! # A disk in memory that the kernel mounts
//!
//! The kernel's network block device, with this program at the other end of the socket. What is on the disk is changed
//! by changing memory, so the next image costs no device. By netlink and not by ioctl(2), because that wants the device
//! held open while it is served, and the kernel drops its page cache of a device when the last who had it open is gone
//! (`blkdev_flush_mapping`); what an earlier image left in it must not be read in a later one.

mod netlink;
mod serve;

use std::{
    fs,
    io::BufReader,
    net::Shutdown,
    os::{fd::AsFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::disk::Disk;

/// A disk that is served until it is dropped.
#[derive(Debug)]
pub(crate) struct Served {
    path: PathBuf,
    disk: Arc<Mutex<Disk>>,
    /// Closes the connection.
    end: UnixStream,
    server: Option<JoinHandle<std::io::Result<()>>>,
}

impl Served {
    /// Serves a disk as the device `path`, which is `/dev/nbdN`.
    pub(crate) fn new(path: &Path, disk: Disk) -> Result<Served> {
        let index = index(path).with_context(|| {
            format!(
                "{}: not a network block device (module nbd)",
                path.display()
            )
        })?;
        let size = disk.size();
        let disk = Arc::new(Mutex::new(disk));
        let (kernel, ours) = UnixStream::pair()?;
        let end = ours.try_clone()?;
        let served = Arc::clone(&disk);
        let server = thread::Builder::new().name("disk".into()).spawn(move || {
            let answers = ours.try_clone()?;
            serve::run(&served, BufReader::new(ours), answers)
        })?;
        let served = Served {
            path: path.to_owned(),
            disk,
            end,
            server: Some(server),
        };
        netlink::connect(index, size, kernel.as_fd())
            .with_context(|| format!("{}", path.display()))?;
        // From here on the kernel has the socket.
        drop(kernel);
        served.wait_until(size)?;
        Ok(served)
    }

    /// The device.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What is on it. Not to be held while anything waits for the device.
    pub(crate) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The kernel makes the device as large as it is behind the answer to the message.
    fn wait_until(&self, bytes: u64) -> Result<()> {
        let name = self.path.file_name().unwrap_or_default();
        let size = Path::new("/sys/block").join(name).join("size");
        for _ in 0..1000 {
            let sectors = fs::read_to_string(&size).with_context(|| size.display().to_string())?;
            if sectors.trim().parse() == Ok(bytes >> 9) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(10));
        }
        bail!("{} did not get its size", self.path.display())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // The server's next read ends; the kernel sees the other end gone and frees the device.
        let _ = self.end.shutdown(Shutdown::Both);
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
        // A next one wants the device free.
        if let Some(index) = index(&self.path) {
            let _ = netlink::disconnect(index);
        }
    }
}

/// N of `/dev/nbdN`.
fn index(path: &Path) -> Option<u32> {
    path.to_str()?.strip_prefix("/dev/nbd")?.parse().ok()
}
