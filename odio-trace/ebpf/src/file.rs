//! Which file an op is on, and its name.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use odio_trace_common::{FILE_PATH_LEN, FileRecord, Loss, RecordKind};

use crate::{
    config::offset,
    maps::{EVENTS, FILES, FileKey, lose, put},
    read::field,
};

const S_IFMT: u16 = 0o170_000;
const S_IFBLK: u16 = 0o060_000;

const _: () = assert!(FILE_PATH_LEN == 4096, "the mask in `name`");

/// Longest name of a file, with its NUL.
const NAME_LEN: usize = 256;

/// Most directories between a file and the root of its filesystem that are looked at.
const MAX_DEPTH: usize = 40;

/// What an op needs to know of its file.
pub(crate) struct File {
    pub(crate) dev: u32,
    pub(crate) ino: u64,
    pub(crate) flags: u32,
    pub(crate) mode: u16,
}

impl File {
    pub(crate) fn is_block_device(&self) -> bool {
        self.mode & S_IFMT == S_IFBLK
    }
}

/// Looks at a `struct file`; `None` where a member is absent or unreadable.
#[inline(always)]
pub(crate) fn look(file: u64) -> Option<File> {
    let inode: u64 = field(file, offset!(file_inode))?;
    let mode: u16 = field(inode, offset!(inode_mode))?;
    let dev: u32 = if mode & S_IFMT == S_IFBLK {
        field(inode, offset!(inode_rdev))?
    } else {
        field(field(inode, offset!(inode_sb))?, offset!(super_block_dev))?
    };
    Some(File {
        dev,
        ino: field(inode, offset!(inode_ino))?,
        flags: field(file, offset!(file_flags))?,
        mode,
    })
}

/// Sends the file's name the first time it is seen.
#[inline(always)]
pub(crate) fn name(file: u64, seen: &File, tgid: u32) {
    let key = FileKey { ino: seen.ino, dev: u64::from(seen.dev) };
    if FILES.get_ptr(&key).is_some() {
        return;
    }
    let Some(mut entry) = EVENTS.reserve::<FileRecord>(0) else {
        lose(Loss::NameRingFull);
        return;
    };
    let record = entry.as_mut_ptr();
    let mut used: usize = 0;
    let mut truncated = 1;
    let mut dentry: u64 = field(file, offset!(file_dentry)).unwrap_or(0);
    for _ in 0..MAX_DEPTH {
        let Some(text) = field::<u64>(dentry, offset!(dentry_name)) else { break };
        if used > FILE_PATH_LEN - 1 {
            break;
        }
        // SAFETY: `at` is below FILE_PATH_LEN, and `names` has room for one more name behind it.
        let n = unsafe {
            let mut at = used;
            // The compiler drops a mask that the test above makes needless; the verifier, which may have forgotten that
            // test by now, takes the mask as its bound.
            core::arch::asm!("{0} &= 4095", inout(reg) at);
            let to = (&raw mut (*record).names).cast::<u8>().add(at);
            bpf_probe_read_kernel_str(to.cast(), NAME_LEN as u32, text as *const _)
        };
        if n <= 0 || n > NAME_LEN as i64 {
            break;
        }
        used += n as usize;
        let Some(parent) = field::<u64>(dentry, offset!(dentry_parent)) else { break };
        if parent == dentry {
            truncated = 0;
            break;
        }
        dentry = parent;
    }
    // SAFETY: the reserved entry is ours until it is submitted; names beyond `names_len` are not read.
    unsafe {
        (*record).kind = RecordKind::File as u32;
        (*record).dev = seen.dev;
        (*record).ino = seen.ino;
        (*record).tgid = tgid;
        (*record).names_len = used as u32;
        (*record).truncated = truncated;
        (*record).mode = u32::from(seen.mode);
    }
    entry.submit(0);
    put(&FILES, &key, &1, Loss::OpsFull);
}
