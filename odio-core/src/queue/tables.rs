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
    /// The size of a piece is 2 to this power, or more than any address.
    shift: u32,
}

/// Memory that is all of one kind.
#[derive(Clone, Copy)]
struct Known {
    base: usize,
    length: usize,
    /// Pieces of 2 to this power follow each other, one place on each.
    shift: u32,
    way: MemoryWay,
}

/// More than any address has bits.
const ONE_PIECE: u32 = usize::BITS - 1;

impl KnownPool {
    fn known(&self) -> Known {
        let (base, length) = self.pool.memory();
        Known {
            base: base as usize,
            length,
            shift: self.shift,
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
        shift: ONE_PIECE,
        way: MemoryWay::PLAIN,
    };

    /// How `length` bytes, which are not none, at `address` are named; `None` where that is for somebody else to say.
    #[inline(always)]
    fn way(&self, address: *mut u8, length: usize) -> Option<MemoryWay> {
        let distance = (address as usize).wrapping_sub(self.base);
        let last = distance.wrapping_add(length).wrapping_sub(1);
        // Two branches: to join them into one takes more. Lengths are far below the wrap.
        if last >= self.length || distance >= self.length {
            return None;
        }
        let number = distance >> self.shift;
        if last >> self.shift != number {
            return None;
        }
        Some(self.way.on(number as u16))
    }
}

/// What was added to a queue.
pub(super) struct Tables {
    files: Vec<Option<Place<File>>>,
    pools: Vec<Option<Place<KnownPool>>>,
    empty: bool,
    /// The file that was looked for last, by its address, and its place. 0 is no file. A file that came to the address of
    /// one without a place has none either.
    last_file: (usize, Option<u32>),
    /// The pool that was found last, or the memory around the last that was in none.
    last_memory: Known,
}

impl Tables {
    pub(super) fn new() -> Tables {
        Tables {
            files: Vec::new(),
            pools: Vec::new(),
            empty: true,
            last_file: (0, None),
            last_memory: Known::NOTHING,
        }
    }

    /// Whether nothing was added.
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.empty
    }

    /// The place of a file in the engine's table, if any, where it is the one that was looked for last.
    #[inline(always)]
    pub(super) fn known_file(&self, file: &File) -> Option<Option<u32>> {
        file.is_at(self.last_file.0).then_some(self.last_file.1)
    }

    /// How this memory, which is not empty, is named, where it is in what was looked for last.
    #[inline(always)]
    pub(super) fn known_memory(&self, address: *mut u8, length: usize) -> Option<MemoryWay> {
        self.last_memory.way(address, length)
    }

    /// Looks for both, so that they are the ones that were looked for last.
    pub(super) fn find(&mut self, file: &File, address: *mut u8, length: usize) {
        if !self.empty {
            self.file(file);
            self.memory(address, length);
        }
    }

    /// The place of a file in the engine's table.
    pub(super) fn file(&mut self, file: &File) -> Option<u32> {
        if let Some(place) = self.known_file(file) {
            return place;
        }
        let at = self.files.iter().position(
            |place| matches!(place, Some(place) if place.what.is(file) && place.absent.is_none()),
        );
        let place = at.map(|at| at as u32);
        self.last_file = (file.address(), place);
        place
    }

    /// The place of the piece that the whole of this memory is in.
    pub(super) fn memory(&mut self, address: *mut u8, length: usize) -> Option<u16> {
        if let Some(way) = self.known_memory(address, length) {
            return way.place();
        }
        let address = address as usize;
        // What is around the address and in no pool.
        let (mut first, mut end) = (0, usize::MAX);
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
        self.empty = self.files.is_empty() && self.pools.is_empty();
        self.last_file = (0, None);
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

    /// Where the engine is to have a pool: each buffer by itself, where there are places and a buffer is found by a shift.
    ///
    /// The kernel makes a bio of all that follows in the piece and lets it pass unsplit only where that is one page
    /// (`bio_may_exceed_limits`, 6.1): 160 instructions for each request of 4 KiB.
    fn place_of(&self, number: u16, pool: &Pool) -> KnownPool {
        let (pool, count, stride) = (pool.clone(), pool.count(), pool.stride());
        let end = PIECES - WHOLE;
        if stride.is_power_of_two() && count <= u32::from(end) {
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
                    shift: stride.trailing_zeros(),
                };
            }
        }
        KnownPool {
            pool,
            first: end + number,
            count: 1,
            shift: ONE_PIECE,
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
