"""Images jittered, rotated, and both after a flip, by torchvision with the numbers given."""

import itertools

import torch
from safetensors.torch import save_file
from torchvision.transforms import functional as v1
from torchvision.transforms.v2 import functional as v2

from images import FIXTURES, formula_images

ADJUST = [v2.adjust_brightness, v2.adjust_contrast, v2.adjust_saturation]
ORDERS = torch.tensor(list(itertools.permutations(range(3))) * 2)
DEGREES = [0.0, 2.0, -2.0, 0.37, -1.61, 10.5, -45.0, 89.0, 90.0, -90.0, 137.2, 180.0]
# Even and odd: the centre lies between pixels, or on one.
SIDES = (24, 25)


def jitter(image: torch.Tensor, order: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    for index in order.tolist():
        image = ADJUST[index](image, factors[index].item())
    return image


def rotate(image: torch.Tensor, degrees: float) -> torch.Tensor:
    rotated = v1.rotate(image, degrees, fill=[0.0, 0.0, 0.0])
    assert torch.equal(rotated, v2.rotate(image, degrees, fill=0))
    return rotated


def main() -> None:
    torch.manual_seed(0)
    images = formula_images(len(ORDERS), 16)
    # Wider than any strength in use, so that pixels are clamped.
    factors = torch.rand(len(ORDERS), 3) * 2
    degrees = torch.tensor(DEGREES)
    tensors = {"orders": ORDERS.float(), "factors": factors, "degrees": degrees}
    tensors["jittered"] = torch.stack([jitter(*of) for of in zip(images, ORDERS, factors)])
    for side in SIDES:
        rotated = [rotate(*of) for of in zip(formula_images(len(DEGREES), side), degrees.tolist())]
        # Pixels are copied, so that half precision holds them as bytes.
        tensors[f"rotated{side}"] = (torch.stack(rotated) * 255).round().half()
    whole = [
        rotate(jitter(v2.horizontal_flip(image) if index % 2 else image, order, factor), angle)
        for index, (image, order, factor, angle) in enumerate(zip(images, ORDERS, factors, degrees.tolist()))
    ]
    tensors["whole"] = torch.stack(whole)
    save_file(tensors, FIXTURES / "augment.safetensors")


if __name__ == "__main__":
    main()
