//! # The last answers of a table
//!
//! To find a file's entry by its numbers or its path takes longer than all else that is done for an op, and most ops go
//! to the files of the ops before them.

/// Answers that are kept, each in the place of its key.
const PLACES: u64 = 512;

/// Answers by key.
#[derive(Debug)]
pub(crate) struct Recent<K, V>(Vec<Option<(K, V)>>);

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self((0..PLACES).map(|_| None).collect())
    }
}

impl<K, V> Recent<K, V> {
    /// The answer whose key `is` the one that is asked for, or else the one that is found now, which takes the place of
    /// another. `near` decides on the place: the same for equal keys, and different ones for keys asked for by turns.
    pub(crate) fn get(
        &mut self,
        near: u64,
        is: impl FnOnce(&K) -> bool,
        find: impl FnOnce() -> (K, V),
    ) -> &V {
        let place = &mut self.0[(near % PLACES) as usize];
        if !place.as_ref().is_some_and(|(key, _)| is(key)) {
            *place = Some(find());
        }
        &place.as_ref().expect("it was put there").1
    }

    /// To be called when answers may have changed.
    pub(crate) fn clear(&mut self) {
        self.0.fill_with(|| None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_that_of_its_own_key_and_found_once() {
        let mut recent = Recent::default();
        let mut found = 0;
        let mut get = |recent: &mut Recent<_, _>, near, key: &'static str| {
            let find = || {
                found += 1;
                (key, (key.len(), found))
            };
            *recent.get(near, |known| *known == key, find)
        };
        assert_eq!(get(&mut recent, 1, "one"), (3, 1));
        assert_eq!(get(&mut recent, 1, "one"), (3, 1));
        assert_eq!(get(&mut recent, 2, "other"), (5, 2));
        assert_eq!(get(&mut recent, 1 + PLACES, "other"), (5, 3));
        assert_eq!(get(&mut recent, 1, "one"), (3, 4));
        recent.clear();
        assert_eq!(get(&mut recent, 1, "one"), (3, 5));
    }
}
