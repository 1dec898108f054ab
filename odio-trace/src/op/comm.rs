//! The name of a thread.

use std::borrow::Cow;

use odio_trace_common::COMM_LEN;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// As the kernel has it, or as a recording spells it: it becomes text only where it is shown.
#[derive(Clone, Debug)]
pub(crate) enum Comm {
    /// Ends at the first NUL.
    Kernel([u8; COMM_LEN]),
    Text(String),
}

impl Comm {
    /// With U+FFFD for what is no UTF-8.
    pub(crate) fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Kernel(bytes) => {
                let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
                String::from_utf8_lossy(&bytes[..end])
            }
            Self::Text(text) => text.into(),
        }
    }
}

impl PartialEq for Comm {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Comm {}

impl From<&str> for Comm {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl Serialize for Comm {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for Comm {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Self::Text)
    }
}
