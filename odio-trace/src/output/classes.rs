//! Ops counted by a word: which way they took, where their bytes were.

/// How many of each, in the order of the words. There are only a few: looking through them takes less than a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Classes(Vec<(&'static str, u64)>);

impl Classes {
    #[inline]
    pub(crate) fn add(&mut self, class: &'static str, n: u64) {
        // Nearly always it is the very word that was counted before, and its text needs not be looked at.
        let mut words = self.0.iter_mut();
        if let Some((_, sum)) = words.find(|(known, _)| std::ptr::eq(*known, class)) {
            *sum += n;
        } else {
            self.add_new(class, n);
        }
    }

    fn add_new(&mut self, class: &'static str, n: u64) {
        match self.0.binary_search_by_key(&class, |(known, _)| known) {
            Ok(at) => self.0[at].1 += n,
            Err(at) => self.0.insert(at, (class, n)),
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (class, n) in other.iter() {
            self.add(class, n);
        }
    }

    pub(crate) fn of(&self, class: &str) -> u64 {
        self.iter()
            .find(|(known, _)| *known == class)
            .map_or(0, |(_, n)| n)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().copied()
    }

    /// The share of one class; `None` where nothing was counted.
    pub(crate) fn share(&self, class: &str) -> Option<Share> {
        let whole = self.iter().map(|(_, n)| n).sum();
        (whole > 0).then(|| Share {
            part: self.of(class),
            whole,
        })
    }
}

/// A part of a whole that is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) part: u64,
    pub(crate) whole: u64,
}

impl std::fmt::Display for Share {
    /// Rounded down: only all of it is 100%.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let thousandths = u128::from(self.part) * 1000 / u128::from(self.whole);
        match (thousandths / 10, thousandths % 10) {
            (whole, 0) => write!(f, "{whole}%"),
            (whole, tenths) => write!(f, "{whole}.{tenths}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_by_what_they_say_and_come_in_order() {
        let mut classes = Classes::default();
        // A word of a recording lies elsewhere than the constant.
        let leaked: &'static str = Box::leak("b".to_owned().into());
        for (class, n) in [("c", 1), ("b", 2), (leaked, 3), ("a", 4)] {
            classes.add(class, n);
        }
        let mut both = Classes::default();
        both.add("b", 10);
        both.merge(&classes);
        let all: Vec<_> = both.iter().collect();
        assert_eq!(all, [("a", 4), ("b", 15), ("c", 1)]);
        assert_eq!((both.of("b"), both.of("d")), (15, 0));
        assert_eq!(both.share("b").unwrap().to_string(), "75%");
        assert_eq!(Classes::default().share("b"), None);
    }

    #[test]
    fn a_share_is_all_only_where_it_is_all() {
        let share = |part, whole| Share { part, whole }.to_string();
        assert_eq!(share(1, 1), "100%");
        assert_eq!(share(u64::MAX, u64::MAX), "100%");
        assert_eq!(share(u64::MAX - 1, u64::MAX), "99.9%");
        assert_eq!(share(99_999, 100_000), "99.9%");
        assert_eq!(share(1, 100_000), "0%");
    }
}
