//! # What a file may hold
//!
//! Every write is remembered with when it began and when it ended. A byte may be what any write put there, unless another
//! one replaced it for sure: one that began after the first had ended, and that had ended itself, whole, before the
//! reader began. Writes in flight at once have no order, and one that failed may have been done in part.

/// What a write puts at each place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Zeros,
    /// Bytes that differ from those of another write and of another place, mostly.
    Of(u32),
}

impl Content {
    pub fn at(self, place: u64) -> u8 {
        match self {
            Content::Zeros => 0,
            Content::Of(write) => {
                let mixed = (place ^ u64::from(write) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                // Never 0, which is what nobody wrote.
                (mixed >> 56) as u8 | 1
            }
        }
    }

    pub fn fill(self, bytes: &mut [u8], offset: u64) {
        for (i, byte) in bytes.iter_mut().enumerate() {
            // A request that ends past what a number holds is refused.
            *byte = self.at(offset.wrapping_add(i as u64));
        }
    }
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// All of it is there.
    Whole,
    /// Any part of it may be there.
    Perhaps,
}

#[derive(Debug)]
struct Write {
    content: Content,
    from: u64,
    to: u64,
    begun: u64,
    ended: Option<(u64, Ended)>,
}

/// A file.
#[derive(Debug)]
pub struct Model {
    writes: Vec<Write>,
    now: u64,
    /// The size is between these.
    least: u64,
    most: u64,
}

/// A read as it begins.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    begun: u64,
    least: u64,
}

impl Default for Model {
    /// An empty file.
    fn default() -> Model {
        Model {
            writes: vec![Write {
                content: Content::Zeros,
                from: 0,
                to: u64::MAX,
                begun: 0,
                ended: Some((0, Ended::Whole)),
            }],
            now: 1,
            least: 0,
            most: 0,
        }
    }
}

impl Model {
    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    /// The content that no other write has.
    pub fn next_content(&self) -> Content {
        Content::Of(self.writes.len() as u32)
    }

    /// A write begins; its number is for [`Model::end`].
    pub fn begin(&mut self, content: Content, offset: u64, length: u64) -> usize {
        let begun = self.tick();
        let to = offset.saturating_add(length);
        if length > 0 {
            self.most = self.most.max(to);
        }
        self.writes.push(Write {
            content,
            from: offset,
            to,
            begun,
            ended: None,
        });
        self.writes.len() - 1
    }

    pub fn end(&mut self, number: usize, ended: Ended) {
        let now = self.tick();
        let write = &mut self.writes[number];
        assert!(write.ended.is_none(), "a write ended twice");
        write.ended = Some((now, ended));
        if ended == Ended::Whole && write.to > write.from {
            self.least = self.least.max(write.to);
        }
    }

    /// The file is cut or extended to this size; nothing is in flight.
    pub fn resize(&mut self, size: u64) {
        let (begun, ended) = (self.tick(), self.tick());
        self.writes.push(Write {
            content: Content::Zeros,
            from: size,
            to: u64::MAX,
            begun,
            ended: Some((ended, Ended::Whole)),
        });
        (self.least, self.most) = (size, size);
    }

    /// A range is zeroed within the size that the file has; nothing is in flight.
    pub fn zero(&mut self, offset: u64, length: u64, ended: Ended) {
        let (begun, now) = (self.tick(), self.tick());
        self.writes.push(Write {
            content: Content::Zeros,
            from: offset,
            to: offset.saturating_add(length),
            begun,
            ended: Some((now, ended)),
        });
    }

    /// The file has grown to this size at least.
    pub fn grow(&mut self, size: u64) {
        (self.least, self.most) = (self.least.max(size), self.most.max(size));
    }

    /// The size as it was found with nothing in flight.
    pub fn settle(&mut self, size: u64) {
        assert!(
            (self.least..=self.most).contains(&size),
            "the file has {size} bytes, and from {} to {} are right",
            self.least,
            self.most
        );
        (self.least, self.most) = (size, size);
    }

    pub fn size(&self) -> u64 {
        self.least
    }

    pub fn read(&mut self) -> Reading {
        Reading {
            begun: self.tick(),
            least: self.least,
        }
    }

    /// A read ends: so many bytes of `length` were moved, which are these.
    pub fn check_read(
        &self,
        read: Reading,
        offset: u64,
        length: u64,
        bytes: &[u8],
        may_stop: bool,
    ) {
        let moved = bytes.len() as u64;
        let left = |size: u64| size.saturating_sub(offset).min(length);
        let (least, most) = (left(read.least), left(self.most));
        assert!(
            moved <= most && (may_stop || moved >= least),
            "{moved} bytes were read at {offset}, and from {least} to {most} are right"
        );
        self.check_bytes(read, offset, bytes);
    }

    fn check_bytes(&self, read: Reading, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        let meets = |write: &&Write| write.from < end && write.to > offset;
        let near: Vec<&Write> = self.writes.iter().filter(meets).collect();
        let mut edges: Vec<u64> = near
            .iter()
            .flat_map(|write| [write.from, write.to])
            .map(|edge| edge.clamp(offset, end))
            .collect();
        edges.sort_unstable();
        edges.dedup();
        for range in edges.windows(2) {
            let there = |write: &&&Write| write.from <= range[0] && write.to >= range[1];
            let there: Vec<&Write> = near.iter().filter(there).copied().collect();
            let replaced = |old: &Write| {
                let for_sure = |new: &&Write| match (old.ended, new.ended) {
                    (Some((ended, _)), Some((done, Ended::Whole))) => {
                        new.begun > ended && done < read.begun
                    }
                    _ => false,
                };
                there.iter().any(for_sure)
            };
            let may: Vec<&Write> = there
                .iter()
                .filter(|write| !replaced(write))
                .copied()
                .collect();
            for place in range[0]..range[1] {
                let found = bytes[(place - offset) as usize];
                assert!(
                    may.iter().any(|write| write.content.at(place) == found),
                    "byte {place} is {found:#04x}, which is of none of the writes {may:?}"
                );
            }
        }
    }
}
