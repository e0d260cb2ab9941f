//! The last few results, kept because a sweep trains many cells on the same images.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

/// Most entries that are kept.
const MAX_ENTRIES: usize = 4;
/// Most bytes that are kept; the newest entry stays whatever its size.
const MAX_BYTES: usize = 2 << 30;

/// Results by what was asked for, the newest last.
#[derive(Debug)]
pub(crate) struct Memo<K, V>(Mutex<VecDeque<Entry<K, V>>>);

#[derive(Debug)]
struct Entry<K, V> {
    key: K,
    value: V,
    bytes: usize,
}

impl<K: PartialEq, V: Clone> Memo<K, V> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(VecDeque::new()))
    }

    /// The result for `key`, which thereby becomes the newest.
    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let position = entries.iter().position(|entry| entry.key == *key)?;
        let entry = entries.remove(position)?;
        let value = entry.value.clone();
        entries.push_back(entry);
        Some(value)
    }

    /// Keeps a result of that many bytes, and drops the oldest ones beyond the limits.
    pub(crate) fn put(&self, key: K, value: V, bytes: usize) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|entry| entry.key != key);
        entries.push_back(Entry { key, value, bytes });
        let total = |entries: &VecDeque<Entry<K, V>>| {
            entries
                .iter()
                .fold(0_usize, |sum, entry| sum.saturating_add(entry.bytes))
        };
        while entries.len() > MAX_ENTRIES || (entries.len() > 1 && total(&entries) > MAX_BYTES) {
            entries.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_recently_used_entry_goes_first() {
        let memo = Memo::new();
        (0..MAX_ENTRIES).for_each(|i| memo.put(i, i, 1));
        assert_eq!(memo.get(&0), Some(0));
        memo.put(MAX_ENTRIES, MAX_ENTRIES, 1);
        assert_eq!((memo.get(&0), memo.get(&1)), (Some(0), None));
    }

    #[test]
    fn entries_beyond_the_budget_go_but_the_newest_stays() {
        let memo = Memo::new();
        memo.put(1, 1, MAX_BYTES / 2);
        memo.put(2, 2, MAX_BYTES / 2);
        assert_eq!(memo.get(&1), Some(1));
        memo.put(3, 3, usize::MAX);
        assert_eq!(
            (memo.get(&1), memo.get(&2), memo.get(&3)),
            (None, None, Some(3))
        );
    }
}
