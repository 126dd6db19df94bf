"""Figures of a test on photographs as lines of text for a terminal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ageflax.report import table


class _Column(NamedTuple):
    """A figure as columns of the table.

    Attributes:
      key: its key in result.json.
      heading: heading with the unit.
      form: format of a value.
      scale: factor from result.json to the unit; 100 for shares.
      interval: True to show its interval beside it.
    """

    key: str
    heading: str
    form: str = ".1f"
    scale: int = 1
    interval: bool = False


def _share(key: str, name: str) -> _Column:
    return _Column(key, f"{name}, %", scale=100, interval=True)


_BIAS = _Column("bias", "bias", "+.1f")
_ANSWERED = _Column("answered", "mean answer")
_EXACT = _share("exact", "exact")
_COLUMNS = {
    "years": (
        _Column("mae", "MAE, years", ".2f", interval=True),
        _Column("median", "median", ".2f"),
        _share("cs5", "CS@5"),
        _BIAS,
        _ANSWERED,
    ),
    "ranges": (
        _Column("outside", "years outside", ".2f", interval=True),
        _share("inside", "inside"),
        _BIAS,
        _ANSWERED,
    ),
    "groups_of_model": (_EXACT, _share("one_off", "one-off")),
    "gender": (_EXACT,),
}
_TITLES = {"years": "age", "ranges": "age range", "groups_of_model": "age group"}


def _shown(value: float | None, column: _Column) -> str:
    return "-" if value is None else format(column.scale * value, column.form)


def _cells(figures: Mapping[str, Any], columns: Sequence[_Column]) -> Iterator[str]:
    for column in columns:
        yield _shown(figures[column.key], column)
        if column.interval:
            low, high = (_shown(end, column) for end in figures["intervals"][column.key])
            yield "-" if low == "-" else f"[{low}, {high}]"


def _section(kind: str, figures: Mapping[str, Any]) -> list[str]:
    columns = _COLUMNS[kind]
    header = [_TITLES.get(kind, kind), "faces"]
    for column in columns:
        header += [column.heading, *(["95 %"] if column.interval else [])]
    named = [("all", figures)]
    for groups in figures["groups"].values():
        named += groups.items()
    return table.aligned(
        [header, *([name, str(one["faces"]), *_cells(one, columns)] for name, one in named)]
    )


def text(tasks: Mapping[str, Any]) -> str:
    """Formats the figures: over all faces, then by age band and by gender.

    Args:
      tasks: figures per head, as from figures.measure.
    """
    lines = []
    for task, figures in tasks.items():
        kinds = {"gender": figures} if task == "gender" else figures
        for kind in _COLUMNS:
            if kind in kinds:
                lines += ["", *_section(kind, kinds[kind])]
    lines += [*table.age_intervals(tasks), *table.of_age(tasks)]
    return "\n".join(lines[1:])
