//! # Results
//!
//! One file per format. Results go to standard output; nothing here decides anything.

pub(crate) mod json;
pub(crate) mod ledger;
pub(crate) mod text;

#[cfg(test)]
mod tests;
