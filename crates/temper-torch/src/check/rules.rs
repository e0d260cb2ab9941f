//! The attacks' own arithmetic on a device, apart from what networks compute there.

use serde::Serialize;
use tch::{Kind, Tensor};
use temper_core::attack::{Apgd, ApgdLoss, Attack, Norm, Pgd};

use super::worst;
use crate::{
    Device, TorchError,
    attack::{Radius, trace},
};

/// Of a pixel, where norms are summed in another order.
const ROUNDING: f64 = 1e-6;
const EPSILON: f64 = 8.0 / 255.0;
const STEPS: u32 = 10;

/// The largest difference of a pixel between the device and the processor, over all iterates of an
/// attack on a linear model of two classes, `(w x, -w x)` with weights of ±1/64: the sign of its
/// gradient is exact everywhere, so that only the attack's arithmetic can differ.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rules {
    /// PGD within an `l_inf` bound: must be 0, its arithmetic is of single pixels.
    pub pgd_linf: f64,
    /// PGD within an `l2` bound: norms are sums.
    pub pgd_l2: f64,
    /// APGD on the cross-entropy: its step sizes depend on sums too.
    pub apgd_ce: f64,
}

impl Rules {
    /// Compares `device` with the processor.
    pub(super) fn on(device: Device) -> Result<Self, TorchError> {
        let pgd = |norm| {
            Attack::Pgd(Pgd {
                norm,
                ..Pgd::with_steps(STEPS)
            })
        };
        let apgd = Attack::Apgd(Apgd::new(ApgdLoss::Ce, STEPS));
        Ok(Self {
            pgd_linf: difference(device, &pgd(Norm::Linf), EPSILON)?,
            pgd_l2: difference(device, &pgd(Norm::L2), 0.5)?,
            apgd_ce: difference(device, &apgd, EPSILON)?,
        })
    }

    pub(super) fn complaints(&self) -> Vec<String> {
        let found = [
            ("PGD (l_inf)", self.pgd_linf, 0.0),
            ("PGD (l2)", self.pgd_l2, ROUNDING),
            ("APGD-CE", self.apgd_ce, ROUNDING),
        ];
        let bad = found
            .iter()
            .filter(|(_, found, bar)| found.is_nan() || found > bar);
        bad.map(|(name, found, bar)| {
            format!("{name} differs by {found:.1e} from the processor's, {bar:.0e} is allowed")
        })
        .collect()
    }
}

fn difference(device: Device, attack: &Attack, epsilon: f64) -> Result<f64, TorchError> {
    let (here, there) = (
        iterates(device, attack, epsilon)?,
        iterates(Device::CPU, attack, epsilon)?,
    );
    let pairs = here.iter().zip(&there);
    Ok(worst(
        pairs.map(|(a, b)| (a - b).abs().max().double_value(&[])),
    ))
}

/// Each step's images, on the host.
fn iterates(device: Device, attack: &Attack, epsilon: f64) -> Result<Vec<Tensor>, TorchError> {
    let options = (Kind::Float, tch::Device::Cpu);
    let shape = [4, 3, 16, 16];
    let count: i64 = shape.iter().product();
    // Numbers that sines scatter: any will do, if they are the same everywhere.
    let scattered = |factor: f64| {
        (Tensor::arange(count, options) * factor)
            .sin()
            .reshape(shape)
    };
    let to = |tensor: Tensor| tensor.to_device(device.tch());
    let (x, noise) = (to((scattered(1.7) + 1.0) / 2.0), to(scattered(2.3)));
    let weights = to(scattered(0.9).get(0).sign() / 64.0);
    let y = to(Tensor::from_slice(&[0_i64, 1, 0, 1]));
    let model = |x: &Tensor| {
        let score = (x * &weights).sum_dim_intlist([1, 2, 3].as_slice(), false, Kind::Float);
        Tensor::stack(&[&score, &-&score], 1)
    };
    let mut images = Vec::new();
    let _result = trace(
        &model,
        (&x, &y),
        &Radius::All(epsilon),
        attack,
        (None, Some(&noise)),
        &mut |iterate| images.push(iterate.images.to_device(tch::Device::Cpu).copy()),
    )?;
    Ok(images)
}
