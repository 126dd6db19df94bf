"""README.md of a bundle: a model card in the Hugging Face hub's format."""

import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ageflax.bundle import evaluations, licences
from ageflax.bundle.framing_errors import FramingErrors
from ageflax.errors import one_line
from ageflax.runtime import files
from ageflax.runtime.files import Json

# Keys that a description may lack, as after an import.
_KEYS = {
    "data": ("name", "faces", "edition", "licence"),
    "source": ("ageflax", "imported_from", "weights", "fold", "step", "seed"),
    "protocol": ("name", "label_policy", "crops", "checkpoint", "validation_persons_in_training"),
    "calibration": (),
    "figures": (),
}
_TABLES = {
    "years": "Age, of faces whose age is known",
    "ranges": "Age, of faces known to be in a range",
    "age": "Age group",
    "gender": "Gender",
}
_FIGURES = {"exact": "exact", "one_off": "one-off", "mae": "mean absolute error", "cs5": "CS@5"}


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _value(figure: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f} years" if figure == "mae" else _percent(value)


def _tags(description: Mapping[str, Any]) -> list[str]:
    tasks = description["heads"]
    tags = ["ageflax", "jax", "flax", "face"]
    tags += ["age-estimation"] * bool({"age", "years"} & set(tasks))
    tags += ["gender-classification"] * ("gender" in tasks)
    return [*tags, description["architecture"]["name"]]


def _results(description: Mapping[str, Any]) -> list[Any]:
    """Test figures in the form of the hub's own tables."""
    from huggingface_hub import EvalResult  # late, as it takes a third of a second

    name, fold = description["data"].get("name"), description["source"].get("fold")
    found = []
    for task, figures in description["figures"].items():
        values = {"accuracy": figures.get("exact"), "mae": (figures.get("years") or {}).get("mae")}
        values["one_off_accuracy"] = figures.get("one_off")
        found += [
            EvalResult(
                task_type="image-classification",
                # The hub merges results of one task and dataset: the metric's name tells heads apart.
                task_name=f"{' and '.join(description['heads'])} from a face",
                dataset_type=name.split("/")[0],
                dataset_name=name,
                dataset_split=None if fold is None else f"fold_{fold}",
                metric_type=metric,
                metric_name=f"{task}: {metric}",
                metric_value=round(value, 6),
            )
            for metric, value in values.items()
            if name and value is not None
        ]
    return found


def _front_matter(description: Mapping[str, Any]) -> str:
    from huggingface_hub import ModelCardData

    licence = licences.identifier(description["data"].get("licence"))
    results = _results(description)
    card = ModelCardData(
        license=licence,
        license_name="terms-of-the-training-data" if licence == "other" else None,
        library_name="ageflax",
        pipeline_tag="image-classification",
        tags=_tags(description),
        # No `datasets`: the hub would link to an unrelated dataset of that name.
        metrics=sorted({result.metric_type for result in results}) or None,
        eval_results=results or None,
        model_name=description["architecture"]["name"] if results else None,
    )
    return card.to_yaml()


def _folds(description: Mapping[str, Any]) -> Iterator[tuple[str, str, list[str], str]]:
    """Yields (task, figure, its value per fold, mean and std) over the folds of the run."""
    run = description.get("cross_validation") or {"tasks": {}, "folds": []}
    if len(run["folds"]) < 2:
        return
    for task, figures in run["tasks"].items():
        for name, over in figures.items():
            if over["mean"] is None:
                continue
            mean = _value(name, over["mean"])
            if over["std"] is not None:
                mean += f" ± {_value(name, over['std'])}"
            yield task, _FIGURES[name], [_value(name, value) for value in over["folds"]], mean


def _recalls(figures: Mapping[str, Any]) -> str:
    """Recall per class; empty for single years, which are too many."""
    classes = figures.get("per_class") or {}
    if len(classes) > 20:
        return ""
    return ", ".join(
        f"{name}: {_percent(one['recall'])} of {one['faces']}"
        for name, one in classes.items()
        if one["faces"]
    )


def _framing(description: Mapping[str, Any]) -> str:
    """How faces are cut out of photographs for the model."""
    eyes, margin = description.get("eyes"), description.get("crop_margin") or 0.0
    if eyes:
        left, right = (f"({100 * x:.0f} %, {100 * y:.0f} %)" for x, y in eyes)
        return (
            "Faces were aligned: rotated, scaled and shifted so that the eye on the image's left lies at"
            f" {left} of its width and height, and the one on its right at {right}."
        )
    wide = (
        f"with {100 * margin:.0f} % of that side added on each side" if margin else "without margin"
    )
    return f"The crop is the square on the longer side of the detector's box, {wide}."


def _subjects(data: Mapping[str, Any]) -> str:
    """Statement whether a subject may be on both sides of the split."""
    notice = (data.get("subjects") or {}).get("notice")
    if not notice:
        return "No subject of the test fold is in the training folds."
    return f"{notice[:1].upper()}{notice[1:]}."


def accuracy(measured: Any) -> str:
    """Figures of an exported model beside those of the given one, as text; see export.accuracy.

    Args:
      measured: object as from Accuracy.to_json; "" for one of another form.
    """
    try:
        name = one_line(str(measured["data"]), 100)
        folds = one_line(", ".join(map(str, measured["folds"])), 100)
        precision = one_line(str(measured["given_precision"]), 20)
        given = precision if precision == "float32" else f"the model itself, in {precision}:"
        figures = "; ".join(
            f"{one_line(task, 20)}: "
            + ", ".join(
                f"{_FIGURES[key]} {_value(key, value)} ({given} {_value(key, before[key])})"
                for key, value in after.items()
            )
            for (task, after), before in zip(
                measured["exported"].items(), measured["given"].values(), strict=True
            )
        )
        return f"{measured['faces']:,} faces of {name}, fold {folds}: {figures}"
    except (AttributeError, LookupError, TypeError, ValueError):
        return ""


