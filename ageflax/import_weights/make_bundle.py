"""A bundle made of foreign weights: architecture, heads, input and provenance, checked and written."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import unflatten_dict

from ageflax import __version__
from ageflax import config as configuration
from ageflax.bundle.description import Description, Input
from ageflax.bundle.files import write
from ageflax.bundle.loading import shapes_of
from ageflax.bundle.model import Network
from ageflax.data.images import INTERPOLATIONS
from ageflax.errors import InputError, first_line
from ageflax.import_weights import classes, preprocessing, read
from ageflax.import_weights.known import KNOWN
from ageflax.import_weights.read import Foreign
from ageflax.weights.formats.safetensors import sha256

# The kernel that sees the image, and the outputs that it has at width 1.
_FIRST = {
    "levi_hassner": ("conv1", 96),
    "vgg16": ("conv1_1", 64),
    "resnet18": ("conv1", 64),
    "resnet34": ("conv1", 64),
    "resnet50": ("conv1", 64),
    "vit_b16": ("patch_embedding", 768),
}
ARCHITECTURES = tuple(_FIRST)
CHANNELS = ("bgr", "rgb")
# What the network sees, and what the face is resized to before, where nothing else is said.
_SIDES = {"levi_hassner": (227, 256)}
_OF_ALL = (224, 224)


@dataclasses.dataclass(frozen=True)
class Request:
    """What a command line asks for; None is what is not said, "" of texts.

    Attributes:
      framework: the file's format, one of foreign.FORMATS.
      arch: the network of ours.
      input: the file.
      output: the bundle's folder.
      known: a published model, one of KNOWN.
      classes: as of classes.heads_of.
      channels: that the network sees: bgr or rgb.
      mean: as of preprocessing.mean.
      deviation: as of preprocessing.deviation.
      resize: side in pixels of the decoded face.
      crop: side in pixels of what the network sees.
      interpolation: how faces are resized.
      crop_margin: share of a detected box's side that is added on each side.
      data: what the model was trained on.
      licence: of that, and of the weights.
    """

    framework: str
    arch: str
    input: Path
    output: Path
    known: str | None = None
    classes: str | None = None
    channels: str | None = None
    mean: str | None = None
    deviation: str | None = None
    resize: int | None = None
    crop: int | None = None
    interpolation: str = "bilinear"
    crop_margin: float | None = None
    data: str | None = None
    licence: str | None = None


def _completed(request: Request) -> Request:
    """With what is known of the model, the format or the network in place of what is not said.

    Raises:
      InputError: something is needed still, or is none of the choices.
    """
    if request.arch not in ARCHITECTURES:
        raise InputError(
            f"--arch={request.arch}: expected one of {', '.join(ARCHITECTURES)}, which weights are"
            " imported for"
        )
    said: dict[str, Any] = {}
    if request.known is not None:
        if request.known not in KNOWN:
            raise InputError(f"--known={request.known}: expected one of {', '.join(KNOWN)}")
        said = dataclasses.asdict(KNOWN[request.known])
        if said.pop("arch") != request.arch:
            raise InputError(
                f"--known={request.known}: of --arch={KNOWN[request.known].arch}, not {request.arch}"
            )
    if request.framework == "caffe":
        said.setdefault("channels", "bgr")  # Caffe's own readers give no other
    crop, resize = _SIDES.get(request.arch, _OF_ALL)
    crop = request.crop or crop
    said |= {"crop": crop, "resize": max(resize, crop)}
    missing = {name: value for name, value in said.items() if getattr(request, name) is None}
    request = dataclasses.replace(request, **missing)
    if request.channels not in CHANNELS:
        raise InputError(
            "the file does not say in which order its network sees the channels: --channels=rgb (usual"
            " in PyTorch) or --channels=bgr (Caffe's, and whatever read images by OpenCV)"
        )
    crop, resize = request.crop or 0, request.resize or 0
    if not 16 <= crop <= resize <= 4096:
        raise InputError(f"--crop={crop} --resize={resize}: expected 16 <= crop <= resize <= 4096")
    if not 0.0 <= (request.crop_margin or 0.0) <= 4.0:
        raise InputError(f"--crop_margin={request.crop_margin}: expected a share from 0 to 4")
    if request.interpolation not in INTERPOLATIONS:
        raise InputError(
            f"--interpolation={request.interpolation}: expected one of {', '.join(INTERPOLATIONS)}"
        )
    return request


def _architecture(request: Request, found: Foreign) -> dict[str, Any]:
    """As a bundle has it, with the width and depth that the weights are of."""
    name = request.arch
    layer, outputs = _FIRST[name]
    kernel = found.trunk.get(f"params/trunk/{layer}/kernel")
    if kernel is None or kernel.ndim != 4:
        raise InputError(f"{request.input}: {layer}, the layer that sees the image, is not in it")
    model = configuration.replaced(configuration.Config(), **{"model.name": name}).model
    architecture = {key: value for key, value in model.to_dict().items() if value is not None}
    architecture["width"] = kernel.shape[-1] / outputs
    if name == "vit_b16":
        blocks = {m[1] for path in found.trunk if (m := re.search(r"/block_(\d+)/", path))}
        architecture["depth"] = len(blocks)
    return architecture


def _heads(found: Foreign, heads: classes.Heads) -> dict[str, np.ndarray]:
    """The last layer's rows as our heads, by path."""
    tensors = {}
    for task, rows in heads.rows.items():
        assert found.kernel is not None and found.bias is not None  # since there are rows
        tensors[f"params/heads/{task}/kernel"] = found.kernel[list(rows)].T
        tensors[f"params/heads/{task}/bias"] = found.bias[list(rows)]
    return tensors


