"""Full-size networks of temper-torch against timm's: `make parity-models`.

For each architecture and seed timm's network is drawn anew (`peer.redraw`), its weights and what it computes go into a
folder, and the Rust example `parity_models` compares; then the folder is removed, so that one case at a time is on
disk. Other image sizes are tried with smaller members. The last line tells the largest relative difference of each
architecture.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import open_clip
import timm
import torch
from timm.models.swin_transformer import checkpoint_filter_fn as fit_swin
from timm.models.vision_transformer import checkpoint_filter_fn as fit_vit
from torch import Tensor, nn

import peer

TOWER = "visual.trunk."


@dataclass(frozen=True)
class Case:
    """A network of timm's, at some image size."""

    label: str
    name: str
    normalisation: tuple = peer.IMAGENET
    classes: int = 1000
    prefix: str = ""
    size: int = 224
    fit: Callable | None = None


CASES = (
    Case("resnet50", "resnet50"),
    Case("vit-base", "vit_base_patch16_224", peer.LITE),
    Case("swin-base", "swin_base_patch4_window7_224"),
    Case("convnext-base", "convnext_base"),
    Case("clip-vit-base", "vit_base_patch16_clip_224", peer.CLIP, 512),
    Case("clip-convnext-base", "convnext_base", peer.CLIP, prefix=TOWER),
    Case("mobilenetv2", "mobilenetv2_100"),
    Case("efficientnet-lite0", "tf_efficientnet_lite0", peer.LITE),
)
SIZES = (
    Case("resnet18 at 160", "resnet18", size=160),
    Case("vit-tiny at 160", "vit_tiny_patch16_224", size=160, fit=fit_vit),
    Case("swin-tiny at 160", "swin_tiny_patch4_window7_224", size=160, fit=fit_swin),
    Case("swin-tiny at 192", "swin_tiny_patch4_window7_224", size=192, fit=fit_swin),
    Case("convnext-tiny at 96", "convnext_tiny", size=96),
)


class Disagreement(Exception):
    """What the Rust side said."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path, help="the built example parity_models")
    parser.add_argument("scratch", type=Path, help="where the one case at a time lies")
    parser.add_argument("--seeds", type=int, default=3, help="how many, for each architecture")
    parser.add_argument("only", nargs="*", help="labels; the last line then tells of these alone")
    arguments = parser.parse_args()
    figures: dict[str, float] = {}
    # What a run that was killed left there is gigabytes.
    shutil.rmtree(arguments.scratch, ignore_errors=True)
    arguments.scratch.mkdir(parents=True)
    try:
        for case in CASES + SIZES:
            if arguments.only and case.label not in arguments.only:
                continue
            network = Peer(case)
            for seed in range(arguments.seeds if case in CASES else 1):
                with tempfile.TemporaryDirectory(dir=arguments.scratch) as folder:
                    network.write(seed, Path(folder))
                    found = compare(arguments.program, f"{case.label}, seed {seed}", folder)
                if case in CASES:
                    figures[case.label] = max(found, figures.get(case.label, 0.0))
    except Disagreement as disagreement:
        print(f"parity-models: FAILED {disagreement}")
        return 1
    print("parity-models: ok", *(f"{label}={figure:.1e}" for label, figure in figures.items()))
    return 0


def compare(program: Path, label: str, folder: str) -> float:
    """Lets the Rust side compare, and returns the largest difference."""
    done = subprocess.run([program, folder], capture_output=True, text=True, check=False)
    said = done.stdout.strip()
    print(f"{label}: {said}", flush=True)
    found = re.search(r"largest=(\S+)", said)
    if done.returncode != 0 or not found:
        print(done.stderr, file=sys.stderr)
        reason = (done.stderr.strip().splitlines() or [said])[0]
        raise Disagreement(f"{label}: {reason}")
    return float(found.group(1))


class Peer:
    """A case's network; made once, and drawn anew for each seed."""

    def __init__(self, case: Case) -> None:
        self.case = case
        if case.prefix:
            # Where the weights of the file are, and the part that computes.
            self.whole = open_clip.create_model("convnext_base_w")
            self.model = peer.drop_nothing(self.whole.visual.trunk)
        else:
            self.whole = self.model = peer.drop_nothing(timm.create_model(case.name, num_classes=case.classes))

    def write(self, seed: int, folder: Path) -> None:
        """The weights in the hub's form, and what the network computes on them."""
        case = self.case
        peer.redraw(self.model, seed)
        weights = peer.weights_of(self.whole)
        model = self.fitted(weights) if case.fit else self.model
        inputs = torch.rand((2, 3, case.size, case.size), generator=torch.Generator().manual_seed(seed))
        tensors = {"input": inputs}
        for train, prefix in ((False, "evaluate."), (True, "train.")):
            tensors |= peer.under(prefix, peer.expected(model, inputs, case.normalisation, train))
        described = peer.architecture(case.name, case.classes, case.size, case.normalisation, case.prefix)
        peer.save(weights, folder / "weights.safetensors", described)
        peer.save(tensors, folder / "expected.safetensors", described)

    def fitted(self, weights: dict[str, Tensor]) -> nn.Module:
        """The network for the case's image size on weights for the usual one, as timm loads them."""
        case = self.case
        model = peer.drop_nothing(timm.create_model(case.name, num_classes=case.classes, img_size=case.size))
        model.load_state_dict(case.fit(dict(weights), model))
        return model


if __name__ == "__main__":
    sys.exit(main())
