"""Maps names and axes of other frameworks to ours.

Kernels are stored O, I, H, W and O, I there; H, W, I, O and I, O here. `layouts` has the names.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from ageflax.errors import InputError
from ageflax.weights.matching.layouts import COUNTED, DROPPED, LAYOUTS, RESNETS, Layout

Tensors = dict[str, np.ndarray]

# Classifiers of ResNets, torchvision's VGG, timm, and Caffe's fc8, fc8-101, ...; alone or last in a
# sequence; and of efficientnet_pytorch.
CLASSIFIER = r"((?:_?fc|classifier\.6|head|head\.fc|fc8[\w-]*)(?:\.\d{1,2})?)\.(weight|bias)"
# By the position of the last convolution in `features`.
_SHOWN = 6  # names in a message
_PREFIX = re.compile(r"(state_dict|module|model|backbone|encoder)\.")
_VGGS = {
    10: "alexnet", 18: "vgg11", 22: "vgg13", 28: "vgg16", 34: "vgg19",
    25: "vgg11_bn", 32: "vgg13_bn", 40: "vgg16_bn", 49: "vgg19_bn",
}  # fmt: skip
# By the number of convolutions.
_DLIB = {29: "dlib_face_resnet", 11: "dlib_age_resnet", 4: "dlib_gender_cnn"}


def some(names: Sequence[str], separator: str = ", ") -> str:
    """The first few names, and the number of the others."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return separator.join(names[:_SHOWN]) + more


def _without_prefix(tensors: Mapping[str, np.ndarray]) -> Tensors:
    """Removes prefixes that frameworks put before all names."""
    while tensors and (match := _PREFIX.match(next(iter(tensors)))):
        if not all(name.startswith(match[0]) for name in tensors):
            break
        tensors = {name.removeprefix(match[0]): values for name, values in tensors.items()}
    return dict(tensors)


def _resemblance(tensors: Mapping[str, np.ndarray]) -> str:
    """Names the network that has tensors of these names, or describes an unknown one."""
    if {"conv1.weight", "layer1.0.conv1.weight"} <= tensors.keys():
        blocks = [0, 0, 0, 0]
        for name in tensors:
            if match := re.match(r"layer([1-4])\.(\d{1,3})\.", name):
                stage = int(match[1]) - 1
                blocks[stage] = max(blocks[stage], int(match[2]) + 1)
        structure = tuple(blocks), "layer1.0.conv3.weight" in tensors
        names = (name for name, known in RESNETS.items() if known == structure)
        return next(names, f"a ResNet of {blocks} blocks")
    if "features.0.weight" in tensors:
        places = [
            int(match[1])
            for name, values in tensors.items()
            if values.ndim == 4 and (match := re.fullmatch(r"features\.(\d{1,3})\.weight", name))
        ]
        return _VGGS.get(max(places, default=0), "a network of torchvision's VGG kind")
    if {"conv1_1.weight", "conv5_3.weight"} <= tensors.keys():
        return "vgg16"
    if {"_conv_stem.weight", "_blocks.0._depthwise_conv.weight"} <= tensors.keys():
        blocks = {name.split(".")[1] for name in tensors if name.startswith("_blocks.")}
        gated = any("._se_" in name for name in tensors)
        if len(blocks) == 16 and not gated:
            return "efficientnet_lite0"
        return f"an EfficientNet of {len(blocks)} blocks{' with squeeze and excitation' * gated}"
    if {"con1.weight", "con1.bias"} <= tensors.keys():
        count = sum(re.fullmatch(r"con\d+\.weight", name) is not None for name in tensors)
        return _DLIB.get(count, f"one of dlib with {count} convolutions")
    marks = (
        "visual.class_embedding",
        "norm_pre.weight",
        "vision_model.embeddings.class_embedding",
        "embeddings.class_embedding",
    )
    if any(name in tensors for name in marks):
        return "vit_b16"
    if {"patch_embed.proj.weight", "cls_token"} <= tensors.keys():
        return "a ViT without CLIP's norm before its blocks"
    return f"unknown (its first names: {', '.join(sorted(tensors)[:3]) or 'none'})"


