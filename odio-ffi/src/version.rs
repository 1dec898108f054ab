//! # Version

use std::ffi::c_char;

/// Major version of this header. While it is 0, a new minor version may break compatibility, and then has another
/// soname.
pub const ODIO_VERSION_MAJOR: u32 = 0;
/// Minor version of this header.
pub const ODIO_VERSION_MINOR: u32 = 1;
/// Patch version of this header.
pub const ODIO_VERSION_PATCH: u32 = 0;

// ODIO_VERSION itself is in the header's preamble: C wants it as an expression of the three above.
const VERSION: u32 = ODIO_VERSION_MAJOR << 16 | ODIO_VERSION_MINOR << 8 | ODIO_VERSION_PATCH;

/// The version of the library that is running, to compare with ODIO_VERSION.
///
/// Never fails. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn odio_version() -> u32 {
    VERSION
}

/// The version of the library that is running, as text like "0.1.0".
///
/// Never fails. The text is never released. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn odio_version_string() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_carries_the_package_version() {
        assert_eq!(
            env!("CARGO_PKG_VERSION"),
            format!("{ODIO_VERSION_MAJOR}.{ODIO_VERSION_MINOR}.{ODIO_VERSION_PATCH}")
        );
    }
}
