//! Stratified draws of subsets.

use std::collections::BTreeMap;

use temper_core::random::Keyed;

/// Samples that may still be drawn, by class, each class in its random order.
#[derive(Debug)]
pub(crate) struct Strata(BTreeMap<i64, Vec<usize>>);

impl Strata {
    /// All samples of a split. The order within a class is that of each sample's own random bits,
    /// so that it depends on the key and the sample's index alone.
    pub(crate) fn new(labels: &[i64], keyed: &Keyed) -> Self {
        let mut classes: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for (index, label) in labels.iter().enumerate() {
            classes.entry(*label).or_default().push(index);
        }
        for samples in classes.values_mut() {
            // Drawn from the end: the largest first.
            samples.sort_by_cached_key(|&index| (keyed.stream(index as u64).bits(), index));
        }
        Self(classes)
    }

    /// Samples that are left.
    pub(crate) fn left(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// Draws `count` samples, each class in proportion to what is left of it, by largest
    /// remainder. Their indices ascend. None if fewer are left.
    pub(crate) fn draw(&mut self, count: usize) -> Option<Vec<usize>> {
        let counts: Vec<usize> = self.0.values().map(Vec::len).collect();
        let quotas = quotas(&counts, count)?;
        let mut drawn = Vec::with_capacity(count);
        for (samples, quota) in self.0.values_mut().zip(quotas) {
            drawn.extend(samples.drain(samples.len().saturating_sub(quota)..));
        }
        drawn.sort_unstable();
        Some(drawn)
    }

    /// What is left of each class, in words.
    pub(crate) fn describe(&self) -> String {
        const SHOWN: usize = 12;
        let mut parts: Vec<String> = self
            .0
            .iter()
            .take(SHOWN)
            .map(|(class, samples)| format!("class {class}: {}", samples.len()))
            .collect();
        if self.0.len() > SHOWN {
            parts.push(format!("and {} more classes", self.0.len() - SHOWN));
        }
        if parts.is_empty() {
            "no class has any".to_owned()
        } else {
            parts.join(", ")
        }
    }
}

/// Shares of `total` in proportion to `counts`, which none exceeds; what flooring leaves goes to
/// the largest remainders, of equal ones to the first. None if `total` exceeds the sum.
fn quotas(counts: &[usize], total: usize) -> Option<Vec<usize>> {
    let sum: usize = counts.iter().sum();
    if total > sum {
        return None;
    }
    let exact = |count: usize| count as u128 * total as u128;
    let divisor = sum.max(1) as u128;
    let mut quotas: Vec<usize> = counts
        .iter()
        .map(|&count| usize::try_from(exact(count) / divisor).unwrap_or(count))
        .collect();
    let mut by_remainder: Vec<usize> = (0..counts.len()).collect();
    by_remainder.sort_by_key(|&i| std::cmp::Reverse(exact(counts[i]) % divisor));
    let missing = total - quotas.iter().sum::<usize>();
    for i in by_remainder.into_iter().take(missing) {
        quotas[i] += 1;
    }
    Some(quotas)
}

#[cfg(test)]
mod tests {
    use temper_core::random::Purpose;

    use super::*;

    fn keyed(seed: u64) -> Keyed {
        Keyed::new(seed, Purpose::Split, 0, 0)
    }

    #[test]
    fn quotas_follow_the_largest_remainders() {
        assert_eq!(quotas(&[50, 30, 20], 10), Some(vec![5, 3, 2]));
        // 3.5, 2.1, 1.4: the one that flooring leaves goes to 3.5.
        assert_eq!(quotas(&[50, 30, 20], 7), Some(vec![4, 2, 1]));
        assert_eq!(quotas(&[1, 1, 1], 2), Some(vec![1, 1, 0]));
        assert_eq!(quotas(&[3, 4], 7), Some(vec![3, 4]));
        assert_eq!(quotas(&[3, 4], 8), None);
        assert_eq!(quotas(&[], 0), Some(vec![]));
    }

    #[test]
    fn draws_are_disjoint_stratified_and_ascending() {
        let labels: Vec<i64> = (0..100).map(|i| i64::from(i % 4 == 0)).collect();
        let mut strata = Strata::new(&labels, &keyed(3));
        let first = strata.draw(20).unwrap_or_default();
        let second = strata.draw(40).unwrap_or_default();
        assert!(first.is_sorted() && second.is_sorted());
        assert!(
            first
                .iter()
                .all(|index| second.binary_search(index).is_err())
        );
        let ones = |drawn: &[usize]| drawn.iter().filter(|&&i| labels[i] == 1).count();
        assert_eq!((first.len(), ones(&first)), (20, 5));
        assert_eq!((second.len(), ones(&second)), (40, 10));
        assert_eq!(strata.left(), 40);
        assert_eq!(strata.draw(41), None);
    }

    #[test]
    fn draw_is_fixed_by_the_seed() {
        let labels = vec![0; 50];
        let draw = |seed| Strata::new(&labels, &keyed(seed)).draw(5);
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }

    #[test]
    fn sample_order_does_not_depend_on_the_other_samples() {
        // Appending samples only inserts into a class's order.
        let short = Strata::new(&[0; 20], &keyed(9));
        let long = Strata::new(&[0; 30], &keyed(9));
        let kept: Vec<usize> = long.0[&0]
            .iter()
            .copied()
            .filter(|&index| index < 20)
            .collect();
        assert_eq!(short.0[&0], kept);
    }
}
