"""Adversarial training and curves against PyTorch and pyautoattack: `make bench-train`.

    bench_train.py COMMAND...

COMMAND is the Rust side (crates/temper-torch/examples/bench_train.rs), which is asked line by line. Both sides run the
same network (MobileNetV2 at 64 pixels) on the same images with as many threads, and take turns; what counts is the median of
each round's ratio. The peer's loop is what one would write with care: the gradient of the input alone, evaluation mode
while crafting, tensors that lie ready. Last line: `bench-train: ok pgd_step_ratio=… …` or `bench-train: FAILED …`.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Dict, List

import timm
import torch
from pyautoattack import AutoAttack
from pyautoattack.autopgd_base import APGDAttack
from safetensors.torch import load_file
from torch import Tensor, nn

import peer

THREADS, ROUNDS, EPOCHS = 1, 5, 4
GRID = [i / 255 for i in range(17)]
BARS = {"pgd_step_ratio": 1.02, "two_hinge_over_floor": 1.03, "scaled_ratio": 0.65, "curve_ratio": 0.25, "curve_gap": 0.01}
ROBUST_AT_LEAST = 0.10


class Normalised(nn.Module):
    """The network on pixels in [0, 1]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in peer.IMAGENET)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network((x - self.mean) / self.std)


class Rust:
    """The other side."""

    def __init__(self, command: List[str]) -> None:
        self.process = subprocess.Popen(
            [*command, "--threads", str(THREADS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, *words: object) -> str:
        print(*words, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline().strip()
        if not answer:
            raise RuntimeError(f"no answer to {words[0]}")
        return answer


def main(command: List[str]) -> int:
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as folder:
        try:
            figures = measure(Rust(command), Path(folder))
        except RuntimeError as error:
            print(f"bench-train: FAILED {error}")
            return 1
    said = " ".join(f"{key}={value:.3f}" for key, value in figures.items())
    missed = [key for key, bar in BARS.items() if abs(figures[key]) > bar]
    if missed:
        print(f"bench-train: FAILED {', '.join(f'{key} above {BARS[key]}' for key in missed)}: {said}")
        return 1
    print("bench-train: ok", said)
    return 0


def measure(rust: Rust, folder: Path) -> Dict[str, float]:
    """All figures."""
    settings = json.loads(rust.ask("write", folder))
    images = load_file(folder / "images.safetensors")
    images["y"], images["test_y"] = images["y"].long(), images["test_y"].long()
    figures = training(rust, settings, images)
    return {**figures, **curves(rust, settings, images, folder)}


def training(rust: Rust, settings: dict, images: Dict[str, Tensor]) -> Dict[str, float]:
    """Ratios of training times."""
    network = model(settings["weights"])
    ratios: Dict[str, List[float]] = {"pgd_step_ratio": [], "two_hinge_over_floor": [], "scaled_ratio": []}
    for round_ in range(ROUNDS + 1):
        theirs = peer_epoch(network, settings, images)
        fixed = float(rust.ask("train", "fixed", "fixed", 1))
        plain = float(rust.ask("train", "standard", "fixed", 1))
        hinge = float(rust.ask("train", "two-hinge", "fixed", EPOCHS))
        scaled = float(rust.ask("train", "two-hinge", "scaled", EPOCHS))
        if round_ == 0:
            continue  # Warm-up.
        # A quarter of the steps craft nothing.
        floor = EPOCHS * (0.25 * plain + 0.75 * fixed)
        ratios["pgd_step_ratio"].append(fixed / theirs)
        ratios["two_hinge_over_floor"].append(hinge / floor)
        ratios["scaled_ratio"].append(scaled / (EPOCHS * fixed))
        print(
            f"round {round_}: peer {theirs:.2f} s, fixed {fixed:.2f}, standard {plain:.2f}, two-hinge {hinge:.2f} of "
            f"{floor:.2f} ({floor / EPOCHS / fixed:.2f} of crafting always), scaled {scaled:.2f}",
            flush=True,
        )
    return {key: statistics.median(values) for key, values in ratios.items()}


def model(weights: str) -> nn.Module:
    """MobileNetV2 with the pretrained weights and a fresh head."""
    network = timm.create_model("mobilenetv2_100", num_classes=10)
    network.load_state_dict(load_file(weights), strict=False)
    nn.init.normal_(network.classifier.weight, std=0.01)
    nn.init.zeros_(network.classifier.bias)
    return Normalised(network)


def peer_epoch(network: nn.Module, settings: dict, images: Dict[str, Tensor]) -> float:
    """Seconds of an epoch of adversarial training by PGD."""
    decayed = [p for p in network.parameters() if p.dim() > 1]
    plain = [p for p in network.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 1e-2}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=3e-3)
    batches = list(zip(images["x"].split(settings["batch"]), images["y"].split(settings["batch"])))
    started = time.perf_counter()
    for x, y in batches:
        adversarial = craft(network.eval(), x, y, settings["epsilon"], settings["steps"])
        network.train()
        optimiser.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(network(adversarial), y).backward()
        optimiser.step()
    return time.perf_counter() - started


def craft(network: nn.Module, x: Tensor, y: Tensor, epsilon: float, steps: int) -> Tensor:
    step = 2.5 / steps * epsilon
    adversarial = (x + torch.empty_like(x).uniform_(-epsilon, epsilon)).clamp_(0, 1)
    for _ in range(steps):
        adversarial.requires_grad_(True)
        loss = nn.functional.cross_entropy(network(adversarial), y, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, [adversarial])
        with torch.no_grad():
            adversarial = adversarial.detach().add_(gradient.sign_(), alpha=step)
            adversarial = torch.min(torch.max(adversarial, x - epsilon), x + epsilon).clamp_(0, 1)
    return adversarial


def curves(rust: Rust, settings: dict, images: Dict[str, Tensor], folder: Path) -> Dict[str, float]:
    """The 17-point curve of a robust model, one point after another by pyautoattack and all of them by bisection."""
    rust.ask("train", "fixed", "fixed", 12)
    file = folder / "trained.safetensors"
    rust.ask("save", file)
    network = timm.create_model("mobilenetv2_100", num_classes=10)
    network.load_state_dict(load_file(file), strict=False)
    network = Normalised(network).eval()
    x, y = images["test_x"], images["test_y"]
    robust = accuracy(network, craft(network, x, y, settings["epsilon"], 10), y)
    print(f"trained with fixed 4/255: {accuracy(network, x, y):.3f} clean, {robust:.3f} under PGD-10", flush=True)
    if robust < ROBUST_AT_LEAST:
        raise RuntimeError(f"the model's accuracy under PGD-10 is {robust:.3f}, not at least {ROBUST_AT_LEAST}")
    ratios, gaps, facts = [], [], {}
    for round_ in range(ROUNDS):
        started = time.perf_counter()
        naive = [point(network, x, y, epsilon, settings["iterations"]) for epsilon in GRID]
        theirs = time.perf_counter() - started
        facts = json.loads(rust.ask("curve", "bisect", file))
        ratios.append(facts["seconds"] / theirs)
        gaps.append(facts["expected"] - area(naive))
        print(
            f"round {round_ + 1}: pyautoattack {theirs:.1f} s, area {area(naive):.4f}; bisection {facts['seconds']:.1f} s, "
            f"area {facts['expected']:.4f}, audit {facts.get('audit')}",
            flush=True,
        )
    return {"curve_ratio": statistics.median(ratios), "curve_gap": statistics.median(gaps), **audit(facts)}


def audit(facts: dict) -> Dict[str, float]:
    return {"audit_gap": facts["audit"]["gap"]} if facts.get("audit") else {}


def point(network: nn.Module, x: Tensor, y: Tensor, epsilon: float, iterations: int) -> float:
    """Accuracy at one strength; without one nothing is crafted."""
    if epsilon == 0:
        return accuracy(network, x, y)
    attack = AutoAttack(network, eps=epsilon, version="custom", attacks=["apgd-ce"], seed=0)
    # Its own has 100 iterations and five restarts; the schedule of step sizes is fixed when it is made.
    attack.apgd = APGDAttack(network, n_iter=iterations, eps=epsilon, seed=0, device="cpu", logger=attack.logger)
    adversarial = attack.run_standard_evaluation(x, y)
    return accuracy(network, adversarial, y)


def accuracy(network: nn.Module, x: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        return (network(x).argmax(1) == y).float().mean().item()


def area(curve: List[float]) -> float:
    """Expected robustness by the trapezoidal rule on an even grid."""
    return (sum(curve) - (curve[0] + curve[-1]) / 2) / (len(curve) - 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
