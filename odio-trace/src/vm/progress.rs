//! # One line about what is going on
//!
//! Only where a person watches: nothing is written when standard error is not
//! a terminal.

use std::{
    cell::RefCell,
    io::{IsTerminal as _, stderr},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

pub(crate) struct Progress {
    watched: bool,
    shown: RefCell<Option<ProgressBar>>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            watched: stderr().is_terminal(),
            shown: RefCell::new(None),
        }
    }

    /// One that nobody sees.
    pub(crate) fn silent() -> Self {
        Self {
            watched: false,
            shown: RefCell::new(None),
        }
    }

    /// Replaces the line.
    pub(crate) fn say(&self, text: &str) {
        self.show(None, "{msg}", text);
    }

    /// Replaces the line by a bar; the result takes how many bytes there are.
    pub(crate) fn bytes(&self, text: &str, all: u64) -> ProgressBar {
        let line = "{msg} [{bar:24}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        self.show(Some(all), line, text)
    }

    fn show(&self, length: Option<u64>, line: &str, text: &str) -> ProgressBar {
        self.clear();
        let target = match self.watched {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(length, target);
        if let Ok(style) = ProgressStyle::with_template(line) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(text.to_owned());
        bar.tick();
        if length.is_some() && self.watched {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        self.shown.replace(Some(bar.clone()));
        bar
    }

    /// Removes the line, so that other output starts at the left.
    pub(crate) fn clear(&self) {
        if let Some(bar) = self.shown.take() {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
