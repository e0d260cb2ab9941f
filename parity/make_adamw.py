"""Parameters after each of a few steps of torch's AdamW, with gradients given."""

import torch
from safetensors.torch import save_file

from images import FIXTURES

RATES = [1e-3, 5e-3, 1e-2, 2e-3, 1e-4]
HEAD_FACTOR, WEIGHT_DECAY = 10.0, 0.1


def main() -> None:
    torch.manual_seed(0)
    backbone = {"layer.weight": torch.randn(3, 4), "layer.bias": torch.randn(3)}
    head = {"classifier.weight": torch.randn(2, 3), "classifier.bias": torch.randn(2)}
    values = {**backbone, **head}
    tensors = {f"start.{name}": value.clone() for name, value in values.items()}
    for value in values.values():
        value.requires_grad_(True)
    groups = [
        {"params": [value], "weight_decay": WEIGHT_DECAY if value.dim() > 1 else 0.0, "factor": factor}
        for part, factor in ((backbone, 1.0), (head, HEAD_FACTOR))
        for value in part.values()
    ]
    optimiser = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, foreach=False)
    for step, rate in enumerate(RATES):
        for group in optimiser.param_groups:
            group["lr"] = rate * group["factor"]
        for name, value in values.items():
            value.grad = torch.randn(value.shape)
            tensors[f"gradient{step}.{name}"] = value.grad.clone()
        optimiser.step()
        tensors.update({f"after{step}.{name}": value.detach().clone() for name, value in values.items()})
    save_file(tensors, FIXTURES / "adamw.safetensors")


if __name__ == "__main__":
    main()
