//! Which processes are traced.
//!
//! What kind of scope it is stands in a constant, so that the verifier keeps one check of those below: a look into
//! the table of processes, or one helper's answer about the cgroup. That is all an untraced task pays for a hit.

use core::ptr;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use aya_log_ebpf::{debug, warn};
use odio_trace_common::{COMM_LEN, Hook, Loss, ScopeBy, ScopeConfig};

use crate::{
    config::offset,
    maps::{CGROUP, NAMES, SCOPE, hit, known, lose, mark, put},
    read::field,
    threads,
};

#[unsafe(no_mangle)]
static SCOPE_CONFIG: ScopeConfig = ScopeConfig { by: ScopeBy::Process as u32, own: 0, late: 0 };

#[inline(always)]
fn config() -> ScopeConfig {
    // SAFETY: a live static; volatile, because the compiler would else use the value above.
    unsafe { ptr::read_volatile(&raw const SCOPE_CONFIG) }
}

#[inline(always)]
fn by(what: ScopeBy) -> bool {
    config().by == what as u32
}

/// Whether processes may be taken up in the middle of a request.
#[inline(always)]
pub(crate) fn late() -> bool {
    config().late != 0
}

/// Whether the process, which is the running one, is traced.
#[inline(always)]
pub(crate) fn in_scope(tgid: u32) -> bool {
    // The tracer's own requests count while it calibrates, which the table of processes says.
    if by(ScopeBy::Cgroup) && tgid != config().own {
        matches!(CGROUP.current_task_under_cgroup(0), Ok(true))
    } else {
        known(u64::from(tgid)) && SCOPE.get_ptr(&tgid).is_some()
    }
}

/// False of most processes that are not traced, in few instructions.
#[inline(always)]
pub(crate) fn may_be(tgid: u32) -> bool {
    by(ScopeBy::Cgroup) || known(u64::from(tgid))
}

/// Whether the process, which is the running one, is traced; counts the hit of `hook` if it is.
#[inline(always)]
pub(crate) fn sees(hook: Hook, tgid: u32) -> bool {
    if !may_be(tgid) {
        return false;
    }
    if threads::hit_again(hook, tgid) {
        return true;
    }
    // Before the look: who is taken out after it makes this age an old one.
    let age = if by(ScopeBy::Cgroup) { 0 } else { threads::scope_age() };
    let traced = in_scope(tgid);
    if traced {
        hit(hook, tgid, age);
    }
    traced
}

/// Takes a process out of the scope.
#[inline(always)]
fn forget(tgid: u32) {
    let _ = SCOPE.remove(&tgid);
    threads::scope_changed();
}

/// `sched_process_fork`: follows the child of a traced process.
#[inline(always)]
pub(crate) fn forked(parent: u64, child: u64) {
    if by(ScopeBy::Cgroup) {
        return;
    }
    let tgid = |task| field::<u32>(task, offset!(task_tgid));
    let (Some(parent), Some(number)) = (tgid(parent), tgid(child)) else {
        lose(Loss::ReadFailed);
        return;
    };
    if parent == number {
        return;
    }
    if !in_scope(parent) {
        // The number is new again; what it stood for is gone.
        if SCOPE.get_ptr(&number).is_some() {
            forget(number);
        }
    } else if put(&SCOPE, &number, &child, Loss::ScopeFull) {
        mark(u64::from(number));
        debug!((), "process {} made process {}, which is followed", parent, number);
    } else {
        warn!((), "process {} made process {}, which cannot be followed", parent, number);
    }
}

/// `task_rename`: takes up the process of a task that takes a wanted name.
#[inline(always)]
pub(crate) fn renamed(task: u64, name: u64) {
    if !by(ScopeBy::Name) {
        return;
    }
    let mut comm = [0u8; COMM_LEN];
    // SAFETY: the helper writes at most COMM_LEN bytes, ends them with NUL, and fails on a bad address.
    let n = unsafe {
        bpf_probe_read_kernel_str(comm.as_mut_ptr().cast(), COMM_LEN as u32, name as *const _)
    };
    let Some(tgid) = field::<u32>(task, offset!(task_tgid)) else {
        lose(Loss::ReadFailed);
        return;
    };
    if n > 0 && NAMES.get_ptr(&comm).is_some() && tgid != config().own && SCOPE.get_ptr(&tgid).is_none() {
        put(&SCOPE, &tgid, &0, Loss::ScopeFull);
        mark(u64::from(tgid));
        debug!((), "process {} took a wanted name and is followed", tgid);
    }
}

/// `sched_process_exit`: a thread is in no op any more, and runs no journal.
#[inline(always)]
pub(crate) fn ended(task: u64) {
    if let Some(tid) = field::<u32>(task, offset!(task_pid))
    {
        crate::task::forget(tid);
        crate::journal::ended(tid);
    }
}

/// `sched_process_free`: lets go of a process whose last task is gone.
///
/// Not at its exit, for what it closes then still writes. By now another may have its number, if the table knows a
/// different task under it.
#[inline(always)]
pub(crate) fn gone(task: u64) {
    let (Some(tid), Some(tgid)) =
        (field::<u32>(task, offset!(task_pid)), field::<u32>(task, offset!(task_tgid)))
    else {
        return;
    };
    // A thread that execs takes over the process's number, and the first thread ends with another.
    if tid != tgid {
        return;
    }
    if let Some(entry) = SCOPE.get_ptr(&tgid) {
        // SAFETY: a live element, written before it was inserted.
        let known = unsafe { *entry };
        if known == 0 || known == task {
            forget(tgid);
        }
    }
}
