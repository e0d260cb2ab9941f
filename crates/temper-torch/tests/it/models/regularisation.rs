//! What training leaves out at random.

use tch::Tensor;
use temper_torch::models::{Draws, Mode, Network};

use super::families::{PLANS_OF_LAYER_NORM, with_architecture};
use crate::support::{formula_images, largest_difference};

fn draws(samples: &[usize], epoch: u32) -> Mode<'_> {
    Mode::Train(Draws {
        seed: 3,
        epoch,
        samples,
    })
}

fn logits(network: &Network, x: &Tensor, mode: Mode) -> Tensor {
    network.logits(x, mode).detach()
}

#[test]
fn samples_drop_by_their_index_whatever_batch_they_are_in() {
    for name in PLANS_OF_LAYER_NORM {
        for (drop_path, dropout) in [(0.5, 0.0), (0.0, 0.5)] {
            let (network, side) = with_architecture(name, |architecture| {
                architecture.drop_path = drop_path;
                architecture.dropout = dropout;
            });
            let x = formula_images(4, side);
            let whole = logits(&network, &x, draws(&[40, 41, 42, 43], 0));
            let part = logits(&network, &x.narrow(0, 2, 2), draws(&[42, 43], 0));
            let difference = largest_difference(&whole.narrow(0, 2, 2), &part);
            assert!(difference < 1e-5, "{name}: {difference}");
            let again = logits(&network, &x, draws(&[40, 41, 42, 43], 1));
            assert_ne!(whole, again, "{name}: another epoch, other draws");
            let evaluated = logits(&network, &x, Mode::Evaluate);
            assert_ne!(whole, evaluated, "{name}: training drops");
        }
    }
}

#[test]
fn nothing_is_dropped_by_default_nor_in_evaluation() {
    for name in PLANS_OF_LAYER_NORM {
        let (network, side) = with_architecture(name, |_| {});
        let (dropping, _) = with_architecture(name, |architecture| {
            (architecture.drop_path, architecture.dropout) = (0.5, 0.5);
        });
        let x = formula_images(2, side);
        let plain = logits(&network, &x, Mode::Evaluate);
        assert_eq!(plain, logits(&network, &x, draws(&[0, 1], 0)), "{name}");
        assert_eq!(plain, logits(&dropping, &x, Mode::Evaluate), "{name}");
    }
}
