//! # The claims of the source documents, each with what decides it
//!
//! The first document is on direct I/O from user space, the second follows O_DIRECT and O_SYNC through ext4 of Linux
//! 4.9. A claim is judged from the records alone, of the running kernel and never of its version; what was not seen, or
//! not conclusively, is said to be not shown.

mod fsync;
mod path;
mod promise;
mod tools;

use serde::{Deserialize, Serialize};

use crate::seen::Seen;

/// What became of a claim on a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Answer {
    #[serde(rename = "holds")]
    Holds,
    #[serde(rename = "holds on a condition")]
    Condition,
    /// The code of Linux 4.9 did so.
    #[serde(rename = "no longer holds")]
    NoLonger,
    /// Nothing shows that it ever did.
    #[serde(rename = "does not hold")]
    Wrong,
    /// Something kept it from being seen.
    #[serde(rename = "not shown")]
    NotShown,
    /// This filesystem cannot show it.
    #[serde(rename = "not to be shown here")]
    NotHere,
}

impl Answer {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::Condition => "holds on a condition",
            Self::NoLonger => "no longer holds",
            Self::Wrong => "does not hold",
            Self::NotShown => "not shown",
            Self::NotHere => "not to be shown here",
        }
    }
}

/// An answer and what it rests on; or why there is none.
type Judged = Result<(Answer, String), String>;

/// A statement of a source document.
pub(crate) struct Claim {
    /// Names it in results.
    pub(crate) id: &'static str,
    /// Where in the documents it stands.
    pub(crate) document: &'static str,
    /// Functions of Linux 4.9 that it speaks of, with their file; empty where it speaks of none.
    pub(crate) code: &'static str,
    pub(crate) says: &'static str,
    judge: fn(&Seen) -> Judged,
}

impl Claim {
    /// What the records say of it.
    pub(crate) fn judge(&self, seen: &Seen) -> (Answer, String) {
        let lost = seen.losses();
        if !lost.is_empty() {
            return (Answer::NotShown, lost.join(", "));
        }
        (self.judge)(seen).unwrap_or_else(|why| (Answer::NotShown, why))
    }
}

/// Every claim, in the documents' order.
pub(crate) fn all() -> impl Iterator<Item = &'static Claim> {
    [promise::CLAIMS, path::CLAIMS, fsync::CLAIMS, tools::CLAIMS]
        .into_iter()
        .flatten()
}

const USER_SPACE: &str = "direct I/O from user space";
const EXT4: &str = "O_DIRECT and O_SYNC in ext4";

/// `holds`, or else what it is then.
fn holds_or(otherwise: Answer, holds: bool) -> Answer {
    if holds { Answer::Holds } else { otherwise }
}

/// The values that occurred, for a person.
fn set<'a>(values: impl IntoIterator<Item = &'a str>) -> String {
    let mut values: Vec<&str> = values.into_iter().collect();
    values.sort_unstable();
    values.dedup();
    values.join(" or ")
}

/// What a system call came to.
fn outcome(result: i64) -> String {
    if result < 0 {
        std::io::Error::from_raw_os_error(i32::try_from(-result).unwrap_or(0)).to_string()
    } else {
        format!("{result} bytes")
    }
}

#[cfg(test)]
mod tests;
