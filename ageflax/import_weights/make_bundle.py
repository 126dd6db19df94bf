"""Makes a bundle from foreign weights: architecture, heads, input and provenance."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

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
from ageflax.runtime.files import Json
from ageflax.weights.formats.safetensors import sha256

# First layer and its outputs at width 1.
_FIRST = {
    "levi_hassner": ("conv1", 96),
    "vgg16": ("conv1_1", 64),
    "resnet18": ("conv1", 64),
    "resnet34": ("conv1", 64),
    "resnet50": ("conv1", 64),
    "vit_b16": ("patch_embedding", 768),
    "efficientnet_lite0": ("stem_conv", 32),
    "dlib_face_resnet": ("conv1", 32),
    "dlib_age_resnet": ("conv1", 64),
    "dlib_gender_cnn": ("conv1_1", 32),
}
ARCHITECTURES = tuple(_FIRST)
CHANNELS = ("bgr", "rgb")
# Defaults of crop and resize.
_SIDES = {
    "levi_hassner": (227, 256),
    "dlib_face_resnet": (150, 150),
    "dlib_age_resnet": (64, 64),
    "dlib_gender_cnn": (32, 32),
}
_OTHER_SIDES = (224, 224)
_NEVER = -1e4  # score of a class that the file lacks: probability 0


@dataclasses.dataclass(frozen=True)
class Request:
    """Options of the command; None if not given.

    Attributes:
      framework: format of the file, a key of foreign.NETWORKS.
      arch: architecture of ageflax.
      input: file of weights.
      output: folder of the bundle.
      known: published model, one of KNOWN.
      classes: classes of the outputs; see classes.heads_of.
      channels: channel order of the network's input, bgr or rgb.
      mean: see preprocessing.mean.
      deviation: see preprocessing.std.
      resize: side in pixels of the decoded face.
      crop: side in pixels of the network's input.
      interpolation: resizing filter.
      crop_margin: share of a detected box's side added on each side.
      data: name of the training data.
      licence: licence of the weights and of that data.
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


def _completed(request: Request) -> tuple[Request, Input]:
    """Fills in facts of the known model and defaults; returns also the bundle's input.

    Raises:
      InputError: an option is missing or invalid.
    """
    if request.arch not in ARCHITECTURES:
        raise InputError(f"--arch={request.arch}: expected one of {', '.join(ARCHITECTURES)}")
    facts: Json = {}
    if request.known is not None:
        if request.known not in KNOWN:
            raise InputError(f"--known={request.known}: expected one of {', '.join(KNOWN)}")
        facts = dataclasses.asdict(KNOWN[request.known])
        if (arch := facts.pop("arch")) != request.arch:
            raise InputError(f"--known={request.known}: not {request.arch}; use --arch={arch}")
    if request.framework == "caffe":
        facts.setdefault("channels", "bgr")  # the only order of Caffe's own readers
    if request.framework == "dlib":  # whose input is a part of the network
        facts |= {"channels": "rgb", "mean": "dlib"}
    missing = {name: value for name, value in facts.items() if getattr(request, name) is None}
    request = dataclasses.replace(request, **missing)
    crop, resize = _SIDES.get(request.arch, _OTHER_SIDES)
    crop = crop if request.crop is None else request.crop
    resize = max(resize, crop) if request.resize is None else request.resize
    if request.channels not in CHANNELS:
        raise InputError(
            "--channels: needed, since the file does not hold it; use --channels=rgb (usual in PyTorch)"
            " or --channels=bgr (Caffe, OpenCV)"
        )
    if not 16 <= crop <= resize <= 4096:
        raise InputError(f"--crop={crop} --resize={resize}: expected 16 <= crop <= resize <= 4096")
    if not 0.0 <= (request.crop_margin or 0.0) <= 4.0:
        raise InputError(f"--crop_margin={request.crop_margin}: expected a share from 0 to 4")
    if request.interpolation not in INTERPOLATIONS:
        raise InputError(
            f"--interpolation={request.interpolation}: expected one of {', '.join(INTERPOLATIONS)}"
        )
    return request, Input(resize, crop, request.interpolation, request.channels)


def _architecture(request: Request, found: Foreign) -> Json:
    """The bundle's architecture, with the width and depth of the weights."""
    name = request.arch
    layer, outputs = _FIRST[name]
    kernel = found.trunk.get(f"params/trunk/{layer}/kernel")
    if kernel is None or kernel.ndim != 4:
        raise InputError(f"{request.input}: no weights of {layer}, the first layer of {name}")
    model = configuration.replaced(configuration.Config(), **{"model.name": name}).model
    architecture = {key: value for key, value in model.to_dict().items() if value is not None}
    architecture["width"] = kernel.shape[-1] / outputs
    if name == "vit_b16":
        blocks = {m[1] for path in found.trunk if (m := re.search(r"/block_(\d+)/", path))}
        architecture["depth"] = len(blocks)
    return architecture