def _storage(storage: Mapping[str, Any]) -> str:
    """Precision of the weights, the largest differences from float32, and the accuracies."""
    if not storage:
        return ""
    said = f"The weights are stored as {storage.get('precision')}, and computed in float32."
    if measured := accuracy(storage.get("accuracy")):
        said += f" On {measured}."
    largest = storage.get("largest")
    if not isinstance(largest, dict):
        return said
    differences = ", ".join(
        f"{output} {value:.2g}{' years' if output == 'age' else ''}"
        for output, value in largest.items()
        if isinstance(value, float)
    )
    return f"{said} Largest differences from float32, {storage.get('images')}: {differences}."


def _title(evaluation: Mapping[str, Any]) -> str:
    """Name of a further test's data, and how its faces were found."""
    name = one_line(str((evaluation.get("data") or {}).get("name")), 100)
    if evaluation.get("photographs"):
        return f"{name}: whole photographs, faces found by {evaluation.get('detector')}"
    folds = ", ".join(map(str, evaluation.get("folds") or []))
    return f"{name}: fold {folds}" if folds else name


def _test(evaluation: Mapping[str, Any]) -> str:
    """Faces and protocol of a further test in a sentence or two."""
    protocol, weights = (evaluation.get(key) or {} for key in ("protocol", "weights"))
    said = f'{evaluation.get("faces")} faces; crops "{protocol.get("crops")}".'
    if counts := evaluation.get("photographs"):
        said = (
            f"{counts.get('answered')} photographs with a face, which the figures count, and"
            f' {counts.get("no_face")} in which none was found; crops "{protocol.get("crops")}".'
        )
    if not weights.get("own"):
        said += f" Measured on another model, sha256 {str(weights.get('sha256'))[:16]}."
    return said


def _tests(description: Mapping[str, Any]) -> list[Json]:
    """Further tests: title, protocol, and tables by their first heading."""
    return [
        {
            "title": _title(each),
            "said": _test(each),
            "tables": {_TABLES[kind]: table for kind, table in evaluations.tables(each).items()},
            "age_interval": [
                evaluations.age_interval(task) for task in (each.get("tasks") or {}).values()
            ],
            "of_age": [evaluations.of_age(task) for task in (each.get("tasks") or {}).values()],
        }
        for each in description.get("evaluations") or []
    ]


@functools.cache  # it takes longer to compile than to fill
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # late: loading writes no card

    environment = Environment(  # noqa: S701 - Markdown
        loader=PackageLoader("ageflax.bundle"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("model_card.md.jinja")


def render(description: Mapping[str, Any]) -> str:
    """Renders the card of a bundle as Markdown.

    Args:
      description: content of the bundle's config.json; unknown facts and figures may be absent, as after
        an import.
    """
    absent = {"parameters": None, "storage": {}, "estimated_age": None}
    complete = (
        absent
        | dict(description)
        | {
            group: dict.fromkeys(keys) | (description.get(group) or {})
            for group, keys in _KEYS.items()
        }
    )
    tests = _tests(description)
    return _template().render(
        bundle=complete,
        front_matter=_front_matter(complete),
        subjects=_subjects(complete["data"]),
        run_folds=(description.get("cross_validation") or {}).get("folds", []),
        over_folds=list(_folds(description)),
        storage=_storage(complete["storage"]),
        tests=tests,
        elsewhere=any(each.get("photographs") for each in description.get("evaluations") or []),
        framing=_framing(description),
        framing_errors=FramingErrors.from_json(description.get("framing_errors")),
        age_interval=evaluations.age_interval,
        promised=any(map(evaluations.age_interval, complete["figures"].values()))
        or any(any(test["age_interval"]) for test in tests),
        of_age=evaluations.of_age,
        rated=any(map(evaluations.of_age, complete["figures"].values()))
        or any(any(test["of_age"]) for test in tests),
        percent=_percent,
        recalls=_recalls,
    )


def write(directory: Path, description: Json) -> None:
    """Writes a bundle's config.json, and the card rendered from it."""
    with (
        files.replacing(directory / "config.json") as config,
        files.replacing(directory / "README.md") as card,
    ):
        config.write_text(json.dumps(description, indent=2) + "\n")
        card.write_text(render(description), encoding="utf-8")


def add_summary(workdir: Path, summary: Json) -> None:
    """Adds the figures over all folds to the bundle of each fold, whose own figures are only a sample.

    Args:
      workdir: folder of the run.
      summary: content of summary.json.
    """
    named = ("exact", "one_off", "mae", "cs5")
    tasks = {
        task: {name: figures[name] for name in named if name in figures}
        for task, figures in summary["tasks"].items()
    }
    stated = {"folds": summary["folds"], "tasks": tasks}
    for fold in summary["folds"]:
        directory = workdir / f"fold_{fold}" / "bundle"
        described = files.read_json(directory / "config.json")
        # Absent if the user has moved it away.
        if described is not None and described.get("cross_validation") != stated:
            write(directory, described | {"cross_validation": stated})
