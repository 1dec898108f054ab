//! # Where a short transfer goes on
//!
//! The kernel may move fewer bytes than asked for. Pure arithmetic: this module makes no system call.

/// A transfer of `length` bytes that may take several calls.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resume {
    length: usize,
    step: usize,
    done: usize,
}

/// What to do after a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing: every byte has been moved.
    Done,
    /// Ask again, from [`Resume::from`] on.
    Again,
    /// Stop: the call brought nothing new. A read may be at the end of the file.
    Stuck,
}

impl Resume {
    /// Of `length` bytes, that can be taken up again at multiples of `step`, a power of two.
    pub(crate) const fn new(length: usize, step: usize) -> Resume {
        Resume {
            length,
            step,
            done: 0,
        }
    }

    /// As [`Resume::new`], where `done` bytes have been moved.
    pub(crate) const fn at(length: usize, step: usize, done: usize) -> Resume {
        Resume { length, step, done }
    }

    /// How many bytes are to be moved in all.
    pub(crate) const fn length(&self) -> usize {
        self.length
    }

    /// How many bytes, counted from the beginning, have been moved.
    pub(crate) const fn done(&self) -> usize {
        self.done
    }

    /// Where the next call begins. A direct transfer may stop anywhere (at the end of the file, for one), and going on
    /// from there would be misaligned, so the bytes of its last partial step are moved once more.
    pub(crate) const fn from(&self) -> usize {
        self.done & !(self.step - 1)
    }

    /// Takes note of a call from [`Resume::from`] to the end that moved so many bytes.
    pub(crate) const fn moved(&mut self, bytes: usize) -> Next {
        let reached = self.from().saturating_add(bytes);
        if reached >= self.length {
            self.done = self.length;
            Next::Done
        } else if reached > self.done {
            self.done = reached;
            Next::Again
        } else {
            Next::Stuck
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    /// A kernel that moves as many bytes as it likes, at least one in some of the calls, and a file that ends somewhere.
    fn transfer(random: &mut Random) {
        let step = 1 << random.below(13);
        let length = random.below(20 * step as u64 + 1) as usize;
        let source: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        let end = if random.below(2) == 0 {
            length
        } else {
            random.below(length as u64 + 1) as usize
        };
        let mut target = vec![0; length];
        let mut resume = Resume::new(length, step);
        let stopped = loop {
            let from = resume.from();
            assert!(
                from.is_multiple_of(step) && from <= resume.done() && resume.done() - from < step
            );
            let most = end.saturating_sub(from);
            let bytes = match random.below(4) {
                0 => most,
                // The kernel never moves nothing before the end of the file.
                _ => (random.below(most as u64 + 1) as usize).max(1.min(most)),
            };
            target[from..from + bytes].copy_from_slice(&source[from..from + bytes]);
            let before = resume.done();
            match resume.moved(bytes) {
                Next::Done => break length,
                Next::Again => assert!(resume.done() > before && resume.done() == from + bytes),
                Next::Stuck => {
                    assert!(from + bytes <= before && resume.done() == before);
                    break before;
                }
            }
        };
        assert!(stopped <= end, "{stopped} of {end}");
        assert_eq!(target[..stopped], source[..stopped]);
        // Beyond what is reported nothing is promised, but what the kernel moved in the last call is never left out.
        assert!(target[stopped..].iter().all(|&byte| byte == 0) || stopped < end);
    }

    #[test]
    fn whatever_the_kernel_moves_each_byte_reported_is_there() {
        Random::cases(2000, transfer);
    }

    #[test]
    fn a_kernel_that_moves_whole_steps_is_followed_to_the_end() {
        Random::cases(500, |random| {
            let step = 1 << random.below(13);
            let steps = random.below(20) as usize;
            let mut resume = Resume::new(steps * step, step);
            loop {
                let left = steps - resume.from() / step;
                let bytes = (1 + random.below(left.max(1) as u64) as usize).min(left) * step;
                if resume.moved(bytes) == Next::Done {
                    break;
                }
            }
            assert_eq!(resume.done(), steps * step);
        });
    }

    #[test]
    fn a_partial_step_is_moved_once_more() {
        let mut resume = Resume::new(4096, 512);
        assert_eq!(resume.moved(700), Next::Again);
        assert_eq!((resume.from(), resume.done()), (512, 700));
        assert_eq!(resume.moved(188), Next::Stuck);
        assert_eq!(resume.moved(189), Next::Again);
        assert_eq!((resume.from(), resume.done()), (512, 701));
        assert_eq!(resume.moved(4096 - 512), Next::Done);
        assert_eq!(resume.done(), 4096);
    }
}
