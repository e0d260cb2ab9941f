//! APGD against pyautoattack, and the search of evaluation.
#![expect(
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    reason = "places and pixels of a few images"
)]

use std::cell::RefCell;

use proptest::prelude::*;
use tch::{Kind, Tensor};
use temper_core::attack::{Apgd, ApgdLoss, Attack, Goal, Keep, Norm, Pgd};
use temper_torch::{
    TorchError,
    attack::{Found, Radius, craft, loss, search, trace},
};

use crate::{
    attack::small,
    support::{fixture, formula_images, largest_difference},
};

const EPSILON: f64 = 8.0 / 255.0;

fn apgd(loss: ApgdLoss, steps: u32) -> Attack {
    Attack::Apgd(Apgd::new(loss, steps))
}

/// Five logits by sums over the pixels alone, so that no image's depend on another's, nor on how
/// many there are.
fn linear(x: &Tensor) -> Tensor {
    let pixels = x.flatten(1, -1);
    let count = pixels.size()[1];
    let logits: Vec<Tensor> = (1..=5)
        .map(|class| {
            let weights =
                (Tensor::arange(count, (Kind::Float, x.device())) * f64::from(class)).sin();
            ((&pixels * weights).sum_dim_intlist(1, false, Kind::Float) * 3.0).tanh()
        })
        .collect();
    Tensor::stack(&logits, 1)
}

/// Noise of an image by its place and the run.
fn noise(x: &Tensor) -> impl Fn(u32, &[usize]) -> Tensor + '_ {
    |run, places| {
        let count = x.numel() as i64 / x.size()[0];
        let parts: Vec<Tensor> = places
            .iter()
            .map(|&place| {
                let seed = place as f64 * 13.0 + f64::from(run) * 101.0;
                ((Tensor::arange(count, (Kind::Float, x.device())) + seed) * 7.3).sin() * 0.1
            })
            .collect();
        let mut shape = x.size();
        shape[0] = places.len() as i64;
        Tensor::stack(&parts, 0).reshape(shape)
    }
}

fn labels(x: &Tensor) -> Tensor {
    linear(x).argmax(1, false)
}

fn all_attacks() -> Vec<Attack> {
    let pgd = Pgd {
        restarts: 2,
        ..Pgd::with_steps(5)
    };
    let targeted = ApgdLoss::TargetedDlr { targets: 3 };
    vec![
        Attack::Pgd(pgd),
        Attack::Pgd(Pgd {
            norm: Norm::L2,
            goal: Goal::RunnerUp,
            ..pgd
        }),
        Attack::Pgd(Pgd {
            goal: Goal::LeastLikely,
            keep: Keep::Best,
            ..pgd
        }),
        apgd(ApgdLoss::Ce, 6),
        apgd(ApgdLoss::Dlr, 6),
        apgd(targeted, 6),
    ]
}

#[test]
fn apgd_equals_pyautoattack() {
    tch::set_num_threads(1);
    let fixture = fixture("apgd.safetensors");
    let get = |name: &str| fixture.get(name).unwrap();
    let (x, y) = (formula_images(4, 8), get("labels").to_kind(Kind::Int64));
    let classes = get("classes").to_kind(Kind::Int64);
    let model = |x: &Tensor| small(&fixture, x);
    let targeted = ApgdLoss::TargetedDlr { targets: 3 };
    for (name, loss) in [
        ("ce", ApgdLoss::Ce),
        ("dlr", ApgdLoss::Dlr),
        ("t", targeted),
    ] {
        let class = (name == "t").then_some(&classes);
        let mut compared = 0;
        let best = trace(
            &model,
            (&x, &y),
            &Radius::All(EPSILON),
            &apgd(loss, 30),
            (class, Some(&get("noise"))),
            &mut |iterate| {
                if let Some(expected) = fixture.get(&format!("{name}.{}", iterate.step)) {
                    let difference = largest_difference(iterate.images, &expected);
                    assert!(difference < 1e-6, "{name} {}: {difference}", iterate.step);
                    compared += 1;
                }
            },
        )
        .unwrap();
        assert_eq!(compared, 6);
        // Where the search has converged iterates tie but for rounding, which differs from processor to
        // processor, and another one may be the best: one of the same logits.
        let expected = get(&format!("{name}.best"));
        let images = largest_difference(&best, &expected);
        let logits = largest_difference(&model(&best), &model(&expected));
        let is_tied = images < 1e-4 && logits < 1e-5;
        assert!(images < 1e-6 || is_tied, "{name}: {images}, {logits}");
    }
}

