use super::{Job, Layout, TrainingKeys};
use crate::{Digest, key};

/// Most jobs that are all taken.
const ALL: usize = 200_000;
/// How many are drawn of more.
const DRAWN: u32 = 20_000;

/// Jobs of a layout that stand for all of them, with their keys: all, or of a sweep that is large
/// some that are spread evenly over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Indices among the layout's jobs, ascending.
    pub jobs: Vec<u32>,
    /// Their keys.
    pub keys: Vec<Digest>,
}

impl Sample {
    /// Takes a layout's sample, the same one each time.
    #[must_use]
    pub fn of(layout: &Layout) -> Self {
        let count = u32::try_from(layout.jobs().len()).unwrap_or(u32::MAX);
        let jobs: Vec<u32> = if layout.jobs().len() <= ALL {
            (0..count).collect()
        } else {
            spread(count)
        };
        let trainings = TrainingKeys::of(layout);
        let keys = jobs.iter().map(|&job| key_of(layout, &trainings, job));
        Self {
            keys: keys.collect(),
            jobs,
        }
    }
}

/// Every place equally likely: multiples of the golden ratio's fraction fall evenly into `0..count`,
/// whatever pattern the jobs lie in.
fn spread(count: u32) -> Vec<u32> {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let place = |i: u64| (u128::from(i.wrapping_mul(GOLDEN)) * u128::from(count)) >> 64;
    let places = (1..=u64::from(DRAWN)).map(place);
    let mut places: Vec<u32> = places.filter_map(|place| place.try_into().ok()).collect();
    places.sort_unstable();
    places.dedup();
    places
}

fn key_of(layout: &Layout, trainings: &TrainingKeys, job: u32) -> Digest {
    let job: &Job = &layout.jobs()[job as usize];
    let train = trainings.key(layout, job);
    match layout.measurement(job) {
        None => train,
        Some(measurement) => key::measurement_key(&measurement, train),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_places_are_within_and_spread_over_all() {
        let places = spread(2_000_000);
        assert!(places.len() > 19_900, "{}", places.len());
        assert!(places.windows(2).all(|pair| pair[0] < pair[1]));
        let odd = places.iter().filter(|place| **place % 2 == 1).count();
        let share = f64::from(u32::try_from(odd).unwrap()) / f64::from(DRAWN);
        assert!((0.48..0.52).contains(&share), "{share}");
        let last_tenth = places.iter().filter(|place| **place >= 1_800_000).count();
        assert!((1_900..2_100).contains(&last_tenth), "{last_tenth}");
    }
}
