"""Trainings by temper-torch against a plain PyTorch loop on the same batches and start noise.

MobileNetV2 at 64 pixels on Fashion-MNIST, 20 steps of AdamW along a cosine, adversarial (Madry) and TRADES as its authors'
code has it. Both sides run on one thread, and the network has its channels last in memory on both: in training mode gradients
of batch norm are so badly conditioned that another order of additions shows within a few steps.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

import peer
from peer import Disagreement

EPOCHS = 4
TOLERANCES = {"epoch": 1e-5, "trades": 1e-6}


class Rust:
    """The example `training`, asked line by line."""

    def __init__(self, program: Path, environment: dict[str, str] | None = None, **options: int) -> None:
        command = [str(program), *(f"--{name}={value}" for name, value in options.items())]
        environment = {**os.environ, **(environment or {})}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def __enter__(self) -> Rust:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.wait()

    def ask(self, *words: object) -> str:
        print(*words, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline().strip()
        if not answer:
            raise Disagreement(f"no answer to {words[0]}")
        return answer


def figures(program: Path, folder: Path) -> dict[str, float]:
    """The largest difference of a weight after an adversarial training, and of an epoch's mean TRADES loss."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    with Rust(program, threads=1) as rust:
        return {"epoch": compare(rust, folder, "adversarial")[0], "trades": compare(rust, folder, "trades")[1]}


def compare(rust: Rust, folder: Path, objective: str) -> tuple[float, float]:
    """Largest differences of weights and statistics after the run, and of its epochs' losses."""
    told = json.loads(rust.ask("follow", objective, EPOCHS, folder))
    before, after = (load_file(folder / f"{which}.safetensors") for which in ("before", "after"))
    batches = load_file(folder / "batches.safetensors")
    network, losses = follow(objective, told["settings"], before, batches)
    expected = network.state_dict()
    names = [name for name in expected if not name.endswith("num_batches_tracked")]
    weights = max((expected[name] - after[name]).abs().max().item() for name in names)
    moved = max((before[name] - after[name]).abs().max().item() for name in names)
    per_epoch = [sum(part) / len(part) for part in zip(*[iter(losses)] * (len(losses) // EPOCHS))]
    loss = max(abs(ours - theirs) for ours, theirs in zip(per_epoch, told["losses"], strict=True))
    print(f"{objective}: weights differ by {weights:.1e} at most, losses by {loss:.1e}, of {per_epoch}", flush=True)
    if not moved > 1e-3:
        raise Disagreement(f"{objective}: the training did not move")
    return weights, loss


def follow(objective: str, settings: dict, before: dict[str, Tensor], batches: dict[str, Tensor]) -> tuple[nn.Module, list[float]]:
    """The loop that one would write: the network after it, and the mean loss of each step."""
    network = timm.create_model("mobilenetv2_100", num_classes=len(before["classifier.bias"]))
    network.load_state_dict(before, strict=False)
    peer.drop_nothing(network)
    model = peer.Normalised(network, peer.IMAGENET)
    steps = len(batches) // 3
    optimiser = peer.adamw(network, settings["learning_rate"], settings["weight_decay"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=steps)
    losses = []
    for step in range(steps):
        x, y, noise = (batches[f"{name}.{step}"] for name in ("x", "y", "noise"))
        optimiser.zero_grad(set_to_none=True)
        loss = {"adversarial": madry, "trades": trades}[objective](model, x, y, noise, settings)
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    return network, losses


def madry(model: nn.Module, x: Tensor, y: Tensor, noise: Tensor, settings: dict) -> Tensor:
    """Mean cross-entropy of images crafted in evaluation mode."""
    crafted = peer.pgd(model.eval(), x, y, settings["epsilon"], settings["steps"], noise)
    return functional.cross_entropy(model.train()(crafted), y)


def trades(model: nn.Module, x: Tensor, y: Tensor, noise: Tensor, settings: dict) -> Tensor:
    """The loss of Zhang et al. 2019 (their equation 5): the divergence is the mean over the batch, as their code's."""
    epsilon, size = settings["epsilon"], 2.5 * settings["epsilon"] / settings["steps"]
    model.eval()
    with torch.no_grad():
        clean = functional.softmax(model(x), dim=1)
    crafted = x + 0.001 * noise
    for _ in range(settings["steps"]):
        crafted.requires_grad_(True)
        divergence = functional.kl_div(functional.log_softmax(model(crafted), dim=1), clean, reduction="sum")
        (gradient,) = torch.autograd.grad(divergence, [crafted])
        crafted = peer.project(crafted.detach() + size * gradient.sign(), x, epsilon)
    model.train()
    logits, adversarial = model(x), model(crafted)
    clean, found = functional.softmax(logits, dim=1), functional.log_softmax(adversarial, dim=1)
    divergence = functional.kl_div(found, clean, reduction="sum") / len(x)
    return functional.cross_entropy(logits, y) + settings["beta"] * divergence
