"""Writes a model as one file that needs nothing of this project, and proves that it answers alike."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ageflax.bundle.inference import CROPS
from ageflax.bundle.model import Model
from ageflax.errors import InputError, RunError
from ageflax.export import stablehlo, verification
from ageflax.export.description import describe
from ageflax.export.onnx.file import OPSET, OPSETS, OnnxFile
from ageflax.export.onnx.precision import PRECISIONS
from ageflax.export.serving import LAYOUTS, serving
from ageflax.export.verification import Differences
from ageflax.runtime import files

SUFFIXES = (".onnx", ".stablehlo")


@dataclasses.dataclass(frozen=True)
class Written:
    """A file that was written.

    Attributes:
      path: of it.
      size: bytes.
      differences: of its answers from JAX's in float32.
    """

    path: Path
    size: int
    differences: Differences


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """`files.replacing`, and with it the description that a StableHLO file has beside it."""
    with files.replacing(path) as temporary:
        beside = stablehlo.described_at(temporary)
        try:
            yield temporary
            if beside.exists():
                beside.replace(stablehlo.described_at(path))
        finally:
            beside.unlink(missing_ok=True)


def check_output(path: Path) -> None:
    """Raises InputError where no file can be written under that name."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"--output={path}: expected a name that ends in {' or '.join(SUFFIXES)}")
    if path.is_dir():
        raise InputError(f"--output={path}: a folder is there already")
    if not path.parent.is_dir():
        raise InputError(f"--output={path}: there is no folder {path.parent}")


def _check_choices(**given: tuple[object, object]) -> None:
    for name, (value, choices) in given.items():
        if value not in tuple(choices):  # type: ignore[call-overload]
            listed = ", ".join(map(str, choices))  # type: ignore[call-overload]
            raise InputError(f"--{name}={value}: expected one of {listed}")


def export(
    model: Model,
    output: Path | str,
    *,
    crops: str = "center",
    layout: str = "nhwc_rgb_uint8",
    precision: str = "float32",
    opset: int = OPSET,
    faces: Path | None = None,
    thorough: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Written:
    """Writes a model as .onnx or .stablehlo, by the name's ending.

    The file is written under another name, run on images, and held against the bundle's own answers,
    before it gets its name. A .stablehlo has FILE.stablehlo.json beside it, which describes it.

    Args:
      model: a bundle.
      output: replaced if there is one.
      crops: views whose probabilities are averaged: "center", "mirror" or "ten".
      layout: of the input, "nhwc_rgb_uint8" or "nchw_bgr_float"; see onnx_model and Serving.
      precision: of the weights, "float32", "float16" or "int8". Of the latter the differences are what
        they cost, and are not judged.
      opset: of ONNX.
      faces: a photograph of a face, or a folder of some, to verify it on; random images if not given.
      thorough: verify it also in a batch of 64.
      say: takes lines for the user.

    Raises:
      InputError: the model, or what is asked for, cannot be exported.
      RunError: the file answers otherwise than the bundle; nothing is written.
    """
    path = Path(output)
    check_output(path)
    _check_choices(
        crops=(crops, CROPS),
        layout=(layout, LAYOUTS),
        precision=(precision, PRECISIONS),
        opset=(opset, OPSETS),
    )
    served = serving(model, layout=layout, crops=crops)
    sizes = verification.THOROUGH if thorough or faces else verification.QUICK
    if faces is not None:
        tried = verification.read_faces(served, faces, max(sizes))
    else:
        tried = verification.random_faces(model.description.input.resize, max(sizes))
    if path.suffix == ".onnx":
        file = OnnxFile(served, opset=opset, precision=precision)
    else:
        file = stablehlo.StableHloFile(served, precision=precision)
    with _replaced(path) as temporary:
        file.write(temporary)
        say("verifying against JAX")
        answer = file.answers(temporary)
        differences, within = verification.compare(served, answer, tried, sizes)
        if precision == "float32" and not within:
            lines = "\n".join(differences.lines())
            raise RunError(
                f"{path}: not written: its answers differ from JAX's by more than"
                f" {verification.TOLERANCE:g}\n{lines}"
            )
        described = describe(served, differences, precision=precision, **file.more)
        file.describe(temporary, described)
    return Written(path, path.stat().st_size, differences)
