"""Small members of every family, as timm computes them, and as it would with some mistake in them.

Each fixture holds the weights in half precision (so that reading it is tested too) and what `peer.expected` says of
`formula_images`. A mutation is a mistake made on this side: its witness is the tensor that it changes most, which the
Rust side must therefore disagree with. No convolution has fewer than 8 channels: libtorch 2.13.0 can write beyond its
memory in the backward pass of one with 4 whose channels are last in memory.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Callable

import torch
from timm.layers import LayerNorm, Mlp
from timm.models._efficientnet_builder import decode_arch_def
from timm.models.convnext import ConvNeXt
from timm.models.efficientnet import EfficientNet
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer import checkpoint_filter_fn as fit_swin
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer import checkpoint_filter_fn as fit_vit
from torch import Tensor, nn

import peer
from images import FIXTURES, formula_images

CLASSES = 6
FOLDER = FIXTURES / "models"


def vit(size: int = 16, clip: bool = False) -> nn.Module:
    clip_args = {"pre_norm": True, "norm_layer": partial(LayerNorm, eps=1e-5)} if clip else {}
    return VisionTransformer(
        img_size=size, patch_size=4, embed_dim=16, depth=2, num_heads=2, num_classes=CLASSES, **clip_args
    )


def swin(size: int = 32) -> nn.Module:
    return SwinTransformer(
        img_size=size, embed_dim=4, depths=(2, 2, 1, 1), num_heads=(1, 2, 2, 4), window_size=3, num_classes=CLASSES
    )


def convnext() -> nn.Module:
    return ConvNeXt(depths=(1, 1, 2, 1), dims=(8, 8, 8, 16), num_classes=CLASSES)


def resnet(block: type, depths: tuple) -> nn.Module:
    return ResNet(block, depths, channels=(8, 8, 8, 16), num_classes=CLASSES)


def inverted(**arguments: object) -> nn.Module:
    stages = [["ds_r1_k3_s1_c8"], ["ir_r2_k3_s2_e3_c8"], ["ir_r2_k5_s2_e3_c16"]]
    return EfficientNet(
        decode_arch_def(stages),
        num_classes=CLASSES,
        num_features=16,
        stem_size=8,
        act_layer=nn.ReLU6,
        **arguments,
    )


def no_bias(name: str) -> Callable[[nn.Module], None]:
    def mutate(model: nn.Module) -> None:
        model.get_parameter(name).data.zero_()

    return mutate


def other_epsilon(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = {1e-5: 1e-6, 1e-6: 1e-5}[module.eps]


def tanh_gelu(model: nn.Module) -> None:
    for module in list(model.modules()):
        if isinstance(module, Mlp):
            module.act = nn.GELU(approximate="tanh")


def no_window_mask(model: nn.Module) -> None:
    for module in model.modules():
        if getattr(module, "attn_mask", None) is not None:
            module.attn_mask = None


def fixture(
    name: str,
    build: Callable[[], nn.Module],
    size: int,
    normalisation: tuple = peer.IMAGENET,
    mutations: dict[str, Callable[[nn.Module], None]] | None = None,
    prefix: str = "",
) -> None:
    """Writes one; with a prefix the network is an image tower, which ends in features."""
    x = formula_images(2, size)
    seed = well_conditioned(build, x, normalisation)
    redrawn = partial(drawn, build, seed, features=bool(prefix))
    model = redrawn()
    found = peer.expected(model, x, normalisation, train=False)
    tensors = peer.under("weights.", hub_form(model, prefix)) | peer.under("evaluate.", found)
    if any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        tensors |= peer.under("train.", peer.expected(model, x, normalisation, train=True))
    for mutation, mutate in (mutations or {}).items():
        mutant = redrawn()
        mutate(mutant)
        mutated = peer.expected(mutant, x, normalisation, train=False)
        tensors |= witness(f"mutation.{mutation}.", found, mutated)
    write(tensors, name, peer.architecture(name, CLASSES, size, normalisation, prefix))


def resized(name: str, build: Callable[[int], nn.Module], fit: Callable, sizes: tuple[int, int]) -> None:
    """Weights made at the first size, and what becomes of them at the second; of the gradients those of the tables."""
    made_at, used_at = sizes
    weights = peer.weights_of(drawn(lambda: build(made_at)))
    model = peer.drop_nothing(build(used_at))
    model.load_state_dict(fit(dict(weights), model))
    found = peer.expected(model, formula_images(2, used_at), peer.IMAGENET, train=False)
    wanted = ("projection", "output", "input_gradient", "pos_embed", "relative_position_bias_table")
    found = {name: tensor for name, tensor in found.items() if name.endswith(wanted)}
    tensors = peer.under("weights.", {name: tensor.half() for name, tensor in weights.items()})
    tensors |= peer.under("evaluate.", found)
    write(tensors, name, peer.architecture(name, CLASSES, used_at, peer.IMAGENET))


def well_conditioned(build: Callable[[], nn.Module], x: Tensor, normalisation: tuple) -> int:
    """The first seed whose network has no rectifier so near its kink that another processor may see another gradient.

    Single and double precision then agree far better than the fixture is compared at.
    """
    for seed in range(100):
        single = peer.expected(drawn(build, seed), x, normalisation, train=True)
        double = peer.expected(drawn(build, seed).double(), x.double(), normalisation, train=True)
        if all(difference(name, single, double) <= 2e-5 for name in double):
            return seed
    raise ValueError("no seed up to 100 will do")


def difference(name: str, found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """As the Rust side measures it (`tests/it/parity.rs`, which has the reasons)."""
    scale = wanted[name].norm()
    weight = wanted.get(name.removesuffix(".bias") + ".weight")
    if weight is not None and scale < 1e-4 * weight.norm():
        scale = weight.norm()
    distance = (found[name].double() - wanted[name]).norm()
    return (distance / scale).item() if distance > 0 else 0.0


def drawn(build: Callable[[], nn.Module], seed: int = 0, features: bool = False) -> nn.Module:
    """A network with weights that half precision holds exactly."""
    model = peer.drop_nothing(build())
    if features:
        model.reset_classifier(0)
    peer.redraw(model, seed)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(tensor.half().float())
    return model


def hub_form(model: nn.Module, prefix: str) -> dict[str, Tensor]:
    """Half precision; behind a prefix, with some names of the other towers beside it."""
    weights = peer.under(prefix, peer.weights_of(model))
    weights = {name: t.half() if t.is_floating_point() else t for name, t in weights.items()}
    if prefix:
        others = ("visual.head.proj.weight", "logit_scale", "transformer.resblocks.0.ln_1.weight")
        weights |= {name: torch.ones(2).half() for name in others}
    return weights


def witness(prefix: str, found: dict[str, Tensor], mutated: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensor that the mutation changes most, relative to its norm (above what is zero but for rounding)."""

    def change(name: str) -> float:
        return ((mutated[name] - found[name]).norm() / found[name].norm().clamp_min(1e-3)).item()

    name = max(found, key=change)
    print(f"{prefix}{name}: {change(name):.2e}")
    return {f"{prefix}{name}": mutated[name]}


