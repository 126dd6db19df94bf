"""Exports a model to one file that runs without ageflax, and verifies its answers."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ageflax.bundle.model import Model
from ageflax.config import CROPS
from ageflax.errors import InputError, RunError
from ageflax.evaluation.settings import Settings
from ageflax.export import accuracy as accuracies
from ageflax.export import stablehlo, verification
from ageflax.export.accuracy import Accuracy
from ageflax.export.description import describe
from ageflax.export.onnx.file import OPSET, OPSETS, OnnxFile
from ageflax.export.serving import LAYOUTS, serving
from ageflax.export.verification import Differences
from ageflax.runtime import files
from ageflax.weights.formats.precision import PRECISIONS

SUFFIXES = (".onnx", ".stablehlo")


@dataclasses.dataclass(frozen=True)
class Written:
    """An exported file, or a bundle.

    Attributes:
      path: its path.
      size: its size in bytes; of a bundle, the sum of its files.
      differences: differences of its answers from JAX's in float32.
      accuracy: its accuracy on labelled faces, if they were given.
    """

    path: Path
    size: int
    differences: Differences
    accuracy: Accuracy | None = None


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """Replaces a file as `files.replacing` does, and the metadata beside a StableHLO file with it."""
    with files.replacing(path) as temporary:
        beside = stablehlo.described_at(temporary)
        try:
            yield temporary
            if beside.exists():
                beside.replace(stablehlo.described_at(path))
        finally:
            beside.unlink(missing_ok=True)


def check_output(path: Path) -> None:
    """Raises InputError if no file can be written under this name."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"--output={path}: expected a name that ends in {' or '.join(SUFFIXES)}")
    if path.is_dir():
        raise InputError(f"--output={path}: is a folder; give a file name")
    if not path.parent.is_dir():
        raise InputError(f"--output={path}: no folder {path.parent}; create it first")


def check_choices(**given: tuple[object, object]) -> None:
    """Raises InputError for an option whose value is none of its choices.

    Args:
      **given: value and choices by the option's name.
    """
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
    tested: Settings | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Written:
    """Exports a model to .onnx or .stablehlo, by the suffix of `output`.

    The file is written under a temporary name, run on images and compared with the bundle's own answers
    before it replaces `output`. Metadata of FILE.stablehlo is in FILE.stablehlo.json.

    Args:
      model: model of one bundle.
      output: file to write; an earlier one is replaced.
      crops: views whose probabilities are averaged, one of CROPS.
      layout: layout of the input, "nhwc_rgb_uint8" or "nchw_bgr_float"; see Serving.
      precision: precision of the weights, "float32", "float16" or "int8". The loss of the latter two is
        reported and not limited.
      opset: version of ONNX's operators.
      faces: photograph of a face, or a folder of some, to verify on; None for random images.
      thorough: True to verify also in a batch of 64.
      tested: dataset to measure the accuracy on; None to measure none.
      say: receives progress lines.

    Raises:
      InputError: the model cannot be exported, an argument is invalid, or the dataset has no labelled
        faces that the model was not trained on.
      RunError: the file's answers differ from the bundle's; nothing is written.
    """
    path = Path(output)
    check_output(path)
    check_choices(
        crops=(crops, CROPS),
        layout=(layout, LAYOUTS),
        precision=(precision, PRECISIONS),
        opset=(opset, OPSETS),
    )
    served = serving(model, layout=layout, crops=crops)
    trial = accuracies.prepare(served, tested, say) if tested else None
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
                f"{path}: not written: answers differ from JAX's by more than"
                f" {verification.TOLERANCE:g}\n{lines}"
            )
        accuracy = trial and accuracies.measure(
            trial,
            lambda faces: answer(served.given(faces)),
            lambda faces: verification.references(served, faces),
        )
        described = describe(served, differences, accuracy, precision=precision, **file.more)
        file.describe(temporary, described)
    return Written(path, path.stat().st_size, differences, accuracy)
