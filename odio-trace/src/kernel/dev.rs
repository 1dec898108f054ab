//! # A device number
//!
//! The kernel, user space and text files write the same number in three ways; here it is a pair.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// The number of a block device, or of a filesystem that has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Dev {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl Dev {
    /// From a `dev_t` as kernel structures hold it (`super_block.s_dev`, `block_device.bd_dev`): 12 bits of major above
    /// 20 of minor. It is not the encoding that stat(2) returns.
    pub(crate) fn from_kernel(dev: u32) -> Self {
        Self {
            major: dev >> 20,
            minor: dev & 0xf_ffff,
        }
    }

    /// From `st_dev` of stat(2).
    pub(crate) fn from_stat(dev: u64) -> Self {
        Self {
            major: libc::major(dev),
            minor: libc::minor(dev),
        }
    }
}

impl fmt::Display for Dev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

impl Serialize for Dev {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Dev {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// A text that is no `MAJOR:MINOR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotADev(String);

impl fmt::Display for NotADev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not MAJOR:MINOR", self.0)
    }
}

impl std::error::Error for NotADev {}

impl FromStr for Dev {
    type Err = NotADev;

    fn from_str(text: &str) -> Result<Self, NotADev> {
        text.split_once(':')
            .and_then(|(major, minor)| {
                Some(Self {
                    major: major.parse().ok()?,
                    minor: minor.parse().ok()?,
                })
            })
            .ok_or_else(|| NotADev(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_encodings_of_one_device() {
        let dev = Dev {
            major: 259,
            minor: 70_000,
        };
        assert_eq!(dev.to_string(), "259:70000");
        assert_eq!("259:70000".parse(), Ok(dev));
        assert_eq!(Dev::from_kernel(259 << 20 | 70_000), dev);
        assert_eq!(Dev::from_stat(libc::makedev(259, 70_000)), dev);
        // A minor above 255 is where the two numeric encodings part.
        assert_ne!(u64::from(259u32 << 20 | 70_000), libc::makedev(259, 70_000));
    }

    #[test]
    fn what_is_no_device_is_refused() {
        for text in ["", ":", "259", "259:", ":0", "a:b", "259:0:1", "-1:0"] {
            assert!(text.parse::<Dev>().is_err(), "{text:?}");
        }
    }
}
