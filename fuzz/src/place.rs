//! # Real files
//!
//! Made with O_TMPFILE and opened again through `/proc/self/fd`: they have no name, so a target that is killed leaves
//! nothing behind.

use std::{
    fs::{File, OpenOptions},
    os::{
        fd::AsRawFd,
        unix::fs::{FileExt, OpenOptionsExt},
    },
    path::PathBuf,
    sync::OnceLock,
};

/// No file of a target becomes larger: what goes past it fails as on a full disk.
pub const LARGEST: u64 = 64 << 20;

/// Where a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// On the disk that holds this program.
    Disk,
    /// In /dev/shm, a tmpfs.
    Memory,
}

/// An empty file without a name.
pub struct Place {
    file: File,
}

impl Place {
    pub fn new(at: Where) -> Place {
        limit();
        let folder = match at {
            Where::Memory => PathBuf::from("/dev/shm"),
            Where::Disk => {
                let program = std::env::current_exe().expect("this program has a path");
                program.parent().expect("it is in a folder").to_owned()
            }
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_TMPFILE)
            .open(&folder)
            .unwrap_or_else(|error| panic!("no file in {}: {error}", folder.display()));
        Place { file }
    }

    pub fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }

    pub fn size(&self) -> u64 {
        self.file.metadata().expect("fstat").len()
    }

    /// What the file holds, read past libodio.
    pub fn bytes(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset).expect("pread");
        bytes
    }
}

/// Sets the largest size of a file, once.
fn limit() {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        let limit = libc::rlimit {
            rlim_cur: LARGEST,
            rlim_max: libc::RLIM_INFINITY,
        };
        // SAFETY: plain system calls with a value that lives until they return.
        unsafe {
            assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
            // EFBIG is what is asked for.
            libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        }
    });
}

/// The lowest descriptor that is free: where it is another one afterwards, one was lost or closed too often.
pub fn free_descriptor() -> i32 {
    let file = File::open("/dev/null").expect("/dev/null");
    file.as_raw_fd()
}
