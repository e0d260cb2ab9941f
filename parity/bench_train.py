"""Adversarial training and curves against PyTorch and pyautoattack: `make bench-train`.

usage: bench_train.py TRAINING SCRATCH: the built example `training`, which is asked line by line, and a folder.

Both sides run MobileNetV2 on the same images of Fashion-MNIST on one thread, with its channels last in memory (which is the
faster for PyTorch too), and take turns; what counts is the median of the rounds' ratios. The peer's loop is what one would write
with care: the gradient of the input alone, evaluation mode while crafting, tensors that lie ready. Last line:
`bench-train: ok pgd_step_ratio=... ...` or `bench-train: FAILED ...`.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
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
from check_training import Rust

THREADS, ROUNDS, EPOCHS = 1, 5, 4
GRID = [i / 255 for i in range(17)]
BARS = {"pgd_step_ratio": 1.02, "two_hinge_over_floor": 1.03, "scaled_ratio": 0.65, "curve_ratio": 0.25, "curve_gap": 0.01}
ROBUST_AT_LEAST = 0.10


def main(program: str, scratch: str) -> int:
    torch.set_num_threads(THREADS)
    shutil.rmtree(scratch, ignore_errors=True)
    Path(scratch).mkdir(parents=True)
    try:
        figures = measure(Path(program), Path(scratch))
    except peer.Disagreement as disagreement:
        print(f"bench-train: FAILED {disagreement}")
        return 1
    said = " ".join(f"{key}={value:.3f}" for key, value in figures.items())
    missed = [f"{key} above {bar}" for key, bar in BARS.items() if not abs(figures[key]) <= bar]
    print(f"bench-train: FAILED {', '.join(missed)}: {said}" if missed else f"bench-train: ok {said}")
    return 1 if missed else 0


def measure(program: Path, scratch: Path) -> Dict[str, float]:
    """All figures."""
    figures: Dict[str, float] = {}
    for part, options in ((training, {"side": 64, "images": 320}), (curves, {"side": 32, "images": 1280})):
        folder = scratch / part.__name__
        folder.mkdir()
        with Rust(program, threads=THREADS, **options) as rust:
            settings = json.loads(rust.ask("write", folder))
            images = load_file(folder / "images.safetensors")
            images["y"], images["test_y"] = images["y"].long(), images["test_y"].long()
            figures |= part(rust, settings, images, folder)
    return {**figures, "kept_memory_ratio": kept_memory(program)}


def kept_memory(program: Path) -> float:
    """An epoch of `fixed` with freed memory kept, as the worker has it, over one with it given back to the system."""
    options = {"threads": THREADS, "side": 64, "images": 160}
    # Any setting of the user's is left alone: one that changes nothing keeps glibc's defaults.
    with Rust(program, **options) as kept, Rust(program, {"GLIBC_TUNABLES": "glibc.malloc.check=0"}, **options) as given:
        rounds = [[float(rust.ask("train", "fixed", "fixed", 1)) for rust in (kept, given)] for _ in range(ROUNDS + 1)]
    ratios = [ours / default for ours, default in rounds[1:]]
    print("freed memory kept over given back:", " ".join(f"{ratio:.2f}" for ratio in ratios), flush=True)
    return statistics.median(ratios)


def training(rust: Rust, settings: dict, images: Dict[str, Tensor], _: Path) -> Dict[str, float]:
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
    """MobileNetV2 with the pretrained weights and a fresh head, or one that was trained."""
    network = timm.create_model("mobilenetv2_100", num_classes=10)
    network.load_state_dict(load_file(weights), strict=False)
    return peer.Normalised(network, peer.IMAGENET)


def peer_epoch(network: nn.Module, settings: dict, images: Dict[str, Tensor]) -> float:
    """Seconds of an epoch of adversarial training by PGD."""
    optimiser = peer.adamw(network, 3e-3, 1e-2)
    batches = list(zip(images["x"].split(settings["batch"]), images["y"].split(settings["batch"])))
    started = time.perf_counter()
    for x, y in batches:
        noise = torch.empty_like(x).uniform_(-1, 1)
        adversarial = peer.pgd(network.eval(), x, y, settings["epsilon"], settings["steps"], noise)
        network.train()
        optimiser.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(network(adversarial), y).backward()
        optimiser.step()
    return time.perf_counter() - started


def curves(rust: Rust, settings: dict, images: Dict[str, Tensor], folder: Path) -> Dict[str, float]:
    """The 17-point curve of a robust model, one point after another by pyautoattack and all of them by bisection."""
    rust.ask("train", "fixed", "fixed", 12)
    file = folder / "trained.safetensors"
    rust.ask("save", file)
    network = model(file).eval()
    x, y = images["test_x"], images["test_y"]
    noise = torch.empty_like(x).uniform_(-1, 1)
    robust = accuracy(network, peer.pgd(network, x, y, settings["epsilon"], 10, noise), y)
    print(f"trained with fixed 4/255: {accuracy(network, x, y):.3f} clean, {robust:.3f} under PGD-10", flush=True)
    if robust < ROBUST_AT_LEAST:
        raise peer.Disagreement(f"the model's accuracy under PGD-10 is {robust:.3f}, not at least {ROBUST_AT_LEAST}")
    right = round(accuracy(network, x, y) * len(y))
    passes = 2 * (settings["iterations"] + 1) * (len(GRID) - 1) * right
    ratios, gaps, facts = [], [], {}
    for round_ in range(ROUNDS):
        started = time.perf_counter()
        naive = [point(network, x, y, epsilon, settings["iterations"]) for epsilon in GRID]
        theirs = time.perf_counter() - started
        facts = json.loads(rust.ask("curve", "bisect", file))
        ratios.append(facts["seconds"] / theirs)
        gaps.append(facts["expected"] - area(naive))
        print(
            f"round {round_ + 1}: pyautoattack {theirs:.1f} s, {passes} passes, area {area(naive):.4f}; bisection "
            f"{facts['seconds']:.1f} s, {facts['passes']} passes, area {facts['expected']:.4f}, audit {facts.get('audit')}",
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
    adversarial, _ = attack.run_standard_evaluation(x, y)
    return accuracy(network, adversarial, y)


def accuracy(network: nn.Module, x: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        return (network(x).argmax(1) == y).float().mean().item()


def area(curve: List[float]) -> float:
    """Expected robustness by the trapezoidal rule on an even grid."""
    return (sum(curve) - (curve[0] + curve[-1]) / 2) / (len(curve) - 1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
