"""Renders page templates; functions of `wording` are their filters."""

import functools
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ageflax.report import svg, wording
from ageflax.runtime import files

_FILTERS = (
    wording.counted, wording.devices, wording.duration, wording.listed, wording.number,
    wording.p_value, wording.without_folders,
)  # fmt: skip


@functools.cache  # a template takes longer to compile than to fill
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("ageflax.report"), undefined=StrictUndefined, autoescape=True,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {function.__name__: function for function in _FILTERS}
    environment.globals["sample"] = svg.sample
    return environment


def render(template: str, path: Path, values: dict[str, Any]) -> None:
    """Writes a page, whole or not at all."""
    page = _environment().get_template(template).render(values)
    with files.replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
