"""Adversarial images of torchattacks' PGD on a small network, with its start noise injected."""

from unittest import mock

import torch
import torchattacks
from safetensors.torch import save_file

from images import FIXTURES, formula_images

EPSILON, STEPS, RELATIVE_STEP = 8 / 255, 10, 0.25


class Small(torch.nn.Module):
    """A convolution, ReLU and a linear layer: f32[n, 3, 8, 8] to f32[n, 5]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.linear = torch.nn.Linear(6 * 4 * 4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.conv(x).relu().flatten(1))


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = Small().eval()
    images = formula_images(4, 8)
    labels = torch.tensor([0, 1, 2, 3])
    noise = torch.rand(images.shape) * 2 - 1

    def attack(random_start: bool) -> torch.Tensor:
        pgd = torchattacks.PGD(model, EPSILON, RELATIVE_STEP * EPSILON, STEPS, random_start)
        injected = mock.patch.object(torch.Tensor, "uniform_", lambda self, low, high: noise * high)
        with injected:
            return pgd(images, labels)

    tensors = {
        "noise": noise,
        "with_start": attack(True),
        "without_start": attack(False),
        **{name: value for name, value in model.state_dict().items()},
    }
    save_file({name: value.contiguous() for name, value in tensors.items()}, FIXTURES / "pgd.safetensors")


if __name__ == "__main__":
    main()
