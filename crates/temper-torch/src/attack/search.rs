//! Attacks for evaluation: images leave the batch as soon as they are broken.

use tch::{Kind, Tensor};
use temper_core::attack::{Attack, Norm};

use super::{
    Model, Radius,
    input::Input,
    loss::{self, Objective},
    method::{Check, Forward, norms, start},
    needs_clean_logits, step,
};
use crate::TorchError;

/// What an attack found, by the places of the batch.
#[derive(Debug)]
pub struct Found {
    /// Whether an image within epsilon was taken for another class.
    pub broken: Vec<bool>,
    /// That image `f32[n, c, h, w]`, the first one met; the clean one where there is none.
    pub adversarial: Tensor,
    /// How far it is from the clean one in the attack's norm, in pixel units; at most epsilon, and 0
    /// where there is none.
    pub norms: Vec<f64>,
    /// Forward passes of single images plus backward passes of single images: an iteration on `n`
    /// images costs `2 n`.
    pub passes: u64,
    /// Whether the first gradient in the image is zero in all its pixels, which no attack that
    /// follows gradients can work with; of what the start does not break already.
    pub zero_gradients: Vec<bool>,
}

/// Looks for images within `radius` of `x` that `model` takes for another class than `y`, `i64[n]`.
///
/// An image is broken by any wrong prediction, of the start or of any iterate, and is not worked on
/// any further. Restarts and, of the targeted DLR, classes run on the others alone; `noise` is
/// asked for a run's start noise `f32[m, c, h, w]` of the images at some places, as
/// [`Attack::noise`] says, and runs are counted through: with `r` restarts the run `restart` towards
/// the class `t` is `t * r + restart`. Which iterate PGD keeps has no part in it.
///
/// Where epsilon is 0 the clean image alone is looked at. Elsewhere it is looked at only by attacks
/// that drive to a class; leave out images that are misclassified as they are.
///
/// # Errors
/// As [`craft`](super::craft).
pub fn search(
    model: &Model<'_>,
    (x, y): (&Tensor, &Tensor),
    radius: &Radius,
    attack: &Attack,
    noise: &dyn Fn(u32, &[usize]) -> Tensor,
) -> Result<Found, TorchError> {
    crate::run(|| {
        let input = Input::checked(x, Some(y))?;
        radius.check(input.len())?;
        let _no_grad = tch::no_grad_guard();
        let mut search = Search {
            model,
            batch: (x, y),
            input: &input,
            radius,
            attack,
            found: Found {
                broken: vec![false; input.len()],
                adversarial: x.copy(),
                norms: vec![0.0; input.len()],
                passes: 0,
                zero_gradients: vec![false; input.len()],
            },
        };
        if !input.is_empty() {
            search.run(noise)?;
        }
        Ok(search.found)
    })
}

struct Search<'a> {
    model: &'a Model<'a>,
    batch: (&'a Tensor, &'a Tensor),
    input: &'a Input<'a>,
    radius: &'a Radius,
    attack: &'a Attack,
    found: Found,
}

/// Images under attack.
struct Active {
    /// Their places in the batch.
    places: Vec<usize>,
    y: Tensor,
    objective: Objective,
}

