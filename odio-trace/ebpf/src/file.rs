//! Which file an op is on, and its name.

use aya_ebpf::bindings::{BPF_ANY, BPF_RB_FORCE_WAKEUP};
use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use odio_trace_common::{FILE_PATH_LEN, FS_LEN, FileRecord, Loss, OpFlags, OpRecord, RecordKind};

use crate::{
    config::offset,
    maps::{EVENTS, FILES, FileKey, MOUNTS, add, lose, wake},
    read::{Reads, field},
    threads,
};

const S_IFMT: u16 = 0o170_000;
const S_IFBLK: u16 = 0o060_000;

/// Longest name of a file, with its NUL.
const NAME_LEN: usize = 256;

/// Most directories between a file and the root of its filesystem that are looked at.
const MAX_DEPTH: usize = 40;

/// What an op needs to know of its file, and where that was read.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct File {
    /// `struct file`, its inode and superblock, and what of the mount it points at.
    address: u64,
    inode: u64,
    sb: u64,
    mnt: u64,
    pub(crate) ino: u64,
    pub(crate) generation: u32,
    pub(crate) dev: u32,
    pub(crate) mount: u32,
    pub(crate) flags: u32,
    mode: u32,
    /// Its `struct block_device`, or that of its filesystem; 0 where there is none.
    pub(crate) device: u64,
    /// 1 where the thread has used it before and its name was sent.
    named: u32,
    /// Keeps the size a multiple of 8.
    reserved: u32,
}

impl File {
    pub(crate) const NONE: Self = Self {
        address: 0,
        inode: 0,
        sb: 0,
        mnt: 0,
        ino: 0,
        generation: 0,
        dev: 0,
        mount: 0,
        flags: 0,
        mode: 0,
        device: 0,
        named: 0,
        reserved: 0,
    };

    /// Whether the kernel keeps this file where that one was, and nothing says that it is another.
    #[inline(always)]
    fn is_still(&self, last: &Self) -> bool {
        self.address == last.address
            && self.inode == last.inode
            && self.sb == last.sb
            && self.mnt == last.mnt
            && self.ino == last.ino
            && self.generation == last.generation
    }

    pub(crate) fn is_block_device(&self) -> bool {
        self.mode & u32::from(S_IFMT) == u32::from(S_IFBLK)
    }
}

/// Number of its device, inode number, and whether it is a block device, of an inode.
#[inline(always)]
pub(crate) fn identify<R: Reads>(inode: u64) -> Option<(u32, u64, bool)> {
    let mode: u16 = R::member(inode, offset!(inode_mode))?;
    let block = mode & S_IFMT == S_IFBLK;
    let dev: u32 = if block {
        R::member(inode, offset!(inode_rdev))?
    } else {
        R::member(R::member(inode, offset!(inode_sb))?, offset!(super_block_dev))?
    };
    Some((dev, R::member(inode, offset!(inode_ino))?, block))
}

/// Whether the op is on a block device.
#[inline(always)]
pub(crate) fn is_block_device(state: &OpRecord) -> bool {
    state.flags & OpFlags::BLOCK_DEVICE != 0
}

/// Looks at a `struct file` that thread `tid`, which is running, uses; `None` where a member is absent or unreadable.
#[inline(always)]
pub(crate) fn look<R: Reads>(file: u64, tid: u32) -> Option<File> {
    let inode: u64 = R::member(file, offset!(file_inode))?;
    let mut seen = File {
        address: file,
        inode,
        sb: R::member(inode, offset!(inode_sb))?,
        // A file that is opened again, through another mount, may come to lie where the last one did.
        mnt: R::member(file, offset!(file_mnt)).unwrap_or(0),
        ino: R::member(inode, offset!(inode_ino))?,
        generation: R::member(inode, offset!(inode_generation)).unwrap_or(0),
        flags: R::member(file, offset!(file_flags))?,
        ..File::NONE
    };
    if let Some(last) = threads::last_file(tid) {
        // SAFETY: the running thread's own.
        let last = unsafe { &*last };
        if seen.is_still(last) {
            (seen.dev, seen.mount, seen.mode, seen.named) = (last.dev, last.mount, last.mode, 1);
            seen.device = last.device;
            return Some(seen);
        }
    }
    let (dev, _, _) = identify::<R>(inode)?;
    seen.dev = dev;
    seen.mode = u32::from(R::member::<u16>(inode, offset!(inode_mode))?);
    seen.mount = mount(seen.mnt).unwrap_or(0);
    let device = if seen.is_block_device() { device_of(file) } else { field(seen.sb, offset!(super_block_bdev)) };
    seen.device = device.unwrap_or(0);
    Some(seen)
}

