"""Tests a model on the labelled photographs of a folder, and writes predictions and figures."""

import collections
import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2

from ageflax import metrics
from ageflax.bundle.loading import open_model
from ageflax.bundle.model import Model
from ageflax.errors import InputError, one_line
from ageflax.evaluation import output as output_folder
from ageflax.evaluation.result import FaceCounts, FoldResult, Protocol
from ageflax.predict.frames import Frame, workers_here
from ageflax.predict.photographs import figures, predictions_csv, table
from ageflax.predict.photographs.choice import NO_FACE, Photograph, labelled_face
from ageflax.predict.photographs.listing import Listing, Say, by_reason, find
from ageflax.predict.predictor import Predictor
from ageflax.report.wording import counted
from ageflax.runtime import files
from ageflax.runtime.files import Json
from ageflax.runtime.progress import Progress


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Photographs and protocol of a test.

    Attributes:
      photographs: folder of the photographs.
      labels: labels file, or naming of the files; None for labels.csv in the folder.
      detector: name for detectors.open_detector.
      crops: views of a face; None for the model's own.
    """

    photographs: Path
    labels: str | None
    detector: str
    crops: str | None


def _check_unseen(model: Model, listing: Listing) -> None:
    """Refuses the list that a model was trained on."""
    for member in model.members:
        data = member.description.data
        if listing.edition and data.get("edition") == listing.edition:
            raise InputError(
                f"--labels: the model was trained on {listing.labels} itself: figures on faces it has"
                " seen say nothing about others; without --photos its held-out fold is tested"
            )


def _check_measurable(model: Model, listing: Listing, say: Say) -> None:
    """Says which labels or heads have no counterpart.

    Raises:
      InputError: no photograph has a label for any head.
    """
    aged = any(face.age_group or face.age >= 0 for face in listing.faces)
    gendered = any(face.gender >= 0 for face in listing.faces)
    has_age, has_gender = figures.age_task(model.description), "gender" in model.heads
    if not (aged and has_age) and not (gendered and has_gender):
        raise InputError(
            f"{listing.labels}: no photograph has a label for {' or '.join(model.heads)}, the heads of"
            f" {model.name}"
        )
    if aged and not has_age:
        say(f"{model.name} answers no ages: gender alone is tested")
    if gendered and not has_gender:
        say(f"{model.name} answers no gender: age alone is tested")


def _answers(predictor: Predictor, listing: Listing) -> Iterator[Photograph]:
    """Yields every labelled photograph with the model's answer, in the order of the list."""
    frames = (
        Frame(face.path, place, None, listing.folder / face.path)
        for place, face in enumerate(listing.faces)
    )
    total = len(listing.faces)
    with Progress(total, unit="photograph", label=f"testing on {listing.folder}") as progress:
        for label, seen in zip(listing.faces, predictor.stream(frames), strict=True):
            progress.update()
            if seen.failure is not None:
                detail = listing.explain(label.path, seen.failure)
                yield Photograph(label, reason=seen.failure, detail=detail)
            elif not seen.faces:
                yield Photograph(label, reason=NO_FACE)
            else:
                assert seen.size is not None  # it could be read
                yield Photograph(label, labelled_face(seen.faces, seen.size), len(seen.faces))


def _counts(tested: Sequence[Photograph], listing: Listing) -> Json:
    """The object `photographs` of result.json."""
    reasons = collections.Counter(one.reason for one in tested if one.face is None)
    answered, none = len(tested) - reasons.total(), reasons.pop(NO_FACE, 0)
    return {
        "rows": len(tested) + len(listing.rejected),
        "left_out": listing.left_out,
        "unlisted": listing.unlisted,
        "unreadable": dict(sorted(reasons.items())),
        "no_face": none,
        "answered": answered,
        "found": answered / (answered + none) if answered + none else None,
        "several_faces": sum(one.found > 1 for one in tested),
    }


def _tell(tested: Sequence[Photograph], counts: Json, detector: str, say: Say) -> None:
    """Prints how many photographs have no answer, by reason.

    Raises:
      InputError: none has one.
    """
    unreadable, none, answered = counts["unreadable"], counts["no_face"], counts["answered"]
    if unreadable:
        first = next(one for one in tested if one.reason in unreadable)
        why = first.detail or f"{first.label.path}: {first.reason}"
        say(one_line(f"photographs that cannot be read: {by_reason(unreadable)}; the first: {why}"))
    if not answered:
        raise InputError(
            f"none of the {len(tested):,} photographs has an answer:"
            f" {by_reason(unreadable | ({NO_FACE: none} if none else {}))}, by --detector={detector};"
            " none takes images that are faces already"
        )
    if several := counts["several_faces"]:
        count = counted(several, "photograph")
        say(f"several faces in {count}: the largest near the middle is taken")


