//! # What the fuzz targets share
//!
//! - [`boundary`]: calls over the C ABI
//! - [`input`]: choices out of the bytes of an input
//! - [`model`]: what a file may hold while requests are in flight; pure
//! - [`place`]: real files, without names, that leave nothing behind
//! - [`drive`]: a queue, or two, driven and held against the model

pub mod boundary;
pub mod drive;
pub mod input;
pub mod model;
pub mod place;