#[test]
fn ratios_of_logits_are_those_of_the_paper() {
    let logits = Tensor::from_slice(&[5.0_f32, 3.0, 1.0, 0.0, 2.0]).reshape([1, 5]);
    let of = |loss: Tensor| loss.double_value(&[0]);
    let class = |class: i64| Tensor::from_slice(&[class]);
    // Right: -(5 - 3) / (5 - 2); wrong: -(3 - 5) / (5 - 2).
    assert!((of(loss::dlr(&logits, &class(0))) + 2.0 / 3.0).abs() < 1e-6);
    assert!((of(loss::dlr(&logits, &class(1))) - 2.0 / 3.0).abs() < 1e-6);
    // -(5 - 1) / (5 - (2 + 1) / 2).
    let targeted = of(loss::targeted_dlr(&logits, &class(0), &class(2)));
    assert!((targeted + 4.0 / 3.5).abs() < 1e-6, "{targeted}");
}

#[test]
fn what_is_found_is_misclassified_and_within_reach() {
    tch::set_num_threads(1);
    let x = formula_images(6, 4);
    let y = labels(&x);
    for attack in all_attacks() {
        let epsilon = if attack.norm() == Norm::L2 { 1.5 } else { 0.2 };
        let found = search(
            &linear,
            (&x, &y),
            &Radius::All(epsilon),
            &attack,
            &noise(&x),
        )
        .unwrap();
        let wrong = linear(&found.adversarial).argmax(1, false).ne_tensor(&y);
        let wrong: Vec<bool> = (0..6).map(|i| wrong.int64_value(&[i]) == 1).collect();
        assert_eq!(wrong, found.broken, "{attack}");
        assert!(found.broken.contains(&true), "{attack} breaks nothing");
        for (place, norm) in found.norms.iter().enumerate() {
            assert!(
                *norm <= epsilon && (*norm > 0.0) == found.broken[place],
                "{attack} {norm}"
            );
        }
        let (low, high) = found.adversarial.aminmax(None, false);
        assert!(low.double_value(&[]) >= 0.0 && high.double_value(&[]) <= 1.0);
    }
}

#[test]
fn broken_images_leave_and_passes_count_what_was_run() {
    let x = formula_images(6, 4);
    let y = labels(&x);
    for attack in all_attacks() {
        let seen = RefCell::new(Vec::new());
        let model = |x: &Tensor| {
            seen.borrow_mut().push(x.size()[0]);
            linear(x)
        };
        let radius = Radius::Each(vec![0.0, 0.01, 0.1, 0.2, 0.4, 0.6]);
        let found = search(&model, (&x, &y), &radius, &attack, &noise(&x)).unwrap();
        let forward: i64 = seen.borrow().iter().sum();
        let forward = u64::try_from(forward).unwrap();
        assert!(
            found.passes > forward && found.passes <= 2 * forward,
            "{attack}"
        );
        assert!(!found.broken[0] && found.adversarial.get(0) == x.get(0));
    }
    // All are wrong from the start: one forward pass each, and nothing after it.
    let other = (&y + 1).remainder(5);
    let found = search(
        &linear,
        (&x, &other),
        &Radius::All(1e-6),
        &apgd(ApgdLoss::Ce, 9),
        &noise(&x),
    );
    let found = found.unwrap();
    assert!(found.passes == 6 && !found.broken.contains(&false));
}

