//! # One line about what is going on
//!
//! Only where a person watches: nothing is written when standard error is not
//! a terminal.

use std::{
    cell::Cell,
    io::{IsTerminal as _, Write as _, stderr},
};

pub(crate) struct Progress {
    watched: bool,
    shown: Cell<bool>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            watched: stderr().is_terminal(),
            shown: Cell::new(false),
        }
    }

    /// One that nobody sees.
    pub(crate) fn silent() -> Self {
        Self {
            watched: false,
            shown: Cell::new(false),
        }
    }

    /// Replaces the line.
    pub(crate) fn say(&self, text: &str) {
        if self.watched {
            // A terminal that went away is no reason to stop.
            let _ = write!(stderr(), "\r\x1b[K{text}");
            self.shown.set(true);
        }
    }

    /// Removes the line, so that other output starts at the left.
    pub(crate) fn clear(&self) {
        if self.shown.replace(false) {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
