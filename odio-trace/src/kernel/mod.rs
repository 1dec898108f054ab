//! # What this kernel is