#[test]
fn gradients_that_are_zero_are_told() {
    let x = formula_images(2, 4);
    let y = Tensor::from_slice(&[0_i64, 0]);
    // The second image's logits do not depend on its pixels.
    let mask = Tensor::from_slice(&[1.0_f32, 0.0]).reshape([2, 1]);
    let model = |x: &Tensor| {
        let sum = x.flatten(1, -1).sum_dim_intlist(1, true, Kind::Float) * 1e-3 * &mask;
        Tensor::cat(&[&sum + 1.0, -sum], 1)
    };
    let attack = Attack::Pgd(Pgd::with_steps(3));
    let found = search(&model, (&x, &y), &Radius::All(0.01), &attack, &noise(&x)).unwrap();
    assert_eq!(found.zero_gradients, [false, true]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let x = formula_images(2, 4);
    let y = labels(&x);
    let bad = |result: Result<Found, TorchError>| matches!(result, Err(TorchError::BadInput(_)));
    let pgd = Attack::Pgd(Pgd::with_steps(2));
    let run =
        |y: &Tensor, radius: Radius, attack| search(&linear, (&x, y), &radius, attack, &noise(&x));
    assert!(run(&y, Radius::All(0.1), &pgd).is_ok());
    assert!(bad(run(&y, Radius::Each(vec![0.1]), &pgd)));
    assert!(bad(run(&y, Radius::Each(vec![0.1, f64::NAN]), &pgd)));
    assert!(bad(run(&(&y + 5), Radius::All(0.1), &pgd)));
    assert!(bad(run(&(&y - 9), Radius::All(0.1), &pgd)));
    let three = |x: &Tensor| linear(x).narrow(1, 0, 3);
    let targeted = apgd(ApgdLoss::TargetedDlr { targets: 2 }, 3);
    let y = y.zeros_like();
    let few = search(&three, (&x, &y), &Radius::All(0.1), &targeted, &noise(&x));
    assert!(bad(few));
    let crafted = craft(&three, (&x, &y), (0.1, 0.1), &targeted, 3, None);
    assert!(matches!(crafted, Err(TorchError::BadInput(_))));
    let nan = |x: &Tensor| linear(x) * f64::NAN;
    let found = search(&nan, (&x, &y), &Radius::All(0.1), &pgd, &noise(&x));
    assert!(matches!(found, Err(TorchError::NotFinite)));
}

#[test]
fn fewer_steps_of_a_relative_size_go_as_far() {
    let x = Tensor::full([1, 3, 4, 4], 0.5, (Kind::Float, tch::Device::Cpu));
    let y = labels(&x);
    let attack = Attack::Pgd(Pgd {
        random_start: false,
        ..Pgd::with_steps(10)
    });
    // One step of 2.5 epsilon is cut to epsilon; of the unscaled size it would be a quarter.
    let crafted = craft(&linear, (&x, &y), (0.04, 0.08), &attack, 1, None).unwrap();
    assert!((largest_difference(&crafted, &x) - 0.04).abs() < 1e-6);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn company_changes_nothing(
        which in 0..6_usize,
        epsilons in prop::collection::vec(prop_oneof![Just(0.0), 0.001..0.6_f64], 5),
    ) {
        tch::set_num_threads(1);
        let x = formula_images(5, 4);
        let y = labels(&x);
        let attack = all_attacks()[which];
        let each = Radius::Each(epsilons.clone());
        let together = search(&linear, (&x, &y), &each, &attack, &noise(&x)).unwrap();
        for (place, epsilon) in epsilons.into_iter().enumerate() {
            let (x1, y1) = (x.narrow(0, place as i64, 1), y.narrow(0, place as i64, 1));
            let of = |run: u32, _: &[usize]| noise(&x)(run, &[place]);
            let alone = search(&linear, (&x1, &y1), &Radius::All(epsilon), &attack, &of).unwrap();
            prop_assert_eq!(alone.broken[0], together.broken[place]);
            prop_assert_eq!(alone.norms[0].to_bits(), together.norms[place].to_bits());
            prop_assert_eq!(alone.zero_gradients[0], together.zero_gradients[place]);
            prop_assert_eq!(alone.adversarial.get(0), together.adversarial.get(place as i64));
        }
    }

    #[test]
    fn crafted_images_stay_within_reach(which in 0..6_usize, epsilon in 0.001..0.6_f64, steps in 1..7_u32) {
        let x = formula_images(3, 4);
        let (y, attack) = (labels(&x), all_attacks()[which]);
        let noise = noise(&x)(0, &[0, 1, 2]);
        let crafted = craft(&linear, (&x, &y), (epsilon, epsilon), &attack, steps, Some(&noise)).unwrap();
        let delta = (&crafted - &x).flatten(1, -1);
        let far = if attack.norm() == Norm::L2 { delta.norm_scalaropt_dim(2, [1], false) } else { delta.abs().amax([1], false) };
        prop_assert!(far.max().double_value(&[]) <= epsilon + 1e-6);
        let (low, high) = crafted.aminmax(None, false);
        prop_assert!(low.double_value(&[]) >= 0.0 && high.double_value(&[]) <= 1.0);
    }
}
