"""Exports a bundle to pass on: weights in fewer bits, figures in its card, and its terms in a file."""

import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ageflax.bundle import card, evaluations, loading
from ageflax.bundle import files as bundle_files
from ageflax.bundle.description import Description
from ageflax.bundle.files import CARD, CONFIG, LICENCE, WEIGHTS
from ageflax.bundle.inference import network_variables
from ageflax.bundle.model import Member, Model
from ageflax.errors import InputError, RunError, one_line
from ageflax.evaluation.settings import Settings
from ageflax.export import accuracy as accuracies
from ageflax.export import verification
from ageflax.export.serving import Serving, serving
from ageflax.export.write import Written, check_choices
from ageflax.runtime.files import Json, read_json
from ageflax.weights.formats.precision import PRECISIONS
from ageflax.weights.formats.safetensors import sha256

# Largest differences from float32 of ages, in years, and of probabilities.
_MOST_YEARS, _MOST = 1.0, 0.1
_FILES = (CONFIG, CARD, LICENCE, WEIGHTS)  # the weights last: with them the bundle is whole
_MOST_TERMS = 100_000  # bytes


def check_output(path: Path, model: Model) -> None:
    """Raises InputError if no bundle can be written into this folder, or if it is not one's own."""
    if not path.parent.is_dir():
        raise InputError(f"--output={path}: no folder {path.parent}; create it first")
    if path.exists() and not path.is_dir():
        raise InputError(f"--output={path}: is a file; name a folder")
    others = sorted({each.name for each in path.iterdir()} - set(_FILES)) if path.exists() else []
    if others:
        raise InputError(f"--output={path}: holds {one_line(others[0], 100)}; name another folder")
    if path.resolve() in {Path(str(member.path)).resolve() for member in model.members}:
        raise InputError(f"--output={path}: is the exported model itself; name another folder")


def _read_terms(path: Path) -> str:
    try:
        if path.stat().st_size > _MOST_TERMS:
            raise InputError(f"--terms={path}: larger than {_MOST_TERMS} bytes; name a text file")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"--terms={path}: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"--terms={path}: not a text file in UTF-8") from error
    if not text.strip():
        raise InputError(f"--terms={path}: an empty file")
    return text


def _stated_terms(description: Description) -> str:
    """Text of the terms that a bundle's description states."""
    data, weights = description.data, description.source.get("weights") or {}
    lines = [
        "Terms of the weights in this folder. The licence of ageflax's code, Apache-2.0, does not cover"
        " them.",
        f"Trained on {data.get('name') or 'data that is not recorded'}:"
        f" {data.get('licence') or 'terms not recorded'}",
    ]
    if weights:
        licence = weights.get("licence") or "terms not recorded"
        lines.append(f"Training started from {weights.get('source')}: {licence}")
    return "\n\n".join(lines) + "\n"


def _with_terms(description: Description, text: str | None) -> tuple[Description, str]:
    """Description and text of its terms; the first paragraph of a given text is the data's licence."""
    if text is None:
        return description, _stated_terms(description)
    licence = one_line(text.strip().split("\n\n")[0])
    return dataclasses.replace(description, data=description.data | {"licence": licence}), text


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """Yields an empty folder whose files replace those of `path` if the block succeeds."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
    temporary.mkdir()
    try:
        yield temporary
        path.mkdir(exist_ok=True)
        for name in _FILES:
            (temporary / name).replace(path / name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _answer(served: Serving) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    return lambda faces: served.expected(served.model(faces, crops=served.crops))


def _stored_before(path: Path, member: Member) -> Json:
    """`storage` of a bundle there with the same weights; empty if there is none.

    The model may come from these very weights, by a run of zero steps: no difference would be found from
    weights that had been stored before.
    """
    if not (path / WEIGHTS).is_file() or sha256(path / WEIGHTS) != member.sha256:
        return {}
    return dict(loading.member(path).description.storage)


def _check(differences: verification.Differences, path: Path) -> None:
    """Raises RunError if answers on faces are too far from float32's."""
    for name, value in differences.overall.items():
        most, unit = (_MOST_YEARS, " years") if name == "age" else (_MOST, "")
        if value > most:
            raise RunError(
                f"{path}: not written: {name} differs from float32 by {value:.2g}{unit}, more than"
                f" {most:g}, on {differences.faces}; try another --precision"
            )


