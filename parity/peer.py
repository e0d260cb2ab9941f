"""What timm's networks compute, on weights that hide nothing."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Iterator

import torch
from safetensors.torch import save_file
from timm.models.convnext import ConvNeXt
from timm.models.efficientnet import EfficientNet
from torch import Tensor, nn

NORMS = (nn.LayerNorm, nn.BatchNorm2d)
CHANNELS_LAST = (ConvNeXt, EfficientNet)
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
CLIP = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
LITE = ([127 / 255] * 3, [128 / 255] * 3)


class Disagreement(Exception):
    """What differs, or what the Rust side said."""


class Normalised(nn.Module):
    """A network of timm's on pixels in [0, 1], with its channels last in memory, as temper-torch has it on a processor."""

    def __init__(self, network: nn.Module, normalisation: tuple) -> None:
        super().__init__()
        mean, deviation = (torch.tensor(values).reshape(1, 3, 1, 1) for values in normalisation)
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(((x - self.mean) / self.deviation).contiguous(memory_format=torch.channels_last))


def pgd(model: nn.Module, x: Tensor, y: Tensor, epsilon: float, steps: int, noise: Tensor) -> Tensor:
    """PGD as one would write it with care: steps of 2.5 / steps epsilon from x + epsilon * noise, the input's gradient alone."""
    size = 2.5 / steps * epsilon
    adversarial = (x + epsilon * noise).clamp_(0, 1)
    for _ in range(steps):
        adversarial.requires_grad_(True)
        loss = nn.functional.cross_entropy(model(adversarial), y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, [adversarial])
        with torch.no_grad():
            adversarial = project(adversarial.detach().add_(gradient.sign_(), alpha=size), x, epsilon)
    return adversarial


def project(moved: Tensor, x: Tensor, epsilon: float) -> Tensor:
    """Back within epsilon of x and into [0, 1], in place, in torchattacks' order: in another one pixels differ in their last
    bit, and the signs of some gradients with them."""
    return moved.sub_(x).clamp_(-epsilon, epsilon).add_(x).clamp_(0, 1)


def adamw(network: nn.Module, rate: float, decay: float) -> torch.optim.AdamW:
    """No decay on biases and norms, which are the tensors of one dimension."""
    parameters = list(network.parameters())
    decayed = {"params": [p for p in parameters if p.dim() > 1], "weight_decay": decay}
    return torch.optim.AdamW([decayed, {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0}], lr=rate)


@torch.no_grad()
def redraw(model: nn.Module, seed: int) -> None:
    """Draws every parameter and buffer anew: default initialisations (layer scale 1e-6, zero biases) hide errors.

    Weights of norms, layer scale and running variances U(.5, 1.5); biases, tables, tokens and running means normal
    with standard deviation .1; other weights normal with variance 1 / fan-in.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, tensor, module in _tensors(model):
        last = name.rsplit(".", 1)[-1]
        if last == "num_batches_tracked":
            tensor.fill_(7)
        elif last in ("gamma", "running_var") or (last == "weight" and isinstance(module, NORMS)):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif last in ("bias", "running_mean", "relative_position_bias_table", "pos_embed", "cls_token"):
            tensor.normal_(0, 0.1, generator=generator)
        elif last == "weight" and isinstance(module, (nn.Conv2d, nn.Linear)):
            tensor.normal_(0, 1 / math.sqrt(tensor[0].numel()), generator=generator)
        else:
            raise ValueError(f"no rule for {name}")


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor, nn.Module]]:
    """Every stored tensor, with the module that holds it."""
    derived = ("relative_position_index", "attn_mask")
    for path, module in model.named_modules():
        held = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for name, tensor in held:
            if name not in derived:
                yield f"{path}.{name}".lstrip("."), tensor, module


def drop_nothing(model: nn.Module) -> nn.Module:
    """Turns stochastic depth and dropout off, which some members have on by default."""
    for module in model.modules():
        if hasattr(module, "drop_prob"):
            module.drop_prob = 0.0
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model


def expected(model: nn.Module, inputs: Tensor, normalisation: tuple, train: bool) -> dict[str, Tensor]:
    """Output, and the gradients in the pixels and in every parameter of a fixed random projection of the output.

    In training mode also what becomes of the running statistics; they are put back afterwards.

    Images have their channels last in memory where temper-torch has them so on a processor. That changes no value but
    by rounding; yet gradients of a deep network of rectifiers and batch norms in training mode are so badly conditioned
    (single against double precision: up to 2e-2 in resnet50) that only equal kernels in an equal order make a
    comparison at 1e-4 possible.
    """
    model.train(train)
    kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
    shape = (1, 3, 1, 1)
    mean, deviation = (torch.tensor(values, dtype=inputs.dtype).reshape(shape) for values in normalisation)
    pixels = inputs.clone().requires_grad_(True)
    normalised = (pixels - mean) / deviation
    if isinstance(model, CHANNELS_LAST):
        normalised = normalised.contiguous(memory_format=torch.channels_last)
    output = model(normalised)
    parameters = dict(model.named_parameters())
    weights = projection(output)
    gradients = torch.autograd.grad((output * weights).sum(), [pixels, *parameters.values()])
    found = {"projection": weights, "output": output.detach(), "input_gradient": gradients[0]}
    found |= {f"gradient.{name}": gradient for name, gradient in zip(parameters, gradients[1:])}
    if train:
        statistics = ((name, buffer) for name, buffer in model.named_buffers() if "running_" in name)
        found |= {f"buffer.{name}": buffer.clone() for name, buffer in statistics}
        for name, buffer in model.named_buffers():
            buffer.copy_(kept[name])
    return {name: tensor.contiguous().clone() for name, tensor in found.items()}


def projection(output: Tensor) -> Tensor:
    """The fixed weights of the scalar whose gradients are compared."""
    return torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output.dtype)


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under names that begin with `prefix`."""
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """The state as the hub has it."""
    return {name: tensor.detach().contiguous().clone() for name, tensor in model.state_dict().items()}


def architecture(name: str, classes: int, size: int, normalisation: tuple, prefix: str = "") -> dict:
    """What the Rust side builds: the fields of its `Architecture`."""
    mean, std = normalisation
    return {
        "name": name,
        "classes": classes,
        "normalisation": {"mean": mean, "std": std},
        "prefix": prefix,
        "image_size": size,
    }


def save(tensors: dict[str, Tensor], path: Path, described: dict) -> None:
    """Writes tensors with the architecture in the metadata."""
    save_file(tensors, path, metadata={"temper": json.dumps(described)})
