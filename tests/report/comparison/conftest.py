"""Runs that no test changes, and pages that compare them."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.report.comparison.command_line import compared
from tests.support.finished_runs import write_run
from tests.support.html_page import Page


@pytest.fixture(scope="package")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Three finished runs to read: a weak one, a strong one on years, and the weak one with another seed."""
    root = tmp_path_factory.mktemp("runs")
    write_run(root / "weak", tasks=("age", "gender"), skill=0.5)
    write_run(root / "strong", tasks=("years", "gender"), skill=3.0, config={
        "optim": {"name": "adamw"}, "transfer": {"weights": "/home/jane/trunk.safetensors"},
    })  # fmt: skip
    write_run(root / "again", tasks=("age", "gender"), seed=5, skill=0.5)
    return {path.name: path for path in sorted(root.iterdir())}


@pytest.fixture(scope="package")
def beside(
    runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[Page, dict[str, Any]]]:
    """Makes the page and JSON of some of `runs`, once for each choice."""

    @functools.cache
    def made(*names: str) -> tuple[Page, dict[str, Any]]:
        return compared(tmp_path_factory.mktemp("page"), *(runs[name] for name in names))

    return made
