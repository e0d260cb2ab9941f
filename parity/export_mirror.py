"""A mirror folder with the paper's six models, drawn at random by timm and open_clip.

Laid out as the hub: `models/<owner>/<name>/<file>`, with the repositories and files of `catalog/models.toml`. What is
there is not made again. Networks of full size: about 2.4 GB.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from pathlib import Path

import open_clip
import timm
import torch
from safetensors.torch import save_file

CATALOG = Path(__file__).resolve().parent.parent / "catalog" / "models.toml"
MODELS = ("vit-base", "swin-base", "convnext-base", "resnet50", "clip-vit-base", "clip-convnext-base")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mirror", type=Path)
    parser.add_argument("only", nargs="*", default=MODELS, help="catalog names")
    arguments = parser.parse_args()
    catalog = tomllib.loads(CATALOG.read_text())["models"]
    for name in arguments.only:
        entry = catalog[name]
        path = arguments.mirror / "models" / entry["repository"] / entry["file"]
        if not path.is_file():
            print(f"export: {name}", flush=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            save_file(state(entry), part)
            part.replace(path)
    return 0


def state(entry: dict) -> dict[str, torch.Tensor]:
    """The whole state under the names of the hub's file."""
    torch.manual_seed(0)
    if "prefix" in entry:
        model = open_clip.create_model("convnext_base_w")
    else:
        model = timm.create_model(entry["architecture"])
    return {name: tensor.contiguous().clone() for name, tensor in model.state_dict().items()}


if __name__ == "__main__":
    sys.exit(main())
