//! Where a measurement stands: which pairs of sample and strength come next, what the answers were.

use serde::{Deserialize, Serialize};
use temper_core::{
    Digest, Epsilon,
    curve::{Point, expected_robustness},
    random::{Keyed, Purpose},
    report::Audit,
    spec::{CurveMode, EvaluateSpec},
};

use super::Interim;
use super::{Stage, flags::Signs};
use crate::TorchError;

/// Layout of a checkpoint; another one is refused.
const VERSION: u32 = 1;

/// More rounds than a bisection has, whatever the grid: it ends when nothing is left to halve.
const MOST_HALVINGS: u32 = 64;

/// A norm this little above a strength counts as within it: perturbations are differences of
/// numbers in single precision, good to about 1e-7.
const NORM_TOLERANCE: f64 = 1e-6;

/// What a measurement knows. Indices of samples are those in the test split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    pub stage: Stage,
    /// Round of the stage.
    pub round: u32,
    /// Samples of the round, ascending, as they were when it began.
    queue: Vec<u32>,
    /// How many of them have their answer.
    done: u32,
    /// By sample: the largest index on the grid that it is taken to withstand, and the least that
    /// breaks it, which is the grid's length for none.
    brackets: Vec<[u32; 2]>,
    /// What exact measurement found, of all samples or those of the audit: by index on the grid, the
    /// samples that are right.
    right: Vec<Vec<u32>>,
    /// Pairs with an answer.
    pub pairs: u64,
    /// Passes of one image.
    pub passes: u64,
    pub signs: Signs,
}

/// The file.
#[derive(Serialize, Deserialize)]
struct File<S> {
    version: u32,
    /// Key of the job, so that no other job goes on from here.
    evaluation: Digest,
    state: S,
}

impl State {
    /// The state before anything is measured on `samples` images.
    pub fn new(samples: u32, attacks: usize) -> Self {
        Self {
            stage: Stage::Curve,
            round: 0,
            queue: (0..samples).collect(),
            done: 0,
            brackets: vec![[0, 0]; samples as usize],
            right: vec![Vec::new()],
            pairs: 0,
            passes: 0,
            signs: Signs::new(attacks),
        }
    }

    /// The next samples of the round, `most` at most, in their order.
    pub fn next(&self, most: usize) -> &[u32] {
        let left = &self.queue[self.done as usize..];
        &left[..left.len().min(most)]
    }

    /// Samples of the round that have their answer, and all of them.
    pub fn progress(&self) -> (usize, usize) {
        (self.done as usize, self.queue.len())
    }

    /// Whether this is the round without attack.
    pub fn is_clean(&self) -> bool {
        self.stage == Stage::Curve && self.round == 0
    }

    /// The index on the grid that `sample`, one of the next, is to be attacked at.
    ///
    /// Bisection asks at the grid's end first. A sample that withstands there costs one attack to the
    /// end of its iterations, not one in each round; of the others most break within a few, and by
    /// perturbations that may fit smaller strengths.
    pub fn grid_index(&self, sample: u32, spec: &EvaluateSpec) -> u32 {
        match (self.stage, self.round, spec.mode) {
            (Stage::Curve, 0, _) => 0,
            (Stage::Curve, 1, CurveMode::Bisect { .. }) => len(&spec.grid) - 1,
            (Stage::Curve, _, CurveMode::Bisect { .. }) => {
                let [low, high] = self.brackets[sample as usize];
                low.midpoint(high)
            }
            _ => self.round,
        }
    }

    /// Takes the answers of the next samples: the norm of the perturbation that breaks each, in
    /// pixel units; none where it withstands.
    pub fn answer(&mut self, spec: &EvaluateSpec, answers: &[Option<f64>]) {
        let samples = self.next(answers.len()).to_vec();
        for (&sample, &norm) in samples.iter().zip(answers) {
            let index = self.grid_index(sample, spec);
            if norm.is_none() && self.keeps_table(spec.mode) {
                self.right[self.round as usize].push(sample);
            }
            if self.stage == Stage::Curve {
                let bracket = &mut self.brackets[sample as usize];
                *bracket = narrowed(*bracket, (index, norm), &spec.grid, spec.mode);
            }
            self.done += 1;
            self.pairs += 1;
        }
    }