/// The `struct block_device` of an open node: it lies beside the inode of its page cache (`I_BDEV`).
#[inline(always)]
fn device_of(file: u64) -> Option<u64> {
    let inode: u64 = field(field(file, offset!(file_mapping))?, offset!(address_space_host))?;
    Some(inode.wrapping_sub(offset!(bdev_inode_inode)?).wrapping_add(offset!(bdev_inode_bdev)?))
}

/// Whether a `struct block_device` still has a size. What is taken away has none (`del_gendisk`), and of the
/// pages past its size, which is all that it has, writeback drops the dirty ones without an error
/// (`block_write_full_folio`, seen in 6.12). The inode's size, which a write on its way makes larger again, is asked
/// only where the block layer keeps none of its own (5.10).
#[inline(always)]
fn has_size(device: u64) -> Option<bool> {
    let size: Option<u64> = match offset!(block_device_sectors) {
        None => field(field(device, offset!(block_device_inode))?, offset!(inode_size)),
        sectors => field(device, sectors),
    };
    Some(size? > 0)
}

/// Notes of an op with a sync in it whether its device outlived that.
#[inline(always)]
pub(crate) fn look_at_device(state: &mut OpRecord) {
    if state.device == 0 || state.vfs_fsyncs + state.fs_fsyncs == 0 {
        return;
    }
    match has_size(state.device) {
        Some(true) => state.completion_flags |= OpFlags::DEVICE_THERE,
        Some(false) => state.completion_flags |= OpFlags::DEVICE_GONE,
        None => {}
    }
}

/// The number of the mount that a file was opened through.
#[inline(always)]
fn mount(mnt: u64) -> Option<u32> {
    if mnt == 0 {
        return None;
    }
    field(mnt.wrapping_sub(offset!(mount_mnt)?), offset!(mount_id))
}

static mut MOUNTS_GONE: u64 = 0;

/// What is known of the mount that has a number.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Mount {
    /// How many mounts were gone when the one before it was; 0 where there was none.
    since: u64,
    /// 1 where the name of a file of it was sent.
    named: u64,
}

impl Mount {
    #[inline(always)]
    fn of(number: u32) -> Self {
        // SAFETY: a copy of two words.
        unsafe { MOUNTS.get(&number).copied() }.unwrap_or(Self { since: 0, named: 0 })
    }
}

/// How many mounts are gone.
#[inline(always)]
fn mounts_gone() -> u64 {
    // SAFETY: a word that is only ever added to.
    unsafe { (&raw const MOUNTS_GONE).read_volatile() }
}

/// `__fsnotify_vfsmount_delete(struct vfsmount *mnt)`, which `cleanup_mnt` calls before it lets go of the mount's number:
/// what lies behind that number from now on is another mount, also of files that were seen through this one.
#[inline(always)]
pub(crate) fn mount_gone(mnt: u64) {
    let Some(number) = mount(mnt) else { return };
    add(&raw mut MOUNTS_GONE, 1);
    let next = Mount { since: mounts_gone(), named: 0 };
    let _ = MOUNTS.insert(&number, &next, u64::from(BPF_ANY));
    threads::names_are_old();
}

