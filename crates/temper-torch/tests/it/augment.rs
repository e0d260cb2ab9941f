//! Augmentation against torchvision, and what its random numbers depend on.

use std::collections::HashMap;

use tch::{Kind, Tensor};
use temper_core::spec::{Augmentation, ColorJitter};
use temper_torch::{
    augment::{Adjustment, Jitter, Variation, draw, vary},
    set_threads,
    tensors::Tensors,
};

use crate::support::{fixture, formula_images, largest_difference};

const ADJUSTMENTS: [Adjustment; 3] = [
    Adjustment::Brightness,
    Adjustment::Contrast,
    Adjustment::Saturation,
];

fn values(fixture: &Tensors<'_>, name: &str) -> Vec<f64> {
    let tensor = fixture
        .get(name)
        .unwrap()
        .to_kind(Kind::Double)
        .flatten(0, -1);
    Vec::try_from(tensor).unwrap()
}

/// The jitters of `parity/make_augment.py`.
fn jitters(fixture: &Tensors<'_>) -> Vec<Jitter> {
    let (orders, factors) = (values(fixture, "orders"), values(fixture, "factors"));
    let step = |order: f64, factors: &[f64]| {
        let index = [0.0, 1.0, 2.0]
            .iter()
            .position(|i| order.total_cmp(i).is_eq());
        (ADJUSTMENTS[index.unwrap()], factors[index.unwrap()])
    };
    orders
        .chunks(3)
        .zip(factors.chunks(3))
        .map(|(order, factors)| Jitter([0, 1, 2].map(|place: usize| step(order[place], factors))))
        .collect()
}

/// Share of the pixels of `a` and `b` that are equal.
fn equal_share(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    let near = (a - b).abs().lt(1e-5).to_kind(Kind::Double);
    near.mean(Kind::Double).double_value(&[])
}

fn paper(samples: &[usize]) -> Vec<Variation> {
    draw(&Augmentation::default(), (3, 5), samples)
}

#[test]
fn jitter_equals_torchvision_in_every_order() {
    let fixture = fixture("augment.safetensors");
    let variations: Vec<_> = jitters(&fixture)
        .into_iter()
        .map(|jitter| Variation {
            jitter,
            ..Variation::NONE
        })
        .collect();
    let jittered = vary(&formula_images(12, 16), &variations);
    let difference = largest_difference(&jittered, &fixture.get("jittered").unwrap());
    println!("largest difference {difference:e}");
    assert!(difference < 1e-5, "{difference}");
}

#[test]
fn rotation_equals_torchvision() {
    let fixture = fixture("augment.safetensors");
    let variations: Vec<_> = values(&fixture, "degrees")
        .into_iter()
        .map(|degrees| Variation {
            degrees,
            ..Variation::NONE
        })
        .collect();
    for side in [24, 25] {
        let rotated = vary(&formula_images(12, side), &variations) * 255.0;
        let expected = fixture
            .get(&format!("rotated{side}"))
            .unwrap()
            .to_kind(Kind::Float);
        let share = equal_share(&(rotated / 255.0), &(expected / 255.0));
        println!("side {side}: {share} of the pixels are equal");
        assert!(share >= 0.999, "side {side}: {share}");
    }
}

#[test]
fn flip_comes_first_then_jitter_then_rotation() {
    let fixture = fixture("augment.safetensors");
    let variations: Vec<_> = jitters(&fixture)
        .into_iter()
        .zip(values(&fixture, "degrees"))
        .enumerate()
        .map(|(index, (jitter, degrees))| Variation {
            mirrored: index % 2 == 1,
            jitter,
            degrees,
        })
        .collect();
    let share = equal_share(
        &vary(&formula_images(12, 16), &variations),
        &fixture.get("whole").unwrap(),
    );
    assert!(share >= 0.999, "{share}");
}

#[test]
fn nothing_to_vary_gives_the_very_same_tensor() {
    let x = formula_images(4, 16);
    let variations = draw(&Augmentation::NONE, (1, 0), &[0, 1, 2, 3]);
    assert_eq!(variations, [Variation::NONE; 4]);
    assert_eq!(vary(&x, &variations).data_ptr(), x.data_ptr());
    // A sample that is left alone keeps its pixels beside others that are not.
    for side in [16, 65, 224] {
        let x = formula_images(2, side);
        let mut variations = paper(&[0, 1]);
        variations[1] = Variation::NONE;
        let varied = vary(&x, &variations);
        assert_eq!(varied.get(1), x.get(1), "side {side}");
        assert_ne!(varied.get(0), x.get(0), "side {side}");
    }
}

