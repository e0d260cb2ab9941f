"""Attacks of temper-torch against torchattacks' PGD and pyautoattack's APGD, iterate by iterate.

Start noise is injected, both sides run on one thread, and images lie in memory channel by channel. The models are
pyautoattack's bundled ResNet-18, which the Rust side runs as a scripted module, and timm's MobileNetV2, which it builds
itself.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable
from unittest import mock

import pyautoattack
import timm
import torch
import torchattacks
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import peer
from images import formula_images
from peer import Disagreement

EPSILON, EPSILON_L2 = 8 / 255, 0.5
STEPS, ITERATIONS = 10, 50
TARGETS = 3
TOLERANCES = {"pgd_linf": 0.0, "pgd_l2": 1e-6, "apgd_ce": 0.0, "apgd_t": 0.0}


@dataclass(frozen=True)
class Subject:
    """A model, images, and what the Rust side needs to run it; `save` puts that into a folder."""

    label: str
    model: nn.Module
    images: Tensor
    architecture: dict | None
    save: Callable[[Path], None]

    def labels(self) -> Tensor:
        with torch.no_grad():
            return self.model(self.images).argmax(1)


class Recorded(nn.Module):
    """A model that keeps what it was given."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.seen: list[Tensor] = []
        # torchattacks puts the mode back that it finds, and a new module is in training mode.
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach().clone())
        return self.model(x)


class InOrder(nn.Module):
    """A model whose input's gradient has the images' order in memory: torchattacks takes views that only this one has."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        x = x.view_as(x)
        if x.requires_grad:
            x.register_hook(lambda gradient: gradient.contiguous())
        return self.model(x)


def figures(program: Path, scratch: Path) -> dict[str, float]:
    """The largest difference of each attack, over models, iterates and pixels."""
    torch.set_num_threads(1)
    largest = dict.fromkeys(TOLERANCES, 0.0)
    for subject in (bundled_resnet(), small_mobilenet()):
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            subject.save(Path(folder))
            for name, compare in ((n, globals()[n]) for n in TOLERANCES):
                difference = compare(program, subject, Path(folder))
                print(f"{subject.label}, {name}: largest difference {difference:.1e}", flush=True)
                largest[name] = max(largest[name], difference)
    return largest


def bundled_resnet() -> Subject:
    """pyautoattack's example: a ResNet-18 trained on CIFAR-10, f32[n, 3, 32, 32] to f32[n, 10]."""
    examples = Path(pyautoattack.__file__).parent / "examples"
    sys.path.append(str(examples))
    from resnet import ResNet18  # the package ships it as a loose file

    model = ResNet18().eval().requires_grad_(False)
    model.load_state_dict(torch.load(examples / "model_test.pt", map_location="cpu", weights_only=True))
    images = formula_images(4, 32)
    module = torch.jit.trace(model, images)
    return Subject("resnet18", model, images, None, lambda folder: module.save(str(folder / "model.pt")))


def small_mobilenet() -> Subject:
    """timm's MobileNetV2 on weights drawn anew, on images of 64 pixels a side."""
    model = peer.drop_nothing(timm.create_model("mobilenetv2_100", num_classes=10)).eval().requires_grad_(False)
    peer.redraw(model, seed=0)
    described = peer.architecture("mobilenetv2_100", 10, 64, peer.IMAGENET)
    weights = peer.weights_of(model)

    def save(folder: Path) -> None:
        peer.save(weights, folder / "weights.safetensors", described)

    return Subject("mobilenetv2", InOrder(peer.Normalised(model, peer.IMAGENET)).eval(), formula_images(4, 64), described, save)


def unit_box(images: Tensor) -> tuple[Tensor, Tensor]:
    """Numbers uniform in [0, 1), and the noise in [-1, 1) that they make."""
    uniform = torch.rand(images.shape, generator=torch.Generator().manual_seed(3))
    return uniform, 2 * uniform - 1


def pgd_linf(program: Path, subject: Subject, folder: Path) -> float:
    _, noise = unit_box(subject.images)
    model = Recorded(subject.model)
    attack = torchattacks.PGD(model, EPSILON, EPSILON / 4, STEPS, random_start=True)
    with mock.patch.object(torch.Tensor, "uniform_", lambda self, low, high: noise * high):
        result = attack(subject.images, subject.labels())
    settings = pgd_settings("linf", 0.25)
    return compared(program, subject, folder, (settings, EPSILON, noise), [*model.seen, result])


