"""What the scripts share: where things are, and images made by a formula."""

from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "crates/temper-torch/tests/fixtures"
WEIGHTS = ROOT / ".local/mirror/models/temper"


def formula_images(count: int, side: int) -> torch.Tensor:
    """Images f32[count, 3, side, side] in [0, 1]; tests/support in temper-torch has the same."""
    n, c, y, x = torch.meshgrid(
        torch.arange(count), torch.arange(3), torch.arange(side), torch.arange(side), indexing="ij"
    )
    bytes_ = (37 * n + 73 * c + 5 * y + 3 * x + (x * y) % 31 + (x * x) // 7) % 256
    return bytes_.float() / 255
