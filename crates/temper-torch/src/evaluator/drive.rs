//! Runs the pairs of a measurement.

use std::cell::RefCell;

use tch::Tensor;
use temper_core::{
    Digest,
    attack::Attack,
    key::evaluation_key,
    random::{Keyed, Purpose},
    spec::{CurveMode, EvaluateSpec},
};

use super::{EvaluateObserver, EvaluateOutcome, Measurement, Progress, Stage, state::State};
use crate::{
    Control, TorchError,
    attack::{Guide, Model, Radius, search},
    batch::Images,
    measure::right,
};

/// Restarts of the first attack have their own numbers as keys of noise; those of the attack with
/// index `i` have `i` times this more. No attack has as many restarts.
const RESTARTS: u32 = 1 << 16;

/// Pairs that are attacked together. More fill passes better while images leave, and are lost when
/// a measurement is stopped among them.
const POOL: usize = 128;

/// What is measured.
pub(super) struct Job<'a> {
    spec: &'a EvaluateSpec,
    key: Digest,
    model: &'a Model<'a>,
    images: &'a Images<'a>,
    samples: u32,
}

impl<'a> Job<'a> {
    /// Checks what a measurement cannot do without.
    pub fn new(
        spec: &'a EvaluateSpec,
        model: &'a Model<'a>,
        images: &'a Images<'a>,
    ) -> Result<Self, TorchError> {
        let bad = |what: &str| Err(TorchError::BadInput(what.to_owned()));
        if images.len() == 0 {
            return bad("test images: there are none");
        }
        let ascends = spec.grid.is_sorted_by(|a, b| a < b);
        if !ascends || !spec.grid.first().is_some_and(|first| first.is_zero()) {
            return bad("the grid must ascend from epsilon 0");
        }
        if spec.attacks.is_empty() {
            return bad("there are no attacks");
        }
        let samples = u32::try_from(images.len());
        let samples = samples.map_err(|_| TorchError::BadInput("too many test images".into()))?;
        Ok(Self {
            spec,
            key: evaluation_key(spec),
            model,
            images,
            samples,
        })
    }

    /// Measures, from `resume` on.
    pub fn run(
        &self,
        resume: Option<&[u8]>,
        observer: &mut dyn EvaluateObserver,
    ) -> Result<EvaluateOutcome, TorchError> {
        let _no_grad = tch::no_grad_guard();
        let mut state = match resume {
            Some(bytes) => State::decode(bytes, self.key, (self.spec, self.samples))?,
            None => State::new(self.samples, self.spec.attacks.len()),
        };
        loop {
            while !state.next(1).is_empty() {
                self.step(&mut state, observer)?;
                if let Some(end) = self.report(&state, observer)? {
                    return Ok(end);
                }
            }
            if !state.advance(self.spec) {
                return Ok(EvaluateOutcome::Finished(self.finish(&state)));
            }
        }
    }

    /// Tells the observer; the outcome when it ends the measurement.
    fn report(
        &self,
        state: &State,
        observer: &mut dyn EvaluateObserver,
    ) -> Result<Option<EvaluateOutcome>, TorchError> {
        let control = observer.control(self.progress(state));
        if control == Control::Abort {
            return Ok(Some(EvaluateOutcome::Aborted));
        }
        let drains = control == Control::Drain;
        if (drains || observer.checkpoint_due())
            && observer.checkpoint(state.encode(self.key)?).is_err()
        {
            return Ok(Some(EvaluateOutcome::Aborted));
        }
        Ok(drains.then_some(EvaluateOutcome::Drained))
    }

    fn progress(&self, state: &State) -> Progress {
        let points = self.spec.grid.len();
        let rounds = match (state.stage, self.spec.mode) {
            // The clean round, the grid's end, then halving until what is between is closed.
            (Stage::Curve, CurveMode::Bisect { .. }) => {
                let between = points.saturating_sub(1).max(1);
                2 + between.next_power_of_two().trailing_zeros() as usize
            }
            _ => points,
        };
        let (done, samples) = state.progress();
        Progress {
            stage: state.stage,
            round: state.round as usize,
            rounds,
            done,
            samples,
            pairs: state.pairs,
        }
    }

    /// The next pairs, unless the observer stops it: then they are left for later.
    fn step(
        &self,
        state: &mut State,
        observer: &mut dyn EvaluateObserver,
    ) -> Result<(), TorchError> {
        let most = if state.is_clean() {
            self.images.of_pass()
        } else {
            POOL
        };
        let samples = state.next(most).to_vec();
        let answers = if state.is_clean() {
            Some(self.clean(state, &samples)?)
        } else {
            let watch = Watch {
                observer: RefCell::new(observer),
                progress: self.progress(state),
            };
            let before = (state.passes, state.signs.clone());
            let answers = self.attacked(state, &samples, &watch)?;
            if answers.is_none() {
                // What came before the stop is done again, and must not count twice.
                (state.passes, state.signs) = before;
            }
            answers
        };
        if let Some(answers) = answers {
            state.answer(self.spec, &answers);
        }
        Ok(())
    }

