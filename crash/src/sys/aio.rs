//! # The kernel's own asynchronous I/O
//!
//! io_submit(2) and io_getevents(2) as they are, with nothing of libodio: what the kernel itself acknowledges.

use std::{
    fs::File,
    io,
    os::fd::{AsRawFd, RawFd},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use odio_core::buffer::Buffer;

const PWRITE: u16 = 1;

/// `struct iocb` of linux/aio_abi.h; `key` and `rw_flags` as on a little-endian machine, both 0 here.
#[repr(C)]
#[derive(Debug)]
struct Iocb {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    priority: i16,
    fd: u32,
    buffer: u64,
    length: u64,
    offset: i64,
    reserved: u64,
    flags: u32,
    event_fd: u32,
}

#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
struct Event {
    data: u64,
    iocb: u64,
    result: i64,
    more: i64,
}

const _: () = assert!(size_of::<Iocb>() == 64 && size_of::<Event>() == 32);

/// Writes in flight, and their memory.
#[derive(Debug)]
pub(crate) struct Aio {
    context: u64,
    /// What the writes name, until they have completed.
    held: Vec<(u64, File, Buffer)>,
    /// Not handed to the kernel yet; what they name is in `held`.
    waiting: Vec<Iocb>,
}

impl Aio {
    pub(crate) fn new(depth: u32) -> Result<Aio> {
        let mut context = 0u64;
        // SAFETY: the kernel writes the number of the context where the pointer leads.
        let result = unsafe { libc::syscall(libc::SYS_io_setup, depth, &raw mut context) };
        ensure!(result == 0, "io_setup: {}", io::Error::last_os_error());
        Ok(Aio {
            context,
            held: Vec::new(),
            waiting: Vec::new(),
        })
    }

    /// Begins a write, which goes to the kernel with the others that wait.
    pub(crate) fn write(&mut self, file: File, buffer: Buffer, offset: u64, number: u64) {
        let fd: RawFd = file.as_raw_fd();
        self.waiting.push(Iocb {
            data: number,
            key: 0,
            rw_flags: 0,
            opcode: PWRITE,
            priority: 0,
            fd: fd as u32,
            buffer: buffer.as_ptr() as u64,
            length: buffer.len() as u64,
            offset: offset as i64,
            reserved: 0,
            flags: 0,
            event_fd: 0,
        });
        self.held.push((number, file, buffer));
    }

    /// Whether some were not handed over yet.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Hands over all that wait, in one call where the kernel takes them.
    pub(crate) fn submit(&mut self) -> Result<()> {
        while !self.waiting.is_empty() {
            let list: Vec<*const Iocb> = self.waiting.iter().map(|iocb| &raw const *iocb).collect();
            // SAFETY: the kernel reads as many iocbs as the list has, within the call; the memory and the file that
            // they name are owned by `held` until the write has completed or the context is destroyed.
            let result = unsafe {
                libc::syscall(libc::SYS_io_submit, self.context, list.len(), list.as_ptr())
            };
            ensure!(result > 0, "io_submit: {}", io::Error::last_os_error());
            self.waiting.drain(..result as usize);
        }
        Ok(())
    }

    /// Waits for one that was handed over: its number, and how many bytes were written.
    pub(crate) fn complete(&mut self) -> Result<(u64, u64)> {
        let mut event = Event::default();
        // SAFETY: the kernel writes at most one event where the pointer leads.
        let result = unsafe {
            libc::syscall(
                libc::SYS_io_getevents,
                self.context,
                1,
                1,
                &raw mut event,
                std::ptr::null_mut::<libc::timespec>(),
            )
        };
        ensure!(result == 1, "io_getevents: {}", io::Error::last_os_error());
        self.held.retain(|(number, ..)| *number != event.data);
        let moved = u64::try_from(event.result)
            .map_err(|_| anyhow!("{}", io::Error::from_raw_os_error(-event.result as i32)))
            .with_context(|| format!("write {}", event.data))?;
        Ok((event.data, moved))
    }
}

impl Drop for Aio {
    fn drop(&mut self) {
        // SAFETY: the context is this value's own. The call waits for what is in flight, so the buffers outlive it.
        unsafe { libc::syscall(libc::SYS_io_destroy, self.context) };
    }
}
