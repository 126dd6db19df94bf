"""Figures of further tests in a bundle: from result.json of `ageflax.evaluate` to tables of the card."""

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ageflax.errors import InputError
from ageflax.metrics import conformal
from ageflax.metrics.of_age import shortened
from ageflax.metrics.of_age import table as rates
from ageflax.runtime.files import Json

# Large, or of no use without the whole result.
_LEFT_OUT = {"confusion", "calibration", "cs", "adulthood", "per_class", "groups_of_model"}
_COLUMNS = {
    "years": (("mae", "mean absolute error, years"), ("cs5", "within 5 years"), ("bias", "bias, years")),
    "ranges": (("outside", "years outside the range"), ("inside", "inside"), ("bias", "bias, years")),
    "age": (("exact", "right"), ("one_off", "right or one group off")),
    "gender": (("exact", "right"),),
}  # fmt: skip
_IN_YEARS = ("mae", "outside", "bias")


def _pruned(figures: Any) -> Any:
    if not isinstance(figures, dict):
        return figures
    found = {key: _pruned(value) for key, value in figures.items() if key not in _LEFT_OUT}
    return found | ({"of_age": shortened(found["of_age"])} if "of_age" in found else {})


def of_result(result: Any, origin: object, *, own: Collection[str]) -> Json:
    """Object of `evaluations` in config.json, from a test's result.json.

    Args:
      result: content of the file.
      origin: its path, for messages.
      own: SHA-256 of the bundle's weights, in any precision; a test of others is marked as such.

    Raises:
      InputError: it is not the result of a test.
    """
    try:
        tested = result["model"]["sha256"]
        found = {
            "data": {key: result["data"].get(key) for key in ("name", "edition")},
            "protocol": {key: result["protocol"].get(key) for key in ("name", "crops")},
            "folds": result.get("folds"),
            "faces": result["faces"]["test"] - result["faces"]["test_unreadable"],
            "photographs": result.get("photographs"),
            "detector": result.get("detector"),
            "weights": {"sha256": tested, "own": tested is not None and tested in own},
            "tasks": {task: _pruned(figures) for task, figures in result["tasks"].items()},
        }
    except (LookupError, TypeError, AttributeError) as error:
        raise InputError(
            f"--figures={origin}: not a test's result ({type(error).__name__}: {error}); name a"
            " result.json of python -m ageflax.evaluate"
        ) from error
    return found


def age_interval(figures: Any) -> list[list[str]]:
    """Rows on how often calibrated intervals hold the age, their header first; none without them.

    Args:
      figures: figures of a task, of any form.
    """
    try:
        return conformal.table(figures["age_interval"])
    except (ArithmeticError, AttributeError, LookupError, StopIteration, TypeError, ValueError):
        return []


def of_age(figures: Any) -> list[list[str]]:
    """Rows on who passes as of age, their header first; none if a task has no such figures.

    Args:
      figures: figures of a task, of any form.
    """
    try:
        found = rates(figures["of_age"])
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return []
    return found if len(found[0]) > 1 else []


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of the card.

    Attributes:
      columns: headings after the group's and that of its faces.
      rows: a group's name, its number of faces and its figures, as text.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(key: str, value: Any) -> str:
    if not _number(value):
        return "-"
    if key == "bias":
        return f"{value:+.1f}"
    return f"{value:.2f}" if key in _IN_YEARS else f"{100 * value:.1f} %"


def _cell(key: str, figures: Mapping[str, Any]) -> str:
    """A figure with its 95 % interval, if that is known."""
    ends = _object(figures.get("intervals")).get(key)
    shown = _text(key, figures.get(key))
    if isinstance(ends, list) and len(ends) == 2 and all(map(_number, ends)):
        shown += f" [{_text(key, ends[0])}, {_text(key, ends[1])}]"
    return shown


def _groups(kind: str, figures: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields name and figures of all faces, of each age band or group, and of each gender."""
    errors = figures if kind in ("age", "gender") else _object(figures.get(kind))
    yield "all", {"intervals": figures.get("intervals"), **errors}
    # A test on a dataset has its bands among the errors, and its genders beside them.
    of_ages = _object(errors.get("bands"))
    groups = _object(errors.get("groups")) or _object(figures.get("groups"))
    of_ages = of_ages or _object(groups.get("age"))
    for each in (of_ages, _object(groups.get("gender"))):
        yield from ((str(name), _object(group)) for name, group in each.items())


def tables(evaluation: Mapping[str, Any]) -> dict[str, Table]:
    """Tables of a test by kind: "years", "ranges" (ages known as ranges), "age" (groups) and "gender".

    Args:
      evaluation: object as made by `of_result`; parts that are absent or of another form are left out.
    """
    found = {}
    for task, figures in _object(evaluation.get("tasks")).items():
        figures = _object(figures)
        kinds = [kind for kind in ("years", "ranges") if kind in figures]
        kinds += [task] if task in ("age", "gender") and "exact" in figures else []
        for kind in kinds:
            columns = _COLUMNS[kind]
            rows = tuple(
                (name, str(group.get("faces", "-")), *(_cell(key, group) for key, _ in columns))
                for name, group in _groups(kind, figures)
                if group.get("faces", 1)
            )
            found[kind] = Table(tuple(heading for _, heading in columns), rows)
    return found
