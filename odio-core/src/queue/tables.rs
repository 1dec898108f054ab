//! # Files and pools that a queue knows beforehand
//!
//! io_uring looks them up in its own tables, which is cheaper than a descriptor and an address. Other engines take the
//! same calls and gain nothing by them.

use crate::engine::{Driver, FILES, MemoryWay, PIECES};
use crate::error::Error;
use crate::file::File;
use crate::pool::Pool;

/// The most pools.
const POOLS: u16 = 16;
/// So many of the engine's places are kept for pools that take one only.
const WHOLE: u16 = POOLS;

/// One place of a table.
struct Place<T> {
    what: T,
    /// Why the engine does not have it.
    absent: Option<String>,
}

/// A pool and where the engine has it.
struct KnownPool {
    pool: Pool,
    first: u16,
    /// Places that it takes: one for each buffer, or one.
    count: u16,
    /// [`EACH_PAGE`] or [`ONE_PIECE`].
    mask: usize,
}

/// Memory that is all of one kind.
#[derive(Clone, Copy)]
struct Known {
    base: usize,
    length: usize,
    /// [`EACH_PAGE`] or [`ONE_PIECE`].
    mask: usize,
    /// Of the first piece.
    way: MemoryWay,
}

/// Of a distance, what says in which piece it is: each page is one.
const EACH_PAGE: usize = !(PAGE - 1);
/// All is one piece, but for what is not in it at all.
const ONE_PIECE: usize = 1 << (usize::BITS - 1);
const PAGE: usize = 4096;

impl KnownPool {
    fn known(&self) -> Known {
        let (base, length) = self.pool.memory();
        Known {
            base: base as usize,
            length,
            mask: self.mask,
            way: MemoryWay::registered(self.first),
        }
    }

    fn pieces(&self) -> Vec<libc::iovec> {
        let (base, length) = self.pool.memory();
        let size = length / usize::from(self.count);
        (0..usize::from(self.count))
            .map(|number| libc::iovec {
                iov_base: base.wrapping_add(number * size).cast(),
                iov_len: size,
            })
            .collect()
    }
}

impl Known {
    const NOTHING: Known = Known {
        base: 0,
        length: 0,
        mask: ONE_PIECE,
        way: MemoryWay::PLAIN,
    };

    /// How `length` bytes, which are not none, at `address` are named; `None` where that is for somebody else to say.
    #[inline(always)]
    fn way(&self, address: *mut u8, length: usize) -> Option<MemoryWay> {
        let distance = (address as usize).wrapping_sub(self.base);
        let last = distance.wrapping_add(length).wrapping_sub(1);
        // Memory that begins before `base` and ends behind it is not in one piece.
        if last >= self.length || (distance ^ last) & self.mask != 0 {
            return None;
        }
        Some(self.way.on(((distance & self.mask) / PAGE) as u16))
    }
}

/// What was added to a queue.
pub(super) struct Tables {
    files: Vec<Option<Place<File>>>,
    pools: Vec<Option<Place<KnownPool>>>,
    /// The file with a place that was looked for last, by its address, and its place. 0 is no file.
    last_file: (usize, u32),
    /// The file without a place that was looked for last. One that came to the address of such a file has none either.
    last_other: usize,
    /// The pool that was found last, or the memory around the last that was in none.
    last_memory: Known,
}

impl Tables {
    pub(super) fn new() -> Tables {
        Tables {
            files: Vec::new(),
            pools: Vec::new(),
            last_file: (0, 0),
            last_other: 0,
            last_memory: Known::NOTHING,
        }
    }