def write(tensors: dict[str, Tensor], name: str, described: dict) -> None:
    FOLDER.mkdir(exist_ok=True)
    path: Path = FOLDER / f"{name}.safetensors"
    peer.save(tensors, path, described)
    print(f"{path.name}: {path.stat().st_size // 1000} kB, {len(tensors)} tensors")


def main() -> None:
    torch.set_num_threads(1)
    norms = {"other_epsilon": other_epsilon, "tanh_gelu": tanh_gelu}
    of_vit = norms | {"no_bias": no_bias("blocks.1.mlp.fc1.bias")}
    of_swin = norms | {"no_bias": no_bias("layers.1.blocks.1.attn.proj.bias"), "no_window_mask": no_window_mask}
    of_convnext = norms | {"no_bias": no_bias("stages.2.blocks.1.conv_dw.bias")}
    fixture("vit", vit, 16, mutations=of_vit)
    fixture("clip-vit", partial(vit, clip=True), 16, peer.CLIP, of_vit)
    fixture("swin", swin, 32, mutations=of_swin)
    fixture("convnext", convnext, 32, mutations=of_convnext)
    fixture("clip-convnext", convnext, 32, peer.CLIP, of_convnext, prefix="visual.trunk.")
    bottleneck, basic = partial(resnet, Bottleneck, (2, 1, 1, 1)), partial(resnet, BasicBlock, (1, 2, 1, 1))
    fixture("resnet-bottleneck", bottleneck, 40, mutations={"no_bias": no_bias("layer1.1.bn3.bias")})
    fixture("resnet-basic", basic, 40, mutations={"no_bias": no_bias("layer2.1.bn1.bias")})
    fixture("mobilenetv2", inverted, 32, mutations={"no_bias": no_bias("blocks.1.1.bn2.bias")})
    lite = partial(inverted, pad_type="same", norm_layer=partial(nn.BatchNorm2d, eps=1e-3))
    fixture("efficientnet-lite", lite, 32, peer.LITE, {"no_bias": no_bias("blocks.2.0.bn1.bias")})
    resized("vit-resized", vit, fit_vit, (16, 24))
    resized("swin-resized", swin, fit_swin, (32, 8))
    resized("swin-padded", swin, fit_swin, (32, 40))


if __name__ == "__main__":
    main()
