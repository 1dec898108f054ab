//! Files that traced processes open: what of their filesystem would read and write them.
//!
//! An op begins where a filesystem's own function is entered, so a filesystem that is in no list has none. The user side
//! holds what was opened against what is watched.

use aya_ebpf::{helpers::bpf_get_current_task, macros::map, maps::HashMap};
use odio_trace_common::{Loss, OpenedKey};

use crate::{
    config::offset,
    maps::{add, lose, put},
    read::field,
    scope,
};

/// How many files of each kind were opened.
#[map]
static OPENED: HashMap<OpenedKey, u64> = HashMap::with_max_entries(1024, 0);

/// The same, as the second program at the return of a system call counts.
#[map]
static OPENED_AGAIN: HashMap<OpenedKey, u64> = HashMap::with_max_entries(1024, 0);

/// Where the system call's number is in `struct pt_regs`: the layout is x86-64's and does not change.
const ORIG_AX: u64 = 15 * 8;

// System calls of x86-64 that return the descriptor of a file they opened.
const OPEN: u64 = 2;
const CREAT: u64 = 85;
const OPENAT: u64 = 257;
const OPEN_BY_HANDLE_AT: u64 = 304;
const OPENAT2: u64 = 437;

const O_ACCMODE: u32 = 3;
const S_IFMT: u16 = 0o170_000;
const S_IFREG: u16 = 0o100_000;
const S_IFBLK: u16 = 0o060_000;

/// A system call of process `tgid` returns; `regs` are those that it was called with. `again`: to the second program.
#[inline(always)]
pub(crate) fn returned(tgid: u32, regs: u64, ret: i64, again: bool) {
    if ret < 0 || !scope::may_be(tgid) {
        return;
    }
    let call = field::<u64>(regs, Some(ORIG_AX));
    if let Some(OPEN | CREAT | OPENAT | OPEN_BY_HANDLE_AT | OPENAT2) = call
        && scope::in_scope(tgid)
        && count(ret as u64, if again { &OPENED_AGAIN } else { &OPENED }).is_none()
    {
        lose(Loss::ReadFailed);
    }
}

/// Counts the file of a descriptor.
#[inline(always)]
fn count(descriptor: u64, opened: &HashMap<OpenedKey, u64>) -> Option<()> {
    // SAFETY: the helper only tells where the running task is.
    let task = unsafe { bpf_get_current_task() };
    let table: u64 = field(field(task, offset!(task_files))?, offset!(files_table))?;
    let files: u64 = field(table, offset!(files_table_files))?;
    let file: u64 = field(files.wrapping_add(descriptor.wrapping_mul(8)), Some(0))?;
    if file == 0 {
        // Another thread has closed it.
        return Some(());
    }
    let inode: u64 = field(file, offset!(file_inode))?;
    let mode: u16 = field(inode, offset!(inode_mode))?;
    if mode & S_IFMT != S_IFREG && mode & S_IFMT != S_IFBLK {
        return Some(());
    }
    let sb: u64 = field(inode, offset!(inode_sb))?;
    let operations: u64 = field(file, offset!(file_op))?;
    let flags: u32 = field(file, offset!(file_flags))?;
    let key = OpenedKey {
        read_iter: field(operations, offset!(file_operations_read))?,
        write_iter: field(operations, offset!(file_operations_write))?,
        magic: field(sb, offset!(super_block_magic))?,
        dev: field(sb, offset!(super_block_dev))?,
        access: flags & O_ACCMODE,
    };
    match opened.get_ptr_mut(&key) {
        Some(files) => add(files, 1),
        None => _ = put(opened, &key, &1, Loss::OpsFull),
    }
    Some(())
}
