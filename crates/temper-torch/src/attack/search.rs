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
    /// Whether it was stopped before its end: then nothing above is to be relied on.
    pub stopped: bool,
    /// Whether the first gradient in the image is zero in all its pixels, which no attack that
    /// follows gradients can work with; of what the start does not break already.
    pub zero_gradients: Vec<bool>,
}

/// Images with sides of so many pixels in one pass through the model: as many as have the pixels of
/// 32 at 224, from 32 to 128, so that small images fill a pass too. Nobody can set it, because
/// kernels and their order of summation may differ with the size of a batch, and with them the last
/// bits and, rarely, a count.
pub(crate) fn images_of_pass(side: u32) -> usize {
    const PIXELS: usize = 32 * 224 * 224;
    (PIXELS / (side as usize).saturating_pow(2).max(1)).clamp(32, 128)
}

/// Who a search turns to.
pub trait Guide {
    /// Start noise `f32[m, c, h, w]` for a run of the attack on the images at some places, as
    /// [`Attack::noise`] says.
    fn noise(&self, run: u32, places: &[usize]) -> Tensor;

    /// Whether to go on; asked before every iteration.
    fn goes_on(&self) -> bool {
        true
    }
}

impl<F: Fn(u32, &[usize]) -> Tensor> Guide for F {
    fn noise(&self, run: u32, places: &[usize]) -> Tensor {
        self(run, places)
    }
}

