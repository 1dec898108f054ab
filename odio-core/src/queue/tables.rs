//! # Files and pools that a queue knows beforehand
//!
//! io_uring looks them up in its own tables, which is cheaper than a descriptor and an address. Other engines take the
//! same calls and gain nothing by them.

use crate::engine::{Driver, FILES, POOLS};
use crate::error::Error;
use crate::file::File;
use crate::pool::Pool;

/// One place of a table.
struct Place<T> {
    what: T,
    /// Why the engine does not have it.
    absent: Option<String>,
}

/// What was added to a queue.
pub(super) struct Tables {
    files: Vec<Option<Place<File>>>,
    pools: Vec<Option<Place<Pool>>>,
    empty: bool,
    /// The file that was looked for last, by its address, and its place. 0 is no file. A file that came to the address of
    /// one without a place has none either.
    last_file: (usize, Option<u32>),
    /// The memory that was found last: where it begins, its length, and its place; or the memory around the last that
    /// was not found, without a place.
    last_pool: (usize, usize, Option<u16>),
}

impl Tables {
    pub(super) fn new() -> Tables {
        Tables {
            files: Vec::new(),
            pools: Vec::new(),
            empty: true,
            last_file: (0, None),
            last_pool: (0, 0, None),
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

    /// The place of the pool that the whole of this memory is in, if any, where it is the one that was looked for last.
    #[inline(always)]
    pub(super) fn known_memory(&self, address: *mut u8, length: usize) -> Option<Option<u16>> {
        let (base, size, place) = self.last_pool;
        let distance = (address as usize).wrapping_sub(base);
        // Two branches: to join them into one takes more.
        if distance >= size {
            return None;
        }
        if length > size - distance {
            return None;
        }
        Some(place)
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

    /// The place of the pool that the whole of this memory is in.
    pub(super) fn memory(&mut self, address: *mut u8, length: usize) -> Option<u16> {
        if let Some(place) = self.known_memory(address, length) {
            return place;
        }
        let address = address as usize;
        // What is around the address and in no pool.
        let (mut first, mut end) = (0, usize::MAX);
        for (at, place) in self.pools.iter().enumerate() {
            let Some(place) = place else { continue };
            if place.absent.is_some() {
                continue;
            }
            let (base, size) = place.what.memory();
            let base = base as usize;
            let distance = address.wrapping_sub(base);
            if distance < size {
                if length > size - distance {
                    return None;
                }
                self.last_pool = (base, size, Some(at as u16));
                return Some(at as u16);
            }
            if base > address {
                end = end.min(base);
            } else {
                first = first.max(base + size);
            }
        }
        self.last_pool = (first, end - first, None);
        None
    }

    /// After something was added or taken out.
    fn changed(&mut self) {
        trim(&mut self.files);
        trim(&mut self.pools);
        self.empty = self.files.is_empty() && self.pools.is_empty();
        self.last_file = (0, None);
        self.last_pool = (0, 0, None);
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

    pub(super) fn remove_file(&mut self, driver: &mut Driver, file: &File) -> bool {
        let found = self
            .files
            .iter()
            .position(|place| place.as_ref().is_some_and(|place| place.what.is(file)));
        let Some(place) = found else { return false };
        let was = self.files[place].take();
        if was.is_some_and(|place| place.absent.is_none()) {
            // What is in flight holds the file itself.
            let _ = driver.register_file(place as u32, None);
        }
        self.changed();
        true
    }

    pub(super) fn add_pool(&mut self, driver: &mut Driver, pool: &Pool) -> Result<bool, Error> {
        if let Some(place) = self
            .pools
            .iter()
            .flatten()
            .find(|place| place.what.is(pool))
        {
            return Ok(place.absent.is_none());
        }
        let place = free(&mut self.pools, usize::from(POOLS), "pools")?;
        let (address, length) = pool.memory();
        // SAFETY: the place keeps a clone of the pool, and with it the mapping, until it is taken out or the queue,
        // which drops its engine before its tables, is gone.
        let absent = unsafe { driver.register_memory(place as u16, address, length) }.err();
        let known = absent.is_none();
        self.pools[place] = Some(Place {
            what: pool.clone(),
            absent,
        });
        self.changed();
        Ok(known)
    }

    pub(super) fn remove_pool(&mut self, driver: &mut Driver, pool: &Pool) -> bool {
        let found = self
            .pools
            .iter()
            .position(|place| place.as_ref().is_some_and(|place| place.what.is(pool)));
        let Some(place) = found else { return false };
        let was = self.pools[place].take();
        if was.is_some_and(|place| place.absent.is_none()) {
            driver.unregister_memory(place as u16);
        }
        self.changed();
        true
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
        for (at, place) in self.pools.iter_mut().enumerate() {
            driver.unregister_memory(at as u16);
            place.as_mut().unwrap().absent = Some(why.to_owned());
        }
        self.changed();
    }
}
