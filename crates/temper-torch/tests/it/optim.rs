//! `AdamW` against torch's.

use temper_torch::{
    models::Parameter,
    optim::{AdamW, Rates},
    tensors::{Tensors, write},
};

use crate::support::{fixture, largest_difference};

const NAMES: [&str; 4] = [
    "classifier.bias",
    "classifier.weight",
    "layer.bias",
    "layer.weight",
];
/// As in `parity/make_adamw.py`.
const RATES: [f64; 5] = [1e-3, 5e-3, 1e-2, 2e-3, 1e-4];
const WEIGHT_DECAY: f64 = 0.1;

fn optimiser(fixture: &Tensors, prefix: &str) -> AdamW {
    let parameter = |name: &&str| {
        let tensor = fixture.get(&format!("{prefix}.{name}")).unwrap();
        Parameter {
            name: (*name).to_owned(),
            tensor,
            trainable: true,
            is_head: name.starts_with("classifier."),
        }
    };
    AdamW::over(
        &NAMES.iter().map(parameter).collect::<Vec<_>>(),
        WEIGHT_DECAY,
    )
}

fn step(optimiser: &mut AdamW, fixture: &Tensors, step: usize) {
    let gradient = |name: &&str| fixture.get(&format!("gradient{step}.{name}")).unwrap();
    let rates = Rates {
        backbone: RATES[step],
        head: 10.0 * RATES[step],
    };
    optimiser.step(&NAMES.iter().map(gradient).collect::<Vec<_>>(), rates);
}

#[test]
fn adamw_equals_torchs() {
    let fixture = fixture("adamw.safetensors");
    let mut optimiser = optimiser(&fixture, "start");
    for i in 0..RATES.len() {
        step(&mut optimiser, &fixture, i);
        for (name, value) in NAMES.iter().zip(optimiser.parameters()) {
            let expected = fixture.get(&format!("after{i}.{name}")).unwrap();
            let difference = largest_difference(value, &expected);
            assert!(difference < 1e-6, "step {i}, {name}: {difference:e}");
        }
    }
}

#[test]
fn adamw_restored_goes_on_to_the_last_bit() {
    let fixture = fixture("adamw.safetensors");
    let mut through = optimiser(&fixture, "start");
    (0..2).for_each(|i| step(&mut through, &fixture, i));
    let state = write(through.state(), String::new()).unwrap();
    let values: Vec<_> = through
        .parameters()
        .iter()
        .map(|value| value.copy())
        .collect();
    let parameters: Vec<_> = NAMES
        .iter()
        .zip(values)
        .map(|(name, tensor)| Parameter {
            name: (*name).to_owned(),
            tensor,
            trainable: true,
            is_head: name.starts_with("classifier."),
        })
        .collect();
    let mut resumed = AdamW::over(&parameters, WEIGHT_DECAY);
    assert_eq!(
        resumed.state().count(),
        0,
        "no moments before the first step"
    );
    resumed
        .restore(&Tensors::parse("state", &state).unwrap(), through.steps())
        .unwrap();
    for i in 2..RATES.len() {
        step(&mut through, &fixture, i);
        step(&mut resumed, &fixture, i);
    }
    assert_eq!(through.parameters(), resumed.parameters());
}
