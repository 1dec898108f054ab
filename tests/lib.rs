//! # What the tests share