def _heading(counts: Json, predictor: Predictor, model: Model, listing: Listing) -> str:
    unit = {"all": "subject", "some": "subject or photograph", "none": "photograph"}
    seen = counts["answered"] + counts["no_face"]
    return one_line(
        f"{listing.folder}: a face in {counts['answered']:,} of {seen:,} photographs"
        f" ({100 * counts['found']:.1f} %), which the figures count; {model.name}, detector"
        f" {predictor.detector.name}, crops {predictor.estimator.crops}; 95 % intervals by"
        f" {unit[listing.subjects]}"
    )


def _result(
    model: Model,
    predictor: Predictor,
    listing: Listing,
    counts: Json,
    command: Sequence[str],
    **measured: Any,
) -> FoldResult:
    described, own = model.description, model.description.protocol
    missing = sum(not face.subject for face in listing.faces)
    kept = ("validation", "validation_persons_in_training", "checkpoint", "train_share")
    unreadable = sum(counts["unreadable"].values())
    return FoldResult(
        fold=None,
        protocol=Protocol(
            name="photographs",
            label_policy="contained",
            most_frontal=0,
            resize=described.input.resize,
            crop=described.input.crop,
            crops=predictor.estimator.crops,
            **{key: own.get(key) for key in kept},
        ),
        data={
            "name": listing.folder.resolve().name,
            "faces": len(listing.faces),
            "without_label": len(listing.rejected),
            "unreadable": unreadable,
            "edition": listing.edition or listing.labels,
            "subjects": {"given": listing.subjects, "without": missing, "notice": ""},
        },
        weights=described.source.get("weights"),
        faces=FaceCounts(
            train=None, validation=None, test=len(listing.faces), test_unreadable=unreadable
        ),
        tested_step=described.source.get("step"),
        more={
            "model": model.described(),
            "photographs": counts,
            "labels": listing.labels,
            "detector": predictor.detector.name,
            "command": list(command),
        },
        **measured,
    )


def run(
    source: Path | str,
    settings: Settings,
    output: Path | None,
    *,
    say: Say,
    command: Sequence[str] = (),
) -> tuple[str, Path]:
    """Tests a model on labelled photographs; returns the table of figures and the folder of results.

    Args:
      source: a bundle, a run's fold, a run, an .onnx file, or hf://owner/name[@revision].
      settings: photographs and protocol.
      output: folder for predictions.csv and result.json; default runs/evaluate/MODEL_on_FOLDER.
      say: function that prints a line.
      command: words of the command, for result.json.

    Raises:
      InputError: model, detector, photographs or labels are unusable, the model was trained on these
        labels, or no photograph has an answer.
      RunError: probabilities are not finite, or the device fails.
    """
    started = time.monotonic()
    if output is not None:
        output_folder.claim(output)  # first, to fail before anything that takes long
    listing = find(settings.photographs, settings.labels, say)
    model = open_model(source)
    _check_unseen(model, listing)
    _check_measurable(model, listing, say)
    predictor = Predictor(
        model,
        detector=settings.detector,
        crops=settings.crops,
        under=metrics.ADULT if model.description.tells_years else (),
        engine="onnxruntime" if model.is_onnx else "jax",
        quick=False,
        say=say,
    )
    directory = output or output_folder.default(model, listing.folder.resolve().name)
    output_folder.claim(directory)
    path = directory / "predictions.csv"
    if path.exists() and path.resolve() == Path(listing.labels).resolve():
        raise InputError(f"--output={directory}: its predictions.csv is the --labels file")
    if workers_here() > 1:
        # Photographs are processed in parallel, so OpenCV need not split each over the cores.
        cv2.setNumThreads(1)
    predictor.check_framing([listing.folder / face.path for face in listing.faces])
    since = time.monotonic()
    tested = list(_answers(predictor, listing))
    rate = len(tested) / max(time.monotonic() - since, 1e-9)
    counts = _counts(tested, listing)
    _tell(tested, counts, predictor.detector.name, say)
    tasks = figures.measure(tested, model.description)
    result = _result(
        model,
        predictor,
        listing,
        counts,
        command,
        tasks=tasks,
        images_per_second=rate,
        seconds=time.monotonic() - started,
    )
    # Removed first and written last: a result never lies beside other predictions.
    (directory / "result.json").unlink(missing_ok=True)
    predictions_csv.write(path, tested, listing.rejected, model.description)
    files.write_json(directory / "result.json", result.to_json())
    say(f"{counted(len(tested), 'photograph')}; {rate:.3g} photographs/s")
    return f"{_heading(counts, predictor, model, listing)}\n\n{table.text(tasks)}", directory