def export(
    model: Model,
    output: Path,
    *,
    precision: str,
    faces: Path | None = None,
    terms: Path | None = None,
    figures: Sequence[Path] = (),
    tested: Settings | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Written:
    """Writes a bundle like the given one, with weights of another precision.

    It is written beside `output` and compared with the given model before it takes the place of a
    bundle there. Its LICENSE has the terms, its config.json and card the differences and the figures.

    Args:
      model: model of one bundle, in float32.
      output: folder to write.
      precision: precision of the weights, one of PRECISIONS.
      faces: photograph of a face, or a folder of some, to verify on; None for random images, on which
        differences are told and not limited.
      terms: text file of the terms, whose first paragraph states them in short; None for those that the
        bundle states.
      figures: result.json of tests by ageflax.evaluate.
      tested: dataset to measure the accuracy on, for the card; None to measure none.
      say: receives progress lines.

    Raises:
      InputError: the model or an argument is unusable.
      RunError: on faces, answers differ by more than a year or 10 % from the given model's; nothing is
        written.
    """
    check_choices(precision=(precision, PRECISIONS))
    check_output(output, model)
    described = model.description
    crops = described.protocol.get("crops") or "center"
    served = serving(model, layout="nhwc_rgb_uint8", crops=crops)
    before = described.storage.get("precision", "float32")
    if before != "float32":
        raise InputError(
            f"--model={model.name}: its weights are {before} already; name the model it was made from"
        )
    given = _read_terms(terms) if terms else None
    results = [(path, read_json(path)) for path in figures]
    if absent := [path for path, result in results if result is None]:
        raise InputError(f"--figures={absent[0]}: no such file")
    described, text = _with_terms(described, given)
    storage: Json = {"precision": precision, "sha256": served.member.sha256}
    trial = accuracies.prepare(served, tested, say) if tested else None
    count = max(verification.THOROUGH)
    if faces is None:
        tried: Any = verification.random_faces(described.input.resize, count)
    else:
        tried = verification.read_faces(served, faces, count)
    variables = served.member.variables
    with _replaced(output) as temporary:
        bundle_files.write(
            temporary,
            dataclasses.replace(described, storage=storage),
            network_variables(variables.params, variables.batch_stats),
            mean=variables.mean,
            std=variables.std,
        )
        written = Model([loading.member(temporary)], str(output))
        say("verifying against float32")
        stored = serving(written, layout=served.layout, crops=crops)
        differences, _ = verification.compare(served, _answer(stored), tried, [count])
        if faces is not None:  # on noise it says little
            _check(differences, output)
        accuracy = trial and accuracies.measure(
            trial,
            lambda faces: verification.references(stored, faces),
            lambda faces: verification.references(served, faces),
        )
        measured: Json = {"accuracy": accuracy.to_json()} if accuracy else {}
        earlier = _stored_before(output, stored.member)
        if any(differences.overall.values()):
            earlier |= measured
        storage |= {"images": differences.faces, "largest": differences.overall}
        storage |= measured | earlier
        own = {served.member.sha256, stored.member.sha256}
        tests = [evaluations.of_result(result, path, own=own) for path, result in results]
        kept = tests or described.evaluations
        final = dataclasses.replace(
            stored.member.description, storage=storage, evaluations=tuple(kept)
        )
        card.write(temporary, final.to_json())
        (temporary / LICENCE).write_text(text, encoding="utf-8")
    size = sum((output / name).stat().st_size for name in _FILES)
    return Written(output, size, differences, accuracy)
