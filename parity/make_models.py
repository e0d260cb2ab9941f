"""Features of MobileNetV2 and logits of EfficientNet-Lite0 as timm computes them."""

import timm
import torch
from safetensors.torch import load_file, save_file

from images import FIXTURES, WEIGHTS, formula_images


def load(architecture: str, repository: str, classes: int) -> torch.nn.Module:
    model = timm.create_model(architecture, num_classes=classes)
    state = load_file(WEIGHTS / repository / "model.safetensors")
    result = model.load_state_dict(state, strict=False)
    assert not result.unexpected_keys, result
    assert all(name.endswith("num_batches_tracked") for name in result.missing_keys), result
    return model.eval()


def normalise(images: torch.Tensor, mean: list[float], std: list[float]) -> torch.Tensor:
    shape = (1, 3, 1, 1)
    return (images - torch.tensor(mean).reshape(shape)) / torch.tensor(std).reshape(shape)


@torch.no_grad()
def main() -> None:
    # 65 is odd, so that TensorFlow's "same" padding is seen both even and uneven.
    images = {side: formula_images(2, side) for side in (64, 65)}

    mobilenet = load("mobilenetv2_100", "mobilenetv2_100.deep_sort", 0)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    features = {f"side{s}": mobilenet(normalise(x, mean, std)) for s, x in images.items()}
    save_file(features, FIXTURES / "mobilenetv2_features.safetensors")

    lite = load("tf_efficientnet_lite0", "tf_efficientnet_lite0.pypi", 1000)
    mean, std = [127 / 255] * 3, [128 / 255] * 3
    logits = {f"side{s}": lite(normalise(x, mean, std)) for s, x in images.items()}
    save_file(logits, FIXTURES / "efficientnet_lite0_logits.safetensors")


if __name__ == "__main__":
    main()