    /// Whether the round's answers are kept one by one.
    fn keeps_table(&self, mode: CurveMode) -> bool {
        self.stage == Stage::Audit || mode == CurveMode::Exact
    }

    /// Goes on to the next round; false when all is measured.
    pub fn advance(&mut self, spec: &EvaluateSpec) -> bool {
        let points = len(&spec.grid);
        self.round += 1;
        self.done = 0;
        self.queue = match (self.stage, spec.mode) {
            (Stage::Curve, CurveMode::Bisect { audit }) => {
                let open = self.samples(|[low, high]| high - low > 1);
                if open.is_empty() {
                    return self.begin_audit(spec, audit.value());
                }
                open
            }
            _ if self.round >= points => return false,
            (Stage::Curve, CurveMode::Monotone) => self.samples(|[_, high]| high == points),
            (Stage::Curve, CurveMode::Exact) | (Stage::Audit, _) => {
                self.right.push(Vec::new());
                self.right[0].clone()
            }
        };
        true
    }

    fn begin_audit(&mut self, spec: &EvaluateSpec, share: f64) -> bool {
        let audited = audited(spec.seed, self.brackets.len(), share);
        if audited.is_empty() {
            return false;
        }
        let clean = audited
            .into_iter()
            .filter(|&sample| self.brackets[sample as usize][1] > 0);
        self.right = vec![clean.collect()];
        self.queue.clear();
        (self.stage, self.round) = (Stage::Audit, 0);
        // Its round 0 is the clean accuracy, which is known.
        true
    }

    fn samples(&self, wanted: impl Fn([u32; 2]) -> bool) -> Vec<u32> {
        let all = (0..).zip(&self.brackets);
        all.filter(|(_, bracket)| wanted(**bracket))
            .map(|(sample, _)| sample)
            .collect()
    }

    /// The curve.
    pub fn points(&self, spec: &EvaluateSpec) -> Vec<Point> {
        match spec.mode {
            CurveMode::Exact => self.table(spec, len(&self.brackets)),
            CurveMode::Monotone | CurveMode::Bisect { .. } => bracketed(spec, &self.brackets),
        }
    }

    /// What exact measurement found, on `samples` in all.
    fn table(&self, spec: &EvaluateSpec, samples: u32) -> Vec<Point> {
        let points = spec.grid.iter().zip(&self.right);
        points
            .map(|(&epsilon, right)| Point {
                epsilon,
                correct: len(right),
                samples,
            })
            .collect()
    }

    /// The samples that are right at each strength, where every strength was measured by itself.
    pub fn exact(&self, mode: CurveMode) -> Option<&[Vec<u32>]> {
        (mode == CurveMode::Exact).then_some(self.right.as_slice())
    }

    /// How far the bisection is from exact on the audited samples.
    pub fn audit(&self, spec: &EvaluateSpec) -> Option<Audit> {
        let CurveMode::Bisect { audit } = spec.mode else {
            return None;
        };
        let audited = audited(spec.seed, self.brackets.len(), audit.value());
        let brackets: Vec<_> = audited
            .iter()
            .map(|&sample| self.brackets[sample as usize])
            .collect();
        let samples = len(&audited);
        let bisected = expected_robustness(&bracketed(spec, &brackets)).ok()?;
        let exact = expected_robustness(&self.table(spec, samples)).ok()?;
        Some(Audit {
            samples,
            gap: bisected - exact,
        })
    }

    /// The state as a checkpoint of the job with the key `evaluation`.
    pub fn encode(&self, evaluation: Digest) -> Result<Interim, TorchError> {
        let file = File {
            version: VERSION,
            evaluation,
            state: self,
        };
        let bytes = serde_json::to_vec(&file).map_err(|e| TorchError::Torch(e.to_string()))?;
        Ok(Interim {
            pairs: self.pairs,
            bytes,
        })
    }

