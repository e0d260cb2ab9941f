"""Iterates of pyautoattack's APGD on a small network, with its start noise injected."""

from unittest import mock

import torch
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from safetensors.torch import save_file

from check_attacks import Recorded
from images import FIXTURES, formula_images
from make_pgd import Small

EPSILON, ITERATIONS = 8 / 255, 30
KEPT = (0, 1, 2, 8, 15, 30)


def main() -> None:
    torch.manual_seed(1)
    torch.set_num_threads(1)
    network = Small().eval().requires_grad_(False)
    images = formula_images(4, 8)
    uniform = torch.rand(images.shape)
    order = network(images).sort(dim=1)[1]
    labels = order[:, -1]
    tensors = {"noise": 2 * uniform - 1, "labels": labels.float(), "classes": order[:, -3].float()}
    attacks = {
        "ce": lambda model: APGDAttack(model, n_iter=ITERATIONS, eps=EPSILON, loss="ce", device="cpu"),
        "dlr": lambda model: APGDAttack(model, n_iter=ITERATIONS, eps=EPSILON, loss="dlr", device="cpu"),
        "t": lambda model: APGDAttack_targeted(model, n_iter=ITERATIONS, eps=EPSILON, device="cpu"),
    }
    for name, make in attacks.items():
        model = Recorded(network)
        attack = make(model)
        attack.init_hyperparam(images)
        attack.y_target = order[:, -3]
        with mock.patch.object(torch, "rand", lambda shape: uniform):
            best, *_ = attack.attack_single_run(images, labels)
        tensors |= {f"{name}.{step}": model.seen[step] for step in KEPT} | {f"{name}.best": best}
    tensors |= network.state_dict()
    kept = {name: value.contiguous().clone() for name, value in tensors.items()}
    save_file(kept, FIXTURES / "apgd.safetensors")


if __name__ == "__main__":
    main()
