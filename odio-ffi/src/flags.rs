//! # Flags of one request

use odio_core::flags::Flags;

use crate::error::Failure;

/// For one write: the data, and the metadata needed to find it, are durable when it is acknowledged. RWF_DSYNC.
pub const ODIO_RWF_DSYNC: u32 = 1;
/// For one write: the data and all metadata are durable when it is acknowledged. RWF_SYNC.
pub const ODIO_RWF_SYNC: u32 = 2;
/// For one read or write: fail with -EAGAIN rather than wait for a lock, a transaction or memory. RWF_NOWAIT. What could
/// be moved without waiting is reported, so fewer bytes than asked for do not mean the end of the file. (O_NONBLOCK does
/// nothing on regular files and block devices; this is what it is often taken for.)
pub const ODIO_RWF_NOWAIT: u32 = 4;
/// For one write: it is there whole or not at all after a power cut. RWF_ATOMIC, within the limits of the file.
pub const ODIO_RWF_ATOMIC: u32 = 8;
/// For one read or write of a buffered file: drop the page cache's copy afterwards. RWF_DONTCACHE, Linux 6.14.
pub const ODIO_RWF_DONTCACHE: u32 = 16;
/// For one write: all of it, and then an fdatasync, as one request with one result.
pub const ODIO_RWF_THEN_DATASYNC: u32 = 32;
/// For one write: all of it, and then an fsync, as one request with one result.
pub const ODIO_RWF_THEN_SYNC: u32 = 64;

pub(crate) fn flags(bits: u32) -> Result<Flags, Failure> {
    Flags::from_bits(bits).ok_or_else(|| {
        Failure::invalid(format!(
            "flags are {bits:#x}, which holds a bit that is no ODIO_RWF_*"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_core() {
        let numbers = [
            ODIO_RWF_DSYNC,
            ODIO_RWF_SYNC,
            ODIO_RWF_NOWAIT,
            ODIO_RWF_ATOMIC,
            ODIO_RWF_DONTCACHE,
            ODIO_RWF_THEN_DATASYNC,
            ODIO_RWF_THEN_SYNC,
        ];
        assert_eq!(Flags::ALL.map(Flags::bits), numbers);
        assert_eq!(flags(128).unwrap_err().errno, libc::EINVAL);
    }
}
