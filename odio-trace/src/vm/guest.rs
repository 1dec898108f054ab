//! # What the guest says on its ports
//!
//! A port carries one output of the command between two marks, byte for byte.
//! The second mark brings the exit status, so that an output which ends is
//! told from one that was cut off.

use anyhow::Context as _;
use std::{fs::File, io::Read as _};

/// A word that no output contains by chance.
pub(crate) fn mark() -> anyhow::Result<String> {
    let mut random = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut random))
        .context("cannot read /dev/urandom")?;
    let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("odio-mark-{hex}"))
}

/// Takes the marks out of what a port brings.
pub(crate) struct Port {
    mark: Vec<u8>,
    stage: Stage,
    held: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Booting,
    Running,
    Ended(i32),
}

impl Port {
    pub(crate) fn new(mark: &str) -> Self {
        Self {
            mark: mark.as_bytes().to_vec(),
            stage: Stage::Booting,
            held: Vec::new(),
        }
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage
    }

    /// Takes bytes from the port; what is the command's goes to `out`.
    pub(crate) fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.held.extend_from_slice(bytes);
        loop {
            match self.stage {
                Stage::Booting => {
                    let Some(at) = find(&self.held, &self.mark) else {
                        return;
                    };
                    let Some(end) = self.line_end(at) else {
                        return;
                    };
                    self.held.drain(..=end);
                    self.stage = Stage::Running;
                }
                Stage::Running => {
                    let Some(at) = find(&self.held, &self.mark) else {
                        let kept = self.possible_mark();
                        out.extend(self.held.drain(..self.held.len() - kept));
                        return;
                    };
                    out.extend(self.held.drain(..at));
                    let Some(end) = self.line_end(0) else {
                        return;
                    };
                    let status = &self.held[self.mark.len()..end];
                    self.stage = Stage::Ended(number(status));
                    self.held.clear();
                }
                Stage::Ended(_) => {
                    self.held.clear();
                    return;
                }
            }
        }
    }

    fn line_end(&self, from: usize) -> Option<usize> {
        let line = self.held[from..].iter().position(|&byte| byte == b'\n')?;
        Some(from + line)
    }

    /// How many bytes at the end may be the start of a mark.
    fn possible_mark(&self) -> usize {
        (1..self.mark.len().min(self.held.len() + 1))
            .rev()
            .find(|&n| self.held.ends_with(&self.mark[..n]))
            .unwrap_or(0)
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    let first = *what.first()?;
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|&byte| byte == first) {
        let at = from + at;
        if bytes[at..].starts_with(what) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// The shell in the guest writes nothing but a number here.
fn number(digits: &[u8]) -> i32 {
    std::str::from_utf8(digits)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(i32::from(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: &str = "odio-mark-0123";

    fn through(whole: &[u8], chunk: usize) -> (Vec<u8>, Stage) {
        let mut port = Port::new(MARK);
        let mut out = Vec::new();
        for bytes in whole.chunks(chunk) {
            port.take(bytes, &mut out);
        }
        (out, port.stage())
    }

    fn framed(output: &[u8], end: &str) -> Vec<u8> {
        [MARK.as_bytes(), b"\n", output, end.as_bytes()].concat()
    }

    #[test]
    fn the_output_comes_out_as_it_was_however_it_is_cut() {
        let all: Vec<u8> = (0..=255).collect();
        let near = b"odio-mark-012 odio-mark-odio-mark-01 o".to_vec();
        for output in [Vec::new(), all, near, b"no newline at the end".to_vec()] {
            let whole = framed(&output, &format!("{MARK} 7\n"));
            for chunk in [1, 2, 3, 13, 14, 15, 100, 10_000] {
                assert_eq!(
                    through(&whole, chunk),
                    (output.clone(), Stage::Ended(7)),
                    "in pieces of {chunk}"
                );
            }
        }
    }

    #[test]
    fn output_is_not_kept_back_for_long() {
        let (out, stage) = through(&framed(b"live", ""), 100);
        assert_eq!(
            (out.as_slice(), stage),
            (b"live".as_slice(), Stage::Running)
        );
    }

    #[test]
    fn what_is_outside_the_marks_is_not_output() {
        let whole = [
            b"noise".as_slice(),
            &framed(b"x", &format!("{MARK} 0\nlate")),
        ]
        .concat();
        assert_eq!(through(&whole, 5), (b"x".to_vec(), Stage::Ended(0)));
    }

    #[test]
    fn an_output_that_was_cut_off_has_not_ended() {
        assert_eq!(through(b"", 1).1, Stage::Booting);
        assert_eq!(through(&framed(b"x", MARK), 3).1, Stage::Running);
        assert_eq!(
            through(&framed(b"x", &format!("{MARK} 1")), 3).1,
            Stage::Running
        );
    }

    #[test]
    fn no_two_marks_are_the_same() {
        assert_ne!(mark().unwrap(), mark().unwrap());
    }
}