#[test]
fn sample_is_varied_alike_in_any_batch_to_the_last_bit() {
    set_threads(1);
    // 65 is odd, so that a sample begins anywhere within a vector of the processor.
    let x = formula_images(13, 65);
    let samples: Vec<usize> = (100..113).collect();
    let together = vary(&x, &paper(&samples));
    for size in [1, 2, 5] {
        let parts: Vec<Tensor> = samples
            .chunks(size)
            .zip(x.split(i64::try_from(size).unwrap(), 0))
            .map(|(samples, x)| vary(&x, &paper(samples)))
            .collect();
        assert_eq!(Tensor::cat(&parts, 0), together, "batches of {size}");
    }
    // Nor does its place matter.
    let last = vary(&x.narrow(0, 12, 1), &paper(&[112]));
    assert_eq!(last.get(0), together.get(12));
}

#[test]
fn varied_images_stay_images() {
    let strong = Augmentation {
        horizontal_flip: true,
        color_jitter: ColorJitter {
            brightness: 1.0,
            contrast: 1.0,
            saturation: 1.0,
        },
        rotation_degrees: 180.0,
    };
    let samples: Vec<usize> = (0..64).collect();
    let varied = vary(&formula_images(64, 20), &draw(&strong, (0, 0), &samples));
    let (low, high) = varied.aminmax(None, false);
    assert!(low.double_value(&[]) >= 0.0 && high.double_value(&[]) <= 1.0);
    assert_eq!(varied.kind(), Kind::Float);
}

#[test]
fn epoch_sample_and_seed_each_change_the_draw_and_nothing_else_does() {
    let settings = Augmentation::default();
    let of = |seed, epoch, sample| draw(&settings, (seed, epoch), &[sample])[0];
    let base = of(1, 2, 3);
    assert_eq!(base, of(1, 2, 3));
    for other in [of(2, 2, 3), of(1, 3, 3), of(1, 2, 4)] {
        assert_ne!(base.jitter, other.jitter);
        assert!((base.degrees - other.degrees).abs() > 0.0);
    }
    // What is off changes no other draw.
    let off = Augmentation {
        horizontal_flip: false,
        rotation_degrees: 0.0,
        ..settings
    };
    let jitter = draw(&off, (1, 2), &[3])[0];
    assert_eq!(
        jitter,
        Variation {
            jitter: base.jitter,
            ..Variation::NONE
        }
    );
}

#[test]
fn draws_have_their_distributions() {
    let samples: Vec<usize> = (0..6000).collect();
    let settings = Augmentation {
        color_jitter: ColorJitter {
            brightness: 0.25,
            contrast: 0.5,
            saturation: 1.0,
        },
        rotation_degrees: 2.0,
        horizontal_flip: true,
    };
    let drawn = draw(&settings, (0, 0), &samples);
    for (adjustment, strength) in ADJUSTMENTS.into_iter().zip([0.25, 0.5, 1.0]) {
        let factors = drawn.iter().map(|variation| {
            let mut steps = variation.jitter.0.iter();
            steps.find(|(of, _)| *of == adjustment).unwrap().1
        });
        assert_uniform(factors.collect(), 1.0 - strength, 1.0 + strength);
    }
    assert_uniform(drawn.iter().map(|v| v.degrees).collect(), -2.0, 2.0);
    let mirrored = drawn.iter().filter(|v| v.mirrored).count();
    assert!((2850..=3150).contains(&mirrored), "{mirrored}");
    let mut orders = HashMap::new();
    for variation in &drawn {
        *orders
            .entry(variation.jitter.0.map(|(of, _)| of))
            .or_insert(0) += 1;
    }
    assert_eq!(orders.len(), 6);
    // Four standard deviations of a binomial count with p = 1/6.
    assert!(
        orders.values().all(|count| (885..=1115).contains(count)),
        "{orders:?}"
    );
}

/// By the Kolmogorov-Smirnov statistic, at a level of about 1e-4.
fn assert_uniform(mut values: Vec<f64>, low: f64, high: f64) {
    values.sort_by(f64::total_cmp);
    assert!(values[0] >= low && values[values.len() - 1] <= high);
    let count = f64::from(u32::try_from(values.len()).unwrap());
    let distance = (0_u32..)
        .zip(&values)
        .map(|(rank, value)| ((value - low) / (high - low) - f64::from(rank) / count).abs())
        .fold(0.0, f64::max);
    assert!(distance < 2.23 / count.sqrt(), "{distance}");
}
