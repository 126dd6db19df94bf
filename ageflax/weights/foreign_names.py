"""From the names and layouts of other frameworks to ours.

Kernels are stored O, I, H, W and O, I there; H, W, I, O and I, O here. Each network is described by a
list of (pattern, replacement): the first pattern that matches a name whole says where the tensor goes.
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from ageflax.errors import InputError

Tensors = dict[str, np.ndarray]
_DROPPED = ""  # a foreign classifier, or what only another framework's training needs


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
        (r".*\.num_batches_tracked", _DROPPED),
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
            *_dense(r"visual\.transformer\.resblocks\.(\d+)\.attn\.out_proj", r"block_\1/projection"),
            *_layer_norm(r"visual\.transformer\.resblocks\.(\d+)\.ln_(\d)", r"block_\1/norm\2"),
            *_dense(r"visual\.transformer\.resblocks\.(\d+)\.mlp\.c_fc", r"block_\1/fc1"),
            *_dense(r"visual\.transformer\.resblocks\.(\d+)\.mlp\.c_proj", r"block_\1/fc2"),
            # The projection to the space shared with texts, and the tower of texts.
            (r"visual\.proj|(?!visual\.).*", _DROPPED),
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


def _without_prefix(tensors: Mapping[str, np.ndarray]) -> Tensors:
    """Names less what frameworks put before all of them."""
    for prefix in ("state_dict.", "module.", "model.", "backbone.", "encoder."):
        if tensors and all(name.startswith(prefix) for name in tensors):
            return _without_prefix({n.removeprefix(prefix): v for n, v in tensors.items()})
    return dict(tensors)


def _looks_like(tensors: Mapping[str, np.ndarray]) -> str:
    for name, layouts in _LAYOUTS.items():
        if any(set(layout.marks) <= tensors.keys() for layout in layouts):
            return "a ResNet" if name.startswith("resnet") else name
    return f"none that is known (its first names: {', '.join(sorted(tensors)[:3])})"


def _kernel(values: np.ndarray, path: str, before_fc6: int) -> np.ndarray:
    """A kernel in our order of axes."""
    if values.ndim == 4 and path.endswith(("fc6/kernel", "fc7/kernel")):
        values = values.reshape(len(values), -1)  # timm writes them as convolutions; C, H, W within
    if values.ndim == 4:
        return values.transpose(2, 3, 1, 0)
    if path.endswith("fc6/kernel") and before_fc6 and values.shape[1] % before_fc6 == 0:
        outputs, inputs = values.shape
        side = round((inputs // before_fc6) ** 0.5)
        if side * side * before_fc6 == inputs:
            # They flatten C, H, W before it, we H, W, C.
            spatial = values.reshape(outputs, before_fc6, side, side)
            values = spatial.transpose(0, 2, 3, 1).reshape(outputs, inputs)
    return values.T


def _ordered(kernel: np.ndarray, channels: str, *, bgr: bool) -> np.ndarray:
    """The first kernel for images in the order that the config asks for.

    Grey images have the same value in all three, so the sum of the kernels sees what they would.
    """
    if channels == "grey":
        return kernel.sum(2, keepdims=True)
    return kernel if (channels == "bgr") == bgr else kernel[:, :, ::-1]


def to_ours(
    tensors: Mapping[str, np.ndarray], *, model_name: str, channels: str
) -> tuple[Tensors, list[str]]:
    """Another project's tensors under our paths.

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
    layouts = [
        layout for layout in _LAYOUTS.get(model_name, ()) if set(layout.marks) <= tensors.keys()
    ]
    if not layouts:
        raise InputError(
            f"transfer.weights: not of model.name = {model_name!r}, but {_looks_like(tensors)}"
        )
    layout, found, dropped, unknown = layouts[0], {}, [], []
    before_fc6 = next(
        (len(v) for n, v in tensors.items() if n in ("features.28.weight", "conv5_3.weight")), 0
    )
    place: Callable[[str], str | None] = lambda name: next(  # noqa: E731
        (match.expand(path) for rule, path in layout.rules if (match := re.fullmatch(rule, name))),
        None,
    )
    for name, values in tensors.items():
        path = place(name)
        if path is None:
            unknown.append(name)
        elif path == _DROPPED:
            dropped.append(name)
        elif path.endswith("/kernel"):
            found[path] = _kernel(values, path, before_fc6)
        else:
            found[path] = values.reshape(values.shape[-2:] if "position" in path else -1)
    if unknown:
        raise InputError(
            f"transfer.weights: {len(unknown)} tensors have no place in {model_name}:"
            f" {', '.join(sorted(unknown)[:6])}"
        )
    if layout.first in found:
        found[layout.first] = _ordered(found[layout.first], channels, bgr=layout.bgr)
    return found, dropped
