"""From the names and layouts of other frameworks to ours.

Kernels are stored O, I, H, W and O, I there; H, W, I, O and I, O here. Each network is described by a
list of (pattern, replacement): the first pattern that matches a name whole says where the tensor goes.

References: torchvision's resnet.py and vgg.py; timm's vgg.py and vision_transformer.py; OpenAI's CLIP,
  model.py, whose names FaRL keeps; Caffe's VGG_ILSVRC_16_layers, whose names VGG-Face and DEX keep.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from ageflax.errors import InputError

Tensors = dict[str, np.ndarray]
_DROPPED = ""  # in place of a path: left out, and reported by name: a classifier of other classes
_COUNTED = "="  # likewise, reported as one group of so many


class _Layout(NamedTuple):
    """One way in which a network's tensors are named.

    Attributes:
      marks: names that a file in this layout has.
      first: our path of the kernel that sees the image.
      rules: name to path.
      bgr: whether it was trained on BGR, as Caffe's networks are.
    """

    marks: tuple[str, ...]
    first: str
    rules: tuple[tuple[str, str], ...]
    bgr: bool = False


_NORM = (
    (r"{}\.weight", r"params/trunk/{}/scale"),
    (r"{}\.bias", r"params/trunk/{}/bias"),
    (r"{}\.running_mean", r"batch_stats/trunk/{}/mean"),
    (r"{}\.running_var", r"batch_stats/trunk/{}/var"),
)


def _norm(pattern: str, path: str) -> tuple[tuple[str, str], ...]:
    return tuple((p.replace("{}", pattern), r.replace("{}", path)) for p, r in _NORM)


def _dense(pattern: str, path: str) -> tuple[tuple[str, str], ...]:
    return (
        (rf"{pattern}\.weight", f"params/trunk/{path}/kernel"),
        (rf"{pattern}\.bias", f"params/trunk/{path}/bias"),
    )


def _layer_norm(pattern: str, path: str) -> tuple[tuple[str, str], ...]:
    return _norm(pattern, path)[:2]


_BLOCK = r"layer(\d)\.(\d+)\."
_RESNET = _Layout(
    ("conv1.weight", "layer1.0.conv1.weight"),
    "params/trunk/conv1/kernel",
    (
        *_dense(r"conv1", "conv1"),
        *_norm(r"bn1", "bn1"),
        *_dense(_BLOCK + r"conv(\d)", r"layer\1_\2/conv\3"),
        *_norm(_BLOCK + r"bn(\d)", r"layer\1_\2/bn\3"),
        *_dense(_BLOCK + r"downsample\.0", r"layer\1_\2/downsample_conv"),
        *_norm(_BLOCK + r"downsample\.1", r"layer\1_\2/downsample_bn"),
        (r".*\.num_batches_tracked", _COUNTED + "num_batches_tracked"),
        (r"fc\..*", _DROPPED),
    ),
)
_VGG_FEATURES = {
    0: "conv1_1", 2: "conv1_2", 5: "conv2_1", 7: "conv2_2", 10: "conv3_1", 12: "conv3_2",
    14: "conv3_3", 17: "conv4_1", 19: "conv4_2", 21: "conv4_3", 24: "conv5_1", 26: "conv5_2",
    28: "conv5_3",
}  # fmt: skip
_VGG_CONVOLUTIONS = tuple(
    rule for k, name in _VGG_FEATURES.items() for rule in _dense(rf"features\.{k}", name)
)
_VGG = (
    _Layout(
        ("features.0.weight", "classifier.0.weight"),
        "params/trunk/conv1_1/kernel",
        (
            *_VGG_CONVOLUTIONS,
            *_dense(r"classifier\.0", "fc6"),
            *_dense(r"classifier\.3", "fc7"),
            (r"classifier\.6\..*", _DROPPED),
        ),
    ),
    _Layout(
        ("features.0.weight", "pre_logits.fc1.weight"),
        "params/trunk/conv1_1/kernel",
        (
            *_VGG_CONVOLUTIONS,
            *_dense(r"pre_logits\.fc1", "fc6"),
            *_dense(r"pre_logits\.fc2", "fc7"),
            (r"head\.fc\..*", _DROPPED),
        ),
    ),
    _Layout(
        ("conv1_1.weight", "fc6.weight"),
        "params/trunk/conv1_1/kernel",
        (
            *_dense(r"(conv\d_\d|fc6|fc7)", r"\1"),
            (r"fc8[^.]*\..*", _DROPPED),
        ),
        bgr=True,
    ),
)
_VIT = (
    _Layout(
        ("visual.conv1.weight", "visual.class_embedding"),
        "params/trunk/patch_embedding/kernel",
        (
            (r"visual\.conv1\.weight", "params/trunk/patch_embedding/kernel"),
            (r"visual\.class_embedding", "params/trunk/class_token"),
            (r"visual\.positional_embedding", "params/trunk/position_embedding"),
            *_layer_norm(r"visual\.ln_pre", "pre_norm"),
            *_layer_norm(r"visual\.ln_post", "post_norm"),
            (
                r"visual\.transformer\.resblocks\.(\d+)\.attn\.in_proj_weight",
                r"params/trunk/block_\1/qkv/kernel",
            ),
            (
                r"visual\.transformer\.resblocks\.(\d+)\.attn\.in_proj_bias",
                r"params/trunk/block_\1/qkv/bias",
            ),
            *_dense(
                r"visual\.transformer\.resblocks\.(\d+)\.attn\.out_proj", r"block_\1/projection"
            ),
            *_layer_norm(r"visual\.transformer\.resblocks\.(\d+)\.ln_(\d)", r"block_\1/norm\2"),
            *_dense(r"visual\.transformer\.resblocks\.(\d+)\.mlp\.c_fc", r"block_\1/fc1"),
            *_dense(r"visual\.transformer\.resblocks\.(\d+)\.mlp\.c_proj", r"block_\1/fc2"),
            (r"visual\.proj", _DROPPED),  # to the space shared with texts
            (r"(?!visual\.).*", _COUNTED + "not of the image encoder"),
        ),
    ),
    _Layout(
        ("patch_embed.proj.weight", "norm_pre.weight"),
        "params/trunk/patch_embedding/kernel",
        (
            (r"patch_embed\.proj\.weight", "params/trunk/patch_embedding/kernel"),
            (r"cls_token", "params/trunk/class_token"),
            (r"pos_embed", "params/trunk/position_embedding"),
            *_layer_norm(r"norm_pre", "pre_norm"),
            *_layer_norm(r"norm", "post_norm"),
            *_dense(r"blocks\.(\d+)\.attn\.qkv", r"block_\1/qkv"),
            *_dense(r"blocks\.(\d+)\.attn\.proj", r"block_\1/projection"),
            *_layer_norm(r"blocks\.(\d+)\.norm(\d)", r"block_\1/norm\2"),
            *_dense(r"blocks\.(\d+)\.mlp\.fc(\d)", r"block_\1/fc\2"),
            (r"head\..*", _DROPPED),
        ),
    ),
)
_LAYOUTS: dict[str, tuple[_Layout, ...]] = {
    "resnet18": (_RESNET,),
    "resnet34": (_RESNET,),
    "resnet50": (_RESNET,),
    "vgg16": _VGG,
    "vit_b16": _VIT,
}


# Blocks of each stage and whether they are bottlenecks; the last convolution's place in `features`.
_RESNETS: dict[tuple[tuple[int, ...], bool], str] = {
    ((2, 2, 2, 2), False): "resnet18",
    ((3, 4, 6, 3), False): "resnet34",
    ((3, 4, 6, 3), True): "resnet50",
    ((3, 4, 23, 3), True): "resnet101",
    ((3, 8, 36, 3), True): "resnet152",
}
_VGGS = {
    10: "alexnet", 18: "vgg11", 22: "vgg13", 28: "vgg16", 34: "vgg19",
    25: "vgg11_bn", 32: "vgg13_bn", 40: "vgg16_bn", 49: "vgg19_bn",
}  # fmt: skip


def _without_prefix(tensors: Mapping[str, np.ndarray]) -> Tensors:
    """Names less what frameworks put before all of them."""
    found = True
    while found and tensors:
        found = False
        for prefix in ("state_dict.", "module.", "model.", "backbone.", "encoder."):
            if all(name.startswith(prefix) for name in tensors):
                tensors = {n.removeprefix(prefix): v for n, v in tensors.items()}
                found = True
    return dict(tensors)


def _resemblance(tensors: Mapping[str, np.ndarray]) -> str:
    """Which network has tensors of these names: one of ours, or words for another."""
    if {"conv1.weight", "layer1.0.conv1.weight"} <= tensors.keys():
        blocks = [0, 0, 0, 0]
        for name in tensors:
            if match := re.match(r"layer([1-4])\.(\d{1,3})\.", name):
                stage = int(match[1]) - 1
                blocks[stage] = max(blocks[stage], int(match[2]) + 1)
        bottleneck = "layer1.0.conv3.weight" in tensors
        return _RESNETS.get((tuple(blocks), bottleneck), f"a ResNet of {blocks} blocks")
    if "features.0.weight" in tensors:
        places = [
            int(match[1])
            for name, values in tensors.items()
            if values.ndim == 4 and (match := re.fullmatch(r"features\.(\d{1,3})\.weight", name))
        ]
        return _VGGS.get(max(places, default=0), "a network of torchvision's VGG kind")
    if {"conv1_1.weight", "conv5_3.weight"} <= tensors.keys():
        return "vgg16"
    if "visual.class_embedding" in tensors or "norm_pre.weight" in tensors:
        return "vit_b16"
    if {"patch_embed.proj.weight", "cls_token"} <= tensors.keys():
        return "a ViT that lacks CLIP's norm before its blocks"
    return f"none that is known (its first names: {', '.join(sorted(tensors)[:3]) or 'none'})"


def _kernel(values: np.ndarray, path: str, before_fc6: int) -> np.ndarray:
    """A kernel in our order of axes."""
    if values.ndim == 4 and path.endswith(("fc6/kernel", "fc7/kernel")):
        values = values.reshape(len(values), -1)  # timm writes them as convolutions; C, H, W within
    if values.ndim == 4:
        return values.transpose(2, 3, 1, 0)
    if path.endswith("fc6/kernel") and before_fc6 and values.ndim == 2:
        outputs, inputs = values.shape
        side = round((inputs // before_fc6) ** 0.5)
        if side * side * before_fc6 == inputs:
            # They flatten C, H, W before it, we H, W, C.
            spatial = values.reshape(outputs, before_fc6, side, side)
            values = spatial.transpose(0, 2, 3, 1).reshape(outputs, inputs)
    return values.T


def _vector(values: np.ndarray, path: str) -> np.ndarray:
    """What is no kernel, without the axes of one that timm gives tokens and positions."""
    kept = 2 if path.endswith("position_embedding") else 1
    while values.ndim > kept and len(values) == 1:
        values = values[0]
    return values


def _ordered(kernel: np.ndarray, channels: str, *, bgr: bool) -> np.ndarray:
    """The first kernel for images in the order that the config asks for.

    Grey images have the same value in all three, so the sum of the kernels sees what they would.
    """
    if kernel.ndim != 4 or kernel.shape[2] != 3:
        return kernel  # not of colours: if it does not fit, its shape says so
    if channels == "grey":
        return kernel.sum(2, keepdims=True)
    return kernel if (channels == "bgr") == bgr else kernel[:, :, ::-1]


def _place(name: str, layout: _Layout) -> str | None:
    for pattern, path in layout.rules:
        if match := re.fullmatch(pattern, name):
            return match.expand(path)
    return None


def _outputs(tensors: Tensors, *names: str) -> int:
    """Of the first convolution that is there; 0 where none is."""
    kernels = (tensors[name] for name in names if name in tensors)
    return next((len(kernel) for kernel in kernels if kernel.ndim == 4), 0)


def to_ours(
    tensors: Mapping[str, np.ndarray], *, model_name: str, channels: str
) -> tuple[Tensors, list[str]]:
    """Another project's tensors under our paths.

    A ViT's names do not say whether it was trained with QuickGELU, as OpenAI's and FaRL's were and as
    ours computes, or with the exact GELU, as most of LAION's.

    Args:
      tensors: by their names there: torchvision's and timm's ResNets, torchvision's, timm's and Caffe's
        VGG-16, CLIP's, FaRL's and timm's ViT-B/16.
      model_name: the network that is asked for.
      channels: what it will see; networks in Caffe's names see BGR, the others RGB, and the first kernel
        is turned to fit.

    Returns:
      By path, such as "params/trunk/conv1/kernel"; and the names that are left out: its classifier.

    Raises:
      InputError: of another architecture, or with tensors that have no place.
    """
    tensors = _without_prefix(tensors)
    looks_like = _resemblance(tensors)
    if looks_like != model_name or model_name not in _LAYOUTS:
        raise InputError(
            f"transfer.weights: model.name = {model_name!r}, but the file's network is {looks_like}"
        )
    layout = max(_LAYOUTS[model_name], key=lambda layout: len(tensors.keys() & set(layout.marks)))
    before_fc6 = _outputs(tensors, "features.28.weight", "conv5_3.weight")
    found: Tensors = {}
    left_out, unknown = [], []
    groups: Counter[str] = Counter()
    for name, values in tensors.items():
        path = _place(name, layout)
        if path is None:
            unknown.append(name)
        elif path == _DROPPED:
            left_out.append(name)
        elif path.startswith(_COUNTED):
            groups[path.removeprefix(_COUNTED)] += 1
        elif path.endswith("/kernel"):
            found[path] = _kernel(values, path, before_fc6)
        else:
            found[path] = _vector(values, path)
    if unknown:
        more = f" and {len(unknown) - 6} more" if len(unknown) > 6 else ""
        raise InputError(
            f"transfer.weights: tensors that have no place in {model_name}:"
            f" {', '.join(sorted(unknown)[:6])}{more}"
        )
    if layout.first in found:
        found[layout.first] = _ordered(found[layout.first], channels, bgr=layout.bgr)
    return found, left_out + [f"{count} {what}" for what, count in groups.items()]
