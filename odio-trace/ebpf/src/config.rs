//! What the user side told us about this kernel. Written by the loader before the programs are verified.

use core::ptr;

use odio_trace_common::{ABSENT, Config, Offsets, PADDING, Symbols};

#[unsafe(no_mangle)]
static CONFIG: Config = Config {
    symbols: Symbols {
        aio_complete_rw: 0,
        io_complete_rw: 0,
        iomap_dio_bio_end_io: 0,
        dio_bio_end_io: 0,
        dio_bio_end_aio: 0,
        blkdev_bio_end_io: 0,
        blkdev_bio_end_io_async: 0,
        xlog_bio_end_io: 0,
        btrfs_end_super_write: 0,
    },
    // SAFETY: integers; any bit pattern is valid. All ones is ABSENT in every offset.
    offsets: unsafe { core::mem::transmute::<[u8; size_of::<Offsets>()], Offsets>([0xff; size_of::<Offsets>()]) },
    req_fua: 0,
    req_preflush: 0,
    req_meta: 0,
    returns_seen: 0,
    wake_at: 0,
    reserved: [0; PADDING],
};

/// Reads one field of the configuration; volatile, because the compiler would else use the value above.
macro_rules! config {
    ($($field:ident).+) => {
        crate::config::load(crate::config::get(), |c| &raw const c.$($field).+)
    };
}
pub(crate) use config;

/// Volatile read of a field of the read-only data the loader filled in.
#[inline(always)]
pub(crate) fn load<T: Copy>(config: &'static Config, at: impl FnOnce(&Config) -> *const T) -> T {
    // SAFETY: a field of a live static.
    unsafe { ptr::read_volatile(at(config)) }
}

#[inline(always)]
pub(crate) fn get() -> &'static Config {
    &CONFIG
}

/// The offset, unless this kernel does not have the member.
#[inline(always)]
pub(crate) fn present(offset: u32) -> Option<u64> {
    if offset == ABSENT { None } else { Some(offset as u64) }
}

/// Shorthand for an offset of the configuration, `None` where absent.
macro_rules! offset {
    ($field:ident) => {
        crate::config::present(crate::config::config!(offsets.$field))
    };
}
pub(crate) use offset;
