"""Scripted modules for the tests of temper-torch: one that can be trained there, and some that cannot."""

from __future__ import annotations

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import peer
from images import FIXTURES, formula_images

SIZE, FEATURES = 32, 8
FOLDER = FIXTURES / "scripted"


def network() -> nn.Module:
    """Convolutions, batch norms and ReLU: f32[n, 3, 32, 32] to f32[n, 8]."""
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, FEATURES, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(FEATURES),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )
    peer.redraw(model, seed=0)
    return model


def statistics_as_parameters(model: nn.Module) -> nn.Module:
    """What an operator does before scripting: buffers that training changes become parameters that are not trained."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for name in ("running_mean", "running_var"):
                value: Tensor = module._buffers.pop(name)
                module.register_parameter(name, nn.Parameter(value, requires_grad=False))
    return model


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    model = statistics_as_parameters(network())
    x = formula_images(2, SIZE)
    mean, deviation = (torch.tensor(values).reshape(1, 3, 1, 1) for values in peer.IMAGENET)
    scripted = torch.jit.script(model)
    scripted.save(FOLDER / "trainable.pt")
    with torch.no_grad():
        features = {"evaluate": model.eval()((x - mean) / deviation), "train": model.train()((x - mean) / deviation)}
    save_file(features, FOLDER / "features.safetensors")

    torch.jit.script(network()).save(FOLDER / "buffers.pt")
    traced = statistics_as_parameters(network()).eval()
    torch.jit.trace(traced, x).save(FOLDER / "traced.pt")
    torch.jit.script(statistics_as_parameters(network()).requires_grad_(False)).save(FOLDER / "frozen.pt")
    torch.jit.script(statistics_as_parameters(network()).double()).save(FOLDER / "double.pt")
    for path in sorted(FOLDER.iterdir()):
        path.chmod(0o644)
        print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