    /// Reads a checkpoint of the job with the key `evaluation`, on `samples` images.
    ///
    /// # Errors
    /// [`TorchError::BadCheckpoint`].
    pub fn decode(
        bytes: &[u8],
        evaluation: Digest,
        (spec, samples): (&EvaluateSpec, u32),
    ) -> Result<Self, TorchError> {
        let bad = |reason: String| TorchError::BadCheckpoint(reason);
        // The head first: another layout is to be called that, not damaged.
        let head: File<serde::de::IgnoredAny> =
            serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
        if head.version != VERSION {
            let found = head.version;
            return Err(bad(format!("its layout is {found}, not {VERSION}")));
        }
        if head.evaluation != evaluation {
            return Err(bad(format!(
                "it is of job {}, not {evaluation}",
                head.evaluation
            )));
        }
        let file: File<Self> = serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
        if file.state.is_sound(spec, samples) {
            Ok(file.state)
        } else {
            Err(bad("it is not of these images and attacks".to_owned()))
        }
    }

    fn is_sound(&self, spec: &EvaluateSpec, samples: u32) -> bool {
        let points = len(&spec.grid);
        let known = |list: &Vec<u32>| list.iter().all(|&sample| sample < samples);
        let in_grid = |&[low, high]: &[u32; 2]| low <= high && high <= points;
        let is_asked_on_grid = |&sample: &u32| self.grid_index(sample, spec) < points;
        self.round < points.max(MOST_HALVINGS)
            && len(&self.brackets) == samples
            && self.brackets.iter().all(in_grid)
            && self.done as usize <= self.queue.len()
            && known(&self.queue)
            && self.next(usize::MAX).iter().all(is_asked_on_grid)
            && self.right.iter().all(known)
            && (!self.keeps_table(spec.mode) || self.right.len() == self.round as usize + 1)
            && self.signs.attacks() == spec.attacks.len()
    }
}

/// A bracket after the answer at `index`. A perturbation found may be smaller than what was allowed:
/// it then breaks the sample at smaller strengths too, but never says anything about larger ones
/// than the one tried.
fn narrowed(
    [low, high]: [u32; 2],
    (index, norm): (u32, Option<f64>),
    grid: &[Epsilon],
    mode: CurveMode,
) -> [u32; 2] {
    let bisects = matches!(mode, CurveMode::Bisect { .. });
    match norm {
        // Clean: right ones are open up to the end of the grid.
        None if index == 0 => [0, len(grid)],
        Some(_) if index == 0 => [0, 0],
        None if bisects => [index, high],
        // Where all strengths are tried, a smaller one may have broken it.
        None => [index.min(high), high],
        Some(norm) if bisects => {
            let least = least_index(norm, grid, index);
            // An attack that failed at a strength which this perturbation fits was too weak there:
            // what was found counts.
            [low.min(least - 1), least]
        }
        // Exact asks at larger strengths too; the least that breaks stays.
        Some(_) => [low.min(index - 1), high.min(index)],
    }
}

/// The least index from 1 on whose strength a perturbation of `norm` fits, at most `most`.
fn least_index(norm: f64, grid: &[Epsilon], most: u32) -> u32 {
    let fits = |&index: &u32| grid[index as usize].value() + NORM_TOLERANCE >= norm;
    (1..most).find(fits).unwrap_or(most)
}

/// The curve of samples with these brackets.
fn bracketed(spec: &EvaluateSpec, brackets: &[[u32; 2]]) -> Vec<Point> {
    let correct = |index: u32| brackets.iter().filter(|[_, high]| *high > index).count();
    (0..)
        .zip(&spec.grid)
        .map(|(index, &epsilon)| Point {
            epsilon,
            correct: u32::try_from(correct(index)).unwrap_or(u32::MAX),
            samples: len(brackets),
        })
        .collect()
}

/// Which of `count` samples are audited, ascending: a share of them, rounded up.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of a count of images"
)]
fn audited(seed: u64, count: usize, share: f64) -> Vec<u32> {
    let wanted = (share * count as f64).ceil() as usize;
    let mut order = Keyed::new(seed, Purpose::Audit, 0, 0).permutation(count);
    order.truncate(wanted);
    order.sort_unstable();
    let sample = |index| u32::try_from(index).unwrap_or(u32::MAX);
    order.into_iter().map(sample).collect()
}

