//! # Devices of the device mapper
//!
//! Makes one from a target of the kernel, sends it messages, asks for its status and removes it (linux/dm-ioctl.h).
//! Not through `dmsetup`: a mark follows every acknowledged write, and a process each time would take longer than the
//! writes.

use std::{
    fs::File,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

const CONTROL: &str = "/dev/mapper/control";
/// `_IOWR(DM_IOCTL, number, struct dm_ioctl)`.
const REQUEST: u64 = 0xc138_fd00;
const DEV_CREATE: u64 = 3;
const DEV_REMOVE: u64 = 4;
const DEV_SUSPEND: u64 = 6;
const TABLE_LOAD: u64 = 9;
const TABLE_STATUS: u64 = 12;
const TARGET_MSG: u64 = 14;

/// Flags of DEV_SUSPEND; without the first it is a resume.
const SUSPEND: u32 = 1 << 1;
const SKIP_LOCKFS: u32 = 1 << 10;
const NO_FLUSH: u32 = 1 << 11;

/// `struct dm_ioctl`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Header {
    version: [u32; 3],
    data_size: u32,
    data_start: u32,
    target_count: u32,
    open_count: i32,
    flags: u32,
    event_nr: u32,
    padding: u32,
    dev: u64,
    name: [u8; 128],
    uuid: [u8; 129],
    data: [u8; 7],
}

const HEADER: usize = size_of::<Header>();
const _: () = assert!(HEADER == 312);

/// Bytes of `struct dm_target_spec`.
const SPEC: usize = 40;
/// Room for what the kernel answers.
const ANSWER: usize = 16 << 10;

/// Header and data, aligned as the header is.
#[repr(C, align(8))]
struct Message {
    header: Header,
    data: [u8; ANSWER],
}

/// A device that lives until it is removed or dropped.
#[derive(Debug)]
pub(crate) struct Mapped {
    control: File,
    name: String,
    path: PathBuf,
    there: bool,
}

impl Mapped {
    /// A device of `sectors` (of 512 bytes) with one target over all of it.
    pub(crate) fn new(name: &str, sectors: u64, target: &str, parameters: &str) -> Result<Mapped> {
        let mut mapped = Mapped {
            control: File::options()
                .read(true)
                .write(true)
                .open(CONTROL)
                .context(CONTROL)?,
            name: name.to_owned(),
            path: PathBuf::new(),
            there: false,
        };
        let answer = mapped.call(DEV_CREATE, "create", 0, &[])?;
        mapped.there = true;
        // The node has the name that the kernel gives it: where the lab runs there is no udev.
        let minor = rustix::fs::minor(answer.header.dev);
        mapped.path = PathBuf::from(format!("/dev/dm-{minor}"));

        ensure!(target.len() < 16, "no target is named {target:?}");
        let mut spec = vec![0; SPEC];
        spec[8..16].copy_from_slice(&sectors.to_ne_bytes());
        spec[24..24 + target.len()].copy_from_slice(target.as_bytes());
        spec.extend(parameters.as_bytes());
        spec.push(0);
        mapped
            .call(TABLE_LOAD, "load", 1, &spec)
            .with_context(|| format!("the target {target} over {parameters}"))?;
        mapped.resume()?;
        Ok(mapped)
    }

    /// Holds back all that is handed to it from now on; what mounts it is not asked to write anything first.
    pub(crate) fn suspend(&self) -> Result<()> {
        let flags = SUSPEND | SKIP_LOCKFS | NO_FLUSH;
        self.call_with(flags, DEV_SUSPEND, "suspend", 0, &[])?;
        Ok(())
    }

    /// Lets go of what was held back.
    pub(crate) fn resume(&self) -> Result<()> {
        self.call(DEV_SUSPEND, "resume", 0, &[])?;
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Sends the target a message.
    pub(crate) fn message(&self, text: &str) -> Result<()> {
        let sector = [0; 8];
        let data = [&sector[..], text.as_bytes(), &[0]].concat();
        self.call(TARGET_MSG, "message", 0, &data)?;
        Ok(())
    }

    /// What the target says of itself.
    pub(crate) fn status(&self) -> Result<String> {
        let answer = self.call(TABLE_STATUS, "status", 0, &[])?;
        let start = (answer.header.data_start as usize).saturating_sub(HEADER) + SPEC;
        let text = answer.data.get(start..).unwrap_or(&[]);
        let text = text.split(|byte| *byte == 0).next().unwrap_or(&[]);
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    /// Removes it; what its target still has to write is written by then.
    pub(crate) fn remove(mut self) -> Result<()> {
        self.there = false;
        self.call(DEV_REMOVE, "remove", 0, &[])?;
        Ok(())
    }

    fn call(&self, number: u64, what: &str, targets: u32, data: &[u8]) -> Result<Box<Message>> {
        self.call_with(0, number, what, targets, data)
    }

    fn call_with(
        &self,
        flags: u32,
        number: u64,
        what: &str,
        targets: u32,
        data: &[u8],
    ) -> Result<Box<Message>> {
        ensure!(data.len() <= ANSWER && self.name.len() < 128, "too long");
        let mut message = Box::new(Message {
            header: Header {
                version: [4, 0, 0],
                data_size: size_of::<Message>() as u32,
                data_start: HEADER as u32,
                target_count: targets,
                open_count: 0,
                flags,
                event_nr: 0,
                padding: 0,
                dev: 0,
                name: [0; 128],
                uuid: [0; 129],
                data: [0; 7],
            },
            data: [0; ANSWER],
        });
        message.header.name[..self.name.len()].copy_from_slice(self.name.as_bytes());
        message.data[..data.len()].copy_from_slice(data);
        // SAFETY: the kernel reads and writes `data_size` bytes from the pointer, which is the size of `Message`; all
        // of its fields are integers, for which any bytes are valid.
        let result = unsafe {
            libc::ioctl(
                self.control.as_raw_fd(),
                REQUEST | number,
                &raw mut *message,
            )
        };
        if result < 0 {
            return Err(std::io::Error::last_os_error())
                .with_context(|| format!("device mapper: {what} {}", self.name));
        }
        Ok(message)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        if self.there {
            // An error is on its way already, and it is the one to be told.
            let _ = self.call(DEV_REMOVE, "remove", 0, &[]);
        }
    }
}