/// Looks for images within `radius` of `x` that `model` takes for another class than `y`, `i64[n]`.
///
/// An image is broken by any wrong prediction, of the start or of any iterate, and is not worked on
/// any further. Restarts and, of the targeted DLR, classes run on the others alone; `guide` is
/// asked for a run's start noise, and runs are counted through: with `r` restarts the run `restart`
/// towards the class `t` is `t * r + restart`. Which iterate PGD keeps has no part in it.
///
/// There may be any number of images: the model is shown 32 at a time, of small ones up to 128, of
/// which none is broken yet, so that passes stay full while images leave.
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
    guide: &dyn Guide,
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
                stopped: false,
                zero_gradients: vec![false; input.len()],
            },
        };
        if !input.is_empty() {
            search.run(guide)?;
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

/// What the model says of an iterate.
struct Seen {
    /// Which images it gets wrong.
    wrong: Vec<bool>,
    /// Where the others are to move; none after the last step, or when no image is left.
    moves: Option<Moves>,
}

/// Losses `f32[n]` and gradients `f32[n, c, h, w]`.
struct Moves {
    losses: Tensor,
    gradient: Tensor,
}

impl Search<'_> {
    fn run(&mut self, guide: &dyn Guide) -> Result<(), TorchError> {
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
            let noise = self.attack.noise().map(|_| guide.noise(run, &places));
            let active = Active {
                y: self.batch.1.index_select(0, &index),
                places,
                objective,
            };
            self.attack(active, (run == 0, guide), noise.as_ref())?;
            if self.found.stopped {
                break;
            }
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
        let numbers: Vec<usize> = (0..places.len()).collect();
        let passes = numbers.chunks(self.input.images_of_pass());
        let passes = passes.map(|pass| x.index_select(0, &self.index(pass)));
        let logits: Vec<Tensor> = passes.map(|x| loss::logits(self.model, &x)).collect();
        let logits = Tensor::cat(&logits, 0);
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
        (is_first, guide): (bool, &dyn Guide),
        noise: Option<&Tensor>,
    ) -> Result<(), TorchError> {
        let (attack, steps) = (self.attack, self.attack.steps());
        let radius = self.radius.select(&active.places);
        let lengths = radius.map(|epsilon| step(attack, (epsilon, epsilon), steps));
        let x = self.batch.0.index_select(0, &self.index(&active.places));
        let mut method = start(attack, steps, &x, (&radius, &lengths), noise)?;
        for done in 0..=steps {
            if !guide.goes_on() {
                self.found.stopped = true;
                break;
            }
            let is_last = done == steps;
            let seen = self.look(method.iterate(), &active, (done == 0, is_last))?;
            self.take(&active.places, &seen.wrong, method.iterate())?;
            let rest: Vec<usize> = (0..seen.wrong.len()).filter(|&i| !seen.wrong[i]).collect();
            let Some(moves) = seen.moves.filter(|_| !rest.is_empty()) else {
                break;
            };
            if rest.len() < active.places.len() {
                let index = self.index(&rest);
                method.select(&index);
                active = active.select(&rest, &index);
            }
            if is_first && done == 0 {
                self.note_zeros(&active.places, &moves.gradient)?;
            }
            method.advance(&moves.losses, &moves.gradient);
        }
        Ok(())
    }

    /// Shows the model an iterate, a pass at a time, and takes the gradients of what it gets right.
    fn look(
        &mut self,
        iterate: &Tensor,
        active: &Active,
        (is_first, is_last): (bool, bool),
    ) -> Result<Seen, TorchError> {
        let mut wrong = Vec::new();
        let (mut losses, mut gradients) = (Vec::new(), Vec::new());
        let places: Vec<usize> = (0..active.places.len()).collect();
        for pass in places.chunks(self.input.images_of_pass()) {
            let index = self.index(pass);
            let part = active.select(pass, &index);
            let images = iterate.index_select(0, &index);
            self.count(pass.len());
            if is_last {
                let logits = loss::logits(self.model, &images);
                wrong.extend(self::wrong(&logits, &part.y)?);
                continue;
            }
            let raised = |logits: &Tensor| part.objective.losses(logits, &part.y);
            let check = |logits: &Tensor| self.input.check_logits(logits, pass.len(), self.attack);
            let check: Option<&Check<'_>> = if is_first { Some(&check) } else { None };
            let forward = Forward::run(self.model, &images, (&raised, check))?;
            let of_pass = self::wrong(&forward.logits, &part.y)?;
            let right: Vec<usize> = (0..of_pass.len()).filter(|&i| !of_pass[i]).collect();
            wrong.extend(of_pass);
            if right.is_empty() {
                continue;
            }
            self.count(pass.len());
            let right = self.index(&right);
            losses.push(forward.losses.index_select(0, &right));
            gradients.push(forward.gradient().index_select(0, &right));
        }
        let moves = (!gradients.is_empty()).then(|| Moves {
            losses: Tensor::cat(&losses, 0),
            gradient: Tensor::cat(&gradients, 0),
        });
        Ok(Seen { wrong, moves })
    }

    /// Writes down what the iterate breaks.
    fn take(
        &mut self,
        places: &[usize],
        wrong: &[bool],
        iterate: &Tensor,
    ) -> Result<(), TorchError> {
        let broken: Vec<usize> = (0..wrong.len()).filter(|&i| wrong[i]).collect();
        if broken.is_empty() {
            return Ok(());
        }
        let at: Vec<usize> = broken.iter().map(|&i| places[i]).collect();
        let images = iterate.index_select(0, &self.index(&broken));
        let index = self.index(&at);
        let delta = &images - self.batch.0.index_select(0, &index);
        let _ = self.found.adversarial.index_copy_(0, &index, &images);
        let lengths = norms(&delta, self.attack.norm()).flatten(0, -1);
        let lengths = Vec::<f32>::try_from(lengths)?;
        for (place, length) in at.into_iter().zip(lengths) {
            self.found.broken[place] = true;
            // The difference is rounded, and must not count as more than what was allowed.
            self.found.norms[place] = f64::from(length).min(self.radius.at(place));
        }
        Ok(())
    }

    fn note_zeros(&mut self, places: &[usize], gradient: &Tensor) -> Result<(), TorchError> {
        let zero = norms(gradient, Norm::Linf).flatten(0, -1).eq(0.0);
        for (&place, zero) in places.iter().zip(bools(&zero)?) {
            self.found.zero_gradients[place] = zero;
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