/// A length; test splits and grids are far below `u32::MAX`.
fn len<T>(list: &[T]) -> u32 {
    u32::try_from(list.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluator::tests::{bisect, spec};

    /// What comes back of a state of a measurement of `spec` that is written down.
    fn read_again(state: &State, spec: &EvaluateSpec) -> Result<State, TorchError> {
        let key = Digest::of(b"key");
        let written = state.encode(key).unwrap().bytes;
        State::decode(&written, key, (spec, len(&state.brackets)))
    }

    fn is_refused(state: &State, spec: &EvaluateSpec) -> bool {
        matches!(read_again(state, spec), Err(TorchError::BadCheckpoint(_)))
    }

    /// The answers to the next samples, each of which breaks at an index of its own on a grid that
    /// ends at `end`: some are wrong as they are, and some withstand all of it.
    fn answers(state: &State, spec: &EvaluateSpec, end: u32) -> Vec<Option<f64>> {
        let answer = |&sample: &u32| {
            let least = sample % (end + 2);
            let breaks = state.grid_index(sample, spec) >= least;
            breaks.then(|| f64::from(least) / 255.0)
        };
        state.next(3).iter().map(answer).collect()
    }

    #[test]
    fn whatever_a_measurement_writes_down_can_be_read_again() {
        let modes = [CurveMode::Exact, CurveMode::Monotone, bisect(1, 2)];
        let cases = modes.map(|mode| [1, 2, 16].map(|end| (mode, end)));
        for (mode, end) in cases.into_iter().flatten() {
            let spec = spec(mode, end);
            let mut state = State::new(40, 1);
            loop {
                while !state.next(1).is_empty() {
                    let answers = answers(&state, &spec, end);
                    state.answer(&spec, &answers);
                    assert_eq!(read_again(&state, &spec).unwrap(), state, "{mode:?}");
                }
                if !state.advance(&spec) {
                    break;
                }
            }
            assert_eq!(state.points(&spec).len(), end as usize + 1);
        }
    }

    #[test]
    fn state_that_would_ask_beyond_the_grid_is_refused() {
        let monotone = spec(CurveMode::Monotone, 4);
        let mut state = State::new(3, 1);
        state.round = 4;
        assert!(read_again(&state, &monotone).is_ok());
        state.round = 5;
        assert!(is_refused(&state, &monotone));
        // Nobody counts so far, even with nothing left to ask.
        state.done = 3;
        assert!(read_again(&state, &monotone).is_ok());
        state.round = u32::MAX;
        assert!(is_refused(&state, &monotone));

        let bisected = spec(bisect(0, 1), 4);
        let mut state = State::new(3, 1);
        state.round = 2;
        state.brackets[1] = [2, 5];
        assert!(read_again(&state, &bisected).is_ok());
        state.brackets[1] = [5, 5];
        assert!(is_refused(&state, &bisected));
    }

    #[test]
    fn perturbation_counts_at_the_least_strength_that_it_fits() {
        let grid: Vec<Epsilon> = ["0", "1/255", "2/255", "3/255", "4/255"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        let level = 1.0 / 255.0;
        let least = |norm| least_index(norm, &grid, 3);
        assert_eq!(least(0.0), 1);
        assert_eq!(least(level + 0.9e-6), 1);
        assert_eq!(least(level + 1.1e-6), 2);
        assert_eq!(least(2.0 * level), 2);
        // Rounding never pushes it above what was tried.
        assert_eq!(least(3.0 * level + 1e-5), 3);
        let mode = CurveMode::Bisect {
            audit: temper_core::Fraction::ZERO,
        };
        let narrowed = |bracket, answer| narrowed(bracket, answer, &grid, mode);
        assert_eq!(narrowed([0, 5], (2, Some(0.9 * level))), [0, 1]);
        assert_eq!(narrowed([0, 5], (2, Some(1.9 * level))), [0, 2]);
        assert_eq!(narrowed([0, 5], (2, None)), [2, 5]);
        assert_eq!(narrowed([2, 5], (3, Some(0.5 * level))), [0, 1]);
    }

    #[test]
    fn audit_draws_its_share_by_the_seed() {
        assert_eq!(audited(3, 100, 0.05).len(), 5);
        assert_eq!(audited(3, 10, 0.01).len(), 1);
        assert!(audited(3, 100, 0.0).is_empty());
        assert_ne!(audited(3, 100, 0.05), audited(4, 100, 0.05));
        assert_eq!(audited(3, 7, 1.0), (0..7).collect::<Vec<_>>());
    }
}
