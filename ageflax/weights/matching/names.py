"""From the names and layouts of other frameworks to ours.

Kernels are stored O, I, H, W and O, I there; H, W, I, O and I, O here. What each framework calls a
tensor is in `foreign_layouts`.
"""

import re
from collections import Counter
from collections.abc import Mapping

import numpy as np

from ageflax.errors import InputError
from ageflax.weights.matching.layouts import COUNTED, DROPPED, LAYOUTS, Layout

Tensors = dict[str, np.ndarray]

# A ResNet's, torchvision's VGG's, timm's, and Caffe's fc8, fc8-101, ...; alone or last of a sequence.
CLASSIFIER = r"((?:fc|classifier\.6|head|head\.fc|fc8[\w-]*)(?:\.\d{1,2})?)\.(weight|bias)"


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
    marks = (
        "visual.class_embedding",
        "norm_pre.weight",
        "vision_model.embeddings.class_embedding",
        "embeddings.class_embedding",
    )
    if any(name in tensors for name in marks):
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


def _with_joined_qkv(found: Tensors, origin: str) -> Tensors:
    """Queries, keys and values that lie apart, as the one layer that computes all three.

    Raises:
      InputError: one is missing, or they differ in shape.
    """
    joined: Tensors = {}
    parts: dict[str, Tensors] = {}
    for path, values in found.items():
        if match := re.fullmatch(r"(.*/)([qkv])(/kernel|/bias)", path):
            parts.setdefault(f"{match[1]}qkv{match[3]}", {})[match[2]] = values
        else:
            joined[path] = values
    for path, three in parts.items():
        absent = [letter for letter in "qkv" if letter not in three]
        if absent:
            raise InputError(
                f"{origin}: {path} is made of the file's q, k and v: {' and '.join(absent)} missing"
            )
        shapes = [three[letter].shape for letter in "qkv"]
        if len(set(shapes)) > 1 or not shapes[0]:
            raise InputError(
                f"{origin}: {path} is made of the file's q, k and v, which have the shapes"
                f" {', '.join(map(str, shapes))}"
            )
        joined[path] = np.concatenate([three[letter] for letter in "qkv"], axis=-1)
    return joined


def _place(name: str, layout: Layout) -> str | None:
    for pattern, path in layout.rules:
        if match := re.fullmatch(pattern, name):
            return match.expand(path)
    return None


def _outputs(tensors: Tensors, *names: str) -> int:
    """Of the first convolution that is there; 0 where none is."""
    kernels = (tensors[name] for name in names if name in tensors)
    return next((len(kernel) for kernel in kernels if kernel.ndim == 4), 0)


def to_ours(
    tensors: Mapping[str, np.ndarray],
    *,
    model_name: str,
    channels: str | None,
    origin: str = "transfer.weights",
) -> tuple[Tensors, list[str]]:
    """Another project's tensors under our paths.

    Of ViTs only weights that were trained with QuickGELU fit, as OpenAI's and FaRL's were: ours computes
    it. Names and shapes do not tell, so others, such as most of LAION's with the exact GELU, are taken
    too and give wrong features. In transformers' config.json it is hidden_act = "quick_gelu".

    Args:
      tensors: by their names there: torchvision's and timm's ResNets, torchvision's, timm's and Caffe's
        VGG-16, CLIP's, FaRL's, timm's and transformers' CLIP ViT-B/16, its texts' half there or not.
      model_name: the network that is asked for.
      channels: what it will see; networks in Caffe's names see BGR, the others RGB, and the first kernel
        is turned to fit. None leaves it as it is.
      origin: what to call the file in messages.

    Returns:
      By path, such as "params/trunk/conv1/kernel"; and the names that are left out: its classifier, or
      what is not of the image encoder.

    Raises:
      InputError: of another architecture, with tensors that have no place, or without one of a
        block's queries, keys and values where they lie apart.
    """
    tensors = _without_prefix(tensors)
    looks_like = _resemblance(tensors)
    if looks_like != model_name or model_name not in LAYOUTS:
        raise InputError(
            f"{origin}: model.name = {model_name!r}, but the file's network is {looks_like}"
        )
    layout = max(LAYOUTS[model_name], key=lambda layout: len(tensors.keys() & set(layout.marks)))
    before_fc6 = _outputs(tensors, "features.28.weight", "conv5_3.weight")
    found: Tensors = {}
    left_out, unknown = [], []
    groups: Counter[str] = Counter()
    for name, values in tensors.items():
        path = _place(name, layout)
        if path is None:
            unknown.append(name)
        elif path == DROPPED:
            left_out.append(name)
        elif path.startswith(COUNTED):
            groups[path.removeprefix(COUNTED)] += 1
        elif path.endswith("/kernel"):
            found[path] = _kernel(values, path, before_fc6)
        else:
            found[path] = _vector(values, path)
    if unknown:
        more = f" and {len(unknown) - 6} more" if len(unknown) > 6 else ""
        raise InputError(
            f"{origin}: tensors that have no place in {model_name}:"
            f" {', '.join(sorted(unknown)[:6])}{more}"
        )
    found = _with_joined_qkv(found, origin)
    if channels is not None and layout.first in found:
        found[layout.first] = _ordered(found[layout.first], channels, bgr=layout.bgr)
    return found, left_out + [f"{count} {what}" for what, count in groups.items()]


def classifier(
    tensors: Mapping[str, np.ndarray], *, origin: str
) -> tuple[np.ndarray, np.ndarray] | None:
    """The last layer, which `to_ours` leaves out: its kernel, outputs x features, and its biases.

    Args:
      tensors: by their names there.
      origin: what to call the file in messages.

    Returns:
      None where the file has none under a name that classifiers have.

    Raises:
      InputError: it has several, or one without a kernel or biases.
    """
    found: dict[str, Tensors] = {}
    for name, values in _without_prefix(tensors).items():
        if match := re.fullmatch(CLASSIFIER, name):
            found.setdefault(match[1], {})[match[2]] = values
    if not found:
        return None
    if len(found) > 1:
        raise InputError(f"{origin}: classifiers of several layers: {', '.join(sorted(found)[:4])}")
    (name, parts), *_ = found.items()
    kernel, bias = parts.get("weight"), parts.get("bias")
    if kernel is not None and kernel.ndim == 4 and kernel.shape[2:] == (1, 1):
        kernel = kernel[:, :, 0, 0]  # as convolutions over one pixel
    if kernel is None or kernel.ndim != 2 or bias is None or bias.shape != kernel.shape[:1]:
        raise InputError(f"{origin}: {name}: expected a kernel of two axes, and a bias an output")
    return kernel, bias