def pgd_l2(program: Path, subject: Subject, folder: Path) -> float:
    generator = torch.Generator().manual_seed(4)
    normal = torch.randn(subject.images.shape, generator=generator)
    share = torch.rand((len(normal), 1, 1, 1), generator=generator)
    model = Recorded(subject.model)
    attack = torchattacks.PGDL2(model, EPSILON_L2, EPSILON_L2 / 4, STEPS, random_start=True)
    with (
        mock.patch.object(torch.Tensor, "normal_", lambda self: normal.clone()),
        mock.patch.object(torch.Tensor, "uniform_", lambda self, low, high: share),
    ):
        result = attack(subject.images, subject.labels())
    noise = normal / normal.flatten(1).norm(dim=1).view(-1, 1, 1, 1) * share
    settings = pgd_settings("l2", 0.25)
    return compared(program, subject, folder, (settings, EPSILON_L2, noise), [*model.seen, result])


def apgd_ce(program: Path, subject: Subject, folder: Path) -> float:
    uniform, noise = unit_box(subject.images)
    model = Recorded(subject.model)
    attack = APGDAttack(model, n_iter=ITERATIONS, eps=EPSILON, loss="ce", device="cpu")
    attack.init_hyperparam(subject.images)
    with mock.patch.object(torch, "rand", lambda shape: uniform):
        best, *_ = attack.attack_single_run(subject.images, subject.labels())
    settings = apgd_settings("ce")
    return compared(program, subject, folder, (settings, EPSILON, noise), model.seen, best)


def apgd_t(program: Path, subject: Subject, folder: Path) -> float:
    """The whole batch towards each of the likeliest wrong classes."""
    uniform, noise = unit_box(subject.images)
    largest, labels = 0.0, subject.labels()
    with torch.no_grad():
        order = subject.model(subject.images).sort(dim=1)[1]
    for rank in range(2, TARGETS + 2):
        model = Recorded(subject.model)
        attack = APGDAttack_targeted(model, n_iter=ITERATIONS, eps=EPSILON, device="cpu")
        attack.init_hyperparam(subject.images)
        attack.y_target = order[:, -rank]
        with mock.patch.object(torch, "rand", lambda shape: uniform):
            best, *_ = attack.attack_single_run(subject.images, labels)
        settings = apgd_settings({"targeted-dlr": {"targets": 9}})
        case = (settings, EPSILON, noise)
        found = compared(program, subject, folder, case, model.seen, best, attack.y_target)
        largest = max(largest, found)
    return largest


def pgd_settings(norm: str, share: float) -> dict:
    """The Rust side's `Attack`."""
    return {
        "kind": "pgd",
        "norm": norm,
        "steps": STEPS,
        "step_size": {"relative": share},
        "random_start": True,
        "restarts": 1,
        "goal": "untargeted",
        "keep": "last",
    }


def apgd_settings(loss: object) -> dict:
    return {"kind": "apgd", "loss": loss, "steps": ITERATIONS, "restarts": 1}


def compared(
    program: Path,
    subject: Subject,
    folder: Path,
    case: tuple[dict, float, Tensor],
    iterates: list[Tensor],
    best: Tensor | None = None,
    classes: Tensor | None = None,
) -> float:
    """Lets the Rust side run the case; the largest difference of an iterate from the peer's, and of the result."""
    settings, epsilon, noise = case
    # Classes as float: temper-torch reads no other numbers.
    tensors = {"images": subject.images, "labels": subject.labels().float(), "noise": noise}
    if classes is not None:
        tensors["classes"] = classes.float()
    described = {"attack": settings, "epsilon": epsilon, "architecture": subject.architecture}
    kept = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
    save_file(kept, folder / "input.safetensors", metadata={"temper": json.dumps(described)})
    done = subprocess.run([program, folder], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(done.stderr, file=sys.stderr)
        raise Disagreement(f"{subject.label}: {(done.stderr.strip().splitlines() or ['it failed'])[0]}")
    found = load_file(folder / "output.safetensors")
    expected = {f"step.{step}": images for step, images in enumerate(iterates)}
    expected["result"] = iterates[-1] if best is None else best
    if found.keys() != expected.keys():
        raise Disagreement(f"{subject.label}: {len(found)} tensors instead of {len(expected)}")
    moved = (iterates[-1] - subject.images).abs().max().item()
    if not moved > 1e-3:
        raise Disagreement(f"{subject.label}: the attack did not move")
    differences = [(found[name] - images).abs().max().item() for name, images in expected.items()]
    differing = [name for name, difference in zip(expected, differences) if difference != 0]
    print(f"  {len(differing)} of {len(expected)} differ{', first ' + differing[0] if differing else ''}", flush=True)
    return math.nan if any(map(math.isnan, differences)) else max(differences)

