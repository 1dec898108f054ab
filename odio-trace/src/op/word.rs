//! Words of an op, read back.
//!
//! An op made from the kernel's records names its engine and the like by constants. Those of a recording come from a
//! file, so each distinct one is kept for the life of the process; how many, and how long, is bounded.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Deserializer, de::Error};

/// One of few words, named by a constant or by a recording.
pub(super) type Word = &'static str;

/// More than there are words of all kinds, now and in versions to come.
const MOST: usize = 256;
const LONGEST: usize = 64;

static KNOWN: Mutex<BTreeSet<Word>> = Mutex::new(BTreeSet::new());

fn keep(word: &str) -> Result<Word, &'static str> {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = known.get(word) {
        return Ok(known);
    }
    if word.len() > LONGEST {
        return Err("a word that is longer than any this tool writes");
    }
    if known.len() >= MOST {
        return Err("more different words than this tool writes");
    }
    let word: Word = Box::leak(word.into());
    known.insert(word);
    Ok(word)
}

/// For a field that is always there.
pub(super) fn word<'de, D: Deserializer<'de>>(from: D) -> Result<Word, D::Error> {
    let word = std::borrow::Cow::<str>::deserialize(from)?;
    keep(&word).map_err(D::Error::custom)
}

/// For a field that may be null.
pub(super) fn maybe_word<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Word>, D::Error> {
    let word = Option::<std::borrow::Cow<str>>::deserialize(from)?;
    word.map(|word| keep(&word))
        .transpose()
        .map_err(D::Error::custom)
}
