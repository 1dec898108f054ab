//! FUA as it is issued: a request that still carries it when its driver gets it.
//!
//! What a bio asks for at submit_bio is a wish: without a volatile cache the block layer drops FUA, without FUA in the
//! queue it flushes afterwards. So each data bio of an op that asks for it is noted with its op, by its address, and a
//! request is looked up by its first bio. By address and not by what the bio leads to, because a synchronous write of a
//! block device leads to no kiocb, and because a request that the driver gives back is issued again and counts once. The
//! task counts for nothing: a worker may issue what another submitted.
//!
//! - A bio that the block layer splits goes on under its own address as the last part; the parts cut off before have
//!   copies of its flags. Its last part stands for it.
//! - Bios with FUA are not merged with others (`REQ_NOMERGE_FLAGS`): if a kernel did, only the first would be seen.
//! - Not seen: what a stacked device (dm, mostly md) makes of the bio, which are other bios; a bio whose data is
//!   encrypted by the block layer's own software, likewise; one of more than [`NOTED`] that are under way.
//!
//! What is not seen is not counted, so no op shows more FUA than was issued for it.

use aya_ebpf::{macros::map, maps::LruHashMap};
use odio_trace_common::{Hook, Loss, OpRecord};

use crate::{
    config::{config, offset},
    maps::{add, lose},
    ops,
    read::Reads,
    step,
};

/// Bios that may be under way. A device that has no request of its own for a bio leaves it here until others push it
/// out.
const NOTED: u32 = 16384;

/// Data bios with FUA, by `struct bio`, and whose each is.
#[map]
static FUA_BIOS: LruHashMap<u64, Asker> = LruHashMap::with_max_entries(NOTED, 0);

/// An op: another that comes to have the same key began at another time.
#[repr(C)]
#[derive(Clone, Copy)]
struct Asker {
    key: u64,
    begin_ns: u64,
}

/// The op under `key` hands a data bio with FUA to the block layer.
#[inline(always)]
pub(crate) fn expect(bio: u64, key: u64, state: &OpRecord) {
    if FUA_BIOS.insert(&bio, &Asker { key, begin_ns: state.begin_ns }, 0).is_err() {
        lose(Loss::OpsFull);
    }
}

/// `block_rq_issue`: a request goes to its driver. It is called for every request of the machine.
#[inline(always)]
pub(crate) fn issued<R: Reads>(request: u64) {
    let Some(flags) = R::member::<u32>(request, offset!(request_cmd_flags)) else { return };
    if flags & config!(req_fua) == 0 {
        return;
    }
    let Some(bio) = R::member::<u64>(request, offset!(request_bio)) else { return };
    let Some(asker) = FUA_BIOS.get_ptr(&bio) else { return };
    // SAFETY: a live element; the bio is this request's, so nobody notes it anew.
    let asker = unsafe { *asker };
    let _ = FUA_BIOS.remove(&bio);
    let Some(state) = ops::get(asker.key) else { return };
    // SAFETY: a live element; the op is open until its request was issued, and begins once.
    if unsafe { (*state).begin_ns } != asker.begin_ns {
        return;
    }
    step::took(Hook::FuaIssue, state, 0, bio);
    // SAFETY: a live, aligned member that several processors only add to.
    add(unsafe { &raw mut (*state).fua_issued }, 1);
}
