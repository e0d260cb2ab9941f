//! How long to look for trouble, and where to begin.

use std::{
    env,
    num::ParseIntError,
    time::{Duration, Instant},
};

use proptest::test_runner::{Config, RngSeed, TestRunner};

/// Variables by which `make fuzz` makes the short form of a test a long one.
const SECONDS: &str = "TEMPER_FUZZ_SECONDS";
const SEED: &str = "TEMPER_FUZZ_SEED";

/// How many cases, or for how long, and by which seed.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    seed: u64,
    short: u64,
    long: Option<Duration>,
    started: Instant,
}

impl Plan {
    /// What the environment says: without a word of it `short` cases, by seed 1.
    ///
    /// # Errors
    /// When a variable is no number.
    pub fn read(short: u64) -> Result<Self, ParseIntError> {
        let number = |name| env::var(name).ok().map(|text| text.parse()).transpose();
        let long = number(SECONDS)?.map(Duration::from_secs);
        Ok(Self {
            seed: number(SEED)?.unwrap_or(1),
            short,
            long,
            started: Instant::now(),
        })
    }

    /// Gives cases by the seed. A failure is shrunk, and not written down: the seed finds it again.
    #[must_use]
    pub fn runner(&self) -> TestRunner {
        TestRunner::new(Config {
            rng_seed: RngSeed::Fixed(self.seed),
            failure_persistence: None,
            max_shrink_iters: 500,
            // One runner makes all cases, however many: what does not fit a field's width is made anew.
            max_local_rejects: u32::MAX,
            ..Config::default()
        })
    }

    /// Whether there is more to do after so many cases.
    #[must_use]
    pub fn goes_on(&self, done: u64) -> bool {
        match self.long {
            None => done < self.short,
            Some(long) => self.started.elapsed() < long,
        }
    }

    /// Whether it is the long form.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.long.is_some()
    }

    /// Says what was done, for `make fuzz` to read.
    pub fn tell(&self, what: &str, done: u64) {
        let seconds = self.started.elapsed().as_secs();
        println!("fuzzed: {what}={done} seconds={seconds} seed={}", self.seed);
    }
}