    /// Whether nothing was added.
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.pools.is_empty()
    }

    /// The place of a file in the engine's table, where it is the last of those that was looked for.
    #[inline(always)]
    pub(super) fn known_file(&self, file: &File) -> Option<u32> {
        file.is_at(self.last_file.0).then_some(self.last_file.1)
    }

    /// Whether a file has no place, where it is the last of those that was looked for.
    #[inline(always)]
    pub(super) fn is_other_file(&self, file: &File) -> bool {
        file.is_at(self.last_other)
    }

    /// How this memory, which is not empty, is named, where it is in what was looked for last.
    #[inline(always)]
    pub(super) fn known_memory(&self, address: *mut u8, length: usize) -> Option<MemoryWay> {
        self.last_memory.way(address, length)
    }

    /// The file at a place.
    #[inline(always)]
    pub(super) fn file_at(&self, place: u32) -> Option<&File> {
        match self.files.get(place as usize) {
            Some(Some(place)) => Some(&place.what),
            _ => None,
        }
    }

    /// The place of a file in the engine's table, by a search.
    pub(super) fn place_of_file(&self, file: &File) -> Option<u32> {
        let at = self.files.iter().position(
            |place| matches!(place, Some(place) if place.what.is(file) && place.absent.is_none()),
        );
        at.map(|at| at as u32)
    }

    /// Looks for both, so that they are the ones that were looked for last.
    pub(super) fn find(&mut self, file: &File, address: *mut u8, length: usize) {
        if !self.is_empty() {
            self.file(file);
            self.memory(address, length);
        }
    }

    /// The place of a file in the engine's table.
    pub(super) fn file(&mut self, file: &File) -> Option<u32> {
        if let Some(place) = self.known_file(file) {
            return Some(place);
        }
        let place = self.place_of_file(file);
        match place {
            Some(place) => self.last_file = (file.address(), place),
            None => self.last_other = file.address(),
        }
        place
    }

    /// The place of the piece that the whole of this memory is in.
    pub(super) fn memory(&mut self, address: *mut u8, length: usize) -> Option<u16> {
        if let Some(way) = self.known_memory(address, length) {
            return way.place();
        }
        let address = address as usize;
        // What is around the address and in no pool.
        let (mut first, mut end) = (1, usize::MAX);
        for place in self.pools.iter().flatten() {
            if place.absent.is_some() {
                continue;
            }
            let known = place.what.known();
            if address.wrapping_sub(known.base) < known.length {
                self.last_memory = known;
                // Across the end of a piece it is memory like any other.
                let way = known.way(address as *mut u8, length);
                return way.and_then(MemoryWay::place);
            }
            if known.base > address {
                end = end.min(known.base);
            } else {
                first = first.max(known.base + known.length);
            }
        }
        self.last_memory = Known {
            base: first,
            length: end - first,
            ..Known::NOTHING
        };
        None
    }

    /// After something was added or taken out.
    fn changed(&mut self) {
        trim(&mut self.files);
        trim(&mut self.pools);
        (self.last_file, self.last_other) = ((0, 0), 0);
        self.last_memory = Known::NOTHING;
    }

    pub(super) fn add_file(&mut self, driver: &mut Driver, file: &File) -> Result<bool, Error> {
        if let Some(place) = self
            .files
            .iter()
            .flatten()
            .find(|place| place.what.is(file))
        {
            return Ok(place.absent.is_none());
        }
        let place = free(&mut self.files, FILES as usize, "files")?;
        let absent = driver.register_file(place as u32, Some(file.fd())).err();
        let known = absent.is_none();
        self.files[place] = Some(Place {
            what: file.clone(),
            absent,
        });
        self.changed();
        Ok(known)
    }

    pub(super) fn remove_file(&mut self, driver: &mut Driver, file: &File) -> Result<bool, Error> {
        let found = self
            .files
            .iter()
            .position(|place| place.as_ref().is_some_and(|place| place.what.is(file)));
        let Some(place) = found else { return Ok(false) };
        driver.hand_over()?;
        let was = self.files[place].take();
        if was.is_some_and(|place| place.absent.is_none()) {
            // What the kernel has holds the file itself.
            let _ = driver.register_file(place as u32, None);
        }
        self.changed();
        Ok(true)
    }

    pub(super) fn add_pool(&mut self, driver: &mut Driver, pool: &Pool) -> Result<bool, Error> {
        if let Some(place) = self
            .pools
            .iter()
            .flatten()
            .find(|place| place.what.pool.is(pool))
        {
            return Ok(place.absent.is_none());
        }
        let place = free(&mut self.pools, usize::from(POOLS), "pools")?;
        let known = self.place_of(place as u16, pool);
        // SAFETY: the place keeps a clone of the pool, and with it the mapping, until it is taken out or the queue,
        // which drops its engine before its tables, is gone.
        let absent = unsafe { driver.register_memory(known.first, &known.pieces()) }.err();
        let there = absent.is_none();
        self.pools[place] = Some(Place {
            what: known,
            absent,
        });
        self.changed();
        Ok(there)
    }

    /// Where the engine is to have a pool: each buffer by itself, where it is a page and there are places.
    ///
    /// The kernel makes a bio of all that follows in the piece and lets it pass unsplit only where that is one page
    /// (`bio_may_exceed_limits`, 6.1): 160 instructions for each request of 4 KiB, and nothing for a longer one.
    fn place_of(&self, number: u16, pool: &Pool) -> KnownPool {
        let (pool, count) = (pool.clone(), pool.count());
        let end = PIECES - WHOLE;
        if pool.stride() == PAGE && count <= u32::from(end) {
            let count = count as u16;
            let others = || {
                let there = self.pools.iter().flatten();
                there
                    .filter(|place| place.absent.is_none())
                    .map(|place| &place.what)
            };
            // After no pool or after one of them.
            let first = others().map(|other| other.first + other.count);
            let free = |first: &u16| {
                *first <= end - count
                    && others().all(|other| {
                        first + count <= other.first || other.first + other.count <= *first
                    })
            };
            if let Some(first) = first.chain([0]).find(free) {
                return KnownPool {
                    pool,
                    first,
                    count,
                    mask: EACH_PAGE,
                };
            }
        }
        KnownPool {
            pool,
            first: end + number,
            count: 1,
            mask: ONE_PIECE,
        }
    }

    pub(super) fn remove_pool(&mut self, driver: &mut Driver, pool: &Pool) -> Result<bool, Error> {
        let found = self
            .pools
            .iter()
            .position(|place| matches!(place, Some(place) if place.what.pool.is(pool)));
        let Some(place) = found else { return Ok(false) };
        driver.hand_over()?;
        if let Some(Place { what, absent: None }) = self.pools[place].take() {
            driver.unregister_memory(what.first, usize::from(what.count));
        }
        self.changed();
        Ok(true)
    }

    /// How many files and pools are in the engine's tables, and why others are not.
    pub(super) fn registered(&self) -> (u32, u32, Option<&str>) {
        let files = self.files.iter().flatten();
        let pools = self.pools.iter().flatten();
        let why = files
            .clone()
            .find_map(|place| place.absent.as_deref())
            .or_else(|| pools.clone().find_map(|place| place.absent.as_deref()));
        (
            files.filter(|place| place.absent.is_none()).count() as u32,
            pools.filter(|place| place.absent.is_none()).count() as u32,
            why,
        )
    }
}

/// The first free place, at the end where there is none in between.
fn free<T>(places: &mut Vec<Option<T>>, limit: usize, what: &str) -> Result<usize, Error> {
    if let Some(place) = places.iter().position(Option::is_none) {
        return Ok(place);
    }
    if places.len() == limit {
        return Err(Error::Invalid(format!(
            "a queue knows at most {limit} {what} beforehand; remove one first"
        )));
    }
    places.push(None);
    Ok(places.len() - 1)
}

/// An empty table is not searched.
fn trim<T>(places: &mut Vec<Option<T>>) {
    while matches!(places.last(), Some(None)) {
        places.pop();
    }
}

#[cfg(test)]
impl Tables {
    /// Has the engine know nothing of what was added, as where it refused all of it.
    pub(super) fn forget(&mut self, driver: &mut Driver, why: &str) {
        for (at, place) in self.files.iter_mut().enumerate() {
            driver.register_file(at as u32, None).unwrap();
            place.as_mut().unwrap().absent = Some(why.to_owned());
        }
        for place in self.pools.iter_mut().flatten() {
            driver.unregister_memory(place.what.first, usize::from(place.what.count));
            place.absent = Some(why.to_owned());
        }
        self.changed();
    }
}