impl Search<'_> {
    fn run(&mut self, noise: &dyn Fn(u32, &[usize]) -> Tensor) -> Result<(), TorchError> {
        let classes = self.look_at_clean()?;
        let targets = classes.as_ref().map_or(1, |classes| classes.size()[1]);
        let restarts = match self.attack {
            Attack::Pgd(pgd) => pgd.restarts,
            Attack::Apgd(apgd) => apgd.restarts,
        };
        let runs = (0..targets).flat_map(|target| (0..restarts.max(1)).map(move |_| target));
        for (run, target) in (0..).zip(runs) {
            let places = self.unbroken();
            if places.is_empty() {
                break;
            }
            let index = self.index(&places);
            let objective = match &classes {
                Some(classes) => {
                    let class = classes.select(1, target).index_select(0, &index);
                    Objective::towards(self.attack, &class)
                }
                None => Objective::untargeted(self.attack),
            };
            let noise = self.attack.noise().map(|_| noise(run, &places));
            let active = Active {
                y: self.batch.1.index_select(0, &index),
                places,
                objective,
            };
            self.attack(active, run == 0, noise.as_ref())?;
        }
        Ok(())
    }

    /// Breaks what is misclassified as it is, where that is to be known; the classes
    /// `i64[n, targets]` that the attack drives to, if it does.
    fn look_at_clean(&mut self) -> Result<Option<Tensor>, TorchError> {
        let driven = needs_clean_logits(self.attack);
        let all = 0..self.found.broken.len();
        let places: Vec<usize> = all
            .filter(|&place| driven || self.radius.at(place) == 0.0)
            .collect();
        if places.is_empty() {
            return Ok(None);
        }
        let index = self.index(&places);
        let (x, y) = self.batch;
        let (x, y) = (x.index_select(0, &index), y.index_select(0, &index));
        let logits = loss::logits(self.model, &x);
        self.count(places.len());
        self.check(&logits, places.len())?;
        for (&place, wrong) in places.iter().zip(wrong(&logits, &y)?) {
            self.found.broken[place] = wrong;
        }
        Ok(driven.then(|| loss::classes(self.attack, &logits, &y)))
    }

    /// One run of the attack.
    fn attack(
        &mut self,
        mut active: Active,
        is_first: bool,
        noise: Option<&Tensor>,
    ) -> Result<(), TorchError> {
        let (attack, steps) = (self.attack, self.attack.steps());
        let radius = self.radius.select(&active.places);
        let lengths = radius.map(|epsilon| step(attack, (epsilon, epsilon), steps));
        let x = self.batch.0.index_select(0, &self.index(&active.places));
        let mut method = start(attack, steps, &x, (&radius, &lengths), noise)?;
        for done in 0..=steps {
            let losses = |logits: &Tensor| active.objective.losses(logits, &active.y);
            let is_last = done == steps;
            let (logits, forward) = if is_last {
                (loss::logits(self.model, method.iterate()), None)
            } else {
                let check = |logits: &Tensor| self.check(logits, active.places.len());
                let check: Option<&Check<'_>> = if done == 0 { Some(&check) } else { None };
                let forward = Forward::run(self.model, method.iterate(), (&losses, check))?;
                (forward.logits.shallow_clone(), Some(forward))
            };
            self.count(active.places.len());
            let wrong = wrong(&logits, &active.y)?;
            self.take(&active.places, &wrong, method.iterate());
            let Some(forward) = forward.filter(|_| wrong.contains(&false)) else {
                break;
            };
            let found = forward.losses.shallow_clone();
            let gradient = forward.gradient();
            self.count(active.places.len());
            if is_first && done == 0 {
                self.note_zeros(&active.places, &gradient)?;
            }
            if !wrong.contains(&true) {
                method.advance(&found, &gradient);
                continue;
            }
            let rest: Vec<usize> = (0..wrong.len()).filter(|&i| !wrong[i]).collect();
            let index = self.index(&rest);
            method.select(&index);
            active = active.select(&rest, &index);
            let (found, gradient) = (
                found.index_select(0, &index),
                gradient.index_select(0, &index),
            );
            method.advance(&found, &gradient);
        }
        Ok(())
    }

    /// Writes down what the iterate breaks.
    fn take(&mut self, places: &[usize], wrong: &[bool], iterate: &Tensor) {
        let broken: Vec<usize> = (0..wrong.len()).filter(|&i| wrong[i]).collect();
        if broken.is_empty() {
            return;
        }
        let at: Vec<usize> = broken.iter().map(|&i| places[i]).collect();
        let images = iterate.index_select(0, &self.index(&broken));
        let index = self.index(&at);
        let delta = &images - self.batch.0.index_select(0, &index);
        let _ = self.found.adversarial.index_copy_(0, &index, &images);
        let lengths = norms(&delta, self.attack.norm()).flatten(0, -1);
        let lengths = Vec::<f32>::try_from(lengths).unwrap_or_default();
        for (place, length) in at.into_iter().zip(lengths) {
            self.found.broken[place] = true;
            // The difference is rounded, and must not count as more than what was allowed.
            self.found.norms[place] = f64::from(length).min(self.radius.at(place));
        }
    }

    fn note_zeros(&mut self, places: &[usize], gradient: &Tensor) -> Result<(), TorchError> {
        let zero = norms(gradient, Norm::Linf).flatten(0, -1).eq(0.0);
        for (&place, zero) in places.iter().zip(bools(&zero)?) {
            // What the start broke has no gradient where it is alone: company must not change that.
            self.found.zero_gradients[place] = zero && !self.found.broken[place];
        }
        Ok(())
    }

    /// Places that the attack is to work on.
    fn unbroken(&self) -> Vec<usize> {
        let all = 0..self.found.broken.len();
        all.filter(|&place| !self.found.broken[place] && self.radius.at(place) > 0.0)
            .collect()
    }

    fn check(&self, logits: &Tensor, images: usize) -> Result<(), TorchError> {
        self.input.check_logits(logits, images, self.attack)
    }

    /// Counts passes of so many images.
    fn count(&mut self, images: usize) {
        self.found.passes += images as u64;
    }

    /// Places as a tensor `i64[m]`.
    #[expect(clippy::cast_possible_wrap, reason = "batches are far below 2^63")]
    fn index(&self, places: &[usize]) -> Tensor {
        let places: Vec<i64> = places.iter().map(|&place| place as i64).collect();
        Tensor::from_slice(&places).to_device(self.batch.0.device())
    }
}

impl Active {
    fn select(&self, rest: &[usize], index: &Tensor) -> Self {
        Self {
            places: rest.iter().map(|&i| self.places[i]).collect(),
            y: self.y.index_select(0, index),
            objective: self.objective.select(index),
        }
    }
}

/// Which predictions are wrong; logits must be numbers.
fn wrong(logits: &Tensor, y: &Tensor) -> Result<Vec<bool>, TorchError> {
    let wrong = logits.argmax(1, false).ne_tensor(y);
    let finite = logits.isfinite().all().unsqueeze(0);
    // Together, so that a GPU is waited for once.
    let mut flags = bools(&Tensor::cat(&[wrong, finite], 0))?;
    match flags.pop() {
        Some(true) => Ok(flags),
        _ => Err(TorchError::NotFinite),
    }
}

fn bools(flags: &Tensor) -> Result<Vec<bool>, TorchError> {
    let flags = flags.to_kind(Kind::Uint8).to_device(tch::Device::Cpu);
    let flags = Vec::<u8>::try_from(flags)?;
    Ok(flags.into_iter().map(|flag| flag == 1).collect())
}