    /// Which samples are wrong without attack, as perturbations of length 0.
    fn clean(&self, state: &mut State, samples: &[u32]) -> Result<Vec<Option<f64>>, TorchError> {
        let (x, y) = self.images.batch(&indices(samples));
        let logits = (self.model)(&x);
        state.passes += samples.len() as u64;
        if state.pairs == 0 {
            // Once is enough: what is random is so on all images.
            state.passes += samples.len() as u64;
            state.signs.compare(&logits, &(self.model)(&x));
        }
        let right = right(&logits, &y)?;
        state.signs.look(&logits);
        let broken = right.into_iter().map(|right| (!right).then_some(0.0));
        Ok(broken.collect())
    }

    /// Norms of what breaks the samples, each at its strength; none when stopped.
    fn attacked(
        &self,
        state: &mut State,
        samples: &[u32],
        watch: &Watch<'_>,
    ) -> Result<Option<Vec<Option<f64>>>, TorchError> {
        let pairs: Vec<(u32, u32)> = samples
            .iter()
            .map(|&sample| (sample, state.grid_index(sample, self.spec)))
            .collect();
        let mut answers = vec![None; pairs.len()];
        for (attack, settings) in self.spec.attacks.iter().enumerate() {
            let places: Vec<usize> = (0..pairs.len())
                .filter(|&place| answers[place].is_none())
                .collect();
            if places.is_empty() {
                break;
            }
            let left: Vec<(u32, u32)> = places.iter().map(|&place| pairs[place]).collect();
            let Some(norms) = self.search(state, (attack, settings), &left, watch)? else {
                return Ok(None);
            };
            for (place, norm) in places.into_iter().zip(norms) {
                answers[place] = norm;
            }
        }
        Ok(Some(answers))
    }

    /// One attack on samples, each at its index on the grid; none when stopped.
    fn search(
        &self,
        state: &mut State,
        (attack, settings): (usize, &Attack),
        pairs: &[(u32, u32)],
        watch: &Watch<'_>,
    ) -> Result<Option<Vec<Option<f64>>>, TorchError> {
        let samples: Vec<u32> = pairs.iter().map(|&(sample, _)| sample).collect();
        let (x, y) = self.images.batch(&indices(&samples));
        let first = u32::try_from(attack).unwrap_or(u32::MAX) * RESTARTS;
        let guide = Runs {
            job: self,
            attack: settings,
            first,
            pairs,
            watch,
        };
        let radius = self.radius(pairs);
        let found = search(self.model, (&x, &y), &radius, settings, &guide)?;
        if found.stopped {
            return Ok(None);
        }
        state.passes += found.passes;
        let seen = (found.broken.as_slice(), found.zero_gradients.as_slice());
        state.signs.count(attack, &samples, seen);
        let norms = found.broken.iter().zip(found.norms);
        let norms = norms.map(|(broken, norm)| broken.then_some(norm));
        Ok(Some(norms.collect()))
    }

    /// The strengths of `pairs`.
    fn radius(&self, pairs: &[(u32, u32)]) -> Radius {
        let of = |index: u32| self.spec.grid[index as usize].value();
        match pairs {
            [(_, index), rest @ ..] if rest.iter().all(|(_, other)| other == index) => {
                Radius::All(of(*index))
            }
            _ => Radius::Each(pairs.iter().map(|&(_, index)| of(index)).collect()),
        }
    }

    /// Start noise of `pairs`: a sample's is of its own index on the grid, so that it is the same
    /// in every mode.
    fn noise(&self, attack: &Attack, restart: u32, pairs: &[(u32, u32)]) -> Tensor {
        let one = |&(sample, index): &(u32, u32)| {
            let keyed = Keyed::new(self.spec.seed, Purpose::EvaluationNoise, index, restart);
            // Attacks that start from the image never ask.
            let kind = attack.noise().unwrap_or(temper_core::random::Noise::Box);
            self.images.noise(kind, &keyed, &[sample as usize])
        };
        Tensor::cat(&pairs.iter().map(one).collect::<Vec<_>>(), 0)
    }

    fn finish(&self, state: &State) -> Measurement {
        Measurement {
            points: state.points(self.spec),
            audit: state.audit(self.spec),
            flags: state.signs.flags(state.exact(self.spec.mode)),
            passes: state.passes,
        }
    }
}

/// Who can stop an attack that is under way.
struct Watch<'a> {
    observer: RefCell<&'a mut dyn EvaluateObserver>,
    progress: Progress,
}

/// The runs of one attack on pairs.
struct Runs<'a, 'w> {
    job: &'a Job<'a>,
    attack: &'a Attack,
    /// Key of the first run's noise.
    first: u32,
    pairs: &'a [(u32, u32)],
    watch: &'a Watch<'w>,
}

impl Guide for Runs<'_, '_> {
    fn noise(&self, run: u32, places: &[usize]) -> Tensor {
        let wanted: Vec<(u32, u32)> = places.iter().map(|&place| self.pairs[place]).collect();
        self.job.noise(self.attack, self.first + run, &wanted)
    }

    fn goes_on(&self) -> bool {
        let control = self
            .watch
            .observer
            .borrow_mut()
            .control(self.watch.progress);
        control == Control::Continue
    }
}

fn indices(samples: &[u32]) -> Vec<usize> {
    samples.iter().map(|&sample| sample as usize).collect()
}
