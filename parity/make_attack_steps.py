"""What torchattacks' PGD and pyautoattack's APGD do with given gradients: `attack_steps.safetensors`.

Of each attack the gradient and, for APGD, the losses of every iterate, some iterates, and the result. Replayed, they check an
update rule exactly on any processor, since no network is computed.
"""

from typing import Callable
from unittest import mock

import torch
import torchattacks
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from safetensors.torch import save_file
from torch import Tensor, nn

from check_attacks import Recorded
from images import FIXTURES, formula_images
from make_pgd import Small

EPSILON, EPSILON_L2, SHARE = 8 / 255, 0.5, 0.25
STEPS, ITERATIONS = 10, 20
KEPT = (0, 1, 2, 5, 9, 15)


class Gradients:
    """Keeps what torch.autograd.grad gives while it is entered."""

    def __enter__(self) -> list[Tensor]:
        kept, grad = [], torch.autograd.grad

        def recording(*arguments: object, **options: object) -> tuple[Tensor, ...]:
            found = grad(*arguments, **options)
            kept.append(found[0].clone())
            return found

        self.patch = mock.patch.object(torch.autograd, "grad", recording)
        self.patch.start()
        return kept

    def __exit__(self, *_: object) -> None:
        self.patch.stop()


def main() -> None:
    torch.manual_seed(2)
    torch.set_num_threads(1)
    network = Small().eval().requires_grad_(False)
    images = formula_images(4, 8)
    order = network(images).sort(dim=1)[1]
    labels, target = order[:, -1], order[:, -3]
    uniform = torch.rand(images.shape)
    tensors = {"images": images, "noise": 2 * uniform - 1}
    tensors |= pgd(network, images, labels, "linf", 2 * uniform - 1)
    tensors |= pgd(network, images, labels, "l2", 2 * uniform - 1)
    cases: dict[str, tuple[APGDAttack, Callable]] = {
        "ce": (apgd(APGDAttack, network, loss="ce"), nn.CrossEntropyLoss(reduction="none")),
        "dlr": (made := apgd(APGDAttack, network, loss="dlr"), made.dlr_loss),
        "t": (made := apgd(APGDAttack_targeted, network), made.dlr_loss_targeted),
    }
    for name, (attack, losses) in cases.items():
        attack.y_target = target
        attack.init_hyperparam(images)
        with Gradients() as gradients, mock.patch.object(torch, "rand", lambda shape: uniform):
            best, *_ = attack.attack_single_run(images, labels)
        seen = attack.model.seen
        tensors |= {f"{name}.loss.{step}": losses(network(x), labels) for step, x in enumerate(seen)}
        tensors |= recorded(name, gradients, seen, best)
    kept = {name: value.detach().contiguous().clone() for name, value in tensors.items()}
    save_file(kept, FIXTURES / "attack_steps.safetensors")


def pgd(network: nn.Module, images: Tensor, labels: Tensor, norm: str, noise: Tensor) -> dict[str, Tensor]:
    """The start of l2 is not torchattacks' draw: any point will do."""
    model = Recorded(network)
    kind, epsilon = {"linf": (torchattacks.PGD, EPSILON), "l2": (torchattacks.PGDL2, EPSILON_L2)}[norm]
    attack = kind(model, epsilon, SHARE * epsilon, STEPS, random_start=norm == "linf")
    with Gradients() as gradients, mock.patch.object(torch.Tensor, "uniform_", lambda self, low, high: noise * high):
        result = attack(images, labels)
    return recorded(norm, gradients, [*model.seen, result], result)


def apgd(kind: type, network: nn.Module, **options: str) -> APGDAttack:
    return kind(Recorded(network), n_iter=ITERATIONS, eps=EPSILON, device="cpu", **options)


def recorded(name: str, gradients: list[Tensor], iterates: list[Tensor], result: Tensor) -> dict[str, Tensor]:
    found = {f"{name}.gradient.{step}": gradient for step, gradient in enumerate(gradients)}
    return found | {f"{name}.{step}": iterates[step] for step in KEPT if step < len(iterates)} | {f"{name}.result": result}


if __name__ == "__main__":
    main()