/// Where the name of a superblock's type is.
#[inline(always)]
fn fs_type(sb: u64) -> Option<u64> {
    field(field(sb, offset!(super_block_type))?, offset!(file_system_type_name))
}

/// Whether the name is in its directory no more: it cannot be looked up, and is no root either.
#[inline(always)]
fn deleted(dentry: u64) -> bool {
    let hashed = field::<u64>(dentry, offset!(dentry_hashed));
    let parent = field::<u64>(dentry, offset!(dentry_parent));
    hashed == Some(0) && parent != Some(dentry)
}

/// `used`, for the verifier's eyes below `FILE_PATH_LEN`. The compiler knows that it is and would leave a plain `&`
/// out, but the verifier of 6.1 forgets what it knew of a value that went through the stack.
#[inline(always)]
fn within_path(used: usize) -> usize {
    const { assert!(FILE_PATH_LEN == 4096) }
    let mut used = used;
    // SAFETY: arithmetic on a register.
    unsafe { core::arch::asm!("{0} &= 4095", inout(reg) used) }
    used
}

/// Sends the file's name the first time it is seen.
#[inline(always)]
pub(crate) fn name(file: u64, seen: &File, tgid: u32, tid: u32) {
    if seen.named != 0 {
        return;
    }
    let key = FileKey {
        ino: seen.ino,
        dev: seen.dev,
        generation: seen.generation,
        mount: u64::from(seen.mount),
    };
    let gone = mounts_gone();
    // SAFETY: a copy of a word.
    let sent = unsafe { FILES.get(&key).copied() };
    if sent == Some(gone) {
        threads::uses_file(tid, seen);
        return;
    }
    let since = Mount::of(seen.mount).since;
    if sent.is_some_and(|sent| sent >= since) {
        threads::uses_file(tid, seen);
        return;
    }
    let Some(mut entry) = EVENTS.reserve::<FileRecord>(0) else {
        lose(Loss::NameRingFull);
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the reserved entry is ours until it is submitted. What is not needed later is written before the loop: the
    // verifier of 6.1 has to keep the loop's own values in registers.
    unsafe {
        (*record).mounts_gone = gone as u32;
        (*record).mount_since = since as u32;
        (*record).fs = [0; FS_LEN];
        if let Some(text) = fs_type(seen.sb) {
            bpf_probe_read_kernel_str((&raw mut (*record).fs).cast(), FS_LEN as u32, text as *const _);
        }
    }
    let mut used: usize = 0;
    let mut truncated = 1;
    let mut dentry: u64 = field(file, offset!(file_dentry)).unwrap_or(0);
    let deleted = deleted(dentry);
    for _ in 0..MAX_DEPTH {
        let Some(text) = field::<u64>(dentry, offset!(dentry_name)) else { break };
        if used > FILE_PATH_LEN - 1 {
            break;
        }
        // SAFETY: `used` is below FILE_PATH_LEN, and `names` has room for one more name behind it.
        let n = unsafe {
            let to = (&raw mut (*record).names).cast::<u8>().add(within_path(used));
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
        (*record).generation = seen.generation;
        (*record).mount = seen.mount;
        (*record).tgid = tgid;
        (*record).names_len = used as u32;
        (*record).truncated = truncated;
        (*record).mode = seen.mode;
        (*record).deleted = u32::from(deleted);
        (*record).reserved = 0;
    }
    let of = Mount::of(seen.mount);
    if of.named == 0 {
        // The tracer has to look at the mount before it is gone.
        entry.submit(u64::from(BPF_RB_FORCE_WAKEUP));
        let _ = MOUNTS.insert(&seen.mount, &Mount { named: 1, ..of }, u64::from(BPF_ANY));
    } else {
        entry.submit(wake());
    }
    threads::name_sent();
    // The least used makes room; where even that fails, the name is merely sent again.
    // The file's mount is not among those that have gone since.
    let _ = FILES.insert(&key, &mounts_gone(), u64::from(BPF_ANY));
}