def _heads(found: Foreign, heads: classes.Heads) -> dict[str, np.ndarray]:
    """Weights of the heads by path, from the last layer's rows."""
    tensors = {}
    for task, rows in heads.rows.items():
        assert found.kernel is not None and found.bias is not None  # since there are rows
        # A class that the file lacks comes last there.
        kernel = np.pad(found.kernel, ((0, 1), (0, 0)))
        bias = np.append(found.bias, np.float32(_NEVER))
        places = [len(found.bias) if row is None else row for row in rows]
        tensors[f"params/heads/{task}/kernel"] = kernel[places].T
        tensors[f"params/heads/{task}/bias"] = bias[places]
    return tensors


def _check_shapes(request: Request, description: Description, tensors: Json) -> None:
    """Raises InputError if the weights do not fit the architecture at this crop."""
    crop = description.input.crop
    try:
        wanted = shapes_of(Network(description))
    except Exception as error:  # impossible widths and crops fail wherever they come up
        raise InputError(
            f"--crop={crop}: no {request.arch} has these weights: {first_line(error)}"
        ) from error
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
            raise InputError(f"{request.input}: {path}: dtype {values.dtype}, expected float32")
        if not np.isfinite(values).all() or (path.endswith("/var") and (values < 0).any()):
            raise InputError(f"{request.input}: {path}: non-finite values or negative variances")


def _description(
    request: Request, spec: Input, architecture: Json, heads: classes.Heads
) -> Description:
    """The bundle's description, without the parts about training."""
    names = {task: tuple(classes) for task, classes in heads.names.items()}
    return Description(
        architecture=architecture,
        heads=names,
        loss=configuration.Config().loss,
        intervals=heads.groups,
        input=spec,
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
    """Raises InputError if something other than a bundle is at the output path."""
    if path.is_dir():
        bundle_there = (path / "config.json").is_file() and (path / "model.safetensors").is_file()
        if any(path.iterdir()) and not bundle_there:
            raise InputError(f"--output={path}: a folder with other files in it; give a new one")
    elif path.exists() or path.is_symlink():
        raise InputError(f"--output={path}: is a file; give the folder of the bundle")


def run(request: Request, *, say: Callable[[str], None]) -> None:
    """Reads the file, writes the bundle and reports its contents.

    Args:
      request: options of the command.
      say: receives lines for the user.

    Raises:
      InputError: the file cannot be read or holds another network, or an option is missing or invalid.
    """
    request, spec = _completed(request)
    _check_output(request.output)
    mean = preprocessing.mean(request.mean, channels=spec.channels, resize=spec.resize)
    std = preprocessing.std(request.deviation, mean=request.mean, channels=spec.channels)
    found = read.read(request.input, request.framework, request.arch, crop=spec.crop)
    if found.kernel is not None:
        heads = classes.heads_of(request.classes, len(found.kernel))
    elif request.classes in (None, "none"):
        heads = classes.heads_of("none", 0)
    else:
        raise InputError(f"{request.input}: no last layer for --classes; use --classes=none")
    description = _description(request, spec, _architecture(request, found), heads)
    tensors = found.trunk | _heads(found, heads)
    _check_values(request, tensors)
    _check_shapes(request, description, tensors)
    variables = unflatten_dict(
        {path: np.ascontiguousarray(values) for path, values in tensors.items()}, sep="/"
    )
    write(request.output, description, variables, mean=mean, std=std)
    _report(request, found, heads, say)


def _report(
    request: Request, found: Foreign, heads: classes.Heads, say: Callable[[str], None]
) -> None:
    count = sum(values.size for values in found.trunk.values())
    say(f"{request.input}: trunk of {request.arch}, {count:,} parameters")
    for task, rows in heads.rows.items():
        there = [row for row in rows if row is not None]
        moved = "" if there == sorted(there) else ", reordered"
        names = [name for name, row in zip(heads.names[task], rows, strict=True) if row is not None]
        say(f"head {task}: {len(names)} classes, {names[0]} to {names[-1]}{moved}")
    if not heads.rows:
        why = "the file has no last layer" if found.kernel is None else "last layer dropped"
        say(
            f"no heads ({why}): use it to start training, --config.transfer.weights={request.output}; it"
            " cannot predict"
        )
    used = {row for rows in heads.rows.values() for row in rows if row is not None}
    unused = 0 if found.kernel is None or not used else len(found.kernel) - len(used)
    left_out = found.left_out + ([f"{unused} outputs"] if unused else [])
    if left_out:
        say(f"not used: {', '.join(left_out[:6])}" + ", ..." * (len(left_out) > 6))
    if request.arch == "vit_b16":
        say(
            "assuming QuickGELU, as in OpenAI's CLIP and FaRL: the file does not hold the activation"
        )
    if request.licence is None:
        say("no licence given (--licence=TEXT): that of the data and of the authors applies")
    say(f"bundle: {request.output}")
