//! PGD against torchattacks, and its bounds.

use proptest::prelude::*;
use tch::{Kind, Tensor};
use temper_core::{
    ErrorKind,
    attack::{Attack, Pgd, StepSize},
};
use temper_torch::{
    TorchError,
    attack::{Model, craft},
    run,
    tensors::Tensors,
};

use crate::support::{fixture, formula_images, largest_difference};

fn pgd(
    model: &Model<'_>,
    batch: (&Tensor, &Tensor),
    epsilon: f64,
    settings: &Pgd,
    noise: Option<&Tensor>,
) -> Result<Tensor, TorchError> {
    let attack = Attack::Pgd(*settings);
    craft(
        model,
        batch,
        (epsilon, epsilon),
        &attack,
        settings.steps,
        noise,
    )
}

/// The network of `parity/make_pgd.py`.
pub fn small(weights: &Tensors, x: &Tensor) -> Tensor {
    let of = |name: &str| weights.get(name).unwrap();
    let x = x.conv2d(
        &of("conv.weight"),
        Some(of("conv.bias")),
        [2, 2],
        [1, 1],
        [1, 1],
        1,
    );
    x.relu()
        .flatten(1, -1)
        .linear(&of("linear.weight"), Some(of("linear.bias")))
}

fn settings(steps: u32, relative_step_size: f64, random_start: bool) -> Pgd {
    Pgd {
        step_size: StepSize::Relative(relative_step_size),
        random_start,
        ..Pgd::with_steps(steps)
    }
}

#[test]
fn pgd_equals_torchattacks() {
    tch::set_num_threads(1);
    let fixture = fixture("pgd.safetensors");
    let (x, y) = (formula_images(4, 8), Tensor::from_slice(&[0_i64, 1, 2, 3]));
    let model = |x: &Tensor| small(&fixture, x);
    for (name, random_start) in [("with_start", true), ("without_start", false)] {
        let attack = settings(10, 0.25, random_start);
        let noise = fixture.get("noise");
        let crafted = pgd(&model, (&x, &y), 8.0 / 255.0, &attack, noise.as_ref()).unwrap();
        let difference = largest_difference(&crafted, &fixture.get(name).unwrap());
        println!("{name}: largest difference {difference:e}");
        assert!(difference < 1e-6, "{name}: {difference}");
        assert!(largest_difference(&crafted, &x) > 0.03);
    }
}

#[test]
fn one_step_moves_along_the_sign_of_the_gradient_and_not_where_it_is_zero() {
    // Logits (w.x, 0) with label 0: the loss falls along w, so the attack goes against its sign.
    let weight = Tensor::from_slice(&[2.0_f32, -1.0, 0.0]).reshape([3, 1]);
    let model = |x: &Tensor| {
        let first = x.flatten(1, -1).matmul(&weight);
        Tensor::cat(&[&first, &first.zeros_like()], 1)
    };
    let x = Tensor::from_slice(&[0.5_f32, 0.5, 0.5]).reshape([1, 3, 1, 1]);
    let y = Tensor::from_slice(&[0_i64]);
    let crafted = pgd(&model, (&x, &y), 0.1, &settings(1, 0.5, false), None).unwrap();
    let expected = Tensor::from_slice(&[0.45_f32, 0.55, 0.5]).reshape([1, 3, 1, 1]);
    assert!(largest_difference(&crafted, &expected) < 1e-7, "{crafted}");
    let crafted = pgd(&model, (&x, &y), 0.1, &settings(9, 0.5, false), None).unwrap();
    let expected = Tensor::from_slice(&[0.4_f32, 0.6, 0.5]).reshape([1, 3, 1, 1]);
    assert!(largest_difference(&crafted, &expected) < 1e-7, "{crafted}");
}

#[test]
fn no_parameter_gets_a_gradient() {
    let weight = Tensor::ones([2, 3], (Kind::Float, tch::Device::Cpu)).set_requires_grad(true);
    let model = |x: &Tensor| x.flatten(1, -1).linear(&weight, None::<&Tensor>);
    let (x, y) = (formula_images(2, 1), Tensor::from_slice(&[0_i64, 1]));
    let _ = pgd(&model, (&x, &y), 0.1, &settings(2, 0.5, false), None).unwrap();
    assert!(!weight.grad().defined());
}

