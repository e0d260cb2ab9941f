//! Update rules on the gradients that the peers' attacks found (`parity/make_attack_steps.py`). No
//! network is computed, so that what is exact here is exact on every processor.

use std::path::Path;

use tch::Tensor;
use temper_core::attack::{Apgd, ApgdLoss, Attack, Norm, Pgd, StepSize};

use super::{Radius, method::start};
use crate::tensors::Tensors;

/// Pixels, where norms are summed in another order.
const ROUNDING: f64 = 1e-6;

fn fixture() -> Tensors<'static> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    Tensors::read(&folder.join("attack_steps.safetensors")).unwrap()
}

/// Drives an attack by the recorded gradients; the largest difference from the recorded iterates.
fn replayed(name: &str, attack: &Attack, epsilon: f64) -> f64 {
    let fixture = fixture();
    let get = |what: String| fixture.get(&format!("{name}.{what}"));
    let step = match attack {
        Attack::Pgd(pgd) => pgd.step(epsilon, epsilon),
        Attack::Apgd(_) => epsilon,
    };
    let (radius, step) = (Radius::All(epsilon), Radius::All(step));
    let [images, noise] = ["images", "noise"].map(|name| fixture.get(name).unwrap());
    let steps = attack.steps();
    let bounds = (&radius, &step);
    let mut method = start(attack, steps, &images, bounds, Some(&noise)).unwrap();
    let (mut largest, mut compared) = (0.0_f64, 0);
    let mut compare = |found: &Tensor, expected: &Tensor| {
        let difference = (found - expected).abs().max().double_value(&[]);
        assert!(difference.is_finite());
        largest = largest.max(difference);
        compared += 1;
    };
    for step in 0..steps {
        if let Some(expected) = get(step.to_string()) {
            compare(method.iterate(), &expected);
        }
        // PGD does not look at losses.
        let losses = get(format!("loss.{step}")).unwrap_or_else(|| Tensor::from(0.0));
        method.advance(&losses, &get(format!("gradient.{step}")).unwrap());
    }
    if method.wants_last_losses() {
        method.last(&get(format!("loss.{steps}")).unwrap());
    }
    compare(&method.result(), &get("result".to_owned()).unwrap());
    assert!(compared > 5, "{compared}");
    largest
}

fn pgd(norm: Norm) -> Attack {
    Attack::Pgd(Pgd {
        norm,
        step_size: StepSize::Relative(0.25),
        random_start: norm == Norm::Linf,
        ..Pgd::with_steps(10)
    })
}

#[test]
fn pgd_linf_moves_exactly_as_torchattacks() {
    let difference = replayed("linf", &pgd(Norm::Linf), 8.0 / 255.0);
    assert!(difference <= 0.0, "{difference}");
}

#[test]
fn pgd_l2_moves_as_torchattacks() {
    let difference = replayed("l2", &pgd(Norm::L2), 0.5);
    assert!(difference <= ROUNDING, "{difference}");
}

#[test]
fn apgd_moves_exactly_as_pyautoattack() {
    let losses = [
        ("ce", ApgdLoss::Ce),
        ("dlr", ApgdLoss::Dlr),
        ("t", ApgdLoss::TargetedDlr { targets: 3 }),
    ];
    for (name, loss) in losses {
        let attack = Attack::Apgd(Apgd::new(loss, 20));
        let difference = replayed(name, &attack, 8.0 / 255.0);
        assert!(difference <= 0.0, "{name}: {difference}");
    }
}