def _check_shapes(request: Request, description: Description, tensors: dict[str, Any]) -> None:
    """Raises InputError where the weights are not those of the architecture at this crop."""
    crop = request.crop or 0
    try:
        wanted = shapes_of(Network(description))
    except Exception as error:  # widths and crops that no network has fail wherever they come up
        first = first_line(error)
        raise InputError(f"--crop={crop}: no {request.arch} of these weights: {first}") from error
    given = {path: values.shape for path, values in tensors.items()}
    differing = sorted(
        path
        for path in (wanted.keys() | given.keys()) - {"mean", "deviation"}
        if wanted.get(path) != given.get(path)
    )
    if differing:
        path = differing[0]
        raise InputError(
            f"{request.input}: not the weights of {request.arch} at --crop={crop}: {len(differing)}"
            f" arrays differ, such as {path.partition('/')[2]}: {given.get(path, 'absent')} in the"
            f" file, {wanted.get(path, 'absent')} expected"
        )


def _check_values(request: Request, tensors: dict[str, np.ndarray]) -> None:
    for path, values in tensors.items():
        if values.dtype != np.float32:
            raise InputError(f"{request.input}: {path} is of {values.dtype}, not of weights")
        if not np.isfinite(values).all() or (path.endswith("/var") and (values < 0).any()):
            raise InputError(f"{request.input}: {path} has values that no weights have")


def _description(
    request: Request, architecture: dict[str, Any], heads: classes.Heads
) -> Description:
    """The bundle's description; it says nothing of training, which was elsewhere."""
    names = {task: tuple(classes) for task, classes in heads.names.items()}
    return Description(
        architecture=architecture,
        heads=names,
        loss=configuration.Config().loss,
        intervals=heads.groups,
        input=Input(
            request.resize or 0, request.crop or 0, request.interpolation, request.channels or ""
        ),
        crop_margin=request.crop_margin or 0.0,
        data={"name": request.data, "licence": request.licence},
        source={
            "ageflax": __version__,
            "imported_from": {
                "format": request.framework,
                "file": request.input.name,
                "sha256": sha256(request.input),
                "known": request.known,
            },
            "fold": None,
            "step": None,
            "task": "+".join(names) or None,
            "seed": None,
            "weights": None,
        },
        calibration=dict.fromkeys(names),
    )


def _check_output(path: Path) -> None:
    """Raises InputError where something else than a bundle is in the way."""
    if path.is_dir():
        bundle_there = (path / "config.json").is_file() and (path / "model.safetensors").is_file()
        if any(path.iterdir()) and not bundle_there:
            raise InputError(f"--output={path}: a folder with something else in it; name a new one")
    elif path.exists() or path.is_symlink():
        raise InputError(f"--output={path}: a file; name the folder that the bundle is to be")


def run(request: Request, *, say: Callable[[str], None]) -> None:
    """Reads the file, writes the bundle, and says what was made of what.

    Raises:
      InputError: the file cannot be read or is of another network, or the command line lacks what it
        does not say.
    """
    request = _completed(request)
    _check_output(request.output)
    channels, resize = request.channels or "", request.resize or 0
    mean = preprocessing.mean(request.mean, channels=channels, resize=resize)
    deviation = preprocessing.deviation(
        request.deviation, mean_given=request.mean, channels=channels
    )
    found = read.read(request.input, request.framework, request.arch, crop=request.crop or 0)
    if found.kernel is None and request.classes not in (None, "none"):
        raise InputError(f"{request.input}: no last layer in it that classes could be of")
    if found.kernel is None:
        heads = classes.heads_of("none", 0)
    else:
        heads = classes.heads_of(request.classes, len(found.kernel))
    description = _description(request, _architecture(request, found), heads)
    tensors = found.trunk | _heads(found, heads)
    _check_values(request, tensors)
    _check_shapes(request, description, tensors)
    variables = unflatten_dict(
        {path: np.ascontiguousarray(values) for path, values in tensors.items()}, sep="/"
    )
    write(request.output, description, variables, mean=mean, std=deviation)
    _report(request, found, heads, say)


def _report(
    request: Request, found: Foreign, heads: classes.Heads, say: Callable[[str], None]
) -> None:
    count = sum(values.size for values in found.trunk.values())
    say(f"{request.input}: the trunk of {request.arch}, {count:,} numbers")
    for task, rows in heads.rows.items():
        moved = "" if list(rows) == sorted(rows) else ", put in this order"
        names = heads.names[task]
        say(f"head {task}: {len(names)} classes, {names[0]} to {names[-1]}{moved}")
    if not heads.rows:
        why = "no last layer in it" if found.kernel is None else "its last layer left out"
        say(
            f"no heads ({why}): a start for training, --config.transfer.weights={request.output}, not"
            " a model that answers"
        )
    used = {row for rows in heads.rows.values() for row in rows}
    unused = 0 if found.kernel is None or not used else len(found.kernel) - len(used)
    left_out = found.left_out + ([f"{unused} outputs"] if unused else [])
    if left_out:
        say(f"not used: {', '.join(left_out[:6])}" + ", ..." * (len(left_out) > 6))
    if request.arch == "vit_b16":
        say(
            "taken to be trained with QuickGELU, as OpenAI's CLIP and FaRL were: the file cannot tell"
        )
    if request.licence is None:
        say("no licence is stated (--licence=TEXT): that of its data and of its authors holds")
    say(f"bundle: {request.output}")
