//! Pairing what two documents say.

use std::collections::{BTreeMap, VecDeque};

/// Each element of the base with the one of the new document that has the same key, then what only the new document has. If a key
/// comes more than once, the first of one side belongs to the first of the other, and so on.
pub(super) fn pairs<'a, T, K: Ord>(base: &'a [T], new: &'a [T], key: impl Fn(&'a T) -> K) -> Vec<(Option<&'a T>, Option<&'a T>)> {
    let mut open: BTreeMap<K, VecDeque<usize>> = BTreeMap::new();
    for (at, element) in new.iter().enumerate() {
        open.entry(key(element)).or_default().push_back(at);
    }
    let mut taken = vec![false; new.len()];
    let mut found = Vec::with_capacity(base.len());
    for element in base {
        let at = open.get_mut(&key(element)).and_then(VecDeque::pop_front);
        if let Some(at) = at {
            taken[at] = true;
        }
        found.push((Some(element), at.map(|at| &new[at])));
    }
    found.extend(new.iter().zip(taken).filter(|(_, taken)| !taken).map(|(element, _)| (None, Some(element))));
    found
}

#[cfg(test)]
mod tests {
    use super::pairs;

    #[test]
    fn the_same_name_twice_goes_by_order() {
        let base = [("a", 1), ("b", 2), ("a", 3), ("c", 4)];
        let new = [("a", 10), ("d", 20), ("b", 30), ("a", 40), ("a", 50)];
        let found = pairs(&base, &new, |(name, _)| *name);
        let values: Vec<_> = found.into_iter().map(|(base, new)| (base.map(|(_, at)| *at), new.map(|(_, at)| *at))).collect();
        let expected =
            [(Some(1), Some(10)), (Some(2), Some(30)), (Some(3), Some(40)), (Some(4), None), (None, Some(20)), (None, Some(50))];
        assert_eq!(values, expected);
    }
}