#[test]
fn epsilon_zero_returns_the_input_without_running_the_model() {
    let model = |_: &Tensor| -> Tensor { panic!("the model was run") };
    let (x, y) = (formula_images(3, 4), Tensor::from_slice(&[0_i64, 1, 2]));
    let noise = x.ones_like();
    let crafted = pgd(&model, (&x, &y), 0.0, &settings(5, 1.0, true), Some(&noise)).unwrap();
    assert_eq!(crafted, x);
}

#[test]
fn pixels_outside_the_unit_interval_are_refused() {
    let model = |x: &Tensor| x.flatten(1, -1);
    let y = Tensor::from_slice(&[0_i64]);
    let attack = settings(1, 1.0, false);
    for bad in [-0.01_f32, 1.01, 255.0, f32::NAN, f32::INFINITY] {
        let x = Tensor::from_slice(&[0.5, bad, 0.5]).reshape([1, 3, 1, 1]);
        let error = pgd(&model, (&x, &y), 0.1, &attack, None).unwrap_err();
        assert!(matches!(error, TorchError::BadInput(_)), "{bad}: {error:?}");
    }
    let x = Tensor::from_slice(&[0.0_f32, 1.0, 0.5]).reshape([1, 3, 1, 1]);
    assert!(pgd(&model, (&x, &y), 0.1, &attack, None).is_ok());
    for epsilon in [-0.1, f64::NAN, f64::INFINITY] {
        assert!(pgd(&model, (&x, &y), epsilon, &attack, None).is_err());
    }
}

#[test]
fn outputs_that_are_no_numbers_are_an_error() {
    let model = |x: &Tensor| x.flatten(1, -1) * f64::NAN;
    let (x, y) = (formula_images(2, 2), Tensor::from_slice(&[0_i64, 1]));
    let error = pgd(&model, (&x, &y), 0.1, &settings(2, 1.0, false), None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Diverged, "{error:?}");
}

#[test]
fn failure_of_the_model_is_an_error_of_one_line() {
    let model = |x: &Tensor| x.matmul(&Tensor::zeros([7, 7], (Kind::Float, tch::Device::Cpu)));
    let (x, y) = (formula_images(2, 2), Tensor::from_slice(&[0_i64, 1]));
    let attack = settings(2, 1.0, false);
    let error = run(|| pgd(&model, (&x, &y), 0.1, &attack, None)).unwrap_err();
    assert_eq!(error.to_string().lines().count(), 1, "{error}");
    assert!(matches!(error, TorchError::Torch(_)), "{error:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn crafted_batch_stays_within_epsilon_and_the_unit_interval(
        epsilon in 0.0..0.6_f64,
        steps in 1..6_u32,
        relative_step_size in 0.01..4.0_f64,
        random_start: bool,
        values in prop::collection::vec(0.0..=1.0_f32, 24),
        noise in prop::collection::vec(-1.0..1.0_f32, 24),
        weights in prop::collection::vec(-3.0..3.0_f32, 36),
    ) {
        let shape = [2, 3, 2, 2];
        let x = Tensor::from_slice(&values).reshape(shape);
        let noise = Tensor::from_slice(&noise).reshape(shape);
        let weights = Tensor::from_slice(&weights).reshape([12, 3]);
        let model = |x: &Tensor| x.flatten(1, -1).matmul(&weights);
        let y = Tensor::from_slice(&[0_i64, 2]);
        let attack = settings(steps, relative_step_size, random_start);
        let crafted = pgd(&model, (&x, &y), epsilon, &attack, Some(&noise)).unwrap();
        // Epsilon, the sum x + delta and this difference are each rounded to single precision.
        prop_assert!(largest_difference(&crafted, &x) <= epsilon + 1.2e-7);
        let (low, high) = crafted.aminmax(None, false);
        prop_assert!(low.double_value(&[]) >= 0.0 && high.double_value(&[]) <= 1.0);
    }
}