def _kernel(values: np.ndarray, path: str, before_fc6: int) -> np.ndarray:
    """Puts a kernel into our order of axes."""
    if values.ndim == 4 and path.endswith(("fc6/kernel", "fc7/kernel")):
        values = values.reshape(len(values), -1)  # timm stores them as convolutions; C, H, W within
    if values.ndim == 4:
        return values.transpose(2, 3, 1, 0)
    if path.endswith("fc6/kernel") and before_fc6 and values.ndim == 2:
        outputs, inputs = values.shape
        side = round((inputs // before_fc6) ** 0.5)
        if side * side * before_fc6 == inputs:
            # Others flatten C, H, W before it, we H, W, C.
            spatial = values.reshape(outputs, before_fc6, side, side)
            values = spatial.transpose(0, 2, 3, 1).reshape(outputs, inputs)
    return values.T


def _vector(values: np.ndarray, path: str) -> np.ndarray:
    """Removes the axes of length one that timm gives tokens and positions."""
    kept = 2 if path.endswith("position_embedding") else 1
    while values.ndim > kept and len(values) == 1:
        values = values[0]
    return values


def _ordered(kernel: np.ndarray, channels: str, *, bgr: bool) -> np.ndarray:
    """Converts the first kernel to the channels of our images.

    Grey images have equal channels, so the kernel's sum over channels gives the same result.
    """
    if kernel.ndim != 4 or kernel.shape[2] != 3:
        return kernel  # no colours; if it does not fit, the check of shapes says so
    if channels == "grey":
        return kernel.sum(2, keepdims=True)
    return kernel if (channels == "bgr") == bgr else kernel[:, :, ::-1]


def _with_joined_qkv(found: Tensors, origin: str) -> Tensors:
    """Joins separate queries, keys and values into the one layer that computes all three.

    Raises:
      InputError: one is missing, or their shapes differ.
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
                f"{origin}: {path} needs q, k and v of the file: {' and '.join(absent)} missing"
            )
        shapes = [three[letter].shape for letter in "qkv"]
        if len(set(shapes)) > 1 or not shapes[0]:
            raise InputError(
                f"{origin}: {path} needs q, k and v of one shape, and the file's are"
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
    """Number of outputs of the first of these convolutions that exists; 0 if none does."""
    kernels = (tensors[name] for name in names if name in tensors)
    return next((len(kernel) for kernel in kernels if kernel.ndim == 4), 0)


def to_ours(
    tensors: Mapping[str, np.ndarray],
    *,
    model_name: str,
    channels: str | None,
    origin: str = "transfer.weights",
) -> tuple[Tensors, list[str]]:
    """Maps another project's tensors to our paths.

    Only ViTs trained with QuickGELU fit, such as OpenAI's and FaRL's, because ours computes it
    (hidden_act = "quick_gelu" in transformers' config.json). Names and shapes do not show it: others,
    such as most of LAION's with the exact GELU, are accepted too and give wrong features.

    Args:
      tensors: tensors under another project's names: ResNets of torchvision and timm, VGG-16 of
        torchvision, timm and Caffe, CLIP ViT-B/16 of OpenAI, FaRL, timm and transformers, with or
        without its text encoder, EfficientNet-Lite0 of efficientnet-lite-pytorch, dlib's face
        recognition, age predictor and gender classifier.
      model_name: name of our network.
      channels: channels of our images: rgb, bgr or grey. The first kernel is converted from BGR (for
        Caffe's names) or RGB (for all others). None leaves it unchanged.
      origin: name of the file in messages.

    Returns:
      Tensors by path, such as "params/trunk/conv1/kernel", and the names left out: a classifier, or
      parts outside the image encoder.

    Raises:
      InputError: the architecture differs, tensors have no place, or a block lacks queries, keys or
        values.
    """
    tensors = _without_prefix(tensors)
    looks_like = _resemblance(tensors)
    if looks_like != model_name or model_name not in LAYOUTS:
        raise InputError(
            f"{origin}: model.name = {model_name!r}, but the file's network is {looks_like}"
        )
    layout = max(LAYOUTS[model_name], key=lambda layout: len(tensors.keys() & set(layout.marks)))
    before_fc6 = _outputs(tensors, "features.28.weight", "conv5_3.weight", "con4.weight")
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
        raise InputError(
            f"{origin}: tensors that have no place in {model_name}: {some(sorted(unknown))}"
        )
    found = _with_joined_qkv(found, origin)
    if channels is not None and layout.first in found:
        found[layout.first] = _ordered(found[layout.first], channels, bgr=layout.bgr)
    return found, left_out + [f"{count} {what}" for what, count in groups.items()]


def classifier(
    tensors: Mapping[str, np.ndarray], *, origin: str
) -> tuple[np.ndarray, np.ndarray] | None:
    """Finds the last layer, which `to_ours` leaves out.

    Args:
      tensors: tensors under another project's names.
      origin: name of the file in messages.

    Returns:
      Kernel, outputs x features, and biases; None if the file has no classifier.

    Raises:
      InputError: the file has several, or one without a kernel or biases.
    """
    found: dict[str, Tensors] = {}
    for name, values in _without_prefix(tensors).items():
        if match := re.fullmatch(CLASSIFIER, name):
            found.setdefault(match[1], {})[match[2]] = values
    if not found:
        return None
    if len(found) > 1:
        raise InputError(f"{origin}: several classifiers: {', '.join(sorted(found)[:4])}")
    (name, parts), *_ = found.items()
    kernel, bias = parts.get("weight"), parts.get("bias")
    if kernel is not None and kernel.ndim == 4 and kernel.shape[2:] == (1, 1):
        kernel = kernel[:, :, 0, 0]  # a convolution over one pixel
    if kernel is None or kernel.ndim != 2 or bias is None or bias.shape != kernel.shape[:1]:
        raise InputError(f"{origin}: {name}: expected a kernel of two axes and a bias per output")
    return kernel, bias
